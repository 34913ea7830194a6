"""Read a request's body as JSON: bounded in size, time and number of values, for every caller."""

import asyncio
import codecs
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import orjson
from aiohttp import web
from pydantic import BaseModel, ValidationError

from config.json_text import json_encoding, json_text
from worker.errors import InvalidPayload, TooLarge, WorkerError
from worker.handler import explain
from worker.net.json_limits import JsonLimits, JsonScanner, JsonTooDeep, JsonTooLarge
from worker.net.loop_share import LoopShare

_Model = TypeVar("_Model", bound=BaseModel)

LIMITS = JsonLimits()
_SCANNED = 1 << 14
"""Bytes; smaller bodies cannot hold enough values to need a count, and larger ones are counted by so many at once."""
_HEAD = 3
"""Bytes that show the encoding."""
_IN_A_THREAD = 1 << 18
"""Bytes from which a body is parsed outside the event loop."""


class MalformedJson(WorkerError):
    """Bytes that are not JSON."""

    exit_code = 65


@dataclass(frozen=True, slots=True)
class SlowestPace:
    """How slowly a body may arrive."""

    idle_seconds: float = 10.0
    """The longest time without a byte."""
    grace_seconds: float = 10.0
    """From the start, until the average rate counts."""
    bytes_per_second: float = 16_384.0
    """0: there is no lowest rate."""


@dataclass(slots=True)
class Pace:
    """How a body has arrived so far."""

    slowest: SlowestPace
    received: int = 0
    started: float = field(default_factory=time.monotonic)

    def next_piece(self) -> asyncio.Timeout:
        """Return a time limit for the next piece; TimeoutError: the body is too slow."""
        slowest, seconds = self.slowest, self.slowest.idle_seconds
        if slowest.bytes_per_second:
            due = self.started + slowest.grace_seconds + self.received / slowest.bytes_per_second
            seconds = min(seconds, due - time.monotonic())
        return asyncio.timeout(seconds)


class LargeBodies:
    """Lets one large body at a time be counted in a turn of the event loop, and one at a time be parsed.

    Counting a piece takes up to 2 ms, parsing 250,000 values 30 ms in which no other thread runs. The loop has to serve
    others in between, however many such bodies arrive together.
    """

    __slots__ = ("_parsing", "_share")

    def __init__(self) -> None:
        self._share = LoopShare(per_turn=1)
        self._parsing = asyncio.Lock()

    async def turn(self) -> None:
        """Return once it is the caller's turn to count a piece."""
        await self._share.turn()

    async def parsed(self, data: bytes, what: str) -> Any:
        """Return the value of a large body; `what` names it in the error. Raises MalformedJson."""
        async with self._parsing:
            return await asyncio.to_thread(_parsed, data, what)


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """How large a body may be, and how slowly it may arrive."""

    size: int
    """Bytes."""
    pace: SlowestPace = SlowestPace()
    setting: str | None = None
    """The setting that `size` is from."""
    large: LargeBodies = field(default_factory=LargeBodies)
    """What the large bodies of all requests share."""

    @property
    def text(self) -> str:
        """Return what is wrong with a larger body."""
        limit = f"{self.setting} allows" if self.setting else f"this route accepts: {self.size:,} bytes"
        return f"the body is larger than {limit}"


BODY_LIMITS = web.RequestKey("body_limits", BodyLimits)
"""What the route of a request allows."""


async def decode_json(data: bytes, large: LargeBodies, what: str = "the body") -> Any:
    """Return the value that `data` encodes; `what` names it in the error. Raises MalformedJson and TooLarge.

    For what came as a part of a body; `read_json` counts while it receives.
    """
    scanner = JsonScanner(LIMITS)
    try:
        encoded = data if json_encoding(data[:3]) == "utf-8" else json_text(data).encode()
    except UnicodeDecodeError as exc:
        raise MalformedJson(f"{what} is not valid JSON: it is not {exc.encoding}") from None
    for start in range(0, len(encoded) if len(encoded) > _SCANNED else 0, _SCANNED):
        await large.turn()
        _scan(scanner, encoded[start : start + _SCANNED], what)
    return await _value_of(encoded, large, what)


async def _value_of(data: bytes, large: LargeBodies, what: str) -> Any:
    return _parsed(data, what) if len(data) < _IN_A_THREAD else await large.parsed(data, what)


async def read_json(request: web.Request) -> Any:
    """Return the body's value. Raises MalformedJson, TooLarge, and HTTPRequestTimeout for a body that is too slow."""
    limits = request[BODY_LIMITS]
    if (request.content_length or 0) > limits.size:
        raise TooLarge(limits.text)
    scanner, to_utf8 = JsonScanner(LIMITS), _ToUtf8()
    data, scanned = bytearray(), 0
    async for piece in _pieces(request, limits):
        data += to_utf8.feed(piece)
        if len(data) > limits.size:
            raise TooLarge(limits.text)
        while len(data) > _SCANNED and scanned < len(data):
            await limits.large.turn()
            _scan(scanner, bytes(data[scanned : scanned + _SCANNED]), "the body")
            scanned = min(scanned + _SCANNED, len(data))
    data += to_utf8.feed(b"", final=True)
    return await _value_of(bytes(data), limits.large, "the body")


async def read_body(request: web.Request, model: type[_Model]) -> _Model:
    """Return the body as this model.

    Raises what `read_json` does, and InvalidPayload with the first fields that do not fit.
    """
    value = await read_json(request)
    try:
        return model.model_validate(value)
    except ValidationError as exc:
        raise InvalidPayload(f"body: {explain(exc, whole='')}") from None


async def _pieces(request: web.Request, limits: BodyLimits) -> AsyncIterator[bytes]:
    """Yield what arrives, all that has come at a time. Raises HTTPRequestTimeout when it is too slow."""
    pace = Pace(limits.pace)
    while not request.content.at_eof():
        try:
            async with pace.next_piece():
                piece = await request.content.readany()
        except TimeoutError:
            raise web.HTTPRequestTimeout(text="the body arrives too slowly: send the request again") from None
        pace.received += len(piece)
        if piece:
            yield piece


class _ToUtf8:
    """Turns a body that arrives in pieces into UTF-8 without a byte order mark."""

    def __init__(self) -> None:
        self._head: bytes | None = b""
        """What arrived before the encoding was known; None: it is known."""
        self._decoder: codecs.IncrementalDecoder | None = None
        """None: the body is in UTF-8 as it is; the parser finds what is not."""

    def feed(self, piece: bytes, *, final: bool = False) -> bytes:
        """Return the next bytes in UTF-8. Raises MalformedJson for bytes that are not text."""
        if self._head is not None:
            piece = self._head + piece
            if len(piece) < _HEAD and not final:
                self._head = piece
                return b""
            self._head, encoding = None, json_encoding(piece)
            if encoding != "utf-8":
                self._decoder = codecs.getincrementaldecoder(encoding)()
        if self._decoder is None:
            return piece
        try:
            return self._decoder.decode(piece, final).encode()
        except UnicodeDecodeError as exc:
            raise MalformedJson(f"the body is not valid JSON: it is not {exc.encoding}") from None


def _scan(scanner: JsonScanner, piece: bytes, what: str) -> None:
    try:
        scanner.feed(piece)
    except JsonTooDeep as exc:
        raise MalformedJson(f"{what} is not valid JSON: {exc}") from None
    except JsonTooLarge as exc:
        raise TooLarge(f"{what} is too large: {exc}; send large data as a file") from None


def _parsed(data: bytes, what: str) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as exc:
        raise MalformedJson(f"{what} is not valid JSON: {exc}") from None
