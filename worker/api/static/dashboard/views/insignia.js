/**
 * Words and figures of an insignia result that several pages show.
 * @module
 */

import { shares } from "../components/chart.js";
import { icon } from "../components/icons.js";
import { card } from "../components/parts.js";
import { h } from "../dom.js";
import { date, language, named, number, t } from "../i18n/words.js";

export const INSIGNIA = "insignia_background_processing";

/** Every class, the highest first: code, Thai abbreviation, Thai name, English name. */
export const CLASSES = [
  ["WES", "ม.ป.ช.", "มหาปรมาภรณ์ช้างเผือก", "White Elephant, Special Class"],
  ["CTS", "ม.ว.ม.", "มหาวชิรมงกุฎ", "Crown of Thailand, Special Class"],
  ["WE1", "ป.ช.", "ประถมาภรณ์ช้างเผือก", "White Elephant, 1st Class"],
  ["CT1", "ป.ม.", "ประถมาภรณ์มงกุฎไทย", "Crown of Thailand, 1st Class"],
  ["WE2", "ท.ช.", "ทวีติยาภรณ์ช้างเผือก", "White Elephant, 2nd Class"],
  ["CT2", "ท.ม.", "ทวีติยาภรณ์มงกุฎไทย", "Crown of Thailand, 2nd Class"],
  ["WE3", "ต.ช.", "ตริตาภรณ์ช้างเผือก", "White Elephant, 3rd Class"],
  ["CT3", "ต.ม.", "ตริตาภรณ์มงกุฎไทย", "Crown of Thailand, 3rd Class"],
  ["WE4", "จ.ช.", "จัตุรถาภรณ์ช้างเผือก", "White Elephant, 4th Class"],
  ["CT4", "จ.ม.", "จัตุรถาภรณ์มงกุฎไทย", "Crown of Thailand, 4th Class"],
  ["WE5", "บ.ช.", "เบญจมาภรณ์ช้างเผือก", "White Elephant, 5th Class"],
  ["CT5", "บ.ม.", "เบญจมาภรณ์มงกุฎไทย", "Crown of Thailand, 5th Class"],
  ["WE6", "ร.ท.ช.", "เหรียญทองช้างเผือก", "White Elephant, Gold Medal"],
  ["CT6", "ร.ท.ม.", "เหรียญทองมงกุฎไทย", "Crown of Thailand, Gold Medal"],
  ["WE7", "ร.ง.ช.", "เหรียญเงินช้างเผือก", "White Elephant, Silver Medal"],
  ["CT7", "ร.ง.ม.", "เหรียญเงินมงกุฎไทย", "Crown of Thailand, Silver Medal"],
  ["CKM", "ร.จ.พ.", "เหรียญจักรพรรดิมาลา", "Chakrabarti Mala Medal"],
];
const BY_CODE = new Map(CLASSES.map((one) => [one[0], one]));

/** @param {string} code */
export function className(code) {
  const found = BY_CODE.get(code);
  return found ? (language() === "th" ? found[2] : found[3]) : code;
}

/** @param {string} code */
export const abbreviation = (code) => BY_CODE.get(code)?.[1] ?? code;

/** A class as a badge with its Thai abbreviation. @param {string} code */
export function classBadge(code) {
  const order = code.startsWith("WE") ? "elephant" : code.startsWith("CT") ? "crown" : "medal";
  return h("span.award", { class: `is-${order}`, lang: "th", title: className(code) }, abbreviation(code));
}

/** @param {string} code */
export const reasonWords = (code) => named("reason", code);

/** Which officers of a result the address asks for; those who need a review unless it says otherwise. @param {Record<string, string[]>} query */
export function filterOf(query) {
  const one = (name) => query[name]?.[0];
  return { show: one("show") ?? "review", class: one("class"), reason: one("reason"), text: one("text") };
}

/** Whose result it is and for which ceremony. @param {any} job */
export function subtitle(job) {
  const { ceremony } = job.result;
  const day = ceremony && date(ceremony);
  const words = day && new Intl.DateTimeFormat(language() === "th" ? "th-TH" : "en-GB", { dateStyle: "long", timeZone: "UTC" }).format(day);
  return [job.payload?.organization, words && t("result.ceremony", words)].filter(Boolean).join(" · ");
}

/** The sum of it on the job's page, with the way to all of it. @param {any} job */
export function resultSummary(job) {
  const { result } = job;
  const open = h("a.button.main", { href: `#/jobs/${job.jobId}/result`, "data-open-result": "" }, icon("medal"), t("result.open"));
  return card(t("result.of", result.round), { class: "result-card", actions: open }, totals(result));
}

/** @param {any} result */
export function totals(result) {
  const parts = [["nominate", result.nominate], ["review", result.manualReview], ["not", result.notEligible]];
  const figure = (name, value) => h("div.total", { class: `is-${name}` }, h("dt", h("span.key", { class: `is-${name}` }), t(`result.${name}`)), h("dd", number(value)));
  return h("div.stack", h("dl.totals", h("div.total", h("dt", t("result.officers")), h("dd", number(result.officers))), parts.map(([name, value]) => figure(name, value)), result.badRows > 0 && figure("bad", result.badRows)), shares(/** @type {any} */ (parts.map(([name, value]) => [`is-${name}`, value ?? 0]))));
}
