"""The lock beside the store."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.process import clean_environment
from worker.errors import StoreLocked, StoreUnwritable
from worker.queues.lock import StoreLock


def test_a_held_lock_names_its_process(tmp_path: Path) -> None:
    lock = StoreLock.acquire(tmp_path / "queue.db.lock")
    with pytest.raises(StoreLocked, match=f"process {os.getpid()}") as raised:
        StoreLock.acquire(tmp_path / "queue.db.lock")
    lock.release()
    assert raised.value.exit_code == 75


def test_a_released_lock_can_be_taken(tmp_path: Path) -> None:
    StoreLock.acquire(tmp_path / "queue.db.lock").release()
    StoreLock.acquire(tmp_path / "queue.db.lock").release()
    assert (tmp_path / "queue.db.lock").exists()


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    path = tmp_path / "queue.db.lock"
    program = (
        "import sys; from pathlib import Path; from worker.queues.lock import StoreLock\n"
        "lock = StoreLock.acquire(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
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
        StoreLock.acquire(path)
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()
    StoreLock.acquire(path).release()


def test_a_child_process_does_not_keep_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "queue.db.lock"
    lock = StoreLock.acquire(path)
    child = subprocess.Popen(
        [sys.executable, "-c", "print(flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        close_fds=False,
    )
    assert child.stdout is not None
    child.stdout.readline()  # until it runs: a process that is just being made still has what its parent has
    lock.release()
    StoreLock.acquire(path).release()
    child.communicate(b"\n")


def test_a_removed_lock_file_is_noticed(tmp_path: Path) -> None:
    lock = StoreLock.acquire(tmp_path / "queue.db.lock")
    assert lock.in_place()
    (tmp_path / "queue.db.lock").unlink()
    assert not lock.in_place()
    second = StoreLock.acquire(tmp_path / "queue.db.lock")
    assert not lock.in_place()
    second.release()
    lock.release()


def test_the_lock_file_is_private(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        StoreLock.acquire(tmp_path / "queue.db.lock").release()
    finally:
        os.umask(before)
    assert (tmp_path / "queue.db.lock").stat().st_mode & 0o777 == 0o600


def test_a_lock_that_cannot_be_made_says_where(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnwritable, match=r"file/queue\.db\.lock"):
        StoreLock.acquire(tmp_path / "file" / "queue.db.lock")


def test_what_stands_in_an_old_lock_file_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "queue.db.lock"
    path.write_bytes(b"\xff\xfe no pid\n")
    lock = StoreLock.acquire(path)
    assert path.read_text() == f"{os.getpid()}\n"
    lock.release()
