"""What a job of the kind `http` may call: URLs below Handlers:Http:Allow, at public or explicitly allowed addresses."""

import asyncio
import re
import socket
import unicodedata
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import ip_network
from urllib.parse import unquote_to_bytes

from yarl import URL

from config.handler_settings import HttpTargetSettings
from worker.core.failure import innermost_cause
from worker.errors import Discard, InvalidPayload, Unavailable
from worker.handlers.http.public_addresses import address_of, may_be_reached

URL_ERRORS = (ValueError, IndexError, TypeError)
"""What yarl raises for text that is not a URL; IndexError for brackets, and for an empty host after an @."""

_IIS_ESCAPE = re.compile("%u[0-9a-fA-F]{4}")
_LIKE_A_SLASH = re.compile("[\u00a5\u20a9\u2044\u2215\u2216\u2571\u2572\u29f5\u29f8\u29f9]")
"""Characters that conversions to the code pages of Windows turn into a slash or a backslash."""
_END_OF_SEGMENT = re.compile("[;?#]")
"""What servers cut off, or take for the end of the path after they have decoded it."""
_FILLERS = "\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0"
"""Characters without a shape that are not of the category Cf."""

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Takes host and port and returns the host's addresses as text; raises OSError if it has none."""


def parse_url(text: str) -> URL:
    """Return the URL as the HTTP client reads it, so that both see the same one. Raises InvalidPayload."""
    if any(ord(char) <= 32 or ord(char) == 127 or char == "\\" for char in text):
        raise InvalidPayload("url: must not contain spaces, backslashes or control characters")
    try:
        url = URL(text)
    except URL_ERRORS:
        raise InvalidPayload("url: is not a URL such as https://api.example/path") from None
    return url.with_fragment(None)


def target_of(url: URL, allow: Sequence[HttpTargetSettings]) -> HttpTargetSettings:
    """Return the most specific target that covers the URL. Raises InvalidPayload if there is none."""
    if not allow:
        raise InvalidPayload("jobs of kind http are off: add the URLs they may call to Handlers:Http:Allow")
    if url.scheme not in ("http", "https") or not url.host:
        raise InvalidPayload("url: must start with http:// or https:// and name a host")
    if url.user is not None or url.password is not None:
        raise InvalidPayload("url: must not contain a user name; credentials belong in Handlers:Http:Allow:N:Headers")
    covering = [target for target in allow if _covers(URL(target.url), url)]
    if not covering:
        raise InvalidPayload(f"url: {url.scheme}://{url.host} is not covered by Handlers:Http:Allow")
    target = max(covering, key=lambda one: len(one.url))
    literal = address_of(url.host)
    if literal is not None and not _is_allowed(url.host, target):
        raise InvalidPayload(f"url: {_not_public(url.host)}")
    return target


def _covers(prefix: URL, url: URL) -> bool:
    same = (prefix.scheme, prefix.raw_host, prefix.port) == (url.scheme, url.raw_host, url.port)
    base = prefix.path.rstrip("/")
    if not same or not base:
        return same
    return _is_plain(url.raw_path) and (url.path == base or url.path.startswith(f"{base}/"))


def _is_plain(raw_path: str) -> bool:
    """Return whether no server could read it as a path outside the prefix, however often it decodes.

    Servlet containers remove `;` and what follows from each segment. Other servers end the path at a NUL, at a decoded
    `?` or `#`, accept over-long UTF-8 or `%u002e`, replace characters that look like a dot or a slash, or remove
    characters that are not visible.
    """
    data, before = raw_path.encode(), b""
    while data != before:
        data, before = unquote_to_bytes(data), data
    try:
        text = unicodedata.normalize("NFKC", data.decode())
    except UnicodeDecodeError:
        return False
    visible = "".join(char for char in text if unicodedata.category(char) != "Cf" and char not in _FILLERS)
    segments = {
        _END_OF_SEGMENT.split(segment, maxsplit=1)[0].strip() for segment in _LIKE_A_SLASH.sub("/", visible).split("/")
    }
    return (
        raw_path.count("/") == text.count("/")
        and not segments & {".", ".."}
        and not any(ord(char) < 32 or char in "\x7f\\" for char in text)
        and _IIS_ESCAPE.search(text) is None
    )


async def resolve_allowed(url: URL, target: HttpTargetSettings, resolve: Resolve) -> Sequence[str]:
    """Return the addresses of the host. Raises Unavailable if there are none, Discard if any of them is not allowed."""
    host = url.raw_host or ""
    if address_of(host) is not None:
        return [host]
    try:
        found = await resolve(host, url.port or 0)
    except (OSError, UnicodeError) as exc:
        raise Unavailable(f"{url.host} cannot be resolved: {reason_of(exc)}") from exc
    if not found:
        raise Unavailable(f"{url.host} cannot be resolved: it has no address")
    if not all(_is_allowed(address, target) for address in found):
        raise Discard(_not_public(url.host or ""))
    return found


def _not_public(host: str) -> str:
    return (
        f"{host} has a private, local or reserved address: "
        "add its network to Handlers:Http:Allow:N:Networks if this is intended"
    )


def _is_allowed(text: str, target: HttpTargetSettings) -> bool:
    address = address_of(text)
    networks = [ip_network(network, strict=False) for network in target.networks]
    return address is not None and may_be_reached(address, networks)


async def resolve_by_system(host: str, port: int) -> Sequence[str]:
    """Return the addresses of a host from the system's resolver. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def reason_of(exc: BaseException) -> str:
    """Return the innermost cause in one line: the outer ones repeat address and port."""
    cause = innermost_cause(exc)
    text = getattr(cause, "strerror", None) or getattr(cause, "verify_message", None) or str(cause)
    return f"{type(cause).__name__}: {text}" if text else type(cause).__name__
