import { Notification, Options, Progress, ResilientWebSocket, State, Words } from "./resilient-websocket.js";

type TokenFunction = () => string | null | Promise<string | null>;
interface Readable<Value> {
  readonly value: Value;
}
type MaybeReadable<Value> = Value | Readable<Value> | (() => Value);

export interface WebSocketStatus {
  state: Readable<State>;
  status: Readable<Words>;
  reconnect: () => void;
}

export function useNotifications(
  token: TokenFunction,
  onNotification: (notification: Notification) => void,
  options?: Omit<Options, "token">,
): WebSocketStatus & { socket: ResilientWebSocket };
export function useWebSocketStatus(socket: ResilientWebSocket, lang?: MaybeReadable<string | null>): WebSocketStatus;
export function useJob(
  jobId: MaybeReadable<string | null>,
  token: TokenFunction,
  options?: Omit<Options, "token">,
): { progress: Readable<Progress | null>; notification: Readable<Notification | null>; cancel: () => void };
