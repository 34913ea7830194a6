/**
 * The dashboard: who looks, which page, and what the keys do.
 * @module
 */

import { events } from "./api.js";
import { closeDialogs } from "./components/dialog.js";
import { trouble, waiting, wordsOf } from "./components/parts.js";
import { clearToasts, toast } from "./components/toasts.js";
import { h, keep, put, recall } from "./dom.js";
import { languages, t } from "./i18n/words.js";
import * as live from "./live.js";
import * as jobToasts from "./job-toasts.js";
import { go, here, match } from "./router.js";
import { isBound, load, may, session, signOut } from "./session.js";
import { keysDialog, shell } from "./shell.js";

/** @typedef {{title: string, element: HTMLElement, update?: (query: Record<string, string[]>) => void}} View */
/** @typedef {{params: Record<string, string>, query: Record<string, string[]>, signal: AbortSignal}} Visit */

/** @type {[string, () => Promise<{view: (visit: Visit) => View}>][]} */
const ROUTES = [
  ["/", () => import("./views/overview.js")],
  ["/jobs", () => import("./views/jobs.js")],
  ["/jobs/:id", () => import("./views/job.js")],
  ["/jobs/:id/result", () => import("./views/result.js")],
  ["/jobs/:id/print", () => import("./views/print.js")],
  ["/notifications", () => import("./views/notifications.js")],
  ["/connection", () => import("./views/connection.js")],
  ["/hub", () => import("./views/hub.js")],
  ["/workers", () => import("./views/workers.js")],
  ["/settings", () => import("./views/settings.js")],
  ["/audit", () => import("./views/audit.js")],
];
const GOES = { o: "/", j: "/jobs", n: "/notifications", c: "/connection", h: "/hub", w: "/workers", s: "/settings", a: "/audit" };

const app = /** @type {HTMLElement} */ (document.getElementById("app"));
/** @type {ReturnType<typeof shell> | null} */
let frame = null;
/** @type {AbortController} */
let framed = new AbortController();
/** @type {{path: string, leave: AbortController, view: View | null} | null} */
let visit = null;

async function begin() {
  try {
    await load();
  } catch (problem) {
    put(app, h("main.alone", trouble(problem, begin)));
    return;
  }
  if (session()) enter();
  else askForKey();
}

/** @param {string} [remark] what is to be known of the session that has ended */
async function askForKey(remark = "") {
  leaveAll();
  const { view } = await import("./views/login.js");
  put(app, view(enter, remark));
}

function enter() {
  if (may("read")) live.start({ own: isBound() });
  jobToasts.start();
  draw();
}

/** The frame and the page in it, in the language of now. */
function draw() {
  framed.abort();
  framed = new AbortController();
  visit?.leave.abort();
  visit = null;
  frame = shell({ submit: newJob, help, leave: signedOut, signal: framed.signal });
  put(app, frame.element);
  if (may("enqueue")) import("./views/submit.js").then(({ catchDrops }) => catchDrops(framed.signal));
  route();
}

async function route() {
  if (!frame) return;
  const { path, query } = here();
  if (path === "/" && isBound()) return go("/jobs", {}, { replace: true });
  if (visit?.path === path && visit.view?.update) {
    visit.view.update(query);
    return;
  }
  visit?.leave.abort();
  const mine = (visit = { path, leave: new AbortController(), view: null });
  const isFirst = frame.main.childElementCount === 0;
  if (isFirst) put(frame.main, waiting(6));
  const made = await makeView(path, query, mine.leave.signal);
  if (mine !== visit) return;
  mine.view = made;
  put(frame.main, made.element);
  frame.mark(path, made.title);
  if (isFirst) return;
  window.scrollTo(0, 0);
  // The focus stays where the user already types.
  if (!document.activeElement?.matches("input, textarea, dialog *")) (frame.main.querySelector("h1") ?? frame.main).focus({ preventScroll: true });
}

async function makeView(path, query, signal) {
  if (!may("read")) return (await import("./views/intake.js")).view();
  for (const [pattern, open] of ROUTES) {
    const params = match(pattern, path);
    if (params === null) continue;
    try {
      return (await open()).view({ params, query, signal });
    } catch (problem) {
      console.error(problem);
      return { title: t("problem"), element: h("div.content", trouble(problem, () => location.reload())) };
    }
  }
  return (await import("./views/nowhere.js")).view();
}

async function newJob() {
  (await import("./views/submit.js")).openSubmit();
}

async function signedOut() {
  try {
    askForKey((await signOut()) ? "" : t("signOut.notStored"));
  } catch (problem) {
    toast({ level: "bad", title: t("signOut.failed"), text: wordsOf(problem).filter(Boolean).join(" · ") });
  }
}

/** Nothing of the session stays in sight, nor over the page that asks for a key. */
function leaveAll() {
  closeDialogs();
  clearToasts();
  jobToasts.stop();
  live.stop();
  visit?.leave.abort();
  visit = null;
  frame = null;
  framed.abort();
}

let keysAreOn = recall("localStorage", "dashboard:keys") ?? true;
let isGoing = false;

function help() {
  keysDialog(keysAreOn, (on) => {
    keysAreOn = on;
    keep("localStorage", "dashboard:keys", on);
  });
}

function pressed(event) {
  const isTyping = event.target instanceof Element && event.target.closest("input:not([type=checkbox],[type=range]),textarea,select,[contenteditable]");
  if (!frame || !keysAreOn || isTyping || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (!act(event.key)) return;
  event.preventDefault();
}

function act(key) {
  const wasGoing = isGoing;
  isGoing = !wasGoing && key === "g";
  if (isGoing) setTimeout(() => (isGoing = false), 1500);
  if (wasGoing && GOES[key]) go(GOES[key]);
  else if (key === "/") document.getElementById("search")?.focus();
  else if (key === "?") help();
  else if (key === "n" && may("enqueue")) newJob();
  else return isGoing;
  return true;
}

addEventListener("hashchange", route);
addEventListener("keydown", pressed);
languages.addEventListener("change", () => (frame ? draw() : askForKey()));
events.addEventListener("signedout", () => askForKey());
begin();
