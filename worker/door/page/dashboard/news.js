/**
 * News of jobs as toasts, through the product itself: the hub's socket where there is one, else the event stream.
 * A job submitted here is watched until its end was told, over reloads too.
 * @module
 */

import { ResilientWebSocket } from "../resilient-websocket.js";
import { get } from "./api.js";
import { toast } from "./components/toasts.js";
import { kindName } from "./components/parts.js";
import { keep, recall } from "./dom.js";
import { t } from "./i18n/words.js";
import { follow, live } from "./live.js";
import { hubToken, session } from "./session.js";

const WATCHED = 50;
const SOCKET_FIRST = 4000;
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

/** The connection that is shown in the corner; null where there is no hub. */
export const connection = () => socket;

export function start() {
  stop();
  const now = session();
  if (!now) return;
  running = new AbortController();
  key = `dashboard:watched:${now.name}`;
  watched = recall("localStorage", key) ?? {};
  follow("settled", (jobs) => jobs.forEach(settled), running.signal);
  if (now.hub) listen(now.hub.path);
  else Object.keys(watched).forEach(check);
}

export function stop() {
  running?.abort();
  socket?.close();
  socket = null;
}

/** Tell here when this job has ended. @param {string} jobId @param {string} kind */
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
  // Whatever ended while nobody listened and was not kept for us: another user's job, a hub that started afresh.
  socket.addEventListener("open", () => setTimeout(() => Object.keys(watched).forEach(check), SOCKET_FIRST));
  socket.open();
}

function notified({ success, payload }) {
  unwatch(payload.jobId);
  const state = success ? "succeeded" : payload.error === "Cancelled" ? "cancelled" : "failed";
  tell(payload.jobId, payload.taskType, state, payload.error);
  live.dispatchEvent(new CustomEvent("ended", { detail: payload.jobId }));
  if (payload.notificationId && document.visibilityState === "visible") socket?.shown(payload.notificationId);
}

/** The stream is faster than the hub now and then, and its toast would be the second one. */
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
    tell(jobId, job.taskType, job.status, job.error);
  } catch (problem) {
    if (problem.status === 404) unwatch(jobId);
  }
}

function tell(jobId, kind, state, error) {
  const now = Date.now();
  told = [...told.filter((at) => now - at < BURST_WITHIN), now];
  if (told.length > BURST) {
    if (told.length === BURST + 1) toast({ level: "info", title: t("news.many"), href: "#/jobs", action: t("news.list") });
    return;
  }
  const good = state === "succeeded";
  const hasResult = good && kind === "insignia_background_processing";
  toast({
    level: good ? "good" : state === "failed" ? "bad" : "info",
    title: t(`news.${state}`, kindName(kind)),
    text: state === "failed" ? (error ?? "") : "",
    href: hasResult ? `#/jobs/${jobId}/result` : `#/jobs/${jobId}`,
    action: t(hasResult ? "news.result" : "news.look"),
  });
}
