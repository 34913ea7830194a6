/**
 * The officers of a result on sheets of A4: every row that the filter selects, with a head, page by page.
 * @module
 */

import { get } from "../api.js";
import { icon } from "../components/icons.js";
import { button, empty, trouble, waiting } from "../components/parts.js";
import { h, put } from "../dom.js";
import { named, number, t } from "../i18n/words.js";
import { to } from "../router.js";
import { abbreviation, className, filterOf, reasonWords, subtitle } from "./insignia.js";
import { fullName, postAndOffice } from "./officer.js";

const AT_ONCE = 500;
/** Rows on one print: about 400 sheets. */
const MOST = 10_000;

/** @param {import("../app.js").Visit} visit */
export function view({ params, query, signal }) {
  const path = `/api/v1/jobs/${encodeURIComponent(params.id)}`;
  const filter = filterOf(query);
  const print = button(t("print"), { class: "main", disabled: true, "data-print": "", onclick: () => window.print() }, "print");
  const count = h("p.soft", { role: "status" });
  const sheet = h("div.sheets", waiting(8));
  const back = h("a.back.screen-only", { href: to(`/jobs/${params.id}/result`, filter) }, icon("left"), t("result"));
  const element = h("div.content.printing", back, h("div.page-head.screen-only", h("div", h("h1", { tabindex: -1 }, t("result.print")), count), h("div.row.actions", print)), sheet);
  load();

  async function load() {
    try {
      const job = await get(path, {}, signal);
      if (!job.result) return put(sheet, empty("medal", t("result.none"), t("result.noneHint")));
      const { rows, matched } = await collect();
      put(count, rows.length < matched ? t("result.printSome", number(rows.length), number(matched)) : t("result.matched", matched, number(matched)));
      put(sheet, head(job, filter, matched), people(rows, filter), foot(job.result));
      print.disabled = false;
    } catch (problem) {
      if (!signal.aborted) put(sheet, trouble(problem, load));
    }
  }

  async function collect() {
    let rows = [];
    let cursor = null;
    let matched = 0;
    do {
      const page = await get(`${path}/rows`, { ...filter, cursor, limit: AT_ONCE }, signal);
      rows = rows.concat(page.rows);
      ({ cursor, matched } = page);
      put(count, t("result.printLoading", number(rows.length), number(matched)));
    } while (cursor && rows.length < MOST);
    return { rows, matched };
  }

  return { title: t("result.print"), element };
}

function head(job, filter, matched) {
  const what = [t(`result.list.${filter.show}`), filter.class && className(filter.class), filter.reason && reasonWords(filter.reason), filter.text].filter(Boolean).join(" · ");
  return h("header.sheet-head", h("h2", t("result.of", job.result.round)), h("p", subtitle(job)), h("p", what, " · ", t("result.matched", matched, number(matched))));
}

function people(rows, filter) {
  if (!rows.length) return empty("search", t("result.noRows"), "");
  const heads = ["number", "person", "name", "post", "class", "reason", "medal"].map((name) => h("th", { scope: "col" }, name === "post" ? postAndOffice() : t(`result.${name}`)));
  return h("table.sheet", h("caption.hidden-visually", t(`result.list.${filter.show}`)), h("thead", h("tr", heads)), h("tbody", rows.map(line)));
}

function line(row, place) {
  const { class: one, medal } = row;
  const award = one.award ? abbreviation(one.award) : named("decision", one.decision);
  const why = one.reason ? `${reasonWords(one.reason)}${row.next_round ? ` (${t("result.fromRound", row.next_round)})` : ""}` : "";
  const second = medal.award ? abbreviation(medal.award) : medal.decision === "manual_review" ? named("decision", medal.decision) : "–";
  return h("tr", h("td.figures", number(place + 1)), h("td.figures", row.person_id), h("td", fullName(row)), h("td", [row.post, row.office].filter(Boolean).join(" · ")), h("td", award), h("td", why), h("td", second));
}

function foot(result) {
  const criteria = result.criteria && `${t("result.criteria")} ${result.criteria.file} ${result.criteria.version} · sha256 ${result.criteria.sha256.slice(0, 16)}`;
  const sign = (name) => h("div", h("p", `${t(name)} ……………………………………………`), h("p", "(……………………………………………)"));
  return h("footer.sheet-foot", h("div.signatures", sign("result.prepared"), sign("result.checked")), criteria && h("p.note", criteria));
}
