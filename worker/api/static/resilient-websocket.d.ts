export type State = "connecting" | "connected" | "reconnecting" | "disconnected" | "failed";
export type Reason = "token" | "forbidden" | "refused" | "exhausted" | "slow";
export type Token = string | null | (() => string | null | Promise<string | null>);

/** Times are milliseconds. */
export interface Options {
  /** `/ws`, `/ws/tasks/{jobId}`, or a whole address. Without it, `/ws` of the service that the module comes from. */
  url?: string | URL | null;
  /** A value, or a function that is called at each attempt and a minute before a token ends. */
  token?: Token;
  /** false: never reconnect automatically. */
  reconnect?: boolean;
  /** 1000; grows with each attempt. */
  reconnectionDelay?: number;
  /** 30000; no pause is longer. */
  maxReconnectionDelay?: number;
  /** 2: each pause is twice the one before. */
  reconnectionDelayGrowFactor?: number;
  /** 0.5: pauses are spread by ±50 %. */
  jitter?: number;
  /** 0: endless. Else `failed` (exhausted) after so many in a row. */
  attempts?: number;
  /** 20000; a whole attempt, from the token to the welcome. */
  timeout?: number;
  /** 5000; after a connection of this length the pauses start from the beginning. */
  minUptime?: number;
  /** 60000; the pause after the codes 4409 and 4429, which request a lower rate. */
  slowRetryDelay?: number;
  /** 25000; 0: no pings, so that a lost connection may be noticed late. */
  pingInterval?: number;
  /** 8000 */
  pongTimeout?: number;
  /** 100; progress is handed on together, the newest of each job. */
  progressInterval?: number;
  /** 100 messages wait for a connection. */
  queueLimit?: number;
  /** Which goes when one more comes. */
  queuePolicy?: "drop-oldest" | "drop-newest";
  /** How fast one may talk; the hub's own limits are burst 100 and 10 per second. */
  pace?: { burst: number; perSecond: number };
  /** Where the position is kept: `session` for this tab, `local` for this browser, `none`, or a Storage. */
  remember?: "session" | "local" | "none" | Pick<Storage, "getItem" | "setItem">;
  storageKey?: string;
  /** 2000 notification ids are known. */
  seenLimit?: number;
  /**
   * `whsec_` and base64, the hub's Hub:SigningSecret: requests signed notifications and progress (Standard Webhooks)
   * and checked with Web Crypto; what is not signed by it is an `error` with code `signature`, and never handed on. Who
   * can check can also sign: for pages and programs that may hold the secret. TypeError from the constructor: it is none, or
   * there is no Web Crypto (a page neither on https nor on localhost).
   */
  signingSecret?: string | null;
  /** 300000; the largest difference between the time in a signature and the clock of this machine. 0: any. */
  signatureTolerance?: number;
  /** Of describe(). */
  lang?: "th" | "en" | string | null;
  /** true: write states, types and close codes to the console, with the prefix `ResilientWebSocket:`. Or a function. */
  debug?: boolean | ((...words: unknown[]) => void);
}

/** The names of all options. */
export const OPTIONS: string[];

/** The options of a connection for one job: its address below the hub's `url`, and nothing remembered. */
export function forJob<Given extends Options>(jobId: string, options?: Given): Given & { url: string; remember: "none" };

export interface Message<Data = unknown> {
  type: string;
  timestamp?: string;
  data: Data;
}

export interface NotificationPayload {
  completedAt: string;
  taskType: string;
  /** Milliseconds. */
  duration: number;
  status: "success" | "failed";
  error?: string;
  stackTrace?: string;
  jobId: string;
  notificationId: string;
  attempt: number;
  sequence: number;
  redelivery?: number;
  [more: string]: unknown;
}

export interface Notification {
  success: boolean;
  message: "Task Finish" | "Task Failed" | string;
  payload: NotificationPayload;
  userId: string;
  epoch?: string;
  seq?: number;
}

export interface Progress {
  jobId: string;
  taskType: string;
  status: string;
  percent: number | null;
  note: string | null;
}

export interface Status {
  state: State;
  reason: Reason | null;
  attempt: number;
  retryInMs: number | null;
  online: boolean;
}

export interface Words {
  level: "good" | "busy" | "bad" | "off";
  text: string;
  hint: string;
}

export interface Statistics {
  state: State;
  attempt: number;
  connections: number;
  reconnects: number;
  failedAttempts: number;
  messagesIn: number;
  messagesOut: number;
  notifications: number;
  duplicates: number;
  gaps: number;
  errors: number;
  queued: number;
  dropped: number;
  uptimeMs: number;
  latencyMs: number | null;
  lastPong: string | null;
  connectedSince: string | null;
  lastCloseCode: number | null;
  lastCloseReason: string | null;
  epoch: string | null;
  lastSeq: number | null;
}

export interface Events {
  statuschange: Status & { previous: State };
  open: { clientId: string; userId: string | null; epoch?: string; seq?: number; after?: number; recovered?: boolean; isBack: boolean };
  /** Every message but welcome and pong, each once. */
  message: Message;
  /** Each once. */
  notification: Notification;
  progress: Progress[];
  reconnecting: { attempt: number; delay: number; code: number; reason: string };
  reconnected: { attempts: number; downMs: number };
  closed: { code: number; reason: string; willReconnect: boolean };
  failed: Words & { reason: Reason; code: number; closeReason: string };
  /** The hub could not go on where this client was: something between may be missing. */
  gap: { lastSeq: number; after: number; epoch: string };
  queue: { size: number; dropped: Message | null; droppedInAll: number };
  error: { code: string; message: string; original?: string };
}

export class ResilientWebSocket extends EventTarget {
  constructor(options?: Options);
  constructor(url: string | URL, options?: Options);
  /** The option `url`, or where the module comes from. */
  readonly address: string;
  readonly state: State;
  readonly status: Status;
  readonly statistics: Statistics;
  describe(lang?: string | null): Words;
  open(): void;
  reconnect(): void;
  close(code?: number, reason?: string): void;
  setToken(token: Token): void;
  send(type: string, data?: unknown, options?: { volatile?: boolean }): "sent" | "queued" | "dropped";
  shown(notificationId: string): "sent" | "queued" | "dropped";
  cancel(jobId: string): "sent" | "queued" | "dropped";
  subscribe(type: string, handler: (data: any, type: string, message: Message<any>) => void): () => void;
  unsubscribe(type: string, handler?: (data: any, type: string, message: Message<any>) => void): void;
  join(room: string): void;
  leave(room: string): void;
  addEventListener<Name extends keyof Events>(
    name: Name,
    listener: (event: CustomEvent<Events[Name]>) => void,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(name: string, listener: EventListenerOrEventListenerObject | null, options?: boolean | AddEventListenerOptions): void;
  removeEventListener<Name extends keyof Events>(
    name: Name,
    listener: (event: CustomEvent<Events[Name]>) => void,
    options?: boolean | EventListenerOptions,
  ): void;
  removeEventListener(name: string, listener: EventListenerOrEventListenerObject | null, options?: boolean | EventListenerOptions): void;
}
