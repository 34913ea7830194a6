"""The hub compared with the JavaScript socket.io server: acknowledged publishes, fan-out, connects, memory.

    python -m bench.hub [--runs 3] [--only publish|stored|room|users|polling|connects|memory] [--servers js ours/disk]

Each server is a process of its own; publisher and receivers are this process, which counts bytes instead of
reading frames, so that the server is what is measured. Servers take turns within a run; medians over the runs, and the
median of the CPU time that the server took in a run, which says more on a busy machine.
`ours/disk` writes every notification to its inbox, `ours/memory` keeps the inbox in memory; for fan-out the
messages are progress messages, which neither we nor the JavaScript server store. `stored` is fan-out of notifications
that are in the inbox before they are delivered (the JavaScript server just passes them on); `polling` is the same with
receivers that use HTTP long-polling, which confirm to ours what they have read.
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

from config.hub_settings import HubSettings
from config.link_settings import WebSocketSettings
from tests.support.ports import free_port
from tests.support.processes import cpu_seconds, resident_bytes
from tests.support.redis_server import RedisServer
from worker.core.clock import Clock
from worker.hub.config import HubConfig
from worker.hub.connection_limits import ConnectionLimits
from worker.hub.server import HubServer
from worker.hub.tokens import TokenService, load_key

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
        return resident_bytes(self.pid)

    def cpu_seconds(self) -> float:
        """CPU time of the process so far."""
        return cpu_seconds(self.pid)


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
        if process.stdout is not None:
            process.stdout.close()


def _tokens(name: str, folder: Path) -> Callable[[str], dict[str, str]]:
    if name == "js":
        return lambda user: {"user": user}
    authority = TokenService(load_key(folder / "hub.key")[0], "insignia-worker", "org-socket", Clock())
    return lambda user: {"token": authority.mint(user, publish=user == "publisher")}


async def serve(port: int, folder: Path, name: str) -> None:
    redis = os.environ["BENCH_REDIS"]
    settings = HubSettings(
        inbox_path="hub.db" if name == "ours/disk" else ":memory:", redis=SecretStr(redis) if redis else None
    )
    plenty = ConnectionLimits(
        total=100_000, per_address=100_000, per_user=100_000, attempts_per_second=1e6, attempt_burst=1e6
    )
    config = HubConfig(settings, WebSocketSettings(), folder, connection_limits=plenty)
    hub = HubServer(config, Clock(), _ignore)
    app = web.Application()
    hub.mount(app)
    await hub.start()
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=1024).start()
    print("up", flush=True)
    await asyncio.Event().wait()


def _ignore(_: Any) -> None: ...


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


class Poller:
    """A client on HTTP long-polling, with one connection for GET and one for POST, that counts events."""

    _HEADERS = "Host: bench\r\nUser-Agent: node-XMLHttpRequest"
    """As socket.io-client in Node."""

    def __init__(self, port: int, auth: dict[str, str]) -> None:
        self.events = 0
        self._port = port
        self._auth = auth
        self._path = f"{PATH}/?EIO=4&transport=polling"

    async def open(self) -> None:
        self._getting = await asyncio.open_connection("127.0.0.1", self._port)
        self._posting = await asyncio.open_connection("127.0.0.1", self._port)
        handshake = orjson.loads((await self._get())[1:])
        self._path += f"&sid={handshake['sid']}"
        await self._post(b"40" + orjson.dumps(self._auth))
        assert (await self._get()).startswith(b"40")

    async def run(self) -> None:
        while True:
            packets = (await self._get()).split(b"\x1e")
            self.events += sum(packet.startswith(b"42") for packet in packets)
            if b"2" in packets:
                await self._post(b"3")

    def close(self) -> None:
        self._getting[1].close()
        self._posting[1].close()

    async def _get(self) -> bytes:
        self._getting[1].write(f"GET {self._path} HTTP/1.1\r\n{self._HEADERS}\r\n\r\n".encode())
        return await self._body(self._getting[0])

    async def _post(self, body: bytes) -> None:
        head = f"POST {self._path} HTTP/1.1\r\n{self._HEADERS}\r\nContent-Type: text/plain\r\n"
        self._posting[1].write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        await self._body(self._posting[0])

    async def _body(self, reader: asyncio.StreamReader) -> bytes:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        assert b" 200 " in head, head
        return await reader.readexactly(int(head.split(b"content-length:")[1].split(b"\r\n")[0]))


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
        "jobId": f"0199a8a1-7a5b-7c3d-9e0f-{number % 10**12:012d}",
        "notificationId": f"00000000-0000-5000-8000-{number % 10**12:012d}",
        "status": "running" if progress else "success",
        "sequence": 1,
    }
    message = {"success": True, "message": "Task Progress" if progress else "Task Finish", "payload": payload}
    return orjson.dumps(["socket-notification", message, {"userId": user}])


async def publishes(server: Server, count: int = 20_000, window: int = 256) -> float:
    """Acknowledged notifications per second to 100 users without connections."""
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


async def polling(server: Server) -> float:
    """Deliveries per second to 100 receivers that poll, with at most 100 notifications on their way to each."""
    count, window, receivers = 2_000, 100, [Poller(server.port, server.token("ann")) for _ in range(100)]
    polls: list[asyncio.Task[None]] = []
    try:
        await asyncio.gather(*(receiver.open() for receiver in receivers))
        polls = [asyncio.create_task(receiver.run()) for receiver in receivers]
        async with crowd(server, ["publisher"]) as (publisher,):
            began = time.perf_counter()
            for number in range(count):
                while number - min(receiver.events for receiver in receivers) >= window:
                    await asyncio.sleep(0)
                publisher.send(b"42" + event("ann", number, progress=False))
            while sum(receiver.events for receiver in receivers) < count * len(receivers):
                await asyncio.sleep(0.002)
            return count * len(receivers) / (time.perf_counter() - began)
    finally:
        for poll in polls:
            poll.cancel()
        for receiver in receivers:
            receiver.close()


CELLS: dict[str, Callable[[Server], Any]] = {
    "publish": publishes,
    **{cell.__name__: cell for cell in (stored, room, users, polling, connects, memory)},
}


def main() -> None:
    arguments = _arguments()
    if arguments.serve:
        port, folder, name = arguments.serve
        uvloop.run(serve(int(port), Path(folder), name))
        return
    for cell in arguments.only or CELLS:
        print(f"{cell:9} {_row(CELLS[cell], arguments.servers, arguments.runs)}", flush=True)


def _row(cell: Callable[[Server], Any], servers: list[str], runs: int) -> str:
    found, cpu = ({name: list[float]() for name in servers} for _ in range(2))
    for _ in range(runs):
        for name in servers:
            with tempfile.TemporaryDirectory() as folder, started(name, Path(folder)) as server:
                before = server.cpu_seconds()
                found[name].append(uvloop.run(cell(server)))
                cpu[name].append(server.cpu_seconds() - before)
    medians = {name: statistics.median(values) for name, values in found.items()}
    return "  ".join(
        f"{name} {medians[name]:>9,.0f} [{min(found[name]):,.0f}-{max(found[name]):,.0f}]"
        f" {medians[name] / medians[servers[0]]:.2f}x, CPU {statistics.median(cpu[name]):.2f} s"
        for name in servers
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", choices=list(CELLS), action="append")
    parser.add_argument("--servers", choices=SERVERS, nargs="+", default=SERVERS, help="the first is the measure")
    parser.add_argument("--serve", nargs=3, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
