"""The kind `http`: call a URL, wait, and make the answer the job's result. Off until Handlers:Http:Allow names one.

An address is looked at after every redirect and after the name was resolved, and the connection goes to exactly
the address that was looked at. Secrets come from the settings, for the target they belong to; never from the payload.
"""

import asyncio
import codecs
import re
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from ipaddress import ip_network
from typing import Annotated, Any, Literal, Self
from urllib.parse import unquote

import aiohttp
import orjson
from aiohttp.abc import AbstractResolver, ResolveResult
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel
from yarl import URL

from config.settings import HandlersSettings, HttpHandlerSettings, HttpTargetSettings
from worker import __version__
from worker.addresses import address_of, may_be_reached
from worker.errors import Discard, InvalidPayload, RetryLater, TimedOut, Unavailable
from worker.handler import Context, handler

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CREDENTIALS = frozenset({"authorization", "cookie", "proxy-authorization", "x-api-key"})
_HOP = {"connection", "expect", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}
_OURS = frozenset(_HOP | {"accept-encoding", "content-length", "host", "idempotency-key", "user-agent"})
_TOLD = ("content-type", "content-length", "location", "etag", "last-modified", "retry-after", "x-request-id")
"""Headers of the answer that go into the result."""
_COME_AGAIN = frozenset({408, 425, 429})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_UNREADABLE = (ValueError, IndexError, TypeError)
"""What the library raises for what is no address; IndexError for brackets and an empty host behind an @."""
_LINE = 300
"""Characters of a refusal that are told."""

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""The addresses of a host, as text; OSError: it has none."""


def _header_name(name: str) -> str:
    if not _TOKEN.fullmatch(name):
        raise ValueError("is no name for an HTTP header")
    if name.lower() in _CREDENTIALS:
        raise ValueError("credentials stand in Handlers:Http:Allow:N:Headers, never in a payload")
    if name.lower() in _OURS:
        raise ValueError("is set by the worker itself")
    return name


def _header_value(value: str) -> str:
    if any(ord(char) < 32 or ord(char) == 127 for char in value):
        raise ValueError("must not contain line breaks or control characters")
    return value


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


class Expect(BaseModel):
    """What the answer must be, where 2xx alone does not tell."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    status: list[Annotated[int, Field(ge=200, le=599)]] | None = Field(None, min_length=1, max_length=50)
    contains: str | None = Field(None, min_length=1, max_length=1000)
    """Text that must stand in what is kept of the body."""


class HttpPayload(BaseModel):
    """A call."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", hide_input_in_errors=True)

    url: str = Field(min_length=1, max_length=8000)
    method: Annotated[Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"], BeforeValidator(_upper)] | None = None
    """Without it: POST where there is a body, else GET."""
    headers: dict[
        Annotated[str, AfterValidator(_header_name)],
        Annotated[str, Field(max_length=4000), AfterValidator(_header_value)],
    ] = Field(default_factory=dict, max_length=50)
    body: str | None = None
    json_: Any = Field(None, alias="json")
    timeout_ms: int | None = Field(None, ge=1, strict=True)
    """Shorter than Handlers:Http:Timeout; a longer one is cut to it."""
    expect: Expect = Expect()

    @model_validator(mode="after")
    def _has_one_body(self) -> Self:
        if self.body is not None and "json_" in self.model_fields_set:
            raise ValueError("give either body (text) or json, and not both")
        return self


@dataclass(frozen=True, slots=True)
class _Call:
    """One request on the way to the answer."""

    method: str
    url: URL
    data: bytes | None
    headers: Mapping[str, str]

    @property
    def told(self) -> str:
        """Path and query may hold secrets."""
        return f"{self.method} {self.url.host}"

    def redirected(self, status: int, location: str) -> "_Call":
        """As browsers do it: 303 becomes a GET, and so does a POST answered by 301 or 302."""
        try:
            url = self.url.join(URL(location))
        except _UNREADABLE:
            raise Discard(f"{self.told}: redirects to something that is no address") from None
        if self.method != "HEAD" and (status == 303 or (status in (301, 302) and self.method == "POST")):
            headers = {name: text for name, text in self.headers.items() if name.lower() != "content-type"}
            return _Call("GET", url, None, headers)
        return replace(self, url=url)


def check(payload: HttpPayload, settings: HandlersSettings | None) -> None:
    """InvalidPayload: the kind is off, or this address is not allowed."""
    target_of(_url(payload.url), (settings or HandlersSettings()).http.allow)


@handler("http", section="Handlers", check=check)
async def call_url(payload: HttpPayload, context: Context) -> dict[str, Any]:
    """Call the URL. 2xx succeeds; what may pass by itself is tried again; any other answer is final."""
    settings = (context.settings or HandlersSettings()).http
    return await call(payload, settings, context)


async def call(
    payload: HttpPayload, settings: HttpHandlerSettings, context: Context, resolve: Resolve | None = None
) -> dict[str, Any]:
    """The same with a name server of the caller's choice."""
    first = _first_call(payload, context)
    seconds = min(settings.timeout, payload.timeout_ms or settings.timeout) / 1000
    context.progress(0, f"calling {first.url.host}")
    started = time.monotonic()
    try:
        async with asyncio.timeout(seconds):
            result = await _follow(first, payload.expect, settings, context, resolve or _resolve)
    except TimeoutError:
        raise TimedOut(f"{first.told}: no answer within {seconds:g} s") from None
    return result | {"durationMs": round((time.monotonic() - started) * 1000, 2)}


def _first_call(payload: HttpPayload, context: Context) -> _Call:
    data = payload.body.encode() if payload.body is not None else None
    headers = dict(payload.headers)
    if "json_" in payload.model_fields_set:
        data = orjson.dumps(payload.json_)
    if data is not None and not any(name.lower() == "content-type" for name in headers):
        headers["Content-Type"] = "text/plain; charset=utf-8" if payload.body is not None else "application/json"
    # The same for every attempt: a receiver that knows the header does the work once.
    headers["Idempotency-Key"] = context.job_id
    method = payload.method or ("GET" if data is None else "POST")
    return _Call(method, _url(payload.url), data, headers)


async def _follow(
    call: _Call, expect: Expect, settings: HttpHandlerSettings, context: Context, resolve: Resolve
) -> dict[str, Any]:
    for _ in range(settings.max_redirects + 1):
        target = target_of(call.url, settings.allow)
        addresses = await _addresses(call.url, target, resolve)
        try:
            async with _session(addresses, settings) as session, _request(session, call, target) as response:
                location = response.headers.get("Location")
                if response.status not in _REDIRECTS or location is None or response.status in (expect.status or ()):
                    context.progress(80, f"{call.url.host} answered {response.status}")
                    return await _judged(call, response, expect, target, settings.max_answer)
                call = call.redirected(response.status, location)
        except (aiohttp.ClientError, OSError) as exc:
            raise Unavailable(f"{call.told}: {_reason(exc)}") from exc
    raise Discard(f"{call.told}: more than {settings.max_redirects} redirects (Handlers:Http:MaxRedirects)")


# -- what may be called ------------------------------------------------------------------------------------------


def _url(text: str) -> URL:
    """As the client will read it: what is looked at is what is called."""
    if any(ord(char) <= 32 or ord(char) == 127 or char == "\\" for char in text):
        raise InvalidPayload("url: must not contain blanks, backslashes or control characters")
    try:
        url = URL(text)
    except _UNREADABLE:
        raise InvalidPayload("url: is no address such as https://api.example/path") from None
    return url.with_fragment(None)


def target_of(url: URL, allow: Sequence[HttpTargetSettings]) -> HttpTargetSettings:
    """The target this address belongs to, the longest one first. InvalidPayload: to none."""
    if not allow:
        raise InvalidPayload("jobs of kind http are off: name what they may call in Handlers:Http:Allow")
    if url.scheme not in ("http", "https") or not url.host:
        raise InvalidPayload("url: must start with http:// or https:// and name a host")
    if url.user is not None or url.password is not None:
        raise InvalidPayload("url: must not hold a user name; credentials stand in Handlers:Http:Allow:N:Headers")
    fitting = [target for target in allow if _covers(URL(target.url), url)]
    if not fitting:
        raise InvalidPayload(f"url: {url.scheme}://{url.host} is not allowed there; see Handlers:Http:Allow")
    target = max(fitting, key=lambda one: len(one.url))
    literal = address_of(url.host)
    if literal is not None and not _is_allowed(url.host, target):
        raise InvalidPayload(f"url: {_inward(url.host)}")
    return target


def _covers(prefix: URL, url: URL) -> bool:
    same = (prefix.scheme, prefix.raw_host, prefix.port) == (url.scheme, url.raw_host, url.port)
    base = prefix.path.rstrip("/")
    if not same or not base:
        return same
    return _is_plain(url.raw_path) and (url.path == base or url.path.startswith(f"{base}/"))


def _is_plain(raw_path: str) -> bool:
    """Whether no server could take it for a path outside the prefix, however often it decodes."""
    text, before = raw_path, None
    while text != before:
        text, before = unquote(text), text
    return raw_path.count("/") == text.count("/") and "\\" not in text and not {".", ".."} & set(text.split("/"))


async def _addresses(url: URL, target: HttpTargetSettings, resolve: Resolve) -> Sequence[str]:
    """Where the name leads to; every one of its addresses must be allowed."""
    host = url.raw_host or ""
    if address_of(host) is not None:
        return [host]
    try:
        found = await resolve(host, url.port or 0)
    except (OSError, UnicodeError) as exc:
        raise Unavailable(f"{url.host} cannot be resolved: {_reason(exc)}") from exc
    if not found:
        raise Unavailable(f"{url.host} cannot be resolved: it has no address")
    if not all(_is_allowed(address, target) for address in found):
        raise Discard(_inward(url.host or ""))
    return found


def _inward(host: str) -> str:
    return (
        f"{host} leads to a private, local or reserved address: "
        "name its network in Handlers:Http:Allow:N:Networks if that is meant"
    )


def _is_allowed(text: str, target: HttpTargetSettings) -> bool:
    address = address_of(text)
    networks = [ip_network(network, strict=False) for network in target.networks]
    return address is not None and may_be_reached(address, networks)


async def _resolve(host: str, port: int) -> Sequence[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


# -- the call ----------------------------------------------------------------------------------------------------


class _Looked(AbstractResolver):
    """Gives the client the addresses that were looked at, and no others: a name may change between two questions."""

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
        """Nothing is held."""


def _session(addresses: Sequence[str], settings: HttpHandlerSettings) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(
        resolver=_Looked(addresses), use_dns_cache=False, force_close=True, ssl=_trust(settings.ca_file)
    )
    return aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=None),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,  # a proxy of the environment would resolve the name anew
    )


def _trust(ca_file: str | None) -> ssl.SSLContext | bool:
    if ca_file is None:
        return True
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as exc:
        raise Unavailable(f"Handlers:Http:CaFile cannot be read: {_reason(exc)}") from exc


def _request(session: aiohttp.ClientSession, call: _Call, target: HttpTargetSettings) -> Any:
    headers = {"User-Agent": f"insignia-worker/{__version__}", "Accept-Encoding": "identity", **call.headers}
    for name, value in target.headers.items():
        headers = {known: text for known, text in headers.items() if known.lower() != name.lower()}
        headers[name] = value.get_secret_value()
    return session.request(call.method, call.url, data=call.data, headers=headers, allow_redirects=False)


def _reason(exc: BaseException) -> str:
    """The innermost cause in one line: the outer ones repeat address and port."""
    cause: BaseException = exc
    while (
        isinstance(inner := getattr(cause, "os_error", None) or cause.__cause__, BaseException) and inner is not cause
    ):
        cause = inner
    text = getattr(cause, "strerror", None) or getattr(cause, "verify_message", None) or str(cause)
    return f"{type(cause).__name__}: {text}" if text else type(cause).__name__


# -- the answer --------------------------------------------------------------------------------------------------


async def _judged(
    call: _Call, response: aiohttp.ClientResponse, expect: Expect, target: HttpTargetSettings, most: int
) -> dict[str, Any]:
    data, is_whole = await _kept(response, most)
    text = _hidden(_text(response, data, is_whole), target)
    status = response.status
    if status in (expect.status or range(200, 300)):
        if expect.contains is not None and expect.contains not in (text or ""):
            raise Discard(f"{call.told}: answered {_words(status)}, but not with what was expected")
        return _result(response, data, text, is_whole)
    told = f"{call.told}: answered {_words(status)}{_excerpt(text)}"
    if status in _COME_AGAIN or status >= 500:
        raise RetryLater(told, _retry_after(response))
    raise Discard(told)


async def _kept(response: aiohttp.ClientResponse, most: int) -> tuple[bytes, bool]:
    """The beginning of the body, and whether that is all of it."""
    kept = bytearray()
    async for chunk in response.content.iter_chunked(65536):
        kept += chunk
        if len(kept) > most:
            return bytes(kept[:most]), False
    return bytes(kept), True


def _text(response: aiohttp.ClientResponse, data: bytes, is_whole: bool) -> str | None:
    """None: it is no text. A character cut in half is left out."""
    kind = response.content_type
    if not (kind.startswith("text/") or re.search(r"json|xml|javascript|urlencoded", kind)):
        return None
    try:
        decoder = codecs.getincrementaldecoder(response.charset or "utf-8")
    except LookupError:
        decoder = codecs.getincrementaldecoder("utf-8")
    return decoder("replace").decode(data, final=is_whole)


def _hidden(text: str | None, target: HttpTargetSettings) -> str | None:
    """A server that shows the request shows our secrets as well."""
    for value in target.headers.values():
        secret = value.get_secret_value()
        for part in {secret, secret.partition(" ")[2]}:
            if text is not None and len(part) >= 4:
                text = text.replace(part, "***")
    return text


def _result(response: aiohttp.ClientResponse, data: bytes, text: str | None, is_whole: bool) -> dict[str, Any]:
    headers = {name: response.headers[name] for name in _TOLD if name in response.headers}
    result: dict[str, Any] = {"status": response.status, "headers": headers, "bytes": len(data)}
    if not is_whole:
        result["truncated"] = True
    if text is None:
        return result
    if is_whole and "json" in response.content_type:
        try:
            return result | {"json": orjson.loads(text)}
        except orjson.JSONDecodeError:
            pass
    return result | {"body": text}


def _words(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _excerpt(text: str | None) -> str:
    line = " ".join((text or "").split())
    return f": {line[:_LINE]}{'…' if len(line) > _LINE else ''}" if line else ""


def _retry_after(response: aiohttp.ClientResponse) -> float:
    """Seconds; a number or a date, and 0 where there is none."""
    text = response.headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        when = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    return max(0.0, (when.replace(tzinfo=when.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
