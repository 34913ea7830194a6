"""What a text frame of the server says: Socket.IO 5 on Engine.IO 4. Knows no socket; tells a Reader, in order."""

import contextlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from worker.orgsocket.link import Ending, refuses

_ACKNOWLEDGEMENT = re.compile(r"43(\d{1,15})(\[.*)", re.DOTALL)
_BINARY = re.compile(r"4([56])(\d{1,9})-(\d{0,15})\[")
_EVENT = re.compile(r"42(\d{0,15})(\[.*)", re.DOTALL)
_PLAINLY_YES = frozenset(("[]", "[true]", "[null]", '[{"ok":true}]', '["ok"]'))


@dataclass(frozen=True, slots=True)
class Greeting:
    """The server's OPEN packet; seconds and bytes."""

    ping_interval: float
    ping_timeout: float
    max_payload: int | None
    """None: it does not say, as servers before Engine.IO 6.2 do not."""


class Reader(Protocol):
    """Who is told of the frames, in the order they were read; nothing follows after `ended`."""

    def acknowledged(self, number: int, refusal: str | None) -> None: ...

    def ponged(self, payload: bytes) -> None: ...

    def heartbeat(self) -> None:
        """An Engine.IO PING was read."""
        ...

    def heartbeat_answered(self, written: int) -> None:
        """Our PONG goes out after `written` messages."""
        ...

    def wrote(self, number: int) -> None:
        """The transport has taken all messages up to `number`."""
        ...

    def told(self, event: str, arguments: Sequence[Any]) -> None:
        """The server sent an event."""
        ...

    def puzzled(self, detail: str) -> None:
        """A frame made no sense and was skipped."""
        ...

    def ended(self, ending: Ending) -> None: ...


class Frames:
    """Reads one connection's frames. `end` is called with what ends the session."""

    def __init__(self, reader: Reader, end: Callable[[Ending], None], *, fast: bool) -> None:
        self.greeting: Greeting | None = None
        self._reader = reader
        self._end = end
        self._fast = fast
        self._attachments = 0

    def read(self, text: str) -> bool:
        """One text frame; True: the library is to see it as well."""
        kind = text[:2]
        if kind == "43":
            return self._read_acknowledgement(text)
        if kind == "42":
            self._read_event(text)
        elif kind in ("45", "46"):
            self._read_binary(text)
        elif kind == "40":
            return self._read_connect(text)
        elif kind == "41":
            if not text.startswith("41/"):
                self._end(Ending("the server disconnected us from the namespace"))
        elif kind == "44":
            if not text.startswith("44/"):
                self._read_connect_error(text)
        else:
            return self._read_engine(text)
        return False

    def read_attachment(self) -> None:
        """A binary frame: it belongs to a packet announced before, or to nothing."""
        if self._attachments:
            self._attachments -= 1
        else:
            self._reader.puzzled("a binary frame that no packet announced")

    def _read_acknowledgement(self, text: str) -> bool:
        match = _ACKNOWLEDGEMENT.fullmatch(text)
        if match is None:
            self._reader.puzzled(f"an acknowledgement without number: {text[:80]!r}")
            return False
        number, arguments = match.groups()
        if self._fast and arguments in _PLAINLY_YES:
            self._reader.acknowledged(int(number), None)
            return False
        parsed = self._parsed(arguments)
        if parsed is None:
            return False
        if self._fast:
            self._reader.acknowledged(int(number), refusal(parsed))
        return not self._fast

    def _read_event(self, text: str) -> None:
        match = _EVENT.fullmatch(text)
        parsed = self._parsed(match[2]) if match else None
        if parsed and isinstance(parsed[0], str):
            # Servers with connection state recovery append an offset: whatever follows is just more arguments.
            self._reader.told(parsed[0], parsed[1:])
        elif match is None or parsed == []:
            self._reader.puzzled(f"an event without name: {text[:80]!r}")

    def _read_binary(self, text: str) -> None:
        match = _BINARY.match(text)
        if match is None:
            self._reader.puzzled(f"a binary packet that cannot be read: {text[:80]!r}")
            return
        kind, attachments, number = match.groups()
        self._attachments = int(attachments)
        if kind == "6" and number:
            self._reader.acknowledged(int(number), None)

    def _read_connect(self, text: str) -> bool:
        if text.startswith("40/"):
            return False
        with contextlib.suppress(orjson.JSONDecodeError):
            data = orjson.loads(text[2:] or "null")
            if isinstance(data, dict) and data.get("sid"):
                return True
        self._end(
            Ending(
                "the server speaks Engine.IO 3 (Socket.IO 2 or older); this worker needs Engine.IO 4, "
                "that is Socket.IO 3 or newer: upgrade the server",
                refused=True,
            )
        )
        return False

    def _read_connect_error(self, text: str) -> None:
        with contextlib.suppress(orjson.JSONDecodeError):
            data = orjson.loads(text[2:] or "null")
            message = data.get("message") if isinstance(data, dict) else data
            self._end(Ending(f"CONNECT_ERROR: {str(message)[:300]}", refused=refuses(data)))
            return
        self._end(Ending(f"CONNECT_ERROR: {text[2:80]}"))

    def _read_engine(self, text: str) -> bool:
        match text[:1]:
            case "2":
                self._reader.heartbeat()
                return True
            case "0":
                return self._read_open(text)
            case "1":
                self._end(Ending("the server closed the Engine.IO session"))
            case "6":
                return True
            case _:
                self._end(Ending(f"the server sent what is no Engine.IO packet: {text[:40]!r}"))
        return False

    def _read_open(self, text: str) -> bool:
        if self.greeting is not None:
            self._reader.puzzled("a second OPEN packet")
            return False
        with contextlib.suppress(AttributeError, KeyError, TypeError, ValueError):  # JSONDecodeError is a ValueError
            data = orjson.loads(text[1:])
            largest = data.get("maxPayload")
            interval, patience = int(data["pingInterval"]) / 1000, int(data["pingTimeout"]) / 1000
            if data["sid"] and interval + patience > 0:
                self.greeting = Greeting(interval, patience, int(largest) if largest else None)
                return True
        self._end(Ending(f"the server's OPEN packet cannot be read: {text[:80]!r}"))
        return False

    def _parsed(self, arguments: str) -> list[Any] | None:
        try:
            parsed = orjson.loads(arguments)
        except orjson.JSONDecodeError as exc:
            self._reader.puzzled(f"not valid JSON: {exc}")
            return None
        return parsed if isinstance(parsed, list) else None


def refusal(arguments: Sequence[Any]) -> str | None:
    """Why an acknowledgement says no; None: it says yes.

    No is said explicitly: a first argument of `false`, the word "error", or an object with `ok` or `success` false,
    `status` "error", or a non-empty `error`. Everything else is yes, also an empty acknowledgement.
    """
    first = arguments[0] if arguments else None
    if first is False:
        return _reason(arguments[1:], "the server answered false")
    if first == "error":
        return _reason(arguments[1:], "the server answered error")
    if not isinstance(first, dict):
        return None
    if first.get("error"):
        return _reason([first["error"]], "error")
    if first.get("ok") is False or first.get("success") is False or first.get("status") == "error":
        return _reason([first.get("message") or first.get("reason")], "the server answered not ok")
    return None


def _reason(told: Sequence[Any], otherwise: str) -> str:
    """The server's own words, if it found any."""
    detail = told[0] if told else None
    if isinstance(detail, dict):
        detail = detail.get("message") or detail.get("reason") or detail.get("code")
    return str(detail)[:500] if detail else otherwise
