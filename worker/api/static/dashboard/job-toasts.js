/**
 * Toasts about ended jobs: from the hub's WebSocket where there is one, else from the event stream.
 * A job submitted on this page is watched until its end has been shown, also over reloads.
 * @module
 */

import { ResilientWebSocket } from "../resilient-websocket.js";
import { get } from "./api.js";
import { toast } from "./components/toasts.js";
import { failureWords, kindName } from "./components/parts.js";
import { keep, recall } from "./dom.js";
import { t } from "./i18n/words.js";
import { follow, live } from "./live.js";
import { hubToken, session } from "./session.js";
import * as unseen from "./unseen.js";

const WATCHED = 50;
const SOCKET_FIRST = 4000;
/** Between two looks at submitted jobs while the page is hidden and has no stream. */
const HIDDEN_INTERVAL = 10_000;
/** Jobs that are looked at together. */
const AT_ONCE = 5;
const ENDED = ["succeeded", "failed", "cancelled"];
const BURST = 3;
const BURST_WITHIN = 4000;

/** @type {ResilientWebSocket | null} */
let socket = null;
/** @type {AbortController | null} */
let running = null;
/** @type {Record<string, string>} */
let watched = {};
let key = "";
/** Times of the last toasts. @type {number[]} */
let told = [];
/** Notifications to report as shown when the user is back. @type {string[]} */
let waiting = [];

/** The connection that is shown in the corner; null where there is no hub. */
export const connection = () => socket;

export function start() {
  stop();
  const now = session();
  if (!now) return;
  running = new AbortController();
  key = `dashboard:watched:${now.name}`;
  watched = recall("localStorage", key) ?? {};
  unseen.start(now.name);
  waiting = [];
  document.addEventListener("visibilitychange", returned, { signal: running.signal });
  const looking = setInterval(() => document.visibilityState === "hidden" && checkSome(), HIDDEN_INTERVAL);
  running.signal.addEventListener("abort", () => clearInterval(looking));
  follow("settled", (jobs) => jobs.forEach(settled), running.signal);
  if (now.hub) listen(now.hub.path);
  else Object.keys(watched).forEach(check);
}

export function stop() {
  running?.abort();
  socket?.close();
  socket = null;
}

/** Show a toast when this job has ended. @param {string} jobId @param {string} kind */
export function watch(jobId, kind) {
  watched[jobId] = kind;
  const extra = Object.keys(watched).slice(0, -WATCHED);
  for (const id of extra) delete watched[id];
  keep("localStorage", key, watched);
}

function unwatch(jobId) {
  delete watched[jobId];
  keep("localStorage", key, watched);
}

function listen(path) {
  socket = new ResilientWebSocket({ url: path, token: hubToken });
  socket.addEventListener("notification", ({ detail }) => notified(detail));
  socket.addEventListener("progress", ({ detail }) => live.dispatchEvent(new CustomEvent("progress", { detail })));
  // Jobs that ended without a notification for this page: another user's job, or a hub with an empty inbox.
  socket.addEventListener("open", () => setTimeout(() => Object.keys(watched).forEach(check), SOCKET_FIRST));
  socket.open();
}

function notified({ success, payload }) {
  unwatch(payload.jobId);
  const state = success ? "succeeded" : payload.error === "Cancelled" ? "cancelled" : "failed";
  tell(payload.jobId, payload.taskType, state, failureWords(payload));
  live.dispatchEvent(new CustomEvent("ended", { detail: payload.jobId }));
  if (!payload.notificationId) return;
  if (document.visibilityState === "visible") socket?.shown(payload.notificationId);
  else waiting.push(payload.notificationId);
}

/** The user is back: what came in the meantime is on the page now. */
function returned() {
  if (document.visibilityState !== "visible") return;
  for (const id of waiting.splice(0)) socket?.shown(id);
  checkSome();
}

const checkSome = () => Object.keys(watched).slice(0, AT_ONCE).forEach(check);

/** The stream may be faster than the hub: wait, so that only one toast is shown. */
function settled(job) {
  const id = job.jobId ?? job.id;
  if (!(id in watched)) return;
  if (socket?.state === "connected" && (job.userId ?? session()?.userId) === session()?.userId) setTimeout(check, SOCKET_FIRST, id);
  else check(id);
}

async function check(jobId) {
  if (!(jobId in watched)) return;
  try {
    const job = await get(`/api/v1/jobs/${encodeURIComponent(jobId)}`);
    if (!ENDED.includes(job.status) || !(jobId in watched)) return;
    unwatch(jobId);
    tell(jobId, job.taskType, job.status, failureWords(job));
  } catch (problem) {
    if (problem.status === 404) unwatch(jobId);
  }
}

function tell(jobId, kind, state, error) {
  const now = Date.now();
  if (document.visibilityState === "hidden") {
    unseen.add({ jobId, kind, state, error: error ?? "", at: now });
    unseen.showOnDesktop(t(`notification.${state}`, kindName(kind)), state === "failed" ? (error ?? "") : "", `#/jobs/${jobId}`, jobId);
  }
  told = [...told.filter((at) => now - at < BURST_WITHIN), now];
  if (told.length > BURST) {
    if (told.length === BURST + 1) toast({ level: "info", title: t("notification.many"), href: "#/jobs", action: t("notification.list") });
    return;
  }
  const good = state === "succeeded";
  const hasResult = good && kind === "insignia_background_processing";
  toast({
    level: good ? "good" : state === "failed" ? "bad" : "info",
    title: t(`notification.${state}`, kindName(kind)),
    text: state === "failed" ? (error ?? "") : "",
    href: hasResult ? `#/jobs/${jobId}/result` : `#/jobs/${jobId}`,
    action: t(hasResult ? "notification.result" : "notification.look"),
  });
}
