"""What a client may cost the HTTP API: bytes, objects, time and log lines, before and after it is known."""

import asyncio
import contextlib
import functools
import gzip
import io
import json
import logging
import zlib
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from tests.support.api_site import ADMIN, SESSION, ApiSite, api_site
from tests.support.loop_time import pass_time
from tests.support.tenants import OPERATOR, tenants
from worker.api import dispatch, request_body
from worker.api.server import serve_tcp
from worker.net.http_protocol import HttpDeadlines
from worker.net.json_limits import JsonScanner
from worker.net.rate_limit import BoundedReporter

JOB = {"taskType": "echo", "userId": "ann", "payload": {"text": "ก"}}


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[ApiSite]:
    async with api_site(tmp_path) as opened:
        yield opened


async def dial(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))


async def answer_to(url: str, sent: bytes) -> bytes:
    """Return all that arrives until the connection is closed."""
    reader, writer = await dial(url)
    writer.write(sent)
    answer = b""
    with contextlib.suppress(ConnectionError):
        async with asyncio.timeout(30):
            while piece := await reader.read(65536):
                answer += piece
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    return answer


def parsing_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def parsed(_data: bytes, _what: str) -> Any:
        raise AssertionError("the body was parsed")

    monkeypatch.setattr(request_body, "_parsed", parsed)


# -- large bodies ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", [b"[[[[]]]]", b'{"a":{"b":[]}}'])
async def test_large_bodies_are_counted_and_parsed_one_after_another(
    tmp_path: Path, unit: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn = 0
    counted: list[tuple[int, int]] = []
    parsing: list[int] = []

    async def turns() -> None:
        nonlocal turn
        while True:
            await asyncio.sleep(0)
            turn += 1

    def feed(scanner: JsonScanner, piece: bytes) -> None:
        counted.append((turn, len(piece)))
        count(scanner, piece)

    def parse(data: bytes, what: str) -> Any:
        parsing.append(1)
        assert sum(parsing) == 1
        value = parsed(data, what)
        parsing.append(-1)
        return value

    count, parsed = JsonScanner.feed, request_body._parsed
    monkeypatch.setattr(JsonScanner, "feed", feed)
    monkeypatch.setattr(request_body, "_parsed", parse)
    body = b'{"taskType":"echo","userId":"ann","payload":{"a":[' + b",".join([unit] * 20_000) + b"]}}"
    async with api_site(tmp_path, max_body=1_000_000) as site:
        counting = asyncio.create_task(turns())
        answers = await asyncio.gather(*[site.ask("POST", "/api/v1/jobs", body) for _ in range(5)])
        counting.cancel()
    assert [status for status, _, _ in answers] == [202] * 5
    assert max(size for _, size in counted) <= 16_384
    # A turn may begin with a piece that had to wait, and end with that of a request that need not.
    assert max(Counter(turn for turn, _ in counted).values()) <= 2
    assert len(parsing) == 10


# -- codings of the transfer -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [SESSION, "/livez", "/missing"])
@pytest.mark.parametrize(
    "coding", ["gzip, chunked", "GZIP,chunked", "deflate\t,\tchunked", "identity, chunked", "gzip;q=1, chunked"]
)
async def test_unknown_transfer_coding_is_rejected_and_ends_the_connection(
    site: ApiSite, path: str, coding: str
) -> None:
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: {coding}\r\n\r\n"
    further = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
    answer = await answer_to(site.url, head.encode() + b"2\r\n{}\r\n0\r\n\r\n" + further)
    assert answer.startswith(b"HTTP/1.1 501 ")
    assert b"Connection: close\r\n" in answer
    assert answer.count(b"HTTP/1.") == 1


@pytest.mark.parametrize("coding", ["chunked", "Chunked", " chunked ", ",chunked"])
async def test_chunked_bodies_are_read_however_the_coding_is_spelled(site: ApiSite, coding: str) -> None:
    head = f"POST {SESSION} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: {coding}\r\n\r\n"
    answer = await answer_to(site.url, head.encode() + b"2\r\n{}\r\n0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 422 ")


# -- chunked bodies ----------------------------------------------------------------------------------------------------


def chunked(path: str, chunk: bytes, count: int, *, key: str = "") -> bytes:
    """Return a request whose body comes in so many equal chunks."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nConnection: close\r\n"
    head += f"Authorization: Bearer {key}\r\n" if key else ""
    return head.encode() + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * count + b"0\r\n\r\n"


@pytest.mark.parametrize("path", [SESSION, "/api/v1/jobs", "/nowhere"])
@pytest.mark.parametrize("chunk", [b"1\r\n \r\n", b"2;a=b\r\n  \r\n", b"0001\r\n{\r\n"])
async def test_body_in_tiny_chunks_ends_the_connection_before_many_are_parsed(
    site: ApiSite, monkeypatch: pytest.MonkeyPatch, path: str, chunk: bytes
) -> None:
    parsed = [0]
    original = aiohttp.StreamReader.end_http_chunk_receiving

    def counted(body: aiohttp.StreamReader) -> None:
        parsed[0] += 1
        original(body)

    monkeypatch.setattr(aiohttp.StreamReader, "end_http_chunk_receiving", counted)
    await answer_to(site.url, chunked(path, chunk, 200_000))
    assert parsed[0] < 20_000
    assert (await site.ask("GET", "/livez"))[0] == 200


@pytest.mark.parametrize(("size", "count"), [(1, 900), (17, 1100), (4096, 4)])
async def test_body_in_chunks_of_a_usual_size_is_read(site: ApiSite, size: int, count: int) -> None:
    chunk = f"{size:x}\r\n{' ' * size}\r\n".encode()
    body = orjson.dumps(JOB)
    request = chunked("/api/v1/jobs", chunk, count, key=ADMIN).removesuffix(b"0\r\n\r\n")
    answer = await answer_to(site.url, request + f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 202"), answer


# -- compressed bodies -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("coding", ["gzip", "GZIP", "deflate", "br", "zstd", "identity, gzip", "x-gzip", "?"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/v1/jobs"),
        ("POST", SESSION),
        ("GET", "/livez"),
        ("PUT", "/api/v1/jobs"),
        ("POST", "/nowhere"),
        ("GET", "/"),
    ],
)
async def test_compressed_body_is_rejected_on_every_path(site: ApiSite, method: str, path: str, coding: str) -> None:
    status, answer, headers = await site.ask(method, path, b"\x1f\x8b not even gzip", key=None, Content_Encoding=coding)
    assert (status, answer["detail"]) == (415, "send the body without Content-Encoding")
    assert headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("compress", [gzip.compress, zlib.compress])
async def test_compressed_body_is_never_inflated(site: ApiSite, compress: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def decompressobj(*_arguments: Any, **_options: Any) -> Any:
        raise AssertionError("a body was inflated")

    bomb = compress(b"0" * 50_000_000)
    monkeypatch.setattr(zlib, "decompressobj", decompressobj)
    coding = "gzip" if compress is gzip.compress else "deflate"
    head = f"POST {SESSION} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Encoding: {coding}\r\n"
    answer = await answer_to(site.url, f"{head}Content-Length: {len(bomb)}\r\n\r\n".encode() + bomb)
    assert answer.startswith(b"HTTP/1.1 415 ")


async def test_body_with_identity_coding_is_accepted(site: ApiSite) -> None:
    assert (await site.ask("POST", "/api/v1/jobs", JOB, Content_Encoding="identity"))[0] == 202


# -- sizes and numbers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [SESSION, "/api/v1/jobs"])
@pytest.mark.parametrize("is_chunked", [False, True])
async def test_body_over_the_limit_of_its_route_returns_413_unparsed(
    site: ApiSite, path: str, is_chunked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsing_is_a_failure(monkeypatch)
    body = json.dumps({"key": "x", **{f"k{number}": 1 for number in range(10_000)}}).encode()
    assert len(body) > 100_000

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 10_000):
            yield body[start : start + 10_000]

    headers = {"Authorization": f"Bearer {ADMIN}"}
    data: Any = pieces() if is_chunked else body
    async with site.session.post(site.url + path, data=data, headers=headers) as response:
        limit = "this route accepts: 16,384 bytes" if path == SESSION else "Http:MaxBody allows"
        assert (response.status, (await response.json())["detail"]) == (413, f"the body is larger than {limit}")


HOSTILE = {
    "names": b'{"taskType":"echo","payload":{' + b",".join(b'"k%d":1' % n for n in range(300_000)) + b"}}",
    "objects": b'{"taskType":"echo","userId":"ann","payload":{"a":[' + b"{}," * 400_000 + b"{}]}}",
    "numbers": b'{"taskType":"echo","userId":"ann","payload":{"a":[' + b"1," * 900_000 + b"1]}}",
    "half a document": b"[" + b'"",' * 500_000,
    "unknown fields": b'{"taskType":"echo",' + b",".join(b'"k%d":1' % n for n in range(100_000)) + b"}",
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
async def test_body_with_too_many_values_returns_413_unparsed(
    tmp_path: Path, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsing_is_a_failure(monkeypatch)
    # The rest of a rejected body is read, so that the client receives the answer however slow the machine is.
    async with api_site(tmp_path, max_body=16 << 20, deadlines=HttpDeadlines(unread_body=60)) as site:
        for path in ("/api/v1/jobs", "/api/v1/jobs/batch"):
            status, answer, _ = await site.ask("POST", path, body)
            assert (status, answer["detail"].endswith("send large data as a file")) == (413, True), answer


async def test_deep_body_returns_400_unparsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parsing_is_a_failure(monkeypatch)
    async with api_site(tmp_path, max_body=1 << 20, deadlines=HttpDeadlines(unread_body=60)) as site:
        for body in (b"[" * 100_000, b'{"a":' * 50_000, b'[{"a":' * 20_000):
            status, answer, _ = await site.ask("POST", "/api/v1/jobs", body)
            assert (status, answer["detail"]) == (
                400,
                "the body is not valid JSON: it is nested deeper than 254 levels",
            )


async def test_large_body_of_text_is_accepted_whatever_the_text_is(tmp_path: Path) -> None:
    async with api_site(tmp_path, max_body=16 << 20) as site:
        text = ',[{:"\\' * 800_000
        status, answer, _ = await site.ask("POST", "/api/v1/jobs", JOB | {"payload": {"text": text}})
        assert status == 202, answer


async def test_error_about_many_fields_is_short(site: ApiSite) -> None:
    body = JOB | {f"{'k' * 500}{number}": 1 for number in range(150)}
    status, answer, _ = await site.ask("POST", "/api/v1/jobs", body)
    assert (status, "(and 140 more)" in answer["detail"], len(answer["detail"]) < 2_000) == (422, True, True)


# -- encodings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
async def test_json_is_accepted_as_windows_tools_write_it(site: ApiSite, encoding: str) -> None:
    for path, body in (
        ("/api/v1/jobs", JOB),
        ("/api/v1/jobs/batch", {"jobs": [JOB]}),
        ("/api/v1/jobs", JOB | {"payload": {"text": "ก๙" * 12_000}}),
    ):
        status, answer, _ = await site.ask("POST", path, json.dumps(body, ensure_ascii=False).encode(encoding))
        assert status == 202, answer
    [job] = (await site.ask("GET", "/api/v1/jobs?limit=1"))[1]["jobs"]
    record = await site.jobs.show(job["jobId"])
    assert orjson.loads(record.payload) == {"text": "ก๙" * 12_000}
    status, _, _ = await site.ask("POST", SESSION, json.dumps({"key": ADMIN}).encode(encoding), key=None)
    assert status == 200


@pytest.mark.parametrize(
    "body",
    [
        '{"a":1}'.encode("utf-16") + b"\x00",
        b"\xff\xfe\x00\xd8",
        b"\x00\xd8",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"\x00",
        b"\x00\x00{",
    ],
)
async def test_body_that_is_not_text_returns_400(site: ApiSite, body: bytes) -> None:
    status, answer, _ = await site.ask("POST", "/api/v1/jobs", body)
    assert (status, answer["detail"].startswith("the body is not valid JSON: ")) == (400, True), answer


# -- time --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "start",
    [
        b"Content-Length: 100\r\n\r\n",
        b'Content-Length: 100\r\n\r\n{"key":',
        b"Transfer-Encoding: chunked\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n5\r\n{",
        b"Transfer-Encoding: chunked\r\n\r\n5",
    ],
)
async def test_body_that_never_arrives_ends_the_request(
    site: ApiSite, start: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = functools.partial(request_body.BodyLimits, pace=request_body.SlowestPace(idle_seconds=0.1))
    monkeypatch.setattr(dispatch, "BodyLimits", slow)
    answer = await answer_to(site.url, f"POST {SESSION} HTTP/1.1\r\nHost: x\r\n".encode() + start)
    assert answer.startswith(b"HTTP/1.1 408 "), answer
    assert b"the body arrives too slowly" in answer


async def test_body_that_trickles_ends_the_request(site: ApiSite, monkeypatch: pytest.MonkeyPatch) -> None:
    pace = request_body.SlowestPace(idle_seconds=5, grace_seconds=0.2, bytes_per_second=1e6)
    slow = functools.partial(request_body.BodyLimits, pace=pace)
    monkeypatch.setattr(dispatch, "BodyLimits", slow)
    reader, writer = await dial(site.url)
    writer.write(f"POST {SESSION} HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n\r\n".encode())
    answering = asyncio.ensure_future(reader.readline())
    sent = 0
    while not answering.done():
        writer.write(b" ")
        sent += 1
        await asyncio.sleep(0.01)
    assert await answering == b"HTTP/1.1 408 Request Timeout\r\n"
    assert sent < 1000
    writer.close()


@contextlib.asynccontextmanager
async def port_of(site: ApiSite, deadlines: HttpDeadlines) -> AsyncIterator[tuple[str, list[tuple[str, str]]]]:
    """A port of the API with deadlines, and what it has reported."""
    reports: list[tuple[str, str]] = []
    app = site.api.public(site.authenticator)
    async with serve_tcp(app, "http://127.0.0.1:0", lambda *report: reports.append(report), deadlines=deadlines) as url:
        yield url, reports


REQUEST = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize("half", [b"G", b"GET /livez HTTP/1.1\r\n", b"GET /livez HTTP/1.1\r\nHost: x\r\nX-A: b\r\n"])
async def test_further_request_whose_headers_never_end_closes_the_connection(site: ApiSite, half: bytes) -> None:
    async with port_of(site, HttpDeadlines(headers=0.1, idle=60)) as (url, reports):
        reader, writer = await dial(url)
        for _ in range(2):
            writer.write(REQUEST)
            await reader.readuntil(b"\r\n\r\nok\n")
        writer.write(half)
        async with asyncio.timeout(30):
            assert await reader.read() == b""
        assert reports == [("127.0.0.1", "no request in time")]
        writer.close()


async def test_further_request_in_pieces_is_answered(site: ApiSite, monkeypatch: pytest.MonkeyPatch) -> None:
    async with port_of(site, HttpDeadlines(headers=60, idle=3600)) as (url, reports):
        reader, writer = await dial(url)
        for _ in range(4):
            for at in range(0, len(REQUEST), 8):
                writer.write(REQUEST[at : at + 8])
                await asyncio.sleep(0.01)
            await reader.readuntil(b"\r\n\r\nok\n")
        # Between two requests, the deadline for headers does not count.
        pass_time(monkeypatch, 61)
        await asyncio.sleep(0.01)
        writer.write(REQUEST)
        await reader.readuntil(b"\r\n\r\nok\n")
        assert reports == []
        writer.close()


async def test_idle_connection_is_closed(site: ApiSite) -> None:
    async with port_of(site, HttpDeadlines(idle=0.2)) as (url, _):
        reader, writer = await dial(url)
        writer.write(REQUEST)
        async with asyncio.timeout(30):
            assert (await reader.read()).endswith(b"ok\n")
        writer.close()


async def test_body_that_no_route_reads_is_discarded_for_a_moment_only(site: ApiSite) -> None:
    async with port_of(site, HttpDeadlines(unread_body=0.1)) as (url, _):
        answer = await answer_to(url, b"GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 99999\r\n\r\nx")
        assert answer.startswith(b"HTTP/1.1 200 ")


# -- malformed requests ------------------------------------------------------------------------------------------------

MALFORMED = [
    b"\r\n\r\n\r\nCANARY\r\n\r\n",
    b"CANARY\r\n\r\n",
    b"GET / HTTP/9.9\r\nCANARY: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nCANARY\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nCANARY : x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: CANARY\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\nX: CANARY\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\nX: CANARY\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"CANARY" * 20_000 + b"\r\n\r\n",
    b"GET /" + b"CANARY" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00CANARY\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nX: \x00CANARY\r\n\r\n",
]


@pytest.mark.parametrize("request_bytes", MALFORMED, ids=range(len(MALFORMED)))
async def test_malformed_request_is_answered_without_banner_and_echo(
    site: ApiSite, request_bytes: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with port_of(site, HttpDeadlines(headers=60)) as (url, reports):
        answer = await answer_to(url, request_bytes)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.split()[1] == b"400", answer
    assert json.loads(body)["title"] == "Bad Request"
    for word in (b"CANARY", b"aiohttp", b"Python"):
        assert word not in answer
    assert b"Server: insignia-worker" in head
    assert [reason for _, reason in reports] == ["a malformed request"]
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_log_of_rejections_grows_at_a_bounded_rate() -> None:
    now, reports = 0.0, list[tuple[str, str]]()
    reporter = BoundedReporter(lambda *report: reports.append(report), lambda: now, per_second=2, burst=10)
    for number in range(100_000):
        now = number / 1_700  # as many a second as one client sent
        reporter("203.0.113.7", "a malformed request")
    assert len(reports) < 10 + 2 * now + 2
    counted = sum(
        int(reason.split("and ")[1].split(" more")[0].replace(",", "")) for _, reason in reports if "and" in reason
    )
    assert 99_000 < counted + len(reports) <= 100_000


async def test_form_with_a_long_preamble_is_rejected_early(tmp_path: Path) -> None:
    async with tenants(tmp_path) as service:
        boundary = aiohttp.MultipartWriter("form-data").boundary
        body = b"\r\n" * 2_000_000 + f"--{boundary}\r\n".encode()
        headers = {
            "Authorization": f"Bearer {OPERATOR.name}",
            "Content-Type": f"multipart/form-data; boundary={boundary}",
        }
        answer = service.session.post(f"{service.url}/api/v1/jobs/upload", data=io.BytesIO(body), headers=headers)
        with contextlib.suppress(aiohttp.ClientConnectionError):  # the rest of the body may meet a closed connection
            async with answer as response:
                assert response.status == 422


# -- what could never work ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "user", ["a\nb", "a\tb", "a\u200bb", "\u202eb", "a\u2028b", "a\0b", "\u00ad", "a\ufeffb", "\ue000"]
)
async def test_job_for_a_user_that_the_hub_rejects_returns_422(site: ApiSite, user: str) -> None:
    for path, body in (
        ("/api/v1/jobs", JOB | {"userId": user}),
        ("/api/v1/jobs/batch", {"jobs": [JOB | {"userId": user}]}),
    ):
        status, answer, _ = await site.ask("POST", path, body)
        assert (status, "printable characters" in answer["detail"]) == (422, True), answer


@pytest.mark.parametrize(
    ("time", "reason"),
    [
        ("2569-12-05T01:00:00Z", "2569 looks like a Buddhist year: give the common-era year, 2026"),
        ("2569-01-01T00:00:00+07:00", "2569 looks like a Buddhist year: give the common-era year, 2026"),
        ("2400-01-01T00:00:00Z", "2400 looks like a Buddhist year: give the common-era year, 1857"),
        ("2700-12-31T23:59:59Z", "2700 looks like a Buddhist year: give the common-era year, 2157"),
        ("2099-01-01T00:00:00Z", "must be within ten years"),
        ("1970-01-01T00:00:00Z", "must be within ten years"),
        ("9999-12-31T00:00:00Z", "must be within ten years"),
    ],
)
async def test_job_at_a_time_that_no_one_means_returns_422(site: ApiSite, time: str, reason: str) -> None:
    status, answer, _ = await site.ask("POST", "/api/v1/jobs", JOB | {"runAt": time})
    assert (status, reason in answer["detail"]) == (422, True), answer


async def test_list_from_a_buddhist_year_returns_422(site: ApiSite) -> None:
    status, answer, _ = await site.ask("GET", "/api/v1/jobs?from=2569-01-01T00:00:00Z")
    assert (status, answer["parameter"], answer["detail"]) == (
        422,
        "from",
        "from: 2569 looks like a Buddhist year: give the common-era year, 2026",
    )
    assert (await site.ask("GET", "/api/v1/jobs?from=1970-01-01T00:00:00Z"))[0] == 200
