"""The lock file next to the store."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.process import clean_environment
from worker.disk.file_lock import FileLock
from worker.errors import StoreLocked, StoreUnwritable


def test_acquire_of_a_held_lock_names_its_process(tmp_path: Path) -> None:
    lock = FileLock.acquire(tmp_path / "queue.db.lock")
    with pytest.raises(StoreLocked, match=f"process {os.getpid()}") as raised:
        FileLock.acquire(tmp_path / "queue.db.lock")
    lock.release()
    assert raised.value.exit_code == 75


def test_released_lock_can_be_acquired(tmp_path: Path) -> None:
    FileLock.acquire(tmp_path / "queue.db.lock").release()
    FileLock.acquire(tmp_path / "queue.db.lock").release()
    assert (tmp_path / "queue.db.lock").exists()


def test_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    path = tmp_path / "queue.db.lock"
    program = (
        "import sys; from pathlib import Path; from worker.disk.file_lock import FileLock\n"
        "lock = FileLock.acquire(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=clean_environment(),
    )
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == b"held\n"
    with pytest.raises(StoreLocked, match=f"process {process.pid}"):
        FileLock.acquire(path)
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()
    FileLock.acquire(path).release()


def test_lock_is_not_kept_by_a_child_process(tmp_path: Path) -> None:
    path = tmp_path / "queue.db.lock"
    lock = FileLock.acquire(path)
    child = subprocess.Popen(
        [sys.executable, "-c", "print(flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        close_fds=False,
    )
    assert child.stdout is not None
    child.stdout.readline()  # wait until it runs: before exec, a new process has the descriptors of its parent
    lock.release()
    FileLock.acquire(path).release()
    child.communicate(b"\n")


def test_check_reports_a_removed_lock_file(tmp_path: Path) -> None:
    lock = FileLock.acquire(tmp_path / "queue.db.lock")
    assert lock.in_place()
    (tmp_path / "queue.db.lock").unlink()
    assert not lock.in_place()
    second = FileLock.acquire(tmp_path / "queue.db.lock")
    assert not lock.in_place()
    second.release()
    lock.release()


def test_lock_file_is_private(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        FileLock.acquire(tmp_path / "queue.db.lock").release()
    finally:
        os.umask(before)
    assert (tmp_path / "queue.db.lock").stat().st_mode & 0o777 == 0o600


def test_lock_file_that_cannot_be_created_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnwritable, match=r"file/queue\.db\.lock"):
        FileLock.acquire(tmp_path / "file" / "queue.db.lock")


def test_content_of_an_old_lock_file_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "queue.db.lock"
    path.write_bytes(b"\xff\xfe no pid\n")
    lock = FileLock.acquire(path)
    assert path.read_text() == f"{os.getpid()}\n"
    lock.release()
