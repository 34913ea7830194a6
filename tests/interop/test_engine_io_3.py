"""The link against servers of Socket.IO 1, 2, 3 and 4: it finds out which Engine.IO they speak."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.eventually import eventually
from tests.support.js import js_server
from tests.support.message_source import ListSource, message
from tests.support.notifiers import fast_settings, running_notifier
from tests.support.ports import free_port
from worker.notifiers.socketio.events import Connect, ConnectError, Disconnect, Reconnect, ServerError
from worker.notifiers.socketio.server_capabilities import ServerCapabilitiesStore

OLD = [
    pytest.param({"version": 1}, id="1.7"),
    pytest.param({"version": 2}, id="2.5"),
    pytest.param({"version": 2, "wsEngine": "ws"}, id="2.5-newer-ws"),
    pytest.param({"version": 2, "transports": ["websocket"]}, id="2.5-websocket-only"),
]


def notes(first: int, last: int) -> list[Any]:
    return [message(number) for number in range(first, last + 1)]


@pytest.mark.parametrize("levers", OLD)
async def test_old_server_receives_everything_once_and_in_order(levers: dict[str, Any]) -> None:
    source = ListSource(notes(1, 500))
    async with js_server(**levers) as server, running_notifier(fast_settings(server.url), source) as link:
        await source.until(500)
        assert (await link.events.one(Connect)).dialect == "Engine.IO 3 over WebSocket"
        assert (await server.report())["ids"] == list(range(1, 501))
        assert link.notifier.status().mode == "ack"
        assert link.events.of(ConnectError) == link.events.of(Disconnect) == []


@pytest.mark.parametrize(
    ("levers", "setting", "dialect"),
    [
        ({"version": 3}, "auto", 4),
        ({"version": 4}, "auto", 4),
        ({"version": 4, "allowEIO3": True}, "auto", 4),
        ({"version": 4, "allowEIO3": True}, "3", 3),
        ({"version": 2}, "3", 3),
    ],
)
async def test_version_is_chosen_by_setting_and_server(levers: dict[str, Any], setting: str, dialect: int) -> None:
    source = ListSource(notes(1, 200))
    async with (
        js_server(**levers) as server,
        running_notifier(fast_settings(server.url, engine_io=setting), source) as link,
    ):
        await source.until(200)
        assert (await link.events.one(Connect)).dialect == f"Engine.IO {dialect} over WebSocket"
        assert (await server.report())["ids"] == list(range(1, 201))


@pytest.mark.parametrize(("levers", "setting"), [({"version": 2}, "4"), ({"version": 4}, "3")])
async def test_server_of_a_version_that_the_setting_excludes_is_named(levers: dict[str, Any], setting: str) -> None:
    async with (
        js_server(**levers) as server,
        running_notifier(fast_settings(server.url, engine_io=setting, slow_retry_delay=60000)) as link,
    ):
        failed = await link.events.one(ConnectError)
        assert f"Engine.IO {7 - int(setting)}" in failed.cause
        assert "set WebSocket:EngineIO to auto" in failed.cause
        assert (await link.events.one(ServerError)).alarm


async def test_version_is_remembered_and_an_upgraded_server_is_noticed(tmp_path: Path) -> None:
    file, port = tmp_path / "peers.json", free_port()
    async with js_server(version=2, port=port) as old:
        url = old.url
        async with running_notifier(fast_settings(url), servers=ServerCapabilitiesStore(file)) as link:
            await link.events.one(Connect)
            while (await old.next("connection"))["eio"] != "3":
                pass
            await eventually(lambda: '"engineIo":3' in file.read_text() if file.exists() else False)
        async with running_notifier(fast_settings(url), servers=ServerCapabilitiesStore(file)) as link:
            await link.events.one(Connect)
            assert (await old.next("connection"))["eio"] == "3"
    source = ListSource(notes(1, 20))
    async with (
        js_server(port=port) as new,
        running_notifier(fast_settings(new.url), source, servers=ServerCapabilitiesStore(file)) as link,
    ):
        await source.until(20)
        assert (await link.events.one(Connect)).dialect == "Engine.IO 4 over WebSocket"
        assert link.events.of(ConnectError) == []


async def test_version_4_is_asked_for_again_after_an_upgrade_that_keeps_version_3() -> None:
    servers = ServerCapabilitiesStore()
    async with js_server(allowEIO3=True) as server:
        servers.of(server.url).engine_io = 3
        async with running_notifier(fast_settings(server.url), servers=servers) as link:
            assert (await link.events.one(Connect)).dialect == "Engine.IO 3 over WebSocket"
            link.notifier.reconnect()
            assert (await link.events.one(Connect, count=2)).dialect == "Engine.IO 4 over WebSocket"


@pytest.mark.parametrize("version", [1, 2])
async def test_old_server_that_never_acknowledges_confirms_by_pongs(version: int) -> None:
    source = ListSource(notes(1, 300))
    async with (
        js_server(version=version, acks=False) as server,
        running_notifier(fast_settings(server.url, ack_timeout=400), source) as link,
    ):
        await source.until(300)
        assert link.notifier.status().mode == "fence"
        # On a busy machine an answer may come too late; then the notifications are sent again.
        assert list(dict.fromkeys((await server.report())["ids"])) == list(range(1, 301))


@pytest.mark.parametrize("version", [1, 2])
async def test_heartbeat_mode_confirms_by_the_servers_answers(version: int) -> None:
    source = ListSource(notes(1, 300))
    async with (
        js_server(version=version, acks=False, pingInterval=200, pingTimeout=60_000) as server,
        running_notifier(fast_settings(server.url, confirmation="heartbeat"), source) as link,
    ):
        await source.until(300)
        assert link.events.of(Disconnect) == []
        assert (await server.report())["ids"] == list(range(1, 301))


async def test_token_is_sent_as_a_bearer_token() -> None:
    source = ListSource(notes(1, 10))
    async with (
        js_server(version=2, headerToken="right") as server,
        running_notifier(fast_settings(server.url, token="right"), source),
    ):
        await source.until(10)


async def test_rejected_token_raises_an_alarm() -> None:
    async with (
        js_server(version=2, headerToken="right") as server,
        running_notifier(fast_settings(server.url, token="wrong", slow_retry_delay=60000)) as link,
    ):
        assert (await link.events.one(ConnectError)).cause == "CONNECT_ERROR: not authorized"
        assert (await link.events.one(ServerError)).alarm


@pytest.mark.parametrize("command", [{"do": "kick"}, {"do": "kick", "close": True}, {"do": "engineClose"}])
async def test_link_reconnects_after_an_old_server_disconnects_it(command: dict[str, Any]) -> None:
    source = ListSource(notes(1, 100))
    async with js_server(version=2) as server, running_notifier(fast_settings(server.url), source) as link:
        await source.until(100)
        server.send(**command)
        await link.events.one(Reconnect)
        source.add(*notes(101, 200))
        await source.until(200)
        assert (await server.report())["ids"] == list(range(1, 201))
