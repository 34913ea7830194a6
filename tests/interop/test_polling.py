"""The link over HTTP long-polling, and upgraded from it, against real servers of Socket.IO 1 to 4."""

from typing import Any

import pytest

from tests.support.js import js_server
from tests.support.message_source import ListSource, message
from tests.support.notifiers import fast_settings, running_notifier
from tests.support.ports import free_port
from worker.notifiers.socketio.events import Connect, ConnectError, Disconnect, Reconnect

VERSIONS = [1, 2, 3, 4]


def notes(first: int, last: int) -> list[Any]:
    return [message(number, user="สมชาย 🧑") for number in range(first, last + 1)]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("transports", [("polling",), ("polling", "websocket"), ("websocket", "polling")])
async def test_polling_and_its_upgrade_deliver_everything_in_order(version: int, transports: tuple[str, ...]) -> None:
    source = ListSource(notes(1, 300))
    async with (
        js_server(version=version) as server,
        running_notifier(fast_settings(server.url, transports=transports), source) as link,
    ):
        await source.until(300)
        dialect = (await link.events.one(Connect)).dialect
        assert dialect.endswith("long-polling" if transports == ("polling",) else "WebSocket")
        assert (await server.report())["ids"] == list(range(1, 301))
        assert link.events.of(Disconnect) == link.events.of(ConnectError) == []
        source.add(*notes(301, 350))
        await source.until(350)
        link.stop.set()
        await link.task
        assert link.events.of(Disconnect)[0].ours


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("transports", [("websocket", "polling"), ("polling", "websocket")])
async def test_server_without_websocket_is_reached_by_polling(version: int, transports: tuple[str, ...]) -> None:
    source = ListSource(notes(1, 100))
    async with (
        js_server(version=version, transports=["polling"]) as server,
        running_notifier(fast_settings(server.url, transports=transports), source) as link,
    ):
        await source.until(100)
        assert (await link.events.one(Connect)).dialect.endswith("over long-polling")


@pytest.mark.parametrize("version", [2, 4])
async def test_server_without_websocket_names_the_setting(version: int) -> None:
    async with (
        js_server(version=version, transports=["polling"]) as server,
        running_notifier(fast_settings(server.url)) as link,
    ):
        assert "WebSocket:Transports" in (await link.events.one(ConnectError)).cause


@pytest.mark.parametrize("version", [2, 4])
async def test_server_without_polling_names_the_setting(version: int) -> None:
    async with (
        js_server(version=version, transports=["websocket"]) as server,
        running_notifier(fast_settings(server.url, transports=("polling",), slow_retry_delay=60000)) as link,
    ):
        assert 'set WebSocket:Transports to ["websocket"]' in (await link.events.one(ConnectError)).cause


@pytest.mark.parametrize("version", VERSIONS)
async def test_server_that_never_acknowledges_over_polling_confirms_by_its_answers(version: int) -> None:
    source = ListSource(notes(1, 200))
    settings = {"transports": ("polling",), "ack_timeout": 500}
    async with (
        js_server(version=version, acks=False) as server,
        running_notifier(fast_settings(server.url, **settings), source) as link,
    ):
        await source.until(200)
        assert link.notifier.status().mode == "fence"
        # On a busy machine an answer may come too late; then the notifications are sent again.
        assert list(dict.fromkeys((await server.report())["ids"])) == list(range(1, 201))


@pytest.mark.parametrize("version", VERSIONS)
async def test_heartbeats_over_polling_keep_the_session(version: int) -> None:
    source = ListSource(notes(1, 10))
    async with (
        js_server(version=version, pingInterval=200, pingTimeout=60_000) as server,
        running_notifier(fast_settings(server.url, transports=("polling",)), source) as link,
    ):
        await source.until(10)
        pongs: set[object] = set()
        while len(pongs) < 4:
            pongs.add(link.notifier.status().last_pong)
            source.add(message(len(source.messages) + 1))
            await source.until(len(source.messages))
        assert link.events.of(Disconnect) == []


@pytest.mark.parametrize("version", [2, 4])
@pytest.mark.parametrize("command", [{"do": "kick"}, {"do": "kick", "close": True}, {"do": "engineClose"}])
async def test_link_reconnects_over_polling(version: int, command: dict[str, Any]) -> None:
    source = ListSource(notes(1, 50))
    async with (
        js_server(version=version) as server,
        running_notifier(fast_settings(server.url, transports=("polling",)), source) as link,
    ):
        await source.until(50)
        server.send(**command)
        await link.events.one(Reconnect)
        source.add(*notes(51, 100))
        await source.until(100)
        assert (await server.report())["ids"] == list(range(1, 101))


async def test_killed_server_is_noticed_over_polling_and_misses_nothing() -> None:
    source = ListSource()
    port = free_port()
    async with (
        js_server(port=port) as first,
        running_notifier(fast_settings(first.url, transports=("polling",)), source) as link,
    ):
        source.add(*notes(1, 1000))
        await source.until(100)
        await first.kill()
        await link.events.one(Disconnect)
        async with js_server(port=port) as second:
            await source.until(1000)
            after = (await second.report())["ids"]
    assert after == list(range(after[0], 1001))
