// One of the real socket.io-client versions with its default options; one JSON line for each thing that happens.
//   node any_client.js URL OPTIONS_JSON     OPTIONS: {"client": package name, "token": …, "v2": true, "options": {…}}
// With "v2" the token goes into the query: clients of Socket.IO 1 and 2 have no other place for it.
const readline = require("node:readline");

const [url, text] = process.argv.slice(2);
const { client, token, v2, options } = JSON.parse(text);
const required = require(client);
const io = required.io ?? required;
const tell = (...what) => process.stdout.write(JSON.stringify(what) + "\n");

const credentials = v2 ? { query: { token } } : { auth: { token } };
const socket = io(url, { path: "/api/v1/org-socket", ...credentials, ...options });
const transport = () => socket.io.engine?.transport?.name;

// The first line: every version starts with the first of its transports, and upgrades before or after it is connected.
socket.io.engine.once("open", () => tell("open", transport()));
socket.io.engine.on("upgrade", () => tell("upgrade", transport()));
socket.on("connect", () => tell("connect"));
socket.on("connect_error", (error) => tell("connect_error", String(error.message ?? error)));
socket.on("error", (error) => tell("error", String(error.message ?? error)));
socket.on("disconnect", (reason) => tell("disconnect", reason));
socket.on("socket-notification", (message, user) => tell("event", message, user));
socket.on("org-socket:closing", (why) => tell("closing", why));

readline.createInterface({ input: process.stdin }).on("line", (line) => {
  const order = JSON.parse(line);
  if (order.close) {
    socket.close();
    process.exit(0);
  }
  if (order.emit) socket.emit(...order.emit, (answer) => tell("ack", answer));
});
