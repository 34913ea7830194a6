/**
 * The result of a round: totals, classes, reasons, and the officers who need a review.
 * @module
 */

import { get } from "../api.js";
import { icon } from "../components/icons.js";
import { card, empty, iconButton, segmented, shortId, trouble, waiting } from "../components/parts.js";
import { table } from "../components/table.js";
import { h, put, say } from "../dom.js";
import { language, moment, named, number, t } from "../i18n/words.js";
import { go, to } from "../router.js";
import { CLASSES, INSIGNIA, classBadge, className, filterOf, reasonWords, subtitle, totals } from "./insignia.js";
import { ownHref } from "./job.js";
import { mappingNotice } from "./mapping.js";
import { criteriaWords, fullName, openOfficer, postAndOffice } from "./officer.js";

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
    put(head, h("div", h("h1", { tabindex: -1 }, t("result.of", result.round)), h("p.lead", subtitle(job)), result.criteria && h("p.note", t("result.criteria"), " ", criteriaWords(result.criteria))), h("div.row.actions", downloads(job, files)));
    put(
      body,
      h("div.stack", h("section.card", { "aria-label": t("result.totals") }, totals(result)), rows?.notice, replacesNotice(result), remarks(result), mappingNotice(job), h("div.columns", classesCard(result, params.id), reasonsCard(result, params.id)), rows?.element),
    );
  }

  return { title: t("result"), element, update: (query) => rows?.update(query) };
}

/** The files people take away, and the others behind them. */
function downloads(job, files) {
  const base = `/api/v1/jobs/${encodeURIComponent(job.jobId)}/files/`;
  const known = (name) => files.find((file) => file.name === name);
  const link = (name, words, look) => known(name) && h("a.button", { class: look, href: ownHref(known(name).href, base + name), download: known(name).shown ?? name, "data-file": name }, icon("download"), words);
  return [link("results.csv", t("result.csv"), "main"), link("results.xlsx", t("result.xlsx"), ""), link("results.json", t("result.json"), ""), link("bad_rows.csv", t("result.badRows"), "quiet"), link("notices.csv", t("result.notices"), "quiet"), link("repairs.csv", t("result.repairs"), "quiet")];
}

function remarks(result) {
  const list = ((language() === "th" && result.remarksTh) || result.remarks || []).map((text) => h("li", text));
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

/** The officers, searchable; initially those who need a review. The page's number is part of the address. */
function rowsCard(path, id, first, signal) {
  let query = first;
  let asked = 0;
  const count = h("span.soft.figures", { role: "status" });
  const state = h("div", waiting(4));
  const people = peopleTable(path);
  const turn = pager((page) => change({ page: page > 1 ? page : null }));
  const text = h("input", { type: "search", placeholder: t("result.search"), "aria-label": t("result.search"), autocomplete: "off" });
  const print = h("a.button.quiet", { "data-open-print": "" }, icon("print"), t("result.printList"));
  const filters = h("div.row.wrap");
  const frame = h("div.table-frame", { hidden: true }, people.element);
  const notice = h("div");
  const tools = h("div.filters", h("div.search.grow", icon("search"), text), filters, print);
  const element = card(t("result.people"), { actions: count, class: "rows-card" }, tools, frame, state, turn.element);
  let timer = 0;
  text.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => change({ text: text.value.trim(), page: null }), 350);
  });
  signal.addEventListener("abort", () => clearTimeout(timer));

  function change(changes) {
    go(`/jobs/${id}/result`, { ...query, ...changes }, { replace: true });
  }

  function update(now) {
    const isJump = (now.class?.[0] ?? now.reason?.[0]) && JSON.stringify([now.class, now.reason]) !== JSON.stringify([query.class, query.reason]);
    const isTurned = now.page?.[0] !== query.page?.[0];
    query = now;
    drawFilters();
    load();
    if (isJump || isTurned) element.scrollIntoView({ block: "start" });
  }

  function drawFilters() {
    const focused = filters.contains(document.activeElement);
    if (document.activeElement !== text) text.value = query.text?.[0] ?? "";
    const tag = (name, words) => query[name]?.[0] && h("button.tag", { type: "button", "aria-label": t("result.without", words), onclick: () => change({ [name]: null, page: null }) }, words, icon("close"));
    const shows = ["review", "nominate", "notEligible", "all"].map((show) => /** @type {[string, any]} */ ([show, t(`result.${show === "notEligible" ? "not" : show}`)]));
    const choose = segmented(t("result.show"), shows, filterOf(query).show, (value) => change({ show: value === "review" ? null : value, reason: null, class: null, page: null }));
    put(filters, choose, tag("class", className(query.class?.[0] ?? "")), tag("reason", reasonWords(query.reason?.[0] ?? "")));
    print.href = to(`/jobs/${id}/print`, filterOf(query));
    if (focused) filters.querySelector("[aria-pressed=true]")?.focus();
  }

  async function load() {
    const mine = (asked += 1);
    const page = Math.max(1, Number(query.page?.[0]) || 1);
    try {
      const found = await get(`${path}/rows`, { ...filterOf(query), skip: (page - 1) * PAGE, limit: PAGE }, signal);
      if (mine !== asked) return;
      const pages = Math.max(1, Math.ceil(found.matched / PAGE));
      if (page > pages) return change({ page: pages > 1 ? pages : null });
      draw(found);
      put(notice, replacedNotice(found.replaced));
      turn.show(page, pages);
    } catch (problem) {
      if (signal.aborted || mine !== asked) return;
      frame.hidden = true;
      turn.element.hidden = true;
      put(state, problem.status === 404 ? empty("medal", t("result.gone"), t("result.goneHint")) : trouble(problem, load));
    }
  }

  function draw({ rows, matched }) {
    say(count, t("result.matched", matched, number(matched)));
    frame.hidden = rows.length === 0;
    const isReview = !query.show?.length && !query.text?.length && !query.reason?.length;
    put(state, rows.length === 0 && (isReview ? empty("check", t("result.noReview"), t("result.noReviewHint")) : empty("search", t("result.noRows"), "")));
    people.show(rows);
  }

  drawFilters();
  load();
  return { element, notice, update };
}

/** That a newer run has replaced this result, and where it is. @param {any} replaced */
function replacedNotice(replaced) {
  if (!replaced) return null;
  return h("div.notice.is-warn", { "data-replaced": "" }, icon("alert"), h("p.grow", t("result.replaced", moment(replaced.at), moment(replaced.keptUntil))), h("a.button.small", { href: `#/jobs/${replaced.by}/result` }, t("result.newer")));
}

/** Which older results this one has replaced. @param {any} result */
function replacesNotice(result) {
  const older = result.replaces ?? [];
  if (!older.length) return null;
  const links = older.map((id, place) => [place > 0 && ", ", h("a", { href: `#/jobs/${id}/result` }, shortId(id))]);
  return h("div.notice.is-info", { "data-replaces": "" }, icon("info"), h("p.grow", t("result.replaces", number(older.length)), " ", links));
}

/** First, previous, a page by its number, next, last. @param {(page: number) => void} turn */
function pager(turn) {
  let page = 1;
  let pages = 1;
  const field = h("input", { type: "number", min: 1, inputmode: "numeric", "aria-label": t("result.page"), onchange: () => turn(Math.min(pages, Math.max(1, Math.round(Number(field.value)) || 1))) });
  const step = (name, sign, where) => iconButton(t(`result.${name}`), sign, { "data-turn": name, onclick: () => turn(where()) });
  const ends = [step("first", "first", () => 1), step("previous", "left", () => page - 1)];
  const forth = [step("following", "right", () => page + 1), step("last", "last", () => pages)];
  const total = h("span.soft.figures");
  const element = h("nav.pager", { "aria-label": t("result.pages"), hidden: true }, ends, h("span.row", field, total), forth);
  return {
    element,
    show(now, all) {
      [page, pages] = [now, all];
      element.hidden = all < 2;
      field.value = now;
      field.max = all;
      say(total, t("result.ofPages", number(all)));
      for (const one of ends) one.disabled = now <= 1;
      for (const one of forth) one.disabled = now >= all;
    },
  };
}

function peopleTable(path) {
  const person = (row) => {
    const name = fullName(row);
    return h("button.row-open", { type: "button", "data-main": "", "aria-haspopup": "dialog", onclick: () => openOfficer(path, row) }, name && h("span.strong", name), h("span.mono.figures", row.person_id));
  };
  return table({
    caption: t("result.people"),
    key: (row) => row.person_id,
    class: "people-table",
    columns: [
      { name: "person", title: `${t("result.name")} · ${t("result.person")}`, cell: person },
      { name: "post", title: postAndOffice(), class: "from-wide", cell: (row) => h("span.soft", [row.post, row.office].filter(Boolean).join(" · ")) },
      { name: "class", title: t("result.class"), cell: (row) => decision(row.class, row.next_round) },
      { name: "medal", title: t("result.medal"), class: "from-wide", cell: (row) => decision(row.medal) },
      { name: "confidence", title: t("result.confidence"), class: "from-wide", cell: (row) => confidence(row.class) },
    ],
  });
}

/** @param {any} one @param {number} [round] from which the next class is met */
function decision(one, round) {
  if (!one) return "–";
  const look = { nominate: "nominate", manual_review: "review", not_eligible: "not" }[one.decision] ?? "not";
  const words = one.reason ? reasonWords(one.reason) : t(`result.${look}`);
  const next = one.next_award && h("span.note", t("result.next"), " ", classBadge(one.next_award), round ? ` ${t("result.fromRound", round)}` : "");
  return h("div.decision", { class: `is-${look}` }, h("span.key", { class: `is-${look}` }), one.award && classBadge(one.award), h("span", { title: one.reason ?? "" }, one.award ? className(one.award) : words), next);
}

const confidence = (one) => one && h("span.confidence", { class: `is-${one.confidence}` }, named("confidence", one.confidence));
