"""The power of the service's machine is cut: it starts again with what was synced, and every accepted job is there."""

import asyncio
from pathlib import Path

import pytest

from tests.acceptance.test_roster_upload import KIND, asking, get, upload
from tests.support.lost_syncs import Disk, built_recorder, lay_out, note, recording, records_of
from tests.support.ports import free_port
from tests.support.process import running_worker
from worker.insignia import write_sample

WORDS = (b"accepted ", b"succeeded ")


def _settings() -> list[str]:
    url = f"http://127.0.0.1:{free_port()}"
    return [f"--Http:Url={url}", f"--WebSocket:Url={url}", "--Worker:Handlers:0=tests.support.jobs"]


async def _work(folder: Path, trace: Path) -> None:
    """Run a service that is recorded; note when a job's acceptance, and its success, are known."""
    write_sample(folder.parent / "roster.csv", count=40)
    (folder / "state").mkdir(parents=True, mode=0o700)
    environ = recording(built_recorder(folder.parent), folder / "state", trace)
    async with running_worker(folder, *_settings(), environ=environ) as service, asking(service) as session:
        body = {"taskType": "noop", "userId": "user-1", "payload": {}}
        job = await asyncio.to_thread(service.client.request, "POST", "/api/v1/jobs", body)
        note(trace, f"accepted {job['jobId']}")
        job = await upload(session, folder.parent / "roster.csv")
        note(trace, f"accepted {job['jobId']}")
        ended = await get(session, f"/api/v1/jobs/{job['jobId']}?wait=60")
        assert ended["status"] == "succeeded", (ended["errorType"], ended["error"])
        note(trace, f"succeeded {job['jobId']}")


async def _check(folder: Path, known: list[str]) -> None:
    """Start the service on what the power cut has left, and look for what it had promised."""
    async with running_worker(folder, *_settings()) as service, asking(service) as session:
        for line in known:
            word, _, job_id = line.partition(" ")
            job = await get(session, f"/api/v1/jobs/{job_id}")
            assert word == "accepted" or job["status"] == "succeeded", line
        await service.until_idle()
        for job_id in {line.partition(" ")[2] for line in known}:
            job = await get(session, f"/api/v1/jobs/{job_id}")
            assert job["status"] == "succeeded", (job["errorType"], job["error"])
            if job["taskType"] == KIND:
                assert (await get(session, f"/api/v1/jobs/{job_id}/rows"))["matched"] == 40
        assert await service.stop() == 0


@pytest.mark.kill
@pytest.mark.timeout(600)
async def test_service_keeps_accepted_jobs_and_their_files_when_the_power_is_cut(tmp_path: Path) -> None:
    """The power is cut right after each answer, when only what was synced before it is sure."""
    folder, trace = tmp_path / "site", tmp_path / "trace"
    await _work(folder, trace)
    disk, known = Disk(), []
    for record in records_of(trace):
        disk.replay(record)
        if record.kind == "O" and record.data.startswith(WORDS):
            known.append(record.data.decode())
            found = tmp_path / f"after-{len(known)}"
            lay_out(disk.after_power_cut(), folder / "state", found / "state")
            await _check(found, known)
    assert len(known) == 3
