"""The kind `http` against a real server on loopback, with a name server of the test's own."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web

from config.settings import HandlersSettings, HttpHandlerSettings, HttpTargetSettings
from tests.support.attempts import Bench, a_bench, a_job
from tests.support.certificates import made_for
from tests.support.contexts import StandIn
from tests.support.process import free_port
from worker.errors import Discard, InvalidPayload, RetryLater, TimedOut, Unavailable, WorkerError
from worker.failure import failure_of
from worker.handlers.http import HttpPayload, call, call_url, check
from worker.outcome import Retry, RetryPolicy, decide
from worker.redact import Redactor

LOOPBACK = ("127.0.0.0/8", "::1/128")
SECRET = "Bearer sehr-geheim-42"


@dataclass
class Site:
    """A server, what it was asked, and the names that lead to it."""

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
        return HttpHandlerSettings(**{"allow": (target,), "timeout": 5000} | options)

    async def call(self, path: str = "/", *, settings: HttpHandlerSettings | None = None, **payload: Any) -> Any:
        context = payload.pop("context", None) or StandIn()
        order = HttpPayload.model_validate({"url": self.url(path)} | payload)
        return await call(order, settings or self.settings(), context, self.resolve)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    site = Site()
    app = web.Application(client_max_size=1 << 26, handler_args={"handler_cancellation": True})
    app.router.add_route("*", "/{tail:.*}", site.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.05, access_log=None, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    site.port = runner.addresses[0][1]
    try:
        yield site
    finally:
        await runner.cleanup()


# -- the call ------------------------------------------------------------------------------------------------------


async def test_a_call_is_made_as_it_was_asked_for_and_its_answer_is_the_result(site: Site) -> None:
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
    assert context.told == [(0, "calling api.example"), (80, "api.example answered 200")]


async def test_without_a_body_it_is_a_get(site: Site) -> None:
    result = await site.call("/")
    assert (site.asked[0][0], result["body"]) == ("GET", "ok")


@pytest.mark.parametrize("method", ["put", "DELETE", "patch", "HEAD"])
async def test_the_method_may_be_named(site: Site, method: str) -> None:
    await site.call("/", method=method, body="สวัสดี")
    assert (site.asked[0][0], site.asked[0][3].decode()) == (method.upper(), "สวัสดี")


async def test_a_body_of_null_is_a_body(site: Site) -> None:
    await site.call("/", json=None)
    assert (site.asked[0][0], site.asked[0][3]) == ("POST", b"null")


async def test_a_long_answer_is_cut_at_a_character_and_not_read_to_its_end(site: Site) -> None:
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


async def test_what_is_no_text_is_counted_and_left_out(site: Site) -> None:
    site.answers["/"] = web.Response(body=b"\x89PNG\0", content_type="image/png")
    result = await site.call("/")
    assert (result["bytes"], "body" in result, "json" in result) == (5, False, False)


async def test_a_thai_code_page_is_read_as_such(site: Site) -> None:
    site.answers["/"] = web.Response(
        body="สวัสดี".encode("cp874"), headers={"Content-Type": "text/plain; charset=tis-620"}
    )
    assert (await site.call("/"))["body"] == "สวัสดี"


async def test_json_that_is_none_stays_text(site: Site) -> None:
    site.answers["/"] = web.Response(text="{broken", content_type="application/json")
    assert (await site.call("/"))["body"] == "{broken"


async def test_a_server_that_shows_our_secret_does_not_put_it_into_the_result(site: Site) -> None:
    async def mirror(request: web.Request) -> web.Response:
        return web.json_response(dict(request.headers))

    site.answers["/"] = mirror
    result = orjson.dumps(await site.call("/"))
    assert b"sehr-geheim" not in result
    assert b"***" in result


# -- outcomes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
async def test_what_may_pass_by_itself_is_tried_again(site: Site, status: int) -> None:
    site.answers["/"] = web.Response(status=status, text="ระบบไม่ว่าง")
    with pytest.raises(RetryLater, match=rf"GET api\.example: answered {status} .*: ระบบไม่ว่าง") as caught:
        await site.call("/")
    assert failure_of(caught.value, Redactor.of([])).retryable


@pytest.mark.parametrize("status", [304, 400, 401, 404, 409, 410, 422])
async def test_any_other_answer_is_final(site: Site, status: int) -> None:
    site.answers["/"] = web.Response(status=status)
    with pytest.raises(Discard, match=f"answered {status}"):
        await site.call("/")


@pytest.mark.parametrize(("header", "low", "high"), [("17", 17, 17), ("soon", 0, 0), ("-5", 0, 0)])
async def test_retry_after_is_passed_on(site: Site, header: str, low: float, high: float) -> None:
    site.answers["/"] = web.Response(status=503, headers={"Retry-After": header})
    with pytest.raises(RetryLater) as caught:
        await site.call("/")
    assert low <= caught.value.after <= high


@pytest.mark.parametrize(("seconds", "low", "high"), [(600, 500, 600), (-600, 0, 0)])
async def test_retry_after_may_be_a_time(site: Site, seconds: float, low: float, high: float) -> None:
    when = format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)
    await test_retry_after_is_passed_on(site, when, low, high)


async def test_other_statuses_may_be_expected(site: Site) -> None:
    site.answers["/"] = web.Response(status=404)
    assert (await site.call("/", expect={"status": [200, 404]}))["status"] == 404
    site.answers["/"] = web.Response(status=200)
    with pytest.raises(Discard, match="answered 200 OK"):
        await site.call("/", expect={"status": [204]})


async def test_a_text_may_be_expected(site: Site) -> None:
    assert await site.call("/", expect={"contains": "ok"})
    with pytest.raises(Discard, match="not with what was expected"):
        await site.call("/", expect={"contains": "สำเร็จ"})


async def test_nobody_there_is_tried_again_and_says_who(site: Site) -> None:
    settings = site.settings()
    port, site.port = site.port, free_port()
    target = HttpTargetSettings(url=site.url("/"), networks=LOOPBACK)
    with pytest.raises(Unavailable, match=r"GET api\.example: ConnectionRefusedError"):
        await site.call("/secret-path?token=x", settings=settings.model_copy(update={"allow": (target,)}))
    site.port = port


async def test_a_name_that_leads_nowhere_is_tried_again(site: Site) -> None:
    site.names.clear()
    with pytest.raises(Unavailable, match=r"api\.example cannot be resolved"):
        await site.call("/")


async def test_a_connection_that_is_cut_is_tried_again(site: Site) -> None:
    async def cut(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    site.answers["/"] = cut
    with pytest.raises(Unavailable):
        await site.call("/")


async def test_an_answer_that_does_not_come_is_timed_out_and_the_request_closed(site: Site) -> None:
    site.answers["/"] = site.hang
    with pytest.raises(TimedOut, match=r"GET api\.example: no answer within 0\.05 s"):
        await site.call("/", timeoutMs=50)
    await asyncio.wait_for(site.left.wait(), 5)


async def test_an_answer_that_never_ends_is_timed_out(site: Site) -> None:
    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x")
            await asyncio.sleep(0.01)

    site.answers["/"] = drip
    with pytest.raises(TimedOut):
        await site.call("/", settings=site.settings(timeout=100))


async def test_cancelling_closes_the_request(site: Site) -> None:
    site.answers["/"] = site.hang
    asking = asyncio.ensure_future(site.call("/"))
    await asyncio.wait_for(site.arrived.wait(), 5)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await asyncio.wait_for(site.left.wait(), 5)


# -- in the executor -------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def at_work(site: Site) -> AsyncIterator[Bench]:
    target = HttpTargetSettings(url=f"http://127.0.0.1:{site.port}/", networks=LOOPBACK)
    async with a_bench() as bench:
        bench.executor.registry = {"http": call_url}
        bench.executor.sections = {"Handlers": HandlersSettings(http=HttpHandlerSettings(allow=(target,)))}
        yield bench


async def test_a_job_is_run_with_the_settings_of_its_section(site: Site) -> None:
    site.answers["/"] = web.json_response({"ok": True})
    async with at_work(site) as bench:
        attempt = await bench.run("http", url=f"http://127.0.0.1:{site.port}/")
    assert attempt.result is not None
    assert orjson.loads(attempt.result)["json"] == {"ok": True}
    assert [note for _, _, note in bench.progress] == ["calling 127.0.0.1", "127.0.0.1 answered 200"]


async def test_a_wish_to_be_left_alone_reaches_the_retry_rule(site: Site) -> None:
    site.answers["/"] = web.Response(status=429, headers={"Retry-After": "120"})
    async with at_work(site) as bench:
        attempt = await bench.run("http", url=f"http://127.0.0.1:{site.port}/")
    assert decide(attempt, RetryPolicy(), 1000.0, 0.5) == Retry(attempt.failure, 1120.0)  # type: ignore[arg-type]


async def test_a_cancelled_job_closes_its_request(site: Site) -> None:
    site.answers["/"] = site.hang
    async with at_work(site) as bench:
        job = a_job("http", {"url": f"http://127.0.0.1:{site.port}/"})
        ended = bench.start(job)
        await asyncio.wait_for(site.arrived.wait(), 5)
        bench.executor.cancel(job.id)
        attempt = await ended
        await asyncio.wait_for(site.left.wait(), 5)
    assert attempt is not None
    assert attempt.failure is not None
    assert attempt.failure.cancelled
    assert bench.events == []


# -- what may be called --------------------------------------------------------------------------------------------


def allowed(*urls: str, **options: Any) -> HandlersSettings:
    targets = tuple(HttpTargetSettings(url=url, **options) for url in urls)
    return HandlersSettings(http=HttpHandlerSettings(allow=targets))


def refusal(url: str, settings: HandlersSettings | None, **payload: Any) -> str:
    with pytest.raises(InvalidPayload) as caught:
        check(HttpPayload.model_validate({"url": url} | payload), settings)
    return str(caught.value)


def test_the_kind_is_off_until_something_is_allowed() -> None:
    for settings in (None, HandlersSettings()):
        assert refusal("https://api.example/", settings) == (
            "jobs of kind http are off: name what they may call in Handlers:Http:Allow"
        )


async def test_a_job_from_before_the_settings_changed_is_refused_as_well() -> None:
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
        "https://ไทย.example/ก",
    ],
)
def test_an_address_under_a_named_one_is_allowed(url: str) -> None:
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
def test_any_other_address_is_refused(url: str) -> None:
    assert refusal(url, allowed("https://api.example", "https://hooks.example/in/")).startswith("url: ")


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254", "10.0.0.8", "[fd00:ec2::254]", "１２７.０.０.１"],
)
def test_an_inward_address_is_refused_at_intake_even_where_it_is_named(host: str) -> None:
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
async def test_a_name_that_leads_inwards_is_refused(site: Site, addresses: list[str]) -> None:
    site.names["api.example"] = addresses
    with pytest.raises(Discard, match="leads to a private, local or reserved address"):
        await site.call("/", settings=site.settings(networks=()))
    assert site.asked == []


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0x7f000001", "0177.0.0.1"])
async def test_odd_forms_of_a_number_lead_where_they_lead(site: Site, host: str) -> None:
    """With the machine's own resolver, which takes them for 127.0.0.1."""
    url = site.url("/", host)
    settings = HttpHandlerSettings(allow=(HttpTargetSettings(url=url),))
    with pytest.raises(WorkerError):
        await call(HttpPayload(url=url), settings, StandIn())
    assert site.asked == []


async def test_a_name_is_asked_once_and_called_at_the_address_that_was_looked_at(site: Site) -> None:
    """DNS rebinding: the second answer would lead elsewhere."""
    answers = iter([["127.0.0.1"], ["10.0.0.1"], ["169.254.169.254"]])

    async def rebinding(_host: str, _port: int) -> Sequence[str]:
        return next(answers)

    payload = HttpPayload(url=site.url("/"))
    assert (await call(payload, site.settings(networks=("127.0.0.1/32",)), StandIn(), rebinding))["status"] == 200
    assert next(answers) == ["10.0.0.1"]
    assert site.asked[0][2]["Host"] == f"api.example:{site.port}"


async def test_the_environments_proxy_is_not_asked(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    assert (await site.call("/"))["status"] == 200


# -- redirects -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "method", "body"),
    [(301, "GET", b""), (302, "GET", b""), (303, "GET", b""), (307, "POST", b"x"), (308, "POST", b"x")],
)
async def test_a_redirect_is_followed_as_browsers_do(site: Site, status: int, method: str, body: bytes) -> None:
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
async def test_a_redirect_to_what_is_not_allowed_is_final(site: Site, location: str) -> None:
    site.answers["/from"] = web.Response(status=302, headers={"Location": location.format(port=site.port)})
    with pytest.raises(Discard):
        await site.call("/from")
    assert len(site.asked) == 1


async def test_a_redirected_name_is_looked_at_again(site: Site) -> None:
    site.names["inner.example"] = ["10.0.0.1"]
    site.answers["/from"] = web.Response(status=302, headers={"Location": site.url("/", "inner.example")})
    targets = tuple(
        HttpTargetSettings(url=site.url("/", host), networks=LOOPBACK) for host in ("api.example", "inner.example")
    )
    with pytest.raises(Discard, match="leads to a private"):
        await site.call("/from", settings=site.settings(allow=targets))


async def test_a_secret_does_not_follow_to_another_target(site: Site) -> None:
    site.names["other.example"] = ["127.0.0.1"]
    site.answers["/from"] = web.Response(status=307, headers={"Location": site.url("/to", "other.example")})
    other = HttpTargetSettings(url=site.url("/", "other.example"), networks=LOOPBACK, headers={"X-Key": "of-the-other"})
    await site.call("/from", settings=site.settings(allow=(*site.settings().allow, other)))
    first, second = (entry[2] for entry in site.asked)
    assert (first.get("Authorization"), first.get("X-Key")) == (SECRET, None)
    assert (second.get("Authorization"), second.get("X-Key")) == (None, "of-the-other")


async def test_an_endless_redirect_is_final(site: Site) -> None:
    site.answers["/"] = web.Response(status=302, headers={"Location": "/"})
    with pytest.raises(Discard, match="more than 3 redirects"):
        await site.call("/", settings=site.settings(max_redirects=3))
    assert len(site.asked) == 4


# -- payloads ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"headers": {"Authorization": "x"}}, "never in a payload"),
        ({"headers": {"cookie": "x"}}, "never in a payload"),
        ({"headers": {"Host": "x"}}, "set by the worker"),
        ({"headers": {"Transfer-Encoding": "chunked"}}, "set by the worker"),
        ({"headers": {"idempotency-key": "x"}}, "set by the worker"),
        ({"headers": {"a b": "x"}}, "no name"),
        ({"headers": {"a": "x\r\nb: c"}}, "line breaks"),
        ({"body": "a", "json": 1}, "not both"),
        ({"method": "CONNECT"}, "method"),
        ({"timeoutMs": 0}, "timeoutMs"),
        ({"expect": {"status": []}}, "expect.status"),
        ({"retries": 3}, "retries"),
        ({"url": ""}, "url"),
    ],
)
def test_a_payload_that_does_not_fit_is_refused(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidPayload, match=told):
        call_url.validate(orjson.dumps({"url": "https://api.example/"} | fields))


def test_the_settings_secrets_are_never_shown() -> None:
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
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    runner = web.AppRunner(app, shutdown_timeout=0.05, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def secure(port: int, host: str, ca_file: Path | None) -> Any:
    async def resolve(_host: str, _port: int) -> Sequence[str]:
        return ["127.0.0.1"]

    url = f"https://{host}:{port}/"
    settings = HttpHandlerSettings(
        allow=(HttpTargetSettings(url=url, networks=LOOPBACK),), ca_file=None if ca_file is None else str(ca_file)
    )
    return await call(HttpPayload(url=url), settings, StandIn(), resolve)


async def test_a_certificate_is_checked_against_the_name_that_was_asked_for(certificate: Path) -> None:
    async with over_tls(certificate) as port:
        assert (await secure(port, "api.example", certificate))["body"] == "safe"
        with pytest.raises(Unavailable, match="SSLCertVerificationError"):
            await secure(port, "other.example", certificate)
        with pytest.raises(Unavailable, match="SSLCertVerificationError"):
            await secure(port, "api.example", None)


async def test_a_ca_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="Handlers:Http:CaFile cannot be read"):
        await secure(1, "api.example", tmp_path / "none.pem")
