"""Socket.IO 5 packets on Engine.IO 4 messages: text in, value out, and back. Knows no socket, no user.

Grammar: `<kind>[<attachments>-][<namespace>,][<ack id>][JSON]` (Socket.IO protocol, revision 5).
"""

import re
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

import orjson

MAX_DEPTH: Final = 32
"""Levels of nested arrays and objects; more is an attack, not a message."""
MAX_ATTACHMENTS: Final = 10

_HEAD = re.compile(rb"([0-6])(?:([0-9]{1,3})-)?(?:(/[^,]{0,200})(?:,|$))?([0-9]{1,15})?(?![0-9])")
_RESERVED: Final = frozenset(
    {"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"}
)


class Kind(IntEnum):
    """The packet's first character."""

    CONNECT = 0
    DISCONNECT = 1
    EVENT = 2
    ACK = 3
    CONNECT_ERROR = 4
    BINARY_EVENT = 5
    BINARY_ACK = 6


class Malformed(Exception):
    """The bytes are no packet a client may send. The text is for the log."""


@dataclass(frozen=True, slots=True)
class Packet:
    """A decoded packet."""

    kind: Kind
    namespace: str = "/"
    id: int | None = None
    data: Any = None
    raw: bytes = b""
    """The JSON as it came."""
    attachments: int = 0
    """Binary messages that belong to it and are still to come."""


def decode(message: bytes) -> Packet:
    """What a client sent in one Engine.IO message. Malformed: nothing a client may send."""
    head = _HEAD.match(message)
    if head is None:
        raise Malformed("no Socket.IO packet")
    kind, attachments, namespace, ack = head.groups()
    raw = message[head.end() :]
    packet = Packet(
        kind=Kind(kind[0] - 48),
        namespace="/" if namespace is None else _text(namespace),
        id=None if ack is None else int(ack),
        data=parse(raw) if raw else None,
        raw=raw,
        attachments=0 if attachments is None else int(attachments),
    )
    _check(packet)
    return packet


def parse(raw: bytes) -> Any:
    """JSON of bounded depth."""
    # Counting brackets is a C loop; only a message full of them is walked.
    if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH and _depth(raw) > MAX_DEPTH:
        raise Malformed(f"nested deeper than {MAX_DEPTH}")
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as exc:
        raise Malformed(f"no JSON: {exc.msg}") from None


def _depth(raw: bytes) -> int:
    """The deepest nesting, brackets inside strings left out."""
    deepest = level = 0
    for token in re.finditer(rb'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]', raw, re.DOTALL):
        if token[0] in (b"[", b"{"):
            level += 1
            deepest = max(deepest, level)
        elif token[0] in (b"]", b"}"):
            level -= 1
    return deepest


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise Malformed("the namespace is no UTF-8") from None


def _check(packet: Packet) -> None:
    binary = packet.kind in (Kind.BINARY_EVENT, Kind.BINARY_ACK)
    if binary != (packet.attachments > 0) or packet.attachments > MAX_ATTACHMENTS:
        raise Malformed("attachments do not fit the packet")
    if not _fits(packet.kind, packet.data):
        raise Malformed(f"{packet.kind.name} with wrong data")


def _fits(kind: Kind, data: Any) -> bool:
    match kind:
        case Kind.CONNECT:
            return data is None or isinstance(data, dict)
        case Kind.DISCONNECT:
            return data is None
        case Kind.EVENT | Kind.BINARY_EVENT:
            return isinstance(data, list) and bool(data) and isinstance(data[0], str) and data[0] not in _RESERVED
        case Kind.ACK | Kind.BINARY_ACK:
            return isinstance(data, list)
        case Kind.CONNECT_ERROR:
            return False


def encode(kind: Kind, namespace: str, data: bytes = b"", ack: int | None = None) -> bytes:
    """An Engine.IO message with the packet; `data` is JSON already."""
    prefix = b"4%d" % kind
    if namespace != "/":
        prefix += namespace.encode() + b","
    if ack is not None:
        prefix += b"%d" % ack
    return prefix + data


def encode_binary(kind: Kind, namespace: str, data: list[Any], ack: int | None = None) -> tuple[bytes, list[bytes]]:
    """As encode(), for data with bytes in it: the message, then its attachments."""
    attachments: list[bytes] = []
    flat = _deconstruct(data, attachments)
    prefix = b"4%d%d-" % (kind, len(attachments))
    if namespace != "/":
        prefix += namespace.encode() + b","
    if ack is not None:
        prefix += b"%d" % ack
    return prefix + orjson.dumps(flat), attachments


def _deconstruct(value: Any, attachments: list[bytes]) -> Any:
    if isinstance(value, bytes):
        attachments.append(value)
        return {"_placeholder": True, "num": len(attachments) - 1}
    if isinstance(value, list):
        return [_deconstruct(item, attachments) for item in value]
    if isinstance(value, dict):
        return {key: _deconstruct(item, attachments) for key, item in value.items()}
    return value


def reconstruct(value: Any, attachments: list[bytes]) -> Any:
    """The data with its attachments in place of the placeholders."""
    if isinstance(value, list):
        return [reconstruct(item, attachments) for item in value]
    if not isinstance(value, dict):
        return value
    if value.get("_placeholder") is not True:
        return {key: reconstruct(item, attachments) for key, item in value.items()}
    number = value.get("num")
    if not isinstance(number, int) or not 0 <= number < len(attachments):
        raise Malformed("a placeholder without its attachment")
    return attachments[number]
