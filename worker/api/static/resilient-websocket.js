/**
 * A WebSocket to the hub's native endpoint that reconnects by itself, loses no notification and reports none twice.
 *
 *     import { ResilientWebSocket } from "/page/resilient-websocket.js";
 *     const socket = new ResilientWebSocket({ token: () => fetch("/token").then((answer) => answer.text()) });
 *     socket.addEventListener("notification", ({ detail }) => show(detail.message, detail.payload));
 *     socket.open();
 *
 * Knows the hub's messages and close codes; knows nothing of how a page looks.
 * @module
 */

import {
  Backoff,
  Batcher,
  OfflineQueue,
  Pace,
  Place,
  SeenIds,
  Subscriptions,
  Verifier,
  checkOptions,
  claimsOf,
  hubAddress,
  isAddress,
  policyOf,
} from "./resilience.js";
import { describe } from "./status-words.js";

const OPEN = 1;
const NO_STATUS = 1006;
const KEPT_IDS = 200;
const KEEP_IDS_AFTER = 250;
const SAY_READ_AFTER = 500;
const LONGEST_TIMER = 2 ** 31 - 1;
const TOKEN_TRIES = 3;
/** The message types that a hub signs on request. */
const SIGNED = new Set(["notification", "progress"]);

/** Every option with its default. Times are milliseconds. */
const DEFAULTS = {
  url: null,
  token: null,
  reconnect: true,
  reconnectionDelay: 1000,
  maxReconnectionDelay: 30_000,
  reconnectionDelayGrowFactor: 2,
  jitter: 0.5,
  attempts: 0,
  timeout: 20_000,
  minUptime: 5000,
  slowRetryDelay: 60_000,
  pingInterval: 25_000,
  pongTimeout: 8000,
  progressInterval: 100,
  queueLimit: 100,
  queuePolicy: "drop-oldest",
  pace: { burst: 50, perSecond: 8 },
  remember: "session",
  storageKey: "org-socket",
  seenLimit: 2000,
  signingSecret: null,
  signatureTolerance: 300_000,
  lang: null,
  debug: false,
};

/** The names of all options. */
export const OPTIONS = Object.keys(DEFAULTS);

/** What the browser gives; tests give their own. */
const surroundings = () => ({
  WebSocket: globalThis.WebSocket,
  page: globalThis.window ?? null,
  random: Math.random,
  now: () => performance.now(),
  setTimeout: (run, pause) => setTimeout(run, pause),
  clearTimeout: (timer) => clearTimeout(timer),
  warn: (text) => console.warn(text),
  log: (...words) => console.debug(...words),
});

const ownHub = (page) => hubAddress(import.meta.url, page?.location?.origin);

/**
 * The options of a connection for one job. It has no position and remembers nothing: the hub sends the newest message
 * about the job to each new connection, and what a page showed before it was loaded again has to be shown again.
 * @param {string} jobId @param {import("./resilient-websocket.js").Options} [options] `url` is that of the hub
 */
export function forJob(jobId, options = {}, page = globalThis.window) {
  const hub = String(options.url ?? ownHub(page)).replace(/\/$/, "");
  return { ...options, url: `${hub}/tasks/${encodeURIComponent(jobId)}`, remember: /** @type {const} */ ("none") };
}

/**
 * Events (all CustomEvents, facts in `detail`): statuschange, open, message, notification, progress, reconnecting,
 * reconnected, closed, failed, gap, queue, error. See resilient-websocket.d.ts.
 */
export class ResilientWebSocket extends EventTarget {
  #options;
  #around;
  #backoff;
  #queue;
  #pace;
  #subscriptions = new Subscriptions();
  #progress;
  #rooms = new Set();
  #timers = new Map();
  #listening = [];
  /** The present connection; events of older ones are ignored. */
  #session = null;
  #user;
  #place = null;
  #seen = null;
  #verifier = null;
  /** The last of what is being checked: one after the other, so that none overtakes another. */
  #checked = Promise.resolve();
  #state = "disconnected";
  #reason = null;
  #attempt = 0;
  #refusals = 0;
  #nextAttemptAt = null;
  #lostAt = null;
  #pings = 0;
  #figures = {
    connections: 0,
    reconnects: 0,
    failedAttempts: 0,
    messagesIn: 0,
    messagesOut: 0,
    notifications: 0,
    duplicates: 0,
    gaps: 0,
    errors: 0,
    lastPong: null,
    latencyMs: null,
    connectedSince: null,
    lastCloseCode: null,
    lastCloseReason: null,
  };

  /**
   * `(options)`, or `(url, options)`.
   * @param {import("./resilient-websocket.js").Options | string | URL} [options]
   */
  constructor(options = {}, ...more) {
    super();
    const [given, around] = isAddress(options) ? [{ ...more[0], url: options }, more[1]] : [options, more[0]];
    const o = (this.#options = { ...DEFAULTS, ...given });
    const a = (this.#around = { ...surroundings(), ...around });
    checkOptions(given, OPTIONS, a.warn, "resilient-websocket-compat.js knows the options of other clients");
    o.url = String(o.url ?? ownHub(a.page));
    const factor = o.reconnectionDelayGrowFactor;
    const spread = { base: o.reconnectionDelay, cap: o.maxReconnectionDelay, jitter: o.jitter, factor };
    this.#backoff = new Backoff(spread, a.random);
    if (o.signingSecret !== null) this.#verifier = new Verifier(o.signingSecret, { tolerance: o.signatureTolerance });
    this.#queue = new OfflineQueue({ limit: o.queueLimit, policy: o.queuePolicy });
    this.#pace = new Pace(o.pace, a.now);
    this.#progress = new Batcher(
      (values) => this.#progressed(values),
      (run) => this.#after("progress", o.progressInterval, run),
    );
  }

  /** Where the hub is. */
  get address() {
    return this.#options.url;
  }

  /** connecting, connected, reconnecting, disconnected or failed. */
  get state() {
    return this.#state;
  }

  /** What a person may want to know of the state. */
  get status() {
    const next = this.#nextAttemptAt;
    return {
      state: this.#state,
      reason: this.#reason,
      attempt: this.#attempt,
      retryInMs: next === null ? null : Math.max(0, Math.round(next - this.#around.now())),
      online: this.#online(),
    };
  }

  /** Figures since this object was made. */
  get statistics() {
    const since = this.#session?.welcomedAt ?? null;
    return {
      ...this.#figures,
      state: this.#state,
      attempt: this.#attempt,
      queued: this.#queue.size,
      dropped: this.#queue.dropped,
      uptimeMs: since === null ? 0 : Math.round(this.#around.now() - since),
      epoch: this.#place?.epoch ?? null,
      lastSeq: this.#place?.lastSeq ?? null,
    };
  }

  /** The state as text: {level, text, hint}. @param {string | null} [lang] `th` or `en` */
  describe(lang = this.#options.lang) {
    return describe(this.status, lang);
  }

  /** Connect, and stay connected until close(). Does nothing while it does so already. */
  open() {
    if (this.#session !== null || this.#state === "reconnecting") return;
    this.#listen();
    this.#startAfresh();
  }

  /** Now, whatever the state: an open connection is left for a new one, a pause is cut short. */
  reconnect() {
    this.#listen();
    this.#leave(1000, "reconnect");
    this.#startAfresh();
  }

  /** Leave, and stay away. What waits to be sent is kept for the next open(). */
  close(code = 1000, reason = "") {
    const was = this.#state;
    this.#leave(code, reason);
    this.#unlisten();
    this.#keepIds();
    this.#attempt = 0;
    if (was === "disconnected") return;
    this.#turn("disconnected");
    this.#tell("closed", { code, reason, willReconnect: false });
  }

  /** Use another token from now on: renews an open connection, revives a refused one. @param {unknown} token */
  setToken(token) {
    this.#options.token = token;
    if (this.#isUp()) this.#renew(this.#session);
    else if (this.#state === "failed") this.reconnect();
  }

  /**
   * Send a message to the hub, now or as soon as there is a connection. What was sent when a connection broke may or
   * may not have arrived: it is not sent again.
   * @param {string} type @param {unknown} [data]
   * @param {{volatile?: boolean}} [options] volatile: now or never
   * @returns {"sent" | "queued" | "dropped"}
   */
  send(type, data = null, { volatile = false } = {}) {
    const message = { type, data };
    if (this.#isUp() && this.#queue.size === 0 && this.#pace.take() === 0) {
      this.#write(message);
      return "sent";
    }
    if (volatile) return "dropped";
    const dropped = this.#queue.push(message);
    this.#tell("queue", { size: this.#queue.size, dropped: dropped ?? null, droppedInAll: this.#queue.dropped });
    this.#pump();
    return dropped === message ? "dropped" : "queued";
  }

  /** Tell the hub's log that the page has shown this notification; not worth waiting for. @param {string} notificationId */
  shown(notificationId) {
    return this.send("shown", { notificationId }, { volatile: true });
  }

  /** Ask for one's own job to be cancelled; the answer comes as a message `cancel`. @param {string} jobId */
  cancel(jobId) {
    return this.send("cancel", { jobId });
  }

  /**
   * Hear all messages of a type, `*` for every type. The subscription outlives connections.
   * @param {string} type @param {(data: any, type: string, message: any) => void} handler @returns {() => void} ends it
   */
  subscribe(type, handler) {
    this.#order(this.#subscriptions.add(type, handler));
    return () => this.unsubscribe(type, handler);
  }

  /** Without a handler: the hub shall send this type no more (`*`: only what is subscribed to by name). */
  unsubscribe(type, handler) {
    this.#order(this.#subscriptions.remove(type, handler));
  }

  /** Enter a room, again after each reconnect. @param {string} room */
  join(room) {
    this.#rooms.add(room);
    if (this.#isUp()) this.#write({ type: "join-room", data: { room } });
  }

  /** @param {string} room */
  leave(room) {
    const wasIn = this.#rooms.delete(room);
    if (wasIn && this.#isUp()) this.#write({ type: "leave-room", data: { room } });
  }

  // One connection, from the token to its end.

  #startAfresh() {
    this.#attempt = 0;
    this.#refusals = 0;
    this.#turn(this.#figures.connections ? "reconnecting" : "connecting");
    this.#connect();
  }

  async #connect() {
    const session = (this.#session = { socket: null, welcomedAt: null, heardAt: 0, token: null, epoch: null });
    this.#nextAttemptAt = null;
    this.#after("deadline", this.#options.timeout, () => this.#lost(session, NO_STATUS, "timeout"));
    try {
      session.token = await this.#token();
      if (session !== this.#session) return;
      this.#takePlaceOf(session.token);
      this.#dial(session);
    } catch (error) {
      this.#lost(session, NO_STATUS, String(error?.message ?? error));
    }
  }

  async #token() {
    const { token } = this.#options;
    return typeof token === "function" ? await token() : token;
  }

  #dial(session) {
    const socket = (session.socket = new this.#around.WebSocket(this.#address()));
    socket.onopen = () => this.#introduce(session);
    socket.onmessage = ({ data }) => this.#heard(session, data);
    socket.onclose = ({ code, reason }) => this.#lost(session, code, reason);
  }

  #address() {
    const address = new URL(this.#options.url, this.#around.page?.location?.href);
    address.protocol = address.protocol.replace(/^http/, "ws");
    return address.href;
  }

  #introduce(session) {
    if (session !== this.#session) return;
    const { epoch, lastSeq } = this.#place;
    const signed = this.#verifier !== null;
    this.#write({ type: "auth", data: { token: session.token, epoch, lastSeq, ...(signed && { signed }) } });
  }

  #heard(session, text) {
    if (session !== this.#session) return;
    session.heardAt = this.#around.now();
    this.#figures.messagesIn += 1;
    const said = read(text);
    this.#log("received", said?.type ?? "a message of another form");
    if (this.#verifier !== null && said !== null && "signature" in said) this.#check(session, said);
    else if (!isMessage(said)) this.#fault("malformed", "the hub sent no message");
    else if (this.#verifier !== null && SIGNED.has(said.type)) this.#fault("signature", "this message is not signed");
    else if (said.type === "welcome") {
      // A hub that admits anonymous clients greets every client so, before it has read the token.
      if (!(said.data?.anonymous && session.token)) this.#welcomed(session, said.data);
    }
    else this.#take(session, said);
  }

  /** A rejected message counts as unread: the hub will send it again. */
  #check(session, envelope) {
    const check = async () => {
      const body = await this.#verifier.open(envelope);
      if (session !== this.#session) return;
      const message = body === null ? null : read(body);
      if (isMessage(message) && SIGNED.has(message.type)) this.#take(session, message);
      else this.#fault("signature", "this message is not signed by who knows the secret, or not now");
    };
    this.#checked = this.#checked.then(check).catch(globalThis.reportError ?? console.error);
  }

  #fault(code, message) {
    this.#figures.errors += 1;
    this.#tell("error", { code, message });
  }

  #welcomed(session, data) {
    this.#stop("deadline");
    session.welcomedAt = session.heardAt;
    this.#refusals = 0;
    const isBack = this.#figures.connections > 0;
    this.#figures.connections += 1;
    this.#figures.connectedSince = new Date().toISOString();
    session.epoch = typeof data.epoch === "string" ? data.epoch : null;
    this.#stand(data);
    this.#restore();
    this.#turn("connected");
    this.#tell("open", { ...data, isBack });
    if (isBack) this.#back();
    this.#pump();
    this.#probeLater();
    this.#renewInTime(session);
  }

  /** Begin where the hub begins. A position it could not follow means that something may be missing before. */
  #stand({ epoch, after, recovered }) {
    if (typeof epoch !== "string" || recovered) return;
    const { known, lastSeq } = this.#place;
    this.#place.set(epoch, after);
    if (!known) return;
    this.#figures.gaps += 1;
    this.#tell("gap", { lastSeq, after, epoch });
  }

  #back() {
    this.#figures.reconnects += 1;
    const downMs = this.#lostAt === null ? 0 : Math.round(this.#around.now() - this.#lostAt);
    this.#tell("reconnected", { attempts: this.#attempt, downMs });
    this.#lostAt = null;
  }

  /** Send subscriptions, rooms and the position to a hub that does not know this client. */
  #restore() {
    for (const [type, topic] of this.#subscriptions.all()) this.#write({ type, data: { type: topic } });
    for (const room of this.#rooms) this.#write({ type: "join-room", data: { room } });
  }

  #take(session, message) {
    const { type, data } = message;
    if (type === "pong") this.#ponged(data);
    else if (type === "progress") this.#progress.put(data?.jobId, data);
    else if (type === "notification") this.#notified(session, message);
    else {
      if (type === "error") {
        this.#figures.errors += 1;
        this.#tell("error", data);
      }
      this.#hand(message);
    }
  }

  #notified(session, message) {
    const { epoch, seq, payload } = message.data;
    // A subscriber of another user's job receives sequence numbers of that user's inbox.
    const isOurs = Number.isSafeInteger(seq) && epoch === session.epoch;
    const isRepeated =
      (isOurs && this.#place.isPast(epoch, seq)) ||
      (payload?.notificationId !== undefined && !this.#seen.isNew(payload.notificationId, payload.redelivery));
    if (isRepeated) this.#figures.duplicates += 1;
    else {
      this.#figures.notifications += 1;
      // What was known of the job before its end must not be shown after it.
      this.#progress.flush();
      if (this.#subscriptions.wants("notification")) {
        this.#tell("notification", message.data);
        this.#hand(message);
      }
    }
    // Only now: a page that ends in between is given it again.
    if (isOurs) this.#moveTo(epoch, seq);
    if (!isRepeated && !this.#timers.has("ids")) this.#after("ids", KEEP_IDS_AFTER, () => this.#keepIds());
  }

  #moveTo(epoch, seq) {
    this.#place.set(epoch, seq);
    if (!this.#timers.has("read")) this.#after("read", SAY_READ_AFTER, () => this.#sayRead());
  }

  /** Send the hub the position of this page, for later tabs that have no position of their own. */
  #sayRead() {
    this.#stop("read");
    if (!this.#isUp()) return; // the next `auth` message contains it
    const wait = this.#pace.take();
    if (wait) this.#after("read", wait, () => this.#sayRead());
    else this.#write({ type: "read", data: { seq: this.#place.lastSeq } });
  }

  #progressed(values) {
    if (!this.#subscriptions.wants("progress")) return;
    this.#tell("progress", values);
    for (const data of values) this.#hand({ type: "progress", data });
  }

  #hand(message) {
    this.#tell("message", message);
    for (const handler of this.#subscriptions.of(message.type)) {
      try {
        handler(message.data, message.type, message);
      } catch (error) {
        // One handler's fault is not the next one's.
        (globalThis.reportError ?? console.error)(error);
      }
    }
  }

  #lost(session, code, reason) {
    if (session !== this.#session) return;
    const up = session.welcomedAt === null ? null : this.#around.now() - session.welcomedAt;
    this.#forget();
    if (up !== null) this.#lostAt = this.#around.now();
    else this.#figures.failedAttempts += 1;
    if (up >= this.#options.minUptime) this.#attempt = 0;
    this.#log("closed", code, reason);
    Object.assign(this.#figures, { lastCloseCode: code, lastCloseReason: reason, connectedSince: null });
    const next = this.#next(code);
    this.#tell("closed", { code, reason, willReconnect: next.state === "reconnecting" });
    // A listener may have decided otherwise.
    if (this.#session === null && this.#state !== "disconnected") this.#follow(next, code, reason);
  }

  /** What comes after this end: {state, reason}. */
  #next(code) {
    const policy = this.#options.reconnect ? policyOf(code) : "stop";
    if (policy === "stop") return { state: code === 1000 ? "disconnected" : "failed", reason: "refused" };
    if (policy === "refused") {
      this.#refusals += 1;
      if (code === 4403) return { state: "failed", reason: "forbidden" };
      const mayHaveAnother = typeof this.#options.token === "function" && this.#refusals < TOKEN_TRIES;
      if (!mayHaveAnother) return { state: "failed", reason: "token" };
    }
    const { attempts } = this.#options;
    if (attempts && this.#attempt >= attempts) return { state: "failed", reason: "exhausted" };
    return { state: "reconnecting", reason: policy === "slow" ? "slow" : null };
  }

  #follow({ state, reason }, code, closeReason) {
    if (state !== "reconnecting") {
      this.#turn(state, state === "failed" ? reason : null);
      if (state === "failed") this.#tell("failed", { reason, code, closeReason, ...this.describe() });
      return;
    }
    this.#attempt += 1;
    const isSlow = reason === "slow";
    const delay = isSlow ? this.#backoff.around(this.#options.slowRetryDelay) : this.#backoff.delay(this.#attempt);
    this.#nextAttemptAt = this.#around.now() + delay;
    this.#log(`attempt ${this.#attempt} in ${delay} ms`);
    this.#after("retry", delay, () => this.#connect());
    this.#turn("reconnecting", reason);
    this.#tell("reconnecting", { attempt: this.#attempt, delay, code, reason: closeReason });
  }

  /** End the connection from our side, if there is one. */
  #leave(code, reason) {
    const session = this.#session;
    this.#nextAttemptAt = null;
    this.#stop("retry");
    if (session === null) return;
    if (session.welcomedAt !== null) this.#lostAt = this.#around.now();
    this.#figures.connectedSince = null;
    this.#forget(code, reason);
  }

  /** Hear no more of the session. Its socket may take long to end by itself when the network is gone. */
  #forget(code, reason) {
    const { socket } = this.#session;
    this.#session = null;
    for (const name of ["deadline", "ping", "pong", "pump", "read", "renew"]) this.#stop(name);
    if (socket === null) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    try {
      socket.close(code ?? 1000, reason);
    } catch {
      socket.close();
    }
  }

  // Is it still there?

  /** Ask, unless an answer is being waited for. */
  #probe() {
    const session = this.#session;
    if (!this.#isUp() || this.#timers.has("pong") || !(this.#options.pingInterval > 0)) return;
    this.#stop("ping");
    const asked = this.#around.now();
    this.#pings += 1;
    session.ping = { number: this.#pings, asked };
    this.#write({ type: "ping", data: { n: this.#pings } });
    this.#after("pong", this.#options.pongTimeout, () => {
      // A page that slept wakes with the answer still unread, or with others before it.
      if (session.heardAt > asked) this.#probe();
      else this.#lost(session, NO_STATUS, "no pong");
    });
  }

  #ponged(data) {
    const { ping } = this.#session;
    if (!ping || data?.n !== ping.number) return;
    this.#figures.latencyMs = Math.round(this.#around.now() - ping.asked);
    this.#figures.lastPong = new Date().toISOString();
    this.#stop("pong");
    this.#probeLater();
  }

  #probeLater() {
    if (this.#options.pingInterval > 0) this.#after("ping", this.#options.pingInterval, () => this.#probe());
  }

  /** The page, the network or the machine woke up: do not wait for a timer. */
  #nudge() {
    if (this.#isUp()) this.#probe();
    else if (this.#timers.has("retry") && this.#reason !== "slow") {
      this.#stop("retry");
      this.#connect();
    }
  }

  #listen() {
    const { page } = this.#around;
    if (!page?.addEventListener || this.#listening.length) return;
    const told = () => this.#tell("statuschange", { ...this.status, previous: this.#state });
    this.#hear(page, "online", () => (told(), this.#nudge()));
    this.#hear(page, "offline", () => (told(), this.#probe()));
    this.#hear(page, "pageshow", () => this.#nudge());
    this.#hear(page, "pagehide", () => this.#hidden());
    this.#hear(page.document, "visibilitychange", () => page.document.visibilityState === "visible" && this.#nudge());
  }

  /** Perhaps the last moment of this page. */
  #hidden() {
    this.#keepIds();
    if (this.#timers.has("read")) this.#sayRead();
  }

  #hear(target, name, handler) {
    target?.addEventListener(name, handler);
    this.#listening.push(() => target?.removeEventListener(name, handler));
  }

  #unlisten() {
    for (const end of this.#listening.splice(0)) end();
  }

  #online() {
    return this.#around.page?.navigator?.onLine ?? true;
  }

  // Tokens.

  /** A token from a function is renewed a minute before its end, or after half its life if that is shorter. */
  #renewInTime(session) {
    const { exp } = claimsOf(session.token);
    if (typeof this.#options.token !== "function" || typeof exp !== "number") return;
    const left = exp * 1000 - Date.now();
    if (left > 0) this.#after("renew", Math.min(Math.max(left - 60_000, left / 2), LONGEST_TIMER), () => this.#renew(session));
  }

  async #renew(session) {
    try {
      const token = await this.#token();
      if (session !== this.#session || session.welcomedAt === null || token === session.token) return;
      session.token = token;
      this.#write({ type: "auth", data: { token } });
      this.#renewInTime(session);
    } catch {
      // The hub closes with 4401 when the token ends; then the function is called again.
    }
  }

  /** The user of the token: each user has their own position. */
  #takePlaceOf(token) {
    const user = String(claimsOf(token).sub ?? "");
    if (this.#place !== null && user === this.#user) return;
    this.#user = user;
    const { storageKey, url, seenLimit } = this.#options;
    this.#place = new Place(this.#storage(), `${storageKey}:${url}:${user}`);
    this.#seen = new SeenIds(seenLimit, this.#place.ids());
  }

  #storage() {
    const { remember } = this.#options;
    if (typeof remember === "object") return remember;
    try {
      if (remember === "session") return globalThis.sessionStorage ?? null;
      if (remember === "local") return globalThis.localStorage ?? null;
    } catch {
      // Forbidden by the browser's settings: a reloaded tab begins like a new one.
    }
    return null;
  }

  #keepIds() {
    this.#stop("ids");
    this.#place?.keepIds(this.#seen.newest(KEPT_IDS));
  }

  // Small steps.

  #isUp() {
    return this.#session !== null && this.#session.welcomedAt !== null;
  }

  #turn(state, reason = null) {
    const previous = this.#state;
    this.#state = state;
    this.#reason = reason;
    this.#log(previous, "→", state, reason ?? "");
    this.#tell("statuschange", { ...this.status, previous });
  }

  #order(orders) {
    if (!this.#isUp()) return;
    for (const [type, topic] of orders) this.#write({ type, data: { type: topic } });
  }

  #write(message) {
    const { socket } = this.#session;
    if (socket?.readyState !== OPEN) return;
    socket.send(JSON.stringify({ timestamp: new Date().toISOString(), ...message }));
    this.#log("sent", message.type);
    this.#figures.messagesOut += 1;
  }

  #pump() {
    if (!this.#isUp() || this.#timers.has("pump")) return;
    while (this.#queue.size) {
      const wait = this.#pace.take();
      if (wait) {
        this.#after("pump", wait, () => this.#pump());
        return;
      }
      this.#write(this.#queue.next());
      this.#tell("queue", { size: this.#queue.size, dropped: null, droppedInAll: this.#queue.dropped });
    }
  }

  /** Types and states only: contents and tokens do not belong in a console. */
  #log(...words) {
    const { debug } = this.#options;
    if (!debug) return;
    const log = typeof debug === "function" ? debug : this.#around.log;
    log("ResilientWebSocket:", ...words);
  }

  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  #after(name, pause, run) {
    this.#stop(name);
    const once = () => {
      this.#timers.delete(name);
      run();
    };
    this.#timers.set(name, this.#around.setTimeout(once, pause));
  }

  #stop(name) {
    if (this.#timers.has(name)) this.#around.clearTimeout(this.#timers.get(name));
    this.#timers.delete(name);
  }
}

/** The object in a text, or null. */
function read(text) {
  try {
    const said = JSON.parse(text);
    return typeof said === "object" ? said : null;
  } catch {
    return null;
  }
}

function isMessage(said) {
  return typeof said?.type === "string";
}
