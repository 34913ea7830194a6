/**
 * Who changed what, when.
 * @module
 */

import { get } from "../api.js";
import { icon } from "../components/icons.js";
import { button, busy, empty, shortId, trouble, waiting, when } from "../components/parts.js";
import { table } from "../components/table.js";
import { h, put } from "../dom.js";
import { named, t } from "../i18n/words.js";
import { go } from "../router.js";

/** @param {import("../app.js").Visit} visit */
export function view({ query: first, signal }) {
  let query = first;
  /** @type {any[]} */
  let shown = [];
  let cursor = null;
  const actor = field("actor");
  const action = field("action");
  const state = h("div", waiting(8));
  const rows = auditTable();
  const frame = h("div.table-frame", { hidden: true }, rows.element);
  const more = button(t("result.more"), { hidden: true, onclick: () => busy(more, () => load(true)) });
  const element = h("div.content", h("div.page-head", h("div", h("h1", { tabindex: -1 }, t("nav.audit")), h("p.lead", t("audit.lead")))), h("div.filters", h("div.search.grow", icon("user"), actor), h("div.search.grow", icon("audit"), action)), frame, state, h("div.row.center.pad", more));
  load(false);

  function field(name) {
    const input = h("input", { type: "search", placeholder: t(`audit.${name}`), "aria-label": t(`audit.${name}`), autocomplete: "off", value: first[name]?.[0] ?? "", onchange: () => go("/audit", { ...query, [name]: input.value.trim() }) });
    return input;
  }

  async function load(isMore) {
    try {
      const page = await get("/api/v1/audit", { actor: query.actor?.[0], action: query.action?.[0], cursor: isMore ? cursor : null, limit: 50 }, signal);
      const { entries } = page;
      shown = isMore ? [...shown, ...entries] : entries;
      cursor = page.cursor;
      frame.hidden = shown.length === 0;
      put(state, shown.length === 0 && empty("audit", t("audit.none"), t("audit.noneHint")));
      rows.show(shown);
      more.hidden = !cursor;
    } catch (problem) {
      if (signal.aborted) return;
      frame.hidden = true;
      put(state, trouble(problem, () => load(false)));
    }
  }

  return {
    title: t("nav.audit"),
    element,
    update(now) {
      query = now;
      load(false);
    },
  };
}

function auditTable() {
  return table({
    caption: t("nav.audit"),
    class: "audit-table",
    key: (one) => `${one.at} ${one.actor} ${one.action} ${one.target}`,
    columns: [
      { name: "at", title: t("audit.at"), cell: (one) => when(one.at) },
      { name: "actor", title: t("audit.actor"), cell: (one) => h("span.strong", one.actor) },
      { name: "action", title: t("audit.action"), cell: (one) => named("action", one.action) },
      { name: "target", title: t("audit.target"), cell: target },
      { name: "answer", title: t("audit.answer"), class: "from-wide number", cell: answer },
      { name: "address", title: t("hub.address"), class: "from-widest", cell: (one) => h("span.mono", one.detail?.address ?? "") },
    ],
  });
}

function target(one) {
  const id = one.target ?? "";
  const isJob = one.action.startsWith("jobs.") && id;
  const { status, address, ...rest } = one.detail ?? {};
  const words = Object.keys(rest).length ? JSON.stringify(rest) : "";
  return h("span.break", isJob ? h("a", { href: `#/jobs/${id}`, "data-main": "" }, shortId(id)) : id, words && h("span.note.mono", ` ${words}`));
}

/** What it was answered: a refused order is an order, too. */
function answer(one) {
  const status = one.detail?.status;
  return typeof status === "number" ? h("span.figures", { class: status < 400 ? "soft" : "fault" }, String(status)) : "";
}
