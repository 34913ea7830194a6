/**
 * Messages in the corner, announced once to screen readers. Success messages disappear by themselves, once they have been
 * on a visible page for some seconds; errors stay.
 * @module
 */

import { h } from "../dom.js";
import { t } from "../i18n/words.js";
import { icon } from "./icons.js";
import { iconButton } from "./parts.js";

const STAYS = 9000;
const AT_ONCE = 4;
const SIGNS = { good: "check", bad: "alert", info: "info" };

const place = h("div.toasts", { role: "region" });
const polite = h("div.toast-list", { role: "status", "aria-live": "polite", "aria-relevant": "additions" });
place.append(polite);

/** Where they appear. */
export function toastPlace() {
  place.setAttribute("aria-label", t("toasts"));
  return place;
}

/**
 * @param {{level?: "good" | "bad" | "info", title: string, text?: string, href?: string, action?: string}} message
 * @returns {HTMLElement}
 */
export function toast({ level = "info", title, text = "", href, action }) {
  const link = href && h("a.toast-action", { href, onclick: () => leave(made) }, action ?? t("open"));
  const words = h("div.grow", h("p.strong", title), text && h("p.toast-text", text), link);
  const made = h("div.toast", { class: `is-${level}` }, icon(/** @type {any} */ (SIGNS[level])), words, iconButton(t("close"), "close", { class: "quiet small", onclick: () => leave(made) }));
  polite.prepend(made);
  while (polite.children.length > AT_ONCE) polite.lastElementChild?.remove();
  if (level !== "bad") leaveInTime(made);
  return made;
}

/** Not while the page is hidden, and not while the pointer or the focus is on it. */
function leaveInTime(made) {
  let timer = 0;
  const wait = (time) => {
    clearTimeout(timer);
    if (document.visibilityState === "visible") timer = setTimeout(() => leave(made), time);
  };
  const changed = () => (made.isConnected ? wait(STAYS) : document.removeEventListener("visibilitychange", changed));
  document.addEventListener("visibilitychange", changed);
  for (const name of ["pointerenter", "focusin"]) made.addEventListener(name, () => clearTimeout(timer));
  for (const name of ["pointerleave", "focusout"]) made.addEventListener(name, () => wait(STAYS / 2));
  wait(STAYS);
}

/** Remove all of them: they are for the user who is signed in. */
export function clearToasts() {
  polite.replaceChildren();
}

function leave(made) {
  made.remove();
}
