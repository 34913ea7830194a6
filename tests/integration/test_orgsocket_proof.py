"""The modes of proof over real WebSockets."""

import asyncio
from pathlib import Path

from aiohttp import WSMsgType

from tests.support.bad_servers import Stage, bad_server, note_in
from tests.support.channels import quick, running
from tests.support.eventually import eventually
from tests.support.fault_proxy import fault_proxy
from tests.support.feed import ListFeed, message
from tests.support.socketio_server import socketio_server
from worker.orgsocket.link import Connect, Disconnect, Error
from worker.orgsocket.peers import Peers


async def _deaf(stage: Stage, *, pongs: int, then: str = "") -> None:
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


async def test_fence_mode_proves_receipt_at_a_server_that_never_acks() -> None:
    feed = ListFeed([message(number) for number in range(1, 1001)])
    async with socketio_server() as server, running(quick(server.url, confirmation="fence"), feed) as link:
        await feed.until(1000)
        assert link.channel.figures().mode == "fence"
        assert server.numbers == list(range(1, 1001))
        assert link.events.of(Disconnect) == []


async def test_one_pong_is_no_proof() -> None:
    feed = ListFeed([message(1)])
    async with (
        bad_server(lambda stage: _deaf(stage, pongs=1)) as server,
        running(quick(server.url, confirmation="fence", ack_timeout=200), feed) as link,
    ):
        await link.events.one(Disconnect, count=2)
        assert feed.watermark == 0
        assert server.seen[:2] == [1, 1]


async def test_a_disconnect_packet_before_the_second_pong_voids_it() -> None:
    feed = ListFeed([message(1)])
    async with (
        bad_server(lambda stage: _deaf(stage, pongs=1, then="41")) as server,
        running(quick(server.url, confirmation="fence"), feed) as link,
    ):
        await link.events.one(Disconnect, count=3)
        assert feed.watermark == 0
        assert server.seen[:3] == [1, 1, 1]


async def test_heartbeat_mode_proves_receipt_by_the_servers_own_pings() -> None:
    async def script(stage: Stage) -> None:
        await stage.greet(ping_interval=200, ping_timeout=150)

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

    feed = ListFeed([message(1), message(2)])
    async with bad_server(script) as server, running(quick(server.url, confirmation="heartbeat"), feed) as link:
        await feed.until(2)
        assert server.seen == [1, 2]
        assert link.channel.figures().mode == "heartbeat"
        p50 = link.channel.figures().ack_ms_p50
        assert p50 is not None
        assert p50 > 150


async def test_heartbeat_mode_works_against_a_real_server() -> None:
    feed = ListFeed([message(number) for number in range(1, 301)])
    async with (
        socketio_server(ping_interval=1, ping_timeout=1) as server,
        running(quick(server.url, confirmation="heartbeat"), feed) as link,
    ):
        await feed.until(300)
        assert server.numbers == list(range(1, 301))
        assert link.events.of(Disconnect) == []


async def test_without_confirmation_a_notification_is_done_when_it_is_written() -> None:
    feed = ListFeed([message(number) for number in range(1, 301)])
    async with (
        bad_server(lambda stage: _deaf(stage, pongs=0)) as server,
        running(quick(server.url, confirmation="none"), feed),
    ):
        await feed.until(300)
        await eventually(lambda: server.seen == list(range(1, 301)))


async def test_auto_falls_back_to_fences_and_says_so() -> None:
    feed = ListFeed([message(number) for number in range(1, 11)])
    async with (
        bad_server(lambda stage: _deaf(stage, pongs=1000)) as server,
        running(quick(server.url, ack_timeout=1000), feed) as link,
    ):
        await feed.until(10)
        assert link.channel.figures().mode == "fence"
        assert "never acknowledges" in link.events.of(Error)[0].detail
        assert server.seen == list(range(1, 11))
        link.channel.reconnect()
        assert (await link.events.one(Connect, count=2)).mode == "fence"
        feed.add(message(11))
        await feed.until(11)


async def test_auto_returns_to_acknowledgements_at_the_first_one() -> None:
    async def script(stage: Stage) -> None:
        await stage.greet()
        async for frame in stage.ws:
            if frame.type is WSMsgType.PING:
                await stage.ws.pong(frame.data)
            elif found := note_in(frame.data):
                stage.seen.append(found[1])
                if found[1] > 1:
                    await stage.send(f"43{found[0]}[]")

    feed = ListFeed([message(1)])
    async with bad_server(script) as server, running(quick(server.url, ack_timeout=300), feed) as link:
        await feed.until(1)
        assert link.channel.figures().mode == "fence"
        feed.add(message(2))
        await feed.until(2)
        await eventually(lambda: link.channel.figures().mode == "ack")


async def test_what_a_server_is_known_for_survives_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "peers.json"
    feed = ListFeed([message(1)])
    async with socketio_server() as server:
        async with running(quick(server.url), feed, peers=Peers(file)):
            await feed.until(1)
        assert Peers(file).of(server.url).acks


async def test_a_broken_memory_of_servers_is_done_without(tmp_path: Path) -> None:
    file = tmp_path / "peers.json"
    for content in (b"", b"[]", b'{"http://x": 7}', b"\xff"):
        file.write_bytes(content)
        assert not Peers(file).of("http://x").acks
    Peers(tmp_path / "no" / "such" / "folder.json").remember()


async def test_fences_lose_nothing_when_the_line_breaks() -> None:
    feed = ListFeed()
    async with socketio_server() as server, fault_proxy(server.port) as proxy:
        async with running(quick(proxy.url, confirmation="fence", ack_timeout=250), feed, pulse=0.2) as link:
            for fault in (proxy.cut, proxy.reset, proxy.stall, proxy.hole):
                await link.events.one(Connect, count=len(link.events.of(Disconnect)) + 1)
                first = len(feed.messages) + 1
                feed.add(*[message(number) for number in range(first, first + 200)])
                await feed.until(first)
                fault()
                await feed.until(first + 199)
        assert server.numbers == list(range(1, 801))


async def test_the_figures_tell_what_happened() -> None:
    feed = ListFeed([message(number) for number in range(1, 101)])
    async with socketio_server() as server, running(quick(server.url), feed) as link:
        await feed.until(100)
        figures = link.channel.figures()
        assert (figures.total_connections, figures.total_messages, figures.in_flight) == (1, 100, 0)
        assert figures.ack_ms_p50 is not None
        assert figures.ack_ms_p99 is not None
        assert 0 < figures.ack_ms_p50 <= figures.ack_ms_p99
        assert figures.connected_since is not None
        assert server.url in figures.status_en
        link.channel.reconnect()
        await link.events.one(Connect, count=2)
        assert link.channel.figures().reconnect_attempts == 1
    assert link.channel.figures().connected_since is None


async def test_credentials_and_headers_are_read_for_every_attempt(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("first\n")
    async with socketio_server() as server:
        settings = quick(server.url, token_file=str(token), headers={"X-Org": "7", "Cookie": "a=b"})
        async with running(settings) as link:
            await link.events.one(Connect)
            token.write_text("second")
            link.channel.reconnect()
            await link.events.one(Connect, count=2)
        assert server.auths == [{"token": "first"}, {"token": "second"}]
        assert [(seen["X-Org"], seen["Cookie"]) for seen in server.headers] == [("7", "a=b")] * 2


async def test_a_relative_token_file_lies_under_the_content_root(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("relative")
    async with socketio_server() as server:
        async with running(quick(server.url, token_file="token"), content_root=tmp_path) as link:
            await link.events.one(Connect)
        assert server.auths == [{"token": "relative"}]


async def test_connect_to_names_another_server_and_its_key() -> None:
    async with socketio_server() as server, socketio_server() as other:
        async with running(quick(server.url)) as link:
            await link.events.one(Connect)
            link.channel.connect_to(other.url, lambda: "key")
            link.channel.reconnect()
            assert (await link.events.one(Connect, count=2)).url == other.url
        assert other.auths == [{"token": "key"}]
