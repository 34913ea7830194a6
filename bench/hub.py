"""The hub beside the JavaScript socket.io server: acknowledged publishes, fan-out, connects, memory.

    python -m bench.hub [--runs 3] [--only publish|stored|room|users|connects|memory]

Each server is a process of its own; publisher and receivers are this process, which counts bytes instead of
reading frames, so that the server is what is measured. Servers take turns within a run; medians over the runs.
`ours/disk` writes every notification to its inbox, `ours/memory` keeps the inbox in memory; for fan-out the
messages are progress messages, which neither we nor the JavaScript server store. `stored` is fan-out of notifications
that are in the inbox before anybody gets them (the JavaScript server just passes them on).
Needs Node and the packages of tests/interop (npm ci).
"""

import argparse
import asyncio
import base64
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import orjson
import uvloop
from aiohttp import web
from pydantic import SecretStr

from config.settings import HubSettings, WebSocketSettings
from tests.support.process import free_port
from tests.support.redis_server import RedisServer
from worker.clock import Clock
from worker.hub.auth import Authority, load_key
from worker.hub.guard import Caps
from worker.hub.server import Hub

ROOT = Path(__file__).parents[1]
PATH = "/api/v1/org-socket"
SERVERS = ("js", "ours/disk", "ours/memory", "ours/redis", "ours/redis-sec")
"""redis: appendfsync always; redis-sec: everysec."""


@dataclass(frozen=True)
class Server:
    name: str
    port: int
    pid: int
    token: Callable[[str], dict[str, str]]
    """What a user puts into `auth`; the user "publisher" may publish."""

    def memory(self) -> int:
        """Resident bytes."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) * 1024


@contextlib.contextmanager
def started(name: str, folder: Path) -> Iterator[Server]:
    with contextlib.ExitStack() as stack:
        redis = stack.enter_context(_redis(name, folder)) if "redis" in name else ""
        yield stack.enter_context(_started(name, folder, redis))


@contextlib.contextmanager
def _redis(name: str, folder: Path) -> Iterator[str]:
    server = RedisServer(folder / "redis", sync="everysec" if name.endswith("sec") else "always")
    server.start()
    try:
        yield server.url
    finally:
        server.kill()


@contextlib.contextmanager
def _started(name: str, folder: Path, redis: str) -> Iterator[Server]:
    port = free_port()
    if name == "js":
        command = ["node", str(ROOT / "bench/hub_peer.js"), str(port)]
    else:
        command = [sys.executable, "-m", "bench.hub", "--serve", str(port), str(folder), name]
    environment = {
        **os.environ,
        "NODE_PATH": str(ROOT / "tests/interop/node_modules"),
        "PYTHONPATH": str(ROOT),
        "BENCH_REDIS": redis,
    }
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, cwd=ROOT)
    try:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == b"up"
        yield Server(name, port, process.pid, _tokens(name, folder))
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def _tokens(name: str, folder: Path) -> Callable[[str], dict[str, str]]:
    if name == "js":
        return lambda user: {"user": user}
    authority = Authority(load_key(folder / "hub.key")[0], "insignia-worker", "org-socket", Clock())
    return lambda user: {"token": authority.mint(user, publish=user == "publisher")}


async def serve(port: int, folder: Path, name: str) -> None:
    redis = os.environ["BENCH_REDIS"]
    settings = HubSettings(
        inbox_path="hub.db" if name == "ours/disk" else ":memory:", redis=SecretStr(redis) if redis else None
    )
    plenty = Caps(total=100_000, per_address=100_000, per_user=100_000, attempts=1e6, attempt_burst=1e6)
    hub = Hub(settings, WebSocketSettings(), state=folder, clock=Clock(), emit=_deaf, caps=plenty)
    app = web.Application()
    hub.mount(app)
    await hub.start()
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=1024).start()
    print("up", flush=True)
    await asyncio.Event().wait()


def _deaf(_: Any) -> None: ...


class Socket(asyncio.Protocol):
    """A client that counts what it receives and looks for one mark at a time."""

    def __init__(self) -> None:
        self.received = 0
        self._seen = b""
        self._mark: bytes | None = None
        self._found: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        if self._found is None:
            return
        self._seen += data
        if self._mark is not None and self._mark in self._seen and not self._found.done():
            self._found.set_result(None)

    async def until(self, mark: bytes) -> None:
        self._mark, self._seen = mark, b""
        self._found = asyncio.get_running_loop().create_future()
        await self._found
        self._found = None

    def send(self, text: bytes) -> None:
        self.transport.write(frame(text))

    async def enter(self, port: int, auth: dict[str, str]) -> None:
        key = base64.b64encode(os.urandom(16)).decode()
        opened = asyncio.ensure_future(self.until(b'"maxPayload"'))
        await asyncio.sleep(0)
        self.transport.write(
            f"GET {PATH}/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
        )
        await opened
        entered = asyncio.ensure_future(self.until(b'40{"sid"'))
        await asyncio.sleep(0)
        self.send(b"40" + orjson.dumps(auth))
        await entered


def frame(text: bytes) -> bytes:
    """A client's text frame; a mask of zeros is a mask."""
    size = len(text)
    head = bytes((0x81, 0x80 | size)) if size < 126 else b"\x81\xfe" + size.to_bytes(2, "big")
    return head + b"\0\0\0\0" + text


async def connect(server: Server, user: str) -> Socket:
    loop = asyncio.get_running_loop()
    _, socket = await loop.create_connection(Socket, "127.0.0.1", server.port)
    await socket.enter(server.port, server.token(user))
    return socket


@contextlib.asynccontextmanager
async def crowd(server: Server, users: list[str]) -> AsyncIterator[list[Socket]]:
    sockets: list[Socket] = []
    try:
        for start in range(0, len(users), 50):
            sockets += await asyncio.gather(*(connect(server, user) for user in users[start : start + 50]))
        yield sockets
    finally:
        for socket in sockets:
            socket.transport.abort()


def event(user: str, number: int, *, progress: bool) -> bytes:
    payload = {
        "taskType": "insignia_background_processing",
        "jobId": "0199a8a1-7a5b-7c3d-9e0f-1a2b3c4d5e6f",
        "notificationId": f"00000000-0000-5000-8000-{number:012d}",
        "status": "running" if progress else "success",
        "sequence": 1,
    }
    message = {"success": True, "message": "Task Progress" if progress else "Task Finish", "payload": payload}
    return orjson.dumps(["socket-notification", message, {"userId": user}])


async def publishes(server: Server, count: int = 20_000, window: int = 256) -> float:
    """Acknowledged notifications per second to 100 users nobody listens for."""
    bodies = [event(f"user{n % 100}", time.time_ns() + n, progress=False) for n in range(count)]
    async with crowd(server, ["publisher"]) as (publisher,):
        acknowledgement = len(frame(b'43100[{"ok":true}]')) - 4
        began = time.perf_counter()
        start = publisher.received
        for sent, body in enumerate(bodies):
            publisher.send(b"42%d%b" % (100 + sent % 900, body))
            while sent + 1 - (publisher.received - start) // acknowledgement >= window:
                await asyncio.sleep(0)
        while (publisher.received - start) // acknowledgement < count:
            await asyncio.sleep(0)
        return count / (time.perf_counter() - began)


async def fan_out(server: Server, users: list[str], messages: list[str], *, progress: bool = True) -> float:
    """Deliveries per second: one message to each of `messages`, received by all of its user's sockets."""
    async with crowd(server, users) as receivers, crowd(server, ["publisher"]) as (publisher,):
        await asyncio.sleep(0.3)
        sockets_of = {user: users.count(user) for user in set(messages)}
        expected = sum(sockets_of[user] for user in messages)
        size = len(event(messages[0], 0, progress=progress)) + 2 + 4
        before = sum(receiver.received for receiver in receivers)
        began = time.perf_counter()
        for number, user in enumerate(messages):
            publisher.send(b"42" + event(user, number, progress=progress))
            if number % 20 == 0:
                await asyncio.sleep(0)
        while sum(receiver.received for receiver in receivers) - before < expected * size:
            await asyncio.sleep(0.002)
        return expected / (time.perf_counter() - began)


async def room(server: Server) -> float:
    return await fan_out(server, ["ann"] * 100, ["ann"] * 2000)


async def stored(server: Server) -> float:
    return await fan_out(server, ["ann"] * 100, ["ann"] * 1000, progress=False)


async def users(server: Server) -> float:
    names = [f"user{n:04d}" for n in range(1000)]
    return await fan_out(server, names, names * 40)


async def connects(server: Server) -> float:
    """Connections per second, namespace included, 50 at a time."""
    names = [f"user{n}" for n in range(1500)]
    began = time.perf_counter()
    async with crowd(server, names):
        return len(names) / (time.perf_counter() - began)


async def memory(server: Server) -> float:
    """Resident kB per idle connection."""
    async with crowd(server, [f"warm{n}" for n in range(100)]):
        await asyncio.sleep(0.3)
    before = server.memory()
    async with crowd(server, [f"user{n}" for n in range(1000)]):
        await asyncio.sleep(1)
        return (server.memory() - before) / 1024 / 1000


CELLS = {"publish": publishes, "stored": stored, "room": room, "users": users, "connects": connects, "memory": memory}


def main() -> None:
    arguments = _arguments()
    if arguments.serve:
        port, folder, name = arguments.serve
        uvloop.run(serve(int(port), Path(folder), name))
        return
    for cell in arguments.only or CELLS:
        found: dict[str, list[float]] = {name: [] for name in SERVERS}
        for _ in range(arguments.runs):
            for name in SERVERS:
                with tempfile.TemporaryDirectory() as folder, started(name, Path(folder)) as server:
                    found[name].append(uvloop.run(CELLS[cell](server)))
        medians = {name: statistics.median(values) for name, values in found.items()}
        row = "  ".join(
            f"{name} {medians[name]:>9,.0f} [{min(found[name]):,.0f}-{max(found[name]):,.0f}]"
            f" {medians[name] / medians['js']:.2f}x"
            for name in SERVERS
        )
        print(f"{cell:9} {row}", flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", choices=list(CELLS), action="append")
    parser.add_argument("--serve", nargs=3, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
