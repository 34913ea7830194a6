import type { ResilientWebSocket } from "./resilient-websocket.js";

/**
 * `<websocket-status>`. Attributes: `detailed`, `auto-hide` (milliseconds, 4000), `lang` (th, en).
 * Event `reconnect`, cancelable, before the button reconnects.
 */
export class WebSocketStatus extends HTMLElement {
  socket: ResilientWebSocket | null;
}

declare global {
  interface HTMLElementTagNameMap {
    "websocket-status": WebSocketStatus;
  }
}
