"""The link against the real JavaScript Socket.IO server."""

import pytest

from tests.support.channels import quick, running
from tests.support.eventually import eventually
from tests.support.feed import ListFeed, message
from tests.support.js import js_server
from worker.orgsocket.link import Connect, ConnectError, Disconnect, Error, Reconnect


def notes(first: int, last: int) -> list:
    return [message(number) for number in range(first, last + 1)]


@pytest.mark.parametrize("fast", [True, False], ids=["fast", "library"])
async def test_a_server_that_acks_gets_everything_once_and_in_order(fast: bool) -> None:
    feed = ListFeed(notes(1, 2000))
    async with js_server() as server, running(quick(server.url), feed, fast=fast) as link:
        await feed.until(2000)
        assert (await server.report())["ids"] == list(range(1, 2001))
        assert link.channel.figures().mode == "ack"
        assert link.events.of(Disconnect) == []


@pytest.mark.parametrize("fast", [True, False], ids=["fast", "library"])
async def test_a_server_that_never_acks_is_recognised_and_loses_nothing(fast: bool) -> None:
    feed = ListFeed(notes(1, 1000))
    async with js_server(acks=False) as server, running(quick(server.url, ack_timeout=400), feed, fast=fast) as link:
        await feed.until(1000)
        assert link.channel.figures().mode == "fence"
        assert (await server.report())["ids"] == list(range(1, 1001))
        server.tell(do="acks", on=True)
        feed.add(*notes(1001, 1010))
        await feed.until(1010)
        await eventually(lambda: link.channel.figures().mode == "ack")


async def test_fences_hold_against_a_server_that_never_acks() -> None:
    feed = ListFeed(notes(1, 3000))
    async with js_server(acks=False) as server, running(quick(server.url, confirmation="fence"), feed):
        await feed.until(3000)
        assert (await server.report())["ids"] == list(range(1, 3001))


async def test_heartbeats_hold_against_a_server_that_never_acks() -> None:
    feed = ListFeed(notes(1, 500))
    async with (
        js_server(acks=False, pingInterval=300, pingTimeout=200) as server,
        running(quick(server.url, confirmation="heartbeat"), feed),
    ):
        await feed.until(500)
        assert (await server.report())["ids"] == list(range(1, 501))


async def test_a_refusal_by_the_server_is_passed_on() -> None:
    feed = ListFeed(notes(1, 5))
    async with js_server(refuse=3) as server, running(quick(server.url), feed):
        await feed.until(5)
        assert feed.refused == {3: "not for us"}


async def test_a_binary_acknowledgement_is_one() -> None:
    feed = ListFeed(notes(1, 50))
    async with js_server(binary=True) as server, running(quick(server.url), feed) as link:
        await feed.until(50)
        assert link.events.of(Error) == []


async def test_connection_state_recovery_disturbs_nothing() -> None:
    feed = ListFeed(notes(1, 100))
    async with js_server(recovery=True, greet=True) as server, running(quick(server.url), feed) as link:
        await feed.until(100)
        server.tell(do="emit", arguments=["error", "look here"])
        assert (await link.events.one(Error)) == Error("the server", "look here")
        link.channel.reconnect()
        await link.events.one(Connect, count=2)
        feed.add(*notes(101, 200))
        await feed.until(200)
        assert (await server.report())["ids"] == list(range(1, 201))


async def test_a_second_namespace_on_the_same_server_gets_none_of_it() -> None:
    feed = ListFeed(notes(1, 300))
    async with js_server(second=True) as server, running(quick(server.url), feed):
        await feed.until(300)
        report = await server.report()
    assert report["ids"] == list(range(1, 301))
    assert report["strays"] == 0


async def test_a_wrong_token_is_refused_slowly_and_a_right_one_accepted() -> None:
    feed = ListFeed(notes(1, 10))
    async with (
        js_server(token="right") as server,
        running(quick(server.url, token="wrong", slow_retry_delay=60000), feed) as link,
    ):
        assert (await link.events.one(ConnectError)).cause == "CONNECT_ERROR: not authorized"
        assert (await link.events.one(Error)).alarm
        server.tell(do="token", current="wrong")
        await server.report()
        link.channel.reconnect()
        await feed.until(10)


@pytest.mark.parametrize(
    "command",
    [{"do": "kick"}, {"do": "kick", "close": True}, {"do": "engineClose"}],
    ids=["namespace", "close", "engine"],
)
async def test_being_thrown_out_is_not_the_end(command: dict) -> None:
    feed = ListFeed(notes(1, 100))
    async with js_server() as server, running(quick(server.url), feed) as link:
        await feed.until(100)
        server.tell(**command)
        await link.events.one(Reconnect)
        feed.add(*notes(101, 200))
        await feed.until(200)
        assert (await server.report())["ids"] == list(range(1, 201))


async def test_a_killed_server_that_comes_back_misses_nothing() -> None:
    feed = ListFeed()
    async with js_server() as first:
        port = first.port
        async with running(quick(first.url), feed) as link:
            feed.add(*notes(1, 3000))
            await feed.until(500)
            proven = feed.watermark
            await first.kill()
            await link.events.one(Disconnect)
            async with js_server(port=port) as second:
                await feed.until(3000)
                after = (await second.report())["ids"]
    assert after == list(range(after[0], 3001))
    assert after[0] <= feed.watermark
    assert after[0] >= proven + 1, "what was proven before the kill is not sent again"


async def test_a_frame_over_the_servers_limit_is_never_sent() -> None:
    feed = ListFeed([message(1, padding=20000), *notes(2, 20)])
    async with js_server(maxPayload=5000) as server, running(quick(server.url), feed) as link:
        await feed.until(20)
        assert link.events.of(Disconnect) == []
        assert (await server.report())["ids"] == list(range(1, 21))


async def test_a_server_of_socket_io_2_is_named() -> None:
    async with js_server(version=2) as server, running(quick(server.url, slow_retry_delay=60000)) as link:
        failed = await link.events.one(ConnectError)
        assert "Engine.IO 3" in failed.cause
        assert (await link.events.one(Error)).alarm
