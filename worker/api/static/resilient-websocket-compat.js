/**
 * Names of other WebSocket clients for resilient-websocket.js, so that code written for them runs unchanged.
 * All aliases are here; the client itself has one name for each thing. docs/moving.md has the table.
 * @module
 */

import { checkOptions, isAddress } from "./resilience.js";
import { OPTIONS, ResilientWebSocket as Client, forJob } from "./resilient-websocket.js";

/** Their option: what it is here. */
const OPTION_ALIASES = {
  maxReconnectAttempts: (value) => ({ attempts: attemptsOf(value) }),
  maxRetries: (value) => ({ attempts: attemptsOf(value) }),
  reconnectDelay: (value) => ({ reconnectionDelay: value }),
  reconnectInterval: (value) => ({ reconnectionDelay: value }),
  minReconnectionDelay: (value) => ({ reconnectionDelay: value }),
  maxReconnectDelay: (value) => ({ maxReconnectionDelay: value }),
  connectionTimeout: (value) => ({ timeout: value }),
  maxQueueSize: (value) => ({ queueLimit: value }),
  heartbeatInterval: (value) => ({ pingInterval: value }),
  enableHeartbeat: (value) => (value ? {} : { pingInterval: 0 }),
  autoReconnect: (value) => ({ reconnect: value }),
};

/** Their event: ours, and what their handlers get. */
const EVENT_ALIASES = {
  close: { name: "closed" },
  stateChange: { name: "statuschange", detail: (status) => ({ ...status, newState: status.state, oldState: status.previous }) },
  statusChange: { name: "statuschange" },
  maxReconnectAttemptsReached: { name: "failed", when: ({ reason }) => reason === "exhausted" },
};

/** With them, 0 attempts are none, and Infinity is endless. */
const attemptsOf = (value) => (Number.isFinite(value) ? Math.max(1, value) : 0);

/** @param {Record<string, any>} options */
function translated(options) {
  const ours = {};
  for (const [name, value] of Object.entries(options)) {
    const alias = Object.hasOwn(OPTION_ALIASES, name) ? OPTION_ALIASES[name] : null;
    Object.assign(ours, alias ? alias(value) : { [name]: value });
  }
  // A switch wins over the value that it switches off, in whatever order they stand.
  if (options.enableHeartbeat === false) ours.pingInterval = 0;
  if (options.maxReconnectAttempts === 0 || options.maxRetries === 0) ours.reconnect = false;
  return ours;
}

/** The client with the names of others besides its own. */
export class ResilientWebSocket extends Client {
  #listeners = new Map();
  /** What a subscriber's handler was registered as. */
  #subscribers = new WeakMap();

  /** `(url, options)` or `(options)`. */
  constructor(url, options, around) {
    const [given, more] = isAddress(url) ? [{ ...options, url }, around] : [url ?? {}, options];
    const known = [...OPTIONS, ...Object.keys(OPTION_ALIASES)];
    checkOptions(given, known, more?.warn ?? ((text) => console.warn(text)));
    super(Object.fromEntries(Object.entries(translated(given)).filter(([name]) => OPTIONS.includes(name))), more);
  }

  /**
   * Open; resolves when connected. Rejects when it is closed before (`closed`), or gives up: with the reason in words, and
   * `reason` and `code` as the event `failed` has them.
   * @returns {Promise<void>}
   */
  connect() {
    if (this.state === "connected") return Promise.resolve();
    return new Promise((resolve, reject) => {
      const done = new AbortController();
      const settle = (act, value) => (done.abort(), act(value));
      const { signal } = done;
      this.addEventListener("open", () => settle(resolve), { signal });
      const failure = ({ text, hint, reason, code }) => Object.assign(new Error(hint || text), { reason, code });
      this.addEventListener("failed", ({ detail }) => settle(reject, failure(detail)), { signal });
      // Not the event `closed`: when the client gives up, that one comes first, and does not say why.
      this.addEventListener("statuschange", ({ detail }) => detail.state === "disconnected" && settle(reject, new Error("closed")), { signal });
      this.open();
    });
  }

  disconnect(code, reason) {
    this.close(code, reason);
  }

  isConnected() {
    return this.state === "connected";
  }

  /**
   * Listen to an event by its name here or there; the handler gets the facts, not an Event.
   * @param {string} name @param {(detail: any) => void} handler
   */
  on(name, handler) {
    const alias = Object.hasOwn(EVENT_ALIASES, name) ? EVENT_ALIASES[name] : { name };
    const listener = ({ detail }) => {
      if (alias.when?.(detail) ?? true) handler(alias.detail?.(detail) ?? detail);
    };
    const known = this.#listeners.get(name) ?? new Map();
    if (known.has(handler)) return this;
    this.#listeners.set(name, known.set(handler, { name: alias.name, listener }));
    this.addEventListener(alias.name, listener);
    return this;
  }

  /** Without a handler: all of this name that came by `on`. */
  off(name, handler) {
    const known = this.#listeners.get(name) ?? new Map();
    for (const one of handler ? [handler] : [...known.keys()]) {
      const found = known.get(one);
      if (found) this.removeEventListener(found.name, found.listener);
      known.delete(one);
    }
    return this;
  }

  /** @param {(status: string) => void} handler gets `connecting`, `connected`, `reconnecting`, `disconnected` or `error` */
  onStatusChange(handler) {
    const listener = ({ detail }) => handler(statusOf(detail.state));
    this.addEventListener("statuschange", listener);
    return () => this.removeEventListener("statuschange", listener);
  }

  /** The handler gets the whole message, `{type, timestamp, data}`. */
  subscribe(type, handler) {
    if (!this.#subscribers.has(handler)) this.#subscribers.set(handler, (_data, _type, message) => handler(message));
    return super.subscribe(type, this.#subscribers.get(handler));
  }

  /** Without a handler: the hub shall send this type no more. */
  unsubscribe(type, handler) {
    super.unsubscribe(type, this.#subscribers.get(handler) ?? handler);
  }

  /** A message as an object or as its JSON, or type and data. */
  send(message, ...more) {
    const read = typeof message === "string" && message.startsWith("{") ? JSON.parse(message) : message;
    if (typeof read !== "object" || read === null) return super.send(message, ...more);
    const { type, timestamp: _, data, ...fields } = read;
    return super.send(type, data ?? (Object.keys(fields).length ? fields : null));
  }

  getStatus() {
    const { state, connections, messagesIn, messagesOut, errors, reconnects, attempt, lastPong, connectedSince } = this.statistics;
    return {
      status: statusOf(state),
      connected: state === "connected",
      connectionState: state,
      reconnectAttempts: attempt,
      lastPong,
      stats: {
        totalConnections: connections,
        totalMessages: messagesIn + messagesOut,
        connectTime: connectedSince,
        messageCount: messagesIn,
        errorCount: errors,
        reconnectCount: reconnects,
      },
    };
  }

  /** @param {string | null} [lang] `th` or `en` */
  getUserFriendlyStatus(lang) {
    const words = this.describe(lang);
    return { ...words, status: this.state, message: words.text };
  }
}

const statusOf = (state) => (state === "failed" ? "error" : state);

/**
 * A connection for one job, opened at once.
 * @param {string} taskId
 * @param {{onOpen?: Function, onMessage?: Function, onError?: Function, onClose?: Function}} [handlers]
 * @param {Record<string, any>} [options] `token` is needed unless the hub admits anonymous clients
 */
export function createReconnectingWebSocket(taskId, { onOpen, onMessage, onError, onClose } = {}, options = {}, around = undefined) {
  const socket = new ResilientWebSocket(forJob(taskId, options, around?.page), around);
  for (const [name, handler] of Object.entries({ open: onOpen, message: onMessage, error: onError, close: onClose })) {
    if (handler) socket.on(name, handler);
  }
  socket.open();
  return socket;
}
