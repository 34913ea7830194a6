// The real socket.io-client 4, told by its arguments what to do; tells what happens as one JSON line each.
//   node hub_client.js URL AUTH_JSON        AUTH_JSON may hold "resume": true: then it follows epoch and lastSeq; and
//   "transports", by default ["websocket"]
// Lines on stdin: {"emit": [event, ...arguments]} emits with an acknowledgement, {"kick": true} cuts the line,
// {"close": true} ends.
const { io } = require("socket.io-client");
const readline = require("node:readline");

const [url, authText] = process.argv.slice(2);
const { resume, transports = ["websocket"], ...auth } = JSON.parse(authText);
const position = resume ? { epoch: null, lastSeq: null } : {};
const tell = (...what) => process.stdout.write(JSON.stringify(what) + "\n");

const socket = io(url, {
  path: "/api/v1/org-socket",
  transports,
  auth: (answer) => answer({ ...auth, ...position }),
  reconnectionDelay: 50,
  reconnectionDelayMax: 200,
});

socket.on("connect", () => tell("connect", socket.recovered));
socket.on("disconnect", (reason) => tell("disconnect", reason, socket.active));
socket.on("connect_error", (error) => tell("connect_error", error.message, error.data ?? null, socket.active));
let said = null;
if (resume) {
  setInterval(() => {
    if (position.lastSeq !== said) socket.volatile.emit("org-socket:read", { seq: (said = position.lastSeq) });
  }, 250);
}
socket.onAny((event, ...given) => {
  if (event === "org-socket:welcome") {
    if (!given[0].recovered) position.lastSeq = given[0].after;
    if (resume) position.epoch = given[0].epoch;
  }
  if (resume && event === "socket-notification") position.lastSeq = given[1].seq;
  tell("event", event, ...given);
});

readline.createInterface({ input: process.stdin }).on("line", (line) => {
  const order = JSON.parse(line);
  if (order.close) {
    socket.close();
    process.exit(0);
  }
  // Not engine.close(): during an attempt it takes effect only after the attempt's 20 seconds.
  if (order.kick) socket.io.engine?.transport.ws?.terminate();
  if (order.emit) socket.emit(...order.emit, (answer) => tell("ack", answer));
});
