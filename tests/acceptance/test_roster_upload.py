"""A roster in the real service: uploaded, evaluated, viewed, downloaded, and removed with its job."""

import asyncio
import io
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from tests.support.eventually import eventually
from tests.support.process import WorkerProcess, command, create_store, running_worker
from tests.support.worked_cases import ROUNDS, as_workbook, assert_as_expected, of_round, table
from worker.insignia import write_sample

pytestmark = pytest.mark.both_stores


KIND = "insignia_background_processing"


@asynccontextmanager
async def asking(service: WorkerProcess) -> AsyncIterator[aiohttp.ClientSession]:
    """Over its UNIX socket, whose owner may everything."""
    connector = aiohttp.UnixConnector(str(service.state / "worker.sock"))
    async with aiohttp.ClientSession("http://localhost", connector=connector) as session:
        yield session


async def upload(
    session: aiohttp.ClientSession,
    path: Path,
    round_be: int = 2569,
    name: str = "บัญชี.csv",
    headers: dict[str, str] | None = None,
) -> dict[str, Any]:
    form = aiohttp.FormData()
    job = {"taskType": KIND, "userId": "user-1", "payload": {"round": round_be}}
    form.add_field("job", orjson.dumps(job).decode(), content_type="application/json")
    with path.open("rb") as file:
        form.add_field("roster", file, filename=name)
        async with session.post("/api/v1/jobs/upload", data=form, headers=headers or {}) as response:
            answer: dict[str, Any] = await response.json()
            assert response.status == 202, answer
            return answer


async def get(session: aiohttp.ClientSession, path: str) -> Any:
    async with session.get(path) as response:
        assert response.status == 200, await response.text()
        return await response.json()


def configure(folder: Path, **more: Any) -> None:
    settings = {"Http": {"Url": "http://127.0.0.1:0"}, "Hub": {"Enabled": "false"}, **more}
    (folder / "appsettings.json").write_bytes(orjson.dumps(settings))


async def test_roster_is_uploaded_evaluated_and_its_results_downloaded(tmp_path: Path) -> None:
    configure(tmp_path)
    write_sample(tmp_path / "r.csv", count=500)
    async with running_worker(tmp_path) as service, asking(service) as session:
        job = await upload(session, tmp_path / "r.csv", headers={"Idempotency-Key": "drop-1"})
        path = f"/api/v1/jobs/{job['jobId']}"
        ended = await get(session, f"{path}?wait=60")
        assert ended["status"] == "succeeded", ended
        files = (await get(session, f"{path}/files"))["files"]
        assert [file["shown"] for file in files if "field" in file] == ["บัญชี.csv"]
        csv = next(file for file in files if file["name"] == "results.csv")
        async with session.get(csv["href"]) as response:
            assert (response.status, (await response.read())[:3]) == (200, b"\xef\xbb\xbf")
        rows = await get(session, f"{path}/rows?show=review")
        assert rows["matched"] == ended["result"]["manualReview"]
        assert rows["rows"][0]["class"]["reason"] in (await get(session, "/api/v1/insignia/words"))["reasons"]
        service.kill()
    async with running_worker(tmp_path) as service, asking(service) as session:
        again = await upload(session, tmp_path / "r.csv", headers={"Idempotency-Key": "drop-1"})
        assert (again["jobId"], again["created"]) == (job["jobId"], False)
        assert (await get(session, f"{path}/rows"))["matched"] == ended["result"]["officers"]


async def test_worked_cases_give_the_expected_decisions_as_json_and_as_uploaded_workbook(tmp_path: Path) -> None:
    """Through HTTP, the queue, the child process and the files that a browser downloads."""
    configure(tmp_path)
    async with running_worker(tmp_path) as service, asking(service) as session:
        for round_be in ROUNDS:
            cases = of_round(round_be)
            officers = [{"person_id": case["id"], **case["officer"]} for case in cases]
            payload = {"round": round_be, "officers": officers, "organization": "json"}
            job = {"taskType": KIND, "userId": "user-1", "payload": payload}
            async with session.post("/api/v1/jobs", json=job) as response:
                by_json = (await response.json())["jobId"]
            as_workbook(tmp_path / "cases.xlsx", table(cases))
            by_workbook = (await upload(session, tmp_path / "cases.xlsx", round_be, "รายชื่อ.xlsx"))["jobId"]
            for job_id in (by_json, by_workbook):
                path = f"/api/v1/jobs/{job_id}"
                ended = await get(session, f"{path}?wait=60")
                assert (ended["status"], ended["result"]["badRows"]) == ("succeeded", 0), ended
                assert_as_expected(cases, await get(session, f"{path}/files/results.json"))
                assert_as_expected(cases, (await get(session, f"{path}/rows?limit=500"))["rows"])


async def test_upload_interrupted_by_sigkill_is_removed_at_the_next_start(tmp_path: Path) -> None:
    configure(tmp_path)
    uploads = tmp_path / "state" / "rosters" / "uploads"
    async with running_worker(tmp_path) as service:
        with_job = (
            b'--b\r\nContent-Disposition: form-data; name="job"\r\n\r\n'
            + orjson.dumps({"taskType": KIND, "userId": "u", "payload": {"round": 2569}})
            + b'\r\n--b\r\nContent-Disposition: form-data; name="roster"; filename="r.csv"\r\n\r\n'
        )
        _, writer = await asyncio.open_unix_connection(str(service.state / "worker.sock"))
        head = b"POST /api/v1/jobs/upload HTTP/1.1\r\nHost: x\r\nContent-Length: 50000000\r\n"
        head += b"Content-Type: multipart/form-data; boundary=b\r\n\r\n"
        writer.write(head + with_job + b"1,2,3\n" * 500_000)
        await writer.drain()
        await eventually(lambda: any(uploads.glob(".incoming-*/.roster")))
        service.kill()
        writer.close()
    assert any(uploads.glob(".incoming-*"))
    async with running_worker(tmp_path):
        await eventually(lambda: not list(uploads.glob("user/*/*")))


async def test_upload_over_the_file_size_limit_is_reported_and_removed(tmp_path: Path) -> None:
    """What a full disk is like, from the system itself: no file of the service may pass eight megabytes."""
    configure(tmp_path)
    write_sample(tmp_path / "r.csv", count=50)
    uploads = tmp_path / "state" / "rosters" / "uploads"
    async with running_worker(tmp_path) as service, asking(service) as session:
        resource.prlimit(service.pid, resource.RLIMIT_FSIZE, (8_000_000, 8_000_000))
        form = aiohttp.FormData()
        job = {"taskType": KIND, "userId": "user-1", "payload": {"round": 2569}}
        form.add_field("job", orjson.dumps(job).decode(), content_type="application/json")
        form.add_field("roster", io.BytesIO(b"1,2,3,4\n" * 1_500_000), filename="r.csv")
        async with session.post("/api/v1/jobs/upload", data=form) as response:
            assert (response.status, "raise LimitFSIZE=" in (await response.json())["detail"]) == (507, True)
        assert list(uploads.iterdir()) == []
        assert (await upload(session, tmp_path / "r.csv"))["created"]


async def test_uploads_are_removed_with_their_job_after_its_notification_is_delivered(tmp_path: Path) -> None:
    configure(tmp_path, Queue={"Retention": 1})
    write_sample(tmp_path / "r.csv", count=50)
    uploads = tmp_path / "state" / "rosters" / "uploads"
    async with running_worker(tmp_path) as service, asking(service) as session:
        job = await upload(session, tmp_path / "r.csv")
        await get(session, f"/api/v1/jobs/{job['jobId']}?wait=60")
        assert await service.stop() == 0
    async with running_worker(tmp_path) as service:  # no hub yet: the notification waits, and so do the files
        assert list(uploads.glob(f"user/*/{job['jobId']}"))
        assert await service.stop() == 0
    configure(tmp_path, Queue={"Retention": 1}, Hub={"Enabled": "true"})
    async with running_worker(tmp_path) as service, asking(service) as session:
        # Once it is delivered it may be removed at any moment, so its absence is what can be waited for.
        while (await get(session, "/api/v1/notifications?state=pending"))["notifications"]:
            await asyncio.sleep(0.02)
        assert await service.stop() == 0
    async with running_worker(tmp_path):
        await eventually(lambda: not list(uploads.glob("user/*/*")))


async def test_enqueue_with_files_works_with_and_without_a_service(tmp_path: Path) -> None:
    configure(tmp_path)
    write_sample(tmp_path / "บัญชี.csv", count=100)
    order = ["enqueue", KIND, "--user", "u", "--payload", '{"round": 2569}', "--id", "k", "--file", "roster=@บัญชี.csv"]
    await asyncio.to_thread(create_store, tmp_path)
    first = command(tmp_path, *order)
    assert first.returncode == 0, first.stderr
    async with running_worker(tmp_path) as service, asking(service) as session:
        again = await asyncio.to_thread(command, tmp_path, *order, "--wait")
        assert (again.returncode, again.stdout) == (0, first.stdout), again.stderr
        files = await get(session, f"/api/v1/jobs/{first.stdout.strip()}/files")
        assert files["files"][-1]["shown"] == "บัญชี.csv"
        (tmp_path / "picture.csv").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(3_000_000))
        refused = await asyncio.to_thread(command, tmp_path, *order[:-1], "roster=@picture.csv")
        assert (refused.returncode, "picture.csv is a picture" in refused.stderr) == (65, True)
        assert refused.stderr.count("\n") == 1


@pytest.mark.sqlite_only("no store")
def test_enqueue_with_a_missing_or_unnamed_file_is_reported(tmp_path: Path) -> None:
    configure(tmp_path)
    missing = command(tmp_path, "enqueue", KIND, "--user", "u", "--file", "roster=@none.csv")
    assert (missing.returncode, "file none.csv does not exist" in missing.stderr) == (65, True)
    unnamed = command(tmp_path, "enqueue", KIND, "--user", "u", "--file", "none.csv")
    assert (unnamed.returncode, "FIELD=@PATH" in unnamed.stderr) == (64, True)
