/**
 * Texts, numbers and times in Thai or English; English where there is no Thai text.
 * @module
 */

import { keep } from "../dom.js";
import { en } from "./words-en.js";
import { th } from "./words-th.js";

const WORDS = { th, en };
const LOCALES = { th: "th-TH", en: "en-GB" };

/** Dispatches `change`. */
export const languages = new EventTarget();

/** @returns {"th" | "en"} */
export const language = () => (document.documentElement.lang === "th" ? "th" : "en");

/** @param {"th" | "en"} chosen */
export function speak(chosen) {
  document.documentElement.lang = chosen;
  try {
    localStorage.setItem("dashboard:language", chosen);
  } catch {
    keep("sessionStorage", "dashboard:language", chosen);
  }
  formats.clear();
  languages.dispatchEvent(new Event("change"));
}

/** @param {string} key @param {...any} values */
export function t(key, ...values) {
  const word = WORDS[language()][key] ?? en[key] ?? key;
  return typeof word === "function" ? word(...values) : word;
}

/** Whether a text with this key exists. @param {string} key */
export const known = (key) => key in en;

/** The text for a value from the service, or the value itself. @param {string} group @param {string} value */
export const named = (group, value) => (known(`${group}.${value}`) ? t(`${group}.${value}`) : value);

const formats = new Map();

function format(kind, make) {
  if (!formats.has(kind)) formats.set(kind, make(LOCALES[language()]));
  return formats.get(kind);
}

/** 1,234 @param {number | null | undefined} value @param {number} [digits] */
export function number(value, digits = 0) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  return format(`n${digits}`, (locale) => new Intl.NumberFormat(locale, { maximumFractionDigits: digits })).format(value);
}

/** 1.2K; exact below ten thousand. @param {number | null | undefined} value */
export function short(value) {
  if (value === null || value === undefined || value < 10_000) return number(value);
  const options = { notation: "compact", maximumFractionDigits: 1 };
  return format("short", () => new Intl.NumberFormat("en", /** @type {any} */ (options))).format(value);
}

/** A duration in milliseconds as text. @param {number | null | undefined} milliseconds */
export function duration(milliseconds) {
  if (milliseconds === null || milliseconds === undefined) return "–";
  if (milliseconds < 1000) return t("time.ms", number(milliseconds, milliseconds < 10 ? 1 : 0));
  const seconds = milliseconds / 1000;
  if (seconds < 60) return t("time.s", number(seconds, seconds < 10 ? 1 : 0));
  const whole = Math.floor(seconds);
  if (whole < 3600) return t("time.min", Math.floor(whole / 60), whole % 60);
  if (whole < 86_400) return t("time.h", Math.floor(whole / 3600), Math.floor((whole % 3600) / 60));
  return t("time.d", Math.floor(whole / 86_400), Math.floor((whole % 86_400) / 3600));
}

/** A time in any of the API's forms. @param {string | number | null | undefined} at @returns {Date | null} */
export function date(at) {
  if (at === null || at === undefined || at === "") return null;
  const made = new Date(typeof at === "number" && at < 1e11 ? at * 1000 : at);
  return Number.isNaN(made.getTime()) ? null : made;
}

/** The whole of it, to the second. @param {any} at */
export function moment(at) {
  const made = date(at);
  const options = { dateStyle: "medium", timeStyle: "medium" };
  return made ? format("moment", (locale) => new Intl.DateTimeFormat(locale, /** @type {any} */ (options))).format(made) : "–";
}

/** Only the time of day. @param {any} at */
export function clock(at) {
  const made = date(at);
  return made ? format("clock", (locale) => new Intl.DateTimeFormat(locale, { timeStyle: "medium" })).format(made) : "–";
}

/** "2 minutes ago". @param {any} at */
export function ago(at, now = Date.now()) {
  const made = date(at);
  if (!made) return "–";
  const seconds = Math.round((made.getTime() - now) / 1000);
  const relative = format("ago", (locale) => new Intl.RelativeTimeFormat(locale, { numeric: "auto", style: "short" }));
  const size = Math.abs(seconds);
  if (size < 5) return t("time.now");
  if (size < 60) return relative.format(seconds, "second");
  if (size < 3600) return relative.format(Math.trunc(seconds / 60), "minute");
  if (size < 86_400) return relative.format(Math.trunc(seconds / 3600), "hour");
  if (size < 30 * 86_400) return relative.format(Math.trunc(seconds / 86_400), "day");
  return format("day", (locale) => new Intl.DateTimeFormat(locale, { dateStyle: "medium" })).format(made);
}

const UNITS = ["B", "KB", "MB", "GB", "TB"];

/** @param {number | null | undefined} size bytes */
export function bytes(size) {
  if (size === null || size === undefined) return "–";
  const step = size < 1 ? 0 : Math.min(UNITS.length - 1, Math.floor(Math.log(size) / Math.log(1024)));
  return `${number(size / 1024 ** step, step && size / 1024 ** step < 100 ? 1 : 0)} ${UNITS[step]}`;
}
