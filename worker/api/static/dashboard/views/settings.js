/**
 * Every setting: its value, where it comes from, what it is for. Secrets arrive masked.
 * @module
 */

import { get } from "../api.js";
import { icon } from "../components/icons.js";
import { card, empty, trouble, waiting } from "../components/parts.js";
import { h, put, say } from "../dom.js";
import { settingsTh } from "../i18n/settings-th.js";
import { language, named, number, t } from "../i18n/words.js";
import { go } from "../router.js";

/** @param {import("../app.js").Visit} visit */
export function view({ query: first, signal }) {
  let query = first;
  /** @type {any[]} */
  let settings = [];
  const text = h("input", { type: "search", placeholder: t("settings.search"), "aria-label": t("settings.search"), autocomplete: "off", value: query.text?.[0] ?? "", oninput: () => go("/settings", { ...query, text: text.value.trim() }, { replace: true }) });
  const only = h("input", { type: "checkbox", checked: query.changed?.[0] === "1", onchange: () => go("/settings", { ...query, changed: only.checked ? "1" : null }, { replace: true }) });
  const count = h("span.soft.figures", { role: "status" });
  const body = h("div.stack", waiting(10));
  const element = h("div.content", h("div.page-head", h("div", h("h1", { tabindex: -1 }, t("nav.settings")), h("p.lead", t("settings.lead")))), h("div.filters", h("div.search.grow", icon("search"), text), h("label.check", only, t("settings.changed")), count), body);
  load();

  async function load() {
    try {
      settings = (await get("/api/v1/settings", {}, signal)).settings;
      draw();
    } catch (problem) {
      if (!signal.aborted) put(body, trouble(problem, load));
    }
  }

  function draw() {
    const wanted = (query.text?.[0] ?? "").toLowerCase();
    const found = settings.filter((one) => (!wanted || `${one.key} ${purpose(one)} ${shownValue(one.value)}`.toLowerCase().includes(wanted)) && (query.changed?.[0] !== "1" || isSet(one)));
    say(count, t("settings.count", found.length, number(found.length)));
    const groups = Map.groupBy ? Map.groupBy(found, sectionOf) : grouped(found);
    put(body, found.length ? [...groups].map(([name, list]) => card(name, { class: "settings-card" }, h("dl.settings", list.map(row)))) : empty("search", t("settings.none"), ""));
  }

  return {
    title: t("nav.settings"),
    element,
    update(now) {
      query = now;
      draw();
    },
  };
}

/** What a setting is for, in the language of the page. */
const purpose = ({ description = "" }) => (language() === "th" && settingsTh[description]) || description;
const sectionOf = ({ key }) => key.split(":")[0];
const isSet = ({ origin, value, default: usual }) => !["default", "defaults", "", null, undefined].includes(origin) || JSON.stringify(value) !== JSON.stringify(usual);

function grouped(list) {
  const groups = new Map();
  for (const one of list) groups.set(sectionOf(one), [...(groups.get(sectionOf(one)) ?? []), one]);
  return groups;
}

const shownValue = (value) => (value === null || value === undefined ? "–" : typeof value === "string" ? value || '""' : JSON.stringify(value));

/** The value with its unit, where it has one. */
const withUnit = (value, unit) => (unit && typeof value === "number" ? `${shownValue(value)} ${named("unit", unit)}` : shownValue(value));

/** Where a value comes from, in the language of the page; names of files and variables stay as they are. */
function originOf(origin) {
  const kind = ["command line", "environment variable", "credential file"].find((one) => origin.startsWith(`${one} `));
  return kind ? `${named("origin", kind)} ${origin.slice(kind.length + 1)}` : named("origin", origin);
}

function row(one) {
  const isMasked = one.value === "***";
  const usual = isSet(one) && one.default !== undefined && !isMasked && h("span.note", `${t("settings.default")} ${withUnit(one.default, one.unit)}`);
  return h("div", { class: isSet(one) ? "is-set" : "" }, h("dt", h("span.mono.break", one.key), one.description && h("span.note", purpose(one))), h("dd", h("span.mono.break", { class: isMasked ? "soft" : "" }, isMasked ? t("settings.masked") : withUnit(one.value, one.unit)), h("span.tag.still", originOf(String(one.origin ?? "default"))), usual));
}
