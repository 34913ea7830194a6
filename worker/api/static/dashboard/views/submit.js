/**
 * A new job: a roster dropped anywhere on the page, or a form generated from the schema of a task type.
 * @module
 */

import { get, idempotencyKeys, post, upload } from "../api.js";
import { dialog } from "../components/dialog.js";
import { icon } from "../components/icons.js";
import { bar, busy, button, iconButton, kindName, segmented, trouble, waiting, wordsOf } from "../components/parts.js";
import { h, newId, put, say } from "../dom.js";
import { bytes, number, t } from "../i18n/words.js";
import { isBound, may, session } from "../session.js";
import { INSIGNIA } from "./insignia.js";
import { payloadForm } from "./schema.js";
import { started } from "./started.js";

const ERA = 543;
const SNIFFED = 4096;
const ROSTERS = ".xlsx,.xls,.ods,.csv,.txt,.json,.jsonl,.xml,.html,text/csv,application/json";

/** The round of this year, in the Buddhist calendar. */
export const thisRound = (now = new Date()) => now.getFullYear() + ERA;

/** @type {{element: HTMLDialogElement, add: (files: Iterable<File>) => void} | null} */
let open = null;

/** Files may fall anywhere. @param {AbortSignal} signal */
export function catchDrops(signal) {
  const veil = h("div.drop-veil", { hidden: true }, h("div.drop-card", icon("upload"), h("p.strong", t("drop")), h("p", t("drop.hint"))));
  document.body.append(veil);
  signal.addEventListener("abort", () => veil.remove());
  let depth = 0;
  const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");
  const show = (isOver) => (veil.hidden = !isOver);
  addEventListener("dragenter", (event) => carriesFiles(event) && show((depth += 1) > 0), { signal });
  addEventListener("dragleave", (event) => carriesFiles(event) && show((depth = Math.max(0, depth - 1)) > 0), { signal });
  addEventListener("dragover", (event) => carriesFiles(event) && event.preventDefault(), { signal });
  addEventListener(
    "drop",
    (event) => {
      if (!carriesFiles(event)) return;
      event.preventDefault();
      show((depth = 0) > 0);
      openSubmit([...(event.dataTransfer?.files ?? [])]);
    },
    { signal },
  );
}

/** @param {File[]} [files] */
export function openSubmit(files = []) {
  if (open) return open.add(files);
  const body = h("div");
  const roster = rosterForm(() => open?.element.close());
  const choose = segmented(t("new.what"), [["roster", t("new.roster")], ["other", t("new.other")]], "roster", (value) => put(body, value === "roster" ? roster.element : otherForm(() => open?.element.close())));
  put(body, roster.element);
  const element = dialog(t("new"), h("div.stack", choose, body), { class: "submit", onclose: () => (open = null) });
  open = { element, add: (more) => (put(body, roster.element), roster.add(more)) };
  roster.add(files);
  roster.focus();
}

/** What a file is, by the names of its columns: a history has no birth dates. @param {File} file */
async function isHistory(file) {
  const start = (await file.slice(0, SNIFFED).text()).split("\n")[0].toLowerCase();
  const isNamed = /history|ประวัติ/i.test(file.name);
  const hasDecorations = /decoration|เครื่องราช|received/.test(start);
  const hasPeople = /birth|เกิด|salary|เงินเดือน/.test(start);
  return !hasPeople && (hasDecorations || isNamed);
}

function rosterForm(close) {
  /** @type {Record<string, File[]>} */
  const files = { roster: [], history: [] };
  const keyOf = idempotencyKeys();
  const ids = { round: newId("round"), organization: newId("organization") };
  const round = h("select", { id: ids.round }, [-2, -1, 0, 1].map((offset) => thisRound() + offset).map((year) => h("option", { value: year, selected: year === thisRound() }, t("round", year))));
  const organization = h("input", { id: ids.organization, maxlength: 200, autocomplete: "organization", placeholder: t("new.optional") });
  const user = userField();
  const slots = { roster: slot("roster", true), history: slot("history", false) };
  const fault = h("div");
  const far = h("div", { hidden: true });
  const older = existing(() => ({ round: round.value, organization: organization.value.trim(), userId: user.value.trim() }));
  for (const field of [round, organization, user]) field.addEventListener("change", older.ask);
  const start = button(t("new.start"), { type: "submit", class: "main big wide", disabled: true, "data-start": "" }, "play");
  const element = h(
    "form.stack",
    { onsubmit: (event) => (event.preventDefault(), busy(start, send)) },
    h("div.slots", slots.roster.element, slots.history.element),
    h("div.fields", h("div.field", h("label", { for: ids.round }, t("new.round")), round), h("div.field", h("label", { for: ids.organization }, t("new.organization")), organization), isBound() && h("label.field", t("col.user"), user)),
    older.element,
    fault,
    far,
    start,
  );

  function slot(name, isNeeded) {
    const input = h("input.hidden-visually", { type: "file", accept: ROSTERS, multiple: true, "aria-label": t(`new.${name}`), "data-slot": name, onchange: () => take(name, [...input.files]) });
    const words = h("span.slot-words");
    const made = h("label.slot", input, icon("file"), words);
    const drop = iconButton(t("new.remove"), "close", { class: "quiet small slot-remove", hidden: true, onclick: () => ((input.value = ""), take(name, [])) });
    return {
      element: h("div.slot-place", made, drop),
      input,
      draw() {
        const chosen = files[name];
        made.classList.toggle("is-filled", chosen.length > 0);
        drop.hidden = !chosen.length;
        const size = chosen.reduce((sum, file) => sum + file.size, 0);
        put(words, h("span.strong.cut", chosen.map((file) => file.name).join(", ") || t(`new.${name}`)), h("span.note", chosen.length ? bytes(size) : t(isNeeded ? "new.rosterHint" : "new.historyHint")));
      },
    };
  }

  function take(name, chosen) {
    files[name] = chosen;
    put(fault);
    for (const one of Object.values(slots)) one.draw();
    start.disabled = !files.roster.length;
  }

  async function add(list) {
    const dropped = { roster: /** @type {File[]} */ ([]), history: /** @type {File[]} */ ([]) };
    for (const file of list) dropped[(await isHistory(file)) ? "history" : "roster"].push(file);
    for (const [name, chosen] of Object.entries(dropped)) if (chosen.length) take(name, chosen);
    if (files.roster.length) start.focus();
  }

  async function send() {
    put(fault);
    far.hidden = false;
    const payload = { round: Number(round.value), ...(organization.value.trim() ? { organization: organization.value.trim() } : {}) };
    const job = { taskType: INSIGNIA, ...named(user), payload };
    const chosen = Object.fromEntries(Object.entries(files).filter(([, chosen]) => chosen.length));
    const contents = Object.values(files).map((those) => those.map((file) => [file.name, file.size, file.lastModified]));
    try {
      const accepted = await upload(job, /** @type {any} */ (chosen), keyOf([job, contents]), (percent) => put(far, bar({ percent, note: "-" }, t("new.sending")), h("p.note", percent < 100 ? t("new.sent", number(percent)) : t("new.storing"))));
      started(accepted, INSIGNIA, close);
    } catch (problem) {
      far.hidden = true;
      put(fault, trouble(problem));
    }
  }

  for (const one of Object.values(slots)) one.draw();
  older.ask();
  return { element, add, focus: () => (files.roster.length ? start : slots.roster.input).focus() };
}

/**
 * What the new result would replace: said before Start. @param {() => {round: string, organization: string, userId: string}} values
 */
function existing(values) {
  const element = h("div", { "aria-live": "polite" });
  let asked = 0;
  async function ask() {
    const mine = (asked += 1);
    const wanted = values();
    const found = wanted.userId ? await get("/api/v1/insignia/existing", wanted).catch(() => null) : null;
    if (mine === asked) put(element, notice(found));
  }
  function notice(found) {
    if (found?.confirmed) return h("div.notice.is-bad", { "data-confirmed": "" }, icon("alert"), h("p.grow", t("new.confirmed")));
    if (!found?.jobs.length) return null;
    const days = Math.floor(found.keepReplacedSeconds / 86_400);
    const link = may("read") && h("a", { href: `#/jobs/${found.jobs.at(-1)}/result`, target: "_blank", rel: "noopener" }, t("new.olderResult"));
    return h("div.notice.is-warn", { "data-existing": "" }, icon("alert"), h("p.grow", days > 0 ? t("new.replaces", number(days)) : t("new.replacesNow"), " ", link));
  }
  return { element, ask };
}

/** The job's user: the default of the settings, else the page's own; a bound key may not name itself. */
function userField() {
  const own = session()?.defaultUserId ?? session()?.userId ?? "";
  return h("input", { value: isBound() && own.startsWith("key:") ? "" : own, maxlength: 200, autocomplete: "off" });
}

const named = (user) => (user.value.trim() ? { userId: user.value.trim() } : {});

/** Any other kind of job. */
function otherForm(close) {
  const place = h("div", waiting(3));
  get("/api/v1/task-types").then(
    ({ taskTypes }) => put(place, taskTypes.length ? kindForm(taskTypes, close) : t("new.noKinds")),
    (problem) => put(place, trouble(problem)),
  );
  return place;
}

function kindForm(kinds, close) {
  const id = newId("kind");
  const select = h("select", { id }, kinds.map(({ taskType }) => h("option", { value: taskType }, kindName(taskType))));
  const place = h("div");
  const user = userField();
  const later = h("input", { type: "datetime-local" });
  const priority = h("input", { type: "number", min: -100, max: 100, value: 0 });
  const fault = h("p.fault", { role: "alert" });
  const start = button(t("new.start"), { type: "submit", class: "main big wide" }, "play");
  const keyOf = idempotencyKeys();
  let form = draw();
  select.addEventListener("change", () => (form = draw()));

  function draw() {
    const kind = kinds.find(({ taskType }) => taskType === select.value);
    const made = payloadForm(kind?.payloadSchema ?? {});
    put(place, made.element, kind?.paused && h("p.note", t("new.paused")));
    return made;
  }

  async function send() {
    say(fault, "");
    try {
      const job = { taskType: select.value, payload: form.value(), ...named(user), ...(later.value ? { runAt: new Date(later.value).toISOString() } : {}), ...(Number(priority.value) ? { priority: Number(priority.value) } : {}) };
      started(await post("/api/v1/jobs", job, { "Idempotency-Key": keyOf(job) }), select.value, close);
    } catch (problem) {
      say(fault, problem instanceof SyntaxError ? t("new.notJson", problem.message) : wordsOf(problem).filter(Boolean).join(" · "));
    }
  }

  const more = h("details", h("summary", t("new.more")), h("div.fields.pad", h("label.field", t("col.user"), user), h("label.field", t("new.later"), later), h("label.field", t("col.priority"), priority)));
  return h("form.stack", { onsubmit: (event) => (event.preventDefault(), busy(start, send)) }, h("div.field", h("label", { for: id }, t("new.kind")), select), place, more, fault, start);
}
