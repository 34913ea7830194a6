/**
 * Charts in plain SVG: jobs that ended in each interval, stacked, with the jobs that came in as a line above them.
 * @module
 */

import { h, put, s, say } from "../dom.js";
import { clock, number, short, t } from "../i18n/words.js";
import { LAYERS, gathered, highest, scale } from "../series.js";

const HEIGHT = 220;
const EDGE = { left: 40, right: 8, top: 12, bottom: 26 };

/** The chart of the overview. `draw(points)` shows the newest figures. */
export function throughputChart() {
  const svg = s("svg.chart", { "aria-hidden": "true", preserveAspectRatio: "none" });
  const tip = h("div.chart-tip", { hidden: true });
  const spoken = h("div.hidden-visually", { "aria-live": "polite" });
  const frame = h("div.chart-frame", { tabindex: 0, role: "img" }, svg, tip);
  const element = h("figure.chart-figure", frame, spoken, legend());
  let width = 640;
  let seconds = 300;
  /** @type {any[]} */
  let points = [];
  /** @type {any[]} */
  let slots = [];
  let pointed = -1;
  new ResizeObserver(([entry]) => ((width = Math.max(260, entry.contentRect.width)), render())).observe(frame);
  frame.addEventListener("pointermove", (event) => point(slotAt(event)));
  frame.addEventListener("pointerleave", () => point(-1));
  frame.addEventListener("blur", () => point(-1));
  frame.addEventListener("keydown", (event) => {
    const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!move) return;
    event.preventDefault();
    point(Math.max(0, Math.min(slots.length - 1, (pointed < 0 ? slots.length - 1 : pointed + move))));
    if (slots[pointed]) say(spoken, wordsOf(slots[pointed]));
  });

  function slotAt(event) {
    const box = frame.getBoundingClientRect();
    const share = (event.clientX - box.left - EDGE.left) / (width - EDGE.left - EDGE.right);
    return share < 0 || share > 1 ? -1 : Math.min(slots.length - 1, Math.floor(share * slots.length));
  }

  function point(index) {
    pointed = index;
    render();
  }

  function render() {
    const step = seconds / 60;
    slots = gathered(points, seconds, step, Date.now() / 1000);
    const ended = slots.map((slot) => slot.succeeded + slot.failed + slot.cancelled);
    const lines = scale(highest(ended, slots.map((slot) => slot.enqueued)));
    const top = lines.at(-1) ?? 4;
    const x = (index) => EDGE.left + (index * (width - EDGE.left - EDGE.right)) / slots.length;
    const y = (value) => HEIGHT - EDGE.bottom - (Math.min(value, top) / top) * (HEIGHT - EDGE.top - EDGE.bottom);
    svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    put(svg, grid(lines, y, width), axis(seconds, width), pointed >= 0 && s("rect.pointed", { x: x(pointed), y: EDGE.top, width: x(1) - x(0), height: HEIGHT - EDGE.top - EDGE.bottom }), bars(slots, x, y), incoming(slots, x, y));
    frame.setAttribute("aria-label", summary(slots, seconds));
    showTip(x);
  }

  function showTip(x) {
    const slot = slots[pointed];
    tip.hidden = !slot;
    if (!slot) return;
    put(tip, h("p.strong", clock(slot.at)), ["enqueued", ...LAYERS].map((name) => h("p.tip-row", h("span.key", { class: `is-${name}` }), h("span.grow", t(`chart.${name}`)), h("b", number(slot[name])))));
    const left = x(pointed);
    tip.style.setProperty("left", `${left > width / 2 ? left - tip.offsetWidth - 12 : left + 20}px`);
  }

  return {
    element,
    draw(now) {
      points = now;
      render();
    },
    span(value) {
      seconds = value;
      render();
    },
  };
}

function grid(lines, y, width) {
  return lines.map((value) => [s("line.grid", { x1: EDGE.left, x2: width - EDGE.right, y1: y(value), y2: y(value) }), s("text.tick", { x: EDGE.left - 8, y: y(value) + 4, "text-anchor": "end" }, short(value))]);
}

function axis(seconds, width) {
  const inner = width - EDGE.left - EDGE.right;
  const count = width < 420 ? 2 : 5;
  return Array.from({ length: count + 1 }, (_, index) => {
    const back = seconds - (seconds / count) * index;
    const anchor = index === 0 ? "start" : index === count ? "end" : "middle";
    return s("text.tick", { x: EDGE.left + (inner / count) * index, y: HEIGHT - 6, "text-anchor": anchor }, back === 0 ? t("time.now") : t("chart.back", back, seconds));
  });
}

function bars(slots, x, y) {
  const wide = x(1) - x(0);
  const gap = wide > 6 ? 2 : 0.75;
  return slots.flatMap((slot, index) => {
    let sum = 0;
    return LAYERS.map((name) => {
      if (!slot[name]) return null;
      const from = y(sum);
      sum += slot[name];
      return s(`rect.layer.is-${name}`, { x: x(index) + gap / 2, y: y(sum), width: Math.max(1, wide - gap), height: Math.max(1, from - y(sum)), rx: Math.min(1.5, wide / 4) });
    });
  });
}

function incoming(slots, x, y) {
  const half = (x(1) - x(0)) / 2;
  const path = slots.map((slot, index) => `${index ? "L" : "M"}${(x(index) + half).toFixed(1)} ${y(slot.enqueued).toFixed(1)}`).join("");
  return s("path.incoming", { d: path });
}

function legend() {
  return h("figcaption.legend", ["enqueued", ...LAYERS].map((name) => h("span", h("span.key", { class: `is-${name}` }), t(`chart.${name}`))));
}

const wordsOf = (slot) => [clock(slot.at), ...["enqueued", ...LAYERS].map((name) => `${t(`chart.${name}`)} ${number(slot[name])}`)].join(", ");

function summary(slots, seconds) {
  const sum = (name) => slots.reduce((all, slot) => all + slot[name], 0);
  return t("chart.summary", seconds / 60, number(sum("enqueued")), number(sum("succeeded")), number(sum("failed")));
}

/** A sparkline. @param {number[]} values */
export function sparkline(values) {
  const top = Math.max(...values, 1);
  const step = 72 / Math.max(1, values.length - 1);
  const place = values.map((value, index) => `${(index * step).toFixed(1)} ${(22 - (value / top) * 20).toFixed(1)}`);
  return s("svg.spark", { viewBox: "0 0 72 24", "aria-hidden": "true", preserveAspectRatio: "none" }, s("path.spark-area", { d: `M0 24L${place.join("L")}L72 24Z` }), s("path.spark-line", { d: `M${place.join("L")}` }));
}

/** Shares of a whole as one bar. @param {[string, number][]} parts class and count */
export function shares(parts) {
  const all = parts.reduce((sum, [, count]) => sum + count, 0) || 1;
  return h("div.shares", { "aria-hidden": "true" }, parts.filter(([, count]) => count).map(([name, count]) => h("span", { class: name, style: { width: `${(100 * count) / all}%` } })));
}
