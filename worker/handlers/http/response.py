"""Turns the response of a server into the outcome of a job of the kind `http`."""

import asyncio
import codecs
import re
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, TypeVar

import aiohttp
import orjson

from worker.core.secret_mask import SecretMask
from worker.errors import Discard, RetryLater
from worker.handlers.http.payload import Expect

_KEPT_HEADERS = (
    "content-type",
    "content-length",
    "location",
    "etag",
    "last-modified",
    "retry-after",
    "x-request-id",
)
"""Headers of the response that go into the result."""
_RETRYABLE = frozenset({408, 425, 429})
_Made = TypeVar("_Made")
_IN_A_THREAD = 8192
"""Bytes of a body from which it is decoded and masked outside the event loop: 4 MiB of escapes take seconds."""
_EXCERPT = 300
"""Characters of the body that an error message quotes."""


async def outcome(
    request: str, response: aiohttp.ClientResponse, expect: Expect, mask: SecretMask, max_bytes: int
) -> dict[str, Any]:
    """Return the job's result for an expected response. Raises RetryLater or Discard for any other.

    `request` names the request in messages. At most `max_bytes` of the body are kept, without the secrets of `mask`,
    which a server that echoes the request would reveal.
    """
    data, is_complete = await _read_body(response, max_bytes + mask.margin)
    is_complete = is_complete and len(data) <= max_bytes
    text = await _aside(data, lambda: _text(response, data, max_bytes, mask))
    status = response.status
    if status in (expect.status or range(200, 300)):
        if expect.contains is not None and expect.contains not in (text or ""):
            raise Discard(f"{request}: answered {_status_text(status)}, but without the expected text")
        return await _aside(data, lambda: _result(response, min(len(data), max_bytes), text, is_complete, mask))
    message = f"{request}: answered {_status_text(status)}{_excerpt(text)}"
    if status in _RETRYABLE or status >= 500:
        raise RetryLater(message, _retry_after(response))
    raise Discard(message)


async def _aside(data: bytes, work: Callable[[], _Made]) -> _Made:
    """Return what `work` makes of the data; in a thread if that takes long, so that the event loop has its turns."""
    return work() if len(data) < _IN_A_THREAD else await asyncio.to_thread(work)


async def _read_body(response: aiohttp.ClientResponse, max_bytes: int) -> tuple[bytes, bool]:
    """Return the beginning of the body and whether it is complete."""
    kept = bytearray()
    async for chunk in response.content.iter_chunked(65536):
        kept += chunk
        if len(kept) > max_bytes:
            return bytes(kept[:max_bytes]), False
    return bytes(kept), True


def _text(response: aiohttp.ClientResponse, data: bytes, max_bytes: int, mask: SecretMask) -> str | None:
    """Return the beginning of the body as masked text, or None for other content.

    The mask sees the text beyond the cut too, so no part of a secret is left there. An incomplete last character is
    left out.
    """
    kind = response.content_type
    if not (kind.startswith("text/") or re.search(r"json|xml|javascript|urlencoded", kind)):
        return None
    try:
        text, kept = _decoded(data, max_bytes, response.charset or "utf-8")
    except Exception:  # noqa: BLE001 -- Python's codecs that are not character sets, such as idna, raise anything
        text, kept = _decoded(data, max_bytes, "utf-8")
    return mask(text, 0, kept)


def _decoded(data: bytes, max_bytes: int, charset: str) -> tuple[str, int]:
    """Return the text and how many of its characters the first `max_bytes` contain. Raises what the codec does."""
    decoder = codecs.getincrementaldecoder(charset)
    kept = decoder("replace").decode(data[:max_bytes], final=len(data) <= max_bytes)
    text = decoder("replace").decode(data, final=True)
    if not isinstance(text, str):
        raise TypeError(f"{charset} is not a character set")
    return text, len(kept)


def _result(
    response: aiohttp.ClientResponse, size: int, text: str | None, is_complete: bool, mask: SecretMask
) -> dict[str, Any]:
    headers = {name: mask(response.headers[name]) for name in _KEPT_HEADERS if name in response.headers}
    result: dict[str, Any] = {"status": response.status, "headers": headers, "bytes": size}
    if not is_complete:
        result["truncated"] = True
    if text is None:
        return result
    if is_complete and "json" in response.content_type:
        try:
            return result | {"json": _json(text, mask)}
        except orjson.JSONDecodeError:
            pass
    return result | {"body": text}


def _json(text: str, mask: SecretMask) -> Any:
    """Return the JSON value, masked again now that its escapes are decoded. Raises JSONDecodeError."""
    decoded = orjson.dumps(orjson.loads(text)).decode()
    return orjson.loads(mask(decoded))


def _status_text(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _excerpt(text: str | None) -> str:
    line = " ".join((text or "").split())
    return f": {line[:_EXCERPT]}{'…' if len(line) > _EXCERPT else ''}" if line else ""


def _retry_after(response: aiohttp.ClientResponse) -> float:
    """Return the seconds of Retry-After, given as a number or a date; 0 without it."""
    text = response.headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        when = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    return max(0.0, (when.replace(tzinfo=when.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
