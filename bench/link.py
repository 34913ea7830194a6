"""Acknowledged notifications per second to a server: ours, python-socketio, the JS client, raw aiohttp.

    python bench/link.py [--seconds 2] [--repeats 3] [--windows 1,64,256,1000] [--only PREFIX] [--hub]

--hub measures against our own hub instead, with its inbox on disk.

Needs Node and the packages in tests/interop (npm ci). Every cell runs in a process of its own, medians over the
repeats; the runs of one repeat follow each other, so that a noisy machine hits all of them alike.
"""

import argparse
import asyncio
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import socketio
import uvloop

sys.path.insert(0, str(Path(__file__).parents[1]))

from config.link_settings import WebSocketSettings
from tests.support.hub import running_hub
from tests.support.js import INTEROP, js_server, node_or_skip
from worker.core.clock import Clock
from worker.core.store import OutboxMessage
from worker.notifiers.socketio.notifier import SocketIoNotifier
from worker.notifiers.socketio.server_capabilities import ServerCapabilitiesStore

PATH = "/api/v1/org-socket"
USERS = 100


def note(number: int) -> list[Any]:
    """Notification `number` as the worker sends it: ids of its own, one of 100 users, 300 bytes of text."""
    payload = {
        "completedAt": "2026-11-20T08:15:30.123Z",
        "taskType": "insignia_background_processing",
        "duration": 1234.56,
        "status": "success",
        "stackTrace": "x" * 300,
        "jobId": f"0193a0f0-0000-7000-8000-{number:012d}",
        "notificationId": f"00000000-0000-5000-8000-{number:012d}",
        "attempt": 1,
        "sequence": number // USERS + 1,
    }
    message = {"success": True, "message": "Task Finish", "payload": payload}
    return [message, {"userId": f"4064c2b2-0414-464a-97c6-{number % USERS:012d}"}]


def body_of(number: int) -> bytes:
    """The encoded event: a template with its few changing digits filled in, so that encoding costs next to nothing."""
    return _TEMPLATE % (number, number, number // USERS + 1, number % USERS)


def _template() -> bytes:
    message, user = note(0)
    message["payload"] |= {
        "jobId": message["payload"]["jobId"][:-12] + "%012d",
        "notificationId": message["payload"]["notificationId"][:-12] + "%012d",
        "sequence": "%d",
    }
    user["userId"] = user["userId"][:-12] + "%012d"
    return orjson.dumps(["socket-notification", message, user]).replace(b'"%d"', b"%d")


_TEMPLATE = _template()


class EndlessSource:
    """Always has more messages; counts what is confirmed."""

    def __init__(self) -> None:
        self.confirmed_up_to = 0
        self._next = 0

    async def take(self, limit: int) -> Sequence[OutboxMessage]:
        start, self._next = self._next + 1, self._next + limit
        return [
            OutboxMessage(number, "note", "job", "user", body_of(number)) for number in range(start, self._next + 1)
        ]

    def rewind(self) -> None:
        self._next = self.confirmed_up_to

    def confirmed(self, up_to: int) -> None:
        self.confirmed_up_to = up_to

    def rejected(self, message_id: int, reason: str) -> None:
        raise AssertionError(f"{message_id}: {reason}")


async def ours(url: str, window: int, seconds: float, token: str) -> float:
    source = EndlessSource()
    settings = WebSocketSettings(url=url, window=window, token=token)
    notifier = SocketIoNotifier(settings, ServerCapabilitiesStore(), emit=lambda _event: None, clock=Clock())
    task = asyncio.create_task(notifier.run(source, asyncio.Event()))
    rate = await _measured(lambda: source.confirmed_up_to, seconds)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return rate


async def _measured(count: Any, seconds: float) -> float:
    """Return the rate after a quarter of the time for warming up."""
    await asyncio.sleep(seconds / 4)
    before, began = count(), time.perf_counter()
    await asyncio.sleep(seconds)
    return float((count() - before) / (time.perf_counter() - began))


async def stock(url: str, window: int, seconds: float, token: str, *, codec: Any) -> float:
    """The stock client as documented: emit with a callback, a semaphore for the window."""
    client = socketio.AsyncClient(handle_sigint=False, **({"json": codec} if codec else {}))
    room, done, numbers = asyncio.Semaphore(window), 0, itertools.count(1)

    def acknowledged(*_arguments: Any) -> None:
        nonlocal done
        done += 1
        room.release()

    async def pump() -> None:
        while True:
            await room.acquire()
            await client.emit("socket-notification", tuple(note(next(numbers))), callback=acknowledged)

    await client.connect(url, transports=["websocket"], socketio_path=PATH.strip("/"), auth={"token": token})
    task = asyncio.create_task(pump())
    rate = await _measured(lambda: done, seconds)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await client.disconnect()
    return rate


class OrjsonModule:
    dumps = staticmethod(lambda value, **_named: orjson.dumps(value).decode())
    loads = staticmethod(orjson.loads)


async def raw(url: str, window: int, seconds: float, token: str) -> float:
    """The bare WebSocket with the same frames: nothing is kept but a counter. The upper limit."""
    done = sent = 0
    room = asyncio.Event()

    async def pump(line: aiohttp.ClientWebSocketResponse) -> None:
        nonlocal sent
        while True:
            while sent - done < window:
                sent += 1
                await line.send_frame(b"42%d%b" % (sent, body_of(sent)), aiohttp.WSMsgType.TEXT)
            room.clear()
            await room.wait()

    async def read(line: aiohttp.ClientWebSocketResponse) -> None:
        nonlocal done
        async for message in line:
            if message.data.startswith("43"):
                done += 1
                room.set()
            elif message.data == "2":
                await line.send_str("3")

    async with aiohttp.ClientSession() as http, http.ws_connect(f"{url}{PATH}/?EIO=4&transport=websocket") as line:
        await line.receive()
        await line.send_str("40" + json.dumps({"token": token}))
        await line.receive()
        tasks = [asyncio.create_task(pump(line)), asyncio.create_task(read(line))]
        rate = await _measured(lambda: done, seconds)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return rate


CONTENDERS: dict[str, Any] = {
    "stock asyncio/json": lambda *a: asyncio.run(stock(*a, codec=None)),
    "stock uvloop/orjson": lambda *a: uvloop.run(stock(*a, codec=OrjsonModule)),
    "ours asyncio": lambda *a: asyncio.run(ours(*a)),
    "ours uvloop": lambda *a: uvloop.run(ours(*a)),
    "raw aiohttp asyncio": lambda *a: asyncio.run(raw(*a)),
    "raw aiohttp uvloop": lambda *a: uvloop.run(raw(*a)),
}


def one(name: str, url: str, window: int, seconds: float, token: str) -> float:
    """Measure one cell in a process of its own."""
    if name == "js client":
        levers = json.dumps({"url": url, "window": window, "seconds": seconds, "token": token, "note": note(1)})
        command = [node_or_skip(), str(INTEROP / "bench_client.js"), levers]
    else:
        command = [sys.executable, __file__, "--cell", json.dumps([name, url, window, seconds, token])]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1])


@asynccontextmanager
async def _js() -> AsyncIterator[tuple[str, str]]:
    async with js_server(silent=True) as server:
        yield server.url, "any"


@asynccontextmanager
async def _hub() -> AsyncIterator[tuple[str, str]]:
    """Our hub in a process of its own, as the JavaScript server is."""
    command = [sys.executable, __file__, "--serve"]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stdin=subprocess.PIPE)
    assert process.stdout is not None
    try:
        url, token = json.loads(await process.stdout.readline())
        yield url, token
    finally:
        process.kill()
        await process.wait()


async def serve_hub() -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with running_hub(Path(folder)) as hub:
            print(json.dumps([hub.url, hub.hub.worker_token()]), flush=True)
            await asyncio.to_thread(sys.stdin.read)


async def table(windows: list[int], repeats: int, seconds: float, only: str, *, hub: bool) -> None:
    names = [name for name in (*CONTENDERS, "js client") if name.startswith(only)]
    found: dict[tuple[str, int], list[float]] = {}
    for _ in range(repeats):
        for window in windows:
            for name in names:
                async with _hub() if hub else _js() as (url, token):
                    rate = await asyncio.to_thread(one, name, url, window, seconds, token)
                found.setdefault((name, window), []).append(rate)
    server = "our hub" if hub else "the JavaScript server"
    print(f"acknowledged notifications per second to {server}, medians of {repeats}")
    print(f"{'':28}" + "".join(f"{f'window {window}':>14}" for window in windows))
    for name in names:
        cells = (statistics.median(found[name, window]) for window in windows)
        print(f"{name:28}" + "".join(f"{cell:14,.0f}" for cell in cells))
    _ratios(found, windows)


def _ratios(found: dict[tuple[str, int], list[float]], windows: list[int]) -> None:
    pairs = [
        ("ours asyncio", "stock asyncio/json"),
        ("ours asyncio", "raw aiohttp asyncio"),
        ("ours uvloop", "stock asyncio/json"),
        ("ours uvloop", "stock uvloop/orjson"),
        ("ours uvloop", "raw aiohttp uvloop"),
        ("ours uvloop", "js client"),
    ]
    for mine, other in pairs:
        if (mine, windows[0]) in found and (other, windows[0]) in found:
            cells = (statistics.median(found[mine, w]) / statistics.median(found[other, w]) for w in windows)
            print(f"{mine + ' / ' + other:40}" + "".join(f"{cell:8.2f}x" for cell in cells))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--windows", default="1,64,256,1000")
    parser.add_argument("--only", default="")
    parser.add_argument("--hub", action="store_true")
    parser.add_argument("--cell", help=argparse.SUPPRESS)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.cell:
        name, *rest = json.loads(options.cell)
        print(CONTENDERS[name](*rest))
        return
    if options.serve:
        uvloop.run(serve_hub())
        return
    windows = [int(window) for window in options.windows.split(",")]
    asyncio.run(table(windows, options.repeats, options.seconds, options.only, hub=options.hub))


if __name__ == "__main__":
    main()
