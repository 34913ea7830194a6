/**
 * Ends of jobs that the user has not seen yet: counted in the title, listed in the page, and shown by the desktop where
 * the user allows it.
 * @module
 */

import { keep, recall } from "./dom.js";

const KEPT = 100;

/** @typedef {{jobId: string, kind: string, state: string, error: string, at: number}} Ended */

/** Event: `change`. */
export const unseen = new EventTarget();
/** @type {Ended[]} */
let entries = [];
let key = "";
let title = "";

/** Use the list of this user; it is kept over reloads. @param {string} name */
export function start(name) {
  key = `dashboard:unseen:${name}`;
  entries = recall("localStorage", key) ?? [];
  changed();
}

/** The newest first. */
export const listed = () => entries;

/** @param {Ended} ended */
export function add(ended) {
  entries = [ended, ...entries.filter(({ jobId }) => jobId !== ended.jobId)].slice(0, KEPT);
  changed();
}

/** The user has seen this job, or all of them. @param {string} [jobId] */
export function seen(jobId) {
  const left = jobId === undefined ? [] : entries.filter((one) => one.jobId !== jobId);
  if (left.length === entries.length) return;
  entries = left;
  changed();
}

/** @param {string} base the title without the count */
export function setTitle(base) {
  title = base;
  document.title = entries.length ? `(${entries.length}) ${title}` : title;
}

/** Whether the browser would ask the user when told to. */
export const canAsk = () => "Notification" in window && Notification.permission === "default";
export const ask = () => Notification.requestPermission().then(() => unseen.dispatchEvent(new Event("change")));

/** Show it on the desktop, if the user allows it. @param {string} text @param {string} body @param {string} href @param {string} tag */
export function showOnDesktop(text, body, href, tag) {
  if (!("Notification" in window) || Notification.permission !== "granted") return;
  try {
    const shown = new Notification(text, { body, tag });
    shown.addEventListener("click", () => {
      window.focus();
      location.hash = href;
      shown.close();
    });
  } catch {
    // Some phones allow them to service workers only.
  }
}

function changed() {
  keep("localStorage", key, entries);
  if (title) setTitle(title);
  unseen.dispatchEvent(new Event("change"));
}
