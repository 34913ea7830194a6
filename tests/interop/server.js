// A real Socket.IO server for the tests: levers as JSON in argv[2], one JSON line per happening on stdout,
// one JSON command per line on stdin. Ends when stdin does.
"use strict";
const { createServer } = require("node:http");
const readline = require("node:readline");
const { appendFileSync } = require("node:fs");

const levers = JSON.parse(process.argv[2] || "{}");
const version = levers.version || 4;
const Server = version < 3 ? require(`socket.io-${version}`) : require(version === 3 ? "socket.io-3" : "socket.io").Server;
const say = (value) => process.stdout.write(JSON.stringify(value) + "\n");

const http = createServer();
const options = {
  path: "/api/v1/org-socket",
  serveClient: false,
  pingInterval: levers.pingInterval || 25000,
  pingTimeout: levers.pingTimeout || 20000,
  maxHttpBufferSize: levers.maxPayload || 1e6,
};
if (levers.allowEIO3) options.allowEIO3 = true;
if (levers.transports) options.transports = levers.transports;
if (levers.wsEngine) options.wsEngine = version < 3 ? levers.wsEngine : require(levers.wsEngine).Server;
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
if (levers.queryToken) {
  io.use((socket, next) => next(socket.handshake.query.token === levers.queryToken ? undefined : new Error("not authorized")));
}
if (levers.headerToken) {
  io.use((socket, next) => {
    const given = socket.handshake.headers.authorization;
    next(given === `Bearer ${levers.headerToken}` ? undefined : new Error("not authorized"));
  });
}
let current = levers.token;
let count = 0;
const ids = [];
let acks = levers.acks !== false;

// A line of a history (tests/support/history), on disk before the acknowledgement.
const record = (socket, message, user) => {
  const body = JSON.stringify(["socket-notification", message, user]);
  appendFileSync(levers.record, JSON.stringify({ event: "Received", receiver: "server", body, connection: socket.id }) + "\n");
};

const home = levers.namespace ? io.of(levers.namespace) : io;
home.on("connection", (socket) => {
  const { EIO: eio, transport } = socket.handshake.query;
  say({ at: "connection", id: socket.id, recovered: socket.recovered === true, eio, transport });
  if (levers.greet) socket.emit("welcome", { id: socket.id });
  socket.on("disconnect", (reason) => say({ at: "disconnect", reason }));
  socket.on("socket-notification", (message, user, ack) => {
    count += 1;
    if (levers.record) record(socket, message, user);
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

const everySocket = (act) => {
  const sockets = home.sockets instanceof Map ? home.sockets : home.sockets.sockets || home.sockets;
  (sockets instanceof Map ? [...sockets.values()] : Object.values(sockets)).forEach(act);
};

readline.createInterface({ input: process.stdin }).on("line", (line) => {
  const command = JSON.parse(line);
  if (command.do === "report") say({ at: "report", count, ids, strays });
  if (command.do === "kick") everySocket((socket) => socket.disconnect(command.close === true));
  if (command.do === "engineClose") everySocket((socket) => socket.conn.close());
  if (command.do === "emit") io.emit(...command.arguments);
  if (command.do === "acks") acks = command.on;
  if (command.do === "token") current = command.current;
}).on("close", () => process.exit(0));

http.listen(levers.port || 0, "127.0.0.1", () => say({ at: "listening", port: http.address().port }));
