// A real Socket.IO server for the tests: levers as JSON in argv[2], one JSON line per happening on stdout,
// one JSON command per line on stdin. Ends when stdin does.
"use strict";
const { createServer } = require("node:http");
const readline = require("node:readline");

const levers = JSON.parse(process.argv[2] || "{}");
const Server = levers.version === 2 ? require("socket.io-2") : require("socket.io").Server;
const say = (value) => process.stdout.write(JSON.stringify(value) + "\n");

const http = createServer();
const options = {
  path: "/api/v1/org-socket",
  serveClient: false,
  pingInterval: levers.pingInterval || 25000,
  pingTimeout: levers.pingTimeout || 20000,
  maxHttpBufferSize: levers.maxPayload || 1e6,
};
if (levers.recovery) options.connectionStateRecovery = { maxDisconnectionDuration: 120000, skipMiddlewares: true };
const io = new Server(http, options);

if (levers.token) {
  io.use((socket, next) => {
    if (socket.handshake.auth.token === current) return next();
    const error = new Error("not authorized");
    error.data = { code: 401 };
    next(error);
  });
}
let current = levers.token;
let count = 0;
const ids = [];
let acks = levers.acks !== false;

io.on("connection", (socket) => {
  say({ at: "connection", id: socket.id, recovered: socket.recovered === true });
  if (levers.greet) socket.emit("welcome", { id: socket.id });
  socket.on("disconnect", (reason) => say({ at: "disconnect", reason }));
  socket.on("socket-notification", (message, user, ack) => {
    count += 1;
    if (!levers.silent) ids.push(message.payload.sequence);
    if (typeof ack === "function" && acks) {
      if (levers.refuse && message.payload.sequence === levers.refuse) ack({ ok: false, error: "not for us" });
      else if (levers.binary) ack(Buffer.from("ok"));
      else ack();
    }
  });
});

let strays = 0;
if (levers.second) {
  // A second namespace on the same server: what is meant for "/" must never arrive here.
  const other = io.of("/second");
  other.use((socket, next) => next(new Error("members only")));
  other.on("connection", () => { strays += 1; });
  other.on("connect", (socket) => socket.onAny(() => { strays += 1; }));
}

readline.createInterface({ input: process.stdin }).on("line", (line) => {
  const command = JSON.parse(line);
  if (command.do === "report") say({ at: "report", count, ids, strays });
  if (command.do === "kick") io.disconnectSockets(command.close === true);
  if (command.do === "engineClose") io.sockets.sockets.forEach((socket) => socket.conn.close());
  if (command.do === "emit") io.emit(...command.arguments);
  if (command.do === "acks") acks = command.on;
  if (command.do === "token") current = command.current;
}).on("close", () => process.exit(0));

http.listen(levers.port || 0, "127.0.0.1", () => say({ at: "listening", port: http.address().port }));
