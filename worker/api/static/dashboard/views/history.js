/**
 * The timeline of a job: its states, its attempts, and the delivery of its notifications.
 * @module
 */

import { post } from "../api.js";
import { icon } from "../components/icons.js";
import { busy, button, card, failureWords, when, wordsOf } from "../components/parts.js";
import { toast } from "../components/toasts.js";
import { h } from "../dom.js";
import { date, duration, moment, named, number, t } from "../i18n/words.js";
import { may } from "../session.js";

/** @param {any} job */
export function timeline(job) {
  const isEnded = Boolean(job.completedAt);
  const isRunning = job.status === "running";
  const delay = date(job.runAt)?.getTime() - date(job.createdAt)?.getTime();
  const steps = [
    step("upload", t("time.created"), job.createdAt, null, "done"),
    delay > 1000 && step("clock", t("time.due"), job.runAt, null, date(job.runAt)?.getTime() > Date.now() ? "now" : "done"),
    step("play", t(job.attempt > 1 ? "time.attempt" : "time.started", number(job.attempt)), job.startedAt, gap(job.runAt, job.startedAt), job.startedAt ? "done" : "open"),
    isRunning && step("workers", t("state.running"), null, null, "now"),
    step(job.status === "failed" ? "cross" : job.status === "cancelled" ? "stop" : "check", t(isEnded ? `time.${job.status}` : "time.end"), job.completedAt, job.durationMs ? t("time.took", duration(job.durationMs)) : null, isEnded ? (job.status === "succeeded" ? "done good" : "done bad") : "open"),
  ];
  return h("ol.timeline", steps.filter(Boolean));
}

function step(sign, words, at, note, look) {
  return h("li", { class: look }, h("span.mark", icon(sign)), h("div", h("p.strong", words), (at || note) && h("p.note", at && h("time", { datetime: date(at)?.toISOString() }, moment(at)), at && note && " · ", note)));
}

function gap(from, until) {
  const between = date(until)?.getTime() - date(from)?.getTime();
  return Number.isFinite(between) && between >= 0 ? t("time.waited", duration(between)) : null;
}

/** Earlier attempts and runs. @param {any} job */
export function attemptsCard(job) {
  const attempts = job.attempts ?? [];
  if (!attempts.length) return null;
  const body = h("tbody", attempts.map(attemptRow));
  const head = h("tr", ["col.run", "col.attempt", "col.outcome", "col.started", "col.duration"].map((words, index) => h("th", { scope: "col", class: [0, 1, 4].includes(index) ? "number" : "" }, t(words))));
  return card(t("job.attempts"), {}, h("div.table-frame.plain", h("table.table", h("caption.hidden-visually", t("job.attempts")), h("thead", head), body)));
}

function attemptRow(attempt) {
  const error = attempt.error && h("details.attempt-error", h("summary.cut", failureWords(attempt)), h("p.break", failureWords(attempt)), attempt.stackTrace && h("pre.code.trace", { tabindex: 0 }, attempt.stackTrace));
  const outcome = attempt.ended;
  return h("tr", h("td.number", number(attempt.run)), h("td.number", number(attempt.attempt)), h("td.takes-all", outcome && h("span.strong", named("outcome", outcome)), error), h("td", when(attempt.startedAt)), h("td.number.figures", duration(attempt.durationMs)));
}

/** Stored, sent, confirmed by the hub, shown in a browser. @param {any} job */
export function deliveryCard(job) {
  const deliveries = job.deliveries ?? [];
  if (!deliveries.length) return null;
  return card(t("delivery"), {}, h("div.stack", [...deliveries].sort((one, other) => other.run - one.run).map((one) => delivery(one, deliveries.length > 1))));
}

function delivery(one, isNamed) {
  const isDead = one.status === "dead";
  const isDelivered = one.status === "delivered";
  const steps = [
    [t("delivery.stored"), one.storedAt, true],
    [t("delivery.sent"), one.deliveredAt, isDelivered || isDead],
    isDead ? [t("delivery.dead"), null, true, "bad"] : [t("delivery.confirmed"), one.deliveredAt, isDelivered],
    [one.shownCount > 1 ? t("delivery.shownTimes", number(one.shownCount)) : t("delivery.shown"), one.shownAt, Boolean(one.shownAt)],
  ];
  const track = h("ol.track", steps.map(([words, at, isDone, look]) => h("li", { class: `${isDone ? "done" : "open"} ${look ?? ""}` }, h("span.mark", icon(look === "bad" ? "cross" : "check")), h("span.track-words", words), at && h("span.note", when(at)))));
  return h("div.delivery", isNamed && h("p.note", t("run", one.run)), track, one.reason && h("p.fault", one.reason), h("div.row", h("span.note.grow", t("delivery.sequence", number(one.sequence)), one.redelivery ? ` · ${t("delivery.again", number(one.redelivery))}` : ""), may("admin") && one.status === "pending" && setAsideButton(one.notificationId), may("admin") && resendButton(one.notificationId)));
}

/** @param {string} id @param {() => void} [done] @param {string} [look] */
export function resendButton(id, done, look = "") {
  return notificationButton(id, { act: "resend", words: "resend", after: "resent", sign: "send", look }, done);
}

/** Stops sending a waiting notification. @param {string} id @param {() => void} [done] */
export function setAsideButton(id, done) {
  return notificationButton(id, { act: "set-aside", words: "setAside", after: "setAsideDone", sign: "cross", look: "quiet" }, done);
}

/** @param {string} id @param {Record<string, string>} one @param {() => void} [done] */
function notificationButton(id, one, done) {
  const made = button(t(one.words), { class: `small ${one.look}`, "data-act": one.act, onclick: () => busy(made, run) }, one.sign);
  async function run() {
    try {
      await post(`/api/v1/notifications/${encodeURIComponent(id)}/${one.act}`);
      toast({ level: "good", title: t(one.after) });
      done?.();
    } catch (problem) {
      const [title, text] = wordsOf(problem);
      toast({ level: "bad", title, text });
    }
  }
  return made;
}
