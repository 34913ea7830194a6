import { Notification, Options, Progress, ResilientWebSocket, State, Words } from "./resilient-websocket.js";

type TokenFunction = () => string | null | Promise<string | null>;

export interface WebSocketStatus {
  state: State;
  status: Words;
  reconnect: () => void;
}

export function useNotifications(
  token: TokenFunction,
  onNotification: (notification: Notification) => void,
  options?: Omit<Options, "token">,
): WebSocketStatus & { socket: ResilientWebSocket };
export function useWebSocketStatus(socket: ResilientWebSocket, lang?: string | null): WebSocketStatus;
export function useJob(
  jobId: string | null,
  token: TokenFunction,
  options?: Omit<Options, "token">,
): { progress: Progress | null; notification: Notification | null; cancel: () => void };
