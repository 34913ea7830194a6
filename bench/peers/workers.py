"""A job queue that notifies a Socket.IO server and waits for its acknowledgement, as its users would write it.

    python workers.py ENGINE fill JOBS                     creates the tables and submits the jobs
    python workers.py ENGINE work URL                      runs them, 100 at a time, until it is killed

DATABASE and REDIS in the environment are URLs. This program runs in an environment of its own, without the worker.
"""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from typing import Any

DATABASE, REDIS = os.environ.get("DATABASE", ""), os.environ.get("REDIS", "")
CONCURRENCY = 100
CHUNK = 500
PAYLOAD = {"round": 2569, "roster": "2569/department-7/roster-1000.csv"}
Notify = Callable[[int], Awaitable[None]]


async def connect(url: str) -> Notify:
    """Return what sends the notification of a job and waits until the server has it."""
    import socketio

    client = socketio.AsyncClient()
    await client.connect(url, socketio_path="/api/v1/org-socket", transports=["websocket"])

    async def notify(number: int) -> None:
        payload = {"status": "success", "jobId": f"{number:036}", "sequence": number, "duration": 0.1, "attempt": 1}
        message = {"success": True, "message": "Task Finish", "payload": payload}
        await client.call("socket-notification", (message, {"userId": f"user-{number % 100}"}), timeout=60)

    return notify


async def pgqueuer_fill(jobs: int) -> None:
    import asyncpg
    from pgqueuer.adapters.drivers.asyncpg import AsyncpgDriver
    from pgqueuer.adapters.persistence.queries import Queries

    queries = Queries(AsyncpgDriver(await asyncpg.connect(DATABASE)))
    await queries.install()
    for start in range(0, jobs, CHUNK):
        payloads: list[bytes | None] = [b"%d" % number for number in range(start, start + CHUNK)]
        await queries.enqueue(["nothing"] * CHUNK, payloads, [0] * CHUNK)


async def pgqueuer_work(notify: Notify) -> None:
    import asyncpg
    from pgqueuer import PgQueuer
    from pgqueuer.adapters.drivers.asyncpg import AsyncpgDriver

    queuer = PgQueuer(AsyncpgDriver(await asyncpg.connect(DATABASE)))

    @queuer.entrypoint("nothing")
    async def nothing(job: Any) -> None:
        await notify(int(job.payload))

    await queuer.run(batch_size=CONCURRENCY, max_concurrent_tasks=2 * CONCURRENCY)


def procrastinate_app(notify: Notify) -> Any:
    import procrastinate

    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=DATABASE))

    @app.task(name="nothing")
    async def nothing(number: int, **_payload: Any) -> None:
        await notify(number)

    return app


async def procrastinate_fill(jobs: int) -> None:
    app = procrastinate_app(_no_one)
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        for start in range(0, jobs, CHUNK):
            numbers = [{"number": number, **PAYLOAD} for number in range(start, start + CHUNK)]
            await app.tasks["nothing"].batch_defer_async(*numbers)


async def procrastinate_work(notify: Notify) -> None:
    app = procrastinate_app(notify)
    async with app.open_async():
        await app.run_worker_async(concurrency=CONCURRENCY, install_signal_handlers=False)


async def _saq_fill(url: str, jobs: int) -> None:
    from saq import Queue

    queue = Queue.from_url(url)
    await queue.connect()
    places = asyncio.Semaphore(20)

    async def one(number: int) -> None:
        async with places:
            await queue.enqueue("nothing", number=number, **PAYLOAD)

    await asyncio.gather(*map(one, range(jobs)))


async def _saq_work(url: str, notify: Notify) -> None:
    from saq import Queue, Worker

    async def nothing(_context: Any, *, number: int, **_payload: Any) -> None:
        await notify(number)

    queue = Queue.from_url(url)
    await queue.connect()
    await Worker(queue, [("nothing", nothing)], concurrency=CONCURRENCY).start()


async def saq_postgres_fill(jobs: int) -> None:
    await _saq_fill(DATABASE, jobs)


async def saq_postgres_work(notify: Notify) -> None:
    await _saq_work(DATABASE, notify)


async def saq_redis_fill(jobs: int) -> None:
    await _saq_fill(REDIS, jobs)


async def saq_redis_work(notify: Notify) -> None:
    await _saq_work(REDIS, notify)


def taskiq_broker(notify: Notify) -> tuple[Any, Any]:
    from taskiq_redis import RedisStreamBroker

    broker = RedisStreamBroker(REDIS)

    @broker.task(task_name="nothing")
    async def nothing(number: int, **_payload: Any) -> None:
        await notify(number)

    return broker, nothing


async def taskiq_fill(jobs: int) -> None:
    broker, nothing = taskiq_broker(_no_one)
    await broker.startup()
    places = asyncio.Semaphore(20)

    async def one(number: int) -> None:
        async with places:
            await nothing.kiq(number, **PAYLOAD)

    await asyncio.gather(*map(one, range(jobs)))
    await broker.shutdown()


async def taskiq_work(notify: Notify) -> None:
    from taskiq.api import run_receiver_task

    broker, _ = taskiq_broker(notify)
    broker.is_worker_process = True
    await run_receiver_task(broker, run_startup=True, max_async_tasks=CONCURRENCY)


def oban_job(notify: Notify) -> Any:
    import oban

    @oban.worker(queue="default")
    class Nothing:
        async def process(self, job: Any) -> None:
            await notify(job.args["number"])

    return Nothing


async def oban_fill(jobs: int) -> None:
    import oban
    from oban.schema import install

    job = oban_job(_no_one)
    async with await oban.Oban.create_pool(dsn=DATABASE) as pool:
        await install(pool)
        client = oban.Oban(pool=pool)
        for start in range(0, jobs, CHUNK):
            await client.enqueue_many(job.new({"number": n, **PAYLOAD}) for n in range(start, start + CHUNK))


async def oban_work(notify: Notify) -> None:
    import oban

    oban_job(notify)
    async with await oban.Oban.create_pool(dsn=DATABASE) as pool, oban.Oban(pool=pool, queues={"default": CONCURRENCY}):
        await asyncio.Event().wait()


async def _no_one(_number: int) -> None:
    raise AssertionError("this process submits only")


async def work(engine: str, url: str) -> None:
    await globals()[f"{engine}_work"](await connect(url))


def main() -> None:
    import uvloop

    engine, action, argument = sys.argv[1:]
    if action == "fill":
        uvloop.run(globals()[f"{engine}_fill"](int(argument)))
    else:
        uvloop.run(work(engine, argument))


if __name__ == "__main__":
    main()
