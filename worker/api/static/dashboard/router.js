/**
 * Which view, from the address behind the `#`: `#/jobs/019a…?tab=trace`. The address holds all of a page's state.
 * @module
 */

/** @typedef {{path: string, query: Record<string, string[]>}} Place */

/** @returns {Place} */
export function here(hash = location.hash) {
  const [path, text = ""] = hash.replace(/^#/, "").split(/\?(.*)/s);
  /** @type {Record<string, string[]>} */
  const query = {};
  for (const [name, value] of new URLSearchParams(text)) (query[name] ??= []).push(value);
  return { path: path || "/", query };
}

/** @param {string} path @param {Record<string, any>} [query] */
export function to(path, query = {}) {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== null && one !== undefined && one !== "") params.append(name, String(one));
    }
  }
  // Readable addresses: these signs need no escape behind a #.
  const text = params.toString().replaceAll("%3A", ":").replaceAll("%2C", ",");
  return `#${path}${text && `?${text}`}`;
}

/** @param {string} path @param {Record<string, any>} [query] @param {{replace?: boolean}} [how] replace: no step for the back button */
export function go(path, query = {}, { replace = false } = {}) {
  const address = to(path, query);
  if (address === location.hash) return;
  if (!replace) {
    location.hash = address;
    return;
  }
  history.replaceState(history.state, "", address);
  dispatchEvent(new HashChangeEvent("hashchange"));
}

/**
 * `/jobs/:id` against `/jobs/019a…`: the parameters, or null.
 * @param {string} pattern @param {string} path @returns {Record<string, string> | null}
 */
export function match(pattern, path) {
  const wanted = pattern.split("/");
  const given = path.split("/");
  if (wanted.length !== given.length) return null;
  /** @type {Record<string, string>} */
  const params = {};
  for (const [index, part] of wanted.entries()) {
    if (part.startsWith(":") && given[index]) params[part.slice(1)] = safely(given[index]);
    else if (part !== given[index]) return null;
  }
  return params;
}

function safely(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
