"""Frames at both real endpoints: violations of RFC 6455, floods of tiny frames, unfinished messages."""

import asyncio
import base64
import contextlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.support.eventually import eventually
from tests.support.hub import PATH, RunningHub, message, running_hub
from worker.hub.connection_limits import ConnectionLimits
from worker.hub.events import ClientRejected
from worker.hub.transports import websocket
from worker.net.frame_reader import FrameReader

SOCKET_IO = f"{PATH}/?EIO=4&transport=websocket"
PATHS = [SOCKET_IO, "/ws"]
Bare = tuple[bytes, asyncio.StreamReader, asyncio.StreamWriter]


def frame(first: int, payload: bytes = b"", mask: bytes = b"\1\2\3\4") -> bytes:
    size = len(payload)
    length = bytes((size,)) if size < 126 else b"\x7e" + size.to_bytes(2, "big")
    length = bytes((length[0] | (0x80 if mask else 0),)) + length[1:]
    masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload)) if mask else payload
    return bytes((first,)) + length + mask + masked


@asynccontextmanager
async def bare(
    running: RunningHub, path: str, version: str | None = "13", **headers: str | None
) -> AsyncIterator[Bare]:
    """A connection after the answer to its upgrade, which is the first value."""
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    lines: dict[str, str | None] = {
        "Host": f"127.0.0.1:{running.port}",
        "Upgrade": "websocket",
        "Connection": "keep-alive, Upgrade",
        "Sec-WebSocket-Version": version,
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
        **headers,
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value is not None)
    writer.write(f"GET {path} HTTP/1.1\r\n{head}\r\n".encode())
    try:
        yield await reader.readuntil(b"\r\n\r\n"), reader, writer
    finally:
        writer.close()


async def close_code(reader: asyncio.StreamReader) -> int:
    """The code of the close frame, which is the last thing that comes.

    The connection may end with a reset: the hub gives up after a second, also where it has not read everything.
    """
    data = b""
    async with asyncio.timeout(60):
        with contextlib.suppress(ConnectionError):
            while piece := await reader.read(65536):
                data += piece
    at = data.rindex(b"\x88")
    return int.from_bytes(data[at + 2 : at + 4], "big")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(0x81, b"{}", mask=b""), 1002),
        (frame(0x89, b"", mask=b""), 1002),
        (frame(0xC1, b"{}"), 1002),
        (frame(0x83), 1002),
        (frame(0x80, b"x"), 1002),
        (frame(0x88, (1006).to_bytes(2, "big")), 1002),
        (frame(0x88, (5000).to_bytes(2, "big")), 1002),
        (frame(0x88, b"\x03"), 1002),
        (frame(0x88, b"\x03\xe8\xff"), 1007),
        (frame(0x81, b"\xff"), 1007),
        (frame(0x01, b"4\xe0\xb8") + frame(0x80, b"x"), 1007),
        (bytes((0x82, 0xFF)) + (70_000).to_bytes(8, "big"), 1009),
    ],
)
async def test_violation_of_the_protocol_closes_with_its_code(
    tmp_path: Path, path: str, data: bytes, code: int
) -> None:
    async with running_hub(tmp_path) as running, bare(running, path) as (_, reader, writer):
        writer.write(data)
        assert await close_code(reader) == code


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("version", ["8", "12", "14", "x", None])
async def test_other_version_of_websocket_gets_426_with_the_version_that_is_served(
    tmp_path: Path, path: str, version: str | None
) -> None:
    async with running_hub(tmp_path) as running, bare(running, path, version=version) as (head, _, _):
        assert head.startswith(b"HTTP/1.1 426")
        assert b"sec-websocket-version: 13" in head.lower()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "headers", [{"Sec-WebSocket-Key": "short"}, {"Sec-WebSocket-Key": None}, {"Connection": "close"}]
)
async def test_request_that_is_not_a_valid_upgrade_gets_400(
    tmp_path: Path, path: str, headers: dict[str, str | None]
) -> None:
    async with running_hub(tmp_path) as running, bare(running, path, **headers) as (head, _, _):
        assert head.startswith(b"HTTP/1.1 400")


def count_parsed_frames(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list whose only value is the number of frames that the hub has looked at."""
    parsed, parse = [0], FrameReader.next

    def counted(reader: FrameReader) -> tuple[int, bytes] | None:
        parsed[0] += 1
        return parse(reader)

    monkeypatch.setattr(FrameReader, "next", counted)
    return parsed


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("tiny", [frame(0x89), frame(0x8A), frame(0x02) + frame(0x00) * 3, frame(0x02) + frame(0x89)])
async def test_flood_of_tiny_frames_is_cut_off_and_the_rest_is_dropped_unparsed(
    tmp_path: Path, path: str, tiny: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed = count_parsed_frames(monkeypatch)
    async with running_hub(tmp_path) as running, bare(running, path) as (_, reader, writer):
        writer.write(tiny * 100_000)
        assert await close_code(reader) in (4429, 1002)
        rejected = await running.wait_for_event(ClientRejected)
        assert rejected.reason in ("too many control frames or small fragments", "a fragment out of order")
        assert parsed[0] < 1_000


async def test_frames_after_the_hub_has_closed_are_read_for_the_answer_and_no_further(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed = count_parsed_frames(monkeypatch)
    async with running_hub(tmp_path) as running, bare(running, "/ws") as (_, reader, writer):
        writer.write(frame(0x81, b"not a message") * 21)  # one more than the hub takes
        writer.write(frame(0x8A) * 50_000)
        assert await close_code(reader) == 4429
        async with asyncio.timeout(30):
            while len(running.hub._registry):
                await asyncio.sleep(0.01)
        assert parsed[0] < 5_000


async def test_clients_that_have_not_authenticated_make_room_when_the_hub_is_full(tmp_path: Path) -> None:
    async with running_hub(tmp_path, connection_limits=ConnectionLimits(total=3)) as running:
        honest = await running.native("ann")
        async with bare(running, "/ws") as (_, oldest, _), bare(running, "/ws") as (_, later, _):
            another = await running.native("bo")
            assert await asyncio.wait_for(oldest.read(), 30) == b""
            assert not later.at_eof()
            last = await running.native("cy")
            assert await asyncio.wait_for(later.read(), 30) == b""
            async with bare(running, "/ws") as (head, _, _):
                assert head.startswith(b"HTTP/1.1 503")  # all three have authenticated
            for client in (honest, another, last):
                await client.send_native("ping")
                assert (await client.next_native("pong"))["type"] == "pong"


async def test_request_that_is_not_valid_ends_no_other_connection_of_a_full_hub(tmp_path: Path) -> None:
    limits = ConnectionLimits(total=1)
    async with running_hub(tmp_path, connection_limits=limits) as running, bare(running, "/ws") as (_, oldest, _):
        for path, version in [("/ws", "8"), (f"{PATH}/?EIO=9&transport=websocket", "13")]:
            async with bare(running, path, version) as (head, _, _):
                assert head.startswith(b"HTTP/1.1 4")
        assert len(running.hub._registry) == 1
        ann = await running.native("ann")
        assert await asyncio.wait_for(oldest.read(), 30) == b""
        assert await ann.received_so_far() == []


async def test_pings_below_the_limit_are_answered_with_their_payload(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as running, bare(running, "/ws") as (_, reader, writer):
        for number in range(100):
            payload = b"%d" % number
            writer.write(frame(0x89, payload))
            assert await reader.readexactly(2 + len(payload)) == bytes((0x8A, len(payload))) + payload


async def test_publisher_may_send_many_control_frames(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as running:
        publisher = await running.publisher()
        socket = publisher.client.eio.ws
        for _ in range(1_000):
            await socket.ping()
        assert await publisher.publish(message(1)) == {"ok": True}


async def test_unfinished_messages_hold_bounded_memory_and_the_oldest_is_closed(tmp_path: Path) -> None:
    half = frame(0x82, b"x" * 60_000)[:50_000]
    async with running_hub(tmp_path) as running:
        incomplete = running.hub._native._websockets._incomplete
        incomplete.max_bytes = 130_000
        async with bare(running, "/ws") as (_, oldest, first), bare(running, "/ws") as a, bare(running, "/ws") as b:
            for number, writer in enumerate((first, a[2], b[2]), 1):
                writer.write(half)
                async with asyncio.timeout(30):
                    while incomplete.held_bytes < min(number, 2) * 50_000:
                        await asyncio.sleep(0.01)
            assert await close_code(oldest) == 4408
            await eventually(lambda: incomplete.held_bytes == 100_000)
        await eventually(lambda: not incomplete.held_bytes)


async def test_message_that_is_not_completed_in_time_closes_its_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket, "_MESSAGE_SECONDS", 0.1)
    async with running_hub(tmp_path) as running, bare(running, "/ws") as (_, reader, writer):
        writer.write(frame(0x01, b'{"type":'))
        assert await close_code(reader) == 4408
