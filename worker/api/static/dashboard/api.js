/**
 * The HTTP API of the same origin, with the session's cookie. Independent of the pages.
 * @module
 */

/** An error response, or no response at all (status 0). */
export class Problem extends Error {
  /** @param {number} status @param {string} detail @param {Record<string, any>} [body] */
  constructor(status, detail, body = {}) {
    super(detail);
    this.name = "Problem";
    this.status = status;
    this.body = body;
  }
}

/** What comes before every path of the service, such as `/worker` (Http:PathBase); usually nothing. */
export const base = new URL("../..", import.meta.url).pathname.replace(/\/$/, "");

/** Dispatches `signedout` when a session has ended, and `reach` (detail: boolean) when the service is lost or back. */
export const events = new EventTarget();
let reachable = true;

/** @param {boolean} now */
function reach(now) {
  if (now === reachable) return;
  reachable = now;
  events.dispatchEvent(new CustomEvent("reach", { detail: now }));
}

/**
 * @param {string} path
 * @param {{method?: string, query?: Record<string, any>, body?: any, headers?: Record<string, string>, signal?: AbortSignal}} [options]
 * @returns {Promise<any>} the JSON of the answer. Problem: it was an error.
 */
export async function call(path, { method = "GET", query, body, headers = {}, signal } = {}) {
  let answer;
  try {
    answer = await fetch(base + path + search(query), {
      method,
      signal,
      credentials: "same-origin",
      headers: body === undefined ? headers : { "Content-Type": "application/json", ...headers },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    reach(false);
    throw new Problem(0, "");
  }
  reach(true);
  return read(answer, path);
}

async function read(answer, path) {
  const kind = answer.headers.get("Content-Type") ?? "";
  const body = kind.includes("json") ? await answer.json().catch(() => ({})) : {};
  if (answer.ok) return body;
  if (answer.status === 401 && path !== "/api/v1/session") events.dispatchEvent(new Event("signedout"));
  throw new Problem(answer.status, body.detail ?? body.title ?? answer.statusText, body);
}

/** A query string; lists repeat their name, empty values are left out. @param {Record<string, any>} [query] */
export function search(query = {}) {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== null && one !== undefined && one !== "") params.append(name, String(one));
    }
  }
  const text = params.toString();
  return text && `?${text}`;
}

/** @param {string} path @param {Record<string, any>} [query] @param {AbortSignal} [signal] */
export const get = (path, query, signal) => call(path, { query, signal });
/** @param {string} path @param {any} [body] @param {Record<string, string>} [headers] */
export const post = (path, body = {}, headers = {}) => call(path, { method: "POST", body, headers });
/** Calls of one bulk request that only counts; beyond it the count is shown as a lower bound. */
const MOST_COUNTED = 20;

/**
 * A bulk request, repeated until there are no more. `step` receives the numbers seen and changed so far.
 * @param {string} path @param {Record<string, any>} order @param {(seen: number, done: number) => void} [step]
 * @returns {Promise<{seen: number, done: number, isAll: boolean}>}
 */
export async function bulk(path, order, step = () => {}) {
  let cursor = null;
  let seen = 0;
  let done = 0;
  for (let calls = 1; calls === 1 || cursor; calls += 1) {
    if (order.dryRun && calls > MOST_COUNTED) return { seen, done, isAll: false };
    const answer = await post(path, { ...order, ...(cursor ? { cursor } : {}) });
    seen += answer.matched;
    done += answer.done;
    cursor = answer.cursor;
    step(seen, done);
  }
  return { seen, done, isAll: true };
}

/** @param {string} path @param {any} body */
export const patch = (path, body) => call(path, { method: "PATCH", body });
/** @param {string} path */
export const remove = (path) => call(path, { method: "DELETE" });

/**
 * Idempotency keys of one form: the same job has the same key, so that it is accepted once although it is sent again
 * after a broken connection; a changed one has another.
 * @returns {(job: any) => string}
 */
export function idempotencyKeys() {
  let last = "";
  let key = "";
  return (job) => {
    const text = JSON.stringify(job);
    // Browsers give randomUUID to https and localhost alone.
    if (text !== last) [last, key] = [text, crypto.randomUUID?.() ?? String(Math.random()).slice(2)];
    return key;
  };
}

/**
 * Submit a job with its files, the job first. With XMLHttpRequest, because fetch reports no upload progress.
 * @param {Record<string, any>} job @param {Record<string, File>} files @param {string} key idempotency key
 * @param {(percent: number) => void} progress
 * @returns {Promise<any>}
 */
export function upload(job, files, key, progress) {
  const form = new FormData();
  form.append("job", new Blob([JSON.stringify(job)], { type: "application/json" }));
  for (const [field, chosen] of Object.entries(files)) for (const file of [chosen].flat()) form.append(field, file, file.name);
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", `${base}/api/v1/jobs/upload`);
    request.setRequestHeader("Idempotency-Key", key);
    request.responseType = "json";
    request.upload.addEventListener("progress", (event) => event.lengthComputable && progress((100 * event.loaded) / event.total));
    request.addEventListener("error", () => reject(new Problem(0, "")));
    request.addEventListener("load", () => {
      const body = request.response ?? {};
      if (request.status < 300) resolve(body);
      else reject(new Problem(request.status, body.detail ?? body.title ?? request.statusText, body));
    });
    request.send(form);
  });
}
