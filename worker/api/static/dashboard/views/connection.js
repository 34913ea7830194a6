/**
 * The line to the org-socket: how it is, how it was, and how to have it try again.
 * @module
 */

import { get, post } from "../api.js";
import { icon } from "../components/icons.js";
import { busy, button, card, empty, facts, trouble, waiting, when, wordsOf } from "../components/parts.js";
import { toast } from "../components/toasts.js";
import { every, h, put, say } from "../dom.js";
import { clock, duration, language, moment, named, number, t } from "../i18n/words.js";
import { may } from "../session.js";

const REFRESH = 2000;
const LOOKS = { connected: "good", connecting: "busy", reconnecting: "busy", disconnected: "off", failed: "bad" };

/** @param {import("../app.js").Visit} visit */
export function view({ signal }) {
  const hero = h("section.state-hero", { "aria-label": t("nav.connection") });
  const words = h("p.state-words", { role: "status" });
  const sentence = h("p.lead");
  const mark = h("span.state-mark");
  const figures = h("div", waiting(3));
  const past = h("div", waiting(5));
  const fault = h("div");
  const again = may("admin") && button(t("reconnect"), { "data-act": "reconnect", onclick: () => busy(again, reconnect) }, "retry");
  put(hero, mark, h("div.grow", words, sentence), again);
  const body = h("div", hero, h("div.stack", card(t("connection.figures"), {}, figures), card(t("connection.history"), {}, past)));
  const element = h("div.content", h("div.page-head", h("div", h("h1", { tabindex: -1 }, t("nav.connection")), h("p.lead", t("connection.lead")))), fault, body);
  const turn = every(load, REFRESH, signal);

  async function load() {
    try {
      draw(await get("/api/v1/connection", {}, signal));
      put(fault);
      body.hidden = false;
    } catch (problem) {
      if (signal.aborted) return;
      body.hidden = !hero.dataset.state;
      put(fault, trouble(problem, turn));
    }
  }

  async function reconnect() {
    try {
      await post("/api/v1/connection/reconnect");
      toast({ level: "info", title: t("connection.asked") });
    } catch (problem) {
      const [title, text] = wordsOf(problem);
      toast({ level: "bad", title, text });
    }
    turn();
  }

  function draw(link) {
    const look = LOOKS[link.state] ?? "off";
    hero.className = `state-hero is-${look}`;
    hero.dataset.state = link.state;
    if (mark.dataset.look !== look) (put(mark, icon(look === "good" ? "check" : look === "busy" ? "clock" : look === "bad" ? "alert" : "stop")), (mark.dataset.look = look));
    say(words, t(`link.${link.state}`));
    say(sentence, link.description?.[language()] ?? "");
    put(
      figures,
      facts([
        [t("connection.mode"), named("mode", link.mode)],
        [t("connection.since"), link.connectedSince ? moment(link.connectedSince) : "–"],
        [t("connection.ack"), link.ackMs?.p50 === null || link.ackMs?.p50 === undefined ? "–" : `${duration(link.ackMs.p50)} / ${duration(link.ackMs.p99)}`],
        [t("connection.messages"), number(link.totalMessages)],
        [t("connection.inFlight"), number(link.inFlight)],
        [t("connection.outbox"), link.outboxDepth === undefined ? "–" : number(link.outboxDepth)],
        [t("connection.connections"), number(link.totalConnections)],
        [t("connection.attempts"), number(link.reconnectAttempts)],
        [t("connection.pong"), link.lastPong ? clock(link.lastPong) : "–"],
        [t("connection.code"), closeCode(link.lastCloseCode)],
      ]),
    );
    drawHistory(link.history ?? []);
  }

  function drawHistory(history) {
    const sign = `${history.length} ${history.at(-1)?.at} ${history[0]?.at}`;
    if (past.dataset.sign === sign) return;
    past.dataset.sign = sign;
    const newest = [...history].sort((one, other) => moments(other) - moments(one));
    put(past, newest.length ? h("ol.events", newest.map(entry)) : empty("connection", t("connection.quiet"), t("connection.quietHint")));
  }

  return { title: t("nav.connection"), element };
}

const moments = ({ at }) => (typeof at === "number" ? at * 1000 : Date.parse(at));

const EVENT_LOOKS = { connect: "good", reconnect: "good", disconnect: "bad", reconnect_failed: "bad", connect_error: "bad", reconnect_error: "bad", error: "bad" };

function entry({ at, event, code, reason, detail }) {
  const more = [reason, typeof detail === "object" && detail !== null ? JSON.stringify(detail) : detail].filter(Boolean).join(" · ");
  return h("li", { class: `is-${EVENT_LOOKS[event] ?? "off"}` }, h("span.dot", { "aria-hidden": "true" }), h("span.event-name", named("event", event)), closeBadge(code), h("span.grow.soft.break", more), when(at));
}

const closeBadge = (code) => code !== null && code !== undefined && h("span.badge.code-badge", { title: named("close", String(code)) }, number(code).replaceAll(",", ""));

function closeCode(code) {
  if (code === null || code === undefined) return "–";
  return h("span", String(code), h("span.note", ` ${named("close", String(code))}`));
}
