/**
 * The page status.html: one's own notifications as they happen, in Thai and English.
 * @module
 */

import { claimsOf } from "./resilience.js";
import { ResilientWebSocket } from "./resilient-websocket.js";
import "./websocket-status.js";

const TOKEN = "org-token";
const LANGUAGE = "org-lang";
const KEPT_NEWS = 100;

const WORDS = {
  th: {
    title: "การแจ้งเตือนของฉัน",
    token: "โทเค็น",
    tokenNote: "วางโทเค็นที่ได้จากผู้ดูแลระบบ จะเก็บไว้ในแท็บนี้เท่านั้น",
    connect: "เชื่อมต่อ",
    signedIn: "ผู้ใช้",
    signOut: "ออกจากระบบ",
    running: "กำลังทำ",
    news: "การแจ้งเตือน",
    empty: "ยังไม่มีการแจ้งเตือน เมื่องานสิ้นสุดจะแสดงที่นี่ทันที",
    gap: "การแจ้งเตือนบางรายการอาจขาดหายไปก่อนหน้านี้ โปรดตรวจสอบรายการงาน",
    success: "งานสำเร็จ",
    failed: "งานไม่สำเร็จ",
    cancelled: "งานถูกยกเลิก",
    took: (seconds) => `ใช้เวลา ${seconds} วินาที`,
    kinds: { insignia_background_processing: "เครื่องราชอิสริยาภรณ์" },
  },
  en: {
    title: "My notifications",
    token: "Token",
    tokenNote: "Paste the token your administrator gave you. It is kept in this tab only.",
    connect: "Connect",
    signedIn: "User",
    signOut: "Sign out",
    running: "In progress",
    news: "Notifications",
    empty: "No notifications yet. They appear here the moment a job ends.",
    gap: "Some earlier notifications may be missing; please look at the list of jobs.",
    success: "The job is finished",
    failed: "The job has failed",
    cancelled: "The job was cancelled",
    took: (seconds) => `took ${seconds} s`,
    kinds: { insignia_background_processing: "Royal decorations" },
  },
};

const part = (id) => document.getElementById(id);
const read = (storage, key) => {
  try {
    return JSON.parse(storage.getItem(key) ?? "null");
  } catch {
    return null;
  }
};

let language = read(localStorage, LANGUAGE) ?? (navigator.language.startsWith("th") ? "th" : "en");
let socket = null;
let user = "";
let news = [];
const running = new Map();

const words = () => WORDS[language] ?? WORDS.en;
const kindOf = (payload) => words().kinds[payload.taskType] ?? payload.taskType ?? "";

function element(name, className, text = "") {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
}

function speak(chosen) {
  language = chosen;
  localStorage.setItem(LANGUAGE, JSON.stringify(chosen));
  document.documentElement.lang = chosen;
  document.title = words().title;
  for (const spoken of document.querySelectorAll("[data-word]")) spoken.textContent = words()[spoken.dataset.word];
  for (const button of document.querySelectorAll("[data-lang]")) {
    button.setAttribute("aria-pressed", String(button.dataset.lang === chosen));
  }
  showAllNews();
  showRunning();
}

function newsItem({ success, payload }) {
  const outcome = success ? "success" : payload.error === "Cancelled" ? "cancelled" : "failed";
  const item = element("li", `news ${success ? "success" : "failed"}`);
  item.dataset.id = payload.notificationId ?? "";
  const mark = element("span", "mark", success ? "✓" : "✕");
  mark.ariaHidden = "true";
  const kind = kindOf(payload);
  item.append(mark, element("span", "title", kind ? `${words()[outcome]} · ${kind}` : words()[outcome]));
  if (outcome === "failed" && payload.error) item.append(element("p", "error", payload.error));
  item.append(element("p", "facts", factsOf(payload)));
  return item;
}

function factsOf({ completedAt, duration }) {
  const format = new Intl.DateTimeFormat(language === "th" ? "th-TH" : "en-GB", { dateStyle: "long", timeStyle: "medium" });
  const when = completedAt ? format.format(new Date(completedAt)) : "";
  const took = typeof duration === "number" ? words().took((duration / 1000).toFixed(2)) : "";
  return [when, took].filter(Boolean).join(" · ");
}

function showAllNews() {
  part("news").replaceChildren(...news.map(newsItem));
  part("empty").hidden = news.length > 0;
}

function showRunning() {
  part("running").replaceChildren(...[...running.values()].map(runningItem));
  part("running-part").hidden = running.size === 0;
}

function runningItem(payload) {
  const item = element("li", "running");
  const bar = element("progress", "");
  bar.max = 100;
  bar.value = payload.percent ?? 0;
  bar.ariaLabel = kindOf(payload);
  const percent = `${Math.round(payload.percent ?? 0)} %`;
  item.append(element("span", "title", kindOf(payload)), element("p", "facts", [percent, payload.note].filter(Boolean).join(" · ")), bar);
  return item;
}

function notified({ detail }) {
  news.unshift(detail);
  news.length = Math.min(news.length, KEPT_NEWS);
  sessionStorage.setItem(`org-news:${user}`, JSON.stringify(news));
  part("news").prepend(newsItem(detail));
  while (part("news").children.length > KEPT_NEWS) part("news").lastChild.remove();
  part("empty").hidden = true;
  if (running.delete(detail.payload.jobId)) showRunning();
  if (detail.payload.notificationId) socket.shown(detail.payload.notificationId);
}

function progressed({ detail }) {
  for (const payload of detail) running.set(payload.jobId, payload);
  showRunning();
}

function signIn(token) {
  sessionStorage.setItem(TOKEN, JSON.stringify(token));
  user = String(claimsOf(token).sub ?? "");
  news = read(sessionStorage, `org-news:${user}`) ?? [];
  showAllNews();
  showWho(true);
  socket = new ResilientWebSocket({ token });
  socket.addEventListener("notification", notified);
  socket.addEventListener("progress", progressed);
  socket.addEventListener("gap", () => (part("gap").hidden = false));
  socket.addEventListener("failed", ({ detail }) => detail.reason === "token" && askAgain());
  part("status").socket = socket;
  socket.open();
}

function showWho(known) {
  part("user").textContent = user;
  part("who").hidden = !known;
  part("sign-in").hidden = known;
}

function askAgain() {
  sessionStorage.removeItem(TOKEN);
  showWho(false);
  part("token").focus();
}

function signOut() {
  socket?.close();
  socket = part("status").socket = null;
  sessionStorage.removeItem(`org-news:${user}`);
  news = [];
  running.clear();
  part("gap").hidden = true;
  showAllNews();
  showRunning();
  askAgain();
}

part("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  socket?.close();
  signIn(part("token").value.trim());
  part("token").value = "";
});
part("sign-out").addEventListener("click", signOut);
for (const button of document.querySelectorAll("[data-lang]")) {
  button.addEventListener("click", () => speak(button.dataset.lang));
}

speak(language);
const kept = read(sessionStorage, TOKEN);
if (kept) signIn(kept);
