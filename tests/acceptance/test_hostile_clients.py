"""While five hostile clients do their worst, the service answers others, and neither memory nor log grows.

How long the others wait depends on what else the machine does, so it is printed. What is compared is for how much of
that time the service's main thread ran: on a core of its own, this is how long they wait.
"""

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest

from tests.support.hostile_clients import KINDS, cores
from tests.support.ports import free_port
from tests.support.process import WorkerProcess, command, running_worker
from tests.support.processes import resident_bytes
from tests.support.publisher import Publisher

_TRIED = 3.0
"""Seconds of the short test; the long one runs for a minute."""
_PLAIN = """
import sys
from aiohttp import web
async def alive(_): return web.Response(text="ok")
app = web.Application()
app.router.add_get("/livez", alive)
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None, access_log=None)
"""


@dataclass
class Seen:
    """What honest clients experienced."""

    probes_ms: list[float] = field(default_factory=list)
    news_ms: list[float] = field(default_factory=list)
    probes_cpu_ms: list[float] = field(default_factory=list)
    news_cpu_ms: list[float] = field(default_factory=list)
    lost: int = 0

    def __str__(self) -> str:
        return (
            f"/livez p99 {_p99(self.probes_ms):.0f} ms ({_p99(self.probes_cpu_ms):.0f} ms of the service's CPU time; "
            f"n={len(self.probes_ms):,}, {self.lost} lost)"
        )


@dataclass(frozen=True)
class Stopwatch:
    """Measures time, and for how much of it the main thread of a process ran. Milliseconds."""

    pid: int

    def now(self) -> tuple[float, float]:
        ran = int(Path(f"/proc/{self.pid}/schedstat").read_text().split()[0])
        return time.monotonic() * 1e3, ran / 1e6

    def since(self, began: tuple[float, float]) -> tuple[float, float]:
        wall, ran = self.now()
        return wall - began[0], ran - began[1]


def _p99(values: list[float]) -> float:
    return sorted(values)[max(0, int(len(values) * 0.99) - 1)] if values else float("nan")


@contextlib.contextmanager
def hostile(port: int, seconds: float, kinds: Sequence[str]) -> Iterator[None]:
    arguments = [
        [sys.executable, "-m", "tests.support.hostile_clients", kind, str(port), str(seconds)] for kind in kinds
    ]
    clients = [subprocess.Popen(one, stderr=subprocess.DEVNULL) for one in arguments]
    try:
        yield
    finally:
        for client in clients:
            client.kill()
            client.wait()


async def probe(url: str, stopwatch: Stopwatch, seen: Seen, until: float) -> None:
    """Ask for /livez by a new connection each time, as a monitor does."""
    port = int(url.rpartition(":")[2])
    while time.monotonic() < until:
        began = stopwatch.now()
        try:
            async with asyncio.timeout(60):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                answer = await reader.read()
                writer.close()
            assert answer.startswith(b"HTTP/1.1 200 ")
        except (OSError, TimeoutError):
            seen.lost += 1
        wall, ran = stopwatch.since(began)
        seen.probes_ms.append(wall)
        seen.probes_cpu_ms.append(ran)
        await asyncio.sleep(0.02)


async def listen(url: str, stopwatch: Stopwatch, tokens: Sequence[str], seen: Seen, until: float) -> None:
    """Publish as the worker does and wait for it as its user, again and again. `tokens`: of publisher and user."""
    port = int(url.rpartition(":")[2])
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"ws://127.0.0.1:{port}/ws", headers={"Authorization": f"Bearer {tokens[1]}"}) as socket,
        Publisher(port, tokens[0]).connected() as publish_next,
    ):
        while time.monotonic() < until:
            began = stopwatch.now()
            publishing = asyncio.ensure_future(publish_next())
            async with asyncio.timeout(60):
                while (await socket.receive_json())["type"] != "notification":
                    pass
            wall, ran = stopwatch.since(began)
            seen.news_ms.append(wall)
            seen.news_cpu_ms.append(ran)
            await publishing
            await asyncio.sleep(0.05)


@contextlib.contextmanager
def on_the_core_of_the_service() -> Iterator[None]:
    """Run this process where the service runs: the hostile clients leave it nothing of their own core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores()[0])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextlib.asynccontextmanager
async def a_service(folder: Path) -> AsyncIterator[tuple[WorkerProcess, str]]:
    url = f"http://127.0.0.1:{free_port()}"
    async with running_worker(folder, f"--Http:Url={url}", f"--WebSocket:Url={url}") as worker:
        os.sched_setaffinity(worker.pid, cores()[0])
        yield worker, url


async def seen_at_a_plain_server(seconds: float, kinds: Sequence[str]) -> Seen:
    """The same probes and hostile clients before a plain aiohttp server: what this machine can do."""
    port, seen = free_port(), Seen()
    server = subprocess.Popen([sys.executable, "-c", _PLAIN, str(port)], stderr=subprocess.DEVNULL)
    try:
        os.sched_setaffinity(server.pid, cores()[0])
        async with asyncio.timeout(60):
            while True:
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    break
                await asyncio.sleep(0.05)
        with hostile(port, seconds, kinds), on_the_core_of_the_service():
            await probe(f"http://127.0.0.1:{port}", Stopwatch(server.pid), seen, time.monotonic() + seconds)
    finally:
        server.kill()
        server.wait()
    return seen


async def withstands(folder: Path, seconds: float, kinds: Sequence[str]) -> str:
    """Check what does not depend on the machine; return the figures."""
    async with a_service(folder) as (worker, url):
        tokens = [command(folder, "token", "--user", "ann", *more).stdout.strip() for more in (("--publish",), ())]
        seen, stopwatch = Seen(), Stopwatch(worker.pid)
        before, lines = resident_bytes(worker.pid) / 1e6, len(worker.text().splitlines())
        began = time.monotonic()
        until = began + seconds
        with hostile(int(url.rpartition(":")[2]), seconds, kinds), on_the_core_of_the_service():
            await asyncio.gather(probe(url, stopwatch, seen, until), listen(url, stopwatch, tokens, seen, until))
        grown, written = resident_bytes(worker.pid) / 1e6 - before, len(worker.text().splitlines()) - lines
        lines_per_second = written / (time.monotonic() - began)
    figures = (
        f"{seconds:g} s: {seen}, notifications p99 {_p99(seen.news_ms):.0f} ms ({_p99(seen.news_cpu_ms):.0f} ms of CPU "
        f"time; n={len(seen.news_ms):,}), RSS +{grown:.0f} MB, log {lines_per_second:.1f} lines/s"
    )
    assert seen.lost == 0, figures
    # Generous: the less of its core the service gets, the more waits for it whenever it runs.
    assert _p99(seen.probes_cpu_ms) < 400, figures
    assert _p99(seen.news_cpu_ms) < 400, figures
    assert grown < 100, figures
    assert lines_per_second < 100, figures
    return figures


@pytest.mark.alters_store  # the notifications come from a publisher, whose jobs no store has
@pytest.mark.timeout(600)
async def test_service_withstands_five_hostile_clients_for_a_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)  # to measure coverage takes several times its CPU time
    print(await withstands(tmp_path, _TRIED, list(KINDS)))


@pytest.mark.kill
@pytest.mark.alters_store  # the notifications come from a publisher, whose jobs no store has
@pytest.mark.timeout(900)
async def test_service_withstands_hostile_clients_for_a_minute(tmp_path: Path) -> None:
    print(await withstands(tmp_path, 60.0, list(KINDS)))
    print("plain aiohttp:", await seen_at_a_plain_server(60.0, list(KINDS)))
