/**
 * The only way this dashboard makes elements. Text becomes text nodes, always: no string is ever read as markup.
 * @module
 */

/** @typedef {Node | string | number | boolean | null | undefined | any[]} Child nothing of what is null, false or "" */

const SVG = "http://www.w3.org/2000/svg";

/**
 * `h("a.button", { href: "#/", onclick: go }, "Text", child)`. `on…` listens, `style` is an object of properties,
 * true and false set and remove a boolean attribute, null leaves one out.
 * @param {string} tag name and classes
 * @param {Record<string, any> | Child} [props]
 * @param {...Child} children
 * @returns {any}
 */
export function h(tag, props, ...children) {
  const [name, ...classes] = tag.split(".");
  return fill(document.createElement(name || "div"), classes, props, children);
}

/** The same for SVG. @param {string} tag @param {Record<string, any> | Child} [props] @param {...Child} children @returns {any} */
export function s(tag, props, ...children) {
  const [name, ...classes] = tag.split(".");
  return fill(document.createElementNS(SVG, name), classes, props, children);
}

function fill(element, classes, props, children) {
  if (classes.length) element.classList.add(...classes);
  if (isProps(props)) for (const [key, value] of Object.entries(props)) set(element, key, value);
  else children.unshift(props);
  append(element, children);
  return element;
}

function isProps(value) {
  return typeof value === "object" && value !== null && !(value instanceof Node) && !Array.isArray(value);
}

function set(element, key, value) {
  if (value === null || value === undefined) return;
  if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
  else if (key === "class") element.classList.add(...String(value).split(" ").filter(Boolean));
  else if (key === "style") for (const [name, one] of Object.entries(value)) element.style.setProperty(name, String(one));
  else if (key === "value" || key === "checked" || key === "indeterminate") element[key] = value;
  else if (typeof value === "boolean" && !key.startsWith("aria-") && !key.startsWith("data-")) element.toggleAttribute(key, value);
  else element.setAttribute(key, String(value));
}

/** @param {Element | DocumentFragment} parent @param {Child[]} children */
export function append(parent, children) {
  for (const child of children) {
    if (child === null || child === undefined || child === false || child === "") continue;
    if (Array.isArray(child)) append(parent, child);
    else parent.append(child instanceof Node ? child : String(child));
  }
}

/** Instead of what was in it. @param {Element} parent @param {...Child} children */
export function put(parent, ...children) {
  const fragment = document.createDocumentFragment();
  append(fragment, children);
  parent.replaceChildren(fragment);
}

/** Text, written only when it differs: live regions read out whatever is written. @param {Element} element @param {unknown} text */
export function say(element, text) {
  const wanted = String(text ?? "");
  if (element.textContent !== wanted) element.textContent = wanted;
}

let count = 0;

/** An id for aria-labelledby and the like. @param {string} word */
export function newId(word) {
  count += 1;
  return `${word}-${count}`;
}

/** JSON from the browser's storage; null when there is none or it is forbidden. @param {Storage["getItem"] | any} storage @param {string} key */
export function recall(storage, key) {
  try {
    return JSON.parse(globalThis[storage].getItem(key) ?? "null");
  } catch {
    return null;
  }
}

/** @param {"localStorage" | "sessionStorage"} storage @param {string} key @param {unknown} value */
export function keep(storage, key, value) {
  try {
    globalThis[storage].setItem(key, JSON.stringify(value));
  } catch {
    // Forbidden or full: it holds for this page.
  }
}

/**
 * Call `run` at intervals until the signal, never two calls at once, and not while the page is hidden.
 * @param {() => Promise<unknown> | unknown} run @param {number} milliseconds @param {AbortSignal} signal
 * @returns {() => void} runs it at once
 */
export function every(run, milliseconds, signal) {
  let timer = 0;
  let busy = false;
  const turn = async () => {
    clearTimeout(timer);
    if (signal.aborted || busy) return;
    busy = true;
    try {
      if (document.visibilityState === "visible") await run();
    } finally {
      busy = false;
      if (!signal.aborted) timer = setTimeout(turn, milliseconds);
    }
  };
  document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && turn(), { signal });
  signal.addEventListener("abort", () => clearTimeout(timer));
  turn();
  return turn;
}
