"""A roster on its way through the real service: dropped as a file, evaluated, looked at, fetched, gone with its job."""

import asyncio
import io
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from tests.support.eventually import eventually
from tests.support.process import WorkerProcess, command, running_worker
from worker.insignia import write_sample

KIND = "insignia_background_processing"


@asynccontextmanager
async def asking(service: WorkerProcess) -> AsyncIterator[aiohttp.ClientSession]:
    """Over its UNIX socket, whose owner may everything."""
    connector = aiohttp.UnixConnector(str(service.state / "worker.sock"))
    async with aiohttp.ClientSession("http://localhost", connector=connector) as session:
        yield session


async def upload(session: aiohttp.ClientSession, path: Path, **headers: str) -> dict[str, Any]:
    form = aiohttp.FormData()
    job = {"taskType": KIND, "userId": "user-1", "payload": {"round": 2569}}
    form.add_field("job", orjson.dumps(job).decode(), content_type="application/json")
    with path.open("rb") as file:
        form.add_field("roster", file, filename="บัญชี.csv")
        async with session.post("/api/v1/jobs/upload", data=form, headers=headers) as response:
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


async def test_a_roster_is_dropped_evaluated_and_its_results_are_looked_at_and_fetched(tmp_path: Path) -> None:
    configure(tmp_path)
    write_sample(tmp_path / "r.csv", count=500)
    async with running_worker(tmp_path) as service, asking(service) as session:
        job = await upload(session, tmp_path / "r.csv", **{"Idempotency-Key": "drop-1"})
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
        again = await upload(session, tmp_path / "r.csv", **{"Idempotency-Key": "drop-1"})
        assert (again["jobId"], again["created"]) == (job["jobId"], False)
        assert (await get(session, f"{path}/rows"))["matched"] == ended["result"]["officers"]


async def test_kill_9_in_the_middle_of_an_upload_leaves_nothing_after_the_next_start(tmp_path: Path) -> None:
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
        await eventually(lambda: any(uploads.glob(".incoming-*/.roster")), timeout=20)
        service.kill()
        writer.close()
    assert any(uploads.glob(".incoming-*"))
    async with running_worker(tmp_path):
        await eventually(lambda: list(uploads.iterdir()) == [], timeout=20)


async def test_a_file_that_the_system_does_not_let_grow_is_told_and_nothing_of_it_stays(tmp_path: Path) -> None:
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
            assert (response.status, "the disk is full" in (await response.json())["detail"]) == (507, True)
        assert list(uploads.iterdir()) == []
        assert (await upload(session, tmp_path / "r.csv"))["created"]


async def test_uploads_go_when_retention_takes_their_job_and_not_before_its_news_is_delivered(tmp_path: Path) -> None:
    configure(tmp_path, Queue={"Retention": 1})
    write_sample(tmp_path / "r.csv", count=50)
    uploads = tmp_path / "state" / "rosters" / "uploads"
    async with running_worker(tmp_path) as service, asking(service) as session:
        job = await upload(session, tmp_path / "r.csv")
        await get(session, f"/api/v1/jobs/{job['jobId']}?wait=60")
        assert await service.stop() == 0
    async with running_worker(tmp_path) as service:  # no hub yet: the news waits, and so do the files
        assert (uploads / job["jobId"]).is_dir()
        assert await service.stop() == 0
    configure(tmp_path, Queue={"Retention": 1}, Hub={"Enabled": "true"})
    async with running_worker(tmp_path) as service, asking(service) as session:
        while not (await get(session, "/api/v1/notifications?state=delivered"))["notifications"]:
            await asyncio.sleep(0.02)
        assert await service.stop() == 0
    async with running_worker(tmp_path):
        await eventually(lambda: list(uploads.iterdir()) == [], timeout=20)


async def test_the_command_line_sends_files_along_with_and_without_a_service(tmp_path: Path) -> None:
    configure(tmp_path)
    write_sample(tmp_path / "บัญชี.csv", count=100)
    order = ["enqueue", KIND, "--user", "u", "--payload", '{"round": 2569}', "--id", "k", "--file", "roster=@บัญชี.csv"]
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


def test_a_file_that_is_not_there_or_not_named_is_told(tmp_path: Path) -> None:
    configure(tmp_path)
    missing = command(tmp_path, "enqueue", KIND, "--user", "u", "--file", "roster=@none.csv")
    assert (missing.returncode, "there is no file none.csv" in missing.stderr) == (65, True)
    unnamed = command(tmp_path, "enqueue", KIND, "--user", "u", "--file", "none.csv")
    assert (unnamed.returncode, "FIELD=@PATH" in unnamed.stderr) == (64, True)
