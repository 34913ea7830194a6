/**
 * Every setting: its value, where it comes from, what it is for. Secrets arrive masked.
 * @module
 */

import { get } from "../api.js";
import { icon } from "../components/icons.js";
import { card, empty, trouble, waiting } from "../components/parts.js";
import { h, put, say } from "../dom.js";
import { named, number, t } from "../i18n/words.js";
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
    const found = settings.filter((one) => (!wanted || `${one.key} ${one.description ?? ""} ${shownValue(one.value)}`.toLowerCase().includes(wanted)) && (query.changed?.[0] !== "1" || isSet(one)));
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

const sectionOf = ({ key }) => key.split(":")[0];
const isSet = ({ origin, value, default: usual }) => !["default", "defaults", "", null, undefined].includes(origin) || JSON.stringify(value) !== JSON.stringify(usual);

function grouped(list) {
  const groups = new Map();
  for (const one of list) groups.set(sectionOf(one), [...(groups.get(sectionOf(one)) ?? []), one]);
  return groups;
}

const shownValue = (value) => (value === null || value === undefined ? "–" : typeof value === "string" ? value || '""' : JSON.stringify(value));

function row(one) {
  const isMasked = one.value === "***";
  const usual = isSet(one) && one.default !== undefined && !isMasked && h("span.note", `${t("settings.default")} ${shownValue(one.default)}`);
  return h("div", { class: isSet(one) ? "is-set" : "" }, h("dt", h("span.mono.break", one.key), one.description && h("span.note", one.description)), h("dd", h("span.mono.break", { class: isMasked ? "soft" : "" }, isMasked ? t("settings.masked") : shownValue(one.value)), h("span.tag.still", named("origin", String(one.origin ?? "default"))), usual));
}
