/**
 * What came of a round: totals, classes, reasons, and the people somebody has to look at.
 * @module
 */

import { get } from "../api.js";
import { icon } from "../components/icons.js";
import { button, busy, card, empty, segmented, trouble, waiting } from "../components/parts.js";
import { table } from "../components/table.js";
import { h, put, say } from "../dom.js";
import { date, language, named, number, t } from "../i18n/words.js";
import { go } from "../router.js";
import { CLASSES, INSIGNIA, classBadge, className, reasonWords, totals } from "./insignia.js";
import { ownHref } from "./job.js";

const PAGE = 100;

/** @param {import("../app.js").Visit} visit */
export function view({ params, query: first, signal }) {
  const path = `/api/v1/jobs/${encodeURIComponent(params.id)}`;
  const head = h("div.page-head", h("h1", { tabindex: -1 }, t("result")));
  const body = h("div", waiting(8));
  const element = h("div.content", h("a.back", { href: `#/jobs/${params.id}` }, icon("left"), t("job")), head, body);
  /** @type {ReturnType<typeof rowsCard> | null} */
  let rows = null;
  load();

  async function load() {
    try {
      const [job, files] = await Promise.all([get(path, {}, signal), get(`${path}/files`, {}, signal).then((answer) => answer.files, () => [])]);
      if (job.taskType !== INSIGNIA || !job.result) return put(body, empty("medal", t("result.none"), t("result.noneHint"), h("a.button", { href: `#/jobs/${params.id}` }, t("job"))));
      rows = rowsCard(path, params.id, first, signal);
      draw(job, files);
    } catch (problem) {
      if (!signal.aborted) put(body, trouble(problem, load));
    }
  }

  function draw(job, files) {
    const { result } = job;
    put(head, h("div", h("h1", { tabindex: -1 }, t("result.of", result.round)), h("p.lead", subtitle(job, result))), h("div.row.actions", downloads(job, files)));
    put(
      body,
      h("div.stack", h("section.card", { "aria-label": t("result.totals") }, totals(result)), remarks(result), h("div.columns", classesCard(result, params.id), reasonsCard(result, params.id)), rows?.element),
    );
  }

  return { title: t("result"), element, update: (query) => rows?.update(query) };
}

function subtitle(job, result) {
  const day = result.ceremony && date(result.ceremony);
  const words = day && new Intl.DateTimeFormat(language() === "th" ? "th-TH" : "en-GB", { dateStyle: "long", timeZone: "UTC" }).format(day);
  return [job.payload?.organization, words && t("result.ceremony", words)].filter(Boolean).join(" · ");
}

/** The two files people take away, and the others behind them. */
function downloads(job, files) {
  const base = `/api/v1/jobs/${encodeURIComponent(job.jobId)}/files/`;
  const known = (name) => files.find((file) => file.name === name);
  const link = (name, words, look) => known(name) && h("a.button", { class: look, href: ownHref(known(name).href, base + name), download: known(name).shown ?? name, "data-file": name }, icon("download"), words);
  return [link("results.csv", t("result.csv"), "main"), link("results.json", t("result.json"), ""), link("bad_rows.csv", t("result.badRows"), "quiet"), link("notices.csv", t("result.notices"), "quiet")];
}

function remarks(result) {
  const list = (result.remarks ?? []).map((text) => h("li", text));
  const bad = result.badRows > 0 && h("div.notice.is-warn", icon("alert"), h("p.grow", t("result.badHint", number(result.badRows))));
  return [bad, list.length > 0 && h("div.notice.is-info", icon("info"), h(list.length > 1 ? "ul.plain-list.grow" : "ul.grow", list))];
}

function classesCard(result, id) {
  const counts = Object.entries(result.byClass ?? {});
  const order = (code) => CLASSES.findIndex(([one]) => one === code);
  const top = Math.max(1, ...counts.map(([, count]) => count));
  const sorted = counts.sort(([one], [other]) => order(one) - order(other));
  const medal = result.medal?.nominate ? [["CKM", result.medal.nominate]] : [];
  const rows = [...sorted, ...medal].map(([code, count]) => share(classBadge(code), className(code), count, top, `#/jobs/${id}/result?show=nominate&class=${code}`));
  return card(t("result.byClass"), {}, rows.length ? h("ul.bars", rows) : empty("medal", t("result.noClass"), ""));
}

function reasonsCard(result, id) {
  const counts = Object.entries(result.byReason ?? {}).sort(([, one], [, other]) => other - one);
  const top = Math.max(1, ...counts.map(([, count]) => count));
  const rows = counts.map(([code, count]) => share(null, reasonWords(code), count, top, `#/jobs/${id}/result?show=all&reason=${code}`, code));
  return card(t("result.byReason"), {}, rows.length ? h("ul.bars", rows) : empty("check", t("result.noReason"), ""));
}

function share(badge, words, count, top, href, title = "") {
  return h("li", h("a.bar-row", { href, title }, badge, h("span.bar-words", words), h("span.bar-count.figures", number(count)), h("span.bar-line", { "aria-hidden": "true" }, h("span", { style: { width: `${(100 * count) / top}%` } }))));
}

/** The people, searched; at first those somebody has to look at. */
function rowsCard(path, id, first, signal) {
  let query = first;
  /** @type {any[]} */
  let shown = [];
  let cursor = null;
  let asked = 0;
  const count = h("span.soft.figures", { role: "status" });
  const state = h("div", waiting(4));
  const more = button(t("result.more"), { hidden: true, onclick: () => busy(more, () => load(true)) });
  const people = peopleTable();
  const text = h("input", { type: "search", placeholder: t("result.search"), "aria-label": t("result.search"), autocomplete: "off" });
  const filters = h("div.row.wrap");
  const frame = h("div.table-frame", { hidden: true }, people.element);
  const tools = h("div.filters", h("div.search.grow", icon("search"), text), filters);
  const element = card(t("result.people"), { actions: count, class: "rows-card" }, tools, frame, state, h("div.row.center.pad", more));
  let timer = 0;
  text.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => change({ text: text.value.trim() }), 350);
  });
  signal.addEventListener("abort", () => clearTimeout(timer));

  function change(changes) {
    go(`/jobs/${id}/result`, { ...query, ...changes }, { replace: true });
  }

  function update(now) {
    const isJump = (now.class?.[0] ?? now.reason?.[0]) && JSON.stringify([now.class, now.reason]) !== JSON.stringify([query.class, query.reason]);
    query = now;
    drawFilters();
    load(false);
    if (isJump) element.scrollIntoView({ block: "start" });
  }

  function drawFilters() {
    const focused = filters.contains(document.activeElement);
    if (document.activeElement !== text) text.value = query.text?.[0] ?? "";
    const tag = (name, words) => query[name]?.[0] && h("button.tag", { type: "button", "aria-label": t("result.without", words), onclick: () => change({ [name]: null }) }, words, icon("close"));
    const choose = segmented(t("result.show"), [["review", t("result.review")], ["nominate", t("result.nominate")], ["all", t("result.all")]], query.show?.[0] ?? "review", (value) => change({ show: value === "review" ? null : value, reason: null, class: null }));
    put(filters, choose, tag("class", className(query.class?.[0] ?? "")), tag("reason", reasonWords(query.reason?.[0] ?? "")));
    if (focused) filters.querySelector("[aria-pressed=true]")?.focus();
  }

  async function load(isMore) {
    const mine = (asked += 1);
    const filter = { show: query.show?.[0] ?? "review", class: query.class?.[0], reason: query.reason?.[0], text: query.text?.[0] };
    try {
      const page = await get(`${path}/rows`, { ...filter, cursor: isMore ? cursor : null, limit: PAGE }, signal);
      if (mine !== asked) return;
      shown = isMore ? [...shown, ...page.rows] : page.rows;
      cursor = page.cursor;
      draw(page.matched);
    } catch (problem) {
      if (signal.aborted || mine !== asked) return;
      frame.hidden = true;
      put(state, trouble(problem, () => load(false)));
    }
  }

  function draw(matched) {
    say(count, typeof matched === "number" ? t("result.matched", matched, number(matched)) : "");
    frame.hidden = shown.length === 0;
    const isReview = !query.show?.length && !query.text?.length && !query.reason?.length;
    put(state, shown.length === 0 && (isReview ? empty("check", t("result.noReview"), t("result.noReviewHint")) : empty("search", t("result.noRows"), "")));
    people.show(shown);
    more.hidden = !cursor;
  }

  drawFilters();
  load(false);
  return { element, update };
}

function peopleTable() {
  return table({
    caption: t("result.people"),
    key: (row) => row.person_id,
    class: "people-table",
    columns: [
      { name: "person", title: t("result.person"), cell: (row) => h("span.mono.figures", row.person_id) },
      { name: "class", title: t("result.class"), cell: (row) => decision(row.class) },
      { name: "medal", title: t("result.medal"), class: "from-wide", cell: (row) => decision(row.medal) },
      { name: "confidence", title: t("result.confidence"), class: "from-wide", cell: (row) => confidence(row.class) },
    ],
  });
}

function decision(one) {
  if (!one) return "–";
  const look = { nominate: "nominate", manual_review: "review", not_eligible: "not" }[one.decision] ?? "not";
  const words = one.reason ? reasonWords(one.reason) : t(`result.${look}`);
  const next = one.next_award && h("span.note", t("result.next"), " ", classBadge(one.next_award));
  return h("div.decision", { class: `is-${look}` }, h("span.key", { class: `is-${look}` }), one.award && classBadge(one.award), h("span", { title: one.reason ?? "" }, one.award ? className(one.award) : words), next);
}

const confidence = (one) => one && h("span.confidence", { class: `is-${one.confidence}` }, named("confidence", one.confidence));
