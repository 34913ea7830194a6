// The JavaScript server as the hub's measure: the same path, the same rooms, an acknowledged publish. No inbox, no tokens.
//   NODE_PATH=tests/interop/node_modules node bench/hub_peer.js PORT
const { Server } = require("socket.io");
const http = require("node:http").createServer();
const io = new Server(http, { path: "/api/v1/org-socket", perMessageDeflate: false });
io.on("connection", (socket) => {
  const { user } = socket.handshake.auth;
  if (user) socket.join(`user:${user}`);
  socket.on("socket-notification", (message, data, answer) => {
    io.to(`user:${data.userId}`).emit("socket-notification", message, data);
    if (answer) answer({ ok: true });
  });
});
http.listen(Number(process.argv[2]), "127.0.0.1", () => console.log("up"));
