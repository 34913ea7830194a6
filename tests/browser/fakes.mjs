// A client without a browser: its socket, clock, page and storage are ours.
import { ResilientWebSocket } from "../../worker/api/static/resilient-websocket.js";

export class ManualClock {
  time = 0;
  timers = [];
  now = () => this.time;
  setTimeout = (run, pause) => {
    const timer = { run, at: this.time + pause };
    this.timers.push(timer);
    return timer;
  };
  clearTimeout = (timer) => {
    this.timers = this.timers.filter((other) => other !== timer);
  };
  /** Moves on, running what falls due in order; between two timers all promises are settled. */
  async pass(milliseconds) {
    const end = this.time + milliseconds;
    for (;;) {
      await settled();
      const due = this.timers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
      if (due === undefined) break;
      this.clearTimeout(due);
      this.time = due.at;
      due.run();
    }
    this.time = end;
    await settled();
  }
}

export const settled = () => new Promise((resolve) => setImmediate(resolve));

export class Memory {
  items = new Map();
  getItem = (key) => this.items.get(key) ?? null;
  setItem = (key, value) => void this.items.set(key, String(value));
}

/** A page's events, and whether it is online and in sight. */
export class Page extends EventTarget {
  navigator = { onLine: true };
  document = Object.assign(new EventTarget(), { visibilityState: "visible" });
  location = { href: "https://portal.example/page/status.html" };
}

export function aClient(options = {}, Client = ResilientWebSocket) {
  const clock = new ManualClock();
  const sockets = [];
  class Socket {
    readyState = 0;
    sent = [];
    closed = null;
    constructor(url) {
      this.url = url;
      sockets.push(this);
    }
    send(text) {
      this.sent.push(JSON.parse(text));
    }
    close(code, reason) {
      this.closed = { code, reason };
    }
    opens() {
      this.readyState = 1;
      this.onopen();
    }
    says(type, data = {}) {
      this.onmessage?.({ data: JSON.stringify({ type, timestamp: "", data }) });
    }
    welcomes(place = {}) {
      this.opens();
      this.says("welcome", { clientId: "c", userId: "ann", epoch: "e", seq: 0, after: 0, recovered: false, ...place });
    }
    ends(code, reason = "") {
      this.onclose?.({ code, reason });
    }
  }
  const page = new Page();
  const [warnings, logged] = [[], []];
  const around = { WebSocket: Socket, page, random: () => 0.5, now: clock.now, setTimeout: clock.setTimeout, clearTimeout: clock.clearTimeout,
    warn: (text) => warnings.push(text), log: (...words) => logged.push(words.join(" ")) };
  const client = new Client({ token: "t", remember: new Memory(), ...options }, around);
  const heard = [];
  const names = ["statuschange", "open", "message", "notification", "progress", "reconnecting", "reconnected", "closed",
    "failed", "gap", "queue", "error"];
  for (const name of names) client.addEventListener(name, ({ detail }) => heard.push([name, detail]));
  const of = (name) => heard.filter(([other]) => other === name).map(([, detail]) => detail);
  return { client, clock, sockets, page, of, around, warnings, logged, last: () => sockets.at(-1) };
}

export async function connected(options, Client) {
  const all = aClient(options, Client);
  all.client.open();
  await settled();
  all.last().welcomes();
  return all;
}

export const news = (seq, id = `n${seq}`, more = {}) => ({
  success: true,
  message: "Task Finish",
  payload: { jobId: `j${seq}`, notificationId: id, ...more },
  userId: "ann",
  epoch: "e",
  seq,
});
