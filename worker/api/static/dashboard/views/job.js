/**
 * One job, from its submission until a browser displayed its notification.
 * @module
 */

import { base as service, get, post } from "../api.js";
import { confirmed } from "../components/dialog.js";
import { icon } from "../components/icons.js";
import { jsonView } from "../components/json.js";
import { bar, busy, button, card, copyButton, empty, facts, failureWords, kindLabel, kindName, noteWords, percentOf, stateChip, trouble, waiting, when, wordsOf } from "../components/parts.js";
import { toast } from "../components/toasts.js";
import { every, h, put } from "../dom.js";
import { bytes, duration, moment, number, t } from "../i18n/words.js";
import { follow } from "../live.js";
import { watch } from "../job-toasts.js";
import { may } from "../session.js";
import { attemptsCard, deliveryCard, timeline } from "./history.js";
import { INSIGNIA, resultSummary } from "./insignia.js";
import { mappingNotice } from "./mapping.js";

const ENDED = ["succeeded", "failed", "cancelled"];
const REFRESH = 1500;
const CALM = 10_000;

/** @param {import("../app.js").Visit} visit */
export function view({ params, signal }) {
  const path = `/api/v1/jobs/${encodeURIComponent(params.id)}`;
  const head = h("div.page-head");
  const body = h("div", waiting(8));
  const element = h("div.content", h("a.back", { href: "#/jobs" }, icon("left"), t("nav.jobs")), head, body);
  /** @type {any} */
  let job = null;
  /** @type {any[]} */
  let files = [];
  let sign = "";
  let calm = 0;
  put(head, h("h1", { tabindex: -1 }, t("job")));

  const ask = every(tick, REFRESH, signal);
  follow("progress", progressed, signal);
  follow("ended", (jobId) => jobId === params.id && now(), signal);
  follow("settled", (list) => list.some((one) => one.jobId === params.id) && now(), signal);

  /** A job that has ended changes seldom: its delivery may still. */
  async function tick() {
    if (job && ENDED.includes(job.status) && Date.now() - calm < CALM) return;
    calm = Date.now();
    await load();
  }

  function now() {
    calm = 0;
    ask();
  }

  async function load() {
    try {
      job = await get(path, {}, signal);
      if (["succeeded", "failed"].includes(job.status) && !files.length) files = await get(`${path}/files`, {}, signal).then((answer) => answer.files).catch(() => []);
      draw();
    } catch (problem) {
      if (signal.aborted) return;
      if (problem.status === 404) put(body, empty("search", t("job.gone"), t("job.goneHint"), h("a.button", { href: "#/jobs" }, t("nav.jobs"))));
      else if (!job) put(body, trouble(problem, now));
    }
  }

  /** Redraw the page only when something other than the progress has changed, to keep a text selection. */
  function draw() {
    const { progress, ...rest } = job;
    const wanted = JSON.stringify([rest, files]);
    if (wanted === sign) return drawProgress(progress);
    sign = wanted;
    put(head, title(job), h("div.row.actions", actions(job, now)));
    put(body, parts(job, files));
  }

  function drawProgress(progress) {
    const place = body.querySelector("[data-progress]");
    if (place) put(place, running(job.taskType, progress));
  }

  function progressed(list) {
    const mine = list.find((one) => one.jobId === params.id);
    if (mine && job?.status === "running") drawProgress((job.progress = { percent: mine.percent, note: mine.note }));
  }

  return { title: t("job"), element };
}

/** The name that a roster had where it was uploaded. Uploads are stored as the field, a hyphen and this name. @param {string} path */
function rosterName(path) {
  const name = String(path).split("/").at(-1) ?? "";
  return String(path).startsWith("uploads/") ? name.replace(/^roster-/, "") : name;
}

function title(job) {
  const id = h("p.soft.row.id-line", h("span.mono.break", job.jobId), copyButton(t("copyId"), () => job.jobId));
  const { round, organization, roster } = job.payload ?? {};
  const about = job.taskType === INSIGNIA && [round && t("round", round), organization, [roster].flat().filter(Boolean).map(rosterName).join(", ")].filter(Boolean).join(" · ");
  return h("div", h("div.title-line", h("h1", { tabindex: -1 }, kindName(job.taskType)), h("span", { role: "status" }, stateChip(job.status, { wish: job.cancelRequested }))), about && h("p.lead.break", about), id);
}

function actions(job, changed) {
  const list = [];
  if (!may("admin")) return list;
  if (ENDED.includes(job.status)) list.push(act("retry", "retry", job, changed, job.status === "failed" ? "main" : ""));
  else if (!job.cancelRequested) list.push(act("cancel", "stop", job, changed, "danger"));
  return list;
}

function act(name, sign, job, changed, look) {
  const made = button(t(`job.${name}`), { class: look, "data-act": name, onclick: () => busy(made, run) }, sign);
  async function run() {
    if (name === "cancel" && job.status === "running" && !(await confirmed(t("job.cancel.title"), t("job.cancel.text"), t("job.cancel"), { danger: true }))) return;
    if (name === "retry" && job.status === "succeeded" && !(await confirmed(t("job.retry.title"), t("job.retry.text"), t("job.retry")))) return;
    try {
      await post(`/api/v1/jobs/${encodeURIComponent(job.jobId)}/${name}`);
      watch(job.jobId, job.taskType);
    } catch (problem) {
      const [words, text] = wordsOf(problem);
      toast({ level: "bad", title: words, text });
    }
    changed();
  }
  return made;
}

function parts(job, files) {
  const main = [
    job.status === "running" && card(t("job.progress"), {}, h("div", { "data-progress": "" }, running(job.taskType, job.progress))),
    job.status === "queued" && waitingCard(job),
    job.error !== undefined && job.error !== null && failure(job),
    mappingNotice(job),
    job.status === "succeeded" && job.taskType === INSIGNIA && job.result && resultSummary(job),
    files.length > 0 && filesCard(job, files),
    card(t("job.arguments"), {}, jsonView(job.payload ?? {}, t("job.arguments"))),
    job.result !== undefined && card(t("job.result"), {}, jsonView(job.result, t("job.result"))),
    attemptsCard(job),
  ];
  const side = [card(t("job.timeline"), {}, timeline(job)), deliveryCard(job), card(t("job.facts"), {}, factsOf(job))];
  return h("div.columns.two-one.top", h("div.stack", main.filter(Boolean)), h("div.stack", side.filter(Boolean)));
}

function running(kind, progress) {
  const percent = percentOf(progress) === null ? t("job.started") : `${number(percentOf(progress))} %`;
  return [h("div.item-line", h("span.big-figure", percent), h("span.soft.grow.cut.right", noteWords(progress?.note))), bar(progress, t("job.progressOf", kindName(kind)))];
}

function waitingCard(job) {
  const isLater = new Date(job.runAt).getTime() > Date.now();
  const words = isLater ? (job.attempt ? "job.waitsRetry" : "job.waitsLater") : "job.waits";
  return h("div.notice.is-info", icon("clock"), h("p.grow", t(words), " ", isLater && when(job.runAt)));
}

function failure(job) {
  const isCancelled = job.status === "cancelled";
  const isRetried = job.status === "queued" || job.status === "running";
  const trace = job.stackTrace;
  const type = job.errorType && h("span.mono.soft", job.errorType);
  const isForPeople = Boolean(job.errorTh);
  const words = h("div.failure", h("p.failure-text", failureWords(job)), h("p.note.row", !isForPeople && type, job.errorId && h("span", t("job.errorId"), " ", h("span.mono", job.errorId))));
  const original = failureWords(job) !== job.error && h("details", h("summary", t("job.original")), h("p.note.break", { lang: "en" }, job.error));
  const pre = trace && [h("div.trace-head", h("h3", t("job.trace")), copyButton(t("job.copyTrace"), () => trace)), h("pre.code.trace", { tabindex: 0, role: "region", "aria-label": t("job.trace") }, h("code", trace))];
  // Who can act on the message needs no stack trace: it is a click away.
  const details = isForPeople && type ? h("details", h("summary", t("job.technical")), h("p.note", type), pre) : pre;
  return card(t(isCancelled ? "job.cancelled" : isRetried ? "job.lastError" : "job.error"), { class: isCancelled ? "" : "is-bad", id: "error" }, words, original, details);
}

function filesCard(job, files) {
  const base = `/api/v1/jobs/${encodeURIComponent(job.jobId)}/files/`;
  const row = (file) => h("li", h("a.file", { href: ownHref(file.href, base + encodeURIComponent(file.name)), download: file.shown ?? file.name, "data-file": file.name }, icon("download"), h("span.grow.cut", file.field ? file.shown : file.name), h("span.soft.figures", bytes(file.sizeBytes))));
  return card(t("job.files"), {}, h("ul.files", files.map(row)));
}

/** Only addresses of this very service become links. @param {string | undefined} href @param {string} otherwise */
export const ownHref = (href, otherwise) => (typeof href === "string" && href.startsWith(`${service}/api/v1/`) && /^[\w\-./%~]+$/.test(href) ? href : service + otherwise);

function factsOf(job) {
  return facts([
    [t("col.job"), kindLabel(job.taskType)],
    [t("col.user"), h("a", { href: `#/jobs?${new URLSearchParams({ userId: job.userId })}` }, job.userId)],
    job.organization && [t("col.organization"), job.organization],
    [t("col.attempt"), t("attemptOf", job.attempt, job.maxAttempts)],
    job.run > 1 && [t("col.run"), number(job.run)],
    Boolean(job.priority) && [t("col.priority"), number(job.priority)],
    [t("col.created"), moment(job.createdAt)],
    [t("col.duration"), duration(job.durationMs)],
  ]);
}
