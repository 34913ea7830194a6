"""The link against servers that misbehave: it names what is wrong, and comes back."""

import asyncio
import base64
import contextlib
import socket
import zlib

import orjson
import pytest
from aiohttp import web

from tests.support.bad_servers import (
    BadServer,
    Script,
    ScriptedConnection,
    acking,
    acking_on,
    answering_server,
    bad_server,
    http_server,
    mute_server,
    note_in,
)
from tests.support.event_collector import EventCollector
from tests.support.eventually import eventually
from tests.support.message_source import ListSource, message
from tests.support.notifiers import fast_settings, running_notifier
from tests.support.socketio_server import socketio_server
from worker.cli.listener import Listener
from worker.notifiers.socketio.events import Connect, ConnectError, Disconnect, Reconnect, ReconnectFailed, ServerError
from worker.notifiers.socketio.handshake import ConnectOptions, new_http_session
from worker.notifiers.socketio.payloads import join_packets, split_packets
from worker.notifiers.socketio.polling import ask, read_each
from worker.notifiers.socketio.state import State

# -- attempts that fail ------------------------------------------------------------------------------------------------


async def test_attempt_times_out_when_the_server_accepts_tcp_and_sends_nothing() -> None:
    async with mute_server() as url, running_notifier(fast_settings(url, timeout=200)) as link:
        cause = "no answer within 0.2 s while waiting for TCP, TLS and the WebSocket upgrade: is the server overloaded"
        await link.events.one(ConnectError, count=2, where=lambda failed: failed.cause.startswith(cause))


async def _no_open(stage: ScriptedConnection) -> None:
    await stage.hold()


async def _no_connect(stage: ScriptedConnection) -> None:
    await stage.send('0{"sid":"a","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000}')
    await stage.hold()


@pytest.mark.parametrize(("script", "stage"), [(_no_open, "the OPEN packet"), (_no_connect, "the CONNECT packet")])
async def test_attempt_times_out_when_the_server_stops_during_the_handshake(script: Script, stage: str) -> None:
    async with bad_server(script) as server, running_notifier(fast_settings(server.url, timeout=200)) as link:
        cause = f"no answer within 0.2 s while waiting for {stage}: is the server overloaded"
        await link.events.one(ConnectError, count=2, where=lambda failed: failed.cause.startswith(cause))


@pytest.mark.parametrize("code", [1000, 1001, 1011, 4408])
async def test_attempt_repeats_while_the_server_closes_during_the_handshake(code: int) -> None:
    async def script(stage: ScriptedConnection) -> None:
        if stage.number < 4:
            await stage.ws.close(code=code)
        else:
            await acking(stage)

    source = ListSource([message(1)])
    async with bad_server(script) as server, running_notifier(fast_settings(server.url), source) as link:
        await source.until(1)
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
async def test_attempt_fails_on_an_invalid_open_packet(opening: str) -> None:
    async def script(stage: ScriptedConnection) -> None:
        if stage.number == 1:
            await stage.send(opening)
            await stage.hold()
        else:
            await acking(stage)

    source = ListSource([message(1)])
    async with bad_server(script) as server, running_notifier(fast_settings(server.url), source) as link:
        await source.until(1)
        assert len(link.events.of(ConnectError)) == 1


async def test_attempt_fails_on_a_binary_open_packet() -> None:
    async def script(stage: ScriptedConnection) -> None:
        if stage.number == 1:
            await stage.ws.send_bytes(b"\x00\x01")
            await stage.hold()
        else:
            await acking(stage)

    source = ListSource([message(1)])
    async with bad_server(script) as server, running_notifier(fast_settings(server.url, timeout=2000), source):
        await source.until(1)


async def test_attempt_waits_for_slow_authentication_every_time() -> None:
    async def script(stage: ScriptedConnection) -> None:
        await asyncio.sleep(1.2)  # longer than the one second the library waits on a reconnect
        await acking(stage)

    async with bad_server(script) as server, running_notifier(fast_settings(server.url)) as link:
        await link.events.one(Connect)
        link.notifier.reconnect()
        await link.events.one(Connect, count=2)
        assert link.events.of(ConnectError) == []


async def test_attempt_on_an_engine_io_3_server_is_named_and_retried_slowly_when_only_4_is_allowed() -> None:
    async def script(stage: ScriptedConnection) -> None:
        await stage.send('0{"sid":"a","upgrades":[],"pingInterval":25000,"pingTimeout":5000}')
        await stage.send("40")
        await stage.hold()

    async with (
        bad_server(script) as server,
        running_notifier(fast_settings(server.url, slow_retry_delay=60000, engine_io="4")) as link,
    ):
        alarm = await link.events.one(ServerError)
        assert alarm.alarm
        assert "Engine.IO 3" in link.events.of(ConnectError)[0].cause
        assert "WebSocket:EngineIO" in link.events.of(ConnectError)[0].cause
        assert "Engine.IO 3" in link.notifier.status().status_en


@pytest.mark.parametrize(("status", "alarm"), [(401, True), (403, True), (404, False), (502, False), (200, False)])
async def test_attempt_names_an_http_answer_instead_of_the_upgrade(status: int, alarm: bool) -> None:
    async with http_server(status) as url, running_notifier(fast_settings(url)) as link:
        failed = await link.events.one(ConnectError)
        assert failed.cause.startswith(f"HTTP {status} instead of the WebSocket upgrade at /api/v1/org-socket")
        if alarm:
            assert (await link.events.one(ServerError)).alarm
        else:
            await link.events.one(ConnectError, count=2)
            assert link.events.of(ServerError) == []


async def test_attempt_names_a_400_instead_of_the_upgrade() -> None:
    async with http_server(400) as url, running_notifier(fast_settings(url)) as link:
        assert (await link.events.one(ConnectError)).cause.startswith("HTTP 400")


async def test_attempt_on_a_closed_port_names_the_innermost_cause(unused_tcp_port: int) -> None:
    async with running_notifier(fast_settings(f"http://127.0.0.1:{unused_tcp_port}")) as link:
        failed = await link.events.one(ConnectError)
    assert failed.cause.startswith("ConnectionRefusedError")


async def test_attempt_on_an_unknown_host_names_the_innermost_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(*_arguments: object, **_named: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nowhere)
    async with running_notifier(fast_settings("http://hub.example")) as link:
        failed = await link.events.one(ConnectError, count=2)
    assert "Name or service not known" in failed.cause


async def test_attempt_fails_and_names_a_missing_token_file() -> None:
    async with (
        bad_server(acking) as server,
        running_notifier(fast_settings(server.url, token_file="/nowhere/token")) as link,
    ):
        failed = await link.events.one(ConnectError)
    assert failed.cause.startswith("FileNotFoundError")
    assert "/nowhere/token" in failed.cause


def _seconds_between(events: EventCollector, first: type, second: type) -> float:
    """Return the time between the first event of one kind and the next one of the other, as both were reported."""
    begun = next(place for place, event in enumerate(events.events) if isinstance(event, first))
    ended = next(place for place, event in enumerate(events.events) if place > begun and isinstance(event, second))
    return events.times[ended] - events.times[begun]


# -- rejections--------------------------------------------------------------------------------------------------------


async def test_rejected_token_is_retried_slowly_with_an_alarm() -> None:
    async def script(stage: ScriptedConnection) -> None:
        if stage.number > 1:
            await acking(stage)
        await stage.send('0{"sid":"a","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000}')
        await stage.ws.receive()
        await stage.send('44{"message":"not authorized","data":{"code":401}}')
        await stage.hold()

    async with bad_server(script) as server, running_notifier(fast_settings(server.url, slow_retry_delay=300)) as link:
        alarm = await link.events.one(ServerError)
        await link.events.one(Connect)
        assert alarm.alarm
        assert "CONNECT_ERROR: not authorized" in alarm.detail
        assert _seconds_between(link.events, ServerError, Connect) > 0.25


async def test_reconnect_ends_the_slow_retry_delay() -> None:
    async def script(stage: ScriptedConnection) -> None:
        await (stage.ws.close(code=4401) if stage.number == 1 else acking(stage))

    async with (
        bad_server(script) as server,
        running_notifier(fast_settings(server.url, slow_retry_delay=60000)) as link,
    ):
        await link.events.one(ServerError)
        link.notifier.reconnect()
        await link.events.one(Connect)


async def test_connect_error_without_unauthorized_is_retried_at_once() -> None:
    async def script(stage: ScriptedConnection) -> None:
        if stage.number > 2:
            await acking(stage)
        await stage.send('0{"sid":"a","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000}')
        await stage.ws.receive()
        await stage.send('44{"message":"Invalid namespace"}')
        await stage.hold()

    async with (
        bad_server(script) as server,
        running_notifier(fast_settings(server.url, slow_retry_delay=60000)) as link,
    ):
        await link.events.one(Connect)
        assert [event.cause for event in link.events.of(ConnectError)] == ["CONNECT_ERROR: Invalid namespace"] * 2


@pytest.mark.parametrize("code", [1003, 1008, 4401, 4403, 4409, 4429])
async def test_session_closed_with_a_rejection_code_is_retried_slowly_with_an_alarm(code: int) -> None:
    async def script(stage: ScriptedConnection) -> None:
        await stage.greet()
        if stage.number == 1:
            await stage.ws.close(code=code)
        await stage.hold()

    async with bad_server(script) as server, running_notifier(fast_settings(server.url, slow_retry_delay=200)) as link:
        assert (await link.events.one(Disconnect)).code == code
        await link.events.one(Connect, count=2)
        assert _seconds_between(link.events, Disconnect, Connect) > 0.15
        assert [event.alarm for event in link.events.of(ServerError)] == [True]
        assert link.notifier.status().last_close_code == code


SECRET = "s3cret-token-of-the-link"


@pytest.mark.parametrize(
    "words", [f"no: {SECRET}", base64.b64encode(SECRET.encode()).decode(), "x" * 108 + SECRET[:12]]
)
async def test_close_frame_that_repeats_the_token_is_reported_without_it(words: str) -> None:
    async def script(stage: ScriptedConnection) -> None:
        await stage.ws.close(code=1011, message=words.encode())

    async with bad_server(script) as server, running_notifier(fast_settings(server.url, token=SECRET)) as link:
        failed = await link.events.one(ConnectError)
    assert failed.cause.startswith("the server closed the connection (1011")
    assert "s3c" not in failed.cause
    assert words not in failed.cause


@pytest.mark.parametrize("path", [f"/login/{SECRET}", f"/{SECRET.encode().hex()}/"])
async def test_redirect_to_another_origin_that_repeats_the_token_is_reported_without_it(path: str) -> None:
    async def redirect(_request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": f"http://other.example{path}"})

    async with answering_server(redirect) as url, running_notifier(fast_settings(url, token=SECRET)) as link:
        failed = await link.events.one(ConnectError)
    assert "redirects to http://other.example/" in failed.cause
    assert "***" in failed.cause
    assert path not in failed.cause


# -- sessions that end -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [1000, 1001, 1009, 1011, 1012, 1013, 4408, 3500])
async def test_session_closed_with_any_other_code_reconnects_at_once(code: int) -> None:
    async def script(stage: ScriptedConnection) -> None:
        await stage.greet()
        if stage.number == 1:
            await stage.ws.close(code=code)
        await stage.hold()

    async with (
        bad_server(script) as server,
        running_notifier(fast_settings(server.url, slow_retry_delay=60000)) as link,
    ):
        await link.events.one(Reconnect)
        assert link.events.of(Disconnect)[0].code == code
        assert link.events.of(ServerError) == []


@pytest.mark.parametrize("packet", ["41", "1"])
async def test_session_reconnects_after_a_disconnect_packet(packet: str) -> None:
    async def script(stage: ScriptedConnection) -> None:
        if stage.number > 1:
            await acking(stage)
        await stage.greet()
        async for _ in stage.notes():
            await stage.send(packet)

    source = ListSource([message(1)])
    async with bad_server(script) as server, running_notifier(fast_settings(server.url), source) as link:
        await source.until(1)
        assert server.seen == [1, 1]
        assert link.events.names()[:4] == ["Connect", "Disconnect", "ReconnectAttempt", "Connect"]


async def test_acknowledgement_after_a_disconnect_packet_is_ignored() -> None:
    async def script(stage: ScriptedConnection) -> None:
        await stage.greet()
        async for ack, _ in stage.notes():
            if stage.number == 1:
                await stage.send("41")
            await stage.send(f"43{ack}[]")

    source = ListSource([message(1)])
    async with bad_server(script) as server, running_notifier(fast_settings(server.url), source):
        await source.until(1)
        assert server.seen == [1, 1]


async def test_session_ends_when_the_server_stops_its_heartbeat() -> None:
    async def script(stage: ScriptedConnection) -> None:
        if stage.number > 1:
            await acking(stage)
        await stage.greet(ping_interval=200, ping_timeout=100)
        await stage.hold()

    async with bad_server(script) as server, running_notifier(fast_settings(server.url)) as link:
        ended = await link.events.one(Disconnect)
        assert ended.reason == "the server has fallen silent"
        await link.events.one(Connect, count=2)


async def test_session_ends_when_the_server_does_not_answer_pings() -> None:
    async with (
        bad_server(_greet_and_hold) as server,
        running_notifier(fast_settings(server.url), keep_alive=0.2) as link,
    ):
        ended = await link.events.one(Disconnect)
        assert "half open" in ended.reason
        assert ended.uptime > 0.2


async def _greet_and_hold(stage: ScriptedConnection) -> None:
    await stage.greet()
    await stage.hold()


async def test_unacknowledged_messages_end_the_session_and_are_sent_again_in_order() -> None:
    async def script(stage: ScriptedConnection) -> None:
        await stage.greet()
        async for ack, sequence in stage.notes():
            if stage.number > 1 or sequence != 3:
                await stage.send(f"43{ack}[]")

    source = ListSource([message(number) for number in range(1, 6)])
    # Long enough for the other acknowledgements on a busy machine: they decide what is sent again.
    settings = {"ack_timeout": 2000, "confirmation": "ack"}
    async with bad_server(script) as server, running_notifier(fast_settings(server.url, **settings), source) as link:
        await source.until(5)
        assert server.seen == [1, 2, 3, 4, 5, 3], "what was acknowledged above the gap is not sent again"
        assert "no confirmation of receipt for 1 notification (ack)" in link.events.of(Disconnect)[0].reason


async def test_session_survives_a_server_that_acknowledges_slowly() -> None:
    async def script(stage: ScriptedConnection) -> None:
        await stage.greet()
        async for ack, _ in stage.notes():
            await asyncio.sleep(0.2)
            await stage.send(f"43{ack}[]")

    # All of them take longer than the limit, each takes a fraction of it.
    source = ListSource([message(number) for number in range(1, 21)])
    async with (
        bad_server(script) as server,
        running_notifier(fast_settings(server.url, ack_timeout=3000), source) as link,
    ):
        await source.until(20)
        assert link.events.of(Disconnect) == []
        assert server.seen == list(range(1, 21))


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
async def test_unreadable_frame_is_skipped(junk: str) -> None:
    async def script(stage: ScriptedConnection) -> None:
        await stage.greet()
        async for ack, _ in stage.notes():
            await stage.send(junk)
            await stage.send(f"43{ack}[]")

    source = ListSource([message(1), message(2)])
    async with bad_server(script) as server, running_notifier(fast_settings(server.url), source) as link:
        await source.until(2)
        assert link.events.of(Disconnect) == []


async def test_binary_acknowledgement_counts_and_its_attachment_is_ignored() -> None:
    async def script(stage: ScriptedConnection) -> None:
        await stage.greet()
        async for ack, _ in stage.notes():
            await stage.send(f'461-{ack}[{{"_placeholder":true,"num":0}}]')
            await stage.ws.send_bytes(b"ok")

    source = ListSource([message(1), message(2)])
    async with bad_server(script) as server, running_notifier(fast_settings(server.url), source) as link:
        await source.until(2)
        assert link.events.of(ServerError) == []


async def test_event_with_a_recovery_offset_is_read() -> None:
    async def script(stage: ScriptedConnection) -> None:
        await stage.greet()
        await stage.send('42["welcome",{"id":1},"offset-1"]')
        await stage.send('42["error","too many users","offset-2"]')
        async for ack, _ in stage.notes():
            await stage.send(f"43{ack}[]")

    source = ListSource([message(1)])
    async with bad_server(script) as server, running_notifier(fast_settings(server.url), source) as link:
        await source.until(1)
        assert link.events.of(ServerError) == [ServerError("the server", "too many users")]


async def test_incoming_frame_over_our_limit_ends_only_the_session() -> None:
    async def script(stage: ScriptedConnection) -> None:
        if stage.number > 1:
            await acking(stage)
        await stage.greet()
        await stage.send('42["x","' + "a" * (5 * 1024 * 1024) + '"]')
        await stage.hold()

    async with bad_server(script) as server, running_notifier(fast_settings(server.url)) as link:
        assert (await link.events.one(Disconnect)).code == 1009
        await link.events.one(Connect, count=2)


# -- messages that are too large ---------------------------------------------------------------------------------------


async def test_message_over_the_servers_limit_is_shortened() -> None:
    source = ListSource([message(1, padding=5000), message(2)])
    async with socketio_server(max_payload=2000) as server, running_notifier(fast_settings(server.url), source) as link:
        await source.until(2)
        assert link.events.of(Disconnect) == []
    long, short = (note for note, _ in server.received)
    assert long["payload"]["truncated"] is True
    assert len(orjson.dumps(long)) < 2000
    assert "truncated" not in short["payload"]


async def test_message_that_cannot_be_shortened_enough_is_rejected_alone() -> None:
    source = ListSource([message(1), message(2, user="u" * 3000), message(3)])
    async with socketio_server(max_payload=2000) as server, running_notifier(fast_settings(server.url), source) as link:
        await source.until(3)
        assert link.events.of(Disconnect) == []
    assert list(source.rejections) == [2]
    assert server.numbers == [1, 3]


@pytest.mark.parametrize("limit", [1, 50, 511])
async def test_limit_that_no_notification_fits_is_not_believed_and_reported_once(limit: int) -> None:
    async def script(stage: ScriptedConnection) -> None:
        await stage.greet(max_payload=limit)
        if stage.number < 3:
            await stage.ws.close(code=1011)
        await acking_on(stage)

    source = ListSource([message(1), message(2, padding=5000)])
    async with bad_server(script) as server, running_notifier(fast_settings(server.url), source) as link:
        await source.until(2)
        [report] = link.events.of(ServerError)
    assert source.rejections == {}
    assert f"a maxPayload of {limit} bytes" in report.detail
    assert server.connections >= 3


async def test_small_limit_sets_aside_only_what_cannot_be_shortened_to_it() -> None:
    source = ListSource([message(1, padding=50_000), message(2, user="u" * 11_000), message(3, user="u" * 9_000)])
    async with (
        socketio_server(max_payload=10_000) as server,
        running_notifier(fast_settings(server.url), source) as link,
    ):
        await source.until(3)
        assert link.events.of(Disconnect) == []
        assert link.events.of(ServerError) == []
    assert list(source.rejections) == [2]
    assert server.numbers == [1, 3]


@pytest.mark.parametrize("announced", [100, None])
async def test_notification_that_is_too_large_at_any_size_is_set_aside(announced: int | None) -> None:
    async def script(stage: ScriptedConnection) -> None:
        await stage.greet(max_payload=announced)
        async for ack, number in stage.notes():
            if number == 2:
                await stage.ws.close(code=1009)
                return
            await stage.send(f"43{ack}[]")

    source = ListSource([message(1), message(2), message(3, user="user-2")])
    async with bad_server(script) as server, running_notifier(fast_settings(server.url, slow_retry_delay=60), source):
        await source.until(3)
    assert list(source.rejections) == [2]


async def test_own_limit_applies_when_the_server_announces_none() -> None:
    async def script(stage: ScriptedConnection) -> None:
        await stage.greet(max_payload=None)
        async for frame in stage.ws:
            assert len(frame.data.encode()) <= 2048
            await stage.send("431[]")

    source = ListSource([message(1, padding=5000)])
    async with bad_server(script) as server, running_notifier(fast_settings(server.url, max_payload=2048), source):
        await source.until(1)


async def test_close_1009_halves_the_frame_limit_and_blocks_no_message() -> None:
    async def script(stage: ScriptedConnection) -> None:
        await stage.greet(max_payload=1_000_000)
        async for frame in stage.ws:
            if len(frame.data.encode()) > 4000:
                await stage.ws.close(code=1009)
                return
            if found := note_in(frame.data):
                stage.seen.append(found[1])
                await stage.send(f"43{found[0]}[]")

    source = ListSource([message(1), message(2, padding=30000), message(3), message(4, user="u" * 9000), message(5)])
    async with bad_server(script) as server, running_notifier(fast_settings(server.url), source):
        await source.until(5)
    assert list(dict.fromkeys(server.seen)) == [1, 2, 3, 5]
    assert list(source.rejections) == [4]


async def test_unreadable_frames_are_reported_ten_times_per_session() -> None:
    async def script(stage: ScriptedConnection) -> None:
        await stage.greet()
        for _ in range(200):
            await stage.send("42[")
        await acking_on(stage)

    source = ListSource([message(1)])
    async with bad_server(script) as server, running_notifier(fast_settings(server.url), source) as link:
        await source.until(1)
        await eventually(lambda: len(link.events.of(ServerError)) >= 10)
        assert len(link.events.of(ServerError)) == 10


# -- rounds ------------------------------------------------------------------------------------------------------------


async def test_link_fails_after_the_last_attempt_and_begins_a_new_round(unused_tcp_port: int) -> None:
    settings = fast_settings(f"http://127.0.0.1:{unused_tcp_port}", reconnection_attempts=2)
    async with running_notifier(settings) as link:
        failed = await link.events.one(ReconnectFailed)
        assert link.notifier.status().state in (State.FAILED, State.CONNECTING)
        assert failed.attempts == 2
        await link.events.one(ReconnectFailed, count=2)
        names = " ".join(link.events.names()[:7])
        one_round = "ReconnectAttempt ConnectError ReconnectAttempt ConnectError ReconnectFailed"
        assert names == f"ConnectError {one_round} ReconnectAttempt"


async def test_lost_session_without_auto_reconnect_waits_for_a_request() -> None:
    async def script(stage: ScriptedConnection) -> None:
        await stage.greet()
        if stage.number == 1:
            await stage.ws.close(code=1011)
        await stage.hold()

    async with bad_server(script) as server, running_notifier(fast_settings(server.url, auto_reconnect=False)) as link:
        await link.events.one(Disconnect)
        assert link.notifier.status().state is State.DISCONNECTED
        link.notifier.reconnect()
        await link.events.one(Connect, count=2)
        assert link.notifier.status().state is State.CONNECTED


async def test_failed_attempt_without_auto_reconnect_waits_for_a_request(unused_tcp_port: int) -> None:
    async with running_notifier(fast_settings(f"http://127.0.0.1:{unused_tcp_port}", auto_reconnect=False)) as link:
        await link.events.one(ConnectError)
        assert link.notifier.status().state is State.DISCONNECTED
        link.notifier.reconnect()
        await link.events.one(ConnectError, count=2)
        link.stop.set()
        async with asyncio.timeout(30):
            await link.task


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_attempt_never_follows_a_redirect_to_another_origin(status: int) -> None:
    requests: list[dict[str, str]] = []

    async def elsewhere(request: web.Request) -> web.Response:
        requests.append(dict(request.headers))
        return web.Response(status=404)

    async with answering_server(elsewhere) as other:

        async def redirect(request: web.Request) -> web.Response:
            return web.Response(status=status, headers={"Location": f"{other}{request.path_qs}"})

        async with answering_server(redirect) as url:
            settings = fast_settings(url, token="secret", headers={"X-Api-Key": "k"}, slow_retry_delay=60000)
            async with running_notifier(settings) as link:
                failed = await link.events.one(ConnectError)
                assert (await link.events.one(ServerError)).alarm
    assert failed.cause.startswith(f"HTTP {status}: the server redirects to {other}/api/v1/org-socket/, which is not")
    assert "EIO" not in failed.cause
    assert requests == []


@pytest.mark.parametrize("status", [302, 308])
async def test_listener_never_follows_a_redirect_to_another_origin(status: int) -> None:
    requests: list[str] = []
    reported: asyncio.Queue[str] = asyncio.Queue()

    async def elsewhere(request: web.Request) -> web.Response:
        requests.append(request.path_qs)
        return web.Response(status=404)

    async with answering_server(elsewhere) as other:

        async def redirect(request: web.Request) -> web.Response:
            return web.Response(status=status, headers={"Location": f"{other}{request.path_qs}"})

        async with answering_server(redirect) as url:
            listener = Listener(url, "/api/v1/org-socket", "news", lambda: "secret", reported.put_nowait)
            async with contextlib.aclosing(listener.messages()) as messages:
                waiting = asyncio.ensure_future(anext(messages))
                assert f"the server redirects to {other}/api/v1/org-socket/, which is not" in await reported.get()
                waiting.cancel()
                await asyncio.wait([waiting])
    assert requests == []


async def test_attempt_follows_a_redirect_within_the_origin() -> None:
    source = ListSource([message(1)])
    server = BadServer(acking)

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path.startswith("/moved"):
            return await server.handle(request)
        return web.Response(status=307, headers={"Location": f"/moved/?{request.query_string}"})

    async with answering_server(answer) as url, running_notifier(fast_settings(url), source):
        await source.until(1)


@pytest.mark.parametrize(("status", "is_read"), [(301, False), (302, False), (303, False), (307, True), (308, True)])
async def test_packets_that_a_redirect_drops_do_not_count_as_read(status: int, is_read: bool) -> None:
    async def answer(request: web.Request) -> web.Response:
        if request.path.startswith("/moved"):
            return web.Response(text="ok" if request.method == "POST" else "2")
        return web.Response(status=status, headers={"Location": f"/moved/?{request.query_string}"})

    async with answering_server(answer) as url:
        answered = await _answer_to_a_heartbeat(url)
    assert answered == "ok" if is_read else "WebSocket:Path" in answered


@pytest.mark.parametrize("body", ["<html>Sign in</html>", "2", "not found"])
async def test_answer_of_another_server_to_packets_does_not_count_as_read(body: str) -> None:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(text=body)

    async with answering_server(answer) as url:
        assert f'is not "ok" but {body!r}' in await _answer_to_a_heartbeat(url)


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("status", [200, 400])
async def test_answer_without_an_end_is_read_only_up_to_a_limit(method: str, status: int) -> None:
    gone = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=status)
        await response.prepare(request)
        try:
            while True:
                await response.write(b"6" * 65536)
        except ConnectionError:
            gone.set()
        return response

    async with answering_server(answer) as url, asyncio.timeout(30):
        expected = "more than 4,194,304 bytes" if status == 200 else "HTTP 400"
        assert expected in await _answer_to_a_heartbeat(url, method)
        await gone.wait()


async def test_answer_that_is_compressed_is_read_only_up_to_a_limit() -> None:
    bomb = zlib.compress(b"6" * (64 * 1024 * 1024))

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=bomb, headers={"Content-Encoding": "deflate"})

    async with answering_server(answer) as url:
        assert "more than 4,194,304 bytes" in await _answer_to_a_heartbeat(url, "GET")


@pytest.mark.parametrize("version", [3, 4])
async def test_packets_of_a_large_answer_leave_the_event_loop_its_turns(version: int) -> None:
    read: list[str] = []
    turns: list[int] = []

    async def others() -> None:
        while True:
            turns.append(len(read))
            await asyncio.sleep(0)

    packets = ["6"] * 20_000
    other = asyncio.create_task(others())
    await read_each(split_packets(join_packets(packets, version), version), read.append)
    other.cancel()
    assert read == packets
    assert len(turns) >= 20


async def _answer_to_a_heartbeat(url: str, method: str = "POST") -> str:
    """Make one request of a session by long-polling; return the answer, or why the session ends."""
    options = ConnectOptions(url, "/socket", {}, None)
    async with new_http_session(options) as http:
        answered = await ask(http, options, 4, method=method, sid="a", body="3" if method == "POST" else None)
    return answered if isinstance(answered, str) else answered.reason
