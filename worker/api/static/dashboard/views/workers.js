/**
 * Who does the work, how much at once, and which kinds of it.
 * @module
 */

import { get, patch, post } from "../api.js";
import { bar, button, busy, card, empty, facts, kindLabel, kindName, percentOf, trouble, waiting, when, wordsOf } from "../components/parts.js";
import { toast } from "../components/toasts.js";
import { every, h, newId, put, say } from "../dom.js";
import { duration, moment, named, number, t } from "../i18n/words.js";
import { follow } from "../live.js";
import { may } from "../session.js";
import { waitingCard } from "./waiting.js";

const REFRESH = 2500;
const MOST = 64;

/** @param {import("../app.js").Visit} visit */
export function view({ signal }) {
  const place = h("div.stack", waiting(5));
  const kinds = h("div", waiting(4));
  const fault = h("div");
  const kindCard = card(t("workers.kinds"), {}, kinds);
  const lines = waitingCard();
  const element = h("div.content", h("div.page-head", h("div", h("h1", { tabindex: -1 }, t("nav.workers")), h("p.lead", t("workers.lead")))), fault, place, lines.element, kindCard);
  /** @type {Map<string, ReturnType<typeof workerCard>>} */
  const cards = new Map();
  const turn = every(load, REFRESH, signal);
  follow("progress", (list) => cards.forEach((one) => one.progressed(list)), signal);

  async function load() {
    const [workers, all, waits] = await Promise.allSettled(["/api/v1/workers", "/api/v1/task-types", "/api/v1/waiting-lines"].map((path) => get(path, {}, signal)));
    if (signal.aborted) return;
    const broken = [workers, all].find((one) => one.status === "rejected");
    put(fault, broken && trouble(broken.reason, turn));
    if (workers.status === "fulfilled") drawWorkers(workers.value.workers);
    else if (!cards.size) put(place);
    if (all.status === "fulfilled") drawKinds(all.value.taskTypes);
    if (waits.status === "fulfilled") lines.draw(waits.value.lines);
    lines.element.hidden = waits.status === "rejected";
    kindCard.hidden = all.status === "rejected" && !kinds.dataset.sign;
  }

  function drawWorkers(workers) {
    for (const id of [...cards.keys()]) if (!workers.some((one) => one.id === id)) cards.delete(id);
    for (const worker of workers) {
      if (!cards.has(worker.id)) cards.set(worker.id, workerCard(turn));
      cards.get(worker.id)?.draw(worker);
    }
    const elements = [...cards.values()].map((one) => one.element);
    if (elements.length !== place.childElementCount || elements.some((one, index) => place.children[index] !== one)) put(place, elements);
  }

  function drawKinds(list) {
    const sign = JSON.stringify(list.map(({ payloadSchema, ...rest }) => rest)) + document.documentElement.lang;
    if (kinds.dataset.sign === sign) return;
    kinds.dataset.sign = sign;
    const focused = kinds.contains(document.activeElement) ? document.activeElement?.closest("li")?.dataset.kind : null;
    put(kinds, list.length ? h("ul.kinds", list.map((kind) => kindRow(kind, turn))) : empty("jobs", t("workers.noKinds"), ""));
    if (focused) kinds.querySelector(`[data-kind="${CSS.escape(focused)}"] button`)?.focus();
  }

  return { title: t("nav.workers"), element };
}

function workerCard(turn) {
  const id = newId("slots");
  const title = h("h2");
  const quietChip = h("span.chip.is-cancelled", { hidden: true }, t("workers.quiet"));
  const about = h("div");
  const shown = h("output", { for: id });
  const slider = h("input", { id, type: "range", min: 1, max: MOST, step: 1, disabled: !may("admin"), oninput: () => say(shown, number(Number(slider.value))), onchange: () => change({ concurrency: Number(slider.value) }) });
  const quiet = may("admin") ? button("", { onclick: () => busy(quiet, () => change({ quiet: !now?.quiet })) }) : null;
  const jobs = h("div");
  const load = h("div");
  const element = h("section.card.worker", h("div.card-head", h("div.row", title, quietChip), quiet), about, h("div.slots-line", h("label", { for: id }, t("workers.slots")), slider, shown), load, h("h3", t("workers.running")), jobs);
  /** @type {any} */
  let now = null;
  let sign = "";

  async function change(body) {
    try {
      await patch("/api/v1/workers", body);
      toast({ level: "good", title: t("saved") });
    } catch (problem) {
      const [words, text] = wordsOf(problem);
      toast({ level: "bad", title: words, text });
    }
    turn();
  }

  function draw(worker) {
    now = worker;
    say(title, worker.host ?? worker.id);
    quietChip.hidden = !worker.quiet;
    if (quiet) say(quiet.querySelector("span"), t(worker.quiet ? "workers.wake" : "workers.rest"));
    if (document.activeElement !== slider) {
      slider.max = String(Math.max(MOST, worker.concurrency));
      slider.value = String(worker.concurrency);
      say(shown, number(worker.concurrency));
    }
    put(about, facts([[t("workers.version"), worker.version], [t("workers.pid"), String(worker.pid ?? "–")], [t("workers.started"), moment(worker.startedAt)]]));
    drawJobs();
  }

  function drawJobs() {
    const list = now.running ?? [];
    const wanted = JSON.stringify(list) + now.concurrency;
    if (wanted === sign) return;
    sign = wanted;
    put(load, bar({ percent: (100 * list.length) / Math.max(1, now.concurrency), note: "-" }, t("workers.busy", number(list.length), number(now.concurrency))), h("p.note", t("workers.busy", number(list.length), number(now.concurrency))));
    put(jobs, list.length ? h("ul.items", list.map((job) => h("li", runningItem(job)))) : h("p.note", t("overview.idle")));
  }

  return {
    element,
    draw,
    progressed(list) {
      let isOurs = false;
      for (const { jobId, percent, note } of list) {
        const job = now?.running?.find((one) => one.jobId === jobId);
        if (job) (Object.assign(job, { percent, note }), (isOurs = true));
      }
      if (isOurs) drawJobs();
    },
  };
}

function runningItem(job) {
  return h("a.item", { href: `#/jobs/${job.jobId}` }, h("span.item-line", h("span.strong.grow.cut", kindName(job.taskType)), h("span.soft.figures", percentOf(job) === null ? "" : `${number(percentOf(job))} %`)), bar(job, kindName(job.taskType)), h("span.item-sub", h("span.cut.grow", job.note || job.userId), when(job.startedAt)));
}

function kindRow(kind, turn) {
  const toggle = button(t(kind.paused ? "workers.resume" : "workers.pause"), { class: "small", "aria-label": `${t(kind.paused ? "workers.resume" : "workers.pause")}: ${kind.taskType}`, onclick: () => busy(toggle, run) }, kind.paused ? "play" : "pause");
  async function run() {
    try {
      await post(`/api/v1/task-types/${encodeURIComponent(kind.taskType)}/${kind.paused ? "resume" : "pause"}`);
    } catch (problem) {
      const [title, text] = wordsOf(problem);
      toast({ level: "bad", title, text });
    }
    turn();
  }
  const words = [named("execution", kind.execution), kind.timeoutSeconds && t("workers.timeout", duration(kind.timeoutSeconds * 1000)), typeof kind.queued === "number" && t("workers.queued", number(kind.queued))].filter(Boolean).join(" · ");
  return h("li", { "data-kind": kind.taskType }, h("div.grow", h("p.row", h("span.strong", kindLabel(kind.taskType)), kind.paused && h("span.chip.is-cancelled", t("workers.paused"))), h("p.note.break", h("span.mono", kind.taskType), " · ", words)), may("admin") && toggle);
}
