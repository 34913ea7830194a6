// The pure parts, and the state machine with a socket and a clock of our own. Run by test_javascript.py.
import assert from "node:assert/strict";
import test from "node:test";

import * as parts from "../../worker/api/static/resilience.js";
import { ResilientWebSocket, forJob } from "../../worker/api/static/resilient-websocket.js";
import { Memory, Page, aClient, connected, news, settled } from "./fakes.mjs";
import { describe, wordsFor } from "../../worker/api/static/status-words.js";

// Close codes and pauses.

for (const [code, policy] of [[1000, "stop"], [1003, "stop"], [1008, "stop"], [1001, "retry"], [1002, "retry"], [1005, "retry"],
  [1006, "retry"], [1009, "retry"], [1011, "retry"], [1012, "retry"], [4408, "retry"], [4401, "refused"],
  [4403, "refused"], [4409, "slow"], [4429, "slow"]]) {
  test(`close code ${code} means ${policy}`, () => assert.equal(parts.policyOf(code), policy));
}

test("delays double up to the cap and have proportional jitter", () => {
  const pauses = (random) => {
    const backoff = new parts.Backoff({ base: 1000, cap: 30_000, jitter: 0.5 }, () => random);
    return [1, 2, 3, 4, 5, 6, 50].map((n) => backoff.delay(n));
  };
  assert.deepEqual(pauses(0.5), [1000, 2000, 4000, 8000, 16_000, 20_000, 20_000]);
  assert.deepEqual(pauses(0), [500, 1000, 2000, 4000, 8000, 10_000, 10_000]);
  assert.deepEqual(pauses(1), [1500, 3000, 6000, 12_000, 24_000, 30_000, 30_000]);
});

test("delays can grow slower", () => {
  const backoff = new parts.Backoff({ base: 1000, cap: 10_000, jitter: 0, factor: 1.3 }, () => 0.5);
  assert.deepEqual([1, 2, 3, 9, 900].map((n) => backoff.delay(n)), [1000, 1300, 1690, 8157, 10_000]);
});

test("hub is where the module comes from, unless that is a copy", () => {
  const module = "https://hub.example/worker/page/resilient-websocket.js";
  for (const [address, origin, hub] of [
    [module, "https://hub.example", "/worker/ws"],
    [module, "https://portal.example", "https://hub.example/worker/ws"],
    ["https://hub.example/page/resilient-websocket.js", "https://hub.example", "/ws"],
    ["https://portal.example/assets/index-1a2b.js", "https://portal.example", "/ws"],
    ["file:///srv/page/resilient-websocket.js", undefined, "/ws"],
    [undefined, undefined, "/ws"],
  ]) assert.equal(parts.hubAddress(address, origin), hub);
});

test("connection for one job has an address below the hub's and remembers nothing", () => {
  const options = { token: "t", url: "https://portal.example/hr/ws/", remember: "local" };
  assert.deepEqual(forJob("job/1", options), { token: "t", url: "https://portal.example/hr/ws/tasks/job%2F1", remember: "none" });
  assert.deepEqual(forJob("j"), { url: "/ws/tasks/j", remember: "none" });
});

// Options.

test("unknown option is warned about once, with the nearest name", () => {
  const warnings = [];
  const check = (options) => parts.checkOptions(options, ["pingInterval", "pongTimeout", "url"], (text) => warnings.push(text));
  check({ pingInterval: 1, pingIntervall: 1, colour: 1 });
  check({ pingIntervall: 2 });
  assert.deepEqual(warnings, [
    'ResilientWebSocket: there is no option "pingIntervall"; did you mean "pingInterval"?',
    'ResilientWebSocket: there is no option "colour"',
  ]);
  const { warnings: mine } = aClient({ reconectionDelay: 7 });
  assert.deepEqual(mine, ['ResilientWebSocket: there is no option "reconectionDelay"; did you mean "reconnectionDelay"?']);
  const { warnings: others } = aClient({ maxReconnectAttempts: 10 });
  assert.deepEqual(others, [
    'ResilientWebSocket: there is no option "maxReconnectAttempts"; resilient-websocket-compat.js knows the options of other clients',
  ]);
});

test("address may be the first argument, as text or as URL", async () => {
  for (const address of ["wss://hub.example/ws", new URL("wss://hub.example/ws")]) {
    const { around, last } = aClient();
    const client = new ResilientWebSocket(address, { token: "x", remember: new Memory() }, around);
    client.open();
    await settled();
    assert.equal(last().url, "wss://hub.example/ws");
    assert.equal(client.address, "wss://hub.example/ws");
    assert.equal(forJob("1", { url: address }).url, "wss://hub.example/ws/tasks/1");
  }
});

test("interval of 0 switches pings off, also when the page wakes", async () => {
  const { client, clock, last, page } = await connected({ pingInterval: 0 });
  await clock.pass(200_000);
  page.dispatchEvent(new Event("online"));
  page.document.dispatchEvent(new Event("visibilitychange"));
  await clock.pass(200_000);
  assert.deepEqual(last().sent.map(({ type }) => type), ["auth"]);
  assert.equal(client.state, "connected");
});

test("debug writes states and types, and no contents", async () => {
  const { logged, last, client } = await connected({ debug: true, token: "secret" });
  last().says("notification", news(1));
  client.send("echo", "private");
  last().ends(1006);
  const text = logged.join("\n");
  for (const part of ["connecting → connected", "received notification", "sent echo", "closed 1006", "attempt 1 in"]) {
    assert.ok(text.includes(`ResilientWebSocket: ${part}`), part);
  }
  assert.ok(!/secret|private|n1/.test(text));
  const own = [];
  const other = aClient({ debug: (...words) => own.push(words) });
  other.client.open();
  assert.deepEqual(own[0].slice(0, 2), ["ResilientWebSocket:", "disconnected"]);
  assert.deepEqual(other.logged, []);
});

test("greeting of a hub that admits anonymous clients does not count for a client with a token", async () => {
  const { client, last, of } = aClient();
  client.open();
  await settled();
  last().opens();
  last().says("welcome", { clientId: "c", userId: null, anonymous: true });
  assert.equal(client.state, "connecting");
  last().says("welcome", { clientId: "c", userId: "ann", epoch: "e", seq: 0, after: 0, recovered: false });
  assert.equal(client.state, "connected");
  assert.equal(of("open").length, 1);
  const anonymous = aClient({ token: null });
  anonymous.client.open();
  await settled();
  anonymous.last().opens();
  anonymous.last().says("welcome", { clientId: "c", userId: null, anonymous: true });
  assert.equal(anonymous.client.state, "connected");
});

// Memory.

test("known id is ignored, a higher redelivery of it is not, and the oldest ids are forgotten", () => {
  const seen = new parts.SeenIds(2);
  assert.deepEqual([seen.isNew("a"), seen.isNew("a"), seen.isNew("a", 1), seen.isNew("a", 1)], [true, false, true, false]);
  seen.isNew("b");
  seen.isNew("c");
  assert.equal(seen.isNew("a", 1), true);
  assert.equal(new parts.SeenIds(9, seen.newest(9)).isNew("c"), false);
});

for (const bad of ["{", "[]", '{"epoch":1,"lastSeq":"x"}', "null"]) {
  test(`stored position ${bad} is ignored`, () => {
    const memory = new Memory();
    memory.setItem("k", bad);
    assert.equal(new parts.Place(memory, "k").known, false);
  });
}

test("storage that is full or forbidden is not used", () => {
  const broken = { getItem: () => { throw new Error("no"); }, setItem: () => { throw new Error("full"); } };
  const place = new parts.Place(broken, "k");
  place.set("e", 7);
  assert.deepEqual([place.epoch, place.lastSeq, place.isPast("e", 7), place.isPast("e", 8), place.isPast("f", 1)],
    ["e", 7, true, false, false]);
});

test("token bucket allows the burst at once and then its rate", () => {
  let now = 0;
  const pace = new parts.Pace({ burst: 2, perSecond: 4 }, () => now);
  assert.deepEqual([pace.take(), pace.take(), pace.take()], [0, 0, 250]);
  now = 250;
  assert.equal(pace.take(), 0);
});

test("claims are read from a token, also Thai ones, and from nothing else", () => {
  const middle = Buffer.from(JSON.stringify({ sub: "สมชาย", exp: 7 })).toString("base64url");
  assert.deepEqual(parts.claimsOf(`x.${middle}.y`), { sub: "สมชาย", exp: 7 });
  for (const token of [null, "", "a.b", "a.bnVsbA.c", 7]) assert.deepEqual(parts.claimsOf(token), {});
});

test("subscriptions send only changes, and everything after a reconnect", () => {
  const wanted = new parts.Subscriptions();
  const [one, two, all] = [() => 1, () => 2, () => 3];
  assert.deepEqual(wanted.add("progress", one), []);
  assert.deepEqual(wanted.add("progress", two), []);
  assert.deepEqual(wanted.remove("progress", one), []);
  assert.deepEqual(wanted.remove("progress", two), [["unsubscribe", "progress"]]);
  assert.deepEqual(wanted.all(), [["unsubscribe", "progress"]]);
  assert.equal(wanted.wants("progress"), false);
  assert.deepEqual(wanted.add("progress", one), [["subscribe", "progress"]]);
  wanted.add("*", all);
  assert.deepEqual(wanted.of("progress"), [one, all]);
  assert.deepEqual(wanted.remove("*"), [["unsubscribe", "*"], ["subscribe", "progress"]]);
  assert.deepEqual(wanted.all(), [["unsubscribe", "*"], ["subscribe", "progress"]]);
  assert.equal(wanted.wants("heartbeat"), false);
  assert.deepEqual(wanted.add("*", all), [["subscribe", "*"]]);
  assert.deepEqual(wanted.all(), []);
});

// The state machine.

test("first message contains the token, and the address follows the page", async () => {
  const { last, client, of } = await connected();
  assert.equal(last().url, "wss://portal.example/ws");
  assert.deepEqual([last().sent[0].type, last().sent[0].data], ["auth", { token: "t", epoch: null, lastSeq: null }]);
  assert.equal(client.state, "connected");
  assert.deepEqual(of("statuschange").map(({ state }) => state), ["connecting", "connected"]);
});

test("lost connection is resumed at its position", async () => {
  const { client, clock, last, of } = await connected();
  last().says("notification", news(1));
  last().ends(1006);
  assert.equal(client.state, "reconnecting");
  assert.deepEqual(of("reconnecting"), [{ attempt: 1, delay: 1000, code: 1006, reason: "" }]);
  await clock.pass(1000);
  last().welcomes({ recovered: true });
  const { epoch, lastSeq } = last().sent[0].data;
  assert.deepEqual([epoch, lastSeq], ["e", 1]);
  assert.deepEqual(of("reconnected"), [{ attempts: 1, downMs: 1000 }]);
  assert.deepEqual(of("gap"), []);
});

test("position that the hub does not know is reported as a gap and replaced by that of the hub", async () => {
  const { client, clock, last, of } = await connected();
  last().says("notification", news(9));
  last().ends(1006);
  await clock.pass(1000);
  last().welcomes({ epoch: "f", after: 3, recovered: false });
  assert.deepEqual(of("gap"), [{ lastSeq: 9, after: 3, epoch: "f" }]);
  last().says("notification", { ...news(4, "n9"), epoch: "f" });
  assert.deepEqual([client.statistics.notifications, client.statistics.duplicates, client.statistics.lastSeq], [1, 1, 4]);
});

test("delays grow until a connection has lasted, then start again from the first", async () => {
  const { clock, last, of } = await connected();
  last().ends(1006);
  await clock.pass(1000);
  last().welcomes();
  await clock.pass(4999);
  last().ends(1006);
  await clock.pass(2000);
  last().welcomes();
  await clock.pass(5000);
  last().ends(1006);
  assert.deepEqual(of("reconnecting").map(({ attempt, delay }) => [attempt, delay]), [[1, 1000], [2, 2000], [1, 1000]]);
});

test("attempt that takes too long is abandoned, and its late messages are ignored", async () => {
  const { client, clock, sockets } = aClient({ timeout: 500 });
  client.open();
  await clock.pass(500);
  assert.equal(sockets[0].closed.code, 1000);
  assert.equal(client.statistics.lastCloseReason, "timeout");
  await clock.pass(1000);
  assert.equal(sockets.length, 2);
  sockets[0].says("welcome", {});
  assert.equal(client.state, "reconnecting");
});

test("token function that hangs or fails costs one attempt", async () => {
  const tokens = [() => Promise.reject(new Error("no token service")), () => new Promise(() => {}), () => "t"];
  const { client, clock, last } = aClient({ token: () => tokens.shift()(), timeout: 500 });
  client.open();
  await settled();
  assert.equal(client.statistics.lastCloseReason, "no token service");
  await clock.pass(1000 + 500 + 2000);
  last().welcomes();
  assert.equal(client.state, "connected");
});

for (const [code, state, reason] of [[1000, "disconnected", null], [1003, "failed", "refused"], [1008, "failed", "refused"],
  [4401, "failed", "token"], [4403, "failed", "forbidden"]]) {
  test(`close code ${code} ends reconnecting: ${state}`, async () => {
    const { client, clock, sockets, last } = await connected();
    last().ends(code);
    await clock.pass(3_600_000);
    assert.deepEqual([client.state, client.status.reason, sockets.length], [state, reason, 1]);
  });
}

test("close code to slow down gives a long delay that a visible page does not shorten", async () => {
  const { clock, sockets, last, page, client } = await connected({ slowRetryDelay: 60_000 });
  last().ends(4429);
  assert.equal(client.describe("en").hint, wordsFor("en").slow);
  page.dispatchEvent(new Event("online"));
  await clock.pass(59_999);
  assert.equal(sockets.length, 1);
  await clock.pass(1);
  assert.equal(sockets.length, 2);
});

test("token function is called three times in all, then the user has to sign in", async () => {
  const { client, clock, sockets } = aClient({ token: () => "bad" });
  client.open();
  for (let n = 0; n < 3; n += 1) {
    await settled();
    sockets[n].opens();
    sockets[n].ends(4401);
    await clock.pass(2500);
  }
  await clock.pass(3_600_000);
  assert.deepEqual([client.state, client.status.reason, sockets.length], ["failed", "token", 3]);
});

test("attempts can be limited, and the user can start again", async () => {
  const { client, clock, sockets, last, of } = aClient({ attempts: 2 });
  client.open();
  for (let n = 0; n < 3; n += 1) {
    await settled();
    last().ends(1006);
    await clock.pass(30_000);
  }
  assert.equal(sockets.length, 3);
  assert.deepEqual(of("failed").map(({ reason, text }) => [reason, text]), [["exhausted", "Cannot connect"]]);
  client.reconnect();
  await settled();
  last().welcomes();
  assert.equal(client.state, "connected");
});

test("missing pong means a lost connection, and any message counts as a pong", async () => {
  const { client, clock, last, sockets } = await connected({ pingInterval: 1000, pongTimeout: 200 });
  await clock.pass(1000);
  assert.deepEqual([last().sent.at(-1).type, last().sent.at(-1).data], ["ping", { n: 1 }]);
  last().says("pong", { n: 1 });
  assert.equal(client.statistics.latencyMs, 0);
  await clock.pass(1100);
  last().says("heartbeat");
  await clock.pass(100);
  assert.equal(client.state, "connected");
  await clock.pass(200);
  assert.equal(client.statistics.lastCloseReason, "no pong");
  assert.equal(sockets[0].closed.code, 1000);
});

test("page that becomes visible or online pings or reconnects at once", async () => {
  const { client, clock, last, page, sockets } = await connected();
  page.document.dispatchEvent(new Event("visibilitychange"));
  assert.equal(last().sent.at(-1).type, "ping");
  last().ends(1006);
  page.navigator.onLine = false;
  page.dispatchEvent(new Event("offline"));
  assert.equal(client.describe("th").text, wordsFor("th").offline);
  page.navigator.onLine = true;
  page.dispatchEvent(new Event("online"));
  await settled();
  assert.equal(sockets.length, 2);
  await clock.pass(1000);
  assert.equal(sockets.length, 2);
});

test("messages sent offline wait, and those over the limit are reported", async () => {
  const { client, last, of } = aClient({ queueLimit: 2 });
  assert.deepEqual([1, 2, 3].map((n) => client.send("echo", n)), ["queued", "queued", "queued"]);
  assert.deepEqual(of("queue").at(-1), { size: 2, dropped: { type: "echo", data: 1 }, droppedInAll: 1 });
  assert.equal(client.send("echo", 4, { volatile: true }), "dropped");
  client.open();
  await settled();
  last().welcomes();
  assert.deepEqual(last().sent.slice(1).map(({ data }) => data), [2, 3]);
});

test("full queue can drop the newest message", () => {
  const { client } = aClient({ queueLimit: 1, queuePolicy: "drop-newest" });
  assert.deepEqual([client.send("a"), client.send("b")], ["queued", "dropped"]);
});

test("messages are sent at most at the rate of the hub", async () => {
  const { client, clock, last } = await connected({ pace: { burst: 2, perSecond: 10 } });
  const answers = [1, 2, 3, 4].map((n) => client.send("echo", n));
  assert.deepEqual(answers, ["sent", "sent", "queued", "queued"]);
  const echoes = () => last().sent.filter(({ type }) => type === "echo").length;
  await clock.pass(100);
  assert.equal(echoes(), 3);
  await clock.pass(100);
  assert.equal(echoes(), 4);
});

test("repeated notification is delivered once, and one without id and position always", async () => {
  const { client, last, of } = await connected();
  for (const data of [news(1), news(1), news(2, "n1"), news(3, "n1", { redelivery: 1 })]) last().says("notification", data);
  const bare = { success: true, message: "Task Finish", payload: {} };
  last().says("notification", bare);
  last().says("notification", bare);
  assert.equal(of("notification").length, 4);
  assert.equal(client.statistics.duplicates, 2);
});

test("position is stored after the page received the notification", async () => {
  const { client, last } = await connected();
  let before;
  client.addEventListener("notification", () => (before = client.statistics.lastSeq));
  last().says("notification", news(1));
  assert.deepEqual([before, client.statistics.lastSeq], [0, 1]);
});

const reads = (socket) => socket.sent.filter(({ type }) => type === "read").map(({ data }) => data.seq);

test("position is reported to the hub from time to time", async () => {
  const { client, clock, last, page } = await connected();
  for (const seq of [1, 2, 3]) last().says("notification", news(seq));
  await clock.pass(499);
  assert.deepEqual(reads(last()), []);
  await clock.pass(1);
  assert.deepEqual(reads(last()), [3]);
  last().says("notification", news(4));
  page.dispatchEvent(new Event("pagehide"));
  assert.deepEqual(reads(last()), [3, 4]);
  last().says("notification", news(5));
  last().ends(1006);
  await clock.pass(5000);
  last().welcomes({ recovered: true });
  await clock.pass(5000);
  assert.deepEqual([reads(last()), client.statistics.lastSeq], [[], 5]);
});

test("position of another user is not used", async () => {
  const { client, clock, last } = await connected();
  last().says("notification", { ...news(7), epoch: "of bob" });
  last().says("notification", { ...news(1), epoch: "e" });
  await clock.pass(1000);
  assert.deepEqual([client.statistics.lastSeq, client.statistics.notifications, reads(last())], [1, 2, [1]]);
});

test("progress is delivered in batches, and never after the end of its job", async () => {
  const { clock, last, of } = await connected();
  last().says("progress", { jobId: "j1", percent: 10 });
  last().says("progress", { jobId: "j1", percent: 20 });
  last().says("progress", { jobId: "j2", percent: 5 });
  await clock.pass(100);
  assert.deepEqual(of("progress"), [[{ jobId: "j1", percent: 20 }, { jobId: "j2", percent: 5 }]]);
  last().says("progress", { jobId: "j1", percent: 99 });
  last().says("notification", news(1));
  await clock.pass(1000);
  const order = of("message").map(({ type }) => type);
  assert.deepEqual(order.slice(-2), ["progress", "notification"]);
});

test("rooms are joined again after a reconnect", async () => {
  const { client, clock, last } = await connected();
  client.join("task:j1");
  client.join("lobby");
  client.leave("lobby");
  last().ends(1001);
  await clock.pass(1000);
  last().welcomes({ recovered: true });
  assert.deepEqual(last().sent.filter(({ type }) => type === "join-room").map(({ data }) => data.room), ["task:j1"]);
});

test("token is renewed before it expires", async (t) => {
  t.mock.timers.enable({ apis: ["Date"], now: 0 });
  const token = (n) => `x.${Buffer.from(JSON.stringify({ sub: "ann", exp: n * 600 })).toString("base64url")}.y`;
  let asked = 0;
  const { clock, last } = await connected({ token: () => token((asked += 1)), pingInterval: 1e9 });
  await clock.pass(539_999);
  assert.equal(last().sent.length, 1);
  await clock.pass(1);
  assert.deepEqual([last().sent.at(-1).type, last().sent.at(-1).data], ["auth", { token: token(2) }]);
});

test("listener may close or reconnect while a loss is handled", async () => {
  const { client, clock, last, sockets } = await connected();
  client.addEventListener("closed", () => client.close(), { once: true });
  last().ends(1006);
  await clock.pass(60_000);
  assert.deepEqual([client.state, sockets.length], ["disconnected", 1]);
  client.open();
  await settled();
  last().welcomes();
  client.addEventListener("closed", () => client.reconnect(), { once: true });
  last().ends(1006);
  await settled();
  assert.equal(sockets.length, 3);
});

// Signatures.

const EXAMPLE = {
  secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
  envelope: {
    id: "msg_p5jXN8AQM9LWM0D4loKWxJek",
    timestamp: 1614265330,
    signature: "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    body: '{"test": 2432232314}',
  },
};
const verifier = (tolerance = 0, now = () => 0) => new parts.Verifier(EXAMPLE.secret, { tolerance, now });

test("signature of the example in the specification is accepted, also next to others", async () => {
  const { envelope } = EXAMPLE;
  assert.equal(await verifier().open(envelope), envelope.body);
  const among = `v2,xyz v1,${btoa("0".repeat(32))} ${envelope.signature}`;
  assert.equal(await verifier().open({ ...envelope, signature: among }), envelope.body);
});

for (const [what, change] of Object.entries({
  "another body": { body: '{"test": 2432232315}' },
  "another id": { id: "msg_other" },
  "another time": { timestamp: 1614265331 },
  "a time in words": { timestamp: "1614265330" },
  "no signature": { signature: undefined },
  "another scheme": { signature: EXAMPLE.envelope.signature.replace("v1", "v2") },
  "half a signature": { signature: EXAMPLE.envelope.signature.slice(0, 20) },
  "a body that is not text": { body: { test: 2432232314 } },
})) {
  test(`signature is rejected for ${what}`, async () => {
    assert.equal(await verifier().open({ ...EXAMPLE.envelope, ...change }), null);
  });
}

test("signature is valid for its time", async () => {
  const at = EXAMPLE.envelope.timestamp * 1000;
  for (const [now, holds] of [[at - 300_001, false], [at - 300_000, true], [at + 300_000, true], [at + 300_001, false]]) {
    assert.equal((await verifier(300_000, () => now).open(EXAMPLE.envelope)) !== null, holds);
  }
});

test("invalid secret is reported at once", () => {
  for (const signingSecret of ["", "whsec_", "whsec_c2hvcnQ=", "whsec_!!!", EXAMPLE.secret.slice(6), 7]) {
    assert.throws(() => new ResilientWebSocket({ signingSecret }), TypeError);
  }
  assert.throws(() => new parts.Verifier(EXAMPLE.secret, { tolerance: 0, subtle: null }), /Web Crypto/);
});

async function sealed(message) {
  const raw = Uint8Array.from(atob(EXAMPLE.secret.slice(6)), (letter) => letter.charCodeAt(0));
  const key = await crypto.subtle.importKey("raw", raw, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  const [body, timestamp] = [JSON.stringify(message), Math.floor(Date.now() / 1000)];
  const mac = await crypto.subtle.sign("HMAC", key, new TextEncoder().encode(`m.${timestamp}.${body}`));
  return { id: "m", timestamp, signature: `v1,${btoa(String.fromCharCode(...new Uint8Array(mac)))}`, body };
}

test("client with a secret delivers only signed notifications, in order, and leaves the others unread", async () => {
  const { client, clock, last, of } = await connected({ signingSecret: EXAMPLE.secret });
  assert.equal(last().sent[0].data.signed, true);
  const says = (said) => last().onmessage({ data: JSON.stringify(said) });
  const envelopes = await Promise.all([1, 2, 3].map((seq) => sealed({ type: "notification", data: news(seq, `n${seq}`, { note: "ชื่อ".repeat(seq === 1 ? 9999 : 1) }) })));
  envelopes.forEach(says);
  says({ ...envelopes[0], body: envelopes[0].body.replace('"seq":1', '"seq":9') });
  says({ type: "notification", data: news(4) });
  says(await sealed({ type: "welcome", data: { epoch: "forged" } }));
  says({ ...envelopes[1], signature: 7 });
  while (of("error").length < 4) await clock.pass(1);
  assert.deepEqual(of("notification").map(({ seq }) => seq), [1, 2, 3]);
  assert.deepEqual(of("error").map(({ code }) => code), ["signature", "signature", "signature", "signature"]);
  assert.deepEqual([client.statistics.lastSeq, client.statistics.epoch], [3, "e"]);
});

test("notification whose check is unfinished when the connection is lost is left to the next one", async () => {
  const { client, last, of } = await connected({ signingSecret: EXAMPLE.secret });
  const envelope = await sealed({ type: "notification", data: news(1) });
  last().onmessage({ data: JSON.stringify(envelope) });
  last().ends(1006);
  for (let n = 0; n < 20; n += 1) await settled();
  assert.deepEqual([of("notification"), client.statistics.lastSeq], [[], 0]);
});

test("invalid message is an error event, not an exception", async () => {
  const { client, last } = await connected();
  for (const data of ["x", "[]", "null", "{}", '{"type":7}']) last().onmessage({ data });
  assert.deepEqual([client.statistics.errors, client.state], [5, "connected"]);
});

test("states have texts in both languages", () => {
  for (const lang of ["th", "th-TH", "en", "de", null]) {
    for (const state of ["connected", "connecting", "reconnecting", "disconnected", "failed"]) {
      assert.ok(describe({ state }, lang).text.length > 5);
    }
  }
  assert.deepEqual(Object.keys(wordsFor("th")), Object.keys(wordsFor("en")));
});
