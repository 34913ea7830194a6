/**
 * Composables for Vue 3 over resilient-websocket.js: notifications, one job, and the state in words.
 * `vue` is imported by its name, so the application's bundler or import map provides it.
 * @module
 */

import { computed, onScopeDispose, shallowRef, toValue, watch } from "vue";
import { ResilientWebSocket, forJob } from "./resilient-websocket.js";

/**
 * One connection for the life of the component, or of the scope that is active.
 * @param {() => string | null | Promise<string | null>} token
 * @param {(notification: any) => void} onNotification each notification once
 * @param {import("./resilient-websocket.js").Options} [options]
 */
export function useNotifications(token, onNotification, options = {}) {
  const socket = new ResilientWebSocket({ ...options, token });
  socket.addEventListener("notification", ({ detail }) => onNotification(detail));
  const status = useWebSocketStatus(socket, options.lang ?? "th");
  socket.open();
  onScopeDispose(() => socket.close());
  return { socket, ...status };
}

/**
 * The state of a connection, and what it means to a person.
 * @param {ResilientWebSocket} socket @param {any} [lang] `th` or `en`, or a ref of it
 */
export function useWebSocketStatus(socket, lang = "th") {
  const state = shallowRef(socket.state);
  const status = shallowRef(socket.describe(toValue(lang)));
  const update = () => {
    state.value = socket.state;
    status.value = socket.describe(toValue(lang));
  };
  socket.addEventListener("statuschange", update);
  watch(() => toValue(lang), update);
  onScopeDispose(() => socket.removeEventListener("statuschange", update));
  return { state, status, reconnect: () => socket.reconnect() };
}

/**
 * One job: its newest progress, and its notification once it has ended.
 * @param {any} jobId an id, or a ref of one; null: there is none yet
 * @param {() => string | null | Promise<string | null>} token
 * @param {import("./resilient-websocket.js").Options} [options]
 */
export function useJob(jobId, token, options = {}) {
  const job = shallowRef({ progress: null, notification: null });
  let socket = null;
  const follow = (id) => {
    socket?.close();
    socket = null;
    job.value = { progress: null, notification: null };
    if (id === null || id === undefined) return;
    socket = new ResilientWebSocket({ ...forJob(id, options), token });
    socket.addEventListener("progress", ({ detail }) => (job.value = { ...job.value, progress: detail.at(-1) }));
    socket.addEventListener("notification", ({ detail }) => (job.value = { ...job.value, notification: detail }));
    socket.open();
  };
  watch(() => toValue(jobId), follow, { immediate: true });
  onScopeDispose(() => socket?.close());
  return {
    progress: computed(() => job.value.progress),
    notification: computed(() => job.value.notification),
    cancel: () => socket?.cancel(toValue(jobId)),
  };
}
