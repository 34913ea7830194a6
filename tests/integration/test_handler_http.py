"""The kind `http` against a real server on loopback, with a name server of the test's own."""

import asyncio
import base64
import contextlib
import socket
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
import pytest
from aiohttp import web

from config.handler_settings import HandlersSettings, HttpHandlerSettings, HttpTargetSettings
from tests.support.attempts import Bench, a_bench, a_claimed_job
from tests.support.certificates import made_for
from tests.support.contexts import StandIn
from tests.support.ports import free_port
from tests.support.web_server import server_tls, serving
from worker.core.failure import failure_of
from worker.core.outcome import Retry, RetryPolicy, decide
from worker.core.redact import Redactor
from worker.core.secret_mask import SecretMask
from worker.errors import Discard, InvalidPayload, RetryLater, TimedOut, Unavailable, WorkerError
from worker.handlers.http.handler import call_url, check
from worker.handlers.http.payload import HttpPayload
from worker.handlers.http.request import call

LOOPBACK = ("127.0.0.0/8", "::1/128")
SECRET = "Bearer sehr-geheim-42"


@dataclass
class Site:
    """A server, the requests it received, and the host names that lead to it."""

    port: int = 0
    asked: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    answers: dict[str, Any] = field(default_factory=dict)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    names: dict[str, list[str]] = field(default_factory=lambda: {"api.example": ["127.0.0.1"]})
    resolved: list[str] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((request.method, request.path_qs, dict(request.headers), await request.read()))
        answer = self.answers.get(request.path, web.Response(text="ok"))
        if callable(answer):
            response: web.StreamResponse = await answer(request)
            return response
        fresh: web.Response = answer
        return web.Response(body=fresh.body, status=fresh.status, headers=fresh.headers)

    async def hang(self, _request: web.Request) -> web.StreamResponse:
        self.arrived.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.left.set()
        raise AssertionError

    async def resolve(self, host: str, _port: int) -> Sequence[str]:
        self.resolved.append(host)
        if host not in self.names:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return self.names[host]

    def url(self, path: str = "/", host: str = "api.example") -> str:
        return f"http://{host}:{self.port}{path}"

    def settings(self, *, networks: Sequence[str] = LOOPBACK, **options: Any) -> HttpHandlerSettings:
        target = HttpTargetSettings(url=self.url("/"), networks=tuple(networks), headers={"Authorization": SECRET})
        return HttpHandlerSettings(**{"allow": (target,), "timeout": 60_000} | options)

    async def call(self, path: str = "/", *, settings: HttpHandlerSettings | None = None, **payload: Any) -> Any:
        context = payload.pop("context", None) or StandIn()
        order = HttpPayload.model_validate({"url": self.url(path)} | payload)
        return await call(order, settings or self.settings(), context, self.resolve)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    site = Site()
    app = web.Application(client_max_size=1 << 26, handler_args={"handler_cancellation": True})
    app.router.add_route("*", "/{tail:.*}", site.handle)
    async with serving(app, handler_cancellation=True) as site.port:
        yield site


# -- the call ------------------------------------------------------------------------------------------------------


async def test_call_sends_the_request_and_returns_the_response(site: Site) -> None:
    site.answers["/hook"] = web.json_response({"รับแล้ว": 3}, headers={"X-Request-Id": "r-1", "Set-Cookie": "a=b"})
    context = StandIn()
    result = await site.call("/hook?q=ก", json={"ชื่อ": "สมชาย"}, headers={"X-Trace": "t"}, context=context)
    [(method, path, headers, body)] = site.asked
    assert (method, path, orjson.loads(body)) == ("POST", "/hook?q=%E0%B8%81", {"ชื่อ": "สมชาย"})
    assert headers["Content-Type"] == "application/json"
    assert headers["Idempotency-Key"] == context.job_id
    assert (headers["Authorization"], headers["X-Trace"]) == (SECRET, "t")
    assert headers["User-Agent"].startswith("insignia-worker/")
    assert (result["status"], result["json"]) == (200, {"รับแล้ว": 3})
    assert result["headers"]["x-request-id"] == "r-1"
    assert "set-cookie" not in result["headers"]
    assert result["durationMs"] > 0
    assert context.reported == [(0, "calling api.example"), (80, "api.example answered 200")]


async def test_call_without_a_body_uses_get(site: Site) -> None:
    result = await site.call("/")
    assert (site.asked[0][0], result["body"]) == ("GET", "ok")


@pytest.mark.parametrize("method", ["put", "DELETE", "patch", "HEAD"])
async def test_call_uses_the_named_method(site: Site, method: str) -> None:
    await site.call("/", method=method, body="สวัสดี")
    assert (site.asked[0][0], site.asked[0][3].decode()) == (method.upper(), "สวัสดี")


async def test_call_with_json_null_sends_a_body(site: Site) -> None:
    await site.call("/", json=None)
    assert (site.asked[0][0], site.asked[0][3]) == ("POST", b"null")


async def test_long_response_is_cut_between_characters_and_not_read_to_the_end(site: Site) -> None:
    sent = 0

    async def long(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse(headers={"Content-Type": "text/plain; charset=utf-8"})
        await response.prepare(request)
        for _ in range(2000):
            await response.write("ก".encode() * 30_000)
            sent += 90_000
        return response

    site.answers["/long"] = long
    result = await site.call("/long", settings=site.settings(max_answer=1000))
    assert (result["body"], result["truncated"], result["bytes"]) == ("ก" * 333, True, 1000)
    assert sent < 100_000_000


async def test_binary_response_is_counted_but_left_out(site: Site) -> None:
    site.answers["/"] = web.Response(body=b"\x89PNG\0", content_type="image/png")
    result = await site.call("/")
    assert (result["bytes"], "body" in result, "json" in result) == (5, False, False)


async def test_response_in_a_thai_code_page_is_decoded(site: Site) -> None:
    site.answers["/"] = web.Response(
        body="สวัสดี".encode("cp874"), headers={"Content-Type": "text/plain; charset=tis-620"}
    )
    assert (await site.call("/"))["body"] == "สวัสดี"


@pytest.mark.parametrize("charset", ["idna", "undefined", "base64", "zlib", "rot13", "unknown"])
async def test_response_in_a_codec_that_is_not_a_character_set_is_read_as_utf_8(site: Site, charset: str) -> None:
    site.answers["/"] = web.Response(body="a..ก".encode(), headers={"Content-Type": f"text/plain; charset={charset}"})
    assert (await site.call("/"))["body"] == "a..ก"


async def test_response_with_invalid_json_stays_text(site: Site) -> None:
    site.answers["/"] = web.Response(text="{broken", content_type="application/json")
    assert (await site.call("/"))["body"] == "{broken"


async def test_response_that_echoes_a_secret_is_masked(site: Site) -> None:
    async def mirror(request: web.Request) -> web.Response:
        return web.json_response(dict(request.headers))

    site.answers["/"] = mirror
    result = orjson.dumps(await site.call("/"))
    assert b"sehr-geheim" not in result
    assert b"***" in result


def _unicode_escaped(text: str) -> str:
    return "".join(f"\\u{ord(char):04x}" for char in text)


ECHOES: dict[str, Callable[[str], str]] = {
    "slashes": lambda secret: secret.replace("/", "\\/"),
    "unicode": _unicode_escaped,
    "percent": lambda secret: quote(secret, safe=""),
    "twice": lambda secret: quote(quote(secret, safe=""), safe=""),
    "percent-in-unicode": lambda secret: _unicode_escaped(quote(secret)),
    "base64": lambda secret: base64.b64encode(secret.encode()).decode(),
    "credentials": lambda secret: secret.partition(" ")[2],
}


@pytest.mark.parametrize("spelling", ECHOES)
@pytest.mark.parametrize("status", [200, 400, 503])
async def test_secret_is_masked_in_every_spelling_and_place(site: Site, spelling: str, status: int) -> None:
    secret = "Bearer abc/def+ghi&Zq9==SECRETVALUE"
    echoed = ECHOES[spelling](secret)
    headers = {"X-Request-Id": echoed, "ETag": f'"{echoed}"', "Location": f"/next?t={echoed}"}
    site.answers["/"] = web.Response(
        body=f'{{"{echoed}": ["{echoed}"]}}', status=status, content_type="application/json", headers=headers
    )
    target = HttpTargetSettings(url=site.url("/"), networks=LOOPBACK, headers={"Authorization": secret})
    try:
        seen = orjson.dumps(await site.call("/", settings=HttpHandlerSettings(allow=(target,)))).decode()
    except WorkerError as exc:
        seen = str(exc)
    assert "***" in seen
    assert not [part for part in ("def", "Zq9", "SECRETVALUE", echoed, "YWJjL2RlZi") if part in seen]


@pytest.mark.parametrize("most", range(20, 50, 3))
async def test_secret_at_the_cut_of_a_response_is_masked_as_a_whole(site: Site, most: int) -> None:
    site.answers["/"] = web.Response(text="0123456789" + SECRET + "x" * 1000)
    result = await site.call("/", settings=site.settings(max_answer=most))
    assert result["truncated"]
    assert result["bytes"] == most
    assert "***" in result["body"]
    assert result["body"].replace("x", "") == "0123456789***"


@pytest.mark.parametrize("content_type", ["text/plain", "application/json"])
async def test_long_response_is_masked_outside_the_event_loop(
    site: Site, content_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: set[threading.Thread] = set()

    class Watched(SecretMask):
        def __call__(self, text: str, start: int = 0, end: int | None = None) -> str:
            threads.add(threading.current_thread())
            return super().__call__(text, start, end)

    monkeypatch.setattr("worker.handlers.http.request.mask_for", Watched)
    site.answers["/"] = web.Response(body=b'["' + b"%5cx25&#37;+" * 2000 + b'"]', content_type=content_type)
    assert (await site.call("/", settings=site.settings()))["bytes"] == 24_004
    assert threads
    assert threading.main_thread() not in threads


async def test_secret_of_another_target_is_masked_too(site: Site) -> None:
    site.names["other.example"] = ["127.0.0.1"]
    other = HttpTargetSettings(url=site.url("/", "other.example"), networks=LOOPBACK, headers={"X-Key": "anderes/Wort"})
    settings = site.settings()
    site.answers["/"] = web.Response(text="anderes%2fWort")
    both = settings.model_copy(update={"allow": (*settings.allow, other)})
    assert (await site.call("/", settings=both))["body"] == "***"


# -- outcomes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
async def test_temporary_status_is_retried(site: Site, status: int) -> None:
    site.answers["/"] = web.Response(status=status, text="ระบบไม่ว่าง")
    with pytest.raises(RetryLater, match=rf"GET api\.example: answered {status} .*: ระบบไม่ว่าง") as caught:
        await site.call("/")
    assert failure_of(caught.value, Redactor.of([])).retryable


@pytest.mark.parametrize("status", [304, 400, 401, 404, 409, 410, 422])
async def test_other_status_is_final(site: Site, status: int) -> None:
    site.answers["/"] = web.Response(status=status)
    with pytest.raises(Discard, match=f"answered {status}"):
        await site.call("/")


@pytest.mark.parametrize(("header", "low", "high"), [("17", 17, 17), ("soon", 0, 0), ("-5", 0, 0)])
async def test_retry_after_is_used(site: Site, header: str, low: float, high: float) -> None:
    site.answers["/"] = web.Response(status=503, headers={"Retry-After": header})
    with pytest.raises(RetryLater) as caught:
        await site.call("/")
    assert low <= caught.value.after <= high


@pytest.mark.parametrize(("seconds", "low", "high"), [(600, 500, 600), (-600, 0, 0)])
async def test_retry_after_as_a_date_is_used(site: Site, seconds: float, low: float, high: float) -> None:
    when = format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)
    await test_retry_after_is_used(site, when, low, high)


async def test_expected_status_succeeds(site: Site) -> None:
    site.answers["/"] = web.Response(status=404)
    assert (await site.call("/", expect={"status": [200, 404]}))["status"] == 404
    site.answers["/"] = web.Response(status=200)
    with pytest.raises(Discard, match="answered 200 OK"):
        await site.call("/", expect={"status": [204]})


async def test_response_without_the_expected_text_is_final(site: Site) -> None:
    assert await site.call("/", expect={"contains": "ok"})
    with pytest.raises(Discard, match="without the expected text"):
        await site.call("/", expect={"contains": "สำเร็จ"})


async def test_refused_connection_is_retried_and_names_the_host(site: Site) -> None:
    settings = site.settings()
    port, site.port = site.port, free_port()
    target = HttpTargetSettings(url=site.url("/"), networks=LOOPBACK)
    with pytest.raises(Unavailable, match=r"GET api\.example: ConnectionRefusedError"):
        await site.call("/secret-path?token=x", settings=settings.model_copy(update={"allow": (target,)}))
    site.port = port


async def test_unresolvable_host_is_retried(site: Site) -> None:
    site.names.clear()
    with pytest.raises(Unavailable, match=r"api\.example cannot be resolved"):
        await site.call("/")


async def test_aborted_connection_is_retried(site: Site) -> None:
    async def cut(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    site.answers["/"] = cut
    with pytest.raises(Unavailable):
        await site.call("/")


@pytest.mark.parametrize("line", [b"HTTP/1.1 100 Continue", b"HTTP/1.1 103 Early Hints\r\nLink: </a>"])
async def test_interim_responses_without_end_end_the_attempt(site: Site, line: bytes) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        transport = request.transport
        assert isinstance(transport, asyncio.WriteTransport)
        try:
            while not transport.is_closing():
                if transport.get_write_buffer_size() < 1 << 16:
                    transport.write((line + b"\r\n\r\n") * 1000)
                await asyncio.sleep(0)
        finally:
            site.left.set()
        return web.Response()

    site.answers["/"] = endless
    with pytest.raises(Unavailable, match=r"GET api\.example: .*interim responses"):
        await site.call("/", timeoutMs=60_000, settings=site.settings(timeout=60_000))
    await site.left.wait()


async def test_missing_response_times_out_and_closes_the_request(site: Site) -> None:
    site.answers["/"] = site.hang
    for milliseconds in (50, 500, 5_000, 50_000):  # on a busy machine the request may not arrive within the first
        with pytest.raises(TimedOut, match=rf"GET api\.example: no response within {milliseconds / 1000:g} s"):
            await site.call("/", timeoutMs=milliseconds)
        if site.arrived.is_set():
            break
    await asyncio.wait_for(site.left.wait(), 30)


async def test_endless_response_times_out(site: Site) -> None:
    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x")
            await asyncio.sleep(0.01)

    site.answers["/"] = drip
    with pytest.raises(TimedOut):
        await site.call("/", settings=site.settings(timeout=100))


async def test_cancel_closes_the_request(site: Site) -> None:
    site.answers["/"] = site.hang
    asking = asyncio.ensure_future(site.call("/"))
    await asyncio.wait_for(site.arrived.wait(), 30)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await asyncio.wait_for(site.left.wait(), 30)


# -- in the executor -------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def at_work(site: Site) -> AsyncIterator[Bench]:
    target = HttpTargetSettings(url=f"http://127.0.0.1:{site.port}/", networks=LOOPBACK)
    async with a_bench() as bench:
        bench.executor.registry = {"http": call_url}
        bench.executor.sections = {"Handlers": HandlersSettings(http=HttpHandlerSettings(allow=(target,)))}
        yield bench


async def test_job_uses_the_settings_of_its_section(site: Site) -> None:
    site.answers["/"] = web.json_response({"ok": True})
    async with at_work(site) as bench:
        attempt = await bench.run("http", url=f"http://127.0.0.1:{site.port}/")
    assert attempt.result is not None
    assert orjson.loads(attempt.result)["json"] == {"ok": True}
    assert [note for _, _, note in bench.progress] == ["calling 127.0.0.1", "127.0.0.1 answered 200"]


async def test_retry_after_decides_the_time_of_the_next_attempt(site: Site) -> None:
    site.answers["/"] = web.Response(status=429, headers={"Retry-After": "120"})
    async with at_work(site) as bench:
        attempt = await bench.run("http", url=f"http://127.0.0.1:{site.port}/")
    outcome = decide(attempt, RetryPolicy(), 1000.0, 0.5)
    assert isinstance(outcome, Retry)
    assert outcome.run_at == 1120.0


async def test_cancelled_job_closes_its_request(site: Site) -> None:
    site.answers["/"] = site.hang
    async with at_work(site) as bench:
        job = a_claimed_job("http", {"url": f"http://127.0.0.1:{site.port}/"})
        ended = bench.start(job)
        await asyncio.wait_for(site.arrived.wait(), 30)
        bench.executor.cancel(job.id)
        attempt = await ended
        await asyncio.wait_for(site.left.wait(), 30)
    assert attempt is not None
    assert attempt.failure is not None
    assert attempt.failure.cancelled
    assert bench.events == []


# -- what is allowed ----------------------------------------------------------------------------------------------


def allowed(*urls: str, **options: Any) -> HandlersSettings:
    targets = tuple(HttpTargetSettings(url=url, **options) for url in urls)
    return HandlersSettings(http=HttpHandlerSettings(allow=targets))


def refusal(url: str, settings: HandlersSettings | None, **payload: Any) -> str:
    with pytest.raises(InvalidPayload) as caught:
        check(HttpPayload.model_validate({"url": url} | payload), settings)
    return str(caught.value)


def test_kind_is_off_until_a_url_is_allowed() -> None:
    for settings in (None, HandlersSettings()):
        assert refusal("https://api.example/", settings) == (
            "jobs of kind http are off: add the URLs they may call to Handlers:Http:Allow"
        )


async def test_job_is_checked_again_when_it_runs() -> None:
    with pytest.raises(Discard, match="are off"):
        await call_url.run(HttpPayload(url="https://api.example/"), StandIn(HandlersSettings()))


@pytest.mark.parametrize(
    "url",
    [
        "https://api.example",
        "https://api.example/",
        "https://API.example:443/anything/../else?q=1#f",
        "https://hooks.example/in",
        "https://hooks.example/in/deep/er",
        "https://hooks.example/in/%E0%B8%81",
        "https://hooks.example/in/a;v=1/b..c/x%3By",
        "https://hooks.example/in/100¥/a\u200bb/why%3F/%23..",
        "https://ไทย.example/ก",
    ],
)
def test_check_accepts_a_url_below_an_allowed_one(url: str) -> None:
    check(HttpPayload(url=url), allowed("https://api.example", "https://hooks.example/in/", "https://ไทย.example/"))


@pytest.mark.parametrize(
    "url",
    [
        "http://api.example/",
        "https://api.example:8443/",
        "https://api.example.evil.example/",
        "https://evil.example/https://api.example/",
        "https://api.example@evil.example/",
        "https://api.example:x@evil.example/",
        "https://api.example%2eevil.example/",
        "https://hooks.example/",
        "https://hooks.example/inner",
        "https://hooks.example/in/../out",
        "https://hooks.example/in/%2e%2e/out",
        "https://hooks.example/in/..%2fout",
        "https://hooks.example/in/%252e%252e/out",
        "https://hooks.example/in%2f..%2fout",
        "https://hooks.example/in/..%5cout",
        "https://hooks.example/in/..;/out",
        "https://hooks.example/in/..;a=b/out",
        "https://hooks.example/in/%2e%2e;/out",
        "https://hooks.example/in/..%3b/out",
        "https://hooks.example/in/..%253B/out",
        "https://hooks.example/in/.;/x",
        "https://hooks.example/in/..%00/out",
        "https://hooks.example/in/x%2500",
        "https://hooks.example/in/x%0a",
        "https://hooks.example/in/%c0%ae%c0%ae/out",
        "https://hooks.example/in/..%c0%afout",
        "https://hooks.example/in/%e0%80%ae./out",
        "https://hooks.example/in/%25c0%25ae./out",
        "https://hooks.example/in/%u002e%u002e/out",
        "https://hooks.example/in/．．/out",
        "https://hooks.example/in/..／out",
        "https://hooks.example/in/..%20/out",
        "https://hooks.example/in/..%3f/out",
        "https://hooks.example/in/..%253Fout",
        "https://hooks.example/in/..%23out",
        "https://hooks.example/in/..%e2%80%8b/out",
        "https://hooks.example/in/.\u00ad./out",
        "https://hooks.example/in/%ef%bb%bf%2e%2e/out",
        "https://hooks.example/in/..%e3%85%a4/out",
        "https://hooks.example/in/..\u2044out",
        "https://hooks.example/in/..%e2%88%95out",
        "https://hooks.example/in/..¥out",
        "https://user@api.example/",
        "ftp://api.example/",
        "file:///etc/passwd",
        "//api.example/",
        "api.example",
        "https://",
        "https:///x",
        "https://api.example\\@evil.example/",
        "https://api.example\t/",
        "https://api.example/\nHost: x",
        " https://api.example/",
        "https://[::1/",
        "https://+]@[::ffff:10.0.0.1]@",
        "https://api.example:99999/",
    ],
)
def test_check_rejects_any_other_url(url: str) -> None:
    assert refusal(url, allowed("https://api.example", "https://hooks.example/in/")).startswith("url: ")


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254", "10.0.0.8", "[fd00:ec2::254]", "１２７.０.０.１"],
)
def test_check_rejects_a_private_address_unless_its_network_is_allowed(host: str) -> None:
    assert "private, local or reserved" in refusal(f"http://{host}/", allowed(f"http://{host}/"))
    check(HttpPayload(url=f"http://{host}/"), allowed(f"http://{host}/", networks=("0.0.0.0/0", "::/0")))


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["169.254.169.254"],
        ["::ffff:10.0.0.1"],
        ["8.8.8.8", "10.0.0.1"],
        ["fe80::1%eth0"],
        ["not an address"],
    ],
)
async def test_host_with_a_private_address_is_rejected(site: Site, addresses: list[str]) -> None:
    site.names["api.example"] = addresses
    with pytest.raises(Discard, match="has a private, local or reserved address"):
        await site.call("/", settings=site.settings(networks=()))
    assert site.asked == []


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0x7f000001", "0177.0.0.1"])
async def test_unusual_forms_of_a_loopback_address_are_rejected(site: Site, host: str) -> None:
    """With the machine's own resolver, which takes them for 127.0.0.1."""
    url = site.url("/", host)
    settings = HttpHandlerSettings(allow=(HttpTargetSettings(url=url),))
    with pytest.raises(WorkerError):
        await call(HttpPayload(url=url), settings, StandIn())
    assert site.asked == []


async def test_host_is_resolved_once_and_called_at_the_checked_address(site: Site) -> None:
    """DNS rebinding: the second answer would lead elsewhere."""
    answers = iter([["127.0.0.1"], ["10.0.0.1"], ["169.254.169.254"]])

    async def rebinding(_host: str, _port: int) -> Sequence[str]:
        return next(answers)

    payload = HttpPayload(url=site.url("/"))
    assert (await call(payload, site.settings(networks=("127.0.0.1/32",)), StandIn(), rebinding))["status"] == 200
    assert next(answers) == ["10.0.0.1"]
    assert site.asked[0][2]["Host"] == f"api.example:{site.port}"


async def test_proxy_of_the_environment_is_not_used(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    assert (await site.call("/"))["status"] == 200


# -- redirects -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "method", "body"),
    [(301, "GET", b""), (302, "GET", b""), (303, "GET", b""), (307, "POST", b"x"), (308, "POST", b"x")],
)
async def test_redirect_is_followed_as_browsers_do(site: Site, status: int, method: str, body: bytes) -> None:
    site.answers["/from"] = web.Response(status=status, headers={"Location": "/to"})
    await site.call("/from", body="x")
    assert [(entry[0], entry[1], entry[3]) for entry in site.asked] == [("POST", "/from", b"x"), (method, "/to", body)]


@pytest.mark.parametrize(
    "location",
    [
        "http://evil.example/",
        "http://127.0.0.1:{port}/",
        "//evil.example/",
        "file:///etc/passwd",
        "gopher://x",
        "http://[",
        "http://u:p@api.example:{port}/",
    ],
)
async def test_redirect_to_a_url_that_is_not_allowed_is_final(site: Site, location: str) -> None:
    site.answers["/from"] = web.Response(status=302, headers={"Location": location.format(port=site.port)})
    with pytest.raises(Discard):
        await site.call("/from")
    assert len(site.asked) == 1


async def test_redirect_checks_the_new_host(site: Site) -> None:
    site.names["inner.example"] = ["10.0.0.1"]
    site.answers["/from"] = web.Response(status=302, headers={"Location": site.url("/", "inner.example")})
    targets = tuple(
        HttpTargetSettings(url=site.url("/", host), networks=LOOPBACK) for host in ("api.example", "inner.example")
    )
    with pytest.raises(Discard, match="has a private"):
        await site.call("/from", settings=site.settings(allow=targets))


async def test_redirect_does_not_send_a_secret_to_another_target(site: Site) -> None:
    site.names["other.example"] = ["127.0.0.1"]
    site.answers["/from"] = web.Response(status=307, headers={"Location": site.url("/to", "other.example")})
    other = HttpTargetSettings(url=site.url("/", "other.example"), networks=LOOPBACK, headers={"X-Key": "of-the-other"})
    await site.call("/from", settings=site.settings(allow=(*site.settings().allow, other)))
    first, second = (entry[2] for entry in site.asked)
    assert (first.get("Authorization"), first.get("X-Key")) == (SECRET, None)
    assert (second.get("Authorization"), second.get("X-Key")) == (None, "of-the-other")


async def test_endless_redirect_is_final(site: Site) -> None:
    site.answers["/"] = web.Response(status=302, headers={"Location": "/"})
    with pytest.raises(Discard, match="more than 3 redirects"):
        await site.call("/", settings=site.settings(max_redirects=3))
    assert len(site.asked) == 4


# -- payloads ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "reported"),
    [
        ({"headers": {"Authorization": "x"}}, "not in a payload"),
        ({"headers": {"cookie": "x"}}, "not in a payload"),
        ({"headers": {"Host": "x"}}, "set by the worker"),
        ({"headers": {"Transfer-Encoding": "chunked"}}, "set by the worker"),
        ({"headers": {"idempotency-key": "x"}}, "set by the worker"),
        ({"headers": {"a b": "x"}}, "not a name"),
        ({"headers": {"a": "x\r\nb: c"}}, "line breaks"),
        ({"body": "a", "json": 1}, "not both"),
        ({"method": "CONNECT"}, "method"),
        ({"timeoutMs": 0}, "timeoutMs"),
        ({"expect": {"status": []}}, "expect.status"),
        ({"retries": 3}, "retries"),
        ({"url": ""}, "url"),
    ],
)
def test_payload_that_does_not_fit_the_model_is_rejected(fields: dict[str, Any], reported: str) -> None:
    with pytest.raises(InvalidPayload, match=reported):
        call_url.validate(orjson.dumps({"url": "https://api.example/"} | fields))


def test_settings_hide_secrets() -> None:
    assert "geheim" not in repr(allowed("https://api.example/", headers={"Authorization": SECRET}))


# -- TLS -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_for("api.example", tmp_path_factory.mktemp("tls"))


@contextlib.asynccontextmanager
async def over_tls(certificate: Path) -> AsyncIterator[int]:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(text="safe")

    app = web.Application()
    app.router.add_get("/", answer)
    async with serving(app, tls=server_tls(certificate)) as port:
        yield port


async def secure(port: int, host: str, ca_file: Path | None) -> Any:
    async def resolve(_host: str, _port: int) -> Sequence[str]:
        return ["127.0.0.1"]

    url = f"https://{host}:{port}/"
    settings = HttpHandlerSettings(
        allow=(HttpTargetSettings(url=url, networks=LOOPBACK),), ca_file=None if ca_file is None else str(ca_file)
    )
    return await call(HttpPayload(url=url), settings, StandIn(), resolve)


async def test_certificate_has_to_match_the_requested_host(certificate: Path) -> None:
    async with over_tls(certificate) as port:
        assert (await secure(port, "api.example", certificate))["body"] == "safe"
        with pytest.raises(Unavailable, match="SSLCertVerificationError"):
            await secure(port, "other.example", certificate)
        with pytest.raises(Unavailable, match="SSLCertVerificationError"):
            await secure(port, "api.example", None)


async def test_missing_ca_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="Handlers:Http:CaFile cannot be read"):
        await secure(1, "api.example", tmp_path / "none.pem")
