"""No spelling of a secret gets into a bundle, whatever the part it comes from."""

import base64
import errno
import os
import zipfile
from pathlib import Path

import pytest

from config.loader import load
from worker.cli import bundle
from worker.errors import StoreUnwritable


@pytest.mark.parametrize(
    "spelling",
    [
        base64.encodebytes(b"x" * 50 + b"a-secret/of+the=settings").decode(),
        "a-secret/of\n    +the=settings",
        "".join(f"={byte:02X}=\n" for byte in b"a-secret/of+the=settings"),
        " ".join(f"{byte:02X}" for byte in b"a-secret/of+the=settings"),
    ],
)
def test_bundle_hides_a_secret_that_extends_over_lines(
    tmp_path: Path, spelling: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle, "_parts", lambda *_: [("log.txt", f"first line\n{spelling}\nlast line")])
    loaded = load(environ={}, cwd=tmp_path)
    file = tmp_path / "bundle.zip"
    assert bundle.write_bundle(loaded, [], {"a-secret/of+the=settings"}, file) == ["log.txt"]
    with zipfile.ZipFile(file) as archive:
        text = archive.read("log.txt").decode()
    assert "***" in text
    assert text.startswith("first line\n")
    assert text.endswith("last line\n")
    for part in ("settings", spelling[-12:]):
        assert part not in text


def test_bundle_that_finds_no_room_leaves_no_half_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(zipfile.ZipFile, "writestr", no_room)
    file = tmp_path / "bundle.zip"
    with pytest.raises(StoreUnwritable, match=r"bundle\.zip cannot be written: No space left on device"):
        bundle.write_bundle(load(environ={}, cwd=tmp_path), [], set(), file)
    assert not file.exists()
