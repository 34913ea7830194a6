"""Examines the way through the proxy in front: does what browsers and producers send arrive at the service?"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import aiohttp

from config.loader import LoadedSettings
from worker.cli.doctor_connection import STEP_SECONDS, CheckResult
from worker.net.client_protocol import new_connector
from worker.notifiers.socketio.network_faults import explain
from worker.notifiers.socketio.notifier import tls_of

_MISROUTED: Final = (
    "pass everything below this address on to Http:Url (deploy/nginx.conf), or correct Http:PublicUrl and Http:PathBase"
)
_UPGRADE: Final = "let the proxy pass on the headers Upgrade and Connection with HTTP/1.1, as deploy/nginx.conf does"
_POLLING: Final = "let the proxy pass on requests below WebSocket:Path unchanged, with their query"


@dataclass(frozen=True, slots=True)
class _Way:
    """The public address, and what is asked through it."""

    session: aiohttp.ClientSession
    url: str
    tls: ssl.SSLContext | None
    loaded: LoadedSettings


def way_through_proxy(loaded: LoadedSettings) -> str:
    """Return what passes through Http:PublicUrl to the running service. Raises CheckResult where something does not."""
    return asyncio.run(_examine(loaded))


async def _examine(loaded: LoadedSettings) -> str:
    url = (loaded.settings.http.public_url or "").rstrip("/")
    context = tls_of(loaded.settings.web_socket, url, loaded.content_root)
    connector = new_connector(ssl=True if context is None else context)
    timeout = aiohttp.ClientTimeout(total=STEP_SECONDS)
    steps: list[tuple[str, Callable[[_Way], Awaitable[None]]]] = [("requests", _request)]
    if loaded.settings.hub.enabled != "false":
        steps += [("WebSockets", _upgrade), ("long-polling", _polling)]
    steps.append((f"uploads of {loaded.settings.uploads.max_bytes:,} bytes", _upload))
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        way = _Way(session, url, context, loaded)
        for _, step in steps:
            try:
                await step(way)
            except (aiohttp.ClientError, OSError, TimeoutError, asyncio.IncompleteReadError) as exc:
                text = f"{url} does not answer: {explain(exc)}"
                raise CheckResult("failed", text, "start the proxy, and check its address and certificate") from None
    return f"{', '.join(name for name, _ in steps)} pass through {url}"


async def _request(way: _Way) -> None:
    async with way.session.get(f"{way.url}/livez", allow_redirects=False) as answer:
        if answer.status != 200 or await answer.text() != "ok\n":
            text = f"{way.url}/livez answers with HTTP {answer.status}, and not as the service does"
            raise CheckResult("failed", text, _MISROUTED)


async def _upgrade(way: _Way) -> None:
    try:
        async with way.session.ws_connect(f"{way.url}/ws"):
            pass
    except aiohttp.WSServerHandshakeError as exc:
        text = f"WebSockets do not pass through {way.url}: HTTP {exc.status} instead of the upgrade"
        raise CheckResult("failed", text, _UPGRADE) from None


async def _polling(way: _Way) -> None:
    path = way.loaded.settings.web_socket.path.strip("/")
    address = f"{way.url}/{path}/?EIO=4&transport=polling"
    async with way.session.get(address, allow_redirects=False) as answer:
        if answer.status != 200 or '"sid"' not in await answer.text():
            text = f"long-polling does not pass through {way.url}: HTTP {answer.status}"
            raise CheckResult("warning", text, _POLLING)


async def _upload(way: _Way) -> None:
    """Announce the largest upload without sending it: a proxy that limits bodies rejects it by its length."""
    size, parts = way.loaded.settings.uploads.max_bytes, urlsplit(way.url)
    port = parts.port or (80 if way.tls is None else 443)
    async with asyncio.timeout(STEP_SECONDS):
        reader, writer = await asyncio.open_connection(parts.hostname, port, ssl=way.tls)
        try:
            writer.write(
                f"POST {parts.path}/api/v1/jobs/upload HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n"
                "Content-Type: multipart/form-data; boundary=doctor\r\nExpect: 100-continue\r\n"
                f"Content-Length: {size}\r\n\r\n".encode()
            )
            head = await reader.readuntil(b"\r\n\r\n")
        finally:
            writer.transport.abort()
    # The service itself rejects it for want of a key, or asks for it: this size is allowed.
    if head.split()[1:2] == [b"413"]:
        text = f"the proxy at {way.url} rejects uploads of {size:,} bytes, which Uploads:MaxBytes allows (HTTP 413)"
        raise CheckResult("warning", text, f"client_max_body_size {size}; in nginx, or lower Uploads:MaxBytes")
