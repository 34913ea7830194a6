"""What clients of the hub send, and what servers send to the link."""

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache
from typing import Any

import jwt

from config.user_id import is_user_id
from worker.core.clock import Clock
from worker.hub.engineio.codec import BINARY_TYPE, TEXT_TYPE, EnginePacket, PayloadCodec3, PayloadCodec4
from worker.hub.errors import MalformedPacket
from worker.hub.native.messages import decode_native
from worker.hub.socketio.packets import Kind, decode, encode, reconstruct
from worker.hub.tokens import Identity, TokenRejected, TokenService
from worker.net.frame_reader import FrameError, FrameReader, close_code_of
from worker.notifiers.socketio.protocol import SocketIoProtocol
from worker.notifiers.socketio.protocol_v3 import ProtocolV3
from worker.notifiers.socketio.protocol_v4 import ProtocolV4

_LIMIT = 300
_LONGEST_HEADER = 14
_SIGNING_KEY = b"k" * 32


def frames(data: bytes) -> None:
    """Any division of the bytes into reads gives the same frames and the same end, within the limit; for either end."""
    size, data = (data[0] or 1) if data else 1, data[1:]
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    for masked in (True, False):
        in_pieces, whole = _frames_of(pieces, masked=masked), _frames_of([data], masked=masked)
        assert in_pieces == whole, "the division of the bytes into reads changes the result"


def _frames_of(pieces: Sequence[bytes], *, masked: bool) -> tuple[list[tuple[int, bytes]], int | None]:
    """Return the frames and the code of the error that ends them."""
    reader, found = FrameReader(_LIMIT, masked=masked), []
    try:
        for piece in pieces:
            reader.feed(piece)
            while (frame := reader.next()) is not None:
                found.append(frame)
                assert len(frame[1]) <= _LIMIT
            assert reader.held_bytes <= _LIMIT + _LONGEST_HEADER + 125
    except FrameError as exc:
        return found, exc.code
    return found, None


def close_frames(data: bytes) -> None:
    """A close frame's code may be sent in an answer."""
    with suppress(FrameError):
        code = close_code_of(data)
        assert code == 1005 or close_code_of(code.to_bytes(2, "big")) == code


def engine_io_4(data: bytes) -> None:
    """A polling body of Engine.IO 4 that is decoded and encoded again has the same packets."""
    _payload(PayloadCodec4(), data, TEXT_TYPE)


def engine_io_3(data: bytes) -> None:
    """A polling body of Engine.IO 3, as text or bytes."""
    is_binary, body = bool(data[:1] and data[0] & 1), data[1:]
    _payload(PayloadCodec3(supports_binary=True), body, BINARY_TYPE if is_binary else TEXT_TYPE)


def _payload(codec: PayloadCodec3 | PayloadCodec4, body: bytes, content_type: str) -> None:
    packets: list[EnginePacket] = []
    with suppress(MalformedPacket):
        packets.extend(codec.decode(body, content_type))
    for packet in packets:
        if not packet.binary:
            _socket_io_message(packet.data[1:])
    if packets and _can_be_sent(packets):
        again = list(codec.decode(*codec.encode(packets)))
        assert [packet.binary for packet in again] == [packet.binary for packet in packets]


def _can_be_sent(packets: Sequence[EnginePacket]) -> bool:
    """Return whether the hub would send such packets: text in UTF-8 without the separator, never an empty one."""
    for packet in packets:
        if packet.binary:
            if not packet.data.startswith(b"\x04"):
                return False
        elif not packet.data.isascii() or not packet.data or b"\x1e" in packet.data or packet.data.startswith(b"b"):
            return False
    return True


def socket_io(data: bytes) -> None:
    """A Socket.IO packet; what was decoded and encoded again is the same packet."""
    _socket_io_message(data)


def _socket_io_message(message: bytes) -> None:
    with suppress(MalformedPacket):
        packet = decode(message)
        if packet.kind in (Kind.BINARY_EVENT, Kind.BINARY_ACK):
            reconstruct(packet.data, [b"x"] * packet.attachments)
            return
        again = decode(encode(packet.kind, packet.namespace, packet.raw, packet.id))
        assert (again.kind, again.namespace, again.id) == (packet.kind, packet.namespace, packet.id)
        assert again.raw == packet.raw


def native(data: bytes) -> None:
    """A message of a native client."""
    with suppress(MalformedPacket):
        kind, content, _ = decode_native(data, binary=False)
        assert isinstance(kind, str)
        json.dumps(content)


class _Ignored:
    """Checks the types of what a protocol reports."""

    def on_ack(self, number: int, rejection: str | None) -> None:
        assert number >= 0

    def on_event(self, event: str, arguments: Sequence[Any]) -> None:
        assert isinstance(event, str)

    def on_bad_frame(self, problem: str) -> None:
        assert len(problem) < 1000, "a log line that grows with the frame"

    def end(self, reason: Any) -> None:
        assert len(str(reason)) < 1000, "a log line that grows with the frame"

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


def link(data: bytes) -> None:
    """Frames of a server, separated by line ends: the link's protocols never raise."""
    head, text = data[:1], data[1:].decode("utf-8", "replace")
    listener: Any = _Ignored()
    namespace = "/" if not head or head[0] & 2 else "/orders"
    version: type[SocketIoProtocol] = ProtocolV4 if not head or head[0] & 1 else ProtocolV3
    protocol = version(listener, listener, namespace)
    for frame in text.split("\n"):
        if frame == "B":
            protocol.read_attachment()
        else:
            protocol.read(frame)


@cache
def _tokens() -> TokenService:
    return TokenService(_SIGNING_KEY, "issuer", "audience", Clock())


def token(data: bytes) -> None:
    """A token as a client sends it; or, after a first byte of 1, claims that are signed with the right key."""
    for sent in _tokens_of(data):
        with suppress(TokenRejected):
            identity = _tokens().identify(sent)
            assert isinstance(identity, Identity)
            assert identity.user is not None
            assert is_user_id(identity.user)


def _tokens_of(data: bytes) -> Iterator[object]:
    if data[:1] == b"\x01":
        signer = jwt.PyJWS()
        yield signer.encode(data[1:], _SIGNING_KEY, "HS256")
        with suppress(ValueError):
            claims = json.loads(data[1:])
            if isinstance(claims, dict):
                usual = {"sub": "u-1", "aud": "audience", "iss": "issuer", "exp": 4_000_000_000}
                yield signer.encode(json.dumps(usual | claims).encode(), _SIGNING_KEY, "HS256")
    else:
        yield data.decode("latin-1")
        yield data.decode("utf-8", "surrogateescape")
