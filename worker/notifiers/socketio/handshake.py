"""The HTTP request that begins every connection: what it is sent with, and what a refusal means."""

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit, urlunsplit

import aiohttp
import orjson

from worker.core.secret_mask import SHORTEST
from worker.net.client_protocol import new_connector
from worker.notifiers.socketio.quote import Quote, quoted_body
from worker.notifiers.socketio.state import CloseReason, speaks_other_version

MAX_ANSWER = 2000
"""Bytes read of an answer that is not the upgrade."""
_REJECTED = (401, 403, 407, 429)
_HINTS: Mapping[int, str] = {
    401: "are the credentials right?",
    403: "check whether the server rejects our token, our address or an Origin",
    404: "is WebSocket:Path right?",
    429: "raise the server's limit of connections, or look for other services with our address",
    407: "are the credentials in WebSocket:Proxy right?",
    502: "is the server running?",
    503: "is the server running?",
    504: "is the server running?",
}
_NO_UPGRADE = 'no WebSocket gets through; add "polling" to WebSocket:Transports, or let the proxy pass the upgrade on'


class ConnectRejected(Exception):
    """The attempt failed in a way the server explained."""

    def __init__(self, reason: CloseReason) -> None:
        super().__init__(reason.reason)
        self.close_reason = reason


@dataclass(frozen=True, slots=True)
class ConnectOptions:
    """What one attempt is made with."""

    url: str
    path: str
    headers: Mapping[str, str]
    auth: Mapping[str, Any] | None
    tls: ssl.SSLContext | None = None
    """None: the system's own trust."""
    query: Mapping[str, str] = field(default_factory=dict)
    """Further parameters of the handshake's URL."""
    proxy: str | None = None
    """URL of an HTTP proxy, with its credentials if it needs any."""

    def quote(self) -> Quote:
        """Return how words of this server are quoted."""
        sent = (*self.headers.values(), *map(str, (self.auth or {}).values()), *self.query.values(), self.proxy or "")
        return Quote(frozenset(value for value in sent if len(value) >= SHORTEST))


def handshake_url(options: ConnectOptions, version: int, transport: str = "websocket", **more: str) -> str:
    """Return the URL of the server with our path, the configured query and the protocol's."""
    scheme, netloc, _, own_query, _ = urlsplit(options.url)
    query = {**options.query, "EIO": str(version), "transport": transport, **more}
    joined = "&".join(part for part in (own_query, urlencode(query)) if part)
    return urlunsplit((scheme, netloc, f"/{options.path.strip('/')}/", joined, ""))


def request_headers(options: ConnectOptions, version: int) -> dict[str, str]:
    """Return the headers of the handshake. Engine.IO 3 has no packet for credentials: its token is a bearer token."""
    headers = dict(options.headers)
    token = (options.auth or {}).get("token")
    if version == 3 and token is not None and not any(name.lower() == "authorization" for name in headers):
        headers["Authorization"] = f"Bearer {token}"
    return headers


@dataclass(slots=True)
class HandshakeAnswer:
    """The server's answer to the handshake, as the HTTP client saw it."""

    status: int = 0
    text: str = ""


def new_http_session(
    options: ConnectOptions, answer: HandshakeAnswer | None = None, *, cookies: bool = False, **arguments: Any
) -> aiohttp.ClientSession:
    """Return a client that follows redirects within the server's origin only, since what it sends is meant for that
    origin. It raises ConnectRejected at other redirects, and keeps answers other than the upgrade in `answer`.

    `cookies`: return the cookies that the server sets. `arguments` are further arguments of ClientSession.
    """
    arguments.setdefault("timeout", aiohttp.ClientTimeout(total=None))  # the caller limits the whole attempt
    return aiohttp.ClientSession(
        connector=new_connector(ssl=options.tls or True),
        # Without a jar, a configured Cookie header is sent as it is.
        cookie_jar=aiohttp.CookieJar(unsafe=True) if cookies else aiohttp.DummyCookieJar(),
        trace_configs=[_tracing(answer, options.quote())],
        **arguments,
    )


def _tracing(answer: HandshakeAnswer | None, quote: Quote) -> aiohttp.TraceConfig:
    async def on_redirect(
        _session: aiohttp.ClientSession, _context: SimpleNamespace, found: aiohttp.TraceRequestRedirectParams
    ) -> None:
        target = urljoin(str(found.url), found.response.headers.get("Location", ""))
        if origin_of(target) != origin_of(str(found.url)):
            found.response.close()
            raise ConnectRejected(redirected(found.response.status, target, quote))

    async def on_end(
        _session: aiohttp.ClientSession, _context: SimpleNamespace, found: aiohttp.TraceRequestEndParams
    ) -> None:
        # The body of any other answer belongs to the caller.
        if answer is not None and found.response.status != 101 and "Upgrade" in found.headers:
            answer.status = found.response.status
            answer.text = await quoted_body(found.response.content, quote, MAX_ANSWER)

    tracing = aiohttp.TraceConfig()
    tracing.on_request_redirect.append(on_redirect)
    tracing.on_request_end.append(on_end)
    return tracing


def origin_of(url: str) -> tuple[str, str | None, int | None]:
    """Return scheme, host and port of a URL; a WebSocket's scheme counts as HTTP's."""
    parts = urlsplit(re.sub("^ws", "http", url.lower()))
    default = {"http": 80, "https": 443}.get(parts.scheme)
    return parts.scheme, parts.hostname, parts.port or default


def redirected(status: int, target: str, quote: Quote) -> CloseReason:
    """Return the reason for the end of an attempt that was redirected to another origin."""
    parts = urlsplit(target)
    host = parts.netloc.rpartition("@")[2]
    # Its query repeats ours, which may hold a token.
    shown = quote(urlunsplit((parts.scheme, host, parts.path, "", "")), MAX_ANSWER)
    text = f"HTTP {status}: the server redirects to {shown}, which is not followed: set WebSocket:Url to that server"
    return CloseReason(text, rejected=True)


def refusal(status: int, answer: str, version: int, path: str, *, polling: bool = False) -> CloseReason:
    """Return what an HTTP answer means that came instead of the WebSocket upgrade, or of a session by long-polling."""
    said = message_of(answer)
    words = f" ({said})" if said else ""
    wanted = "a session by long-polling" if polling else "the WebSocket upgrade"
    if status == 400 and "unsupported" in said.lower() and "version" in said.lower():
        return speaks_other_version(7 - version, f"; it answered HTTP 400{words}")
    if status == 400 and "transport" in said.lower():
        if polling:
            return CloseReason(f'HTTP 400{words} at {path}: set WebSocket:Transports to ["websocket"]', rejected=True)
        return CloseReason(f"HTTP 400{words} at {path}: {_NO_UPGRADE}", needs_polling=True)
    if status in _HINTS:
        reason = f"HTTP {status} instead of {wanted} at {path}{words}: {_HINTS[status]}"
        return CloseReason(reason, rejected=status in _REJECTED)
    reason = f"HTTP {status} instead of {wanted} at {path}{words}"
    if status == 101:
        return invalid_upgrade(path, "it does not belong to our request")
    rejected = status in _REJECTED
    speaks = 7 - version if status == 400 else None
    if rejected or status >= 500 or polling:
        return CloseReason(reason, rejected=rejected, speaks=speaks)
    return CloseReason(f"{reason}: {_NO_UPGRADE}", speaks=speaks, needs_polling=True)


def invalid_upgrade(path: str, detail: str) -> CloseReason:
    """Return what it means that a server switches protocols, but not as a WebSocket server does."""
    return CloseReason(
        f"the answer to the WebSocket upgrade at {path} is not valid: {detail} (RFC 6455, 4.1): check what answers at "
        "WebSocket:Url; a cache or a proxy may answer for the server"
    )


def message_of(answer: str) -> str:
    """Return the server's own words in an HTTP answer; empty for pages made for people."""
    text = answer.strip()
    try:
        data = orjson.loads(text)
    except orjson.JSONDecodeError:
        return "" if "<" in text else " ".join(text.split())[:120]
    if isinstance(data, dict):
        data = data.get("message", "")
    return " ".join(str(data).split())[:120] if isinstance(data, str) else ""
