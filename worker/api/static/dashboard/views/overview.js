/**
 * The present state: running, waiting and failed jobs, and the delivery of notifications.
 * @module
 */

import { get } from "../api.js";
import { sparkline, throughputChart } from "../components/chart.js";
import { icon } from "../components/icons.js";
import { bar, button, card, empty, failureWords, kindLabel, kindName, percentOf, segmented, stateChip, waiting, when } from "../components/parts.js";
import { every, h, put, say } from "../dom.js";
import { duration, number, short, t } from "../i18n/words.js";
import { follow, live, version } from "../live.js";
import { to } from "../router.js";
import { second } from "../series.js";
import { may } from "../session.js";
import { openSubmit } from "./submit.js";

const LISTED = 5;
/** As many as fit next to the chart. */
const RUNNING = 3;
const ASK_AGAIN = 3000;

/** @param {import("../app.js").Visit} visit */
export function view({ signal }) {
  const lead = h("p.lead", { role: "status" }, t("loading"));
  const notices = h("div.notices");
  const tiles = makeTiles();
  const chart = throughputChart();
  const spans = segmented(t("chart.span"), [["60", t("chart.minutes", 1)], ["300", t("chart.minutes", 5)]], "300", (value) => chart.span(Number(value)));
  const running = h("div", waiting(3));
  const failed = h("div", waiting(3));
  const recent = h("div", waiting(3));
  const hero = h("div");
  const element = h(
    "div.content",
    h("div.page-head", h("div", h("h1", { tabindex: -1 }, t("nav.overview")), lead)),
    notices,
    hero,
    h("div.tiles", Object.values(tiles).map((tile) => tile.element)),
    h("div.columns.two-one", card(t("overview.throughput"), { actions: spans }, chart.element), card(t("overview.running"), { actions: h("a.more", { href: to("/jobs", { state: "running" }) }, t("all")) }, running)),
    h("div.columns", card(t("overview.failed"), { actions: h("a.more", { href: to("/jobs", { state: "failed" }) }, t("all")) }, failed), card(t("overview.recent"), { actions: h("a.more", { href: to("/jobs", { state: "succeeded" }) }, t("all")) }, recent)),
  );
  /** @type {any} */
  let link = null;
  /** @type {Map<string, any>} */
  const now = new Map();

  let known = "";
  const ask = every(refresh, ASK_AGAIN, signal);
  follow("stats", drawStats, signal);
  follow("progress", (list) => list.forEach(progressed), signal);
  live.addEventListener("ended", ask, { signal });

  async function refresh() {
    const line = get("/api/v1/connection", {}, signal).then((connection) => signal.aborted || drawLink(connection));
    if (known === version()) return line.catch(() => {});
    known = version();
    const list = (state, draw) => get("/api/v1/jobs", { state, limit: state === "running" ? RUNNING : LISTED }, signal).then(({ jobs }) => signal.aborted || draw(jobs));
    await Promise.allSettled([
      list("running", drawRunning),
      list("failed", (jobs) => drawList(failed, jobs, failedItem, empty("check", t("overview.noFailed"), t("overview.noFailedHint")))),
      list("succeeded", (jobs) => drawList(recent, jobs, recentItem, empty("jobs", t("overview.noRecent"), ""))),
      line,
    ]);
  }

  function drawStats(figures) {
    const jobs = figures.jobs ?? {};
    const all = Object.values(jobs).reduce((sum, count) => sum + count, 0);
    const points = (figures.throughput ?? []).slice(-60);
    const lastMinute = (name) => points.filter((point) => second(point.at) > Date.now() / 1000 - 60).reduce((sum, point) => sum + (point[name] ?? 0), 0);
    const oldest = figures.oldestJobAgeSeconds;
    const outbox = figures.outbox ?? {};
    tiles.running.set(short(jobs.running ?? 0), t("tile.came", short(lastMinute("enqueued"))), points.map((point) => point.enqueued ?? 0));
    tiles.queued.set(short(jobs.queued ?? 0), oldest ? t("tile.oldest", duration(oldest * 1000)) : t("tile.noneDue"));
    tiles.succeeded.set(short(jobs.succeeded ?? 0), t("tile.minute", short(lastMinute("succeeded"))), points.map((point) => point.succeeded ?? 0));
    tiles.failed.set(short(jobs.failed ?? 0), t("tile.minute", number(lastMinute("failed"))), points.map((point) => point.failed ?? 0));
    tiles.outbox.set(short(outbox.depth ?? 0), outbox.dead ? t("tile.dead", number(outbox.dead)) : outbox.oldestAgeSeconds ? t("tile.oldest", duration(outbox.oldestAgeSeconds * 1000)) : t("tile.allTold"));
    tiles.outbox.element.classList.toggle("is-bad", Boolean(outbox.dead));
    chart.draw(figures.throughput ?? []);
    say(lead, sentence(jobs, link));
    drawNotices(figures);
    drawHero(all);
  }

  /** The first time: what this is for, and how to begin. */
  function drawHero(all) {
    const wanted = all === 0 && may("enqueue");
    if (wanted === Boolean(hero.firstChild)) return;
    put(hero, wanted && h("section.hero", { "aria-label": t("hero.title") }, icon("upload"), h("div.grow", h("h2", t("hero.title")), h("p", t("hero.text"))), button(t("hero.choose"), { class: "main big", onclick: () => openSubmit() }, "file")));
  }

  function drawNotices(figures) {
    const list = [
      figures.store?.full && notice("is-bad", t("notice.full"), "#/settings"),
      figures.outbox?.dead > 0 && notice("is-warn", t("notice.dead", number(figures.outbox.dead)), to("/notifications", { state: "dead" })),
      link && link.state !== "connected" && notice("is-warn", t("notice.link"), "#/connection"),
    ].filter(Boolean);
    const words = list.map((one) => one.textContent).join();
    if (words !== notices.dataset.words) (put(notices, list), (notices.dataset.words = words));
  }

  function drawLink(connection) {
    link = connection;
    const good = connection.state === "connected";
    tiles.link.set(t(`link.${connection.state}`), good ? (connection.ackMs?.p50 ? t("tile.ack", duration(connection.ackMs.p50)) : t("tile.since", "")) : t("tile.waits"));
    tiles.link.element.classList.toggle("is-bad", !good);
    tiles.link.element.classList.toggle("is-good", good);
  }

  function drawRunning(jobs) {
    for (const id of [...now.keys()]) if (!jobs.some((job) => job.jobId === id)) now.delete(id);
    for (const job of jobs) now.set(job.jobId, { ...job, progress: job.progress ?? now.get(job.jobId)?.progress });
    drawList(running, [...now.values()], runningItem, empty("workers", t("overview.idle"), t("overview.idleHint")));
  }

  function progressed({ jobId, percent, note }) {
    const job = now.get(jobId);
    if (!job) return;
    job.progress = { percent, note };
    drawList(running, [...now.values()], runningItem, null);
  }

  return { title: t("nav.overview"), element };
}

function notice(level, text, href) {
  return h("a.notice", { class: level, href }, icon("alert"), h("span.grow", text), icon("right"));
}

function makeTiles() {
  return {
    running: tile("state.running", to("/jobs", { state: "running" }), "running"),
    queued: tile("state.queued", to("/jobs", { state: "queued" }), "queued"),
    succeeded: tile("state.succeeded", to("/jobs", { state: "succeeded" }), "succeeded"),
    failed: tile("state.failed", to("/jobs", { state: "failed" }), "failed"),
    outbox: tile("tile.outbox", "#/notifications", "outbox"),
    link: tile("nav.connection", "#/connection", "link"),
  };
}

function tile(words, href, name) {
  const value = h("span.tile-value", "–");
  const below = h("span.tile-sub");
  const drawing = h("span.tile-drawing");
  const element = h("a.tile", { href, class: `is-${name}` }, h("span.tile-name", h("span.dot", { "aria-hidden": "true" }), t(words)), value, below, drawing);
  return {
    element,
    set(text, sub = "", values = null) {
      say(value, text);
      say(below, sub);
      if (values && values.length > 1) put(drawing, sparkline(values));
    },
  };
}

function sentence(jobs, link) {
  const broken = link && link.state !== "connected";
  if (broken) return t("lead.link");
  const runs = jobs.running ?? 0;
  const waits = jobs.queued ?? 0;
  if (!runs && !waits) return t("lead.idle");
  return t("lead.busy", runs, number(runs), number(waits));
}

/** Redrawn only when it changes, so that an item under the pointer stays there. */
function drawList(place, items, item, none) {
  const sign = JSON.stringify(items) + document.documentElement.lang;
  if (place.dataset.sign === sign) return;
  place.dataset.sign = sign;
  const focused = place.contains(document.activeElement) ? document.activeElement?.getAttribute("href") : null;
  put(place, items.length ? h("ul.items", items.map((one) => h("li", item(one)))) : none);
  if (focused) [...place.querySelectorAll("a")].find((one) => one.getAttribute("href") === focused)?.focus();
}

function failedItem(job) {
  return h("a.item", { href: `#/jobs/${job.jobId}` }, h("span.item-line", h("span.strong.grow.cut", kindName(job.taskType)), when(job.completedAt)), h("span.item-error.cut", failureWords(job)));
}

function recentItem(job) {
  const isInsignia = job.taskType === "insignia_background_processing";
  return h("a.item", { href: `#/jobs/${job.jobId}${isInsignia ? "/result" : ""}` }, h("span.item-line", stateChip(job.status), h("span.strong.grow.cut", kindLabel(job.taskType)), when(job.completedAt)), h("span.item-sub", h("span.cut", job.userId), h("span", duration(job.durationMs))));
}

function runningItem(job) {
  const percent = percentOf(job.progress);
  const far = percent === null ? "" : `${number(percent)} %`;
  return h("a.item", { href: `#/jobs/${job.jobId}` }, h("span.item-line", h("span.strong.grow.cut", kindName(job.taskType)), h("span.soft.figures", far)), bar(job.progress, kindName(job.taskType)), h("span.item-sub", h("span.cut.grow", job.progress?.note || job.userId), when(job.startedAt)));
}
