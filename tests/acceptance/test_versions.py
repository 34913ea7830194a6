"""Two builds of the program on one PostgreSQL store: rolled forward and back under load, with kills, judged."""

import asyncio
import contextlib
import itertools
import os
import shutil
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from tests.acceptance.test_postgres_workers import a_worker, all_received
from tests.support.history.events import Complete, Event
from tests.support.history.judge import judge
from tests.support.history.store_reader import read_end_of_database
from tests.support.postgres import connected
from tests.support.postgres_server import PostgresServer, postgres_server
from tests.support.process import WorkerProcess, command
from tests.support.repository import ROOT
from tests.support.socketio_server import SocketIoServer, socketio_server
from worker import __version__
from worker.errors import WorkerError
from worker.stores.postgres.schema import MIGRATIONS

NEWER = "99.0.0"
NEWEST = len(MIGRATIONS)
"""The version of the schema that this build knows."""
_END = '\n)\n"""Each brings the schema one version further.'
_ONE_MORE = f"""
    Migration(
        ("ALTER TABLE jobs ADD COLUMN later text",),
        usable_from={NEWEST},
        undo=("ALTER TABLE jobs DROP COLUMN later",),
    ),"""


@pytest.fixture(scope="module")
def newer(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a build with a later version and one more version of the schema."""
    folder = tmp_path_factory.mktemp("newer")
    for package in ("worker", "config"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    for file, old, new in (
        ("worker/__init__.py", f'"{__version__}"', f'"{NEWER}"'),
        ("worker/stores/postgres/schema.py", _END, _ONE_MORE + _END),
    ):
        text = (folder / file).read_text(encoding="utf-8")
        assert text.count(old) == 1, "make the newer build again for the code as it is now"
        (folder / file).write_text(text.replace(old, new), encoding="utf-8")
    return {"PYTHONPATH": os.pathsep.join((str(folder), str(ROOT)))}


async def migrated(folder: Path, server: PostgresServer, environ: dict[str, str], *arguments: str) -> str:
    store = {"Queue__Provider": "postgres", "Queue__ConnectionString": server.url}
    done = await asyncio.to_thread(command, folder, "db", "migrate", *arguments, **store, **environ)
    assert done.returncode == 0, done.stderr
    return done.stderr


async def versions(server: PostgresServer) -> set[str]:
    async with connected(server.url) as connection:
        alive = "SELECT version FROM insignia.workers WHERE seen_at > now() - interval '10 seconds'"
        return {row["version"] for row in await connection.fetch(alive)}


async def submit_until_cancelled(workers: Sequence[WorkerProcess], job_ids: set[str]) -> None:
    """Submit to whichever worker answers."""
    for number in itertools.count():
        jobs = [
            {"taskType": "sleep", "userId": f"user-{place}", "payload": {"seconds": 0.02, "tag": f"{number}-{place}"}}
            for place in range(4)
        ]
        client = workers[number % len(workers)].client
        with contextlib.suppress(WorkerError):  # it is being replaced; its history records what may exist
            answer = await asyncio.to_thread(client.request, "POST", "/api/v1/jobs/batch", {"jobs": jobs})
            job_ids |= {job["jobId"] for job in answer["jobs"]}
        await asyncio.sleep(0.1)


@contextlib.asynccontextmanager
async def under_load(
    folder: Path, server: PostgresServer, hub: SocketIoServer
) -> AsyncIterator[tuple[list[WorkerProcess], set[str]]]:
    workers = [a_worker(folder / name, server.url, hub) for name in ("one", "two")]
    job_ids: set[str] = set()
    producing = asyncio.create_task(submit_until_cancelled(workers, job_ids))
    try:
        for worker in workers:
            await worker.start()
        yield workers, job_ids
    finally:
        producing.cancel()
        await asyncio.gather(producing, return_exceptions=True)
        for worker in workers:
            if worker.is_running:
                worker.kill()


@pytest.mark.kill
@pytest.mark.timeout(1200)
async def test_two_versions_side_by_side_are_rolled_forward_and_back_with_kills(
    tmp_path: Path, newer: dict[str, str]
) -> None:
    with postgres_server() as server:
        async with socketio_server() as hub:
            async with under_load(tmp_path, server, hub) as (workers, job_ids):
                assert f"schema {NEWEST + 1} now" in await migrated(tmp_path, server, newer)
                for environ, after_one in ((newer, {__version__, NEWER}), ({}, {__version__, NEWER})):
                    workers[0].kill()
                    workers[0].environ = environ
                    await workers[0].start()
                    async with asyncio.timeout(60):  # both at once
                        while await versions(server) != after_one:
                            await asyncio.sleep(0.1)
                    before = len(hub.ids)
                    async with asyncio.timeout(120):
                        while len(hub.ids) < before + 20:
                            await asyncio.sleep(0.05)
                    assert await workers[1].stop() == 0
                    workers[1].environ = environ
                    await workers[1].start()
                assert f"schema {NEWEST} now" in await migrated(tmp_path, server, newer, "--back")
                known = set(job_ids)
                await all_received(hub, known, seconds=120)
            # The producer has ended: what it submitted last is finished by workers of this version.
            last = a_worker(tmp_path / "last", server.url, hub)
            await last.start()
            await last.until_idle()
            assert await last.stop() == 0
            events: list[Event] = [*hub.receptions(), *await read_end_of_database(server.url), Complete()]
            events += [event for worker in workers for event in worker.history.events]
    verdict = judge(events, max_attempts=3)
    assert verdict.is_clean, str(verdict)
