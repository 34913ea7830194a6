/**
 * The frame around every page: where one is, where one can go, how the connection is, and the way to a new job.
 * @module
 */

import { base, events } from "./api.js";
import { dialog } from "./components/dialog.js";
import { icon } from "./components/icons.js";
import { button, iconButton, kindName, segmented, when } from "./components/parts.js";
import { toastPlace } from "./components/toasts.js";
import { h, put, say } from "./dom.js";
import { language, short, speak, t } from "./i18n/words.js";
import { follow, stats } from "./live.js";
import * as jobToasts from "./job-toasts.js";
import { go, here } from "./router.js";
import { isBound, may, session } from "./session.js";
import * as unseen from "./unseen.js";
import "../websocket-status.js";

/** Pages: name, address, the scope that opens it; `own`: also for keys that are bound to some users. */
const PAGES = [
  { name: "overview", path: "/", scope: "read", group: "work" },
  { name: "jobs", path: "/jobs", scope: "read", group: "work", own: true },
  { name: "notifications", path: "/notifications", scope: "read", group: "work", own: true },
  { name: "connection", path: "/connection", scope: "read", group: "live" },
  { name: "hub", path: "/hub", scope: "read", group: "live" },
  { name: "workers", path: "/workers", scope: "read", group: "live" },
  { name: "settings", path: "/settings", scope: "admin", group: "system" },
  { name: "audit", path: "/audit", scope: "admin", group: "system" },
];
const TABS = ["overview", "jobs", "notifications"];

/**
 * @param {{submit: () => void, help: () => void, leave: () => void, signal: AbortSignal}} actions
 * @returns {{element: HTMLElement, main: HTMLElement, mark: (path: string, title: string) => void}}
 */
export function shell({ submit, help, leave, signal }) {
  const pages = PAGES.filter(({ scope, own }) => may(scope) && (own || !isBound()));
  const main = h("main", { id: "main", tabindex: -1 });
  const away = h("div.away", { role: "alert", hidden: true }, icon("alert"), h("span", t("away")));
  const links = pages.map((page) => link(page));
  const tabs = pages.filter(({ name }) => TABS.includes(name)).map((page) => link(page));
  const more = h("button.nav-link", { type: "button", "aria-haspopup": "dialog", onclick: () => menu(pages, help, leave) }, icon("menu"), h("span", t("nav.more")));
  const bar = h("nav.tabs", { "aria-label": t("nav.main") }, tabs.slice(0, 2), may("enqueue") && plusTab(submit), tabs.slice(2), more);
  const element = h("div.shell", h("a.skip", { href: "#main", onclick: skip }, t("skip")), sidebar(pages, links, help, leave), h("div.page", topbar(submit, signal), away, main), bar, toastPlace());

  function skip(event) {
    event.preventDefault(); // the address is the page's state, not a place in it
    main.focus();
  }

  /** The view of this path is in place. */
  function mark(path, title) {
    main.dataset.path = path;
    for (const one of [...links, ...tabs]) {
      const is = one.dataset.path === "/" ? path === "/" : path.startsWith(one.dataset.path ?? "-");
      if (is) one.setAttribute("aria-current", "page");
      else one.removeAttribute("aria-current");
    }
    unseen.setTitle(`${title} · insignia-worker`);
    unseen.seen(/^\/jobs\/([^/]+)/.exec(path)?.[1] ?? "");
  }

  events.addEventListener("reach", (event) => (away.hidden = /** @type {CustomEvent} */ (event).detail), { signal });
  follow("stats", () => badges([...links, ...tabs]), signal);
  return { element, main, mark };
}

function link({ name, path }) {
  return h("a.nav-link", { href: `#${path}`, "data-path": path, "data-name": name }, icon(name), h("span", t(`nav.${name}`)), h("span.badge", { hidden: true }));
}

const plusTab = (submit) => h("button.nav-link.plus", { type: "button", onclick: submit }, icon("plus"), h("span", t("new.short")));

function badges(links) {
  const figures = stats();
  const counts = { jobs: (figures?.jobs?.running ?? 0) + (figures?.jobs?.queued ?? 0), notifications: figures?.outbox?.dead ?? 0 };
  for (const one of links) {
    const badge = one.querySelector(".badge");
    const count = counts[one.dataset.name] ?? 0;
    badge.hidden = count === 0;
    badge.classList.toggle("is-bad", one.dataset.name === "notifications");
    say(badge, short(count));
  }
}

function sidebar(pages, links, help, leave) {
  const groups = ["work", "live", "system"].map((group) => {
    const those = links.filter((_, index) => pages[index].group === group);
    return those.length ? h("div.nav-group", h("p.nav-title", { id: `nav-${group}` }, t(`nav.${group}`)), h("ul", { "aria-labelledby": `nav-${group}` }, those.map((one) => h("li", one)))) : null;
  });
  return h("div.sidebar", brand(), h("nav", { "aria-label": t("nav.main") }, groups), h("div.sidebar-foot", preferences(), who(help, leave)));
}

const brand = () => h("a.brand", { href: "#/" }, h("img", { src: `${base}/page/icon.svg`, alt: "", width: 28, height: 28 }), h("span", h("b", "insignia-worker"), h("small", t("brand"))));

function preferences() {
  return h("div.preferences", languageSwitch(), themeSwitch());
}

export function languageSwitch() {
  return segmented("ภาษา · Language", [["th", { sign: h("span", { lang: "th" }, "ไทย") }], ["en", { sign: h("span", { lang: "en" }, "EN") }]], language(), (chosen) => speak(/** @type {"th" | "en"} */ (chosen)));
}

export function themeSwitch() {
  const choices = ["light", "auto", "dark"].map((name) => [name, { sign: icon(/** @type {any} */ ({ light: "sun", dark: "moon", auto: "auto" }[name])), label: t(`theme.${name}`) }]);
  return segmented(t("theme"), /** @type {any} */ (choices), document.documentElement.dataset.theme ?? "auto", wear);
}

/** @param {string} theme */
function wear(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  try {
    localStorage.setItem("dashboard:theme", theme);
  } catch {
    // It holds for this page.
  }
}

function who(help, leave) {
  const now = session();
  const isOpen = !now?.expiresAt;
  return h("div.who", icon("user"), h("span.grow.cut", { title: now?.name }, now?.name), iconButton(t("keys.title"), "keyboard", { class: "quiet small", onclick: help }), !isOpen && iconButton(t("signOut"), "out", { class: "quiet small", onclick: leave }));
}

function topbar(submit, signal) {
  const input = h("input", { type: "search", id: "search", name: "search", placeholder: t("search.placeholder"), "aria-label": t("search.label"), autocomplete: "off", spellcheck: false, maxlength: 200 });
  const form = may("read") && h("form.search", { role: "search", onsubmit: find }, icon("search"), input, h("kbd", { "aria-hidden": "true" }, "/"));
  function find(event) {
    event.preventDefault();
    go("/jobs", { ...(here().path === "/jobs" ? here().query : {}), cursor: null, text: input.value.trim() });
  }
  const status = jobToasts.connection() && h("websocket-status", { class: "link-state" });
  if (status) status.socket = jobToasts.connection();
  const add = may("enqueue") && button(t("new"), { class: "main new-job", onclick: submit, "data-new": "" }, "plus");
  return h("header.topbar", h("a.brand.only-small", { href: "#/", "aria-label": "insignia-worker" }, h("img", { src: `${base}/page/icon.svg`, alt: "", width: 26, height: 26 })), form, h("div.topbar-end", unseenButton(signal), status, add));
}

/** What ended while the user was away; not there while there is nothing. */
function unseenButton(signal) {
  const badge = h("span.badge");
  const made = h("button.button.quiet.unseen", { type: "button", onclick: unseenDialog }, icon("notifications"), badge);
  const draw = () => {
    const count = unseen.listed().length;
    made.hidden = count === 0;
    made.setAttribute("aria-label", t("unseen.button", count));
    say(badge, short(count));
  };
  unseen.unseen.addEventListener("change", draw, { signal });
  draw();
  return made;
}

function unseenDialog() {
  const rows = unseen.listed().map(({ jobId, kind, state, error, at }) => h("li", h("a.item", { href: `#/jobs/${jobId}`, onclick: () => made.close() }, h("span.item-line", h("span.strong.grow", t(`notification.${state}`, kindName(kind))), when(new Date(at).toISOString())), error && h("span.item-sub", error))));
  const ask = unseen.canAsk() && button(t("unseen.desktop"), { onclick: (event) => unseen.ask().then(() => event.target.remove()) });
  const made = dialog(t("unseen.title"), h("ul.menu-list", rows), { class: "small", footer: ask || null, onclose: () => unseen.seen() });
}

function menu(pages, help, leave) {
  const rest = pages.filter(({ name }) => !TABS.includes(name));
  const list = h("ul.menu-list", rest.map((page) => h("li", h("a.nav-link", { href: `#${page.path}`, onclick: () => made.close() }, icon(/** @type {any} */ (page.name)), h("span", t(`nav.${page.name}`)), icon("right")))));
  const made = dialog(t("nav.more"), h("div", list, preferences(), who(() => (made.close(), help()), () => (made.close(), leave()))), { class: "sheet" });
}

/** The keys, and the switch that turns the single ones off. @param {boolean} isOn @param {(on: boolean) => void} turn */
export function keysDialog(isOn, turn) {
  const rows = [["/", "keys.search"], ["n", "keys.new"], ["g o", "nav.overview"], ["g j", "nav.jobs"], ["g n", "nav.notifications"], ["g c", "nav.connection"], ["g w", "nav.workers"], ["↑ ↓", "keys.rows"], ["x", "keys.select"], ["?", "keys.help"]];
  const list = h("dl.keys", rows.map(([keys, words]) => h("div", h("dt", keys.split(" ").map((one) => h("kbd", one))), h("dd", t(words)))));
  const check = h("label.check", h("input", { type: "checkbox", checked: isOn, onchange: (event) => turn(event.target.checked) }), t("keys.on"));
  const body = h("div");
  put(body, list, check);
  dialog(t("keys.title"), body, { class: "small" });
}
