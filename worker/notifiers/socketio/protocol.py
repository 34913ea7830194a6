"""What every version of the Socket.IO protocol has in common: the interface, and the packets that never changed.

A protocol object reads the text frames of one connection, in order, and reports to a `FrameListener` what they say. It
knows no socket. `protocol_v3.py` and `protocol_v4.py` add what is particular to Engine.IO 3 and 4.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Protocol

import orjson

from worker.notifiers.socketio.acknowledgement import PLAIN_ACCEPTANCES, rejection
from worker.notifiers.socketio.quote import Quote
from worker.notifiers.socketio.server_words import words_of
from worker.notifiers.socketio.state import CONNECT_ERROR, CloseReason, is_rejection

_ACKNOWLEDGEMENT = re.compile(r"43(\d{1,15})(\[.*)", re.DOTALL)
_BINARY = re.compile(r"4([56])(\d{1,9})-(?:(/[^,]*),)?(\d{0,15})\[")
_EVENT = re.compile(r"42(\d{0,15})(\[.*)", re.DOTALL)

_IN_NAMESPACE = frozenset(("40", "41", "42", "43", "44"))
"""The packets that carry a namespace where it is not the main one; binary packets have it further on."""

MAX_INCOMING: Final = 4 * 1024 * 1024
"""Bytes of one message, or of one answer by long-polling; a server that sends more to a publisher is broken."""

LONGEST_REASON: Final = 500
"""Characters of the server's own words that are kept."""

SendText = Callable[[str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class OpenPacket:
    """The server's OPEN packet; seconds and bytes."""

    ping_interval: float
    ping_timeout: float
    max_payload: int | None
    """None: the server announces no limit, as servers before Engine.IO 6.2 do not."""


class FrameListener(Protocol):
    """Receives what the frames of one connection say, in the order they were read; nothing follows `on_close`."""

    def on_ack(self, number: int, rejection: str | None) -> None:
        """The server acknowledged message `number`; `rejection` says why it does not accept it."""
        ...

    def on_pong(self, payload: bytes) -> None:
        """A WebSocket pong was read."""
        ...

    def on_heartbeat(self) -> None:
        """An Engine.IO heartbeat of the server was read."""
        ...

    def on_heartbeat_answered(self, written: int) -> None:
        """Our answer to the server's heartbeat is sent after `written` messages."""
        ...

    def on_heartbeat_sent(self, written: int) -> None:
        """Our own Engine.IO heartbeat is sent after `written` messages; the server will answer it."""
        ...

    def on_heartbeat_reply(self) -> None:
        """The server's answer to our Engine.IO heartbeat was read."""
        ...

    def on_written(self, number: int) -> None:
        """The transport has taken all messages up to `number`."""
        ...

    def on_event(self, event: str, arguments: Sequence[Any]) -> None:
        """The server sent an event."""
        ...

    def on_bad_frame(self, detail: str) -> None:
        """A frame could not be read and was skipped."""
        ...

    def on_close(self, reason: CloseReason) -> None:
        """The connection has ended."""
        ...


class ConnectionEvents(Protocol):
    """Receives what the frames of one connection mean for the connection itself."""

    def on_open(self) -> None:
        """The OPEN packet was read."""
        ...

    def on_connect(self) -> None:
        """The server let us into the namespace."""
        ...

    def end(self, reason: CloseReason) -> None:
        """The session is over."""
        ...


class SocketIoProtocol(ABC):
    """One connection's protocol. Give it every text frame, in order, through `read`.

    A subclass says how a connection is asked for (`version`, `connect_packet`), what the server answers, and who sends
    the heartbeats (`keep_alive`).
    """

    version: ClassVar[int]
    """The version of Engine.IO, as the handshake's query names it."""

    def __init__(self, listener: FrameListener, connection: ConnectionEvents, namespace: str = "/") -> None:
        self.open_packet: OpenPacket | None = None
        """None until it has been read."""
        self.quote = Quote()
        """Replaced when it is known what the server is sent."""
        self.namespace = namespace
        self._prefix = "" if namespace == "/" else f"{namespace},"
        self._event = b"42" + self._prefix.encode()
        self._event_with_number = self._event.replace(b"%", b"%%") + b"%d%b"
        if self._prefix:
            self.read = self._read_in_namespace  # type: ignore[method-assign]  # spares the main one a look at each frame
        self._listener = listener
        self._connection = connection
        self._attachments = 0

    # -- what differs between versions ------------------------------------------------------------------------------

    @abstractmethod
    def connect_packet(self, auth: Mapping[str, Any] | None) -> str | None:
        """The packet that asks for the namespace, sent after OPEN; None: the server lets us in unasked."""

    @abstractmethod
    async def keep_alive(self, send: SendText, written: Callable[[], int]) -> None:
        """Exchange heartbeats until the server stays silent for longer than it announced in OPEN; then return.

        `written` gives how many messages the transport has taken so far.
        """

    @abstractmethod
    def _read_connect(self, text: str) -> None:
        """A CONNECT packet for the main namespace."""

    @abstractmethod
    def _read_connect_error(self, text: str) -> None:
        """A packet of type 4 for the main namespace: the server rejects the connection, or reports an error."""

    @abstractmethod
    def _read_heartbeat(self, text: str) -> None:
        """An Engine.IO PING or PONG."""

    # -- what they share --------------------------------------------------------------------------------------------

    @property
    def closing_packets(self) -> Sequence[str]:
        """Sent before the transport is closed: leave the namespace, end the Engine.IO session."""
        return (f"41{self._prefix}", "1")

    def encode_event(self, body: bytes, number: int | None) -> bytes:
        """The frame of an event whose array is already encoded; with a number, an acknowledgement is requested."""
        return self._event + body if number is None else self._event_with_number % (number, body)

    def read(self, text: str) -> None:
        """Read one text frame. Never raises."""
        kind = text[:2]
        if kind == "43":
            self._read_acknowledgement(text)
        elif kind == "42":
            self._read_event(text)
        elif kind in ("45", "46"):
            self._read_binary(text)
        elif kind in ("40", "41", "44"):
            if not text.startswith("/", 2):  # other namespaces are not ours
                self._read_namespace(kind, text)
        else:
            self._read_engine(text)

    def _read_in_namespace(self, text: str) -> None:
        kind = text[:2]
        SocketIoProtocol.read(self, self._without_namespace(kind, text) if kind in _IN_NAMESPACE else text)

    def _without_namespace(self, kind: str, text: str) -> str:
        """Return the frame as it would read in the main namespace; a NOOP for the packets of other namespaces."""
        if text.startswith(self._prefix, 2):
            return kind + text[2 + len(self._prefix) :]
        return kind if text[2:] == self.namespace else "6"  # a packet without body needs no comma

    def read_attachment(self) -> None:
        """Read a binary frame: it belongs to a packet announced before, or to nothing."""
        if self._attachments:
            self._attachments -= 1
        else:
            self._listener.on_bad_frame("a binary frame that no packet announced")

    def _read_acknowledgement(self, text: str) -> None:
        match = _ACKNOWLEDGEMENT.fullmatch(text)
        if match is None:
            self._listener.on_bad_frame(f"an acknowledgement without number: {self.quote(text, 80)!r}")
            return
        self._report_acknowledgement(*match.groups())

    def _report_acknowledgement(self, number: str, arguments: str) -> None:
        if arguments in PLAIN_ACCEPTANCES:
            self._listener.on_ack(int(number), None)
        elif (parsed := self._parse(arguments)) is not None:
            reason = rejection(parsed)
            self._listener.on_ack(int(number), None if reason is None else self.quote(reason, LONGEST_REASON))

    def _read_event(self, text: str) -> None:
        match = _EVENT.fullmatch(text)
        parsed = self._parse(match[2]) if match else None
        if parsed and isinstance(parsed[0], str):
            # Servers with connection state recovery append an offset: it is one more argument.
            self._report_event(parsed[0], parsed[1:])
        elif match is None or parsed == []:
            self._listener.on_bad_frame(f"an event without name: {self.quote(text, 80)!r}")

    def _report_event(self, event: str, arguments: Sequence[Any]) -> None:
        if event == "error":
            arguments = [self.quote(words_of(one), LONGEST_REASON) for one in arguments[:1]]
        self._listener.on_event(event, arguments)

    def _read_binary(self, text: str) -> None:
        match = _BINARY.match(text)
        if match is None:
            self._listener.on_bad_frame(f"a binary packet that cannot be read: {self.quote(text, 80)!r}")
            return
        kind, attachments, namespace, number = match.groups()
        self._attachments = int(attachments)
        if kind == "6" and number and (namespace or "/") == self.namespace:
            # What it says does not depend on its attachments, whose places hold objects without `ok` or `error`.
            self._report_acknowledgement(number, text[match.end() - 1 :])

    def _refused(self, data: object, words: str, speaks: int | None = None) -> CloseReason:
        """Return the reason for the end of an attempt whose CONNECT the server refused in these words."""
        rejected = is_rejection(data) or is_rejection(words)
        return CloseReason(f"{CONNECT_ERROR}: {self.quote(words, 300)}", rejected=rejected, speaks=speaks)

    def _read_namespace(self, kind: str, text: str) -> None:
        if kind == "40":
            self._read_connect(text)
        elif kind == "44":
            self._read_connect_error(text)
        else:
            self._connection.end(CloseReason("the server disconnected us from the namespace"))

    def _read_engine(self, text: str) -> None:
        match text[:1]:
            case "2" | "3":
                self._read_heartbeat(text)
            case "0":
                self._read_open(text)
            case "1":
                self._connection.end(CloseReason("the server closed the Engine.IO session"))
            case "6":
                pass
            case _:
                self._connection.end(
                    CloseReason(f"the server sent a frame that is not Engine.IO: {self.quote(text, 40)!r}")
                )

    def _read_open(self, text: str) -> None:
        if self.open_packet is not None:
            self._listener.on_bad_frame("a second OPEN packet")
            return
        self.open_packet = _open_packet(text)
        if self.open_packet is None:
            self._connection.end(CloseReason(f"the server's OPEN packet cannot be read: {self.quote(text, 80)!r}"))
        else:
            self._connection.on_open()

    def _parse(self, arguments: str) -> list[Any] | None:
        try:
            parsed = orjson.loads(arguments)
        except orjson.JSONDecodeError as exc:
            self._listener.on_bad_frame(f"not valid JSON: {exc}")
            return None
        return parsed if isinstance(parsed, list) else None


def _open_packet(text: str) -> OpenPacket | None:
    """None: it lacks a session id or usable ping times."""
    try:
        data = orjson.loads(text[1:])
        max_payload = int(data.get("maxPayload") or 0)
        interval, timeout = int(data["pingInterval"]) / 1000, int(data["pingTimeout"]) / 1000
        if data["sid"] and min(interval, timeout) >= 0 and interval + timeout > 0:
            return OpenPacket(interval, timeout, max_payload if max_payload > 0 else None)
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError):  # JSONDecodeError is a ValueError
        pass
    return None
