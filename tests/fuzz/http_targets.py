"""What arrives with HTTP requests: JSON, forms, headers."""

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from types import SimpleNamespace
from typing import Any, cast

import orjson
from aiohttp import StreamReader, web
from aiohttp.base_protocol import BaseProtocol
from multidict import CIMultiDict

from worker.api.request_body import LargeBodies, MalformedJson, Pace, SlowestPace, decode_json
from worker.api.routes.uploads import _parts, _pieces
from worker.errors import InvalidPayload, TooLarge, WrongContent
from worker.net.client_address import (
    address_group,
    client_address,
    host_name,
    is_from_own_page,
    is_from_this_machine,
    networks_of,
    own_origin,
)
from worker.net.json_limits import JsonLimits, JsonScanner, JsonTooDeep, JsonTooLarge

_LIMITS = JsonLimits(values=40, names=8, depth=6)
_PROXIES = networks_of(["127.0.0.1", "10.0.0.0/8", "fd00::/8"])
_BOUNDARY = b"xYz"


def json_limits(data: bytes) -> None:
    """A document that the scanner accepts has no more of anything than allowed, however it was divided."""
    size, data = (data[0] or 1) if data else 1, data[1:]
    verdicts = {_verdict([data]), _verdict([data[at : at + size] for at in range(0, len(data), size)])}
    assert len(verdicts) == 1, "the division of the bytes changes the verdict"
    if verdicts == {None}:
        with suppress(ValueError, RecursionError):
            _count(json.loads(data, object_pairs_hook=_Pairs), 1)


def _verdict(pieces: Sequence[bytes]) -> type[Exception] | None:
    scanner = JsonScanner(_LIMITS)
    try:
        for piece in pieces:
            scanner.feed(piece)
    except (JsonTooLarge, JsonTooDeep) as exc:
        return type(exc)
    return None


class _Pairs(list[tuple[str, Any]]):
    """The names and values of an object, repeated names included."""


def _count(value: Any, level: int) -> int:
    """Return the number of values; asserts the limits."""
    if not isinstance(value, list):
        return 0
    assert level <= _LIMITS.depth
    items = [item for _, item in value] if isinstance(value, _Pairs) else value
    assert not isinstance(value, _Pairs) or len(items) <= _LIMITS.names
    total = len(items) + sum(_count(item, level + 1) for item in items)
    assert total <= _LIMITS.values + 1
    return total


def json_body(data: bytes) -> None:
    """A body in any encoding is read as JSON or rejected in one line."""
    try:
        orjson.dumps(asyncio.run(decode_json(data, LargeBodies())))
    except (MalformedJson, TooLarge) as exc:
        _check_message(exc)


def _check_message(error: Exception) -> None:
    assert "\n" not in str(error)
    assert len(str(error)) < 1000


def multipart(data: bytes) -> None:
    """A form is divided into parts or rejected; its end is always found."""
    asyncio.run(_read_form(data))


async def _read_form(data: bytes) -> None:
    loop = asyncio.get_running_loop()
    stream = StreamReader(BaseProtocol(loop), 2**16, loop=loop)
    stream.feed_data(data)
    stream.feed_eof()
    headers = CIMultiDict({"Content-Type": f"multipart/form-data; boundary={_BOUNDARY.decode()}"})
    request = cast(web.Request, SimpleNamespace(content_type="multipart/form-data", headers=headers, content=stream))
    received, pace = 0, Pace(SlowestPace())
    with suppress(InvalidPayload, WrongContent):
        async for part in _parts(request, pace):
            assert part.name is None or isinstance(part.name, str)
            assert part.filename is None or isinstance(part.filename, str)
            async for piece in _pieces(part, pace):
                received += len(piece)
                assert received <= len(data)


def forwarded(data: bytes) -> None:
    """Headers, one on each line as `Name: value`, give an address of one form and never an error."""
    headers: CIMultiDict[str] = CIMultiDict()
    for line in data.decode("utf-8", "surrogateescape").split("\n"):
        name, found, value = line.partition(":")
        if found and name.isascii() and name.replace("-", "").isalnum():
            headers.add(name, value.strip())
    request = cast(web.Request, SimpleNamespace(headers=headers, remote="127.0.0.1", scheme="http"))
    address = client_address(request, _PROXIES)
    assert address == client_address(request, _PROXIES)
    assert "%" not in address
    assert address_group(address) == address_group(address_group(address).removesuffix("/64")) or not address
    for check in (own_origin, is_from_own_page):
        check(request, _PROXIES)
    is_from_this_machine(request, ["insignia.example"])
    host_name(request)
