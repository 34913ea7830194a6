/**
 * The small parts every page is made of.
 * @module
 */

import { h, put, say } from "../dom.js";
import { ago, date, known, language, moment, named, t } from "../i18n/words.js";
import { icon } from "./icons.js";

const SHAPES = { queued: "clock", running: "play", succeeded: "check", failed: "cross", cancelled: "stop" };

/** A job's state as text, shape and colour. @param {string} state @param {{wish?: boolean}} [more] wish: a stop is requested */
export function stateChip(state, { wish = false } = {}) {
  const stopping = wish && state === "running";
  return h("span.chip", { class: `is-${state}` }, icon(SHAPES[state] ?? "info"), stopping ? t("state.stopping") : named("state", state));
}

/** @param {string} kind */
export const kindName = (kind) => named("kind", kind);

/** A kind as people call it, and as programs do. @param {string} kind */
export function kindLabel(kind) {
  return known(`kind.${kind}`) ? h("span", { title: kind }, kindName(kind)) : h("span.mono", kind);
}

/** A time that keeps itself true: "2 min ago", the whole of it on hover. @param {any} at @returns {HTMLElement} */
export function when(at) {
  const made = date(at);
  if (!made) return h("span.soft", "–");
  return h("time", { datetime: made.toISOString(), title: moment(at), "data-ago": "" }, ago(at));
}

setInterval(() => {
  for (const time of document.querySelectorAll("time[data-ago]")) say(time, ago(time.getAttribute("datetime")));
}, 5000);

/** Both ends of an id, which is enough to recognise it. @param {string} id */
export const shortId = (id) => (id.length > 20 ? `${id.slice(0, 8)}…${id.slice(-4)}` : id);

/** @param {string} text @param {any} props @param {string} [sign] */
export function button(text, props = {}, sign) {
  return h("button.button", { type: "button", ...props }, sign && icon(/** @type {any} */ (sign)), h("span", text));
}

/** A button with a sign alone. @param {string} label @param {string} sign @param {any} props */
export function iconButton(label, sign, props = {}) {
  return h("button.button.icon-only", { type: "button", "aria-label": label, title: label, ...props }, icon(/** @type {any} */ (sign)));
}

/** A button that copies, and confirms it. @param {string} label @param {() => string} text */
export function copyButton(label, text) {
  const made = button(label, { class: "small", onclick: copy }, "copy");
  const words = made.querySelector("span");
  async function copy() {
    await toClipboard(text());
    say(words, t("copied"));
    made.classList.add("done");
    setTimeout(() => (say(words, label), made.classList.remove("done")), 2000);
  }
  words.setAttribute("aria-live", "polite");
  return made;
}

async function toClipboard(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Plain http on another address has no clipboard: the old way, through a selection.
    const area = h("textarea.hidden-visually", { value: text, "aria-hidden": "true" });
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}

/** The frame of a part of a page. @param {string} title @param {{actions?: any, class?: string, id?: string}} options @param {...any} children */
export function card(title, { actions = null, class: name = "", id } = {}, ...children) {
  const head = h("div.card-head", h("h2", id ? { id } : {}, title), actions && h("div.row", actions));
  return h("section.card", { class: name, "aria-label": title }, head, ...children);
}

/** Nothing there, and what to do about it. @param {string} sign @param {string} title @param {string} hint @param {...any} actions */
export function empty(sign, title, hint, ...actions) {
  return h("div.empty", icon(/** @type {any} */ (sign)), h("p.empty-title", title), hint && h("p", hint), actions.length ? h("div.row.center", actions) : null);
}

/** An error message, with a button to try again. @param {any} problem @param {(() => void) | null} [again] */
export function trouble(problem, again = null) {
  const [title, hint] = wordsOf(problem);
  return h("div.notice.is-bad", { role: "alert" }, icon("alert"), h("div.grow", h("p.strong", title), hint && h("p", hint)), again && button(t("again"), { class: "small", onclick: again }, "retry"));
}

/** What went wrong, and the detail: in Thai if the service has words for it. @param {any} problem @returns {[string, string]} */
export function wordsOf(problem) {
  const status = problem?.status ?? 0;
  const title = known(`problem.${status}`) ? t(`problem.${status}`) : t("problem");
  if (language() === "th" && problem?.body?.detailTh) return [title, problem.body.detailTh];
  return [title, language() === "th" && SAID_BY_TITLE.includes(status) ? "" : (problem?.message ?? "")];
}

/** Of these, the title alone tells a person what to do. */
const SAID_BY_TITLE = [401, 403, 404, 429, 503, 507];

/**
 * Why a job failed, in the page's language: the message's own Thai text, else words for its kind, else the message.
 * @param {{error?: string | null, errorTh?: string, errorType?: string | null}} job
 */
export function failureWords({ error, errorTh, errorType }) {
  if (language() !== "th" || !error) return error ?? "";
  if (errorTh) return errorTh;
  const kind = error === "Cancelled" ? "Cancelled" : (errorType ?? "");
  return known(`failure.${kind}`) ? t(`failure.${kind}`) : error;
}

/** What a running job does, in the page's language if it is one of the known words. @param {string | null | undefined} note */
export const noteWords = (note) => (note ? named("note", note) : "");

/** Names and values. @param {([string, any] | false | null)[]} rows */
export function facts(rows) {
  return h("dl.facts", rows.filter(Boolean).map((row) => h("div", h("dt", row[0]), h("dd", row[1] ?? "–"))));
}

/** The percentage, or null for a job that has not reported progress: many never do. @param {any} progress @returns {number | null} */
export function percentOf(progress) {
  const { percent, note } = progress ?? {};
  return typeof percent === "number" && (percent > 0 || note) ? Math.max(0, Math.min(100, percent)) : null;
}

/** A progress bar. @param {{percent?: number | null, note?: string | null} | null | undefined} progress @param {string} label */
export function bar(progress, label) {
  const percent = percentOf(progress);
  const fill = h("div.bar-fill", { style: { width: `${percent ?? 100}%` } });
  const values = percent === null ? {} : { "aria-valuenow": Math.round(percent) };
  return h("div.bar", { role: "progressbar", "aria-label": label, "aria-valuemin": 0, "aria-valuemax": 100, class: percent === null ? "unknown" : "", ...values }, fill);
}

/** Grey lines where something will stand, so that nothing jumps when it comes. @param {number} lines */
export function waiting(lines = 3) {
  return h("div.waiting", { "aria-busy": "true", "aria-label": t("loading"), role: "status" }, Array.from({ length: lines }, () => h("div.line")));
}

/** While something is under way its button waits. @param {any} element @param {() => Promise<any>} run */
export async function busy(element, run) {
  element.disabled = true;
  element.setAttribute("aria-busy", "true");
  try {
    return await run();
  } finally {
    element.disabled = false;
    element.removeAttribute("aria-busy");
  }
}

/** A switch between a few values. @param {string} label @param {[string, any][]} choices value and text @param {string} chosen @param {(value: string) => void} choose */
export function segmented(label, choices, chosen, choose) {
  const group = h("div.segmented", { role: "group", "aria-label": label });
  const draw = (now) => put(group, choices.map(([value, words]) => h("button", { type: "button", "aria-pressed": value === now, ...titled(words), onclick: () => (draw(value), group.querySelector("[aria-pressed=true]").focus(), choose(value)) }, words.sign ?? words)));
  draw(chosen);
  return group;
}

const titled = (words) => (words.label ? { "aria-label": words.label, title: words.label } : {});
