"""Files for their owner alone, and secrets that are generated once."""

import stat
from pathlib import Path

import pytest

from worker.disk.private_file import open_new, secret_in
from worker.errors import UnsafeKey


def test_secret_is_generated_once_and_then_read(tmp_path: Path) -> None:
    path = tmp_path / "state" / "a.key"
    secret, created = secret_in(path, 32)
    assert created
    assert len(secret) >= 32
    assert secret_in(path, 32) == (secret, False)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["a.key"]


def test_secret_that_others_may_read_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "a.key"
    secret_in(path, 32)
    path.chmod(0o640)
    with pytest.raises(UnsafeKey, match="chmod 600"):
        secret_in(path, 32)


def test_secret_that_is_cut_off_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "a.key"
    path.write_text("short", encoding="ascii")
    path.chmod(0o600)
    with pytest.raises(UnsafeKey, match="5 bytes"):
        secret_in(path, 32)


def test_open_new_does_not_replace_a_file(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("x", encoding="ascii")
    with pytest.raises(FileExistsError):
        open_new(tmp_path / "there")
