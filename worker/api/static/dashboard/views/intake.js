/**
 * For a key that may hand in jobs and look at none.
 * @module
 */

import { icon } from "../components/icons.js";
import { button } from "../components/parts.js";
import { h } from "../dom.js";
import { t } from "../i18n/words.js";
import { openSubmit } from "./submit.js";

export function view() {
  const choose = button(t("hero.choose"), { class: "main big", onclick: () => openSubmit() }, "file");
  const hero = h("section.hero", { "aria-label": t("hero.title") }, icon("upload"), h("div.grow", h("h2", t("hero.title")), h("p", t("hero.text"))), choose);
  return { title: t("new"), element: h("div.content", h("div.page-head", h("div", h("h1", { tabindex: -1 }, t("new")), h("p.lead", t("new.only")))), hero) };
}
