/**
 * Dialogs: the browser's own, which keep the focus inside and give it back.
 * @module
 */

import { h, newId } from "../dom.js";
import { t } from "../i18n/words.js";
import { button, iconButton } from "./parts.js";

/**
 * @param {string} title @param {any} body @param {{footer?: any, class?: string, onclose?: () => void}} [options]
 * @returns {HTMLDialogElement} open
 */
export function dialog(title, body, { footer = null, class: name = "", onclose } = {}) {
  const id = newId("dialog");
  const close = iconButton(t("close"), "close", { class: "quiet", onclick: () => made.close() });
  const made = h("dialog", { class: name, "aria-labelledby": id }, h("div.dialog-head", h("h2", { id }, title), close), h("div.dialog-body", body), footer && h("div.dialog-foot", footer));
  made.addEventListener("click", (event) => event.target === made && made.close());
  made.addEventListener("close", () => (made.remove(), onclose?.()));
  document.body.append(made);
  made.showModal();
  return made;
}

/** Close every open dialog, as its user would. */
export function closeDialogs() {
  for (const one of document.querySelectorAll("dialog[open]")) /** @type {HTMLDialogElement} */ (one).close();
}

/**
 * @param {string} title @param {string} text @param {string} yes @param {{danger?: boolean}} [options]
 * @returns {Promise<boolean>}
 */
export function confirmed(title, text, yes, { danger = false } = {}) {
  return new Promise((resolve) => {
    let answer = false;
    const sure = button(yes, { class: danger ? "danger" : "main", onclick: () => ((answer = true), made.close()) });
    const no = button(t("notNow"), { onclick: () => made.close() });
    const made = dialog(title, h("p", text), { class: "small", footer: [no, sure], onclose: () => resolve(answer) });
    sure.focus();
  });
}
