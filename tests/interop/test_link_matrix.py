"""The link against every kind of server under every condition: nothing is lost, and each user's order is kept.

`make test` runs one server; `pytest -m matrix`, and with it `make test-all`, runs them all.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support.fault_proxy import fault_proxy
from tests.support.js import NodeProcess, js_server
from tests.support.link_log import assert_operators_can_act
from tests.support.message_source import ListSource, message
from tests.support.nginx import plain_nginx
from tests.support.notifiers import fast_settings, running_notifier
from tests.support.python_server import python_server
from worker.notifiers.socketio.events import Disconnect, ServerError

MANY = 100
USERS = 4


@dataclass(frozen=True)
class Kind:
    """One kind of server."""

    name: str
    levers: Mapping[str, Any] = field(default_factory=dict)
    requirements: str | None = None
    python: bool = False
    keeps_order: bool = True
    """False: it handles events in threads; the link then needs WebSocket:Window 1."""

    @contextlib.asynccontextmanager
    async def run(self, **levers: Any) -> AsyncIterator[NodeProcess]:
        chosen = {**self.levers, **levers}
        if self.python:
            async with python_server(self.requirements, **chosen) as server:
                yield server
        else:
            async with js_server(**chosen) as server:
                yield server


KINDS = [
    Kind("socket.io-1.7", {"version": 1}),
    Kind("socket.io-2.5", {"version": 2}),
    Kind("socket.io-2.5-ws-8", {"version": 2, "wsEngine": "ws"}),
    Kind("socket.io-3.1", {"version": 3}),
    Kind("socket.io-4", {"version": 4}),
    Kind("socket.io-4-allowEIO3", {"version": 4, "allowEIO3": True}),
    Kind("python-socketio-4", {"kind": "aiohttp"}, "python-socketio-4", python=True),
    Kind("python-socketio-5", {"kind": "aiohttp"}, python=True),
    Kind("flask-socketio-5", {"kind": "flask"}, "flask-socketio-5", python=True, keeps_order=False),
]


@dataclass(frozen=True)
class Condition:
    """What is particular about a cell: levers of the server, settings of the link."""

    name: str
    levers: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    acks: bool = True


CONDITIONS = [
    Condition("ack"),
    Condition("no-ack", {"acks": False}, {"ack_timeout": 600}, acks=False),
    Condition("polling", settings={"transports": ("polling",)}),
    Condition("upgrade", settings={"transports": ("polling", "websocket")}),
    Condition("namespace", {"namespace": "/org"}, {"namespace": "/org"}),
    Condition("query-token", {"queryToken": "secret"}, {"query": {"token": "secret"}}),
    Condition("small-payload", {"maxPayload": 3000}, {"max_payload": 3000}),
    Condition("ping-1s", {"pingInterval": 1000, "pingTimeout": 20_000}),
]
SMALL = [kind for kind in KINDS if kind.name == "socket.io-2.5"]
every_kind = pytest.mark.parametrize(
    "kind",
    [
        *[pytest.param(kind, id=kind.name) for kind in SMALL],
        *[pytest.param(kind, id=kind.name, marks=pytest.mark.matrix) for kind in KINDS if kind not in SMALL],
    ],
)


def notes(first: int, last: int, *, padding: int = 0) -> list[Any]:
    return [message(number, user=f"user-{number % USERS}", padding=padding) for number in range(first, last + 1)]


def settings_of(kind: Kind, url: str, **changes: Any) -> Any:
    window = {} if kind.keeps_order else {"window": 1}
    return fast_settings(url, **window, **changes)


def assert_all_arrived(ids: list[int], count: int = MANY) -> None:
    """Each number arrived, and for each user the first arrivals are in order; repeats are allowed."""
    first = list(dict.fromkeys(ids))
    assert sorted(first) == list(range(1, count + 1))
    for user in range(USERS):
        of_user = [number for number in first if number % USERS == user]
        assert of_user == sorted(of_user)


async def received(server: NodeProcess) -> list[int]:
    """Return the numbers that the server has handled. A fence shows that they are parsed: handlers that run in
    threads may still have to handle the last ones."""
    async with asyncio.timeout(120):
        while len(set(ids := (await server.report())["ids"])) < MANY:
            await asyncio.sleep(0.02)
    return list(ids)


@every_kind
@pytest.mark.parametrize("condition", CONDITIONS, ids=lambda condition: condition.name)
async def test_every_notification_arrives_in_order(kind: Kind, condition: Condition) -> None:
    source = ListSource(notes(1, MANY, padding=6000 if condition.name == "small-payload" else 0))
    async with kind.run(**condition.levers) as server:
        settings = settings_of(kind, server.url, **condition.settings)
        async with running_notifier(settings, source) as link:
            await source.until(MANY, seconds=120)
            ids = await received(server)
            assert source.rejections == {}
            assert_all_arrived(ids)
            lines = assert_operators_can_act(link.events.events)
            loud = [line for line in lines if line.level in ("WARNING", "ERROR")]
            if condition.acks:
                assert ids == list(range(1, MANY + 1)), "nothing is sent twice"
                assert loud == [], "a session without faults writes no warning"
            else:
                assert link.notifier.status().mode == "fence"
                # On a busy machine a pong may come too late as well; then the session ends with a warning first.
                [alarm] = [line.text for line in loud if line.level == "ERROR"]
                assert "check WebSocket:Event and WebSocket:Namespace" in alarm


_FIVE_SECONDS = ("socket.io-1.7", "socket.io-4", "python-socketio-5")


@every_kind
async def test_idle_connection_behind_nginx_survives_after_two_cuts(kind: Kind, tmp_path: Path) -> None:
    await survive_idle_cuts(kind, tmp_path, idle_seconds=1)


@pytest.mark.matrix
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.name in _FIVE_SECONDS], ids=lambda kind: kind.name)
async def test_idle_connection_behind_nginx_of_5_seconds_survives_after_two_cuts(kind: Kind, tmp_path: Path) -> None:
    await survive_idle_cuts(kind, tmp_path, idle_seconds=5)


async def survive_idle_cuts(kind: Kind, tmp_path: Path, *, idle_seconds: int) -> None:
    source = ListSource(notes(1, MANY // 2))
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(kind.run())
        url = stack.enter_context(plain_nginx(tmp_path / "nginx", server.port, idle_seconds=idle_seconds))
        link = await stack.enter_async_context(running_notifier(settings_of(kind, url), source))
        await source.until(MANY // 2, seconds=120)
        learned = await link.events.one(ServerError, seconds=120)
        assert "of silence" in learned.detail
        source.add(*notes(MANY // 2 + 1, MANY))
        await source.until(MANY, seconds=120)
        assert_all_arrived((await server.report())["ids"])
        assert len(link.events.of(Disconnect)) >= 2  # on a busy machine a ping may be late, and be cut once more
        lines = assert_operators_can_act(link.events.events)
        assert any("nginx: proxy_read_timeout" in line.text for line in lines)


@every_kind
async def test_killed_and_cut_server_misses_nothing(kind: Kind) -> None:
    source = ListSource(notes(1, MANY // 4))
    ids: list[int] = []
    async with contextlib.AsyncExitStack() as stack:
        first = await stack.enter_async_context(kind.run())
        proxy = await stack.enter_async_context(fault_proxy(first.port))
        async with running_notifier(settings_of(kind, proxy.url), source) as link:
            await source.until(MANY // 4, seconds=120)
            proxy.cut()
            source.add(*notes(MANY // 4 + 1, MANY // 2))
            await source.until(MANY // 2, seconds=120)
            proxy.reset()
            ids += (await first.report())["ids"]
            await first.kill()
            source.add(*notes(MANY // 2 + 1, MANY))
            async with kind.run() as second:
                proxy.target = second.port
                await source.until(MANY, seconds=120)
                ids += (await second.report())["ids"]
            assert len(link.events.of(Disconnect)) >= 2
            lines = assert_operators_can_act(link.events.events)
            assert any("connection lost after" in line.text for line in lines)
    assert_all_arrived(ids)
