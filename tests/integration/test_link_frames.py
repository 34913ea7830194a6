"""The link's WebSocket, byte for byte (RFC 6455): what it refuses, how it says so, and that it comes back."""

import asyncio
import socket

import pytest

from tests.support.message_source import ListSource, message
from tests.support.notifiers import fast_settings, running_notifier
from tests.support.raw_websocket import RawPeer, raw_server
from worker.net.frame_reader import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT
from worker.net.frames import client_frame, close_frame, text_frame
from worker.notifiers.socketio.events import Connect, ConnectError, Disconnect, ServerError

_ANSWER = 120.0
"""Seconds; only a guard against a test that hangs."""


def frame(opcode: int, payload: bytes = b"", *, first: int = 0x80) -> bytes:
    """One frame of a server with up to 65,535 bytes; `first`: the bits beside the opcode."""
    size = len(payload)
    head = bytes((first | opcode, size)) if size < 126 else bytes((first | opcode, 126)) + size.to_bytes(2, "big")
    return head + payload


VIOLATIONS = {
    "masked text": (client_frame(TEXT, b"6", b"mask"), 1002),
    "masked ping": (client_frame(PING, b"", b"mask"), 1002),
    "masked close": (client_frame(CLOSE, b"\x03\xe8", b"mask"), 1002),
    "compressed without negotiation": (frame(TEXT, b"6", first=0xC0), 1002),
    "second reserved bit": (frame(TEXT, b"6", first=0xA0), 1002),
    "third reserved bit": (frame(TEXT, b"6", first=0x90), 1002),
    "reserved opcode of data": (frame(3, b"6"), 1002),
    "reserved control opcode": (frame(11), 1002),
    "fragmented ping": (frame(PING, first=0), 1002),
    "ping of 126 bytes": (frame(PING, b"x" * 126), 1002),
    "continuation of nothing": (frame(CONTINUATION, b"6"), 1002),
    "text within a fragmented message": (frame(TEXT, b"4", first=0) + frame(TEXT, b"6"), 1002),
    "length in more bytes than needed": (b"\x81\x7e\x00\x01" + b"6", 1002),
    "length with its highest bit": (b"\x81\x7f" + b"\xff" * 8, 1002),
    "text that is not UTF-8": (frame(TEXT, b"42\xff"), 1007),
    "text that is not UTF-8 across fragments": (
        frame(TEXT, b"42\xe0", first=0) + frame(PING) + frame(CONTINUATION, b"\x80\x80"),
        1007,
    ),
    "character that ends with the message": (frame(TEXT, b"42\xe0", first=0) + frame(CONTINUATION, b"\xb8"), 1007),
    "close code below 1000": (frame(CLOSE, b"\x03\xe7"), 1002),
    "close code that is only reported": (frame(CLOSE, b"\x03\xed"), 1002),
    "close code without a meaning": (frame(CLOSE, b"\x13\x88"), 1002),
    "close of one byte": (frame(CLOSE, b"\x03"), 1002),
    "close reason that is not UTF-8": (frame(CLOSE, b"\x03\xe8\xff"), 1007),
    "message over our limit": (b"\x82\x7f" + (5 * 1024 * 1024).to_bytes(8, "big"), 1009),
}


@pytest.mark.parametrize("name", VIOLATIONS)
async def test_violation_is_answered_with_its_close_code_and_the_link_comes_back(name: str) -> None:
    data, code = VIOLATIONS[name]
    closes: list[bytes] = []

    async def script(peer: RawPeer) -> None:
        await peer.greet()
        if peer.number == 1:
            peer.write(data)
            closes.append(await peer.close_frame())
        await peer.acknowledge()

    source = ListSource([message(1)])
    async with raw_server(script) as url, running_notifier(fast_settings(url), source) as link:
        ended = await link.events.one(Disconnect)
        await link.events.one(Connect, count=2)
        await source.until(1)
        assert [int.from_bytes(close[:2], "big") for close in closes] == [code]
        assert ended.code == code
        assert f"ends a WebSocket ({code}): look for what writes into the connection" in ended.reason


async def test_server_that_closes_without_a_code_is_reported_as_1005() -> None:
    closes: list[bytes] = []

    async def script(peer: RawPeer) -> None:
        await peer.greet()
        if peer.number == 1:
            peer.write(close_frame(None))
            closes.append(await peer.close_frame())
        await peer.acknowledge()

    async with raw_server(script) as url, running_notifier(fast_settings(url)) as link:
        ended = await link.events.one(Disconnect)
        await link.events.one(Connect, count=2)
    assert (ended.code, ended.reason) == (1005, "the server closed the connection (1005, without a code)")
    assert closes == [b""]


async def test_server_that_closes_with_a_reason_gets_its_code_back() -> None:
    closes: list[bytes] = []

    async def script(peer: RawPeer) -> None:
        await peer.greet()
        if peer.number == 1:
            peer.write(close_frame(4999, "ปิดปรับปรุง\nระบบ"))
            closes.append(await peer.close_frame())
        await peer.acknowledge()

    async with raw_server(script) as url, running_notifier(fast_settings(url)) as link:
        ended = await link.events.one(Disconnect)
        await link.events.one(Connect, count=2)
    assert ended.reason == "the server closed the connection (4999, ปิดปรับปรุง ระบบ)"
    assert closes == [b"\x13\x87"]


@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        ({"accept": "c29tZSBvdGhlciBrZXk="}, "its Sec-WebSocket-Accept does not belong to our Sec-WebSocket-Key"),
        ({"accept": ""}, "its Sec-WebSocket-Accept does not belong to our Sec-WebSocket-Key"),
        ({"upgrade": "h2c"}, "it has no Upgrade: websocket"),
        ({"more": "Sec-WebSocket-Extensions: permessage-deflate"}, "it chooses an extension that we did not offer"),
        ({"more": "Sec-WebSocket-Protocol: chat"}, "it chooses a subprotocol that we did not offer"),
    ],
)
async def test_upgrade_that_is_not_valid_is_refused_with_what_is_wrong(answer: dict[str, str], detail: str) -> None:
    async def script(peer: RawPeer) -> None:
        if peer.number == 1:
            more = [answer["more"]] if "more" in answer else []
            peer.switch(*more, accept=answer.get("accept"), upgrade=answer.get("upgrade", "websocket"))
            peer.write(text_frame(b"0{}"))
            await peer.reader.read()
        else:
            await peer.greet()
            await peer.acknowledge()

    source = ListSource([message(1)])
    async with raw_server(script) as url, running_notifier(fast_settings(url), source) as link:
        await source.until(1)
        assert [failed.cause for failed in link.events.of(ConnectError)] == [
            f"the answer to the WebSocket upgrade at /api/v1/org-socket is not valid: {detail} (RFC 6455, 4.1): "
            "check what answers at WebSocket:Url; a cache or a proxy may answer for the server"
        ]


async def test_frames_are_read_in_any_division_and_pings_between_fragments_are_answered() -> None:
    pongs: list[bytes] = []

    async def script(peer: RawPeer) -> None:
        await peer.greet()
        await peer.next()
        data = frame(TEXT, b"43", first=0) + frame(PING, b"now") + frame(CONTINUATION, b"1[]") + frame(BINARY, b"x")
        for byte in data:
            peer.write(bytes((byte,)))
            await peer.writer.drain()
            await asyncio.sleep(0)
        pongs.append((await peer.next())[1])
        await peer.acknowledge()

    source = ListSource([message(1)])
    async with raw_server(script) as url, running_notifier(fast_settings(url), source) as link:
        await source.until(1)
        error = await link.events.one(ServerError)
        assert error.detail == "a binary frame that no packet announced"
        assert link.events.of(Disconnect) == []
    assert pongs == [b"now"]


async def test_thousands_of_frames_in_one_read_are_answered_in_order() -> None:
    answers: list[tuple[int, bytes]] = []
    done = asyncio.Event()
    payloads = [b"%d" % number for number in range(3500)]

    async def script(peer: RawPeer) -> None:
        await peer.greet()
        peer.write(b"".join(frame(PING, payload) for payload in payloads))
        while len(answers) < len(payloads):
            answers.append(await peer.next())
        done.set()
        await peer.acknowledge()

    async with raw_server(script) as url, running_notifier(fast_settings(url)):
        async with asyncio.timeout(_ANSWER):
            await done.wait()
    assert answers == [(PONG, payload) for payload in payloads]


async def test_server_that_pings_and_does_not_read_gets_an_answer_to_its_last_ping() -> None:
    count, pongs = 160_000, 0
    last = b"last".ljust(125)
    answered = asyncio.Event()

    async def script(peer: RawPeer) -> None:
        nonlocal pongs
        await peer.greet()
        peer.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        peer.transport.pause_reading()
        peer.write(frame(PING, b"x" * 125) * count)
        await peer.writer.drain()
        peer.write(frame(PING, last))
        while peer.writer.transport.get_write_buffer_size():
            await asyncio.sleep(0.01)
        peer.transport.resume_reading()
        while (await peer.next()) != (PONG, last):
            pongs += 1
        answered.set()
        await peer.acknowledge()

    async with raw_server(script) as url, running_notifier(fast_settings(url)):
        async with asyncio.timeout(_ANSWER):
            await answered.wait()
    assert pongs < count


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("end", "the connection broke without a close frame"),
        ("reset", "the connection broke: Connection reset by peer"),
    ],
)
async def test_connection_that_is_lost_is_reported_once_with_its_cause(how: str, reason: str) -> None:
    async def script(peer: RawPeer) -> None:
        await peer.greet()
        if peer.number > 1:
            await peer.acknowledge()
        await peer.next()
        if how == "reset":
            peer.reset()
        else:
            peer.writer.write_eof()
            await peer.reader.read()  # closing with unread bytes would be a reset

    source = ListSource([message(number, padding=4000) for number in range(1, 300)])
    async with raw_server(script) as url, running_notifier(fast_settings(url), source) as link:
        await source.until(299)
        assert [(ended.code, ended.reason) for ended in link.events.of(Disconnect)] == [(1006, reason)]
        assert link.events.of(ServerError) == []


async def test_url_with_the_scheme_of_a_websocket_is_connected_to() -> None:
    async def script(peer: RawPeer) -> None:
        await peer.greet()
        await peer.acknowledge()

    source = ListSource([message(1)])
    async with raw_server(script) as url, running_notifier(fast_settings(url.replace("http", "ws", 1)), source) as link:
        await source.until(1)
        assert link.events.of(ConnectError) == []
