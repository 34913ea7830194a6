/**
 * All jobs: found by state, kind, user, time and any text; changed one by one or by the thousand.
 * The address contains the filters. Changes are shown in place; new rows wait for a click while the pointer is on the list.
 * @module
 */

import { get } from "../api.js";
import { icon } from "../components/icons.js";
import { bar, button, empty, failureWords, kindLabel, kindName, noteWords, shortId, stateChip, trouble, waiting, when } from "../components/parts.js";
import { table } from "../components/table.js";
import { every, h, put, say } from "../dom.js";
import { duration, number, short, t } from "../i18n/words.js";
import { follow, stats, version } from "../live.js";
import { go, here, to } from "../router.js";
import { may } from "../session.js";
import { bulkBar } from "./bulk.js";
import { openSubmit } from "./submit.js";

const STATES = ["queued", "running", "succeeded", "failed", "cancelled"];
const FILTERS = ["state", "taskType", "userId", "text", "from", "to"];
const REFRESH = 2000;
const SIZES = ["50", "100", "500"];

/** @param {import("../app.js").Visit} visit */
export function view({ query: first, signal }) {
  let query = first;
  /** @type {any[]} */
  let shown = [];
  /** @type {any[] | null} */
  let fresh = null;
  let next = null;
  let asked = 0;
  let isAsked = false;
  const selected = new Set();

  const chips = h("div.state-chips", { role: "group", "aria-label": t("jobs.states") });
  const filters = filterForm(() => query, change, signal);
  const pill = button("", { class: "pill", hidden: true, onclick: () => (fresh && accept(fresh), window.scrollTo(0, 0)) }, "up");
  const state = h("div");
  const count = h("p.soft.figures", { role: "status" });
  const rows = jobTable(selected, onSelect);
  const bulk = bulkBar({ selected, filter: () => filterOf(query), isFiltered: () => FILTERS.some((name) => query[name]?.length), clear: clearSelection, done: () => load(true) });
  const pager = h("nav.pager", { "aria-label": t("pager") });
  const frame = h("div.table-frame", rows.element);
  const element = h(
    "div.content",
    h("div.page-head", h("div", h("h1", { tabindex: -1 }, t("nav.jobs")), count)),
    chips,
    filters.element,
    bulk.element,
    h("div.pill-place", pill),
    frame,
    state,
    pager,
  );
  put(state, waiting(8));
  frame.hidden = true;

  let known = "";
  const ask = every(() => (known === version() && !isAsked ? null : load(false)), REFRESH, signal);
  follow("stats", drawChips, signal);
  follow("progress", progressed, signal);
  drawChips();

  function change(changes, { replace = false } = {}) {
    go("/jobs", { ...query, cursor: null, ...changes }, { replace });
  }

  function update(now) {
    const before = signature(query);
    query = now;
    filters.update();
    drawChips();
    if (signature(now) === before) return;
    selected.clear();
    bulk.draw();
    fresh = null;
    pill.hidden = true;
    frame.classList.add("is-loading");
    load(true);
  }

  /** @param {boolean} wanted the user requested it, so the rows may change at once */
  async function load(wanted) {
    const mine = (asked += 1);
    known = version();
    isAsked = false;
    try {
      const page = await get("/api/v1/jobs", { ...filterOf(query), cursor: query.cursor?.[0], limit: query.limit?.[0] ?? SIZES[0] }, signal);
      if (mine !== asked) return;
      next = page.cursor;
      frame.classList.remove("is-loading");
      if (wanted || frame.hidden || !isRead()) accept(page.jobs);
      else merge(page.jobs);
    } catch (problem) {
      if (signal.aborted || mine !== asked) return;
      frame.classList.remove("is-loading");
      if (wanted || frame.hidden) failed(problem);
    }
  }

  function failed(problem) {
    frame.hidden = true;
    put(state, trouble(problem, () => load(true)));
    put(pager);
  }

  /** The pointer or the focus is in the table, rows are selected, or it is scrolled: the order is kept. */
  function isRead() {
    return frame.matches(":hover") || frame.contains(document.activeElement) || selected.size > 0 || window.scrollY > 240;
  }

  function accept(jobs) {
    shown = jobs;
    fresh = null;
    pill.hidden = true;
    for (const id of [...selected]) if (!jobs.some((job) => job.jobId === id)) selected.delete(id);
    draw();
  }

  /** What is there is brought up to date where it stands; what is new is announced. */
  function merge(jobs) {
    const known = new Map(jobs.map((job) => [job.jobId, job]));
    const before = new Set(shown.map((job) => job.jobId));
    const added = jobs.filter((job) => !before.has(job.jobId)).length;
    shown = shown.map((job) => known.get(job.jobId) ?? job);
    fresh = jobs;
    // A row that no longer matches the filter is removed by the button for new rows.
    const gone = shown.some((job) => !known.has(job.jobId));
    pill.hidden = !added && !gone;
    say(pill.querySelector("span"), added ? t("jobs.new", added) : t("jobs.changed"));
    draw();
  }

  function draw() {
    const none = shown.length === 0;
    frame.hidden = none;
    put(state, none && nothing());
    rows.show(shown);
    bulk.draw(shown.length);
    rows.all(shown);
    drawPager();
  }

  function nothing() {
    const isFiltered = FILTERS.some((name) => query[name]?.length);
    if (isFiltered) return empty("search", t("jobs.noneFound"), t("jobs.noneFoundHint"), h("a.button", { href: "#/jobs" }, t("jobs.clear")));
    const add = may("enqueue") && button(t("new"), { class: "main", onclick: () => openSubmit() }, "plus");
    return empty("jobs", t("jobs.none"), t("jobs.noneHint"), add);
  }

  function drawPager() {
    const isFirst = !query.cursor?.length;
    const size = query.limit?.[0] ?? SIZES[0];
    const sizes = h("label.page-size", t("pager.size"), h("select", { onchange: (event) => change({ limit: event.target.value === SIZES[0] ? null : event.target.value }) }, SIZES.map((one) => h("option", { value: one, selected: one === size }, one))));
    put(pager, h("div.row", !isFirst && h("a.button", { href: to("/jobs", { ...query, cursor: null }) }, icon("left"), t("pager.newest")), next && h("a.button", { href: to("/jobs", { ...query, cursor: next }), "data-older": "" }, t("pager.older"), icon("right"))), sizes);
  }

  function drawChips() {
    const counts = stats()?.jobs ?? {};
    const chosen = new Set(query.state ?? []);
    const words = JSON.stringify([counts, [...chosen], document.documentElement.lang]);
    if (words === chips.dataset.words) return;
    chips.dataset.words = words;
    const all = Object.values(counts).reduce((sum, one) => sum + one, 0);
    if (stats()) say(count, t("jobs.count", number(all)));
    const focused = chips.contains(document.activeElement) ? document.activeElement?.getAttribute("data-state") : null;
    put(chips, chipButton("", all, chosen.size === 0), STATES.map((name) => chipButton(name, counts[name] ?? 0, chosen.has(name))));
    if (focused !== null) chips.querySelector(`[data-state="${focused}"]`)?.focus();
  }

  function chipButton(name, total, isOn) {
    return h("button.state-chip", { type: "button", "data-state": name, "aria-pressed": isOn, class: name && `is-${name}`, onclick: () => toggle(name) }, name && h("span.dot", { "aria-hidden": "true" }), name ? t(`state.${name}`) : t("jobs.all"), h("span.figures.soft", short(total)));
  }

  function toggle(name) {
    const chosen = new Set(query.state ?? []);
    if (!name) chosen.clear();
    else if (!chosen.delete(name)) chosen.add(name);
    change({ state: STATES.filter((one) => chosen.has(one)) });
  }

  function progressed(list) {
    let isOurs = false;
    for (const { jobId, percent, note } of list) {
      const job = shown.find((one) => one.jobId === jobId);
      if (job?.status === "running") ((job.progress = { percent, note }), (isOurs = true));
    }
    if (isOurs) rows.show(shown);
  }

  function onSelect(job) {
    if (!selected.delete(job.jobId)) selected.add(job.jobId);
    rows.redraw(job.jobId);
    rows.all(shown);
    bulk.draw(shown.length);
  }

  function clearSelection() {
    const before = [...selected];
    selected.clear();
    before.forEach((id) => rows.redraw(id));
    rows.all(shown);
    bulk.draw(shown.length);
  }

  rows.element.addEventListener("allrows", (event) => {
    for (const job of shown) event.detail ? selected.add(job.jobId) : selected.delete(job.jobId);
    shown.forEach((job) => rows.redraw(job.jobId));
    bulk.draw(shown.length);
  });
  document.addEventListener("jobschanged", () => ((isAsked = true), ask()), { signal });
  return { title: t("nav.jobs"), element, update };
}

const signature = (query) => JSON.stringify([...FILTERS, "cursor", "limit"].map((name) => query[name] ?? null));

/** The parameters for the API, from those of the address. */
function filterOf(query) {
  const day = (text, days) => (text ? new Date(new Date(`${text}T00:00`).getTime() + days * 86_400_000).toISOString() : null);
  return { status: query.state, taskType: query.taskType?.[0], userId: query.userId?.[0], text: query.text?.[0], from: day(query.from?.[0], 0), to: day(query.to?.[0], 1) };
}

function jobTable(selected, onselect) {
  const canChange = may("admin");
  const whole = h("input", { type: "checkbox", "aria-label": t("jobs.selectAll"), onchange: () => made.element.dispatchEvent(new CustomEvent("allrows", { detail: whole.checked })) });
  const box = (job) => h("input", { type: "checkbox", checked: selected.has(job.jobId), "aria-label": t("jobs.select", kindName(job.taskType)), onchange: () => onselect(job) });
  const columns = [
    canChange && { name: "select", title: whole, cell: box },
    { name: "state", title: t("col.state"), cell: stateCell },
    { name: "job", title: t("col.job"), cell: jobCell },
    { name: "user", title: t("col.user"), class: "from-wide", cell: (job) => h("a.plain.cut", { href: to("/jobs", { userId: job.userId }), title: t("jobs.onlyUser") }, job.userId) },
    { name: "attempt", title: t("col.attempt"), class: "from-widest number", cell: (job) => h("span.figures", `${job.attempt}/${job.maxAttempts}`, job.run > 1 && h("span.soft", ` · ${t("run", job.run)}`)) },
    { name: "duration", title: t("col.duration"), class: "from-wide number", cell: (job) => h("span.figures", duration(job.durationMs)) },
    { name: "created", title: t("col.created"), class: "number", cell: (job) => when(job.createdAt) },
  ].filter(Boolean);
  const made = table({
    caption: t("jobs.caption"),
    columns: /** @type {any} */ (columns),
    key: (job) => job.jobId,
    sign: (job) => JSON.stringify(job) + selected.has(job.jobId),
    rowClass: (job) => `is-${job.status}${selected.has(job.jobId) ? " is-selected" : ""}`,
    onselect: canChange ? onselect : undefined,
    class: "jobs-table",
  });
  return {
    ...made,
    /** The box above all the others. */
    all(shown) {
      const count = shown.filter((job) => selected.has(job.jobId)).length;
      whole.checked = count > 0 && count === shown.length;
      whole.indeterminate = count > 0 && count < shown.length;
    },
  };
}

function stateCell(job) {
  return [stateChip(job.status, { wish: job.cancelRequested }), job.status === "running" && bar(job.progress, kindName(job.taskType))];
}

function jobCell(job) {
  const isLater = job.status === "queued" && new Date(job.runAt).getTime() > Date.now();
  const error = job.status === "failed" && h("span.row-error.cut", failureWords(job));
  const note = job.status === "running" && job.progress?.note && h("span.row-note.cut", noteWords(job.progress.note));
  const later = isLater && h("span.row-note", t("jobs.later"), " ", when(job.runAt));
  return h("div.job-cell", h("a.job-link", { href: `#/jobs/${job.jobId}`, "data-main": "" }, kindLabel(job.taskType), job.organization && h("span.soft.cut", job.organization), h("span.mono.soft", shortId(job.jobId))), error || note || later || null);
}

function filterForm(query, change, signal) {
  const fields = {
    text: h("input", { type: "search", placeholder: t("filter.text"), "aria-label": t("filter.text"), autocomplete: "off", maxlength: 200 }),
    taskType: h("select", { "aria-label": t("filter.kind") }, h("option", { value: "" }, t("filter.allKinds"))),
    userId: h("input", { placeholder: t("filter.user"), "aria-label": t("filter.user"), autocomplete: "off", maxlength: 200 }),
    from: h("input", { type: "date", "aria-label": t("filter.from") }),
    to: h("input", { type: "date", "aria-label": t("filter.to") }),
  };
  const clear = h("a.button.quiet", { href: "#/jobs" }, icon("close"), h("span", t("jobs.clear")));
  const more = h("details.filter-more", h("summary.button", t("filter.more")), h("div.filter-panel", h("label", t("filter.user"), fields.userId), h("label", t("filter.from"), fields.from), h("label", t("filter.to"), fields.to)));
  const element = h("form.filters", { onsubmit: (event) => (event.preventDefault(), send("text"), send("userId")) }, h("div.search.grow", icon("search"), fields.text), fields.taskType, more, clear);
  let timer = 0;
  const send = (name, how) => (fields[name].value.trim() || "") !== (query()[name]?.[0] ?? "") && change({ [name]: fields[name].value.trim() }, how);
  fields.text.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => send("text", { replace: Boolean(query().text?.length) }), 350);
  });
  for (const name of ["taskType", "userId", "from", "to"]) fields[name].addEventListener("change", () => send(name));
  signal.addEventListener("abort", () => clearTimeout(timer));
  kinds(fields.taskType, signal).then(update);

  function update() {
    for (const [name, field] of Object.entries(fields)) if (document.activeElement !== field) field.value = query()[name]?.[0] ?? "";
    const isSet = FILTERS.some((name) => query()[name]?.length);
    clear.classList.toggle("invisible", !isSet);
    more.classList.toggle("is-set", ["userId", "from", "to"].some((name) => query()[name]?.length));
  }
  update();
  return { element, update };
}

async function kinds(select, signal) {
  const wanted = here().query.taskType?.[0];
  const list = await get("/api/v1/task-types", {}, signal).then(({ taskTypes }) => taskTypes.map((one) => one.taskType)).catch(() => []);
  const names = wanted && !list.includes(wanted) ? [...list, wanted] : list;
  select.append(...names.map((name) => h("option", { value: name }, kindName(name))));
}
