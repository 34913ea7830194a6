"""Sends the request of a job of the kind `http`, to exactly the addresses that were checked.

The URL is checked again after every redirect. Secrets come from the settings of the target they belong to.
"""

import asyncio
import socket
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import aiohttp
import orjson
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from config.handler_settings import HttpHandlerSettings, HttpTargetSettings
from worker import __version__
from worker.core.secret_mask import SecretMask, mask_for
from worker.errors import Discard, TimedOut, Unavailable
from worker.handler import Context
from worker.handlers.http.allow_list import (
    URL_ERRORS,
    Resolve,
    parse_url,
    reason_of,
    resolve_allowed,
    resolve_by_system,
    target_of,
)
from worker.handlers.http.payload import Expect, HttpPayload
from worker.handlers.http.response import outcome
from worker.net.client_protocol import new_connector

_REDIRECTS = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request; a redirect makes another of it."""

    method: str
    url: URL
    data: bytes | None
    headers: Mapping[str, str]

    @property
    def shown(self) -> str:
        """The request as messages name it; path and query may contain secrets."""
        return f"{self.method} {self.url.host}"

    def redirected(self, status: int, location: str) -> "HttpRequest":
        """Follow a redirect as browsers do: 303 becomes a GET, and so does a POST after 301 or 302. Raises Discard."""
        try:
            url = self.url.join(URL(location))
        except URL_ERRORS:
            raise Discard(f"{self.shown}: redirects to something that is not a URL") from None
        if self.method != "HEAD" and (status == 303 or (status in (301, 302) and self.method == "POST")):
            headers = {name: text for name, text in self.headers.items() if name.lower() != "content-type"}
            return HttpRequest("GET", url, None, headers)
        return replace(self, url=url)


async def call(
    payload: HttpPayload, settings: HttpHandlerSettings, context: Context, resolve: Resolve | None = None
) -> dict[str, Any]:
    """Send the request, follow redirects and return the job's result; `resolve` replaces the system's resolver.

    Raises Discard, RetryLater, TimedOut or Unavailable.
    """
    first = _first_request(payload, context)
    seconds = min(settings.timeout, payload.timeout_ms or settings.timeout) / 1000
    context.progress(0, f"calling {first.url.host}")
    started = time.monotonic()
    try:
        async with asyncio.timeout(seconds):
            result = await _follow(first, payload.expect, settings, context, resolve or resolve_by_system)
    except TimeoutError:
        raise TimedOut(f"{first.shown}: no response within {seconds:g} s") from None
    return result | {"durationMs": round((time.monotonic() - started) * 1000, 2)}


def _first_request(payload: HttpPayload, context: Context) -> HttpRequest:
    data = payload.body.encode() if payload.body is not None else None
    headers = dict(payload.headers)
    if "json_" in payload.model_fields_set:
        data = orjson.dumps(payload.json_)
    if data is not None and not any(name.lower() == "content-type" for name in headers):
        headers["Content-Type"] = "text/plain; charset=utf-8" if payload.body is not None else "application/json"
    # Equal in every attempt, so that a server that supports the header does the work once.
    headers["Idempotency-Key"] = context.job_id
    method = payload.method or ("GET" if data is None else "POST")
    return HttpRequest(method, parse_url(payload.url), data, headers)


async def _follow(
    request: HttpRequest, expect: Expect, settings: HttpHandlerSettings, context: Context, resolve: Resolve
) -> dict[str, Any]:
    mask = _mask_of(settings)
    for _ in range(settings.max_redirects + 1):
        target = target_of(request.url, settings.allow)
        addresses = await resolve_allowed(request.url, target, resolve)
        try:
            async with _session(addresses, settings) as session, _send(session, request, target) as response:
                location = response.headers.get("Location")
                if response.status not in _REDIRECTS or location is None or response.status in (expect.status or ()):
                    context.progress(80, f"{request.url.host} answered {response.status}")
                    return await outcome(request.shown, response, expect, mask, settings.max_answer)
                request = request.redirected(response.status, location)
        except (aiohttp.ClientError, OSError) as exc:
            raise Unavailable(f"{request.shown}: {reason_of(exc)}") from exc
    raise Discard(f"{request.shown}: more than {settings.max_redirects} redirects (Handlers:Http:MaxRedirects)")


def _mask_of(settings: HttpHandlerSettings) -> SecretMask:
    """Return the mask of the secrets of every target: a redirect may carry the echo of one to another."""
    return mask_for(
        frozenset(value.get_secret_value() for target in settings.allow for value in target.headers.values())
    )


class CheckedAddresses(AbstractResolver):
    """Gives the HTTP client the addresses that were checked: a second look-up of the name may return others."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = addresses

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_UNSPEC,  # noqa: ARG002  (the client's signature)
    ) -> list[ResolveResult]:
        return [self._entry(host, port, address) for address in self._addresses]

    def _entry(self, host: str, port: int, address: str) -> ResolveResult:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        return ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=flags)

    async def close(self) -> None:
        """Do nothing: there is nothing to release."""


def _session(addresses: Sequence[str], settings: HttpHandlerSettings) -> aiohttp.ClientSession:
    connector = new_connector(
        resolver=CheckedAddresses(addresses),
        use_dns_cache=False,
        force_close=True,
        ssl=_trusted_certificates(settings.ca_file),
    )
    return aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=None),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,  # a proxy of the environment would resolve the name again
    )


def _trusted_certificates(ca_file: str | None) -> ssl.SSLContext | bool:
    if ca_file is None:
        return True
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as exc:
        raise Unavailable(f"Handlers:Http:CaFile cannot be read: {reason_of(exc)}") from exc


def _send(session: aiohttp.ClientSession, request: HttpRequest, target: HttpTargetSettings) -> Any:
    headers = {"User-Agent": f"insignia-worker/{__version__}", "Accept-Encoding": "identity", **request.headers}
    for name, value in target.headers.items():
        headers = {known: text for known, text in headers.items() if known.lower() != name.lower()}
        headers[name] = value.get_secret_value()
    return session.request(request.method, request.url, data=request.data, headers=headers, allow_redirects=False)
