"""Files of the service are for its owner alone, whatever umask and state folder it finds."""

import asyncio
import contextlib
import json
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.needs import need_root
from tests.support.process import command, running_worker
from worker.disk.private_file import require_closed
from worker.errors import OpenToOthers

ROSTER = {
    "person_id": "1",
    "employee_group": "civil_servant",
    "level": "K2",
    "birth_date": "1985-03-03",
    "service_start": "2014-10-01",
    "level_start": "2019-10-01",
    "salary": "18000",
    "decorations": "[]",
}


def configure(folder: Path) -> None:
    settings = {
        "Http": {"Url": "http://127.0.0.1:0"},
        "WebSocket": {"DefaultUserId": "ann"},
        "Hub": {"Enabled": "true"},
        "Handlers": {"Command": {"Programs": [{"Name": "it", "Path": writer(folder)}]}},
    }
    (folder / "appsettings.json").write_text(json.dumps(settings), encoding="utf-8")


def writer(folder: Path) -> str:
    """Return a program that writes a file into the state folder."""
    path = folder / "writer"
    made = folder / "state" / "made"
    path.write_text(f"#!{sys.executable}\nopen({str(made)!r}, 'w').close()\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def modes(folder: Path) -> Iterator[tuple[str, int, bool]]:
    for path in sorted(folder.rglob("*")):
        with contextlib.suppress(FileNotFoundError):  # the service removes what it needs no more
            state = path.stat()
            yield str(path.relative_to(folder)), stat.S_IMODE(state.st_mode), stat.S_ISDIR(state.st_mode)


@pytest.mark.parametrize("mask", ["000", "022", "027"])
async def test_files_are_0600_and_folders_0700_whatever_the_umask(tmp_path: Path, mask: str) -> None:
    configure(tmp_path)
    with_mask = ["/bin/sh", "-c", f'umask {mask}; exec "$@"', "sh"]
    async with running_worker(tmp_path, prefix=with_mask) as service:
        jobs = [
            {"taskType": "insignia_background_processing", "payload": {"round": 2569, "officers": [ROSTER]}},
            {"taskType": "command", "payload": {"command": "it"}},
        ]
        for job in jobs:
            answer = await asyncio.to_thread(service.client.request, "POST", "/api/v1/jobs", job)
            ended = await asyncio.to_thread(service.client.request, "GET", f"/api/v1/jobs/{answer['jobId']}?wait=60")
            assert ended["status"] == "succeeded", ended
        found = list(modes(tmp_path / "state"))
        assert {name.rpartition("/")[2] for name, _, _ in found} >= {"results.csv", "made", "queue.db", "hub.key"}
        assert [(name, oct(mode)) for name, mode, _ in found if mode & 0o077] == []
        assert await service.stop() == 0


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o757])
async def test_state_folder_that_others_can_write_gets_a_folder_of_the_service(tmp_path: Path, mode: int) -> None:
    configure(tmp_path)
    state = tmp_path / "state"
    state.mkdir()
    state.chmod(mode)
    async with running_worker(tmp_path) as service:
        assert [(path.name, stat.S_IMODE(path.stat().st_mode)) for path in state.iterdir()] == [
            ("insignia-worker", 0o700)
        ]
        async with asyncio.timeout(200):  # it prints nothing where the event loop has just had no heartbeat for seconds
            while not (done := await asyncio.to_thread(command, tmp_path, "health")).stdout:
                pass
        assert json.loads(done.stdout)["entries"]["queue"]["status"] == "Healthy"
        assert await service.stop() == 0


def test_store_in_a_folder_that_others_can_write_stays_where_it_is_with_a_warning(tmp_path: Path) -> None:
    configure(tmp_path)
    state = tmp_path / "state"
    state.mkdir()
    (state / "queue.db").touch(0o600)
    state.chmod(0o777)
    done = command(tmp_path, "config", "check")
    assert done.returncode == 0
    assert f"every user of this machine can replace the files in this folder; chmod 700 {state}" in done.stderr


@pytest.mark.parametrize(
    ("name", "mode"), [("queue.db", 0o666), ("queue.db", 0o604), ("hub.db", 0o660), ("hub.key", 0o640)]
)
def test_service_refuses_a_store_or_a_key_that_is_open_to_others(tmp_path: Path, name: str, mode: int) -> None:
    configure(tmp_path)
    (tmp_path / "state").mkdir()
    (tmp_path / "state").chmod(0o755)
    file = tmp_path / "state" / name
    file.write_text("k" * 64 if name.endswith("key") else "", encoding="utf-8")
    file.chmod(mode)
    done = command(tmp_path, "run")
    assert done.returncode == 78, done.stderr
    assert f"chmod 600 {file}" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_file_or_folder_of_another_user_is_not_used(tmp_path: Path, kind: str) -> None:
    need_root("to make a file of another user")
    path = tmp_path / "made-before"
    path.mkdir(mode=0o700) if kind == "folder" else path.touch(0o600)
    os.chown(path, 65534, 65534)
    with pytest.raises(OpenToOthers, match="chown"):
        require_closed(path)


@pytest.mark.parametrize(("mode", "folder_mode"), [(0o600, 0o755), (0o640, 0o755), (0o400, 0o755), (0o644, 0o700)])
def test_file_that_only_the_owner_may_change_is_used(tmp_path: Path, mode: int, folder_mode: int) -> None:
    path = tmp_path / "queue.db"
    path.touch()
    path.chmod(mode)
    tmp_path.chmod(folder_mode)
    require_closed(path)
    require_closed(tmp_path / "missing")


@pytest.mark.parametrize(("mode", "folder_mode"), [(0o644, 0o755), (0o660, 0o710), (0o666, 0o701)])
def test_file_that_others_can_reach_is_not_used(tmp_path: Path, mode: int, folder_mode: int) -> None:
    path = tmp_path / "queue.db"
    path.touch()
    path.chmod(mode)
    tmp_path.chmod(folder_mode)
    with pytest.raises(OpenToOthers, match="chmod 600"):
        require_closed(path)
