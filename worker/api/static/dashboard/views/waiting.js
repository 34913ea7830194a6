/**
 * Who waits behind what: queued jobs by priority, then by the turns of organisations and users.
 * @module
 */

import { card, empty, kindName, waiting } from "../components/parts.js";
import { h, put } from "../dom.js";
import { named, number, t } from "../i18n/words.js";

/**
 * @typedef {{priority: number, organization: string | null, userId: string | null, taskType: string, apiKey: string | null,
 *   queued: number, running: number, position: number | null, heldBy: string | null}} Line
 */

/** Draws itself again only where something has changed. */
export function waitingCard() {
  const place = h("div", waiting(3));
  const element = card(t("lines.title"), {}, h("p.note", t("lines.lead")), place);
  element.classList.add("lines-card");
  let sign = "";

  /** @param {Line[]} lines */
  function draw(lines) {
    const wanted = JSON.stringify(lines) + document.documentElement.lang;
    if (wanted === sign) return;
    sign = wanted;
    put(place, lines.length ? byPriority(lines).map(([priority, all]) => group(priority, all)) : empty("jobs", t("lines.none"), ""));
  }

  return { element, draw };
}

/** @param {Line[]} lines @returns {[number, Line[]][]} the highest priority first, each in the order of turns */
export function byPriority(lines) {
  /** @type {Map<number, Line[]>} */
  const groups = new Map();
  for (const line of lines) groups.set(line.priority, [...(groups.get(line.priority) ?? []), line]);
  return [...groups].sort(([one], [other]) => other - one);
}

function group(priority, lines) {
  const queued = lines.reduce((sum, line) => sum + line.queued, 0);
  return h("div", { "data-priority": priority }, h("h3", t("lines.priority", number(priority), number(queued))), h("ul.kinds", lines.map(item)));
}

function item(line) {
  const owner = [line.organization ?? t("lines.noOrganization"), line.userId ?? t("lines.several")];
  const turn = line.heldBy || line.position === null ? null : h("span.chip.is-queued", t("lines.turn", number(line.position + 1)));
  const held = line.heldBy && h("span.chip.is-cancelled", named("held", line.heldBy));
  const counts = [t("workers.queued", number(line.queued)), line.running && t("lines.running", number(line.running)), line.apiKey && t("lines.key", line.apiKey)];
  return h("li", h("div.grow", h("p.row", h("span.strong.break", owner.join(" · ")), turn, held), h("p.note.break", [kindName(line.taskType), ...counts].filter(Boolean).join(" · "))));
}
