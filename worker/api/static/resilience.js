/**
 * The parts of a connection that lasts, each without a socket, a timer or a page: what a close code asks for, how
 * long to wait, seen ids, the position, messages to send, subscriptions, signatures.
 * Used by resilient-websocket.js.
 * @module
 */

/** The application's close codes of the hub, and what RFC 6455 names. */
const REFUSED = new Set([4401, 4403]);
const SLOW = new Set([4409, 4429]);
const FINAL = new Set([1000, 1003, 1008]);

/**
 * What to do after a close code.
 * @param {number} code
 * @returns {"retry" | "slow" | "refused" | "stop"} retry: reconnect with backoff. slow: reconnect after a long pause.
 *   refused: the token was rejected. stop: do not reconnect.
 */
export function policyOf(code) {
  if (FINAL.has(code)) return "stop";
  if (REFUSED.has(code)) return "refused";
  if (SLOW.has(code)) return "slow";
  return "retry";
}

/** Pauses that grow up to a cap and are spread, so that browsers do not all reconnect at the same moment. */
export class Backoff {
  /**
   * @param {{base: number, cap: number, jitter: number, factor?: number}} options milliseconds; jitter 0.5 spreads by
   *   ±50 %; each pause is `factor` times the one before
   * @param {() => number} random
   */
  constructor({ base, cap, jitter, factor = 2 }, random = Math.random) {
    this.factor = factor;
    this.base = base;
    this.cap = cap;
    this.jitter = jitter;
    this.random = random;
  }

  /**
   * The pause before attempt n (1, 2, …). The plain pause is cut below the cap before it is spread: cut afterwards,
   * half of all pauses would be exactly the cap.
   * @param {number} attempt
   */
  delay(attempt) {
    const plain = Math.min(this.base * this.factor ** Math.min(attempt - 1, 1000), this.cap / (1 + this.jitter));
    return this.around(plain);
  }

  /** A pause spread around this one. @param {number} pause */
  around(pause) {
    return Math.round(pause * (1 + this.jitter * (2 * this.random() - 1)));
  }
}

/** The latest notification ids, oldest dropped first. A known id with a higher `redelivery` counts as new. */
export class SeenIds {
  /** @param {number} limit @param {Iterable<[string, number]>} known */
  constructor(limit, known = []) {
    this.limit = limit;
    this.known = new Map(known);
  }

  /**
   * Whether this one is new; from now on it is not.
   * @param {string} id @param {number} [redelivery]
   */
  isNew(id, redelivery = 0) {
    const before = this.known.get(id);
    if (before !== undefined && redelivery <= before) return false;
    this.known.delete(id);
    this.known.set(id, redelivery);
    if (this.known.size > this.limit) this.known.delete(this.known.keys().next().value);
    return true;
  }

  /** The newest, for keeping. @param {number} count @returns {[string, number][]} */
  newest(count) {
    return [...this.known].slice(-count);
  }
}

/**
 * The position in the user's inbox, kept in the browser's storage so that a reloaded tab resumes there.
 * The place is written at each notification, the ids only now and then: they are the second net.
 */
export class Place {
  /** @param {Storage | null} storage @param {string} key */
  constructor(storage, key) {
    this.storage = storage;
    this.key = key;
    const kept = this.#read(key);
    this.epoch = typeof kept?.epoch === "string" ? kept.epoch : null;
    this.lastSeq = Number.isSafeInteger(kept?.lastSeq) ? kept.lastSeq : null;
  }

  get known() {
    return this.epoch !== null && this.lastSeq !== null;
  }

  /** @param {string} epoch @param {number} lastSeq */
  set(epoch, lastSeq) {
    this.epoch = epoch;
    this.lastSeq = lastSeq;
    this.#write(this.key, { epoch, lastSeq });
  }

  /** Whether a message at this point has been had already. @param {string} epoch @param {number} seq */
  isPast(epoch, seq) {
    return epoch === this.epoch && this.lastSeq !== null && seq <= this.lastSeq;
  }

  /** @returns {[string, number][]} */
  ids() {
    const kept = this.#read(`${this.key}:ids`);
    return Array.isArray(kept) ? kept.filter((pair) => Array.isArray(pair) && typeof pair[0] === "string") : [];
  }

  /** @param {[string, number][]} ids */
  keepIds(ids) {
    this.#write(`${this.key}:ids`, ids);
  }

  #read(key) {
    try {
      return JSON.parse(this.storage?.getItem(key) ?? "null");
    } catch {
      return null; // the storage is not available, or contains foreign data
    }
  }

  #write(key, value) {
    try {
      this.storage?.setItem(key, JSON.stringify(value));
    } catch {
      this.storage = null; // full or not available: this page continues in memory
    }
  }
}

/** Messages to send once there is a connection. Bounded; dropped messages are counted and reported. */
export class OfflineQueue {
  /** @param {{limit: number, policy: "drop-oldest" | "drop-newest"}} options */
  constructor({ limit, policy }) {
    this.limit = limit;
    this.policy = policy;
    this.waiting = [];
    this.dropped = 0;
  }

  get size() {
    return this.waiting.length;
  }

  /** Put it in; what had to go for it (perhaps itself), or undefined. @param {unknown} message */
  push(message) {
    this.waiting.push(message);
    if (this.waiting.length <= this.limit) return undefined;
    this.dropped += 1;
    return this.policy === "drop-newest" ? this.waiting.pop() : this.waiting.shift();
  }

  next() {
    return this.waiting.shift();
  }
}

/** A token bucket: the hub ends connections that talk too much (4429), so we wait before it has to. */
export class Pace {
  /** @param {{burst: number, perSecond: number}} options @param {() => number} now milliseconds */
  constructor({ burst, perSecond }, now) {
    this.burst = burst;
    this.perSecond = perSecond;
    this.now = now;
    this.tokens = burst;
    this.at = now();
  }

  /** Take one; 0, or the milliseconds until there is one. */
  take() {
    const now = this.now();
    this.tokens = Math.min(this.burst, this.tokens + ((now - this.at) / 1000) * this.perSecond);
    this.at = now;
    if (this.tokens < 1) return Math.ceil(((1 - this.tokens) / this.perSecond) * 1000);
    this.tokens -= 1;
    return 0;
  }
}

/** The subscriptions, and the changes to send to the hub. Initially the hub sends every type. */
export class Subscriptions {
  constructor() {
    this.handlers = new Map();
    this.narrowed = false;
    this.unwanted = new Set();
  }

  /** @param {string} type or `*` @param {Function} handler @returns {[string, string][]} orders for the hub */
  add(type, handler) {
    const before = this.handlers.get(type) ?? new Set();
    const isFirst = before.size === 0;
    this.handlers.set(type, before.add(handler));
    if (type === "*") {
      const muted = this.narrowed || this.unwanted.size > 0;
      this.narrowed = false;
      this.unwanted.clear();
      return muted ? [["subscribe", "*"]] : [];
    }
    const wasUnwanted = this.unwanted.delete(type);
    return isFirst && (this.narrowed || wasUnwanted) ? [["subscribe", type]] : [];
  }

  /**
   * Without a handler: all of this type.
   * @param {string} type @param {Function} [handler] @returns {[string, string][]} orders for the hub
   */
  remove(type, handler) {
    const those = this.handlers.get(type);
    if (handler) those?.delete(handler);
    if (handler && those?.size) return [];
    const wasThere = this.handlers.delete(type);
    if (handler && !wasThere) return [];
    if (type === "*") return this.#narrow();
    if (this.handlers.has("*") || this.unwanted.has(type)) return [];
    this.unwanted.add(type);
    return [["unsubscribe", type]];
  }

  /** The messages for a hub that does not know the subscriptions. @returns {[string, string][]} */
  all() {
    if (this.narrowed) return this.#narrow();
    return [...this.unwanted].map((type) => ["unsubscribe", type]);
  }

  /** @param {string} type */
  wants(type) {
    return this.handlers.has(type) || !(this.narrowed || this.unwanted.has(type));
  }

  /** @param {string} type @returns {Function[]} */
  of(type) {
    return [...(this.handlers.get(type) ?? []), ...(this.handlers.get("*") ?? [])];
  }

  #narrow() {
    this.narrowed = true;
    this.unwanted.clear();
    const types = [...this.handlers.keys()].filter((type) => type !== "*");
    return [["unsubscribe", "*"], ...types.map((type) => ["subscribe", type])];
  }
}

/** Collects the newest value of each key, to be handed on together. */
export class Batcher {
  /** @param {(values: unknown[]) => void} deliver @param {(run: () => void) => void} later */
  constructor(deliver, later) {
    this.deliver = deliver;
    this.later = later;
    this.newest = new Map();
  }

  put(key, value) {
    if (this.newest.size === 0) this.later(() => this.flush());
    this.newest.set(key, value);
  }

  flush() {
    if (this.newest.size === 0) return;
    const values = [...this.newest.values()];
    this.newest.clear();
    this.deliver(values);
  }
}

const SIGNED = /^v1,([A-Za-z0-9+/]+={0,2})$/;
const SECRET = /^whsec_([A-Za-z0-9+/]+={0,2})$/;
const SECRET_BYTES = [24, 64];

/** Opens what the hub has signed by the Standard Webhooks scheme: HMAC-SHA256 over id, time and body. */
export class Verifier {
  /**
   * TypeError: the secret is none, or there is no Web Crypto here.
   * @param {string} secret `whsec_` and base64
   * @param {{tolerance: number, now?: () => number, subtle?: SubtleCrypto}} options milliseconds; tolerance 0: of any time
   */
  constructor(secret, { tolerance, now = Date.now, subtle = globalThis.crypto?.subtle }) {
    if (!subtle) throw new TypeError("signingSecret needs Web Crypto, which browsers give to https and localhost alone");
    const key = bytesOf(SECRET.exec(secret)?.[1] ?? "");
    const [least, most] = SECRET_BYTES;
    if (key.length < least || key.length > most) {
      throw new TypeError(`signingSecret must be whsec_ and base64 of ${least} to ${most} bytes`);
    }
    this.subtle = subtle;
    this.tolerance = tolerance;
    this.now = now;
    this.key = subtle.importKey("raw", key, { name: "HMAC", hash: "SHA-256" }, false, ["verify"]);
  }

  /**
   * The text that was signed; null: not by one who knows the secret, or not at this time.
   * @param {{id?: unknown, timestamp?: unknown, signature?: unknown, body?: unknown}} envelope timestamp in seconds
   */
  async open({ id, timestamp, signature, body }) {
    if (typeof id !== "string" || !Number.isSafeInteger(timestamp) || typeof body !== "string") return null;
    if (this.tolerance && Math.abs(this.now() - timestamp * 1000) > this.tolerance) return null;
    const content = new TextEncoder().encode(`${id}.${timestamp}.${body}`);
    // Several while a secret is being changed.
    for (const one of String(signature).split(" ")) {
      const found = SIGNED.exec(one);
      if (found && (await this.subtle.verify("HMAC", await this.key, bytesOf(found[1]), content))) return body;
    }
    return null;
  }
}

function bytesOf(base64) {
  try {
    return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  } catch {
    return new Uint8Array();
  }
}

/** The claims of a JWT, unverified: whose it is and when it ends are hints here; the hub decides. @param {unknown} token */
export function claimsOf(token) {
  try {
    const middle = String(token).split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    const claims = JSON.parse(new TextDecoder().decode(bytesOf(middle)));
    return typeof claims === "object" && claims !== null ? claims : {};
  } catch {
    return {};
  }
}

/** Whether this is an address, as WebSocket itself takes it. @param {unknown} value @returns {value is string | URL} */
export const isAddress = (value) => typeof value === "string" || value instanceof URL;

/** Names that were warned about: once each, however many sockets a page makes. */
const warned = new Set();

/**
 * Warn about options that do not exist, which are ignored otherwise: once for each name.
 * @param {object} options @param {string[]} known @param {(text: string) => void} warn
 * @param {string} [advice] for a name that is like none of these
 */
export function checkOptions(options, known, warn, advice = "") {
  for (const name of Object.keys(options)) {
    if (known.includes(name) || warned.has(name)) continue;
    warned.add(name);
    const near = nearest(name, known);
    const remedy = near ? `did you mean "${near}"?` : advice;
    warn(`ResilientWebSocket: there is no option "${name}"${remedy && `; ${remedy}`}`);
  }
}

/** The name that differs in the fewest letters, if those are not too many; else null. */
function nearest(name, known) {
  const [best] = known
    .map((other) => ({ other, steps: distance(name.toLowerCase(), other.toLowerCase()) }))
    .sort((a, b) => a.steps - b.steps);
  return best !== undefined && best.steps <= Math.max(2, name.length / 3) ? best.other : null;
}

/** The number of letters to add, remove or replace. */
function distance(a, b) {
  let row = Array.from({ length: b.length + 1 }, (_, n) => n);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next[j] = Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1));
    }
    row = next;
  }
  return row[b.length];
}

/**
 * Where the hub is when the page does not say: the service that the module was loaded from.
 * @param {string | undefined} module the module's address @param {string | undefined} origin of the page
 */
export function hubAddress(module, origin) {
  const found = /^(https?:\/\/[^/]+)(.*)\/page\/resilient-websocket\.js$/.exec(module ?? "");
  if (found === null) return "/ws"; // a copy, or part of a bundle
  return (found[1] === origin ? "" : found[1]) + found[2] + "/ws";
}
