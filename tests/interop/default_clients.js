// The real socket.io-client versions with their default options, each as a user of its own; one JSON line for each thing
// that happens.
//   node default_clients.js URL PATH CLIENTS_JSON     CLIENTS: [{"client": package name, "name": …, "token": …}, …]
// Clients of Socket.IO 1 and 2 have no place for a token but the query.
const readline = require("node:readline");

const [url, path, text] = process.argv.slice(2);
const tell = (...what) => process.stdout.write(JSON.stringify(what) + "\n");

for (const { client, name, token } of JSON.parse(text)) {
  const required = require(client);
  const io = required.io ?? required;
  const credentials = /-[12]$/.test(client) ? { query: { token } } : { auth: { token } };
  const socket = io(url, { path, ...credentials });
  socket.on("connect", () => tell("connect", name));
  socket.on("socket-notification", (message, user) => tell("event", name, message, user));
}

readline.createInterface({ input: process.stdin }).on("close", () => process.exit(0));
