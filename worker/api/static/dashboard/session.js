/**
 * Who looks, and what they may. The key itself is never kept here: the service gives a cookie no script can read.
 * @module
 */

import { call, get, post, remove } from "./api.js";

/** @type {{name: string, scopes: string[], userId: string | null, defaultUserId: string | null, hub: {path: string, token: string} | null, expiresAt?: string} | null} */
let current = null;
/** A key that is bound to users or organisations sees their jobs, and nothing that concerns all. */
let bound = false;

/** The session, or null when a key is needed. */
export async function load() {
  try {
    current = await get("/api/v1/session");
    bound = may("read") && (await isRefused("/api/v1/stats"));
  } catch (problem) {
    if (problem.status !== 401 && problem.status !== 403) throw problem;
    current = null;
  }
  return current;
}

async function isRefused(path) {
  try {
    await get(path);
  } catch (problem) {
    return problem.status === 403;
  }
  return false;
}

/** @param {string} key */
export async function signIn(key) {
  await post("/api/v1/session", { key });
  return load();
}

/**
 * @returns {Promise<boolean>} whether everything is stored: else the session may be valid again after a restart.
 * Problem: the session goes on, such as while the service is away.
 */
export async function signOut() {
  try {
    await remove("/api/v1/session");
  } catch (problem) {
    if (await load()) throw problem;
    return problem.status === 401;
  }
  current = null;
  return true;
}

/** A new token of the hub, requested for each connection. */
export async function hubToken() {
  const session = await call("/api/v1/session");
  return session.hub?.token ?? null;
}

export const session = () => current;
/** Whether it sees only some people's jobs. */
export const isBound = () => bound;
/** @param {string} scope */
export const may = (scope) => Boolean(current && (current.scopes.includes(scope) || current.scopes.includes("admin")));
