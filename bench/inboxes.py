"""What a shared inbox costs in Redis, in PostgreSQL and in our own file: accept, replay, move the mark. Side by side.

`POSTGRES=postgres://user@127.0.0.1:5432/postgres python -m bench.inboxes`; a database of its own is made and dropped.
Needs `redis-server`, and asyncpg in addition to our packages (`pip install asyncpg`): nothing else needs it.
"""

import asyncio
import contextlib
import itertools
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import orjson
from redis.asyncio import Redis

from tests.support.hub import EVENT, message
from tests.support.redis_server import RedisServer
from worker.core.clock import Clock
from worker.hub.inbox import ResumePoint
from worker.hub.inboxes.redis_scripts import APPEND, MARK, PAGE
from worker.hub.inboxes.sqlite import SqliteInbox
from worker.hub.messages import Message, read_message

USERS = 500
ROUNDS = 7
SECONDS = 1.5
"""Of each measurement."""
DATABASE = "insignia_bench_inboxes"

SCHEMA = """
CREATE TABLE inbox (name text PRIMARY KEY, epoch text NOT NULL, seq bigint NOT NULL, read bigint NOT NULL)
  WITH (fillfactor = 50);
CREATE TABLE message (name text, seq bigint, at timestamptz NOT NULL, body bytea NOT NULL, PRIMARY KEY (name, seq));
CREATE TABLE seen (id text PRIMARY KEY, redelivery int NOT NULL, at timestamptz NOT NULL);
"""
# One statement for a batch, as one script for it in Redis. Users are locked in one order, so that two hubs never wait
# for each other in a circle. NOTIFY tells who has how much: a body may be longer than the 8,000 bytes it takes.
ACCEPT = """
WITH given AS (
  SELECT * FROM unnest($1::text[], $2::text[], $3::int[], $4::bytea[])
  WITH ORDINALITY AS g (name, id, redelivery, body, n)
), fresh AS (
  INSERT INTO seen SELECT id, redelivery, now() FROM given ORDER BY id
  ON CONFLICT (id) DO UPDATE SET redelivery = excluded.redelivery WHERE excluded.redelivery > seen.redelivery
  RETURNING id
), kept AS (
  SELECT g.*, row_number() OVER (PARTITION BY name ORDER BY n) AS k, count(*) OVER (PARTITION BY name) AS c
  FROM given g JOIN fresh USING (id)
), moved AS (
  INSERT INTO inbox SELECT name, md5(random()::text), count(*), 0 FROM kept GROUP BY name ORDER BY name
  ON CONFLICT (name) DO UPDATE SET seq = inbox.seq + excluded.seq RETURNING name, seq
), put AS (
  INSERT INTO message SELECT name, seq - c + k, now(), body FROM kept JOIN moved USING (name) RETURNING name, seq
), told AS (
  SELECT pg_notify('news', left(string_agg(name || ' ' || seq, ','), 7999)) FROM moved
)
SELECT name, seq FROM put, told
"""
READ = """
SELECT seq, body FROM message WHERE name = $1 AND seq > $2 ORDER BY seq LIMIT 100
"""
MOVE = """
UPDATE inbox SET read = m.seq FROM (SELECT * FROM unnest($1::text[], $2::bigint[]) AS m (name, seq) ORDER BY 1) m
WHERE inbox.name = m.name AND inbox.read < m.seq
"""


class Store(Protocol):
    name: str

    async def accept(self, batch: list[Message]) -> None: ...

    async def replay(self, user: str) -> int:
        """A page of 100."""
        ...

    async def move(self, marks: dict[str, int]) -> None: ...


class InRedis:
    def __init__(self, redis: "Redis", sync: str) -> None:
        self.name = f"redis/{sync}"
        self._redis = redis
        self._epochs: dict[str, bytes | str] = {}
        self._append, self._page, self._mark = map(redis.register_script, (APPEND, PAGE, MARK))

    async def accept(self, batch: list[Message]) -> None:
        arguments: list[Any] = ["bench:", os.urandom(8).hex(), 10_000, 7 * 86400, 90 * 86400]
        for news in batch:
            arguments += (news.user, news.id or "", news.redelivery, "0", news.body)
        await self._append(args=arguments)

    async def replay(self, user: str) -> int:
        found = await self._page(args=["bench:", "seed", user, "open", "", "", 100, 256 * 1024])
        return (len(found) - 3) // 2

    async def move(self, marks: dict[str, int]) -> None:
        for user in marks.keys() - self._epochs.keys():
            self._epochs[user] = await self._redis.hget(f"bench:u:{user}", "epoch") or b""
        await self._mark(
            args=["bench:", *(part for user, seq in marks.items() for part in (user, self._epochs[user], seq))]
        )


class InPostgres:
    name = "postgres"

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    async def accept(self, batch: list[Message]) -> None:
        columns = zip(*((news.user, news.id, news.redelivery, news.body) for news in batch), strict=True)
        await self._pool.fetch(ACCEPT, *map(list, columns))

    async def replay(self, user: str) -> int:
        return len(await self._pool.fetch(READ, user, 0))

    async def move(self, marks: dict[str, int]) -> None:
        await self._pool.execute(MOVE, list(marks), list(marks.values()))


class InFile:
    name = "own file"

    def __init__(self, inbox: SqliteInbox) -> None:
        self._inbox = inbox
        self._epochs: dict[str, str] = {}

    async def accept(self, batch: list[Message]) -> None:
        await asyncio.gather(*(_result_of(partial(self._inbox.append, news)) for news in batch))

    async def replay(self, user: str) -> int:
        return len((await _result_of(lambda done: self._inbox.open(user, None, done))).messages)

    async def move(self, marks: dict[str, int]) -> None:
        for user, seq in marks.items():
            if user not in self._epochs:
                self._epochs[user] = (await _result_of(partial(self._inbox.read, user, seq))).epoch
            self._inbox.mark_read(user, ResumePoint(self._epochs[user], seq))
        self._inbox.flush()
        await _result_of(lambda done: self._inbox.read("unknown", 0, done))


async def _result_of(ask: Callable[[Callable[[Any], None]], object]) -> Any:
    answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    ask(answer.set_result)
    return await answer


@contextlib.asynccontextmanager
async def _stores(folder: Path) -> AsyncIterator[list[Store]]:
    async with contextlib.AsyncExitStack() as stack:
        stores: list[Store] = []
        for sync in ("always", "everysec"):
            server = RedisServer(folder / f"redis-{sync}", sync=sync)
            server.start()
            stack.callback(server.kill)
            stores.append(InRedis(await stack.enter_async_context(Redis.from_url(server.url)), sync))
        stores.append(InPostgres(await stack.enter_async_context(_postgres())))
        inbox = SqliteInbox(folder / "hub.db", Clock())
        await inbox.start()
        stack.push_async_callback(inbox.close)
        yield [*stores, InFile(inbox)]


@contextlib.asynccontextmanager
async def _postgres() -> AsyncIterator[Any]:
    try:
        import asyncpg
    except ImportError:
        sys.exit("bench.inboxes needs asyncpg: pip install asyncpg")
    address = os.environ.get("POSTGRES", "postgres://postgres@127.0.0.1:5432/postgres")
    main = await asyncpg.connect(address)
    await main.execute(f"DROP DATABASE IF EXISTS {DATABASE}")
    await main.execute(f"CREATE DATABASE {DATABASE}")
    try:
        async with asyncpg.create_pool(address, database=DATABASE, min_size=8, max_size=8) as pool:
            await pool.execute(SCHEMA)
            yield pool
    finally:
        await main.execute(f"DROP DATABASE {DATABASE} WITH (FORCE)")
        await main.close()


_numbers = itertools.count()


def _batch(size: int) -> list[Message]:
    batch = []
    for number in itertools.islice(_numbers, size):
        body = orjson.dumps([EVENT, message(number, note="x" * 200), {"userId": f"user-{number % USERS}"}])
        batch.append(read_message(orjson.loads(body), body))
    return batch


async def _rate(work: Callable[[], Awaitable[object]], per_call: int, at_once: int) -> float:
    """How many a second, with so many calls under way."""
    ends = time.perf_counter() + SECONDS
    done = 0

    async def one() -> None:
        nonlocal done
        while time.perf_counter() < ends:
            await work()
            done += per_call

    began = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(at_once)))
    return done / (time.perf_counter() - began)


def _works(store: Store) -> dict[str, tuple[Callable[[], Awaitable[object]], int, int]]:
    """What is measured: (what, how many it does, how many at once)."""
    marks = itertools.count(1)
    users = itertools.cycle(range(USERS))
    return {
        "accept, batches of 256, two hubs": (lambda: store.accept(_batch(256)), 256, 2),
        "accept, one by one, one hub": (lambda: store.accept(_batch(1)), 1, 1),
        "replay, pages of 100, eight clients": (lambda: store.replay(f"user-{next(users)}"), 1, 8),
        "mark, 256 users at once": (lambda: store.move({f"user-{n}": next(marks) for n in range(256)}), 256, 1),
    }


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with _stores(Path(folder)) as stores:
            for store in stores:
                for _ in range(240):
                    await store.accept(_batch(256))
            names = list(_works(stores[0]))
            for name in names:
                figures: dict[str, list[float]] = {store.name: [] for store in stores}
                for _ in range(ROUNDS):
                    for store in stores:
                        figures[store.name].append(await _rate(*_works(store)[name]))
                print(name)
                base = statistics.median(figures[stores[0].name])
                for store_name, rates in figures.items():
                    median = statistics.median(rates)
                    print(f"  {store_name:15} {median:10,.0f} a second   {median / base:5.2f}", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
