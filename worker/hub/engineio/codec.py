"""Engine.IO packets, and payloads of several packets for HTTP long-polling. Pure bytes.

A packet is one character for the type, then the payload. Revision 3 of the protocol puts the type of a binary packet
into its first byte; revision 4 has binary messages only, without a type.
"""

import base64
import binascii
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import orjson

from worker.hub.errors import MalformedPacket

OPEN: Final = b"0"
CLOSE: Final = b"1"
PING: Final = b"2"
PONG: Final = b"3"
MESSAGE: Final = b"4"
UPGRADE: Final = b"5"
NOOP: Final = b"6"
PING_PROBE: Final = b"2probe"
PONG_PROBE: Final = b"3probe"

TEXT_TYPE: Final = "text/plain; charset=UTF-8"
BINARY_TYPE: Final = "application/octet-stream"
_SEPARATOR: Final = b"\x1e"
_BINARY_MESSAGE: Final = b"\x04"
_NOT_ASCII: Final = re.compile("[^\x00-\x7f]")
_MAX_LENGTH_DIGITS: Final = 10


@dataclass(frozen=True, slots=True)
class EnginePacket:
    """A packet as a WebSocket message carries it."""

    data: bytes
    binary: bool = False


def open_packet(handshake: dict[str, Any]) -> bytes:
    """Return the packet that opens a session; `handshake` as in the protocol's document."""
    return OPEN + orjson.dumps(handshake)


class PayloadCodec(Protocol):
    """Joins packets into the body of a response, and splits the body of a request."""

    def encode(self, packets: Sequence[EnginePacket]) -> tuple[bytes, str]:
        """Return the body and its content type."""
        ...

    def decode(self, body: bytes, content_type: str) -> Iterator[EnginePacket]:
        """Yield the packets. MalformedPacket: the body is not a payload."""
        ...


class PayloadCodec4:
    """Payloads of Engine.IO 4: packets between record separators, binary ones as `b` and base64."""

    def encode(self, packets: Sequence[EnginePacket]) -> tuple[bytes, str]:
        parts = [b"b" + base64.b64encode(packet.data) if packet.binary else packet.data for packet in packets]
        return _SEPARATOR.join(parts), TEXT_TYPE

    def decode(self, body: bytes, _: str) -> Iterator[EnginePacket]:
        start = 0
        while start <= len(body):
            end = body.find(_SEPARATOR, start)
            packet = body[start:] if end < 0 else body[start:end]
            yield EnginePacket(_from_base64(packet[1:]), binary=True) if packet[:1] == b"b" else EnginePacket(packet)
            if end < 0:
                return
            start = end + 1


@dataclass(frozen=True, slots=True)
class PayloadCodec3:
    """Payloads of Engine.IO 3: each packet after its length, as text, or as bytes if one of them is binary."""

    supports_binary: bool
    """Whether the client can read payloads of bytes; else binary packets are sent as `b4` and base64."""

    def encode(self, packets: Sequence[EnginePacket]) -> tuple[bytes, str]:
        if self.supports_binary and any(packet.binary for packet in packets):
            return b"".join(map(_as_bytes, packets)), BINARY_TYPE
        return b"".join(map(_as_text, packets)), TEXT_TYPE

    def decode(self, body: bytes, content_type: str) -> Iterator[EnginePacket]:
        if content_type == BINARY_TYPE:
            return _split_bytes(body)
        return _split_text(body)


def _as_text(packet: EnginePacket) -> bytes:
    if packet.binary:
        data = b"b4" + base64.b64encode(packet.data[1:])
    else:
        # Lengths count UTF-16 units, and clients of Socket.IO 1 decode UTF-8 twice. Escaped JSON is right for all.
        data = packet.data if packet.data.isascii() else _escaped(packet.data)
    return b"%d:%b" % (len(data), data)


def _as_bytes(packet: EnginePacket) -> bytes:
    length = bytes(int(digit) for digit in str(len(packet.data)))
    return bytes((packet.binary,)) + length + b"\xff" + packet.data


def _escaped(data: bytes) -> bytes:
    """Return JSON text with every character beyond ASCII as `\\u` escapes."""
    return _NOT_ASCII.sub(lambda match: _escape(match[0]), data.decode()).encode()


def _escape(character: str) -> str:
    units = character.encode("utf-16-be")
    return "".join(f"\\u{units[at] << 8 | units[at + 1]:04x}" for at in range(0, len(units), 2))


def _split_text(body: bytes) -> Iterator[EnginePacket]:
    """Yield the packets of `<length>:<packet>…`; lengths count UTF-16 units, as in JavaScript."""
    try:
        text = body.decode().encode("utf-16-le")
    except UnicodeError:
        raise MalformedPacket("a payload that is not UTF-8") from None
    colon, at = ":".encode("utf-16-le"), 0
    while at < len(text):
        end = text.find(colon, at, at + 2 * _MAX_LENGTH_DIGITS + 2)
        digits = text[at:end].decode("utf-16-le") if end > at and (end - at) % 2 == 0 else ""
        if not digits.isascii() or not digits.isdigit():
            raise MalformedPacket("a payload without a length")
        start = end + 2
        at = start + 2 * int(digits)
        if at > len(text) or at == start:
            raise MalformedPacket("a payload of another length")
        yield _text_packet(text[start:at])


def _text_packet(units: bytes) -> EnginePacket:
    try:
        packet = _decoded_once(units.decode("utf-16-le")).encode()
    except UnicodeError:
        raise MalformedPacket("a packet that ends within a character") from None
    if packet[:1] == b"b":
        return EnginePacket(_binary_type(packet[1:2]) + _from_base64(packet[2:]), binary=True)
    return EnginePacket(packet)


def _decoded_once(text: str) -> str:
    """Return the text as its client meant it: clients of Socket.IO 1 encode each packet as UTF-8 before the body is.

    Nothing in a request names the version. Text of other clients consists of the bytes of valid UTF-8, each as one
    character, only if it was encoded wrongly before.
    """
    if text.isascii():
        return text
    try:
        return text.encode("latin-1").decode()
    except UnicodeError:
        return text


def _split_bytes(body: bytes) -> Iterator[EnginePacket]:
    """Yield the packets of `<0 text, 1 binary><digits of the length><255><packet>…`."""
    at = 0
    while at < len(body):
        end = body.find(b"\xff", at + 1, at + 2 + _MAX_LENGTH_DIGITS)
        digits = body[at + 1 : end] if end > at + 1 else b""
        if body[at] > 1 or not digits or max(digits) > 9:
            raise MalformedPacket("a payload without a length")
        length = int("".join(map(str, digits)))
        packet = body[end + 1 : end + 1 + length]
        if len(packet) != length or not length:
            raise MalformedPacket("a payload of another length")
        yield EnginePacket(packet, binary=bool(body[at]))
        at = end + 1 + length


def _binary_type(digit: bytes) -> bytes:
    if digit != MESSAGE:
        raise MalformedPacket("a binary packet that is not a message")
    return _BINARY_MESSAGE


def _from_base64(text: bytes) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise MalformedPacket("a binary packet that is not base64") from None
