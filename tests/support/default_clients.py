"""Socket.IO clients of every kind with their default options, each as a user of its own, and what each received."""

import asyncio
import contextlib
import gc
import json
import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import orjson
import socketio

from tests.support.history.events import Received
from tests.support.hub import EVENT, PATH, PATIENCE
from tests.support.js import INTEROP, json_process, node_or_skip

JAVASCRIPT = ("socket.io-client", "socket.io-client-3", "socket.io-client-2", "socket.io-client-1")
PYTHON = ("python-async", "python-sync", "python-simple", "python-simple-async")
CHROMIUM = "chromium"


@dataclass(slots=True)
class Receiver:
    """One client, named after its user. It shows each notification once, as docs/clients.md asks of a page."""

    name: str
    changed: asyncio.Event
    connects: int = 0
    received: list[Received] = field(default_factory=list)
    shown: dict[str, str] = field(default_factory=dict)
    """Bodies by notification id, in the order of their first arrival."""
    handled: set[str] = field(default_factory=set)
    """The ids that the client's handler was called with."""

    def connected(self) -> None:
        self.connects += 1
        self.changed.set()

    def receive(self, message: dict[str, Any], user: dict[str, Any]) -> None:
        """Note what arrived, and that a handler was called with it."""
        self.note(message, user)
        self.handle(message)

    def handle(self, message: dict[str, Any]) -> None:
        self.handled.add(message["payload"]["notificationId"])
        self.changed.set()

    def note(self, message: dict[str, Any], user: dict[str, Any]) -> None:
        body = orjson.dumps([EVENT, message, user]).decode()
        self.received.append(Received(self.name, body, self.name, connection=str(self.connects)))
        self.shown.setdefault(message["payload"]["notificationId"], body)
        self.changed.set()


@dataclass(slots=True)
class Receivers:
    """All of them. Every change is made in the event loop."""

    changed: asyncio.Event = field(default_factory=asyncio.Event)
    by_name: dict[str, Receiver] = field(default_factory=dict)

    def add(self, name: str) -> Receiver:
        return self.by_name.setdefault(name, Receiver(name, self.changed))

    async def until(self, holds: Callable[[Receiver], bool], seconds: float = 4 * PATIENCE) -> None:
        """Wait until it holds for every receiver."""
        try:
            async with asyncio.timeout(seconds):
                while not all(map(holds, self.by_name.values())):
                    self.changed.clear()
                    await self.changed.wait()
        except TimeoutError:
            found = {one.name: (one.connects, len(one.received), len(one.shown)) for one in self.by_name.values()}
            raise AssertionError(f"connects, received, shown: {found}") from None

    async def until_handled(self, count: int) -> None:
        """Wait until the handler of every client was called with so many notifications."""
        await self.until(lambda one: len(one.handled) >= count)

    def history(self) -> Iterable[Received]:
        """What arrived, and what was shown of it."""
        for one in self.by_name.values():
            yield from one.received
            yield from (
                Received(f"{one.name}, shown", body, one.name, drops_repeats=True) for body in one.shown.values()
            )


@dataclass(frozen=True, slots=True)
class Place:
    """Where the hub is, and who may connect."""

    url: str
    token_of: Callable[[str], str]
    base: str = ""
    """What comes before the path of the hub."""

    @property
    def path(self) -> str:
        return self.base + PATH

    def options(self, name: str) -> dict[str, Any]:
        """How python-socketio connects as this user. By default it gives up the first attempt after a second."""
        return {"socketio_path": self.path, "auth": {"token": self.token_of(name)}, "wait_timeout": PATIENCE}


@contextlib.asynccontextmanager
async def default_clients(place: Place, chromium: Any = None) -> AsyncIterator[Receivers]:
    """Connect one client of each kind; `chromium` adds one in a page of this browser."""
    receivers = Receivers()
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(_in_node(place, receivers))
        for name, connect in zip(PYTHON, (_async, _sync, _simple, _simple_async), strict=True):
            await stack.enter_async_context(connect(place, receivers.add(name)))
        if chromium is not None:
            await stack.enter_async_context(_in_chromium(place, receivers.add(CHROMIUM), chromium))
        await receivers.until(lambda one: one.connects > 0)
        yield receivers
    gc.collect()  # the WebSockets that python-engineio did not close, while the test that expects them is running


@contextlib.asynccontextmanager
async def _in_node(place: Place, receivers: Receivers) -> AsyncIterator[None]:
    node = await asyncio.to_thread(node_or_skip)
    clients = [{"client": name, "name": receivers.add(name).name, "token": place.token_of(name)} for name in JAVASCRIPT]
    script = str(INTEROP / "default_clients.js")
    async with json_process(node, script, place.url, place.path, json.dumps(clients)) as started:
        reading = asyncio.create_task(_read(started.process, receivers))
        try:
            yield
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)


async def _read(process: asyncio.subprocess.Process, receivers: Receivers) -> None:
    assert process.stdout is not None
    while line := await process.stdout.readline():
        what, name, *rest = orjson.loads(line)
        if what == "connect":
            receivers.by_name[name].connected()
        else:
            receivers.by_name[name].receive(*rest)


@contextlib.asynccontextmanager
async def _async(place: Place, receiver: Receiver) -> AsyncIterator[None]:
    client = socketio.AsyncClient(handle_sigint=False, request_timeout=PATIENCE)
    client.on("connect", receiver.connected)
    client.on(EVENT, receiver.receive)
    await client.connect(place.url, **place.options(receiver.name))
    try:
        yield
    finally:
        await client.shutdown()


@contextlib.asynccontextmanager
async def _sync(place: Place, receiver: Receiver) -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()
    client = socketio.Client(handle_sigint=False, request_timeout=PATIENCE)
    client.on("connect", lambda: loop.call_soon_threadsafe(receiver.connected))
    client.on(EVENT, lambda message, _user: loop.call_soon_threadsafe(receiver.handle, message))
    await asyncio.to_thread(client.connect, place.url, **place.options(receiver.name))
    _note_arrivals(client, receiver, loop)
    try:
        yield
    finally:
        await asyncio.to_thread(end_client, client)


def end_client(client: socketio.Client) -> None:
    """Disconnect and wait until nothing connects again; `shutdown` alone can leave a client that has just done so."""
    client.reconnection = False
    while client.eio.state != "disconnected" or _connects_again(client):
        if client._reconnect_abort is not None:
            client._reconnect_abort.set()  # each time, as a task that has only just begun clears it first
        if client.eio.state == "connected":
            client.disconnect()
        time.sleep(0.01)


def _connects_again(client: socketio.Client) -> bool:
    return client._reconnect_task is not None and client._reconnect_task.is_alive()


def _note_arrivals(client: socketio.Client, receiver: Receiver, loop: asyncio.AbstractEventLoop) -> None:
    """Note events as they arrive: the library calls the handlers in threads of their own, in no certain order."""
    receive = client.eio._receive_packet

    def note(packet: Any) -> None:
        if isinstance(packet.data, str) and packet.data.startswith("2["):
            event, *arguments = orjson.loads(packet.data[1:])
            if event == EVENT:
                loop.call_soon_threadsafe(receiver.note, *arguments)
        receive(packet)

    client.eio._receive_packet = note


@contextlib.asynccontextmanager
async def _simple(place: Place, receiver: Receiver) -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()
    client = socketio.SimpleClient(handle_sigint=False, request_timeout=PATIENCE)

    def receive() -> None:
        with contextlib.suppress(socketio.exceptions.DisconnectedError):
            while True:
                event, *arguments = client.receive()
                if event == EVENT:
                    loop.call_soon_threadsafe(receiver.handle, arguments[0])

    await asyncio.to_thread(client.connect, place.url, **place.options(receiver.name))
    receiver.connected()
    _note_arrivals(client.client, receiver, loop)
    receiving = asyncio.create_task(asyncio.to_thread(receive))
    try:
        yield
    finally:
        # Not SimpleClient.disconnect(): while the client is connecting again, `receive` would wait on without an end.
        await asyncio.to_thread(end_client, client.client)
        client.input_event.set()  # what it waits for, if it was connected
        await receiving


@contextlib.asynccontextmanager
async def _simple_async(place: Place, receiver: Receiver) -> AsyncIterator[None]:
    client = socketio.AsyncSimpleClient(handle_sigint=False, request_timeout=PATIENCE)

    async def receive() -> None:
        while True:
            event, *arguments = await client.receive()
            if event == EVENT:
                receiver.receive(*arguments)

    await client.connect(place.url, **place.options(receiver.name))
    receiver.connected()
    receiving = asyncio.create_task(receive())
    try:
        yield
    finally:
        receiving.cancel()
        await asyncio.gather(receiving, return_exceptions=True)
        await client.client.shutdown()


_CONNECT = """
([path, token]) => {
  const socket = io(location.origin, { path, auth: { token } });
  socket.on("connect", () => window.connected());
  socket.on("socket-notification", (message, user) => window.received(message, user));
}
"""


@contextlib.asynccontextmanager
async def _in_chromium(place: Place, receiver: Receiver, chromium: Any) -> AsyncIterator[None]:
    page = await chromium.new_page()
    page.set_default_timeout(4 * PATIENCE * 1000)
    await page.expose_function("connected", lambda: receiver.connected())
    await page.expose_function("received", lambda *event: receiver.receive(*event))
    await page.goto(f"{place.url}{place.base}/page/status.html")
    await page.evaluate((INTEROP / "node_modules/socket.io-client/dist/socket.io.min.js").read_text(encoding="utf-8"))
    await page.evaluate(_CONNECT, [place.path, place.token_of(receiver.name)])
    try:
        yield
    finally:
        await page.close()
