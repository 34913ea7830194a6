/**
 * One officer of a result: who it is, both decisions in words, and why.
 * @module
 */

import { get } from "../api.js";
import { dialog } from "../components/dialog.js";
import { icon } from "../components/icons.js";
import { copyButton, facts, trouble, waiting } from "../components/parts.js";
import { h, put } from "../dom.js";
import { language, named, t } from "../i18n/words.js";
import { classBadge, className, reasonWords } from "./insignia.js";

const SIGNS = { yes: "check", no: "cross", unknown: "alert" };

/** The heading of a column with both: many rosters have only one of them. */
export const postAndOffice = () => `${t("result.post")} · ${t("result.office")}`;

/** @param {any} row "นาง ใจดี งามตา", or nothing for a roster without names */
export const fullName = (row) => [`${row.title ?? ""}${row.first_name ?? ""}`, row.last_name].filter(Boolean).join(" ");

/** Open one officer's sheet. @param {string} path of the job @param {any} row */
export function openOfficer(path, row) {
  const body = h("div.stack", factsOf(row), decisions(row), waiting(6));
  const leave = new AbortController();
  dialog(fullName(row) || row.person_id, body, { class: "officer", onclose: () => leave.abort() });
  load();

  async function load() {
    try {
      const found = await get(`${path}/rows/${row.n}`, {}, leave.signal);
      put(body, factsOf(found.row), decisions(found.row, found[language()] ?? found.en), basis(found));
    } catch (problem) {
      if (!leave.signal.aborted) put(body, factsOf(row), decisions(row), trouble(problem, load));
    }
  }
}

function factsOf(row) {
  return facts([
    [t("result.person"), h("span.mono.figures", row.person_id)],
    Boolean(row.sex) && [t("result.sex"), row.sex],
    Boolean(row.post) && [t("result.post"), row.post],
    Boolean(row.office) && [t("result.office"), row.office],
    Boolean(row.next_round) && [t("result.nextRound"), t("result.fromRound", row.next_round)],
  ]);
}

/** Both decisions, each with the questions that were asked. @param {any} row @param {any[]} [lines] */
function decisions(row, lines = []) {
  return ["class", "medal"].map((about) => {
    const mine = lines.filter((line) => line.about === about && line.kind !== "decision");
    return h("section", h("h3", t(`result.${about}`)), decisionWords(row[about]), mine.length > 0 && h("ul.reasons", { "aria-label": t(`result.why.${about}`) }, mine.map(sentence)));
  });
}

/** A decision in words: what, which class, why, and the code for those who look it up. @param {any} one */
function decisionWords(one) {
  const award = one.award && [classBadge(one.award), " ", className(one.award)];
  const next = one.next_award && [" · ", t("result.next"), " ", classBadge(one.next_award), " ", className(one.next_award)];
  return h("div.verdict", h("p", h("span.strong", named("decision", one.decision)), award && [" ", award], one.reason && ` · ${reasonWords(one.reason)}`, next), h("p.note", t("result.confidence"), " ", named("confidence", one.confidence), " · ", h("span.mono.break", [one.decision, one.award ?? one.reason, one.step].filter(Boolean).join(" "))));
}

function sentence(line) {
  const sign = line.answer ? icon(/** @type {any} */ (SIGNS[line.answer])) : icon(line.kind === "missing" ? "alert" : "info");
  return h("li", { class: `is-${line.answer ?? line.kind} of-${line.kind}` }, sign, h("span", line.text));
}

function basis(found) {
  const { criteria, row } = found;
  const same = h("p.note", icon(found.sameAnswer ? "check" : "alert"), " ", t(found.sameAnswer ? "result.same" : "result.notSame"));
  return h(
    "section.basis",
    facts([
      [t("result.decisionId"), h("span.row", h("span.mono.break", row.decision_id), copyButton(t("copyId"), () => row.decision_id))],
      [t("result.criteria"), criteriaWords(criteria)],
      [t("result.round"), String(found.round)],
    ]),
    same,
  );
}

/** The criteria of a result, short enough for a line. @param {any} criteria */
export function criteriaWords(criteria) {
  return h("span.break", { title: `sha256 ${criteria.sha256}` }, [criteria.file, criteria.version].filter(Boolean).join(" "), " ", h("span.mono.note", `sha256 ${criteria.sha256.slice(0, 16)}…`));
}
