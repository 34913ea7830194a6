/**
 * Figures second by second: put together, gathered into intervals, given a scale. Knows no page and no service.
 * @module
 */

/** How a job can end, from the bottom of a bar to its top. */
export const LAYERS = ["succeeded", "failed", "cancelled"];
const KEPT = 300;

/** @param {string | number} at a time in any of the API's forms @returns {number} whole seconds */
export function second(at) {
  return Math.floor(typeof at === "number" ? (at > 1e11 ? at / 1000 : at) : Date.parse(at) / 1000);
}

/** Merge the known seconds with those just received: each once, the newest 300. @param {any[]} before @param {any[]} now */
export function merged(before, now) {
  const points = new Map(before.map((point) => [second(point.at), point]));
  for (const point of now) points.set(second(point.at), point);
  return [...points].sort(([one], [other]) => one - other).slice(-KEPT).map(([, point]) => point);
}

/**
 * Seconds gathered into intervals, the newest full one last: the present one would look like a slump.
 * @param {any[]} points @param {number} seconds @param {number} step seconds of an interval @param {number} end
 */
export function gathered(points, seconds, step, end) {
  const last = Math.floor(end / step) * step - step;
  const count = Math.round(seconds / step);
  const slots = Array.from({ length: count }, (_, index) => ({ at: last - (count - 1 - index) * step, enqueued: 0, succeeded: 0, failed: 0, cancelled: 0 }));
  for (const point of points) {
    const slot = slots[count - 1 - (last - Math.floor(second(point.at) / step) * step) / step];
    if (slot) for (const name of /** @type {const} */ (["enqueued", "succeeded", "failed", "cancelled"])) slot[name] += point[name] ?? 0;
  }
  return slots;
}

/**
 * What the scale must hold. A hundred thousand jobs that come in at once would flatten everything that ends: their line
 * runs along the top then. @param {number[]} ended @param {number[]} enqueued
 */
export function highest(ended, enqueued) {
  const most = Math.max(0, ...ended);
  const came = Math.max(0, ...enqueued);
  return Math.max(most, most ? Math.min(came, 4 * most) : came);
}

/** Round numbers from nothing to one not below the highest. @param {number} highest */
export function scale(highest) {
  const wanted = Math.max(highest, 4);
  const power = 10 ** Math.floor(Math.log10(wanted));
  const top = [1, 2, 4, 5, 10].map((factor) => factor * power).find((value) => value >= wanted) ?? wanted;
  const parts = top / power === 5 ? 5 : 4;
  return Array.from({ length: parts + 1 }, (_, index) => (top / parts) * index).filter(Number.isInteger);
}
