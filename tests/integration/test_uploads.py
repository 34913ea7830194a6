"""Jobs with uploaded files: streamed to disk, checked, stored completely or not at all."""

import asyncio
import io
import os
import socket
import stat
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import orjson
import pytest
from pydantic import BaseModel

import worker.handlers
from config.settings import InsigniaSettings
from tests.support.eventually import eventually
from tests.support.route_server import RouteServer, serve_routes
from tests.support.sqlite_store import a_store
from worker.api import request_body
from worker.api.request_body import LargeBodies, SlowestPace
from worker.api.routes.uploads import UploadRoutes
from worker.core.clock import Clock
from worker.core.job import new_job_id
from worker.core.notification import NotificationFormat
from worker.errors import StoreFull, WrongContent
from worker.handler import discover, handler
from worker.insignia import owner_folder
from worker.net.json_limits import JsonScanner
from worker.runtime.operations import JobService
from worker.runtime.uploads import UploadCleaner, Uploads
from worker.stores.sqlite.store import SqliteStore

ROSTER = "person_id,employee_group\n1101700203451,ข้าราชการ\n"
JOB = {"taskType": "insignia_background_processing", "userId": "user-1", "payload": {"round": 2569}}
OWNER = ("user-1", None)


class ArchivePayload(BaseModel):
    """Documents of any format."""

    document: str | None = None
    signature: str | None = None


class SignatureCheck:
    """Rejects what does not begin with SIGNED, without looking at the name."""

    def __init__(self, name: str) -> None:
        self._name, self._head = name, b""

    def feed(self, data: bytes) -> None:
        self._head = (self._head + data)[:6]

    def finish(self) -> None:
        if self._head != b"SIGNED":
            raise WrongContent(f"{self._name} is not signed")


@handler("archive", files={"document": None, "signature": SignatureCheck})
async def archive(payload: ArchivePayload) -> None: ...


@dataclass
class UploadSite:
    api: RouteServer
    store: SqliteStore
    control: JobService
    uploads: Uploads
    data: Path
    routes: UploadRoutes

    async def send(self, *files: tuple[str, str, bytes], job: Any = JOB, **headers: str) -> tuple[int, Any, Any]:
        form = aiohttp.FormData(quote_fields=False)
        form.add_field("job", orjson.dumps(job).decode(), content_type="application/json")
        for field, name, data in files:
            form.add_field(field, io.BytesIO(data), filename=name, content_type="text/csv")
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.api.ask("POST", "/api/v1/jobs/upload", data=form, headers=named)

    def left(self) -> list[str]:
        """Everything there is below the folder of uploads; the empty folder of the owner may stay."""
        root = self.data / "uploads"
        own = {root / "user", root / "user" / OWNER[0]}
        found = [path for path in root.rglob("*") if path not in own] if root.exists() else []
        return sorted(str(path.relative_to(root)).removeprefix(f"user/{OWNER[0]}/") for path in found)

    async def jobs(self) -> int:
        return sum((await self.store.stats()).jobs.values())

    async def known(self, ids: Any) -> set[str]:
        return {record.id for record in await self.store.get_many(ids)}


@pytest.fixture
async def upload_site(tmp_path: Path) -> AsyncIterator[UploadSite]:
    async with a_store(tmp_path) as store:
        registry = {**discover([worker.handlers]), archive.kind: archive}
        sections = {"Insignia": InsigniaSettings(data_directory=str(tmp_path / "rosters"))}
        control = JobService(store, registry, NotificationFormat(), Clock(), None, 3, sections)
        uploads = Uploads(tmp_path / "rosters", max_bytes=300_000, total_bytes=1_000_000, owner_folder=owner_folder)
        routes = UploadRoutes(control, uploads)
        async with serve_routes([routes]) as api:
            yield UploadSite(api, store, control, uploads, tmp_path / "rosters", routes)


async def test_large_jobs_of_uploads_are_counted_in_turns_and_parsed_outside_the_loop(
    upload_site: UploadSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[int] = []
    turns: list[int] = []
    threads: set[int] = set()

    def feed(scanner: JsonScanner, piece: bytes) -> None:
        counted.append(len(piece))
        count(scanner, piece)

    async def turn(large: LargeBodies) -> None:
        turns.append(1)
        await wait(large)

    def parse(data: bytes, what: str) -> Any:
        threads.add(threading.get_ident())
        return parsed(data, what)

    count, wait, parsed = JsonScanner.feed, LargeBodies.turn, request_body._parsed
    monkeypatch.setattr(JsonScanner, "feed", feed)
    monkeypatch.setattr(LargeBodies, "turn", turn)
    monkeypatch.setattr(request_body, "_parsed", parse)
    job = {"taskType": "archive", "userId": "user-1", "payload": {"a": [[[[[]]]]] * 40_000}}
    answers = await asyncio.gather(*[upload_site.send(("document", "d.txt", b"text"), job=job) for _ in range(3)])
    assert [status for status, _, _ in answers] == [202] * 3
    assert max(counted) <= 16_384
    assert len(turns) == len(counted) > 3 * 20
    assert threading.get_ident() not in threads


async def test_upload_stores_the_files_under_the_id_of_the_job(upload_site: UploadSite) -> None:
    status, answer, headers = await upload_site.send(
        ("roster", "บัญชีรายชื่อ 2569.csv", ROSTER.encode()), ("history", "h.json", b'[{"person_id": "1"}]')
    )
    assert (status, answer["created"], answer["status"]) == (202, True, "queued")
    assert headers["Location"] == f"/api/v1/jobs/{answer['jobId']}"
    record = await upload_site.control.show(answer["jobId"])
    payload = orjson.loads(record.payload)
    assert payload == {
        "round": 2569,
        "roster": f"uploads/user/{OWNER[0]}/{record.id}/roster-บัญชีรายชื่อ 2569.csv",
        "history": f"uploads/user/{OWNER[0]}/{record.id}/history-h.json",
    }
    assert (upload_site.data / payload["roster"]).read_bytes() == ROSTER.encode()
    assert [(file.field, file.name, file.size) for file in await upload_site.uploads.files(record.id, OWNER)] == [
        ("roster", "บัญชีรายชื่อ 2569.csv", len(ROSTER.encode())),
        ("history", "h.json", 20),
    ]
    folder = upload_site.uploads.folder_of(record.id, OWNER)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


async def test_upload_of_several_files_for_one_field_lists_their_paths(upload_site: UploadSite) -> None:
    files = [("roster", name, ROSTER.encode()) for name in ("a.csv", "b.csv", "a.csv")]
    status, answer, _ = await upload_site.send(*files)
    assert status == 202
    folder = f"uploads/user/{OWNER[0]}/{answer['jobId']}"
    payload = orjson.loads((await upload_site.control.show(answer["jobId"])).payload)
    assert payload["roster"] == [f"{folder}/roster-a.csv", f"{folder}/roster-b.csv", f"{folder}/_roster-a.csv"]
    assert all((upload_site.data / path).read_bytes() == ROSTER.encode() for path in payload["roster"])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp874", "utf-16"])
async def test_upload_accepts_every_encoding_of_rosters(upload_site: UploadSite, encoding: str) -> None:
    assert (await upload_site.send(("roster", "r.csv", ROSTER.encode(encoding))))[0] == 202


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("../../etc/passwd", "roster-passwd.csv"),
        ("C:\\Users\\x\\ก.xlsx", "roster-ก.csv"),
        (".", "roster-"),
        ("", "roster-roster.csv"),
        ("\u202egpj.csv", "roster-gpj.csv"),
        ("%E0%B8%81.csv", "roster-ก.csv"),
        ("100%.csv", "roster-100_"),
        ("ก" * 300 + ".csv", "roster-" + "ก" * 60),
    ],
)
async def test_upload_with_any_file_name_gets_a_safe_name_on_disk(
    upload_site: UploadSite, name: str, stored: str
) -> None:
    boundary = "b0undary"
    body = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="job"\r\n\r\n'.encode()
        + orjson.dumps(JOB)
        + f'\r\n--{boundary}\r\nContent-Disposition: form-data; name="roster"; filename="'.encode()
        + name.replace("\\", "\\\\").encode()
        + b'"\r\n\r\n'
        + ROSTER.encode()
        + f"\r\n--{boundary}--\r\n".encode()
    )
    status, answer, _ = await upload_site.api.ask(
        "POST", "/api/v1/jobs/upload", data=body, headers={"Content-Type": f"multipart/form-data; boundary={boundary}"}
    )
    assert status == 202, answer
    [upload] = await upload_site.uploads.files(answer["jobId"], OWNER)
    assert upload.stored.startswith(stored)
    assert len(os.fsencode(upload.stored)) < 255
    assert (upload_site.uploads.folder_of(answer["jobId"], OWNER) / upload.stored).read_bytes() == ROSTER.encode()


# -- the content of other kinds ------------------------------------------------------------------------------------


ARCHIVE = {"taskType": "archive", "userId": "user-1", "payload": {}}


@pytest.mark.parametrize(
    ("name", "data", "stored"),
    [
        ("คำสั่ง.pdf", b"%PDF-1.7\n" + bytes(range(256)), "document-คำสั่ง.pdf"),
        ("notes.txt", b"plain text, no table\n", "document-notes.txt"),
        ("NOTES.TXT", ROSTER.encode(), "document-NOTES.TXT"),
        ("scan.tar.gz", b"\x1f\x8b" + bytes(100), "document-scan.tar.gz"),
        ("list.xlsx", b"PK\x03\x04" + bytes(100), "document-list.xlsx"),
        ("Makefile", b"all:\n", "document-Makefile"),
        ("empty.csv", b"", "document-empty.csv"),
        ("𝒳" * 300 + ".pdf", b"%PDF", "document-" + "𝒳" * 45 + ".pdf"),
    ],
)
async def test_upload_for_a_kind_without_a_check_keeps_content_and_suffix(
    upload_site: UploadSite, name: str, data: bytes, stored: str
) -> None:
    status, answer, _ = await upload_site.send(("document", name, data), job=ARCHIVE)
    assert status == 202, answer
    [upload] = await upload_site.uploads.files(answer["jobId"], OWNER)
    assert (upload.stored, upload.size) == (stored, len(data))
    assert upload.name.endswith(Path(name).suffix)
    assert (upload_site.uploads.folder_of(answer["jobId"], OWNER) / stored).read_bytes() == data


async def test_upload_is_checked_by_its_own_field_only(upload_site: UploadSite) -> None:
    document, signed = ("document", "d.pdf", b"%PDF"), ("signature", "s.sig", b"SIGNED by the director")
    assert (await upload_site.send(document, signed, job=ARCHIVE))[0] == 202
    before = upload_site.left()
    status, answer, _ = await upload_site.send(document, ("signature", "s.sig", b"%PDF"), job=ARCHIVE)
    assert (status, answer["detail"], upload_site.left()) == (415, "s.sig is not signed", before)


# -- the same again ------------------------------------------------------------------------------------------------


async def test_upload_with_a_known_key_and_the_same_files_returns_the_first_job(upload_site: UploadSite) -> None:
    sent = ("roster", "r.csv", ROSTER.encode())
    first = await upload_site.send(sent, Idempotency_Key="k")
    again = await upload_site.send(sent, Idempotency_Key="k")
    assert (first[0], again[0]) == (202, 202)
    assert again[1]["jobId"] == first[1]["jobId"]
    assert (first[1]["created"], again[1]["created"]) == (True, False)
    assert {path.split("/")[0] for path in upload_site.left()} == {first[1]["jobId"]}
    assert upload_site.uploads.used == len(ROSTER.encode())


@pytest.mark.parametrize("change", ["file", "payload", "less"])
async def test_upload_with_a_known_key_and_anything_else_is_a_conflict(upload_site: UploadSite, change: str) -> None:
    sent = [("roster", "r.csv", ROSTER.encode()), ("history", "h.csv", b"person_id\n1\n")]
    first = await upload_site.send(*sent, Idempotency_Key="k")
    before = upload_site.left()
    job = JOB | {"payload": {"round": 2568}} if change == "payload" else JOB
    other = {"file": [("roster", "r.csv", b"person_id\n2\n"), sent[1]], "payload": sent, "less": sent[:1]}[change]
    status, answer, _ = await upload_site.send(*other, job=job, Idempotency_Key="k")
    assert (status, first[1]["jobId"] in answer["detail"]) == (409, True)
    assert upload_site.left() == before


async def test_upload_with_one_key_in_the_header_and_another_in_the_job_is_rejected(upload_site: UploadSite) -> None:
    sent, job = ("roster", "r.csv", ROSTER.encode()), {**JOB, "id": "a"}
    status, answer, _ = await upload_site.send(sent, job=job, Idempotency_Key="b")
    assert (status, "give one of them" in answer["detail"]) == (422, True)
    assert (upload_site.left(), await upload_site.jobs()) == ([], 0)
    _, first, _ = await upload_site.send(sent, job=job, Idempotency_Key="a")
    _, again, _ = await upload_site.send(sent, Idempotency_Key="a")
    assert (again["jobId"], again["created"]) == (first["jobId"], False)


async def test_concurrent_uploads_with_one_key_create_one_job(upload_site: UploadSite) -> None:
    sent = ("roster", "r.csv", ROSTER.encode() * 1000)
    answers = await asyncio.gather(*(upload_site.send(sent, Idempotency_Key="k") for _ in range(5)))
    assert {status for status, _, _ in answers} == {202}
    assert len({answer["jobId"] for _, answer, _ in answers}) == 1
    assert len({path.split("/")[0] for path in upload_site.left()}) == 1
    assert await upload_site.jobs() == 1


async def test_upload_with_the_key_of_a_job_without_files_is_a_conflict(upload_site: UploadSite) -> None:
    from worker.runtime.job_request import parse_request

    job = parse_request(JOB | {"payload": {"round": 2569, "officers": []}})
    await upload_site.control.submit(job, scope="local", key="k")
    status, _, _ = await upload_site.send(("roster", "r.csv", ROSTER.encode()), Idempotency_Key="k")
    assert (status, upload_site.left()) == (409, [])


# -- refused -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "status", "reported"),
    [
        (b"", 415, "r.csv is empty"),
        (b"PK\x03\x04" + bytes(1000), 415, "is a damaged workbook"),
        (b"\x89PNG\r\n\x1a\n" + bytes(1000), 415, "is a picture"),
        (b"\x7fELF" + bytes(1000), 415, "is a program"),
        (b"MZ\x90\0" + bytes(1000), 415, "binary"),
        (ROSTER.encode() + b"\xff\n", 415, "damaged"),
        (ROSTER.encode() + b"x" * 300_000, 413, "Uploads:MaxBytes"),
    ],
)
async def test_upload_of_an_invalid_file_is_rejected_and_leaves_nothing(
    upload_site: UploadSite, data: bytes, status: int, reported: str
) -> None:
    answer = await upload_site.send(("roster", "r.csv", data))
    assert (answer[0], reported in answer[1]["detail"]) == (status, True), answer
    assert (upload_site.left(), upload_site.uploads.used, await upload_site.jobs()) == ([], 0, 0)


@pytest.mark.parametrize(
    ("job", "fields", "reported"),
    [
        (JOB | {"payload": {"round": 26}}, ["roster"], "round"),
        (JOB | {"taskType": "nobody"}, ["roster"], "unknown task type"),
        (JOB | {"taskType": "http"}, ["roster"], "take no files"),
        (JOB | {"userId": None}, ["roster"], "names no user"),
        (JOB | {"payload": {"round": 2569, "roster": "x"}}, ["roster"], "is both in the payload and sent as a file"),
        (JOB, ["officers"], "takes files for roster, history only"),
        (JOB, [], "the request has no file"),
        (JOB, ["history"], "give either roster"),
        ([1], ["roster"], "job: "),
    ],
)
async def test_upload_of_an_invalid_job_is_rejected_and_leaves_nothing(
    upload_site: UploadSite, job: Any, fields: list[str], reported: str
) -> None:
    status, answer, _ = await upload_site.send(*((field, "r.csv", ROSTER.encode()) for field in fields), job=job)
    assert (status, reported in answer["detail"]) == (422, True), answer
    assert (upload_site.left(), upload_site.uploads.used) == ([], 0)


def body(*parts: bytes, end: bytes = b"--b--\r\n") -> bytes:
    return b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + end


JOB_PART = b'Content-Disposition: form-data; name="job"\r\n\r\n' + orjson.dumps(JOB)
JOB_AS_TEXT = b'Content-Disposition: form-data; name="job"\r\n\r\n' + orjson.dumps(orjson.dumps(JOB).decode())
FILE_PART = b'Content-Disposition: form-data; name="roster"; filename="r.csv"\r\n\r\nperson_id\n1\n'


@pytest.mark.parametrize("more", [{"columns": {"x" * 1_100_000: "name"}}, {"officers": ["กกก"] * 120_000}])
async def test_upload_with_a_job_above_1_mib_returns_413(upload_site: UploadSite, more: dict[str, Any]) -> None:
    payload: Any = JOB["payload"]
    job = orjson.dumps({**JOB, "payload": {**payload, **more}})
    parts = b'Content-Disposition: form-data; name="job"\r\n\r\n' + job, FILE_PART
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    data = io.BytesIO(body(*parts))
    status, answer, _ = await upload_site.api.ask("POST", "/api/v1/jobs/upload", data=data, headers=headers)
    assert (status, answer["detail"][:24]) == (413, "the part `job` is larger")
    assert upload_site.left() == []


@pytest.mark.parametrize(
    ("data", "kind", "status"),
    [
        (b"{}", "application/json", 415),
        (b"", "multipart/form-data", 422),
        (b"", "multipart/form-data; boundary=b", 422),
        (b"nonsense", "multipart/form-data; boundary=b", 422),
        (body(FILE_PART, JOB_PART), "multipart/form-data; boundary=b", 422),
        (body(JOB_PART, FILE_PART, end=b""), "multipart/form-data; boundary=b", 422),
        (body(JOB_PART, FILE_PART)[:-40], "multipart/form-data; boundary=b", 422),
        (body(JOB_PART, b"Content-Transfer-Encoding: base64\r\n" + FILE_PART), "multipart/form-data; boundary=b", 422),
        (body(JOB_PART, b"Content-Encoding: gzip\r\n" + FILE_PART), "multipart/form-data; boundary=b", 415),
        (body(JOB_AS_TEXT, FILE_PART), "multipart/form-data; boundary=b", 422),
        (
            body(JOB_PART, b"Content-Type: multipart/mixed; boundary=c\r\n\r\n--c--"),
            "multipart/form-data; boundary=b",
            422,
        ),
        (body(JOB_PART, b"x" * 20_000 + b"\r\n\r\n"), "multipart/form-data; boundary=b", 422),
        (body(JOB_PART.replace(b"}}", b"}")), "multipart/form-data; boundary=b", 400),
        (body(JOB_PART, FILE_PART.replace(b"roster", b"r\xff")), "multipart/form-data; boundary=b", 422),
    ],
)
@pytest.mark.filterwarnings("ignore::aiohttp.BadContentDispositionHeader")
async def test_upload_with_an_invalid_body_is_rejected_and_leaves_nothing(
    upload_site: UploadSite, data: bytes, kind: str, status: int
) -> None:
    answer = await upload_site.api.ask("POST", "/api/v1/jobs/upload", data=data, headers={"Content-Type": kind})
    assert answer[0] == status, answer
    assert (upload_site.left(), upload_site.uploads.used, await upload_site.jobs()) == ([], 0, 0)


async def test_upload_over_the_total_is_rejected_until_space_is_freed(upload_site: UploadSite) -> None:
    big = ROSTER.encode() + b"1,2\n" * 70_000
    first = [await upload_site.send(("roster", "r.csv", big)) for _ in range(3)]
    assert [status for status, _, _ in first] == [202, 202, 202]
    status, answer, _ = await upload_site.send(("roster", "r.csv", big))
    assert (status, "Uploads:TotalBytes" in answer["detail"]) == (507, True)
    assert len({path.split("/")[0] for path in upload_site.left()}) == 3

    async def none(_ids: Any) -> set[str]:
        return set()

    assert await upload_site.uploads.sweep(none) == 3
    assert upload_site.uploads.used == 0
    assert (await upload_site.send(("roster", "r.csv", big)))[0] == 202


async def test_upload_to_an_unwritable_folder_is_reported(upload_site: UploadSite) -> None:
    upload_site.data.mkdir(parents=True)
    (upload_site.data / "uploads").write_text("in the way")
    status, answer, _ = await upload_site.send(("roster", "r.csv", ROSTER.encode()))
    assert (status, "cannot be stored" in answer["detail"]) == (503, True)


async def test_upload_leaves_no_files_when_the_store_rejects_the_job(
    upload_site: UploadSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(_jobs: Any) -> Any:
        raise StoreFull("the store is full")

    monkeypatch.setattr(upload_site.store, "enqueue", full)
    status, _, _ = await upload_site.send(("roster", "r.csv", ROSTER.encode()))
    assert (status, upload_site.left(), upload_site.uploads.used) == (507, [], 0)


async def test_upload_to_a_stopping_service_is_rejected(upload_site: UploadSite) -> None:
    upload_site.api.draining = True
    status, _, headers = await upload_site.send(("roster", "r.csv", ROSTER.encode()))
    assert (status, headers["Retry-After"], upload_site.left()) == (503, "5", [])


# -- callers that go -----------------------------------------------------------------------------------------------


async def half(upload_site: UploadSite, sent: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A caller that has announced more than it sends."""
    port = urlsplit(upload_site.api.url).port
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        b"POST /api/v1/jobs/upload HTTP/1.1\r\nHost: x\r\nContent-Length: 290000\r\n"
        b"Content-Type: multipart/form-data; boundary=b\r\n\r\n" + sent
    )
    await writer.drain()
    return reader, writer


async def test_aborted_upload_leaves_nothing(upload_site: UploadSite) -> None:
    _, writer = await half(upload_site, body(JOB_PART, end=b"--b\r\n") + FILE_PART + b"1\n" * 100_000)
    await eventually(lambda: upload_site.left() != [] or upload_site.uploads.used > 0)
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    writer.transport.abort()
    await eventually(lambda: upload_site.left() == [] and upload_site.uploads.used == 0)
    assert await upload_site.jobs() == 0


async def test_stalled_upload_times_out(upload_site: UploadSite) -> None:
    upload_site.routes._slowest = SlowestPace(idle_seconds=0.1)
    reader, writer = await half(upload_site, body(JOB_PART, end=b"--b\r\n") + FILE_PART)
    assert b" 408 " in await reader.readline()
    writer.close()
    await eventually(lambda: upload_site.left() == [])


async def test_upload_below_the_lowest_rate_returns_408_and_leaves_nothing(upload_site: UploadSite) -> None:
    upload_site.routes._slowest = SlowestPace(idle_seconds=30, grace_seconds=0.2, bytes_per_second=1e6)
    reader, writer = await half(upload_site, body(JOB_PART, end=b"--b\r\n") + FILE_PART)
    answering = asyncio.ensure_future(reader.readuntil(b"bytes a second"))
    while not answering.done():
        writer.write(b"1,2\n")
        await asyncio.sleep(0.01)
    assert b" 408 " in answering.result()
    writer.close()
    await eventually(lambda: upload_site.left() == [])


async def test_uploads_of_one_owner_have_a_quota_of_their_own(upload_site: UploadSite) -> None:
    upload_site.uploads._bytes_per_owner = 250
    roster = ("roster", "r.csv", ROSTER.encode() + b"\n" * 100)
    assert (await upload_site.send(roster, job={**JOB, "id": "first"}))[0] == 202
    status, answer, headers = await upload_site.send(roster, job={**JOB, "id": "second"})
    assert status == 429
    assert "Uploads:BytesPerOwner" in answer["detail"]
    assert int(headers["Retry-After"]) > 0
    assert (await upload_site.send(roster, job={**JOB, "id": "third", "userId": "user-2"}))[0] == 202
    assert await upload_site.jobs() == 2
    assert upload_site.uploads.used < 400


async def test_uploads_at_the_same_time_do_not_exceed_the_quota_of_their_owner(upload_site: UploadSite) -> None:
    upload_site.uploads._bytes_per_owner = 500
    roster = ("roster", "r.csv", ROSTER.encode() + b"\n" * 100)
    answers = await asyncio.gather(
        *(upload_site.send(roster, job={**JOB, "id": f"job-{number}"}) for number in range(8))
    )
    assert sorted({status for status, _, _ in answers}) == [202, 429]
    assert upload_site.uploads.used <= 500


async def test_upload_of_a_large_file_uses_little_memory(tmp_path: Path, upload_site: UploadSite) -> None:
    import tracemalloc

    async def lines() -> AsyncIterator[bytes]:
        yield body(JOB_PART, end=b"--b\r\n") + FILE_PART
        for _ in range(800):
            yield b"1,2,3,4,5,6,7,8\n" * 4096
        yield b"\r\n--b--\r\n"

    upload_site.uploads._max_bytes = upload_site.uploads._total_bytes = 1 << 30
    tracemalloc.start()
    try:
        status, answer, _ = await upload_site.api.ask(
            "POST",
            "/api/v1/jobs/upload",
            data=lines(),
            headers={"Content-Type": "multipart/form-data; boundary=b"},
        )
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert status == 202, answer
    [upload] = await upload_site.uploads.files(answer["jobId"], OWNER)
    assert upload.size > 50_000_000
    assert peak < 25_000_000


# -- going with the job --------------------------------------------------------------------------------------------


async def test_uploads_without_a_quota_do_not_wait_for_each_other(upload_site: UploadSite) -> None:
    uploads = upload_site.uploads
    async with asyncio.timeout(30), uploads.room_for(OWNER, 1), uploads.room_for(OWNER, 1):
        uploads._bytes_per_owner = 250
    async with uploads.room_for(OWNER, 1):
        waiting = asyncio.ensure_future(uploads.room_for(("user-2", None), 1).__aenter__())
        done, _ = await asyncio.wait([waiting], timeout=0.05)
        assert not done
        waiting.cancel()


async def test_sweep_removes_only_folders_without_a_job(upload_site: UploadSite) -> None:
    _, answer, _ = await upload_site.send(("roster", "r.csv", ROSTER.encode()))
    root = upload_site.data / "uploads"
    for name in (new_job_id(1.0), ".incoming-dead", "people put this here"):
        (root / name).mkdir()
        (root / name / "x.csv").write_text("x")
    (root / "README").write_text("x")
    (root / new_job_id(2.0)).symlink_to(upload_site.data)
    async with upload_site.uploads.draft() as draft:

        async def pieces() -> AsyncIterator[bytes]:
            yield ROSTER.encode()

        await draft.receive("roster", "r.csv", pieces())
        assert await upload_site.uploads.sweep(upload_site.known) == 2
        assert draft.folder.exists()
    tops = {path.split("/")[0] for path in upload_site.left()}
    assert tops >= {answer["jobId"], "people put this here", "README"}
    assert len(tops) == 4
    assert upload_site.data.exists()


async def test_sweep_keeps_the_files_of_another_store(upload_site: UploadSite) -> None:
    await upload_site.send(("roster", "r.csv", ROSTER.encode()))
    left = upload_site.left()

    async def none(_ids: Any) -> set[str]:
        return set()

    elsewhere = Uploads(upload_site.data, max_bytes=1, total_bytes=1, owner_folder=owner_folder, store="elsewhere.db")
    assert await elsewhere.sweep(none) == 0
    assert upload_site.left() == left
    assert await upload_site.uploads.sweep(none) == 1
    assert upload_site.left() == []


async def test_sweep_removes_the_files_of_pruned_jobs(upload_site: UploadSite) -> None:
    _, answer, _ = await upload_site.send(("roster", "r.csv", ROSTER.encode()))
    sweeper = UploadCleaner(upload_site.uploads, upload_site.known, lambda event: pytest.fail(str(event)))
    stop = asyncio.Event()
    running = asyncio.ensure_future(sweeper.run(stop))
    folder = upload_site.uploads.folder_of(answer["jobId"], OWNER)
    await upload_site.control.cancel(answer["jobId"])
    for message in await upload_site.store.pending(0, 10):
        await upload_site.store.delivered(message.id)
    await asyncio.sleep(0)
    assert folder.exists()
    assert (await upload_site.store.prune(0.0, 10)).runs == 1
    sweeper.wake.set()
    await eventually(lambda: not folder.exists() and upload_site.uploads.used == 0)
    stop.set()
    await running


async def test_measure_counts_the_files_of_an_earlier_start(upload_site: UploadSite) -> None:
    await upload_site.send(("roster", "r.csv", ROSTER.encode()))
    again = Uploads(upload_site.data, max_bytes=1, total_bytes=1, owner_folder=owner_folder)
    await asyncio.gather(again.measure(), again.measure())
    assert again.used == upload_site.uploads.used == len(ROSTER.encode())
