"""Encode and decode Socket.IO 5 packets. Pure bytes and values; knows no session and no user.

Grammar: `<kind>[<attachments>-][<namespace>,][<ack id>][JSON]` (Socket.IO protocol, revision 5).
"""

import json
import re
from collections.abc import Callable
from enum import IntEnum
from typing import Any, Final, NamedTuple

import orjson

from worker.hub.errors import MalformedPacket
from worker.net.json_limits import is_deeper_than

MAX_DEPTH: Final = 32
"""Levels of nested arrays and objects."""
MAX_ATTACHMENTS: Final = 10

# Clients of Socket.IO 1 and 2 append a query to the namespace they connect to, and a query may hold a token.
_HEAD = re.compile(rb"([0-6])(?:([0-9]{1,3})-)?(?:(/[^,?]{0,200}(?:\?[^,]{0,16000})?)(?:,|$))?([0-9]{1,15})?(?![0-9])")
_RESERVED: Final = frozenset(
    {"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"}
)


class Kind(IntEnum):
    """A packet's type: its first character."""

    CONNECT = 0
    DISCONNECT = 1
    EVENT = 2
    ACK = 3
    CONNECT_ERROR = 4
    BINARY_EVENT = 5
    BINARY_ACK = 6


_KINDS: Final = tuple(Kind)
_WITH_ATTACHMENTS: Final = (Kind.BINARY_EVENT, Kind.BINARY_ACK)


class Packet(NamedTuple):
    """A decoded packet.

    A named tuple, because one is made for each message, several times as fast as a frozen class.
    """

    kind: Kind
    namespace: str = "/"
    id: int | None = None
    data: Any = None
    raw: bytes = b""
    """The JSON exactly as the client sent it."""
    attachments: int = 0
    """The number of binary messages that belong to the packet and follow it."""
    error: str = ""
    """Why the event must be rejected, although it is a packet that can be answered."""


def _known() -> bool:
    return True


def decode(message: bytes, is_known: Callable[[], bool] = _known) -> Packet:
    """Return the packet in one message of a client. MalformedPacket: a client may not send this.

    `is_known`: whether the client has been accepted; see `parse_json`. Only asked if it matters.
    """
    head = _HEAD.match(message)
    if head is None:
        raise MalformedPacket("not a Socket.IO packet")
    kind, attachments, namespace, ack = head.groups()
    raw, error = message[head.end() :], ""
    try:
        data = parse_json(raw, is_known) if raw else None
    except MalformedPacket:
        # A program that cuts a text in the middle of a character must learn which of its messages it was.
        data = _with_lone_surrogates(raw) if kind == b"2" and is_known() else None
        if data is None:
            raise
        error = "malformed: a text has a lone surrogate, half of a character"
    packet = Packet(
        _KINDS[kind[0] - 48],
        "/" if namespace is None else _text(namespace),
        None if ack is None else int(ack),
        data,
        raw,
        0 if attachments is None else int(attachments),
        error,
    )
    _check(packet)
    return packet


def parse_json(raw: bytes, is_known: Callable[[], bool] = _known) -> Any:
    """Return the JSON value. MalformedPacket: it is not valid JSON, or nested too deep.

    A client that is not known yet sends a token, for which a few objects are enough; tens of thousands of them take
    10 ms to read.
    """
    # Most messages have few brackets, so that the nesting need not be known.
    if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH:
        if not is_known():
            raise MalformedPacket(f"more than {MAX_DEPTH} arrays and objects before authentication")
        if is_deeper_than(raw, MAX_DEPTH):
            raise MalformedPacket(f"nested deeper than {MAX_DEPTH}")
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as exc:
        raise MalformedPacket(f"not valid JSON: {exc.msg}") from None


def _with_lone_surrogates(raw: bytes) -> Any:
    """Return JSON whose only fault are lone surrogates, which no other reader accepts; None: it has other faults."""
    try:
        value = json.loads(raw, parse_constant=_reject_constant)
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return value
    except (ValueError, RecursionError):
        pass
    return None


def _reject_constant(name: str) -> None:
    raise ValueError(name)


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise MalformedPacket("the namespace is not valid UTF-8") from None


def _check(packet: Packet) -> None:
    binary = packet.kind in _WITH_ATTACHMENTS
    if binary != (packet.attachments > 0) or packet.attachments > MAX_ATTACHMENTS:
        raise MalformedPacket("the number of attachments does not fit the packet")
    if not _is_valid_data(packet.kind, packet.data):
        raise MalformedPacket(f"{packet.kind.name} with data of the wrong type")


def _is_valid_data(kind: Kind, data: Any) -> bool:
    match kind:
        case Kind.EVENT | Kind.BINARY_EVENT:
            return isinstance(data, list) and bool(data) and isinstance(data[0], str) and data[0] not in _RESERVED
        case Kind.CONNECT:
            return data is None or isinstance(data, dict)
        case Kind.DISCONNECT:
            return data is None
        case Kind.ACK | Kind.BINARY_ACK:
            return isinstance(data, list)
        case Kind.CONNECT_ERROR:
            return False


def encode(kind: Kind, namespace: str, data: bytes = b"", ack: int | None = None) -> bytes:
    """Return the packet as a message; `data` is JSON already."""
    prefix = b"%d" % kind
    if namespace != "/":
        prefix += namespace.encode() + b","
    if ack is not None:
        prefix += b"%d" % ack
    return prefix + data


def reconstruct(value: Any, attachments: list[bytes]) -> Any:
    """Return the data with its attachments in place of the placeholders."""
    if isinstance(value, list):
        return [reconstruct(item, attachments) for item in value]
    if not isinstance(value, dict):
        return value
    if value.get("_placeholder") is not True:
        return {key: reconstruct(item, attachments) for key, item in value.items()}
    number = value.get("num")
    if not isinstance(number, int) or not 0 <= number < len(attachments):
        raise MalformedPacket("a placeholder without an attachment")
    return attachments[number]
