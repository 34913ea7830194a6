// The real socket.io-client 4 as @socket.io/admin-ui uses it: one Manager, the namespace, its login.
//   node admin_client.js URL AUTH_JSON       Lines on stdin: {"emit": [event, ...arguments]}, {"close": true}
const { Manager } = require("socket.io-client");
const readline = require("node:readline");

const [url, auth] = process.argv.slice(2);
const tell = (...what) => process.stdout.write(JSON.stringify(what) + "\n");
const manager = new Manager(url, { path: "/api/v1/org-socket", transports: ["websocket"], reconnectionDelay: 50 });
const socket = manager.socket("/admin", { auth: JSON.parse(auth) });

socket.on("session", (sessionId) => (socket.auth = { sessionId }));
socket.on("connect", () => tell("connect"));
socket.on("connect_error", (error) => tell("connect_error", error.message));
socket.on("disconnect", (reason) => tell("disconnect", reason));
socket.onAny((event, ...given) => tell("event", event, ...given));

readline.createInterface({ input: process.stdin }).on("line", (line) => {
  const order = JSON.parse(line);
  if (order.close) process.exit(0);
  if (order.emit) socket.emit(...order.emit);
});
