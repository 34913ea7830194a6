/**
 * A table whose rows stay where they are: a row is known by its key and redrawn only when what it shows has changed.
 * One row is in the tab order at a time; the arrows go to the others.
 * @module
 */

import { h, put } from "../dom.js";

/**
 * @template Row
 * @typedef {{name: string, title: any, class?: string, cell: (row: Row) => any}} Column
 */

/**
 * @template Row
 * @param {{caption: string, columns: Column<Row>[], key: (row: Row) => string, sign?: (row: Row) => string,
 *   rowClass?: (row: Row) => string, onselect?: (row: Row) => void, class?: string}} options
 *   The element of a cell that takes the focus has the attribute data-main.
 */
export function table({ caption, columns, key, sign = JSON.stringify, rowClass = () => "", onselect, class: name = "" }) {
  const body = h("tbody", { role: "rowgroup" });
  const head = h("tr", { role: "row" }, columns.map(({ title, class: wide = "", name: column }) => h("th", { scope: "col", role: "columnheader", class: `${wide} col-${column}` }, title || h("span.hidden-visually", column))));
  const element = h("table.table", { role: "table", class: name }, h("caption.hidden-visually", caption), h("thead", { role: "rowgroup" }, head), body);
  /** @type {Map<string, {row: Row, tr: HTMLElement, sign: string}>} */
  const lines = new Map();
  let current = "";

  element.addEventListener("keydown", pressed);
  element.addEventListener("focusin", (event) => {
    const tr = event.target.closest("tbody tr");
    if (tr) settle(tr.dataset.key);
  });

  /** Show exactly these, in this order. @param {Row[]} rows */
  function show(rows) {
    const wanted = new Set(rows.map(key));
    for (const [id, { tr }] of lines) if (!wanted.has(id)) (tr.remove(), lines.delete(id));
    let place = body.firstElementChild;
    for (const row of rows) {
      const { tr } = draw(row);
      if (tr === place) place = place.nextElementSibling;
      else body.insertBefore(tr, place);
    }
    settle(lines.has(current) ? current : rows.length ? key(rows[0]) : "");
  }

  /** @param {Row} row */
  function draw(row) {
    const id = key(row);
    const line = lines.get(id) ?? { row, tr: h("tr", { "data-key": id, role: "row" }), sign: "" };
    const now = sign(row);
    line.row = row;
    if (line.sign !== now) {
      const focused = [...line.tr.children].findIndex((cell) => cell.contains(document.activeElement));
      line.sign = now;
      line.tr.className = rowClass(row);
      put(line.tr, columns.map((column) => h("td", { role: "cell", class: `${column.class ?? ""} col-${column.name}` }, column.cell(row))));
      if (focused >= 0) line.tr.children[focused]?.querySelector("a,button,input")?.focus();
      order(line.tr, id === current);
    }
    lines.set(id, line);
    return line;
  }

  /** This row is the one in the tab order. */
  function settle(id) {
    if (lines.has(current)) order(lines.get(current).tr, false);
    current = id;
    if (lines.has(id)) order(lines.get(id).tr, true);
  }

  function order(tr, isIn) {
    for (const one of tr.querySelectorAll("a,button,input")) one.tabIndex = isIn ? 0 : -1;
  }

  function pressed(event) {
    const tr = event.target.closest("tbody tr");
    if (!tr || event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input:not([type=checkbox]),textarea")) return;
    const next = target(event.key, tr);
    if (next) focus(next);
    else if (event.key === "x" && onselect) onselect(lines.get(tr.dataset.key).row);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  function target(pressedKey, tr) {
    if (pressedKey === "ArrowDown" || pressedKey === "j") return tr.nextElementSibling;
    if (pressedKey === "ArrowUp" || pressedKey === "k") return tr.previousElementSibling;
    if (pressedKey === "Home") return body.firstElementChild;
    if (pressedKey === "End") return body.lastElementChild;
    return null;
  }

  function focus(tr) {
    settle(tr.dataset.key);
    (tr.querySelector("[data-main]") ?? tr.querySelector("a,button,input"))?.focus();
    tr.scrollIntoView({ block: "nearest" });
  }

  return {
    element,
    show,
    /** Redraw a row even if it has not changed. @param {string} id */
    redraw(id) {
      const line = lines.get(id);
      if (line) ((line.sign = ""), draw(line.row));
    },
    keys: () => [...lines.keys()],
    focusFirst() {
      if (body.firstElementChild) focus(body.firstElementChild);
    },
  };
}
