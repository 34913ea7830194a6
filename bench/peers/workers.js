// As workers.py, for engines in Node: node workers.js ENGINE fill JOBS, node workers.js ENGINE work URL.
"use strict";
const { io } = require("socket.io-client");

const CONCURRENCY = 100;
const CHUNK = 500;
const PAYLOAD = { round: 2569, roster: "2569/department-7/roster-1000.csv" };
const [, , engine, action, argument] = process.argv;
const connectionString = process.env.DATABASE;

const numbers = (start) => Array.from({ length: CHUNK }, (_, place) => start + place);

async function connect(url) {
  const socket = io(url, { path: "/api/v1/org-socket", transports: ["websocket"] });
  await new Promise((resolve) => socket.on("connect", resolve));
  return (number) => {
    const jobId = String(number).padStart(36, "0");
    const payload = { status: "success", jobId, sequence: number, duration: 0.1, attempt: 1 };
    const message = { success: true, message: "Task Finish", payload };
    return socket.timeout(60000).emitWithAck("socket-notification", message, { userId: `user-${number % 100}` });
  };
}

const engines = {
  graphile: {
    async fill(jobs) {
      const { makeWorkerUtils } = require("graphile-worker");
      const utils = await makeWorkerUtils({ connectionString });
      await utils.migrate();
      for (let start = 0; start < jobs; start += CHUNK) {
        await utils.addJobs(numbers(start).map((number) => ({ identifier: "nothing", payload: { number, ...PAYLOAD } })));
      }
      await utils.release();
    },
    async work(notify) {
      const { run, Logger } = require("graphile-worker");
      // As its page on performance says.
      const preset = { worker: { localQueue: { size: CHUNK }, completeJobBatchDelay: 0, failJobBatchDelay: 0 } };
      const taskList = { nothing: ({ number }) => notify(number) };
      const logger = new Logger(() => () => {});
      await (await run({ connectionString, concurrency: CONCURRENCY, noHandleSignals: true, taskList, preset, logger })).promise;
    },
  },
  bullmq: {
    connection() {
      const url = new URL(process.env.REDIS);
      return { host: url.hostname, port: Number(url.port), password: url.password, db: Number(url.pathname.slice(1)), maxRetriesPerRequest: null };
    },
    async fill(jobs) {
      const { Queue } = require("bullmq");
      const queue = new Queue("bench", { connection: this.connection() });
      for (let start = 0; start < jobs; start += CHUNK) {
        await queue.addBulk(numbers(start).map((number) => ({ name: "nothing", data: { number, ...PAYLOAD } })));
      }
      await queue.close();
    },
    async work(notify) {
      const { Worker } = require("bullmq");
      const options = { connection: this.connection(), concurrency: CONCURRENCY };
      new Worker("bench", (job) => notify(job.data.number), options);
      await new Promise(() => {});
    },
  },
};

(async () => {
  if (action === "fill") await engines[engine].fill(Number(argument));
  else await engines[engine].work(await connect(argument));
  process.exit(0);
})();
