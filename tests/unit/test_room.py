"""What a disk lacks, and what is said about it."""

import errno
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from worker.disk import room
from worker.disk.file_lock import FileLock
from worker.disk.private_file import secret_in
from worker.errors import StoreError, StoreFull, StoreLocked, StoreUnwritable
from worker.hub.inboxes.sqlite_tables import inbox_errors
from worker.runtime.uploads import translate_os_errors
from worker.stores.sqlite.errors import translate
from worker.stores.sqlite.files import create_file, create_folder
from worker.stores.sqlite.journal import CommitJournal, StoreState


@pytest.fixture
def quota(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quota that is used up: the figures of the disk do not show it."""

    def reject(_descriptor: int, _offset: int, _length: int) -> None:
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    monkeypatch.setattr(os, "posix_fallocate", reject)


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "is full: free some space"),
        (errno.EDQUOT, "raise the quota"),
        (errno.EFBIG, "LimitFSIZE="),
    ],
)
def test_error_of_a_write_without_room_has_the_remedy(tmp_path: Path, number: int, remedy: str) -> None:
    error = room.write_error(OSError(number, os.strerror(number)), tmp_path, "give this user the right")
    assert isinstance(error, StoreFull)
    assert str(tmp_path) in str(error)
    assert remedy in str(error)


def test_error_of_a_write_without_permission_is_not_one_of_room(tmp_path: Path) -> None:
    error = room.write_error(PermissionError(errno.EACCES, "Permission denied"), tmp_path, "give this user the right")
    assert isinstance(error, StoreUnwritable)
    assert str(error) == f"cannot write {tmp_path}: Permission denied; give this user the right"


def test_folder_with_room_has_no_shortage_and_stays_empty(tmp_path: Path) -> None:
    assert room.shortage_in(tmp_path) is None
    assert room.shortage_in(tmp_path / "to be" / "created") is None
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("quota")
def test_used_up_quota_is_a_shortage(tmp_path: Path) -> None:
    text = room.shortage_in(tmp_path)
    assert text is not None
    assert "raise the quota" in text


@pytest.mark.usefixtures("quota")
@pytest.mark.parametrize("code", [sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE, sqlite3.SQLITE_CANTOPEN])
def test_sqlite_error_of_a_used_up_quota_is_one_of_room(tmp_path: Path, code: int) -> None:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = code
    assert isinstance(translate(error, tmp_path / "queue.db"), StoreFull)
    with pytest.raises(StoreFull, match="raise the quota"), inbox_errors(tmp_path / "hub.db"):
        raise error


@pytest.mark.usefixtures("quota")
def test_sqlite_error_about_anything_but_a_file_keeps_its_reason_without_room(tmp_path: Path) -> None:
    error = sqlite3.OperationalError("database is locked")
    error.sqlite_errorcode = sqlite3.SQLITE_BUSY
    assert isinstance(translate(error, tmp_path / "queue.db"), StoreLocked)
    with pytest.raises(StoreLocked, match="database is locked"), inbox_errors(tmp_path / "hub.db"):
        raise error


def test_upload_that_finds_no_room_says_of_what_but_not_where(tmp_path: Path) -> None:
    text = r"^the quota on the disk of the upload is used up: .*raise the quota; nothing"
    with pytest.raises(StoreFull, match=text), translate_os_errors():
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT), str(tmp_path))


def test_sqlite_error_of_a_disk_with_room_keeps_its_reason(tmp_path: Path) -> None:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR_READ
    error.sqlite_errorname = "SQLITE_IOERR_READ"
    assert type(translate(error, tmp_path / "queue.db")) is StoreError


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_file_of_a_start_that_finds_no_room_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def reject(*_arguments: object, **_options: object) -> None:
        raise OSError(number, os.strerror(number))

    creating: dict[str, Callable[[], object]] = {
        "queue.db": lambda: create_file(tmp_path / "queue.db"),
        "folder": lambda: create_folder(tmp_path / "folder" / "queue.db"),
        "queue.db.lock": lambda: FileLock.acquire(tmp_path / "queue.db.lock"),
        "queue.db.commits": lambda: CommitJournal.open(tmp_path / "queue.db", StoreState("s", 1)),
        "hub.key": lambda: secret_in(tmp_path / "hub.key", 32),
    }
    monkeypatch.setattr(os, "open", reject)
    monkeypatch.setattr(os, "mkdir", reject)
    monkeypatch.setattr(Path, "mkdir", reject)
    for name, create in creating.items():
        with pytest.raises(StoreFull, match=f"{name}.*free some space"):
            create()


def test_key_that_cannot_be_created_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file, not a folder", encoding="utf-8")
    with pytest.raises(StoreUnwritable, match=r"admin\.key.*give this user the right"):
        secret_in(tmp_path / "state" / "admin.key", 32)


@pytest.mark.parametrize("code", [sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN])
def test_sqlite_error_of_a_disk_that_refuses_writes_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """As ext4 does after an error, without a flag."""

    def refuse(*_arguments: object) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = code
    monkeypatch.setattr(os, "open", refuse)
    known = translate(error, tmp_path / "queue.db")
    assert isinstance(known, StoreUnwritable)
    assert "queue.db is on a disk that is mounted read-only: see the system log" in str(known)
    with pytest.raises(StoreUnwritable, match=r"hub\.db is on a disk that is"), inbox_errors(tmp_path / "hub.db"):
        raise error
