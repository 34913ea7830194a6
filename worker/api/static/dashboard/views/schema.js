/**
 * A form from a JSON schema, for what a form can say; an editor of JSON for the rest.
 * @module
 */

import { h, newId, put } from "../dom.js";
import { t } from "../i18n/words.js";
import { segmented } from "../components/parts.js";

const SIMPLE = ["string", "integer", "number", "boolean"];

/**
 * @param {any} schema of an object
 * @returns {{element: HTMLElement, value: () => any}} value: the payload. SyntaxError: what was typed is not valid JSON.
 */
export function payloadForm(schema) {
  const place = h("div.stack");
  const fields = fieldsOf(schema);
  const editor = jsonEditor(sampleOf(schema));
  let isForm = fields.length > 0;
  const form = h("div.fields", fields.map((field) => field.element));
  const draw = () => put(place, isForm ? form : editor.element);
  const choose = fields.length > 0 && segmented(t("new.how"), [["form", t("new.form")], ["json", "JSON"]], "form", (value) => {
    if (value === "json") editor.show(collected(fields));
    isForm = value === "form";
    draw();
  });
  draw();
  return { element: h("div.stack", choose, place), value: () => (isForm ? collected(fields) : editor.value()) };
}

const collected = (fields) => Object.fromEntries(fields.map((field) => [field.name, field.value()]).filter(([, value]) => value !== undefined));

function fieldsOf(schema) {
  const needed = new Set(schema.required ?? []);
  return Object.entries(schema.properties ?? {}).map(([name, one]) => fieldOf(name, resolved(one, schema), needed.has(name)));
}

/** Through `$ref`, and past the null of an optional one. */
function resolved(one, schema) {
  const target = typeof one.$ref === "string" ? one.$ref.replace("#/$defs/", "") : null;
  if (target && schema.$defs?.[target]) return { ...schema.$defs[target], ...one };
  const others = (one.anyOf ?? []).filter((option) => option.type !== "null");
  if (others.length === 1) return { ...resolved(others[0], schema), description: one.description, default: one.default };
  const simple = others.find((option) => SIMPLE.includes(option.type));
  return simple && others.length > 1 ? { description: one.description, default: one.default } : one;
}

function fieldOf(name, one, isNeeded) {
  const id = newId("field");
  const { input, value } = inputOf(id, one, isNeeded);
  const label = h("label", { for: id }, h("span.mono", name), isNeeded && h("span.needed", ` ${t("new.needed")}`));
  return { name, value, element: h("div.field", { class: input.tagName === "TEXTAREA" ? "full" : "" }, label, input, one.description && h("p.note", one.description)) };
}

function inputOf(id, one, isNeeded) {
  const shared = { id, required: isNeeded, autocomplete: "off" };
  if (Array.isArray(one.enum)) return choice(shared, one.enum, one.default);
  if (one.type === "boolean") return choice(shared, [true, false], one.default);
  if (one.type === "integer" || one.type === "number") {
    const input = h("input", { ...shared, type: "number", step: one.type === "integer" ? 1 : "any", min: one.minimum, max: one.maximum, value: one.default ?? "" });
    return { input, value: () => (input.value === "" ? undefined : Number(input.value)) };
  }
  if (one.type === "string") {
    const input = h("input", { ...shared, maxlength: one.maxLength, value: one.default ?? "" });
    return { input, value: () => (input.value === "" && !isNeeded ? undefined : input.value) };
  }
  const input = h("textarea.mono", { ...shared, rows: 3, spellcheck: false, value: one.default === undefined || one.default === null ? "" : JSON.stringify(one.default), placeholder: one.type === "array" ? "[]" : "{}" });
  return { input, value: () => (input.value.trim() === "" ? undefined : JSON.parse(input.value)) };
}

function choice(shared, values, chosen) {
  const input = h("select", shared, !shared.required && h("option", { value: "" }, "–"), values.map((value) => h("option", { value: JSON.stringify(value), selected: value === chosen }, String(value))));
  return { input, value: () => (input.value === "" ? undefined : JSON.parse(input.value)) };
}

function jsonEditor(start) {
  const id = newId("json");
  const area = h("textarea.mono.json-editor", { id, rows: 10, spellcheck: false, value: JSON.stringify(start, null, 2) });
  return {
    element: h("div.field.full", h("label", { for: id }, t("new.payload")), area),
    show: (value) => (area.value = JSON.stringify(value, null, 2)),
    value: () => JSON.parse(area.value || "{}"),
  };
}

function sampleOf(schema) {
  return Object.fromEntries((schema.required ?? []).map((name) => [name, schema.properties?.[name]?.type === "integer" ? 0 : ""]));
}
