/**
 * Who are you? One key, sent once; what stays is a cookie that no script can read.
 * @module
 */

import { base } from "../api.js";
import { button, busy, wordsOf } from "../components/parts.js";
import { h, say } from "../dom.js";
import { t } from "../i18n/words.js";
import { signIn } from "../session.js";
import { languageSwitch, themeSwitch } from "../shell.js";

/** @param {() => void} entered @param {string} remark */
export function view(entered, remark) {
  document.title = `${t("login")} · insignia-worker`;
  const key = h("input", { id: "key", type: "password", name: "key", autocomplete: "current-password", spellcheck: false, required: true, "aria-describedby": "key-hint key-fault" });
  const fault = h("p.fault", { id: "key-fault", role: "alert" }, remark);
  const send = button(t("login.enter"), { type: "submit", class: "main wide" });
  const form = h(
    "form.login-card",
    { onsubmit: (event) => (event.preventDefault(), busy(send, enter)) },
    h("img", { src: `${base}/page/icon.svg`, alt: "", width: 44, height: 44 }),
    h("h1", t("login.title")),
    h("p.lead", t("login.lead")),
    h("label", { for: "key" }, t("login.key")),
    key,
    h("p.note", { id: "key-hint" }, t("login.hint")),
    fault,
    send,
  );
  async function enter() {
    say(fault, "");
    try {
      if (await signIn(key.value.trim())) entered();
      else say(fault, t("login.wrong"));
    } catch (problem) {
      say(fault, [401, 403, 422].includes(problem.status) ? t("login.wrong") : wordsOf(problem).filter(Boolean).join(" · "));
      key.select();
    }
  }
  requestAnimationFrame(() => key.focus());
  return h("div.login", h("main.login-main", form), h("div.row.center", languageSwitch(), themeSwitch()));
}
