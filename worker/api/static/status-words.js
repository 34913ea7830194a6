/**
 * What a connection's state means to a person, in Thai and English. Knows no socket and no page.
 * @module
 */

const WORDS = {
  th: {
    connected: "เชื่อมต่อแล้ว",
    connecting: "กำลังเชื่อมต่อ…",
    reconnecting: "การเชื่อมต่อขาดหาย กำลังเชื่อมต่อใหม่…",
    recovered: "กลับมาเชื่อมต่อแล้ว",
    disconnected: "ไม่ได้เชื่อมต่อ",
    failed: "เชื่อมต่อไม่ได้",
    offline: "เครื่องนี้ไม่ได้ต่ออินเทอร์เน็ต",
    token: "การเข้าสู่ระบบหมดอายุหรือไม่ถูกต้อง โปรดเข้าสู่ระบบใหม่",
    forbidden: "ไม่มีสิทธิ์เข้าถึงรายการนี้",
    slow: "เซิร์ฟเวอร์ขอให้รอสักครู่ แล้วจะเชื่อมต่อให้เอง",
    exhausted: "ลองเชื่อมต่อหลายครั้งแล้วไม่สำเร็จ",
    refused: "เซิร์ฟเวอร์ปิดการเชื่อมต่อนี้",
    safe: "การแจ้งเตือนที่เข้ามาระหว่างนี้ไม่สูญหาย และจะแสดงเมื่อเชื่อมต่อได้",
    reconnect: "เชื่อมต่อใหม่",
    again: (seconds) => `ลองอีกครั้งใน ${seconds} วินาที`,
    attempt: (n) => `ครั้งที่ ${n}`,
    latency: "เวลาตอบกลับ",
    since: "เชื่อมต่อตั้งแต่",
    received: "การแจ้งเตือนที่ได้รับ",
    attempts: "เชื่อมต่อใหม่แล้ว",
    waiting: "รอส่ง",
    times: (n) => `${n} ครั้ง`,
    milliseconds: (n) => `${n} มิลลิวินาที`,
  },
  en: {
    connected: "Connected",
    connecting: "Connecting…",
    reconnecting: "Connection lost, reconnecting…",
    recovered: "Reconnected",
    disconnected: "Not connected",
    failed: "Cannot connect",
    offline: "This device is offline",
    token: "Your sign-in has expired or is not valid; please sign in again",
    forbidden: "You do not have access to this",
    slow: "The server requests a pause; the connection is restored automatically",
    exhausted: "Several connection attempts failed",
    refused: "The server has closed this connection",
    safe: "Notifications sent in the meantime are kept and appear once connected",
    reconnect: "Reconnect",
    again: (seconds) => `next attempt in ${seconds} s`,
    attempt: (n) => `attempt ${n}`,
    latency: "Response time",
    since: "Connected since",
    received: "Notifications received",
    attempts: "Reconnected",
    waiting: "Waiting to be sent",
    times: (n) => (n === 1 ? "once" : `${n} times`),
    milliseconds: (n) => `${n} ms`,
  },
};

const LEVELS = { connected: "good", connecting: "busy", reconnecting: "busy", disconnected: "off", failed: "bad" };

/** The texts of a language; English where the language has no texts. @param {string | null | undefined} lang */
export function wordsFor(lang) {
  return String(lang ?? "").toLowerCase().startsWith("th") ? WORDS.th : WORDS.en;
}

/**
 * One sentence and one hint for a state.
 * @param {{state: string, reason?: string | null, online?: boolean}} status
 * @param {string | null} [lang] `th`, else English
 * @returns {{level: "good" | "busy" | "bad" | "off", text: string, hint: string}}
 */
export function describe({ state, reason = null, online = true }, lang) {
  const words = wordsFor(lang);
  const known = reason === null ? "" : (words[reason] ?? "");
  if (!online && state !== "connected") return { level: "bad", text: words.offline, hint: words.safe };
  const hint = state === "reconnecting" ? known || words.safe : state === "failed" ? known : "";
  return { level: LEVELS[state] ?? "off", text: words[state] ?? state, hint };
}
