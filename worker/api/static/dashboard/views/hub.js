/**
 * Who is connected to the hub of this process, in which rooms.
 * @module
 */

import { get, post } from "../api.js";
import { confirmed } from "../components/dialog.js";
import { busy, button, card, empty, facts, shortId, trouble, waiting, when, wordsOf } from "../components/parts.js";
import { table } from "../components/table.js";
import { toast } from "../components/toasts.js";
import { every, h, put } from "../dom.js";
import { bytes, named, number, t } from "../i18n/words.js";
import { may } from "../session.js";

const REFRESH = 3000;
const TOTALS = ["connectionsActive", "connectionsTotal", "users", "rooms", "notifications", "shown", "messagesIn", "messagesOut", "repetitions", "replayed", "errors", "refused"];

/** @param {import("../app.js").Visit} visit */
export function view({ signal }) {
  const totals = h("div", waiting(2));
  const clients = clientTable(() => turn());
  const clientFrame = h("div.table-frame.plain", { hidden: true }, clients.element);
  const rooms = table({ caption: t("hub.rooms"), key: (room) => room.name, columns: [{ name: "room", title: t("hub.room"), cell: (room) => h("span.mono.break", room.name) }, { name: "clients", title: t("hub.clients"), class: "number", cell: (room) => number(countOf(room.clients)) }] });
  const roomFrame = h("div.table-frame.plain", { hidden: true }, rooms.element);
  const noClients = h("div");
  const noRooms = h("div");
  const body = h("div.stack", card(t("hub.totals"), {}, totals), card(t("hub.clients"), {}, clientFrame, noClients), card(t("hub.rooms"), {}, roomFrame, noRooms));
  const fault = h("div");
  const element = h("div.content", h("div.page-head", h("div", h("h1", { tabindex: -1 }, t("nav.hub")), h("p.lead", t("hub.lead")))), fault, body);
  body.hidden = true;
  const turn = every(load, REFRESH, signal);

  async function load() {
    try {
      const hub = await get("/api/v1/hub", {}, signal);
      put(fault);
      draw(hub);
    } catch (problem) {
      if (signal.aborted) return;
      put(fault, trouble(problem, turn));
    }
  }

  function draw(hub) {
    if (!hub.clients && !hub.totals) {
      body.hidden = true;
      put(totals);
      put(fault, empty("hub", t("hub.none"), t("hub.noneHint")));
      return;
    }
    body.hidden = false;
    drawTotals(hub.totals ?? {});
    const list = hub.clients ?? [];
    clientFrame.hidden = list.length === 0;
    put(noClients, list.length === 0 && empty("hub", t("hub.noClients"), ""));
    clients.show(list);
    const named_ = hub.rooms ?? [];
    roomFrame.hidden = named_.length === 0;
    put(noRooms, named_.length === 0 && empty("hub", t("hub.noRooms"), ""));
    rooms.show(named_);
  }

  function drawTotals(figures) {
    const plain = Object.entries(figures).filter(([, value]) => typeof value === "number");
    const order = (name) => (TOTALS.includes(name) ? TOTALS.indexOf(name) : TOTALS.length);
    plain.sort(([one], [other]) => order(one) - order(other));
    const codes = Object.entries(figures.closeCodes ?? {}).map(([code, count]) => `${code} ×${number(count)}`);
    put(totals, facts([...plain.map(([name, value]) => /** @type {[string, any]} */ ([named("hub.total", name), number(value)])), codes.length > 0 && [t("hub.codes"), codes.join(" · ")]]));
  }

  return { title: t("nav.hub"), element };
}

const countOf = (clients) => (Array.isArray(clients) ? clients.length : clients);

function clientTable(done) {
  return table({
    caption: t("hub.clients"),
    key: (client) => client.clientId,
    columns: [
      { name: "client", title: t("hub.client"), cell: (client) => h("div.job-cell", h("span.strong.cut", client.userId ?? t("hub.noUser")), h("span.mono.soft", shortId(client.clientId))) },
      { name: "protocol", title: t("hub.protocol"), class: "from-wide", cell: (client) => h("span.tag.still.whole", named("protocol", client.protocol)) },
      { name: "address", title: t("hub.address"), class: "from-widest", cell: (client) => h("span.mono", client.address ?? "–") },
      { name: "since", title: t("hub.since"), class: "from-wide number", cell: (client) => when(client.since) },
      { name: "pong", title: t("hub.pong"), class: "from-wide number", cell: (client) => when(client.lastPong) },
      { name: "queued", title: t("hub.queued"), class: "from-wide number", cell: (client) => bytes(client.queuedBytes) },
      { name: "rooms", title: t("hub.rooms"), class: "from-widest number", cell: (client) => h("span", { title: Array.isArray(client.rooms) ? client.rooms.join(", ") : "" }, number(countOf(client.rooms))) },
      { name: "act", title: h("span.hidden-visually", t("col.actions")), cell: (client) => (may("admin") ? closeButton(client, done) : "") },
    ],
  });
}

function closeButton(client, done) {
  const made = button(t("hub.close"), { class: "small quiet", onclick: () => busy(made, run) });
  async function run() {
    if (!(await confirmed(t("hub.closeTitle"), t("hub.closeText"), t("hub.close"), { danger: true }))) return;
    try {
      await post(`/api/v1/hub/clients/${encodeURIComponent(client.clientId)}/close`);
    } catch (problem) {
      const [title, text] = wordsOf(problem);
      toast({ level: "bad", title, text });
    }
    done();
  }
  return made;
}
