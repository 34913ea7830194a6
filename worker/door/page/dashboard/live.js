/**
 * What happens in the service, as it happens: the event stream, and asking again and again where there is none.
 * @module
 */

import { get } from "./api.js";
import { merged } from "./series.js";

const ASK_AGAIN = 2000;
const STREAM_AGAIN = 5000;

/** Events: `stats` (the newest figures), `progress` and `settled` (lists). */
export const live = new EventTarget();
/** @type {any} */
let latest = null;
/** @type {EventSource | null} */
let source = null;
let timer = 0;
let started = false;

/** The newest figures there are, or null. */
export const stats = () => latest;

/**
 * What tells whether lists of jobs have changed: while it is the same, nobody needs to ask for them again.
 * New each half minute, for what it does not tell.
 */
export function version() {
  const { jobs, outbox, throughput = [] } = latest ?? {};
  const intake = throughput.filter(({ enqueued, failed }) => enqueued || failed).at(-1)?.at ?? "";
  return JSON.stringify([jobs, outbox?.depth, intake, source?.readyState, Math.floor(Date.now() / 30_000)]);
}

/** Listen until the signal; with figures at hand the listener hears them at once. @param {string} name @param {(detail: any) => void} listener @param {AbortSignal} signal */
export function follow(name, listener, signal) {
  live.addEventListener(name, (event) => listener(/** @type {CustomEvent} */ (event).detail), { signal });
  if (name === "stats" && latest) listener(latest);
}

export function start() {
  if (started) return;
  started = true;
  document.addEventListener("visibilitychange", attend);
  attend();
}

export function stop() {
  started = false;
  document.removeEventListener("visibilitychange", attend);
  hush();
}

/** A page nobody sees costs the service nothing. */
function attend() {
  hush();
  if (!started || document.visibilityState !== "visible") return;
  ask();
  source = new EventSource("/api/v1/live");
  for (const name of ["stats", "progress", "settled"]) source.addEventListener(name, heard);
  source.addEventListener("error", () => {
    if (source?.readyState !== EventSource.CLOSED) return; // it comes back by itself
    hush();
    timer = setTimeout(attend, STREAM_AGAIN);
  });
}

function hush() {
  clearTimeout(timer);
  source?.close();
  source = null;
}

/** The first figures, and all of them while the stream is silent. */
async function ask() {
  try {
    taken(await get("/api/v1/stats"));
  } catch {
    // api.js has told whoever shows it.
  }
}

setInterval(() => {
  const isSilent = source?.readyState !== EventSource.OPEN;
  if (started && isSilent && document.visibilityState === "visible") ask();
}, ASK_AGAIN);

function heard(event) {
  const detail = parsed(event.data);
  if (detail === null) return;
  if (event.type === "stats") taken(detail);
  else live.dispatchEvent(new CustomEvent(event.type, { detail: Array.isArray(detail) ? detail : (detail.jobs ?? [detail]) }));
}

function taken(figures) {
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
