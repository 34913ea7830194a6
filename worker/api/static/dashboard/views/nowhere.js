/**
 * An address that leads to nothing.
 * @module
 */

import { empty } from "../components/parts.js";
import { h } from "../dom.js";
import { t } from "../i18n/words.js";

export function view() {
  const back = h("a.button.main", { href: "#/" }, t("nav.overview"));
  return { title: t("nowhere"), element: h("div.content", h("h1", { tabindex: -1 }, t("nowhere")), empty("search", t("nowhere.title"), t("nowhere.hint"), back)) };
}
