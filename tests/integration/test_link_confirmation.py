"""The confirmation modes over real WebSockets."""

import asyncio
from pathlib import Path

from aiohttp import WSMsgType

from tests.support.bad_servers import ScriptedConnection, bad_server, note_in
from tests.support.eventually import eventually
from tests.support.fault_proxy import fault_proxy
from tests.support.message_source import ListSource, message
from tests.support.notifiers import fast_settings, running_notifier
from tests.support.socketio_server import socketio_server
from worker.notifiers.socketio.events import Connect, Disconnect, ServerError
from worker.notifiers.socketio.server_capabilities import ServerCapabilitiesStore


async def _deaf(stage: ScriptedConnection, *, pongs: int, then: str = "") -> None:
    """Reads everything, acknowledges nothing, answers so many pings; then says its last word before the next pong."""
    await stage.greet()
    answered = 0
    async for frame in stage.ws:
        if frame.type is WSMsgType.PING:
            if then and answered == pongs:
                await stage.send(then)
            if then or answered < pongs:
                await stage.ws.pong(frame.data)
            answered += 1
        elif found := note_in(frame.data):
            stage.seen.append(found[1])


async def test_fence_mode_confirms_at_a_server_that_never_acknowledges() -> None:
    source = ListSource([message(number) for number in range(1, 1001)])
    async with (
        socketio_server() as server,
        running_notifier(fast_settings(server.url, confirmation="fence"), source) as link,
    ):
        await source.until(1000)
        assert link.notifier.status().mode == "fence"
        assert server.numbers == list(range(1, 1001))
        assert link.events.of(Disconnect) == []


async def test_fence_mode_does_not_confirm_with_one_pong() -> None:
    source = ListSource([message(1)])
    async with (
        bad_server(lambda stage: _deaf(stage, pongs=1)) as server,
        running_notifier(fast_settings(server.url, confirmation="fence", ack_timeout=200), source) as link,
    ):
        await link.events.one(Disconnect, count=2)
        assert source.watermark == 0
        await eventually(lambda: server.seen[:2] == [1, 1])


async def test_fence_mode_ignores_a_pong_after_a_disconnect_packet() -> None:
    source = ListSource([message(1)])
    async with (
        bad_server(lambda stage: _deaf(stage, pongs=1, then="41")) as server,
        running_notifier(fast_settings(server.url, confirmation="fence"), source) as link,
    ):
        await link.events.one(Disconnect, count=3)
        assert source.watermark == 0
        await eventually(lambda: server.seen[:3] == [1, 1, 1])


async def test_heartbeat_mode_confirms_with_the_servers_heartbeat() -> None:
    async def script(stage: ScriptedConnection) -> None:
        await stage.greet(ping_interval=200, ping_timeout=5000)

        async def beat() -> None:
            while True:
                await asyncio.sleep(0.2)
                await stage.send("2")

        beating = asyncio.create_task(beat())
        try:
            async for _ in stage.notes():
                pass
        finally:
            beating.cancel()

    source = ListSource([message(1), message(2)])
    async with (
        bad_server(script) as server,
        running_notifier(fast_settings(server.url, confirmation="heartbeat"), source) as link,
    ):
        await source.until(2)
        assert server.seen == [1, 2]
        assert link.notifier.status().mode == "heartbeat"
        p50 = link.notifier.status().ack_ms_p50
        assert p50 is not None
        assert p50 > 150


async def test_heartbeat_mode_confirms_at_a_python_socketio_server() -> None:
    source = ListSource([message(number) for number in range(1, 301)])
    async with (
        # Both ends give up when they hear nothing for a ping timeout, which a busy machine must not exceed.
        socketio_server(ping_interval=1, ping_timeout=4) as server,
        running_notifier(fast_settings(server.url, confirmation="heartbeat"), source) as link,
    ):
        await source.until(300)
        assert server.numbers == list(range(1, 301))
        assert link.events.of(Disconnect) == []


async def test_none_mode_confirms_when_a_message_is_written() -> None:
    source = ListSource([message(number) for number in range(1, 301)])
    async with (
        bad_server(lambda stage: _deaf(stage, pongs=0)) as server,
        running_notifier(fast_settings(server.url, confirmation="none"), source),
    ):
        await source.until(300)
        await eventually(lambda: server.seen == list(range(1, 301)))


async def test_auto_mode_falls_back_to_fence_and_reports_it() -> None:
    source = ListSource([message(number) for number in range(1, 11)])
    async with (
        bad_server(lambda stage: _deaf(stage, pongs=1000)) as server,
        # Within half of it a busy machine must answer two pings, or everything is sent again.
        running_notifier(fast_settings(server.url, ack_timeout=3000), source) as link,
    ):
        await source.until(10)
        assert link.notifier.status().mode == "fence"
        assert "no acknowledgement for event" in link.events.of(ServerError)[0].detail
        assert link.events.of(ServerError)[0].alarm
        assert server.seen == list(range(1, 11))
        link.notifier.reconnect()
        assert (await link.events.one(Connect, count=2)).mode == "fence"
        source.add(message(11))
        await source.until(11)


async def test_auto_mode_returns_to_ack_at_the_first_acknowledgement() -> None:
    async def script(stage: ScriptedConnection) -> None:
        await stage.greet()
        async for frame in stage.ws:
            if frame.type is WSMsgType.PING:
                await stage.ws.pong(frame.data)
            elif found := note_in(frame.data):
                stage.seen.append(found[1])
                if found[1] > 1:
                    await stage.send(f"43{found[0]}[]")

    source = ListSource([message(1)])
    async with (
        bad_server(script) as server,
        running_notifier(fast_settings(server.url, ack_timeout=3000), source) as link,
    ):
        await source.until(1)
        assert link.notifier.status().mode == "fence"
        source.add(message(2))
        await source.until(2)
        await eventually(lambda: link.notifier.status().mode == "ack")


async def test_server_capabilities_survive_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "peers.json"
    source = ListSource([message(1)])
    async with socketio_server() as server:
        async with running_notifier(fast_settings(server.url), source, ServerCapabilitiesStore(file)):
            await source.until(1)
        assert ServerCapabilitiesStore(file).of(server.url).acks


async def test_server_capabilities_ignore_an_unreadable_file(tmp_path: Path) -> None:
    file = tmp_path / "peers.json"
    for content in (b"", b"[]", b'{"http://x": 7}', b"\xff"):
        file.write_bytes(content)
        assert not ServerCapabilitiesStore(file).of("http://x").acks
    ServerCapabilitiesStore(tmp_path / "no" / "such" / "folder.json").save()


async def test_fence_mode_loses_nothing_when_the_connection_breaks() -> None:
    source = ListSource()
    async with socketio_server() as server, fault_proxy(server.port) as proxy:
        async with running_notifier(
            fast_settings(proxy.url, confirmation="fence", ack_timeout=250), source, keep_alive=0.2
        ) as link:
            for fault in (proxy.cut, proxy.reset, proxy.stall, proxy.hole):
                await link.events.one(Connect, count=len(link.events.of(Disconnect)) + 1)
                first = len(source.messages) + 1
                source.add(*[message(number) for number in range(first, first + 200)])
                await source.until(first)
                fault()
                await source.until(first + 199)
        assert server.numbers == list(range(1, 801))


async def test_status_counts_sessions_messages_and_attempts() -> None:
    source = ListSource([message(number) for number in range(1, 101)])
    async with socketio_server() as server, running_notifier(fast_settings(server.url), source) as link:
        await source.until(100)
        figures = link.notifier.status()
        assert (figures.total_connections, figures.total_messages, figures.in_flight) == (1, 100, 0)
        assert figures.ack_ms_p50 is not None
        assert figures.ack_ms_p99 is not None
        assert 0 < figures.ack_ms_p50 <= figures.ack_ms_p99
        assert figures.connected_since is not None
        assert server.url in figures.status_en
        link.notifier.reconnect()
        await link.events.one(Connect, count=2)
        assert link.notifier.status().reconnect_attempts == 1
    assert link.notifier.status().connected_since is None


async def test_credentials_are_read_for_every_attempt(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("first\n")
    async with socketio_server() as server:
        settings = fast_settings(server.url, token_file=str(token), headers={"X-Org": "7", "Cookie": "a=b"})
        async with running_notifier(settings) as link:
            await link.events.one(Connect)
            token.write_text("second")
            link.notifier.reconnect()
            await link.events.one(Connect, count=2)
        assert server.auths == [{"token": "first"}, {"token": "second"}]
        assert [(seen["X-Org"], seen["Cookie"]) for seen in server.headers] == [("7", "a=b")] * 2


async def test_token_file_is_relative_to_the_content_root(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("relative")
    async with socketio_server() as server:
        async with running_notifier(fast_settings(server.url, token_file="token"), content_root=tmp_path) as link:
            await link.events.one(Connect)
        assert server.auths == [{"token": "relative"}]


async def test_connect_to_uses_the_other_server_and_its_token() -> None:
    async with socketio_server() as server, socketio_server() as other:
        async with running_notifier(fast_settings(server.url)) as link:
            await link.events.one(Connect)
            link.notifier.connect_to(other.url, lambda: "key")
            link.notifier.reconnect()
            assert (await link.events.one(Connect, count=2)).url == other.url
        assert other.auths == [{"token": "key"}]
