"""Jobs that bring their files along: streamed to disk, looked at, complete or not there at all."""

import asyncio
import io
import os
import socket
import stat
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import orjson
import pytest

import worker.handlers
from config.settings import InsigniaSettings
from tests.support.doors import Ajar, ajar
from tests.support.eventually import eventually
from tests.support.sqlite_store import a_store
from worker.clock import Clock
from worker.control import Control
from worker.door import uploads as door_module
from worker.door.uploads import UploadRoutes
from worker.errors import StoreFull
from worker.handler import discover
from worker.job import new_job_id
from worker.notification import Wire
from worker.queues.sqlite import SqliteStore
from worker.uploads import Sweeper, Uploads

ROSTER = "person_id,employee_group\n1101700203451,ข้าราชการ\n"
JOB = {"taskType": "insignia_background_processing", "userId": "user-1", "payload": {"round": 2569}}


@dataclass
class House:
    door: Ajar
    store: SqliteStore
    control: Control
    uploads: Uploads
    data: Path

    async def send(self, *files: tuple[str, str, bytes], job: Any = JOB, **headers: str) -> tuple[int, Any, Any]:
        form = aiohttp.FormData(quote_fields=False)
        form.add_field("job", orjson.dumps(job).decode(), content_type="application/json")
        for field, name, data in files:
            form.add_field(field, io.BytesIO(data), filename=name, content_type="text/csv")
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.door.ask("POST", "/api/v1/jobs/upload", data=form, headers=named)

    def left(self) -> list[str]:
        """Everything there is below the folder of uploads."""
        root = self.data / "uploads"
        return sorted(str(path.relative_to(root)) for path in root.rglob("*")) if root.exists() else []

    async def jobs(self) -> int:
        return sum((await self.store.figures()).jobs.values())

    async def known(self, ids: Any) -> set[str]:
        return {record.id for record in await self.store.get_many(ids)}


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with a_store(tmp_path) as store:
        registry = discover([worker.handlers])
        sections = {"Insignia": InsigniaSettings(data_directory=str(tmp_path / "rosters"))}
        control = Control(store, registry, Wire(), Clock(), None, 3, sections)
        uploads = Uploads(tmp_path / "rosters", max_bytes=300_000, total_bytes=1_000_000)
        async with ajar([UploadRoutes(control, uploads)]) as door:
            yield House(door, store, control, uploads, tmp_path / "rosters")


async def test_a_job_comes_with_its_files_and_they_lie_under_its_id(house: House) -> None:
    status, answer, headers = await house.send(
        ("roster", "บัญชีรายชื่อ 2569.csv", ROSTER.encode()), ("history", "h.json", b'[{"person_id": "1"}]')
    )
    assert (status, answer["created"], answer["status"]) == (202, True, "queued")
    assert headers["Location"] == f"/api/v1/jobs/{answer['jobId']}"
    record = await house.control.show(answer["jobId"])
    payload = orjson.loads(record.payload)
    assert payload == {
        "round": 2569,
        "roster": f"uploads/{record.id}/roster-บัญชีรายชื่อ 2569.csv",
        "history": f"uploads/{record.id}/history-h.json",
    }
    assert (house.data / payload["roster"]).read_bytes() == ROSTER.encode()
    assert [(file.field, file.name, file.size) for file in await house.uploads.files(record.id)] == [
        ("roster", "บัญชีรายชื่อ 2569.csv", len(ROSTER.encode())),
        ("history", "h.json", 20),
    ]
    folder = house.data / "uploads" / record.id
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp874"])
async def test_the_encodings_of_rosters_are_taken(house: House, encoding: str) -> None:
    assert (await house.send(("roster", "r.csv", ROSTER.encode(encoding))))[0] == 202


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
async def test_whatever_a_file_is_called_its_name_on_disk_is_harmless(house: House, name: str, stored: str) -> None:
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
    status, answer, _ = await house.door.ask(
        "POST", "/api/v1/jobs/upload", data=body, headers={"Content-Type": f"multipart/form-data; boundary={boundary}"}
    )
    assert status == 202, answer
    [upload] = await house.uploads.files(answer["jobId"])
    assert upload.stored.startswith(stored)
    assert len(os.fsencode(upload.stored)) < 255
    assert (house.data / "uploads" / answer["jobId"] / upload.stored).read_bytes() == ROSTER.encode()


# -- the same again ------------------------------------------------------------------------------------------------


async def test_the_same_key_with_the_same_files_is_the_first_job(house: House) -> None:
    sent = ("roster", "r.csv", ROSTER.encode())
    first = await house.send(sent, Idempotency_Key="k")
    again = await house.send(sent, Idempotency_Key="k")
    assert (first[0], again[0]) == (202, 202)
    assert again[1]["jobId"] == first[1]["jobId"]
    assert (first[1]["created"], again[1]["created"]) == (True, False)
    assert {path.split("/")[0] for path in house.left()} == {first[1]["jobId"]}
    assert house.uploads.used == len(ROSTER.encode())


@pytest.mark.parametrize("change", ["file", "payload", "less"])
async def test_the_same_key_with_anything_else_is_a_conflict(house: House, change: str) -> None:
    sent = [("roster", "r.csv", ROSTER.encode()), ("history", "h.csv", b"person_id\n1\n")]
    first = await house.send(*sent, Idempotency_Key="k")
    before = house.left()
    job = JOB | {"payload": {"round": 2568}} if change == "payload" else JOB
    other = {"file": [("roster", "r.csv", b"person_id\n2\n"), sent[1]], "payload": sent, "less": sent[:1]}[change]
    status, answer, _ = await house.send(*other, job=job, Idempotency_Key="k")
    assert (status, first[1]["jobId"] in answer["detail"]) == (409, True)
    assert house.left() == before


async def test_two_at_once_with_the_same_key_are_one_job(house: House) -> None:
    sent = ("roster", "r.csv", ROSTER.encode() * 1000)
    answers = await asyncio.gather(*(house.send(sent, Idempotency_Key="k") for _ in range(5)))
    assert {status for status, _, _ in answers} == {202}
    assert len({answer["jobId"] for _, answer, _ in answers}) == 1
    assert len({path.split("/")[0] for path in house.left()}) == 1
    assert await house.jobs() == 1


async def test_a_key_taken_by_a_job_without_files_is_a_conflict(house: House) -> None:
    from worker.control import parse_request

    job = parse_request(JOB | {"payload": {"round": 2569, "officers": []}})
    await house.control.submit(job, scope="local", key="k")
    status, _, _ = await house.send(("roster", "r.csv", ROSTER.encode()), Idempotency_Key="k")
    assert (status, house.left()) == (409, [])


# -- refused -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "status", "told"),
    [
        (b"", 415, "r.csv is empty"),
        (b"PK\x03\x04" + bytes(1000), 415, "is a workbook"),
        (b"\x89PNG\r\n\x1a\n" + bytes(1000), 415, "is a picture"),
        (b"\x7fELF" + bytes(1000), 415, "is a program"),
        (b"MZ\x90\0" + bytes(1000), 415, "binary"),
        (ROSTER.encode() + b"\xff\n", 415, "damaged"),
        (ROSTER.encode() + b"x" * 300_000, 413, "Uploads:MaxBytes"),
    ],
)
async def test_a_file_that_cannot_be_taken_is_refused_and_leaves_nothing(
    house: House, data: bytes, status: int, told: str
) -> None:
    answer = await house.send(("roster", "r.csv", data))
    assert (answer[0], told in answer[1]["detail"]) == (status, True), answer
    assert (house.left(), house.uploads.used, await house.jobs()) == ([], 0, 0)


@pytest.mark.parametrize(
    ("job", "fields", "told"),
    [
        (JOB | {"payload": {"round": 26}}, ["roster"], "round"),
        (JOB | {"taskType": "nobody"}, ["roster"], "unknown task type"),
        (JOB | {"taskType": "http"}, ["roster"], "take no files"),
        (JOB | {"userId": None}, ["roster"], "names no user"),
        (JOB | {"payload": {"round": 2569, "roster": "x"}}, ["roster"], "stands in the payload and is sent"),
        (JOB, ["officers"], "takes files for roster, history only"),
        (JOB, [], "there is no file"),
        (JOB, ["history"], "give either roster"),
        (JOB, ["roster", "roster"], "two files"),
        ([1], ["roster"], "job: "),
    ],
)
async def test_a_job_that_cannot_be_taken_is_refused_and_leaves_nothing(
    house: House, job: Any, fields: list[str], told: str
) -> None:
    status, answer, _ = await house.send(*((field, "r.csv", ROSTER.encode()) for field in fields), job=job)
    assert (status, told in answer["detail"]) == (422, True), answer
    assert (house.left(), house.uploads.used) == ([], 0)


def body(*parts: bytes, end: bytes = b"--b--\r\n") -> bytes:
    return b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + end


JOB_PART = b'Content-Disposition: form-data; name="job"\r\n\r\n' + orjson.dumps(JOB)
FILE_PART = b'Content-Disposition: form-data; name="roster"; filename="r.csv"\r\n\r\nperson_id\n1\n'


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
        (
            body(JOB_PART, b"Content-Type: multipart/mixed; boundary=c\r\n\r\n--c--"),
            "multipart/form-data; boundary=b",
            422,
        ),
        (body(JOB_PART, b"x" * 20_000 + b"\r\n\r\n"), "multipart/form-data; boundary=b", 422),
        (body(JOB_PART.replace(b"}}", b"}")), "multipart/form-data; boundary=b", 422),
        (body(JOB_PART, FILE_PART.replace(b"roster", b"r\xff")), "multipart/form-data; boundary=b", 422),
    ],
)
@pytest.mark.filterwarnings("ignore::aiohttp.BadContentDispositionHeader")
async def test_a_body_that_is_none_is_refused_and_leaves_nothing(
    house: House, data: bytes, kind: str, status: int
) -> None:
    answer = await house.door.ask("POST", "/api/v1/jobs/upload", data=data, headers={"Content-Type": kind})
    assert answer[0] == status, answer
    assert (house.left(), house.uploads.used, await house.jobs()) == ([], 0, 0)


async def test_beyond_the_total_nothing_is_taken_until_room_is_made(house: House) -> None:
    big = ROSTER.encode() + b"1,2\n" * 70_000
    first = [await house.send(("roster", "r.csv", big)) for _ in range(3)]
    assert [status for status, _, _ in first] == [202, 202, 202]
    status, answer, _ = await house.send(("roster", "r.csv", big))
    assert (status, "Uploads:TotalBytes" in answer["detail"]) == (507, True)
    assert len({path.split("/")[0] for path in house.left()}) == 3

    async def none(_ids: Any) -> set[str]:
        return set()

    assert await house.uploads.sweep(none) == 3
    assert house.uploads.used == 0
    assert (await house.send(("roster", "r.csv", big)))[0] == 202


async def test_a_folder_that_cannot_be_written_is_told(house: House) -> None:
    house.data.mkdir(parents=True)
    (house.data / "uploads").write_text("in the way")
    status, answer, _ = await house.send(("roster", "r.csv", ROSTER.encode()))
    assert (status, "cannot be stored" in answer["detail"]) == (503, True)


async def test_a_store_that_refuses_the_job_leaves_no_files(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(_jobs: Any) -> Any:
        raise StoreFull("the store is full")

    monkeypatch.setattr(house.store, "enqueue", full)
    status, _, _ = await house.send(("roster", "r.csv", ROSTER.encode()))
    assert (status, house.left(), house.uploads.used) == (507, [], 0)


async def test_a_service_that_stops_takes_none(house: House) -> None:
    house.door.draining = True
    status, _, headers = await house.send(("roster", "r.csv", ROSTER.encode()))
    assert (status, headers["Retry-After"], house.left()) == (503, "5", [])


# -- callers that go -----------------------------------------------------------------------------------------------


async def half(house: House, sent: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A caller that has announced more than it sends."""
    port = urlsplit(house.door.url).port
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        b"POST /api/v1/jobs/upload HTTP/1.1\r\nHost: x\r\nContent-Length: 290000\r\n"
        b"Content-Type: multipart/form-data; boundary=b\r\n\r\n" + sent
    )
    await writer.drain()
    return reader, writer


async def test_a_caller_that_goes_away_in_the_middle_leaves_nothing(house: House) -> None:
    _, writer = await half(house, body(JOB_PART, end=b"--b\r\n") + FILE_PART + b"1\n" * 100_000)
    await eventually(lambda: house.left() != [] or house.uploads.used > 0)
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    writer.transport.abort()
    await eventually(lambda: house.left() == [] and house.uploads.used == 0)
    assert await house.jobs() == 0


async def test_a_caller_that_falls_silent_is_not_waited_for(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door_module, "_IDLE", 0.1)
    reader, writer = await half(house, body(JOB_PART, end=b"--b\r\n") + FILE_PART)
    assert b" 408 " in await reader.readline()
    writer.close()
    await eventually(lambda: house.left() == [])


async def test_a_large_file_is_never_held_in_memory(tmp_path: Path, house: House) -> None:
    import tracemalloc

    async def lines() -> AsyncIterator[bytes]:
        yield body(JOB_PART, end=b"--b\r\n") + FILE_PART
        for _ in range(800):
            yield b"1,2,3,4,5,6,7,8\n" * 4096
        yield b"\r\n--b--\r\n"

    house.uploads._max_bytes = house.uploads._total_bytes = 1 << 30
    tracemalloc.start()
    try:
        status, answer, _ = await house.door.ask(
            "POST",
            "/api/v1/jobs/upload",
            data=lines(),
            headers={"Content-Type": "multipart/form-data; boundary=b"},
        )
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert status == 202, answer
    [upload] = await house.uploads.files(answer["jobId"])
    assert upload.size > 50_000_000
    assert peak < 25_000_000


# -- going with the job --------------------------------------------------------------------------------------------


async def test_what_belongs_to_no_job_is_swept_and_nothing_else(house: House) -> None:
    _, answer, _ = await house.send(("roster", "r.csv", ROSTER.encode()))
    root = house.data / "uploads"
    for name in (new_job_id(1.0), ".incoming-dead", "people put this here"):
        (root / name).mkdir()
        (root / name / "x.csv").write_text("x")
    (root / "README").write_text("x")
    (root / new_job_id(2.0)).symlink_to(house.data)
    async with house.uploads.draft() as draft:

        async def pieces() -> AsyncIterator[bytes]:
            yield ROSTER.encode()

        await draft.receive("roster", "r.csv", pieces())
        assert await house.uploads.sweep(house.known) == 2
        assert draft.folder.exists()
    tops = {path.split("/")[0] for path in house.left()}
    assert tops >= {answer["jobId"], "people put this here", "README"}
    assert len(tops) == 4
    assert house.data.exists()


async def test_the_files_of_another_stores_jobs_are_none_of_ours(house: House) -> None:
    await house.send(("roster", "r.csv", ROSTER.encode()))
    left = house.left()

    async def none(_ids: Any) -> set[str]:
        return set()

    elsewhere = Uploads(house.data, max_bytes=1, total_bytes=1, store="elsewhere.db")
    assert await elsewhere.sweep(none) == 0
    assert house.left() == left
    assert await house.uploads.sweep(none) == 1
    assert house.left() == []


async def test_files_go_when_their_job_is_pruned(house: House) -> None:
    _, answer, _ = await house.send(("roster", "r.csv", ROSTER.encode()))
    sweeper = Sweeper(house.uploads, house.known, lambda event: pytest.fail(str(event)))
    stop = asyncio.Event()
    running = asyncio.ensure_future(sweeper.run(stop))
    folder = house.data / "uploads" / answer["jobId"]
    await house.control.cancel(answer["jobId"])
    for message in await house.store.pending(0, 10):
        await house.store.delivered(message.id)
    await asyncio.sleep(0)
    assert folder.exists()
    assert await house.store.prune(4e9, 10) == 1
    sweeper.wake.set()
    await eventually(lambda: not folder.exists() and house.uploads.used == 0)
    stop.set()
    await running


async def test_what_a_dead_service_left_is_counted_at_the_next_start(house: House) -> None:
    await house.send(("roster", "r.csv", ROSTER.encode()))
    again = Uploads(house.data, max_bytes=1, total_bytes=1)
    await asyncio.gather(again.measure(), again.measure())
    assert again.used == house.uploads.used == len(ROSTER.encode())
