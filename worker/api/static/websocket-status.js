/**
 * `<websocket-status>`: shows a person how a ResilientWebSocket is, and lets him reconnect.
 *
 *     <websocket-status lang="th" auto-hide></websocket-status>
 *     document.querySelector("websocket-status").socket = socket;
 *
 * Attributes: `detailed` shows figures; `auto-hide` takes it away a few seconds after the connection is up (its value:
 * milliseconds, 4000); `lang` is th or en, else the language of the page around it. The event `reconnect` (cancelable)
 * precedes what the button does. No inline style or script, so that it works under a strict Content-Security-Policy.
 * @module
 */

import { describe, wordsFor } from "./status-words.js";

const HIDE_AFTER = 4000;
const TICK = 1000;
const EVENTS = ["statuschange", "open", "queue", "failed", "reconnected"];
/** A shape for each level, for users who cannot distinguish red from green. */
const SHAPES = {
  good: "M4 8.5 7 11.5 12.5 5",
  busy: "M8 4v4.2l2.8 1.8",
  bad: "M8 3.8v5.2M8 11.8v.2",
  off: "M4.6 8h6.8",
};

const CSS = `
:host { --_good: #0f6b3c; --_busy: #8a4b00; --_bad: #b3152b; --_off: #4d5562; --_ink: #1b2430; --_soft: #566070;
  --_ground: #ffffff; --_line: #dfe3ea; display: inline-block; max-width: 100%; color: var(--_ink);
  font: 400 .9375rem/1.55 system-ui, "Noto Sans Thai", "Sarabun", "Leelawadee UI", Thonburi, sans-serif; }
@supports (color: light-dark(#000, #fff)) {
  :host { --_good: light-dark(#0f6b3c, #6fdc9f); --_busy: light-dark(#8a4b00, #f5bf6b);
    --_bad: light-dark(#b3152b, #ff9aa6); --_off: light-dark(#4d5562, #b4bdca); --_ink: light-dark(#1b2430, #eef1f6);
    --_soft: light-dark(#566070, #aab4c3); --_ground: light-dark(#ffffff, #1a212c);
    --_line: light-dark(#dfe3ea, #35404f); } }
:host([detailed]) { display: block; }
:host([hidden]), :host([data-quiet]) { display: none; }
.box { --_level: var(--_off); display: flex; align-items: center; gap: .625rem; box-sizing: border-box;
  padding: .375rem .875rem .375rem .5rem; border: 1px solid var(--_line); border-radius: 1.5rem;
  background: var(--_ground); outline-offset: 2px; }
.box[data-level=good] { --_level: var(--_good); } .box[data-level=busy] { --_level: var(--_busy); }
.box[data-level=bad] { --_level: var(--_bad); }
:host([detailed]) .box { flex-wrap: wrap; padding: 1rem 1.125rem; border-radius: .875rem; }
svg { flex: none; width: 1.5rem; height: 1.5rem; fill: none; stroke-linecap: round; stroke-linejoin: round; }
.disc { fill: var(--_level); } .shape { stroke: var(--_ground); stroke-width: 1.8; }
.words { flex: 1 1 0; min-width: 0; }
:host([detailed]) .words { flex-basis: 12rem; }
.text { font-weight: 600; color: var(--_level); }
.hint, .next { color: var(--_soft); font-size: .875em; }
:host(:not([detailed])) .hint { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
.next { font-variant-numeric: tabular-nums; }
.hint:empty, .next:empty, [hidden] { display: none; }
button { flex: none; font: inherit; font-weight: 600; min-height: 2.25rem; padding: .25rem .875rem; cursor: pointer;
  color: var(--_level); background: transparent; border: 1.5px solid currentColor; border-radius: 1.25rem; }
button:hover { background: color-mix(in srgb, currentColor 12%, transparent); }
button:focus-visible { outline: 3px solid var(--_level); outline-offset: 2px; }
dl { flex: 1 0 100%; display: grid; grid-template-columns: repeat(auto-fit, minmax(7rem, 1fr)); gap: .75rem 1.25rem;
  margin: .25rem 0 0; padding-top: .875rem; border-top: 1px solid var(--_line); }
dt { color: var(--_soft); font-size: .8125em; } dd { margin: 0; font-weight: 600; font-variant-numeric: tabular-nums; }
@media (prefers-reduced-motion: no-preference) {
  .box[data-level=busy] .disc { animation: beat 1.6s ease-in-out infinite; }
  @keyframes beat { 50% { opacity: .45; } } }
@media (forced-colors: active) { .disc { fill: CanvasText; } .shape { stroke: Canvas; } }
`;

let sheet = null;

function styles() {
  if (sheet === null) {
    sheet = new CSSStyleSheet();
    sheet.replaceSync(CSS);
  }
  return sheet;
}

export class WebSocketStatus extends HTMLElement {
  static observedAttributes = ["lang", "detailed", "auto-hide"];

  #socket = null;
  #parts;
  #heard = null;
  #observer = null;
  #tick = null;
  #hiding = null;
  #wasLost = false;

  constructor() {
    super();
    const root = this.attachShadow({ mode: "open" });
    root.adoptedStyleSheets = [styles()];
    this.#parts = build(root);
    this.#parts.button.addEventListener("click", () => this.#reconnect());
  }

  /** The ResilientWebSocket that is shown. */
  get socket() {
    return this.#socket;
  }

  set socket(socket) {
    this.#release();
    this.#socket = socket;
    this.#wasLost = false;
    if (this.isConnected) this.#follow();
  }

  connectedCallback() {
    this.#observer = new MutationObserver(() => this.#show());
    this.#observer.observe(document.documentElement, { attributes: true, attributeFilter: ["lang"] });
    this.#follow();
  }

  disconnectedCallback() {
    this.#observer.disconnect();
    this.#release();
  }

  attributeChangedCallback() {
    if (!this.isConnected) return;
    this.#show();
    this.#hideInTime();
  }

  #follow() {
    this.#release();
    this.#heard = (event) => this.#changed(event);
    for (const name of EVENTS) this.#socket?.addEventListener(name, this.#heard);
    this.#show();
    this.#hideInTime();
  }

  #release() {
    if (this.#heard) for (const name of EVENTS) this.#socket?.removeEventListener(name, this.#heard);
    this.#heard = null;
    clearTimeout(this.#tick);
    clearTimeout(this.#hiding);
  }

  #changed({ type }) {
    if (type === "statuschange" && ["reconnecting", "failed"].includes(this.#socket.state)) this.#wasLost = true;
    this.#show();
    if (type === "statuschange") this.#hideInTime();
  }

  #reconnect() {
    const wanted = this.dispatchEvent(new CustomEvent("reconnect", { bubbles: true, composed: true, cancelable: true }));
    if (wanted) this.#socket?.reconnect();
  }

  /** Out of sight once all is well and was well for a while. */
  #hideInTime() {
    clearTimeout(this.#hiding);
    this.toggleAttribute("data-quiet", false);
    if (!this.hasAttribute("auto-hide") || this.#socket?.state !== "connected") return;
    const pause = Number(this.getAttribute("auto-hide")) || HIDE_AFTER;
    this.#hiding = setTimeout(() => {
      this.#wasLost = false;
      this.toggleAttribute("data-quiet", true);
    }, pause);
  }

  #language() {
    return this.closest("[lang]")?.lang ?? document.documentElement.lang;
  }

  #show() {
    clearTimeout(this.#tick);
    const lang = this.#language();
    const words = wordsFor(lang);
    const status = this.#socket?.status ?? { state: "disconnected", reason: null, online: true };
    const { level, text, hint } = describe(status, lang);
    const { box, shape, text: line, hint: below, next, button, figures } = this.#parts;
    box.dataset.level = level;
    box.dataset.state = status.state;
    shape.setAttribute("d", SHAPES[level]);
    // Written only when it changed: a live region reads out whatever is written.
    write(line, status.state === "connected" && this.#wasLost ? words.recovered : text);
    write(below, hint);
    write(next, nextOf(status, words));
    write(button, words.reconnect);
    this.#showButton(!["connected", "connecting"].includes(status.state) && this.#socket !== null);
    figures.hidden = !this.hasAttribute("detailed") || this.#socket === null;
    if (!figures.hidden) fill(figures, figuresOf(this.#socket.statistics, words, lang));
    if (this.#socket !== null && (!figures.hidden || next.textContent)) this.#tick = setTimeout(() => this.#show(), TICK);
  }

  #showButton(visible) {
    const { button, box } = this.#parts;
    const hadFocus = this.shadowRoot.activeElement === button;
    button.hidden = !visible;
    // The keyboard's place must not jump to the top of the page when the button goes.
    if (!visible && hadFocus) box.focus();
  }
}

function nextOf({ retryInMs, attempt }, words) {
  if (typeof retryInMs !== "number") return "";
  return `${words.attempt(attempt)} · ${words.again(Math.ceil(retryInMs / 1000))}`;
}

function figuresOf(statistics, words, lang) {
  const time = new Intl.DateTimeFormat(lang?.startsWith("th") ? "th-TH" : "en-GB", { timeStyle: "medium" });
  const { latencyMs, connectedSince, notifications, reconnects, queued } = statistics;
  return [
    [words.since, connectedSince === null ? "–" : time.format(new Date(connectedSince))],
    [words.latency, latencyMs === null ? "–" : words.milliseconds(latencyMs)],
    [words.received, String(notifications)],
    [words.attempts, reconnects ? words.times(reconnects) : "–"],
    [words.waiting, queued ? String(queued) : "–"],
  ];
}

function fill(list, rows) {
  while (list.children.length < rows.length) {
    const pair = list.appendChild(document.createElement("div"));
    pair.append(document.createElement("dt"), document.createElement("dd"));
  }
  rows.forEach(([name, value], index) => {
    const [term, data] = list.children[index].children;
    write(term, name);
    write(data, value);
  });
}

function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function build(root) {
  const make = (name, className, attributes = {}) => {
    const element = document.createElement(name);
    if (className) element.className = element.part = className;
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return element;
  };
  const { icon, shape } = drawing();
  const box = make("div", "box", { tabindex: "-1" });
  const words = make("div", "words");
  const live = make("div", "", { role: "status", "aria-live": "polite", "aria-atomic": "true" });
  const text = make("div", "text");
  const hint = make("div", "hint");
  const next = make("div", "next", { "aria-live": "off" });
  const button = make("button", "button", { type: "button" });
  const figures = make("dl", "figures");
  live.append(text, hint);
  words.append(live, next);
  box.append(icon, words, button, figures);
  root.append(box);
  return { box, shape, text, hint, next, button, figures };
}

function drawing() {
  const make = (name, attributes) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return element;
  };
  const icon = make("svg", { viewBox: "0 0 16 16", "aria-hidden": "true" });
  const shape = make("path", { class: "shape" });
  icon.append(make("circle", { class: "disc", cx: "8", cy: "8", r: "7" }), shape);
  return { icon, shape };
}

customElements.define("websocket-status", WebSocketStatus);
