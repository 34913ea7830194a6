/**
 * Headings that the service does not know: the user says which field each of them is, and the job starts again.
 * @module
 */

import { get, idempotencyKeys, post } from "../api.js";
import { dialog } from "../components/dialog.js";
import { icon } from "../components/icons.js";
import { busy, button, trouble, waiting } from "../components/parts.js";
import { h, newId, put } from "../dom.js";
import { language, t } from "../i18n/words.js";
import { may } from "../session.js";
import { INSIGNIA } from "./insignia.js";
import { started } from "./started.js";

/** A notice with the way to the mapping; nothing for a job without unknown headings. @param {any} job */
export function mappingNotice(job) {
  const headings = job.errorDetails?.headings ?? job.result?.unknownColumns ?? [];
  if (job.taskType !== INSIGNIA || !headings.length || !job.payload || !may("enqueue")) return null;
  const open = button(t("mapping.open"), { class: "small", "data-mapping": "", onclick: () => openMapping(job, headings) });
  return h("div.notice.is-info", icon("info"), h("p.grow", t("mapping.hint", headings.length)), open);
}

/** @param {any} job @param {string[]} headings */
function openMapping(job, headings) {
  const body = h("div.stack", waiting(4));
  const keyOf = idempotencyKeys();
  const made = dialog(t("mapping.title"), body, { class: "mapping" });
  load();

  async function load() {
    try {
      const { fields } = await get("/api/v1/insignia/words");
      put(body, form(fields));
    } catch (problem) {
      put(body, trouble(problem, load));
    }
  }

  function form(fields) {
    const name = (field) => fields[field]?.[language()] ?? field;
    const missing = job.errorDetails?.missing ?? [];
    const order = [...missing, ...Object.keys(fields).filter((field) => !missing.includes(field))];
    const known = job.payload.columns ?? {};
    const rows = headings.map((heading) => {
      const id = newId("heading");
      const options = [["", t("mapping.none")], ["-", t("mapping.ignore")], ...order.map((field) => [field, name(field)])];
      const select = h("select", { id, "data-heading": heading }, options.map(([value, words]) => h("option", { value, selected: value === (known[heading] ?? "") }, words)));
      return { heading, select, element: h("div.field", h("label", { for: id }, heading), select) };
    });
    const fault = h("div");
    const start = button(t("mapping.start"), { type: "submit", class: "main big wide", "data-start-mapped": "" }, "play");

    async function send() {
      put(fault);
      const chosen = Object.fromEntries(rows.map(({ heading, select }) => [heading, select.value]).filter(([, value]) => value));
      const payload = { ...job.payload, columns: { ...known, ...chosen } };
      try {
        const next = { taskType: INSIGNIA, userId: job.userId, payload };
        started(await post("/api/v1/jobs", next, { "Idempotency-Key": keyOf(next) }), INSIGNIA, () => made.close());
      } catch (problem) {
        put(fault, trouble(problem));
      }
    }

    const lead = missing.length > 0 && h("p", t("mapping.missing", missing.map(name).join(", ")));
    return h("form.stack", { onsubmit: (event) => (event.preventDefault(), busy(start, send)) }, lead, h("div.fields", rows.map((row) => row.element)), h("p.note", t("mapping.remembered")), fault, start);
  }
}
