/**
 * JSON for eyes: indented, coloured by what a value is, cut where it is too long to draw. All of it text nodes.
 * @module
 */

import { h } from "../dom.js";
import { number, t } from "../i18n/words.js";
import { copyButton } from "./parts.js";

const TOKENS = /("(?:[^"\\]|\\.)*")(\s*:)?|\b(?:true|false|null)\b|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;
const LONGEST = 20_000;

/** @param {any} value @param {string} label the name for screen readers */
export function jsonView(value, label) {
  const text = JSON.stringify(value, null, 2) ?? "null";
  const shown = text.length > LONGEST ? text.slice(0, LONGEST) : text;
  const cut = text.length > LONGEST && h("p.note", t("json.cut", number(text.length)));
  const block = h("pre.code", { tabindex: 0, role: "region", "aria-label": label }, h("code", coloured(shown)));
  return h("div.code-box", h("div.code-tools", copyButton(t("copy"), () => text)), block, cut);
}

function* pieces(text) {
  let from = 0;
  for (const found of text.matchAll(TOKENS)) {
    if (found.index > from) yield text.slice(from, found.index);
    from = found.index + found[0].length;
    if (found[2]) yield* [h("span.j-key", found[1]), found[2]];
    else if (found[1]) yield h("span.j-text", found[1]);
    else yield h("span.j-value", found[0]);
  }
  if (from < text.length) yield text.slice(from);
}

const coloured = (text) => [...pieces(text)];
