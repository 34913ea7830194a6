"""What exists differs from what cannot be looked up, also where Python's own methods treat both alike."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from config.presence import exists, is_folder, is_regular_file
from tests.support.site import Site
from worker.cli.listener import token_for
from worker.errors import StoreUnwritable, Unavailable
from worker.runtime.guard import MARKER_FILE, was_stop_forced
from worker.service.backup import restore_state
from worker.stores.sqlite.disk_space import wal_of
from worker.stores.sqlite.restore import swap


@pytest.fixture
def as_in_python_3_14(monkeypatch: pytest.MonkeyPatch) -> None:
    """Methods that answer False for every error."""
    for name in ("exists", "is_file", "is_dir"):
        ordinary = getattr(Path, name)

        def look(path: Path, ordinary: Callable[[Path], bool] = ordinary, **_: Any) -> bool:
            try:
                return ordinary(path)
            except OSError:
                return False

        monkeypatch.setattr(Path, name, look)


def out_of_reach(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Let no one look up files with these names: root, who runs tests too, may enter every folder."""
    ordinary = os.stat

    def stat(path: Any, *arguments: Any, **options: Any) -> os.stat_result:
        if isinstance(path, Path | str) and Path(path).name in names:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return ordinary(path, *arguments, **options)

    monkeypatch.setattr(os, "stat", stat)


@pytest.mark.parametrize("look", [exists, is_folder, is_regular_file])
def test_path_that_cannot_be_looked_up_raises(tmp_path: Path, look: Callable[[Path], bool]) -> None:
    with pytest.raises(OSError, match="File name too long"):
        look(tmp_path / ("x" * 300))


def test_missing_paths_and_kinds_of_files_are_distinguished(tmp_path: Path) -> None:
    file, loop, looks = tmp_path / "file", tmp_path / "loop", (exists, is_folder, is_regular_file)
    file.touch()
    loop.symlink_to(loop)
    assert [look(file) for look in looks] == [True, False, True]
    assert [look(tmp_path) for look in looks] == [True, True, False]
    for missing in (tmp_path / "none", file / "below", loop, tmp_path / "a\0b"):
        assert [look(missing) for look in looks] == [False, False, False]


@pytest.mark.usefixtures("as_in_python_3_14")
def test_restore_from_a_path_that_cannot_be_looked_up_says_why(tmp_path: Path) -> None:
    with pytest.raises(StoreUnwritable, match=r"cannot read .*: File name too long"):
        restore_state(Site(tmp_path).load(), tmp_path / ("x" * 300) / "backup")


@pytest.mark.usefixtures("as_in_python_3_14")
def test_key_of_another_user_is_not_taken_for_a_missing_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out_of_reach(monkeypatch, "hub.key")
    with pytest.raises(Unavailable, match="belongs to another user"):
        token_for(Site(tmp_path).load(), "u", publish=False, days=1.0)


@pytest.mark.usefixtures("as_in_python_3_14")
@pytest.mark.parametrize("name", ["queue.db", "queue.db-wal"])
def test_store_that_cannot_be_looked_up_keeps_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path, copy = tmp_path / "queue.db", tmp_path / "copy"
    for file in (path, wal_of(path), copy):
        file.write_bytes(file.name.encode())
    out_of_reach(monkeypatch, name)
    with pytest.raises(PermissionError):
        swap(path, copy, 0.0)
    assert wal_of(path).read_bytes() == b"queue.db-wal"
    assert copy.read_bytes() == b"copy"


@pytest.mark.usefixtures("as_in_python_3_14")
def test_mark_of_a_forced_stop_that_cannot_be_looked_up_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out_of_reach(monkeypatch, MARKER_FILE)
    with pytest.raises(PermissionError):
        was_stop_forced(tmp_path)
