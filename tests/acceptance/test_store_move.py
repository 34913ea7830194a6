"""A service moves from its file to PostgreSQL and back by the command line, also after a move that was killed."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.acceptance.test_stores import request, submit, until, until_received
from tests.support.ports import free_port
from tests.support.postgres import PostgresPlace, connected
from tests.support.process import WorkerProcess, clean_environment, command, running_worker
from tests.support.socketio_server import SocketIoServer, socketio_server
from worker.core.clock import Clock
from worker.stores.postgres.move_back import MOVED_SCHEMA


@pytest.fixture
async def place(place: PostgresPlace) -> AsyncIterator[PostgresPlace]:
    await (await place.open("first", 1 << 30, Clock())).close()  # skips without a server
    yield place
    async with connected(place.target.dsn) as connection:
        await connection.execute(f"DROP SCHEMA IF EXISTS {place.target.schema}{MOVED_SCHEMA} CASCADE")


def in_postgres(place: PostgresPlace) -> dict[str, str]:
    return {"Queue__Provider": "postgres", "Queue__ConnectionString": place.connection_string}


def settings(server: SocketIoServer) -> list[str]:
    http = f"--Http:Url=http://127.0.0.1:{free_port()}"
    return ["--Worker:Handlers:0=tests.support.jobs", "--Hub:Enabled=false", http, f"--WebSocket:Url={server.url}"]


async def left_for_later(worker: WorkerProcess) -> str:
    job = {"taskType": "noop", "userId": "u", "payload": {}, "runAt": f"{datetime.now(UTC).year + 2}-01-01T00:00:00Z"}
    return str((await asyncio.to_thread(worker.client.request, "POST", "/api/v1/jobs", job))["jobId"])


async def moved(folder: Path, *arguments: str, **environ: str) -> None:
    done = await asyncio.to_thread(command, folder, "db", "move", *arguments, **environ)
    assert done.returncode == 0, done.stderr
    assert "2 jobs and 1 notifications moved" in done.stderr


@pytest.mark.alters_store
@pytest.mark.timeout(600)
async def test_service_goes_on_after_a_move_to_postgres_and_back(tmp_path: Path, place: PostgresPlace) -> None:
    environ = in_postgres(place)
    async with socketio_server() as server:
        async with running_worker(tmp_path, *settings(server)) as worker:
            done, later = await submit(worker, "sleep", seconds=0), await left_for_later(worker)
            await until(worker, done, "succeeded")
            await until_received(server, 1)
            assert await worker.stop() == 0
        await moved(tmp_path, **environ)
        assert not (tmp_path / "state" / "queue.db").exists()
        async with running_worker(tmp_path, *settings(server), environ=environ) as worker:
            assert (await request(worker, "GET", f"/jobs/{done}"))["status"] == "succeeded"
            await request(worker, "POST", f"/jobs/{later}/cancel")
            payloads = await until_received(server, 2)
            assert [payload["sequence"] for payload in payloads] == [1, 2], "numbers continue where they were"
            assert await worker.stop() == 0
        back = await asyncio.to_thread(command, tmp_path, "db", "move", "--to", "sqlite", **environ)
        assert back.returncode == 0, back.stderr
        assert "2 jobs and 2 notifications moved" in back.stderr
        async with running_worker(tmp_path, *settings(server)) as worker:
            assert (await request(worker, "GET", f"/jobs/{later}"))["status"] == "cancelled"
            await until(worker, await submit(worker, "sleep", seconds=0), "succeeded")
            assert [payload["sequence"] for payload in await until_received(server, 3)] == [1, 2, 3]
            assert await worker.stop() == 0


@pytest.mark.alters_store
@pytest.mark.timeout(600)
async def test_move_that_was_killed_changes_nothing_and_is_repeated(tmp_path: Path, place: PostgresPlace) -> None:
    environ = in_postgres(place)
    async with socketio_server() as server:
        async with running_worker(tmp_path, *settings(server)) as worker:
            done = await submit(worker, "sleep", seconds=0)
            await left_for_later(worker)
            await until(worker, done, "succeeded")
            await until_received(server, 1)
            assert await worker.stop() == 0
        async with connected(place.target.dsn) as other, other.transaction():
            # The last table that the move writes: it has copied all others, and waits.
            await other.execute(f"LOCK TABLE {place.target.schema}.elapsed IN ACCESS EXCLUSIVE MODE")
            moving = subprocess.Popen(
                [sys.executable, "-m", "worker", "db", "move", "--contentRoot", str(tmp_path)],
                env=clean_environment(environ),
                cwd=tmp_path,
                stderr=subprocess.DEVNULL,
            )
            waits = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = to_regclass($1))"
            async with asyncio.timeout(120):
                while not await other.fetchval(waits, f"{place.target.schema}.elapsed"):
                    assert moving.poll() is None
                    await asyncio.sleep(0.05)
            os.kill(moving.pid, signal.SIGKILL)
            moving.wait()
        assert (tmp_path / "state" / "queue.db").exists()
        await moved(tmp_path, **environ)
        async with running_worker(tmp_path, *settings(server), environ=environ) as worker:
            assert (await request(worker, "GET", f"/jobs/{done}"))["status"] == "succeeded"
            assert await worker.stop() == 0
