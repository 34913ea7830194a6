/**
 * Live figures and events: the event stream, or polling where there is no stream.
 * @module
 */

import { base, get } from "./api.js";
import { merged } from "./series.js";

const POLL_INTERVAL = 2000;
const OWN_INTERVAL = 1000;
const STREAM_RETRY = 5000;

/** Events: `stats` (the newest figures), `progress` and `settled` (lists). */
export const live = new EventTarget();
/** @type {any} */
let latest = null;
/** @type {EventSource | null} */
let source = null;
let timer = 0;
let started = false;
/** Whether only the caller's own jobs may be counted, because the figures of the service are not for them. */
let ownOnly = false;

/** The newest figures there are, or null. */
export const stats = () => latest;

/**
 * A version of the lists of jobs: while it is the same, they need not be requested again.
 * It changes at least every half minute, for changes that it does not cover.
 */
export function version() {
  if (ownOnly) return latest?.version ?? "unknown";
  const { jobs, outbox, throughput = [] } = latest ?? {};
  const intake = throughput.filter(({ enqueued, failed }) => enqueued || failed).at(-1)?.at ?? "";
  return JSON.stringify([jobs, outbox?.depth, intake, source?.readyState, Math.floor(Date.now() / 30_000)]);
}

/** Listen until the signal; the listener receives known figures at once. @param {string} name @param {(detail: any) => void} listener @param {AbortSignal} signal */
export function follow(name, listener, signal) {
  live.addEventListener(name, (event) => listener(/** @type {CustomEvent} */ (event).detail), { signal });
  if (name === "stats" && latest) listener(latest);
}

/** @param {{own?: boolean}} [options] `own`: the caller's own jobs only */
export function start({ own = false } = {}) {
  if (started) return;
  started = true;
  ownOnly = own;
  document.addEventListener("visibilitychange", connect);
  connect();
}

export function stop() {
  started = false;
  latest = null;
  document.removeEventListener("visibilitychange", connect);
  disconnect();
}

/** A hidden page makes no requests. */
function connect() {
  disconnect();
  if (!started || document.visibilityState !== "visible") return;
  poll();
  if (ownOnly) return;
  source = new EventSource(`${base}/api/v1/live`);
  for (const name of ["stats", "progress", "settled"]) source.addEventListener(name, onEvent);
  source.addEventListener("error", () => {
    if (source?.readyState !== EventSource.CLOSED) return; // it reconnects by itself
    disconnect();
    timer = setTimeout(connect, STREAM_RETRY);
  });
}

function disconnect() {
  clearTimeout(timer);
  source?.close();
  source = null;
}

/** The first figures, and all of them while the stream is silent. */
async function poll() {
  try {
    update(await get(ownOnly ? "/api/v1/jobs/counts" : "/api/v1/stats"));
  } catch {
    // api.js has dispatched an event about it.
  }
}

setInterval(() => {
  if (started && ownOnly && document.visibilityState === "visible") poll();
}, OWN_INTERVAL);

setInterval(() => {
  if (ownOnly) return;
  const isSilent = source?.readyState !== EventSource.OPEN;
  if (started && isSilent && document.visibilityState === "visible") poll();
}, POLL_INTERVAL);

function onEvent(event) {
  const detail = parsed(event.data);
  if (detail === null) return;
  if (event.type === "stats") update(detail);
  else live.dispatchEvent(new CustomEvent(event.type, { detail: Array.isArray(detail) ? detail : (detail.jobs ?? [detail]) }));
}

function update(figures) {
  latest = { ...latest, ...figures, throughput: merged(latest?.throughput ?? [], figures.throughput ?? []) };
  live.dispatchEvent(new CustomEvent("stats", { detail: latest }));
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
