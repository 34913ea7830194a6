/**
 * The notifications: sent, waiting and rejected.
 * @module
 */

import { bulk, get } from "../api.js";
import { icon } from "../components/icons.js";
import { busy, button, card, empty, failureWords, kindName, segmented, shortId, trouble, waiting, when } from "../components/parts.js";
import { confirmed } from "../components/dialog.js";
import { table } from "../components/table.js";
import { toast } from "../components/toasts.js";
import { every, h, put } from "../dom.js";
import { named, number, t } from "../i18n/words.js";
import { go, to } from "../router.js";
import { may } from "../session.js";
import { resendButton, setAsideButton } from "./history.js";

const REFRESH = 4000;
const SIGNS = { pending: "clock", delivered: "check", dead: "cross" };

/** @param {import("../app.js").Visit} visit */
export function view({ query: first, signal }) {
  let query = first;
  const state = h("div", waiting(8));
  const rows = notificationTable(() => turn());
  const frame = h("div.table-frame", { hidden: true }, rows.element);
  const pager = h("nav.pager", { "aria-label": t("pager") });
  const tools = h("div.filters");
  const user = h("input", { type: "search", placeholder: t("filter.user"), "aria-label": t("filter.user"), autocomplete: "off", onchange: () => go("/notifications", { ...query, cursor: null, userId: user.value.trim() }) });
  const element = h("div.content", h("div.page-head", h("div", h("h1", { tabindex: -1 }, t("nav.notifications")), h("p.lead", t("notification.lead")))), tools, frame, state, pager);
  let shownKey = "";
  drawTools();
  const turn = every(() => load(false), REFRESH, signal);

  function drawTools() {
    const choose = segmented(t("col.state"), [["", t("jobs.all")], ["pending", t("notification.is.pending")], ["delivered", t("notification.is.delivered")], ["dead", t("notification.is.dead")]], query.state?.[0] ?? "", (value) => go("/notifications", { ...query, cursor: null, state: value }));
    if (document.activeElement !== user) user.value = query.userId?.[0] ?? "";
    put(tools, choose, h("div.search.grow", icon("user"), user), may("admin") && query.state?.[0] === "dead" && resendAll());
  }

  function resendAll() {
    const made = button(t("notification.resendAll"), { class: "small", onclick: () => busy(made, run) }, "send");
    async function run() {
      const filter = { status: "dead", ...(query.userId?.[0] ? { userId: query.userId[0] } : {}) };
      try {
        const { seen } = await bulk("/api/v1/notifications/bulk", { action: "resend", filter, dryRun: true });
        if (!seen || !(await confirmed(t("notification.resendTitle", number(seen)), t("notification.resendText"), t("resend")))) return;
        await bulk("/api/v1/notifications/bulk", { action: "resend", filter });
        toast({ level: "good", title: t("resent") });
        turn();
      } catch (problem) {
        toast({ level: "bad", title: t("problem"), text: problem.message });
      }
    }
    return made;
  }

  function update(now) {
    query = now;
    drawTools();
    load(true);
  }

  async function load(wanted) {
    try {
      const filter = { status: query.state?.[0], userId: query.userId?.[0], jobId: query.jobId?.[0], cursor: query.cursor?.[0] };
      const page = await get("/api/v1/notifications", filter, signal);
      const list = page.notifications;
      const isSame = shownKey === JSON.stringify(filter);
      // As in the list of jobs: rows do not move under the pointer.
      if (isSame && !wanted && (frame.matches(":hover") || frame.contains(document.activeElement)) && rows.keys()[0] !== String(list[0]?.id)) return;
      shownKey = JSON.stringify(filter);
      frame.hidden = list.length === 0;
      put(state, list.length === 0 && empty("notifications", t("notification.none"), t("notification.noneHint")));
      rows.show(list);
      put(pager, h("div.row", query.cursor?.length ? h("a.button", { href: to("/notifications", { ...query, cursor: null }) }, icon("left"), t("pager.newest")) : null, page.cursor && h("a.button", { href: to("/notifications", { ...query, cursor: page.cursor }) }, t("pager.older"), icon("right"))));
    } catch (problem) {
      if (signal.aborted || !(wanted || frame.hidden)) return;
      frame.hidden = true;
      put(state, trouble(problem, () => load(true)));
    }
  }

  return { title: t("nav.notifications"), element, update };
}

function notificationTable(done) {
  return table({
    caption: t("nav.notifications"),
    key: (one) => String(one.id),
    class: "notification-table",
    columns: [
      { name: "state", title: t("col.state"), cell: (one) => h("span.chip", { class: `is-${one.status}` }, icon(/** @type {any} */ (SIGNS[one.status] ?? "info")), named("notification.is", one.status)) },
      { name: "job", title: t("col.notification"), cell: notificationCell },
      { name: "user", title: t("col.user"), class: "from-wide", cell: (one) => h("span.cut", { title: one.userId }, one.userId) },
      { name: "sequence", title: t("col.sequence"), class: "from-widest number", cell: (one) => h("span.figures", number(one.sequence), one.redelivery ? h("span.soft", ` ↻${number(one.redelivery)}`) : null) },
      { name: "created", title: t("col.stored"), class: "number", cell: (one) => when(one.createdAt) },
      { name: "delivered", title: t("col.delivered"), class: "from-wide number", cell: (one) => when(one.deliveredAt) },
      { name: "act", title: h("span.hidden-visually", t("col.actions")), cell: (one) => (may("admin") ? (one.status === "pending" ? setAsideButton(one.notificationId, done) : resendButton(one.notificationId, done, one.status === "dead" ? "" : "quiet")) : "") },
    ],
  });
}

function notificationCell(one) {
  const payload = bodyOf(one);
  const good = payload?.status === "success";
  const words = payload ? `${payload.taskType ? kindName(payload.taskType) : ""} · ${t(good ? "state.succeeded" : payload.error === "Cancelled" ? "state.cancelled" : "state.failed")}` : shortId(one.notificationId);
  return h("div.job-cell", h("a.job-link", { href: `#/jobs/${one.jobId}`, "data-main": "" }, h("span", words), h("span.mono.soft", shortId(one.jobId))), (one.reason || (!good && payload?.error)) && h("span.row-error.cut", one.reason || failureWords(payload)));
}

/** The stored message: the two arguments of the event, or only the first. */
function bodyOf({ body }) {
  const message = Array.isArray(body) ? body.find((part) => part?.payload) : body;
  return message?.payload ?? null;
}
