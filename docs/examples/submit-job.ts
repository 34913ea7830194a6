// Submits a job over HTTP and waits for its end: node submit-job.js URL KEY USER. Prints one JSON object.
// worker-api.d.ts is generated: npx openapi-typescript URL/openapi.json --default-non-nullable false -o worker-api.d.ts
import createClient from "openapi-fetch";
import type { components, paths } from "./worker-api.js";

declare const process: { argv: string[] };
type Job = components["schemas"]["JobAnswer"];
type Problem = components["schemas"]["Problem"];

const [, , baseUrl, key, userId = ""] = process.argv;
const api = createClient<paths>({ baseUrl, headers: { Authorization: `Bearer ${key}` } });

// A request that the parser of HTTP rejects is answered with text, everything else with a problem document.
const textOf = (error: Problem | string): string => (typeof error === "string" ? error : (error.detail ?? error.title));

async function submit(taskType: string, idempotencyKey: string): Promise<string> {
  const { data, error } = await api.POST("/api/v1/jobs", {
    body: { taskType, userId, payload: {} },
    params: { header: { "Idempotency-Key": idempotencyKey } },
  });
  if (!data) throw new Error(textOf(error));
  return data.jobId;
}

async function ended(id: string): Promise<Job> {
  for (;;) {
    const { data, error } = await api.GET("/api/v1/jobs/{id}", { params: { path: { id } } });
    if (!data) throw new Error(textOf(error));
    if (data.status !== "queued" && data.status !== "running") return data;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

const id = await submit("noop", "first");
const again = await submit("noop", "first"); // the same key: the same job
const job = await ended(id);
const rejected = await submit("no-such-kind", "second").catch((reason: Error) => reason.message);
console.log(JSON.stringify({ id, again, status: job.status, user: job.userId, rejected }));
