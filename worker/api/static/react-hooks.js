/**
 * Hooks for React 18 and newer over resilient-websocket.js: notifications, one job, and the state in words.
 * `react` is imported by its name, so the application's bundler or import map provides it.
 * @module
 */

import { useCallback, useEffect, useMemo, useRef, useState, useSyncExternalStore } from "react";
import { ResilientWebSocket, forJob } from "./resilient-websocket.js";

/**
 * One connection for the component's lifetime. `token` and the handler may be new functions in each render: the
 * latest ones are called.
 * @param {() => string | null | Promise<string | null>} token
 * @param {(notification: any) => void} onNotification each notification once
 * @param {import("./resilient-websocket.js").Options} [options] of the first render
 */
export function useNotifications(token, onNotification, options = {}) {
  const latest = useRef({});
  latest.current = { token, onNotification };
  const [socket] = useState(() => new ResilientWebSocket({ ...options, token: () => latest.current.token() }));

  useEffect(() => {
    const handle = ({ detail }) => latest.current.onNotification(detail);
    socket.addEventListener("notification", handle);
    socket.open();
    return () => {
      socket.removeEventListener("notification", handle);
      socket.close();
    };
  }, [socket]);
  return { socket, ...useWebSocketStatus(socket, options.lang ?? "th") };
}

/**
 * The state of a connection, and what it means to a person: {state, status: {level, text, hint}, reconnect}.
 * @param {ResilientWebSocket} socket @param {string | null} [lang] `th` or `en`
 */
export function useWebSocketStatus(socket, lang = "th") {
  const subscribe = useCallback(
    (onChange) => {
      socket.addEventListener("statuschange", onChange);
      return () => socket.removeEventListener("statuschange", onChange);
    },
    [socket],
  );
  // Text, because React compares it: a new object in each call would never be equal.
  const words = useSyncExternalStore(subscribe, () => JSON.stringify([socket.state, socket.describe(lang)]));
  const reconnect = useCallback(() => socket.reconnect(), [socket]);
  return useMemo(() => {
    const [state, status] = JSON.parse(words);
    return { state, status, reconnect };
  }, [words, reconnect]);
}

/**
 * One job: its newest progress, and its notification once it has ended.
 * @param {string | null} jobId null: there is none yet
 * @param {() => string | null | Promise<string | null>} token
 * @param {import("./resilient-websocket.js").Options} [options] of the job's first render
 */
export function useJob(jobId, token, options = {}) {
  const latest = useRef({});
  latest.current = { token, options };
  const [job, setJob] = useState({ progress: null, notification: null });
  const connection = useRef(null);

  useEffect(() => {
    setJob({ progress: null, notification: null });
    if (jobId === null) return undefined;
    const socket = new ResilientWebSocket({ ...forJob(jobId, latest.current.options), token: () => latest.current.token() });
    socket.addEventListener("progress", ({ detail }) => setJob((before) => ({ ...before, progress: detail.at(-1) })));
    socket.addEventListener("notification", ({ detail }) => setJob((before) => ({ ...before, notification: detail })));
    connection.current = socket;
    socket.open();
    return () => socket.close();
  }, [jobId]);
  const cancel = useCallback(() => connection.current?.cancel(jobId), [jobId]);
  return { ...job, cancel };
}
