/**
 * What has just happened, in the corner, read out once. Good news goes by itself, bad news stays.
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
 * @param {{level?: "good" | "bad" | "info", title: string, text?: string, href?: string, action?: string}} news
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

/** Not while somebody reads it. */
function leaveInTime(made) {
  let timer = setTimeout(() => leave(made), STAYS);
  for (const name of ["pointerenter", "focusin"]) made.addEventListener(name, () => clearTimeout(timer));
  for (const name of ["pointerleave", "focusout"]) made.addEventListener(name, () => (timer = setTimeout(() => leave(made), STAYS / 2)));
}

function leave(made) {
  made.remove();
}
