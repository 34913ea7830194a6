// The pure parts, and the state machine with a socket and a clock of our own. Run by test_javascript.py.
import assert from "node:assert/strict";
import test from "node:test";

import * as parts from "../../worker/door/page/resilience.js";
import { ResilientWebSocket } from "../../worker/door/page/resilient-websocket.js";
import { describe, wordsFor } from "../../worker/door/page/status-words.js";

class HandClock {
  time = 0;
  timers = [];
  now = () => this.time;
  setTimeout = (run, pause) => {
    const timer = { run, at: this.time + pause };
    this.timers.push(timer);
    return timer;
  };
  clearTimeout = (timer) => {
    this.timers = this.timers.filter((other) => other !== timer);
  };
  /** Moves on, running what falls due in order; between two timers all promises are settled. */
  async pass(milliseconds) {
    const end = this.time + milliseconds;
    for (;;) {
      await settled();
      const due = this.timers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
      if (due === undefined) break;
      this.clearTimeout(due);
      this.time = due.at;
      due.run();
    }
    this.time = end;
    await settled();
  }
}

const settled = () => new Promise((resolve) => setImmediate(resolve));

class Memory {
  items = new Map();
  getItem = (key) => this.items.get(key) ?? null;
  setItem = (key, value) => void this.items.set(key, String(value));
}

/** A page's events, and whether it is online and in sight. */
class Page extends EventTarget {
  navigator = { onLine: true };
  document = Object.assign(new EventTarget(), { visibilityState: "visible" });
  location = { href: "https://portal.example/page/status.html" };
}

function aClient(options = {}) {
  const clock = new HandClock();
  const sockets = [];
  class Socket {
    readyState = 0;
    sent = [];
    closed = null;
    constructor(url) {
      this.url = url;
      sockets.push(this);
    }
    send(text) {
      this.sent.push(JSON.parse(text));
    }
    close(code, reason) {
      this.closed = { code, reason };
    }
    opens() {
      this.readyState = 1;
      this.onopen();
    }
    says(type, data = {}) {
      this.onmessage?.({ data: JSON.stringify({ type, timestamp: "", data }) });
    }
    welcomes(place = {}) {
      this.opens();
      this.says("welcome", { clientId: "c", userId: "ann", epoch: "e", seq: 0, after: 0, recovered: false, ...place });
    }
    ends(code, reason = "") {
      this.onclose?.({ code, reason });
    }
  }
  const page = new Page();
  const around = { WebSocket: Socket, page, random: () => 0.5, now: clock.now, setTimeout: clock.setTimeout, clearTimeout: clock.clearTimeout };
  const client = new ResilientWebSocket({ token: "t", remember: new Memory(), ...options }, around);
  const heard = [];
  const names = ["statuschange", "open", "message", "notification", "progress", "reconnecting", "reconnected", "closed",
    "failed", "gap", "queue", "error"];
  for (const name of names) client.addEventListener(name, ({ detail }) => heard.push([name, detail]));
  const of = (name) => heard.filter(([other]) => other === name).map(([, detail]) => detail);
  return { client, clock, sockets, page, of, last: () => sockets.at(-1) };
}

async function connected(options) {
  const all = aClient(options);
  all.client.open();
  await settled();
  all.last().welcomes();
  return all;
}

const news = (seq, id = `n${seq}`, more = {}) => ({
  success: true,
  message: "Task Finish",
  payload: { jobId: `j${seq}`, notificationId: id, ...more },
  userId: "ann",
  epoch: "e",
  seq,
});

// Close codes and pauses.

for (const [code, policy] of [[1000, "stop"], [1003, "stop"], [1008, "stop"], [1001, "retry"], [1002, "retry"], [1005, "retry"],
  [1006, "retry"], [1009, "retry"], [1011, "retry"], [1012, "retry"], [4408, "retry"], [4401, "refused"],
  [4403, "refused"], [4409, "slow"], [4429, "slow"]]) {
  test(`close code ${code} means ${policy}`, () => assert.equal(parts.policyOf(code), policy));
}

test("pauses double, stay below the cap and are spread in proportion", () => {
  const pauses = (random) => {
    const backoff = new parts.Backoff({ base: 1000, cap: 30_000, jitter: 0.5 }, () => random);
    return [1, 2, 3, 4, 5, 6, 50].map((n) => backoff.delay(n));
  };
  assert.deepEqual(pauses(0.5), [1000, 2000, 4000, 8000, 16_000, 20_000, 20_000]);
  assert.deepEqual(pauses(0), [500, 1000, 2000, 4000, 8000, 10_000, 10_000]);
  assert.deepEqual(pauses(1), [1500, 3000, 6000, 12_000, 24_000, 30_000, 30_000]);
});

// Memory.

test("a known id is no news, a higher redelivery of it is, and the oldest are forgotten", () => {
  const seen = new parts.SeenIds(2);
  assert.deepEqual([seen.isNew("a"), seen.isNew("a"), seen.isNew("a", 1), seen.isNew("a", 1)], [true, false, true, false]);
  seen.isNew("b");
  seen.isNew("c");
  assert.equal(seen.isNew("a", 1), true);
  assert.equal(new parts.SeenIds(9, seen.newest(9)).isNew("c"), false);
});

for (const bad of ["{", "[]", '{"epoch":1,"lastSeq":"x"}', "null"]) {
  test(`a place that reads ${bad} is no place`, () => {
    const memory = new Memory();
    memory.setItem("k", bad);
    assert.equal(new parts.Place(memory, "k").known, false);
  });
}

test("a storage that is full or forbidden is done without", () => {
  const broken = { getItem: () => { throw new Error("no"); }, setItem: () => { throw new Error("full"); } };
  const place = new parts.Place(broken, "k");
  place.set("e", 7);
  assert.deepEqual([place.epoch, place.lastSeq, place.isPast("e", 7), place.isPast("e", 8), place.isPast("f", 1)],
    ["e", 7, true, false, false]);
});

test("a token bucket gives its burst at once and then by the second", () => {
  let now = 0;
  const pace = new parts.Pace({ burst: 2, perSecond: 4 }, () => now);
  assert.deepEqual([pace.take(), pace.take(), pace.take()], [0, 0, 250]);
  now = 250;
  assert.equal(pace.take(), 0);
});

test("claims are read from a token's middle, also Thai ones; from anything else nothing", () => {
  const middle = Buffer.from(JSON.stringify({ sub: "สมชาย", exp: 7 })).toString("base64url");
  assert.deepEqual(parts.claimsOf(`x.${middle}.y`), { sub: "สมชาย", exp: 7 });
  for (const token of [null, "", "a.b", "a.bnVsbA.c", 7]) assert.deepEqual(parts.claimsOf(token), {});
});

test("the hub is told only what changes, and everything after a reconnect", () => {
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

test("the first message says who one is, and the address follows the page", async () => {
  const { last, client, of } = await connected();
  assert.equal(last().url, "wss://portal.example/ws");
  assert.deepEqual([last().sent[0].type, last().sent[0].data], ["auth", { token: "t", epoch: null, lastSeq: null }]);
  assert.equal(client.state, "connected");
  assert.deepEqual(of("statuschange").map(({ state }) => state), ["connecting", "connected"]);
});

test("a lost connection is resumed where it was", async () => {
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

test("a position the hub cannot follow is a gap, and the hub's own beginning counts from then on", async () => {
  const { client, clock, last, of } = await connected();
  last().says("notification", news(9));
  last().ends(1006);
  await clock.pass(1000);
  last().welcomes({ epoch: "f", after: 3, recovered: false });
  assert.deepEqual(of("gap"), [{ lastSeq: 9, after: 3, epoch: "f" }]);
  last().says("notification", { ...news(4, "n9"), epoch: "f" });
  assert.deepEqual([client.statistics.notifications, client.statistics.duplicates, client.statistics.lastSeq], [1, 1, 4]);
});

test("pauses grow until a connection has lasted, then start afresh", async () => {
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

test("an attempt that takes too long is given up, and a late word of it is not heard", async () => {
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

test("a token function that hangs or fails costs an attempt, no more", async () => {
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
  test(`after ${code} it stays away: ${state}`, async () => {
    const { client, clock, sockets, last } = await connected();
    last().ends(code);
    await clock.pass(3_600_000);
    assert.deepEqual([client.state, client.status.reason, sockets.length], [state, reason, 1]);
  });
}

test("told to slow down, it waits long, and the page waking up changes nothing", async () => {
  const { clock, sockets, last, page, client } = await connected({ slowRetryDelay: 60_000 });
  last().ends(4429);
  assert.equal(client.describe("en").hint, wordsFor("en").slow);
  page.dispatchEvent(new Event("online"));
  await clock.pass(59_999);
  assert.equal(sockets.length, 1);
  await clock.pass(1);
  assert.equal(sockets.length, 2);
});

test("a token function is asked three times in all, then somebody has to sign in", async () => {
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

test("attempts may be counted, and a person may begin again", async () => {
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

test("no pong in time is a lost connection; any other word is a sign of life", async () => {
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

test("the page coming into sight, or online, asks at once, or comes back at once", async () => {
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

test("what is sent offline waits; what there is no room for is told", async () => {
  const { client, last, of } = aClient({ queueLimit: 2 });
  assert.deepEqual([1, 2, 3].map((n) => client.send("echo", n)), ["queued", "queued", "queued"]);
  assert.deepEqual(of("queue").at(-1), { size: 2, dropped: { type: "echo", data: 1 }, droppedInAll: 1 });
  assert.equal(client.send("echo", 4, { volatile: true }), "dropped");
  client.open();
  await settled();
  last().welcomes();
  assert.deepEqual(last().sent.slice(1).map(({ data }) => data), [2, 3]);
});

test("the newest can be the one that goes", () => {
  const { client } = aClient({ queueLimit: 1, queuePolicy: "drop-newest" });
  assert.deepEqual([client.send("a"), client.send("b")], ["queued", "dropped"]);
});

test("nobody is talked to faster than the hub bears", async () => {
  const { client, clock, last } = await connected({ pace: { burst: 2, perSecond: 10 } });
  const answers = [1, 2, 3, 4].map((n) => client.send("echo", n));
  assert.deepEqual(answers, ["sent", "sent", "queued", "queued"]);
  const echoes = () => last().sent.filter(({ type }) => type === "echo").length;
  await clock.pass(100);
  assert.equal(echoes(), 3);
  await clock.pass(100);
  assert.equal(echoes(), 4);
});

test("a repeated notification is heard once; one without id and position always", async () => {
  const { client, last, of } = await connected();
  for (const data of [news(1), news(1), news(2, "n1"), news(3, "n1", { redelivery: 1 })]) last().says("notification", data);
  const bare = { success: true, message: "Task Finish", payload: {} };
  last().says("notification", bare);
  last().says("notification", bare);
  assert.equal(of("notification").length, 4);
  assert.equal(client.statistics.duplicates, 2);
});

test("the place is noted after the page was told, not before", async () => {
  const { client, last } = await connected();
  let before;
  client.addEventListener("notification", () => (before = client.statistics.lastSeq));
  last().says("notification", news(1));
  assert.deepEqual([before, client.statistics.lastSeq], [0, 1]);
});

const reads = (socket) => socket.sent.filter(({ type }) => type === "read").map(({ data }) => data.seq);

test("the hub is told now and then how far the page has come", async () => {
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

test("another user's numbers are not taken for one's own", async () => {
  const { client, clock, last } = await connected();
  last().says("notification", { ...news(7), epoch: "of bob" });
  last().says("notification", { ...news(1), epoch: "e" });
  await clock.pass(1000);
  assert.deepEqual([client.statistics.lastSeq, client.statistics.notifications, reads(last())], [1, 2, [1]]);
});

test("progress is handed on together, and never after the job's end", async () => {
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

test("rooms are entered again after a reconnect", async () => {
  const { client, clock, last } = await connected();
  client.join("task:j1");
  client.join("lobby");
  client.leave("lobby");
  last().ends(1001);
  await clock.pass(1000);
  last().welcomes({ recovered: true });
  assert.deepEqual(last().sent.filter(({ type }) => type === "join-room").map(({ data }) => data.room), ["task:j1"]);
});

test("a token is renewed before it ends", async (t) => {
  t.mock.timers.enable({ apis: ["Date"], now: 0 });
  const token = (n) => `x.${Buffer.from(JSON.stringify({ sub: "ann", exp: n * 600 })).toString("base64url")}.y`;
  let asked = 0;
  const { clock, last } = await connected({ token: () => token((asked += 1)), pingInterval: 1e9 });
  await clock.pass(539_999);
  assert.equal(last().sent.length, 1);
  await clock.pass(1);
  assert.deepEqual([last().sent.at(-1).type, last().sent.at(-1).data], ["auth", { token: token(2) }]);
});

test("a listener may close or reconnect in the midst of a loss", async () => {
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

test("the example of the specification is accepted, beside other signatures too", async () => {
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
  "a body that is no text": { body: { test: 2432232314 } },
})) {
  test(`a signature does not hold for ${what}`, async () => {
    assert.equal(await verifier().open({ ...EXAMPLE.envelope, ...change }), null);
  });
}

test("a signature holds for its time", async () => {
  const at = EXAMPLE.envelope.timestamp * 1000;
  for (const [now, holds] of [[at - 300_001, false], [at - 300_000, true], [at + 300_000, true], [at + 300_001, false]]) {
    assert.equal((await verifier(300_000, () => now).open(EXAMPLE.envelope)) !== null, holds);
  }
});

test("a secret that is none is told at once", () => {
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

test("with a secret only what is signed is handed on, in order, and the rest is not taken for read", async () => {
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

test("what is still being checked when the connection is lost is left to the next", async () => {
  const { client, last, of } = await connected({ signingSecret: EXAMPLE.secret });
  const envelope = await sealed({ type: "notification", data: news(1) });
  last().onmessage({ data: JSON.stringify(envelope) });
  last().ends(1006);
  for (let n = 0; n < 20; n += 1) await settled();
  assert.deepEqual([of("notification"), client.statistics.lastSeq], [[], 0]);
});

test("what is no message is an error, not an exception", async () => {
  const { client, last } = await connected();
  for (const data of ["x", "[]", "null", "{}", '{"type":7}']) last().onmessage({ data });
  assert.deepEqual([client.statistics.errors, client.state], [5, "connected"]);
});

test("every state has words in both languages", () => {
  for (const lang of ["th", "th-TH", "en", "de", null]) {
    for (const state of ["connected", "connecting", "reconnecting", "disconnected", "failed"]) {
      assert.ok(describe({ state }, lang).text.length > 5);
    }
  }
  assert.deepEqual(Object.keys(wordsFor("th")), Object.keys(wordsFor("en")));
});
