/**
 * The parts of a connection that lasts, each without a socket, a timer or a page: what a close code asks for, how
 * long to wait, what was seen, where one stood, what waits to be sent, what one wants to hear, who signed it.
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
 * @returns {"retry" | "slow" | "refused" | "stop"} retry: come back with backoff. slow: come back after a long pause.
 *   refused: the token is no good. stop: stay away.
 */
export function policyOf(code) {
  if (FINAL.has(code)) return "stop";
  if (REFUSED.has(code)) return "refused";
  if (SLOW.has(code)) return "slow";
  return "retry";
}

/** Pauses that double up to a cap and are spread, so that browsers do not all come back at the same moment. */
export class Backoff {
  /**
   * @param {{base: number, cap: number, jitter: number}} options milliseconds; jitter 0.5 spreads by ±50 %
   * @param {() => number} random
   */
  constructor({ base, cap, jitter }, random = Math.random) {
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
    const plain = Math.min(this.base * 2 ** Math.min(attempt - 1, 30), this.cap / (1 + this.jitter));
    return this.around(plain);
  }

  /** A pause spread around this one. @param {number} pause */
  around(pause) {
    return Math.round(pause * (1 + this.jitter * (2 * this.random() - 1)));
  }
}

/** The notification ids of late, the oldest forgotten first. A higher `redelivery` of a known id is news. */
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
 * Where one stood in the user's inbox, kept in a Storage of the browser so that a reloaded tab goes on from there.
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
      return null; // storage is forbidden here, or holds somebody else's text
    }
  }

  #write(key, value) {
    try {
      this.storage?.setItem(key, JSON.stringify(value));
    } catch {
      this.storage = null; // full or forbidden: this page goes on from memory
    }
  }
}

/** What waits to be sent while there is no connection. Bounded; what is given up is counted and told. */
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

/** Who wants to hear which type, and what the hub must be told of it. At first the hub sends every type. */
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

  /** What a hub that knows nothing of us must be told. @returns {[string, string][]} */
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
