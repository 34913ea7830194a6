"""The link against servers that misbehave: it names what is wrong, and comes back."""

import asyncio
import socket

import orjson
import pytest

from tests.support.bad_servers import Stage, acking, acking_on, bad_server, http_server, mute_server, note_in
from tests.support.channels import quick, running
from tests.support.eventually import eventually
from tests.support.feed import ListFeed, message
from tests.support.socketio_server import socketio_server
from worker.orgsocket.link import Connect, ConnectError, Disconnect, Error, Reconnect, ReconnectFailed, State

# -- attempts that fail ------------------------------------------------------------------------------------------------


async def test_a_server_that_accepts_and_says_nothing_fails_the_attempt_in_time() -> None:
    async with mute_server() as url, running(quick(url, timeout=200)) as link:
        cause = "no answer within 0.2 s while waiting for TCP, TLS and the WebSocket upgrade"
        await link.events.one(ConnectError, count=2, where=lambda failed: failed.cause == cause)


async def _no_open(stage: Stage) -> None:
    await stage.hold()


async def _no_connect(stage: Stage) -> None:
    await stage.send('0{"sid":"a","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000}')
    await stage.hold()


@pytest.mark.parametrize(("script", "stage"), [(_no_open, "the OPEN packet"), (_no_connect, "the CONNECT packet")])
async def test_a_server_that_stops_half_way_through_the_handshake_fails_the_attempt_in_time(
    script: object, stage: str
) -> None:
    async with bad_server(script) as server, running(quick(server.url, timeout=200)) as link:  # type: ignore[arg-type]
        cause = f"no answer within 0.2 s while waiting for {stage}"
        await link.events.one(ConnectError, count=2, where=lambda failed: failed.cause == cause)


@pytest.mark.parametrize("code", [1000, 1001, 1011, 4408])
async def test_a_server_that_accepts_and_closes_is_tried_again_until_it_is_well(code: int) -> None:
    async def script(stage: Stage) -> None:
        if stage.number < 4:
            await stage.ws.close(code=code)
        else:
            await acking(stage)

    feed = ListFeed([message(1)])
    async with bad_server(script) as server, running(quick(server.url), feed) as link:
        await feed.until(1)
        assert [event.cause for event in link.events.of(ConnectError)] == [
            f"the server closed the connection ({code})"
        ] * 3


@pytest.mark.parametrize(
    "opening",
    [
        "0not json",
        "hello",
        "0{}",
        '0{"sid":"a","pingInterval":"x","pingTimeout":1}',
        "0",
        "",
        '0{"sid":"a","pingInterval":0,"pingTimeout":0}',
        "9",
        "4",
    ],
)
async def test_a_junk_open_packet_fails_the_attempt(opening: str) -> None:
    async def script(stage: Stage) -> None:
        if stage.number == 1:
            await stage.send(opening)
            await stage.hold()
        else:
            await acking(stage)

    feed = ListFeed([message(1)])
    async with bad_server(script) as server, running(quick(server.url, timeout=500), feed) as link:
        await feed.until(1)
        assert len(link.events.of(ConnectError)) == 1


async def test_a_binary_open_packet_fails_the_attempt() -> None:
    async def script(stage: Stage) -> None:
        if stage.number == 1:
            await stage.ws.send_bytes(b"\x00\x01")
            await stage.hold()
        else:
            await acking(stage)

    feed = ListFeed([message(1)])
    async with bad_server(script) as server, running(quick(server.url, timeout=300), feed):
        await feed.until(1)


async def test_slow_authentication_is_waited_for_on_every_attempt() -> None:
    async def script(stage: Stage) -> None:
        await asyncio.sleep(1.2)  # longer than the one second the library waits on a reconnect
        await acking(stage)

    async with bad_server(script) as server, running(quick(server.url, timeout=5000)) as link:
        await link.events.one(Connect)
        link.channel.reconnect()
        await link.events.one(Connect, count=2)
        assert link.events.of(ConnectError) == []


async def test_an_engine_io_3_server_is_named_and_not_hammered() -> None:
    async def script(stage: Stage) -> None:
        await stage.send('0{"sid":"a","upgrades":[],"pingInterval":25000,"pingTimeout":5000}')
        await stage.send("40")
        await stage.hold()

    async with bad_server(script) as server, running(quick(server.url, slow_retry_delay=60000)) as link:
        alarm = await link.events.one(Error)
        assert alarm.alarm
        assert "Engine.IO 3" in link.events.of(ConnectError)[0].cause
        assert "Engine.IO 3" in link.channel.figures().status_en


@pytest.mark.parametrize(("status", "alarm"), [(401, True), (403, True), (404, False), (502, False), (200, False)])
async def test_an_http_answer_instead_of_the_upgrade_is_named(status: int, alarm: bool) -> None:
    async with http_server(status) as url, running(quick(url)) as link:
        failed = await link.events.one(ConnectError)
        assert failed.cause == f"HTTP {status} instead of the WebSocket upgrade at /api/v1/org-socket"
        if alarm:
            assert (await link.events.one(Error)).alarm
        else:
            await link.events.one(ConnectError, count=2)
            assert link.events.of(Error) == []


async def test_a_400_from_a_server_of_the_old_protocol_is_explained() -> None:
    async with http_server(400) as url, running(quick(url)) as link:
        assert (await link.events.one(ConnectError)).cause.startswith("HTTP 400")


async def test_a_refused_port_is_told_with_its_innermost_cause(unused_tcp_port: int) -> None:
    async with running(quick(f"http://127.0.0.1:{unused_tcp_port}")) as link:
        failed = await link.events.one(ConnectError)
    assert failed.cause.startswith("ConnectionRefusedError")


async def test_a_name_that_cannot_be_resolved_is_told_with_its_innermost_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(*_arguments: object, **_named: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nowhere)
    async with running(quick("http://hub.example")) as link:
        failed = await link.events.one(ConnectError, count=2)
    assert "Name or service not known" in failed.cause


async def test_a_token_file_that_is_missing_fails_the_attempt_and_is_named() -> None:
    async with bad_server(acking) as server, running(quick(server.url, token_file="/nowhere/token")) as link:
        failed = await link.events.one(ConnectError)
    assert failed.cause.startswith("FileNotFoundError")
    assert "/nowhere/token" in failed.cause


# -- refusals ----------------------------------------------------------------------------------------------------------


async def test_a_refused_token_is_tried_slowly_and_with_an_alarm() -> None:
    async def script(stage: Stage) -> None:
        if stage.number > 1:
            await acking(stage)
        await stage.send('0{"sid":"a","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000}')
        await stage.ws.receive()
        await stage.send('44{"message":"not authorized","data":{"code":401}}')
        await stage.hold()

    async with bad_server(script) as server, running(quick(server.url, slow_retry_delay=300)) as link:
        alarm = await link.events.one(Error)
        began = asyncio.get_running_loop().time()
        await link.events.one(Connect)
        assert alarm.alarm
        assert "CONNECT_ERROR: not authorized" in alarm.detail
        assert asyncio.get_running_loop().time() - began > 0.25


async def test_reconnect_cuts_the_slow_pause_short() -> None:
    async def script(stage: Stage) -> None:
        await (stage.ws.close(code=4401) if stage.number == 1 else acking(stage))

    async with bad_server(script) as server, running(quick(server.url, slow_retry_delay=60000)) as link:
        await link.events.one(Error)
        link.channel.reconnect()
        await link.events.one(Connect)


async def test_another_connect_error_is_tried_again_at_once() -> None:
    async def script(stage: Stage) -> None:
        if stage.number > 2:
            await acking(stage)
        await stage.send('0{"sid":"a","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000}')
        await stage.ws.receive()
        await stage.send('44{"message":"Invalid namespace"}')
        await stage.hold()

    async with bad_server(script) as server, running(quick(server.url, slow_retry_delay=60000)) as link:
        await link.events.one(Connect)
        assert [event.cause for event in link.events.of(ConnectError)] == ["CONNECT_ERROR: Invalid namespace"] * 2


@pytest.mark.parametrize("code", [1003, 1008, 4401, 4403, 4409, 4429])
async def test_a_session_closed_as_unwanted_comes_back_slowly_and_with_an_alarm(code: int) -> None:
    async def script(stage: Stage) -> None:
        await stage.greet()
        if stage.number == 1:
            await stage.ws.close(code=code)
        await stage.hold()

    async with bad_server(script) as server, running(quick(server.url, slow_retry_delay=200)) as link:
        assert (await link.events.one(Disconnect)).code == code
        began = asyncio.get_running_loop().time()
        await link.events.one(Connect, count=2)
        assert asyncio.get_running_loop().time() - began > 0.15
        assert [event.alarm for event in link.events.of(Error)] == [True]
        assert link.channel.figures().last_close_code == code


# -- sessions that end -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [1000, 1001, 1009, 1011, 1012, 1013, 4408, 3500])
async def test_a_session_closed_for_any_other_reason_comes_back_at_once(code: int) -> None:
    async def script(stage: Stage) -> None:
        await stage.greet()
        if stage.number == 1:
            await stage.ws.close(code=code)
        await stage.hold()

    async with bad_server(script) as server, running(quick(server.url, slow_retry_delay=60000)) as link:
        await link.events.one(Reconnect)
        assert link.events.of(Disconnect)[0].code == code
        assert link.events.of(Error) == []


@pytest.mark.parametrize("packet", ["41", "1"])
async def test_a_disconnect_packet_is_not_the_end(packet: str) -> None:
    async def script(stage: Stage) -> None:
        if stage.number > 1:
            await acking(stage)
        await stage.greet()
        async for _ in stage.notes():
            await stage.send(packet)

    feed = ListFeed([message(1)])
    async with bad_server(script) as server, running(quick(server.url), feed) as link:
        await feed.until(1)
        assert server.seen == [1, 1]
        assert link.events.names()[:4] == ["Connect", "Disconnect", "ReconnectAttempt", "Connect"]


async def test_what_follows_a_disconnect_packet_counts_for_nothing() -> None:
    async def script(stage: Stage) -> None:
        await stage.greet()
        async for ack, _ in stage.notes():
            if stage.number == 1:
                await stage.send("41")
            await stage.send(f"43{ack}[]")

    feed = ListFeed([message(1)])
    async with bad_server(script) as server, running(quick(server.url), feed):
        await feed.until(1)
        assert server.seen == [1, 1]


async def test_a_server_that_falls_silent_is_given_up_after_its_own_ping_budget() -> None:
    async def script(stage: Stage) -> None:
        if stage.number > 1:
            await acking(stage)
        await stage.greet(ping_interval=200, ping_timeout=100)
        await stage.hold()

    async with bad_server(script) as server, running(quick(server.url)) as link:
        ended = await link.events.one(Disconnect)
        assert ended.reason == "the server has fallen silent"
        await link.events.one(Connect, count=2)


async def test_a_half_open_connection_is_found_by_our_own_ping() -> None:
    async with bad_server(_greet_and_hold) as server, running(quick(server.url), pulse=0.2) as link:
        ended = await link.events.one(Disconnect)
        assert "half open" in ended.reason
        assert 0.2 < ended.uptime < 1.5


async def _greet_and_hold(stage: Stage) -> None:
    await stage.greet()
    await stage.hold()


async def test_messages_without_acknowledgement_end_the_session_and_are_sent_again_in_order() -> None:
    async def script(stage: Stage) -> None:
        await stage.greet()
        async for ack, sequence in stage.notes():
            if stage.number > 1 or sequence != 3:
                await stage.send(f"43{ack}[]")

    feed = ListFeed([message(number) for number in range(1, 6)])
    settings = {"ack_timeout": 200, "confirmation": "ack"}
    async with bad_server(script) as server, running(quick(server.url, **settings), feed) as link:
        await feed.until(5)
        assert server.seen == [1, 2, 3, 4, 5, 3, 4, 5]
        assert "no proof of receipt for 3 notifications" in link.events.of(Disconnect)[0].reason


async def test_a_slow_server_that_works_off_its_queue_is_not_taken_for_a_silent_one() -> None:
    async def script(stage: Stage) -> None:
        await stage.greet()
        async for ack, _ in stage.notes():
            await asyncio.sleep(0.06)
            await stage.send(f"43{ack}[]")

    feed = ListFeed([message(number) for number in range(1, 11)])
    async with bad_server(script) as server, running(quick(server.url, ack_timeout=300), feed) as link:
        await feed.until(10)
        assert link.events.of(Disconnect) == []
        assert server.seen == list(range(1, 11))


@pytest.mark.parametrize(
    "junk",
    [
        "43[]",
        "43x",
        "43999999[]",
        "431",
        "42{}",
        "42[",
        "42[1]",
        "42[]",
        "45x",
        "43/admin,1[]",
        "40/other",
        "41/other,",
        "6",
        "44/x,{}",
        "43" + "9" * 30 + "[]",
    ],
)
async def test_a_frame_that_makes_no_sense_is_skipped(junk: str) -> None:
    async def script(stage: Stage) -> None:
        await stage.greet()
        async for ack, _ in stage.notes():
            await stage.send(junk)
            await stage.send(f"43{ack}[]")

    feed = ListFeed([message(1), message(2)])
    async with bad_server(script) as server, running(quick(server.url), feed) as link:
        await feed.until(2)
        assert link.events.of(Disconnect) == []


async def test_a_binary_acknowledgement_counts_and_its_attachment_is_swallowed() -> None:
    async def script(stage: Stage) -> None:
        await stage.greet()
        async for ack, _ in stage.notes():
            await stage.send(f'461-{ack}[{{"_placeholder":true,"num":0}}]')
            await stage.ws.send_bytes(b"ok")

    feed = ListFeed([message(1), message(2)])
    async with bad_server(script) as server, running(quick(server.url), feed) as link:
        await feed.until(2)
        assert link.events.of(Error) == []


async def test_trailing_offsets_of_connection_state_recovery_disturb_nothing() -> None:
    async def script(stage: Stage) -> None:
        await stage.greet()
        await stage.send('42["welcome",{"id":1},"offset-1"]')
        await stage.send('42["error","too many users","offset-2"]')
        async for ack, _ in stage.notes():
            await stage.send(f"43{ack}[]")

    feed = ListFeed([message(1)])
    async with bad_server(script) as server, running(quick(server.url), feed) as link:
        await feed.until(1)
        assert link.events.of(Error) == [Error("the server", "too many users")]


async def test_a_frame_too_large_for_us_ends_only_the_session() -> None:
    async def script(stage: Stage) -> None:
        if stage.number > 1:
            await acking(stage)
        await stage.greet()
        await stage.send('42["x","' + "a" * (5 * 1024 * 1024) + '"]')
        await stage.hold()

    async with bad_server(script) as server, running(quick(server.url)) as link:
        assert (await link.events.one(Disconnect)).code == 1009
        await link.events.one(Connect, count=2)


# -- messages that are too large ---------------------------------------------------------------------------------------


async def test_a_message_is_cut_down_to_a_smaller_peers_limit() -> None:
    feed = ListFeed([message(1, padding=5000), message(2)])
    async with socketio_server(max_payload=2000) as server, running(quick(server.url), feed) as link:
        await feed.until(2)
        assert link.events.of(Disconnect) == []
    long, short = (note for note, _ in server.received)
    assert long["payload"]["truncated"] is True
    assert len(orjson.dumps(long)) < 2000
    assert "truncated" not in short["payload"]


async def test_a_message_that_cannot_be_made_to_fit_is_refused_and_holds_up_nothing() -> None:
    feed = ListFeed([message(1), message(2, user="u" * 3000), message(3)])
    async with socketio_server(max_payload=2000) as server, running(quick(server.url), feed) as link:
        await feed.until(3)
        assert link.events.of(Disconnect) == []
    assert list(feed.refused) == [2]
    assert server.numbers == [1, 3]


async def test_our_own_limit_holds_for_a_peer_that_announces_none() -> None:
    async def script(stage: Stage) -> None:
        await stage.greet(max_payload=None)
        async for frame in stage.ws:
            assert len(frame.data.encode()) <= 2048
            await stage.send("431[]")

    feed = ListFeed([message(1, padding=5000)])
    async with bad_server(script) as server, running(quick(server.url, max_payload=2048), feed):
        await feed.until(1)


async def test_a_proxy_that_bears_less_than_the_server_announced_blocks_nothing() -> None:
    async def script(stage: Stage) -> None:
        await stage.greet(max_payload=1_000_000)
        async for frame in stage.ws:
            if len(frame.data.encode()) > 4000:
                await stage.ws.close(code=1009)
                return
            if found := note_in(frame.data):
                stage.seen.append(found[1])
                await stage.send(f"43{found[0]}[]")

    feed = ListFeed([message(1), message(2, padding=30000), message(3), message(4, user="u" * 9000), message(5)])
    async with bad_server(script) as server, running(quick(server.url), feed):
        await feed.until(5)
    assert list(dict.fromkeys(server.seen)) == [1, 2, 3, 5]
    assert list(feed.refused) == [4]


async def test_a_server_that_talks_nonsense_does_not_flood_the_log() -> None:
    async def script(stage: Stage) -> None:
        await stage.greet()
        for _ in range(200):
            await stage.send("42[")
        await acking_on(stage)

    feed = ListFeed([message(1)])
    async with bad_server(script) as server, running(quick(server.url), feed) as link:
        await feed.until(1)
        await eventually(lambda: len(link.events.of(Error)) >= 10)
        assert len(link.events.of(Error)) == 10


# -- rounds ------------------------------------------------------------------------------------------------------------


async def test_after_the_last_attempt_the_link_fails_rests_and_begins_again(unused_tcp_port: int) -> None:
    settings = quick(f"http://127.0.0.1:{unused_tcp_port}", reconnection_attempts=2)
    async with running(settings) as link:
        failed = await link.events.one(ReconnectFailed)
        assert link.channel.figures().state in (State.FAILED, State.CONNECTING)
        assert failed.attempts == 2
        await link.events.one(ReconnectFailed, count=2)
        names = " ".join(link.events.names()[:7])
        one_round = "ReconnectAttempt ConnectError ReconnectAttempt ConnectError ReconnectFailed"
        assert names == f"ConnectError {one_round} ReconnectAttempt"


async def test_without_auto_reconnect_a_loss_waits_for_somebody_to_ask() -> None:
    async def script(stage: Stage) -> None:
        await stage.greet()
        if stage.number == 1:
            await stage.ws.close(code=1011)
        await stage.hold()

    async with bad_server(script) as server, running(quick(server.url, auto_reconnect=False)) as link:
        await link.events.one(Disconnect)
        assert link.channel.figures().state is State.DISCONNECTED
        link.channel.reconnect()
        await link.events.one(Connect, count=2)
        assert link.channel.figures().state is State.CONNECTED


async def test_without_auto_reconnect_a_failed_attempt_waits_too(unused_tcp_port: int) -> None:
    async with running(quick(f"http://127.0.0.1:{unused_tcp_port}", auto_reconnect=False)) as link:
        await link.events.one(ConnectError)
        assert link.channel.figures().state is State.DISCONNECTED
        link.channel.reconnect()
        await link.events.one(ConnectError, count=2)
        link.stop.set()
        async with asyncio.timeout(5):
            await link.task
