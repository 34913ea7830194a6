"""The link against the real JavaScript Socket.IO server."""

from typing import Any

import pytest

from tests.support.eventually import eventually
from tests.support.js import js_server
from tests.support.message_source import ListSource, message
from tests.support.notifiers import fast_settings, running_notifier
from tests.support.ports import free_port
from worker.core.store import OutboxMessage
from worker.notifiers.socketio.events import Connect, ConnectError, Disconnect, Reconnect, ServerError


def notes(first: int, last: int) -> list[OutboxMessage]:
    return [message(number) for number in range(first, last + 1)]


async def test_acknowledging_server_receives_everything_once_and_in_order() -> None:
    source = ListSource(notes(1, 2000))
    async with js_server() as server, running_notifier(fast_settings(server.url), source) as link:
        await source.until(2000)
        assert (await server.report())["ids"] == list(range(1, 2001))
        assert link.notifier.status().mode == "ack"
        assert link.events.of(Disconnect) == []


async def test_silent_server_is_recognised_and_loses_nothing() -> None:
    source = ListSource(notes(1, 1000))
    async with (
        js_server(acks=False) as server,
        running_notifier(fast_settings(server.url, ack_timeout=400), source) as link,
    ):
        await source.until(1000)
        assert link.notifier.status().mode == "fence"
        # On a busy machine an answer may come too late; then the notifications are sent again.
        assert list(dict.fromkeys((await server.report())["ids"])) == list(range(1, 1001))
        server.send(do="acks", on=True)
        source.add(*notes(1001, 1010))
        await source.until(1010)
        await eventually(lambda: link.notifier.status().mode == "ack")


async def test_fence_mode_confirms_at_a_silent_server() -> None:
    source = ListSource(notes(1, 3000))
    async with (
        js_server(acks=False) as server,
        running_notifier(fast_settings(server.url, confirmation="fence"), source),
    ):
        await source.until(3000)
        assert (await server.report())["ids"] == list(range(1, 3001))


async def test_heartbeat_mode_confirms_at_a_silent_server() -> None:
    source = ListSource(notes(1, 500))
    async with (
        js_server(acks=False, pingInterval=300, pingTimeout=60_000) as server,
        running_notifier(fast_settings(server.url, confirmation="heartbeat"), source),
    ):
        await source.until(500)
        assert (await server.report())["ids"] == list(range(1, 501))


async def test_rejection_by_the_server_is_reported() -> None:
    source = ListSource(notes(1, 5))
    async with js_server(refuse=3) as server, running_notifier(fast_settings(server.url), source):
        await source.until(5)
        assert source.rejections == {3: "not for us"}


async def test_binary_acknowledgement_counts() -> None:
    source = ListSource(notes(1, 50))
    async with js_server(binary=True) as server, running_notifier(fast_settings(server.url), source) as link:
        await source.until(50)
        assert link.events.of(ServerError) == []


async def test_connection_state_recovery_is_supported() -> None:
    source = ListSource(notes(1, 100))
    async with (
        js_server(recovery=True, greet=True) as server,
        running_notifier(fast_settings(server.url), source) as link,
    ):
        await source.until(100)
        server.send(do="emit", arguments=["error", "look here"])
        assert (await link.events.one(ServerError)) == ServerError("the server", "look here")
        link.notifier.reconnect()
        await link.events.one(Connect, count=2)
        source.add(*notes(101, 200))
        await source.until(200)
        assert (await server.report())["ids"] == list(range(1, 201))


async def test_second_namespace_receives_nothing() -> None:
    source = ListSource(notes(1, 300))
    async with js_server(second=True) as server, running_notifier(fast_settings(server.url), source):
        await source.until(300)
        report = await server.report()
    assert report["ids"] == list(range(1, 301))
    assert report["strays"] == 0


async def test_wrong_token_raises_an_alarm_until_it_is_accepted() -> None:
    source = ListSource(notes(1, 10))
    async with (
        js_server(token="right") as server,
        running_notifier(fast_settings(server.url, token="wrong", slow_retry_delay=60000), source) as link,
    ):
        assert (await link.events.one(ConnectError)).cause == "CONNECT_ERROR: not authorized"
        assert (await link.events.one(ServerError)).alarm
        server.send(do="token", current="wrong")
        await server.report()
        link.notifier.reconnect()
        await source.until(10)


@pytest.mark.parametrize(
    "command",
    [{"do": "kick"}, {"do": "kick", "close": True}, {"do": "engineClose"}],
    ids=["namespace", "close", "engine"],
)
async def test_link_reconnects_after_the_server_disconnects_it(command: dict[str, Any]) -> None:
    source = ListSource(notes(1, 100))
    async with js_server() as server, running_notifier(fast_settings(server.url), source) as link:
        await source.until(100)
        server.send(**command)
        await link.events.one(Reconnect)
        source.add(*notes(101, 200))
        await source.until(200)
        assert (await server.report())["ids"] == list(range(1, 201))


async def test_killed_server_misses_nothing_after_its_restart() -> None:
    source = ListSource()
    port = free_port()
    async with js_server(port=port) as first, running_notifier(fast_settings(first.url), source) as link:
        source.add(*notes(1, 3000))
        await source.until(500)
        confirmed = source.watermark
        await first.kill()
        await link.events.one(Disconnect)
        async with js_server(port=port) as second:
            await source.until(3000)
            after = (await second.report())["ids"]
    assert after == list(range(after[0], 3001))
    assert after[0] <= source.watermark
    assert after[0] >= confirmed + 1, "what was confirmed before the kill is not sent again"


async def test_frame_over_the_servers_limit_is_never_sent() -> None:
    source = ListSource([message(1, padding=20000), *notes(2, 20)])
    async with js_server(maxPayload=5000) as server, running_notifier(fast_settings(server.url), source) as link:
        await source.until(20)
        assert link.events.of(Disconnect) == []
        assert (await server.report())["ids"] == list(range(1, 21))
