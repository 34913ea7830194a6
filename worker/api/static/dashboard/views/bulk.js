/**
 * Bulk changes. The service counts the jobs first, and the user confirms the number.
 * @module
 */

import { bulk } from "../api.js";
import { confirmed, dialog } from "../components/dialog.js";
import { bar, button, busy, trouble, wordsOf } from "../components/parts.js";
import { toast } from "../components/toasts.js";
import { h, put } from "../dom.js";
import { number, t } from "../i18n/words.js";
import { may } from "../session.js";

const JOBS = "/api/v1/jobs/bulk";

/**
 * @param {{selected: Set<string>, filter: () => any, isFiltered: () => boolean, clear: () => void, done: () => void}} options
 */
export function bulkBar({ selected, filter, isFiltered, clear, done }) {
  const element = h("div.bulk", { role: "region", "aria-label": t("bulk"), hidden: true });

  function draw(shown = 0) {
    element.hidden = !may("admin") || (selected.size === 0 && !(isFiltered() && shown > 0));
    const sign = `${selected.size} ${isFiltered()} ${document.documentElement.lang}`;
    if (element.dataset.sign === sign) return;
    element.dataset.sign = sign;
    const words = selected.size ? t("bulk.selected", number(selected.size)) : t("bulk.filtered");
    put(element, h("span.strong.grow", { role: "status" }, words), action("retry", "retry"), action("cancel", "stop"), selected.size > 0 && button(t("bulk.clear"), { class: "quiet small", onclick: clear }));
  }

  function action(name, sign) {
    const made = button(t(selected.size ? `bulk.${name}` : `bulk.${name}All`), { class: "small", onclick: () => busy(made, () => start(name)) }, sign);
    return made;
  }

  async function start(name) {
    const target = selected.size ? { ids: [...selected] } : { filter: bodyOf(filter()) };
    try {
      const { seen, isAll } = await bulk(JOBS, { action: name, ...target, dryRun: true });
      if (seen === 0) return toast({ level: "info", title: t(`bulk.none.${name}`) });
      const count = isAll ? number(seen) : `${number(seen)}+`;
      const sure = await confirmed(t(`bulk.${name}.title`, count), t(`bulk.${name}.text`), t(`bulk.${name}.yes`, count), { danger: name === "cancel" });
      if (sure) await carryOut(name, target, seen, count);
    } catch (problem) {
      const [title, text] = wordsOf(problem);
      toast({ level: "bad", title, text });
    }
  }

  async function carryOut(name, target, matched, count) {
    const place = h("div");
    const made = dialog(t(`bulk.${name}.now`), place, { class: "small" });
    const show = (seen) => put(place, bar({ percent: (100 * seen) / matched, note: "-" }, t(`bulk.${name}.now`)), h("p.soft", t("bulk.progress", number(seen), count)));
    show(0);
    try {
      const answer = await bulk(JOBS, { action: name, ...target }, show);
      made.close();
      toast({ level: "good", title: t(`bulk.${name}.done`, number(answer.done)) });
      clear();
    } catch (problem) {
      put(place, trouble(problem));
    }
    done();
  }

  return { element, draw };
}

/** The same filter as the list's, without what is empty. */
function bodyOf(filter) {
  return Object.fromEntries(Object.entries(filter).filter(([, value]) => (Array.isArray(value) ? value.length : value)));
}
