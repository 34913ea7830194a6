// What of the dashboard needs no browser: words, addresses, figures.
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";

const PAGE = new URL("../../worker/api/static/dashboard/", import.meta.url);
const { en } = await import(new URL("i18n/words-en.js", PAGE));
const { th } = await import(new URL("i18n/words-th.js", PAGE));
const { settingsTh } = await import(new URL("i18n/settings-th.js", PAGE));
const { idempotencyKeys } = await import(new URL("api.js", PAGE));
const { match, to, here } = await import(new URL("router.js", PAGE));
const { gathered, highest, merged, scale, second } = await import(new URL("series.js", PAGE));

const sources = readdirSync(PAGE, { recursive: true })
  .filter((name) => name.endsWith(".js"))
  .map((name) => [name, readFileSync(new URL(name, PAGE), "utf-8")]);

test("dictionaries have the same keys in both languages, with functions in the same places", () => {
  assert.deepEqual(Object.keys(th).sort(), Object.keys(en).sort());
  for (const [key, word] of Object.entries(en)) {
    assert.equal(typeof th[key], typeof word, key);
    if (typeof word === "function") assert.ok(th[key].length <= Math.max(word.length, 3), key);
  }
});

test("dictionary has every key that a page uses", () => {
  const asked = sources.flatMap(([name, text]) => [...text.matchAll(/\bt\("([^"]+)"/g)].map((found) => [name, found[1]]));
  assert.ok(asked.length > 200);
  assert.deepEqual(asked.filter(([, key]) => !(key in en)), []);
});

test("Thai texts have no broken vowel and no mark without a letter", () => {
  for (const [key, word] of Object.entries({ ...th, ...settingsTh })) {
    const text = typeof word === "function" ? word("1", "2", "3", "4") : word;
    assert.equal(text, text.normalize("NFC"), key);
    assert.doesNotMatch(text, /\u0e4d\u0e32|(^|\s)[\u0e31\u0e34-\u0e3a\u0e47-\u0e4e]/, key);
  }
});

test("English texts put one thing in the singular", () => {
  for (const [key, word] of Object.entries(en)) {
    if (typeof word !== "function") continue;
    for (const one of [1, "1"]) {
      assert.doesNotMatch(word(one, one, one, one), /(?<!of )\b1 (\w+ )?(jobs|notifications|rows|headings|people|days|minutes|times|ones|settings)\b/, key);
    }
  }
});

test("a duration names no part that is zero", () => {
  for (const words of [en, th]) {
    for (const key of ["time.min", "time.h", "time.d"]) {
      assert.doesNotMatch(words[key](3, 0), /0/, key);
      assert.match(words[key](3, 10), /^3 .*10/, key);
    }
  }
});

test("times of the chart have one unit, which is minutes from two minutes on", () => {
  const back = (span, words) => [0, 1, 2, 3, 4].map((index) => words["chart.back"](span - (span / 5) * index, span));
  assert.deepEqual(back(60, en), ["−60 s", "−48 s", "−36 s", "−24 s", "−12 s"]);
  assert.deepEqual(back(60, th)[0], "−60 วินาที");
  assert.deepEqual(back(300, en), ["−5 min", "−4 min", "−3 min", "−2 min", "−1 min"]);
});

test("modules assign no markup and contain no style or script in a string", () => {
  const forbidden = /innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|setAttribute\("style"|createContextualFragment/;
  for (const [name, text] of sources) assert.doesNotMatch(text, forbidden, name);
});

test("imported modules exist", () => {
  for (const [name, text] of sources) {
    for (const [, target] of text.matchAll(/(?:from|import)\s*\(?"(\.[^"]+)"/g)) {
      assert.ok(readFileSync(new URL(target, new URL(name, PAGE))), `${name} -> ${target}`);
    }
  }
});

test("address is parsed back to the route it was built from", () => {
  const address = to("/jobs", { state: ["failed", "queued"], text: "ราช & <b>", cursor: null, from: "" });
  assert.deepEqual(here(address), { path: "/jobs", query: { state: ["failed", "queued"], text: ["ราช & <b>"] } });
  assert.deepEqual(here(""), { path: "/", query: {} });
  assert.deepEqual(here("#/jobs?text=a?b"), { path: "/jobs", query: { text: ["a?b"] } });
});

test("pattern returns its parameters and matches no other path", () => {
  assert.deepEqual(match("/jobs/:id", "/jobs/a%20b"), { id: "a b" });
  assert.deepEqual(match("/jobs/:id", "/jobs/%zz"), { id: "%zz" });
  assert.equal(match("/jobs/:id", "/jobs"), null);
  assert.equal(match("/jobs/:id", "/jobs/"), null);
  assert.equal(match("/jobs", "/hub"), null);
});

test("series keeps each second once, in order, without the oldest", () => {
  const at = (n) => new Date(1e12 + n * 1000).toISOString();
  const before = Array.from({ length: 300 }, (_, n) => ({ at: at(n), enqueued: 1 }));
  const all = merged(before, [{ at: at(299), enqueued: 5 }, { at: at(301), enqueued: 2 }]);
  assert.equal(all.length, 300);
  assert.deepEqual(all.slice(-2).map((point) => point.enqueued), [5, 2]);
  assert.equal(second(at(7)), 1e9 + 7);
  assert.equal(second(1e9 + 7), 1e9 + 7);
});

test("intervals end with the last full one and contain all of it", () => {
  const points = Array.from({ length: 20 }, (_, n) => ({ at: 1000 + n, enqueued: 1, succeeded: 1 }));
  const slots = gathered(points, 20, 5, 1020.5);
  assert.deepEqual(slots.map((slot) => slot.at), [1000, 1005, 1010, 1015]);
  assert.deepEqual(slots.map((slot) => slot.succeeded), [5, 5, 5, 5]);
  assert.deepEqual(gathered(points, 20, 5, 1017).map((slot) => slot.enqueued), [0, 5, 5, 5]);
});

test("scale has whole, round numbers up to the highest value", () => {
  assert.deepEqual(scale(0), [0, 1, 2, 3, 4]);
  assert.deepEqual(scale(37), [0, 10, 20, 30, 40]);
  assert.deepEqual(scale(450), [0, 100, 200, 300, 400, 500]);
  for (const highest of [1, 9, 99, 101, 12345]) assert.ok(scale(highest).at(-1) >= highest);
});

test("chart with many accepted jobs at once keeps the scale of ended ones", () => {
  assert.equal(highest([0, 30, 20], [10, 40, 5]), 40);
  assert.equal(highest([0, 30, 20], [100_000, 0, 0]), 120);
  assert.equal(highest([0, 0], [100_000, 0]), 100_000);
  assert.equal(highest([], []), 0);
});

test("idempotency key changes with the job, and with the form", () => {
  const [keyOf, another] = [idempotencyKeys(), idempotencyKeys()];
  const first = keyOf({ taskType: "a", payload: { n: 1 } });
  assert.equal(keyOf({ taskType: "a", payload: { n: 1 } }), first);
  assert.notEqual(another({ taskType: "a", payload: { n: 1 } }), first);
  const changed = keyOf({ taskType: "a", payload: { n: 2 } });
  assert.notEqual(changed, first);
  assert.match(changed, /^[\w-]{8,}$/);
});
