// The names of other clients. Run by test_javascript.py.
import assert from "node:assert/strict";
import test from "node:test";

import { ResilientWebSocket, createReconnectingWebSocket } from "../../worker/api/static/resilient-websocket-compat.js";
import { wordsFor } from "../../worker/api/static/status-words.js";
import { Memory, aClient, connected, news, settled } from "./fakes.mjs";

const start = (options) => aClient(options, ResilientWebSocket);
const up = (options) => connected(options, ResilientWebSocket);

for (const [option, value, ours, expected] of [
  ["reconnectDelay", 500, "delay", 500],
  ["reconnectInterval", 3000, "delay", 3000],
  ["minReconnectionDelay", 1500, "delay", 1500],
  ["maxReconnectDelay", 300, "delay", 200],
]) {
  test(`option ${option} decides the pause`, async () => {
    const { last, of } = await up({ [option]: value });
    last().ends(1006);
    assert.equal(of("reconnecting")[0][ours], expected);
  });
}

for (const option of ["maxReconnectAttempts", "maxRetries"]) {
  for (const [value, attempts] of [[2, 2], [1, 1], [0, 0]]) {
    test(`option ${option} ${value} allows ${attempts} attempts`, async () => {
      const { client, clock, last, of, sockets } = start({ [option]: value });
      const ended = [];
      client.on("maxReconnectAttemptsReached", (detail) => ended.push(detail.reason));
      client.open();
      for (let n = 0; n < 5; n++) {
        await clock.pass(60_000);
        last().ends(1006);
      }
      assert.equal(client.state, "failed");
      assert.equal(sockets.length, attempts + 1);
      assert.deepEqual(ended, value ? ["exhausted"] : []);
      assert.equal(of("failed").length, 1);
    });
  }
  test(`option ${option} Infinity is endless`, async () => {
    const { client, clock, last } = start({ [option]: Infinity });
    client.open();
    for (let n = 0; n < 30; n++) {
      await clock.pass(60_000);
      last().ends(1006);
    }
    assert.equal(client.state, "reconnecting");
  });
}

test("options for pings, time limits, the queue and reconnecting are taken", async () => {
  const pinging = await up({ heartbeatInterval: 1000, maxQueueSize: 1 });
  await pinging.clock.pass(1000);
  assert.equal(pinging.last().sent.at(-1).type, "ping");
  pinging.last().ends(1006);
  assert.deepEqual([pinging.client.send("a"), pinging.client.send("b")], ["queued", "queued"]);
  assert.equal(pinging.client.statistics.dropped, 1);
  const silent = await up({ enableHeartbeat: false, heartbeatInterval: 1000 });
  await silent.clock.pass(100_000);
  assert.deepEqual(silent.last().sent.map(({ type }) => type), ["auth"]);
  const hasty = start({ connectionTimeout: 4000, autoReconnect: false });
  hasty.client.open();
  await hasty.clock.pass(4000);
  assert.equal(hasty.client.state, "failed");
  assert.deepEqual([...pinging.warnings, ...silent.warnings, ...hasty.warnings], []);
});

test("address may be a URL", () => {
  const { around } = aClient();
  assert.equal(new ResilientWebSocket(new URL("wss://hub.example/ws"), { token: "x" }, around).address, "wss://hub.example/ws");
});

test("unknown option is compared with the names of both", () => {
  const { warnings } = start({ maxReconectAttempts: 3, pongTimeot: 5 });
  assert.deepEqual(warnings.map((text) => text.split("did you mean ")[1]), ['"maxReconnectAttempts"?', '"pongTimeout"?']);
});

test("connect resolves once connected", async () => {
  const { client, last } = start();
  const connecting = client.connect();
  await settled();
  last().welcomes();
  await connecting;
  assert.equal(client.isConnected(), true);
  await client.connect();
  client.disconnect();
  assert.equal(client.isConnected(), false);
  assert.equal(client.state, "disconnected");
});

test("connect rejects when the token is refused, and when it is closed before", async () => {
  const refused = start();
  const first = refused.client.connect();
  await settled();
  refused.last().opens();
  refused.last().ends(4401);
  await assert.rejects(first, { message: wordsFor("en").token, reason: "token", code: 4401 });
  const patient = start({ maxReconnectAttempts: 1 });
  const third = assert.rejects(patient.client.connect(), { message: wordsFor("en").exhausted, reason: "exhausted", code: 1006 });
  await settled();
  patient.last().ends(1006);
  await patient.clock.pass(60_000);
  patient.last().ends(1006);
  await third;
  const closed = start();
  const second = closed.client.connect();
  await settled();
  closed.client.disconnect();
  await assert.rejects(second, { message: "closed" });
  const ended = start();
  const last = ended.client.connect();
  await settled();
  ended.last().ends(1000);
  await assert.rejects(last, { message: "closed" });
});

test("handlers get facts by the names of both, and are removed", async () => {
  const { client, last } = start();
  const heard = [];
  const keep = (name) => (detail) => heard.push([name, detail]);
  const onMessage = keep("message");
  client.on("message", onMessage).on("message", onMessage).on("close", keep("close")).on("open", keep("open"));
  client.on("stateChange", ({ oldState, newState }) => heard.push(["stateChange", oldState, newState]));
  client.on("error", keep("error"));
  client.open();
  await settled();
  last().welcomes();
  last().says("alarm", { level: 3 });
  client.off("message", onMessage);
  last().says("alarm", { level: 4 });
  last().says("error", { code: "x", message: "no" });
  client.off("error");
  last().says("error", { code: "x", message: "no" });
  last().ends(1011, "why");
  const messages = heard.filter(([name]) => name === "message").map(([, { type, data }]) => [type, data]);
  assert.deepEqual(messages, [["alarm", { level: 3 }]]);
  assert.deepEqual(heard.filter(([name]) => name === "stateChange"), [
    ["stateChange", "disconnected", "connecting"], ["stateChange", "connecting", "connected"],
    ["stateChange", "connected", "reconnecting"],
  ]);
  assert.deepEqual(heard.filter(([name]) => name === "error").length, 1);
  assert.deepEqual(heard.find(([name]) => name === "close")[1], { code: 1011, reason: "why", willReconnect: true });
});

test("subscribers get whole messages, statuses are words, and both can be ended", async () => {
  const { client, last } = start();
  const [messages, all, statuses] = [[], [], []];
  const end = client.subscribe("production_data", (message) => messages.push(message));
  client.subscribe("*", ({ type }) => all.push(type));
  const stop = client.onStatusChange((status) => statuses.push(status));
  client.open();
  await settled();
  last().welcomes();
  last().onmessage({ data: JSON.stringify({ type: "production_data", timestamp: "2026-01-01T00:00:00Z", data: { n: 1 } }) });
  end();
  last().says("production_data", { n: 2 });
  last().ends(1003);
  stop();
  client.open();
  assert.deepEqual(messages, [{ type: "production_data", timestamp: "2026-01-01T00:00:00Z", data: { n: 1 } }]);
  assert.deepEqual(all, ["production_data", "production_data"]);
  assert.deepEqual(statuses, ["connecting", "connected", "error"]);
});

test("handler is unsubscribed by itself, and all of a type without it", async () => {
  const { client, last } = await up();
  const heard = [];
  const [one, other] = ["one", "other"].map((name) => ({ data }) => heard.push([name, data.n]));
  for (const type of ["alarm", "news"]) client.subscribe(type, one);
  client.subscribe("alarm", other);
  client.unsubscribe("alarm", one);
  last().says("alarm", { n: 1 });
  last().says("news", { n: 2 });
  client.unsubscribe("alarm");
  last().says("alarm", { n: 3 });
  assert.deepEqual(heard, [["other", 1], ["one", 2]]);
});

test("messages are sent as objects, as their JSON, and as type and data", async () => {
  const { client, last } = await up();
  client.send({ type: "join-room", room: "line-1" });
  client.send('{"type":"echo","data":7}');
  client.send("echo", 8);
  client.send({ type: "ping" });
  client.shown("n1");
  assert.deepEqual(last().sent.slice(1).map(({ type, data }) => [type, data]),
    [["join-room", { room: "line-1" }], ["echo", 7], ["echo", 8], ["ping", null], ["shown", { notificationId: "n1" }]]);
});

test("status and figures have their names", async () => {
  const { client, last } = await up();
  last().says("notification", news(1));
  const status = client.getStatus();
  assert.deepEqual([status.status, status.connected, status.connectionState, status.reconnectAttempts], ["connected", true, "connected", 0]);
  assert.deepEqual([status.stats.totalConnections, status.stats.totalMessages, status.stats.errorCount], [1, 3, 0]);
  const words = client.getUserFriendlyStatus("en");
  assert.deepEqual([words.status, words.message, words.level], ["connected", "Connected", "good"]);
});

test("connection for one job opens at once and calls its handlers", async () => {
  const { around, last } = start();
  const heard = [];
  const handlers = {
    onOpen: () => heard.push("open"),
    onMessage: ({ type }) => heard.push(type),
    onError: ({ code }) => heard.push(code),
    onClose: ({ code }) => heard.push(code),
  };
  const kept = new Memory();
  const socket = createReconnectingWebSocket("job/1", handlers, { token: "t", remember: kept }, around);
  await settled();
  assert.equal(last().url, "wss://portal.example/ws/tasks/job%2F1");
  last().opens();
  last().says("welcome", { clientId: "c", userId: "ann" });
  last().says("notification", news(undefined, "n1"));
  last().says("error", { code: "forbidden", message: "no" });
  last().ends(4403);
  assert.deepEqual(heard, ["open", "notification", "forbidden", "error", 4403]);
  assert.equal(socket.state, "failed");
  // The hub sends the newest message to each connection: a page that is loaded again must not drop it as known.
  assert.equal(kept.items.size, 0);
});
