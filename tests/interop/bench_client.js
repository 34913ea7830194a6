// The JavaScript client with a window of acknowledged emits; prints the rate. For bench/link.py.
"use strict";
const { io } = require("socket.io-client");

const { url, window, seconds, token, note } = JSON.parse(process.argv[2]);
const socket = io(url, { path: "/api/v1/org-socket", transports: ["websocket"], auth: { token } });
let done = 0;
let open = 0;

let sent = 0;

// Ids of its own and one of 100 users for each notification, as bench/link.py sends them.
function next() {
  sent += 1;
  const digits = String(sent).padStart(12, "0");
  const [message, user] = note;
  const payload = {
    ...message.payload,
    jobId: message.payload.jobId.slice(0, -12) + digits,
    notificationId: message.payload.notificationId.slice(0, -12) + digits,
    sequence: Math.floor(sent / 100) + 1,
  };
  return [{ ...message, payload }, { userId: user.userId.slice(0, -12) + String(sent % 100).padStart(12, "0") }];
}

function pump() {
  while (open < window) {
    open += 1;
    socket.emit("socket-notification", ...next(), () => {
      done += 1;
      open -= 1;
      pump();
    });
  }
}

socket.on("connect", () => {
  pump();
  setTimeout(() => {
    const before = done;
    const began = process.hrtime.bigint();
    setTimeout(() => {
      console.log((done - before) / (Number(process.hrtime.bigint() - began) / 1e9));
      process.exit(0);
    }, seconds * 1000);
  }, seconds * 250);
});
