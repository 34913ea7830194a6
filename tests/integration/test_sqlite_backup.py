"""A copy of a database that finds no room."""

import errno
import os
import sqlite3
from pathlib import Path

import pytest

from worker.errors import StoreFull
from worker.stores.sqlite import backup


class FullTarget:
    """A connection to the database whose copy finds no room."""

    def __init__(self, code: int) -> None:
        self._code = code

    def backup(self, _target: sqlite3.Connection) -> None:
        error = sqlite3.OperationalError("the copy failed")
        error.sqlite_errorcode = self._code
        raise error

    def close(self) -> None:
        """Nothing is open."""


@pytest.mark.parametrize("code", [sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_CANTOPEN])
def test_copy_that_finds_no_room_names_the_disk_of_the_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """SQLite has a code of its own for a full disk only; a used-up quota is an error of the write."""

    copy = tmp_path / "copy" / "queue.db"
    copy.parent.mkdir()

    def reject(_descriptor: int, _offset: int, _length: int) -> None:
        if list(copy.parent.iterdir()):  # it is the copy that uses the quota up
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    monkeypatch.setattr(os, "posix_fallocate", reject)
    monkeypatch.setattr(backup, "connect_reader", lambda _path: FullTarget(code))
    with pytest.raises(StoreFull, match=str(copy.parent)):
        backup.back_up(tmp_path / "queue.db", copy)
    assert list(copy.parent.iterdir()) == []
