import { Message, Options, ResilientWebSocket as Client, State, Words } from "./resilient-websocket.js";

/** Options of other clients; each stands for one of `Options`. */
export interface OptionAliases {
  /** `attempts`; 0: never, Infinity: endless. */
  maxReconnectAttempts?: number;
  maxRetries?: number;
  /** `reconnectionDelay` */
  reconnectDelay?: number;
  reconnectInterval?: number;
  minReconnectionDelay?: number;
  /** `maxReconnectionDelay` */
  maxReconnectDelay?: number;
  /** `timeout` */
  connectionTimeout?: number;
  /** `queueLimit` */
  maxQueueSize?: number;
  /** `pingInterval` */
  heartbeatInterval?: number;
  /** false: `pingInterval` 0 */
  enableHeartbeat?: boolean;
  /** `reconnect` */
  autoReconnect?: boolean;
}

export interface ClientStatus {
  status: "connecting" | "connected" | "reconnecting" | "disconnected" | "error";
  connected: boolean;
  connectionState: State;
  reconnectAttempts: number;
  lastPong: string | null;
  stats: {
    totalConnections: number;
    totalMessages: number;
    connectTime: string | null;
    messageCount: number;
    errorCount: number;
    reconnectCount: number;
  };
}

export class ResilientWebSocket extends Client {
  constructor(options?: Options & OptionAliases);
  constructor(url: string | URL, options?: Options & OptionAliases);
  connect(): Promise<void>;
  disconnect(code?: number, reason?: string): void;
  isConnected(): boolean;
  on(name: string, handler: (detail: any) => void): this;
  off(name: string, handler?: (detail: any) => void): this;
  onStatusChange(handler: (status: ClientStatus["status"]) => void): () => void;
  subscribe(type: string, handler: (message: any, ...more: any[]) => void): () => void;
  send(type: string, data?: unknown, options?: { volatile?: boolean }): "sent" | "queued" | "dropped";
  send(message: { type: string; [field: string]: unknown }): "sent" | "queued" | "dropped";
  getStatus(): ClientStatus;
  getUserFriendlyStatus(lang?: string | null): Words & { status: State; message: string };
}

export interface Handlers {
  onOpen?: (welcome: any) => void;
  onMessage?: (message: Message) => void;
  onError?: (error: any) => void;
  onClose?: (close: { code: number; reason: string; willReconnect: boolean }) => void;
}

export function createReconnectingWebSocket(
  taskId: string,
  handlers?: Handlers,
  options?: Options & OptionAliases,
): ResilientWebSocket;
