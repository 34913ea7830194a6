"""The parts of a run with the store in PostgreSQL: four workers, two hubs on one Redis, and clients of both hubs."""

import asyncio
import contextlib
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg

from tests.chaos.jobs import EXPECTED
from tests.chaos.node_parts import ResumingClient, until_clients_have_all
from tests.chaos.plan import WORKERS
from tests.chaos.producers import Producers
from tests.chaos.sent_notifications import SentNotifications
from tests.chaos.service import ChaosService, RunningAttempts
from tests.chaos.worker_network import WorkerNetwork, worker_network
from tests.support.fault_proxy import FaultProxy, fault_proxy
from tests.support.history.events import Away, Complete, Event, encode, read_events
from tests.support.history.judge import Verdict, judge
from tests.support.history.recorder import Recorder
from tests.support.history.store_reader import read_end_of_database
from tests.support.ports import free_port
from tests.support.postgres_server import PostgresServer, postgres_server
from tests.support.process import WorkerProcess
from tests.support.redis_server import RedisServer
from worker.core.clock import Clock
from worker.errors import Unavailable
from worker.hub.tokens import TokenService
from worker.stores.postgres.database import DatabaseTarget
from worker.stores.postgres.opening import migrate_target, open_store

_KEY = "the-key-of-both-hubs-of-a-run-0123456789"
_USERS = ("ann", "สมชาย", "bob")
_END_SECONDS = 600.0
"""For everything to end and to arrive after the last fault."""
_HOLDER = """
    SELECT pid FROM leases JOIN workers ON owner = holder WHERE until > now() + interval '2 seconds'
"""
_UNAVAILABLE = (69, 73, 74)
"""Exit codes of a start while PostgreSQL or Redis is away."""


async def start_again(process: WorkerProcess) -> None:
    """Start it as a supervisor does: again and again while what it needs is away."""
    async with asyncio.timeout(300):
        while True:
            try:
                await process.start()
                return
            except AssertionError:
                if process.process is None or process.process.poll() not in _UNAVAILABLE:
                    raise
                await asyncio.sleep(0.5)


class ClusterWorker(ChaosService):
    """One of several services on a store."""

    async def start(self) -> None:
        await start_again(self.process)


@dataclass(frozen=True, slots=True)
class Place:
    """A worker with what connects it."""

    worker: ClusterWorker
    network: WorkerNetwork
    line: FaultProxy
    """To its hub."""
    sent: SentNotifications


@dataclass
class Cluster:
    """Everything that faults can hit."""

    folder: Path
    postgres: PostgresServer
    redis: RedisServer
    attempts: RunningAttempts
    hubs: list[WorkerProcess] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)
    clients: list[ResumingClient] = field(default_factory=list)
    away: list[Away] = field(default_factory=list)
    producers: Producers = field(default_factory=Producers)

    @contextlib.contextmanager
    def away_for(self, *places: Place, lease: float | None = None) -> Iterator[None]:
        """Record that these workers are suspended or cannot reach the store in this block."""
        processes, since = [place.worker.process.pid for place in places], time.monotonic()
        try:
            yield
        finally:
            self.away += [Away(process, since, time.monotonic(), lease) for process in processes]

    async def holder(self) -> Place | None:
        """Return the worker that sends, if its lease lasts for a while yet."""
        with contextlib.suppress(OSError, asyncpg.PostgresError, TimeoutError):
            async with asyncio.timeout(30):
                connection = await DatabaseTarget.parse(self.postgres.url).connect()
                try:
                    process = await connection.fetchval(_HOLDER)
                finally:
                    await connection.close(timeout=1)
            return next((place for place in self.places if place.worker.process.pid == process), None)
        return None

    async def finish(self) -> list[Verdict]:
        """Let everything end, stop, and judge."""
        await self.producers.finish()
        await self._until_idle()
        for place in self.places:
            place.worker.measure()
            await place.worker.process.stop(seconds=120.0)
        stored = await read_end_of_database(self.postgres.url)
        await until_clients_have_all(self.clients, stored)
        await self._examine()
        events: list[Event] = [*stored, *read_events([self.attempts.file]), *self.away, Complete()]
        for place in self.places:
            events += [*place.worker.history.events, *place.sent.events]
        events += [event for client in self.clients for event in client.history.events]
        (self.folder / "judged.jsonl").write_bytes(b"".join(map(encode, events)))
        print(f"sent: {sum(len(place.sent.events) for place in self.places)} notifications, repetitions included")
        return [judge(events, max_attempts=3)]

    async def _until_idle(self) -> None:
        async with asyncio.timeout(_END_SECONDS):
            while True:
                with contextlib.suppress(Unavailable):  # its store, or its hub, has only just come back
                    return await self.places[0].worker.process.until_idle(_END_SECONDS)
                await asyncio.sleep(0.5)

    async def _examine(self) -> None:
        target = DatabaseTarget.parse(self.postgres.url)
        store = await open_store(target, owner="chaos", max_bytes=1 << 40, clock=Clock())
        try:
            faults = await store.examine()
        finally:
            await store.close()
        assert faults == [], faults


@contextlib.asynccontextmanager
async def running_cluster(folder: Path, seed: int, pause: float) -> AsyncIterator[Cluster]:
    """Start all parts and the producers; end them all. Only in a network namespace of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    async with contextlib.AsyncExitStack() as stack:
        postgres = stack.enter_context(postgres_server())
        postgres.stop("fast")
        postgres.listen_everywhere()
        postgres.start()
        stack.callback(shutil.copy, postgres.folder / "log", folder / "postgres.log")
        await migrate_target(DatabaseTarget.parse(postgres.url))
        redis = RedisServer(Path(tempfile.mkdtemp(dir=folder)))
        stack.callback(redis.kill)
        await asyncio.to_thread(redis.start)
        cluster = Cluster(folder, postgres, redis, RunningAttempts(folder / "attempts.jsonl"))
        tokens = TokenService(_KEY.encode(), "insignia-worker", "org-socket", Clock())
        for number in range(2):
            cluster.hubs.append(await _start_hub(folder / f"hub-{number}", redis, stack))
        for number, user in enumerate(_USERS):
            history = Recorder(folder / f"client-{number}.jsonl")
            client = ResumingClient(_url_of(cluster.hubs[number % 2]), user, tokens.mint(user), history)
            cluster.clients.append(client)
            stack.push_async_callback(client.stop)
            await client.start()
        for number in range(WORKERS):
            token = tokens.mint(f"link-{number}", publish=True)
            place = await _create_worker(cluster, number, token, stack)
            cluster.places.append(place)
            await place.worker.process.start()
        for place in cluster.places:
            cluster.producers.start(place.worker, f"{seed}-{place.network.number}", pause * WORKERS)
        try:
            yield cluster
        finally:
            await cluster.producers.cancel()


def _url_of(hub: WorkerProcess) -> str:
    return hub.settings[0].partition("=")[2]


async def _start_hub(folder: Path, redis: RedisServer, stack: contextlib.AsyncExitStack) -> WorkerProcess:
    folder.mkdir()
    url = f"--Http:Url=http://127.0.0.1:{free_port()}"
    hub = WorkerProcess(folder, [url, f"--Hub:Redis={redis.url}", f"--Hub:Jwt:Key={_KEY}"], command="hub")
    stack.callback(_end, hub)
    await hub.start()
    return hub


async def _create_worker(cluster: Cluster, number: int, token: str, stack: contextlib.AsyncExitStack) -> Place:
    network = stack.enter_context(worker_network(number))
    hub_port = int(_url_of(cluster.hubs[number % 2]).rpartition(":")[2])
    line = await stack.enter_async_context(fault_proxy(hub_port, network.run_address))
    settings = [
        f"--WebSocket:Token={token}",
        "--Hub:Enabled=false",
        "--Queue:Provider=postgres",
        f"--Queue:ConnectionString={cluster.postgres.url.replace('127.0.0.1', network.database_address)}",
    ]
    url = f"http://{network.run_address}:{line.port}"
    folder = cluster.folder / f"worker-{number}"
    worker = ClusterWorker(folder, url, cluster.attempts, _USERS, settings, tuple(EXPECTED), f"{number}:")
    worker.process.prefix = network.enter
    sent = SentNotifications(lambda: worker.process.pid)
    line.on_client_bytes = sent.add
    stack.callback(worker.log.close)
    stack.callback(_end, worker.process)
    return Place(worker, network, line, sent)


def _end(process: WorkerProcess) -> None:
    if process.is_running:
        process.kill()
