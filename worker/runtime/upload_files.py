"""The files of an upload on disk: written, named, listed, removed. Every function blocks and runs in a thread."""

import contextlib
import hashlib
import os
import re
import shutil
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, BinaryIO
from urllib.parse import unquote

import orjson

from config.presence import exists
from worker.disk.private_file import open_new
from worker.disk.sync import sync
from worker.handler import FileCheck

_MANIFEST = ".upload.json"
_LONGEST_SHOWN = 120
"""Characters of a name that are displayed."""
_LONGEST_STORED = 180
"""Bytes of a name on disk, without field and suffix; file systems allow 255 in all."""


@dataclass(frozen=True, slots=True)
class Upload:
    """An uploaded file."""

    field: str
    """The payload field that holds its path."""
    name: str
    """The name its owner gave it; for display only."""
    stored: str
    """Its name on disk."""
    size: int
    sha256: str


class UploadWriter:
    """Writes one file to disk. Its methods block and run in a thread."""

    def __init__(self, folder: Path, field: str, name: str, check: FileCheck | None) -> None:
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        self._folder, self._field, self._name = folder, field, name
        self._draft = folder / f".{field}"
        self._file: BinaryIO = os.fdopen(open_new(self._draft), "wb")
        self._digest = hashlib.sha256()
        self._check = check

    def write(self, piece: bytes) -> None:
        if self._check is not None:
            self._check.feed(piece)
        self._digest.update(piece)
        self._file.write(piece)

    def finish(self) -> Upload:
        """Put the file on disk under its name; the kind's check may decide the suffix."""
        suffix = None if self._check is None else self._check.finish()
        self._file.flush()
        os.fsync(self._file.fileno())
        size = self._file.tell()
        stored = self._free_name(suffix)
        self._draft.rename(self._folder / stored)
        return Upload(self._field, self._name, stored, size, self._digest.hexdigest())

    def _free_name(self, suffix: str | None) -> str:
        stored = stored_name(self._field, self._name, suffix)
        # Two pairs of field and name may read the same once they are joined by a hyphen.
        while exists(self._folder / stored):
            stored = f"_{stored}"
        return stored

    def close(self) -> None:
        with contextlib.suppress(OSError):  # the write that failed has already reported it
            self._file.close()


def display_name(name: str) -> str:
    """Return the last part of the name that a browser sends, without characters that could mislead a reader."""
    last = _unquoted(re.split(r"[/\\]", name)[-1].encode("utf-8", "replace").decode())
    shown = "".join(char for char in last if char.isprintable()).strip()
    suffix = _suffix(shown)
    return shown.removesuffix(suffix)[: _LONGEST_SHOWN - len(suffix)] + suffix or "file"


def stored_name(field: str, name: str, suffix: str | None = None) -> str:
    """Return a name that is safe on disk; without `suffix` the file keeps its own.

    Letters, marks and digits of any script are kept, and so are `-`, `_`, `.`, `@` and blanks.
    """
    name = unicodedata.normalize("NFC", name)
    own = _suffix(name)
    stem = name.removesuffix(own)
    safe = "".join(char if unicodedata.category(char)[0] in "LMN" or char in "-_. @" else "_" for char in stem)
    safe = safe.encode()[:_LONGEST_STORED].decode(errors="ignore").strip().lstrip(".")
    return f"{field}-{safe or '_'}{own if suffix is None else suffix}"


def _suffix(name: str) -> str:
    """Return `.pdf` and the like; empty where what follows the last point is not a short ASCII word."""
    suffix = PurePath(name).suffix
    return suffix if re.fullmatch(r"\.[A-Za-z0-9]{1,15}", suffix) else ""


def _unquoted(name: str) -> str:
    """Browsers send letters as they are, some libraries as percent escapes."""
    try:
        plain = unquote(name, errors="strict")
    except UnicodeDecodeError:
        return name
    return name if plain.isascii() or "/" in plain or "\\" in plain else plain


def keep_folder(folder: Path, target: Path, manifest: bytes) -> None:
    """Write the manifest into the folder and move it to `target`, below its parent; both survive a power cut."""
    descriptor = open_new(folder / _MANIFEST)
    with os.fdopen(descriptor, "wb") as file:
        file.write(manifest)
        file.flush()
        os.fsync(file.fileno())
    sync(folder)
    parents = [target.parents[depth] for depth in range(len(target.relative_to(folder.parent).parts) - 1)]
    for parent in reversed(parents):
        parent.mkdir(mode=0o700, exist_ok=True)
    folder.rename(target)
    for parent in (*parents, folder.parent, folder.parent.parent):  # each of them may be new
        sync(parent)


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """Return what keep_folder wrote; None if there is nothing readable."""
    try:
        manifest: dict[str, Any] = orjson.loads((folder / _MANIFEST).read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return None
    return manifest


def open_upload(folder: Path, name: str) -> int | None:
    """Return a descriptor of the file, which the caller closes; None if it cannot be opened or is a link."""
    try:
        return os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return None


def folder_names(root: Path) -> list[str]:
    """Return the names of the folders in `root`, without links; none if it does not exist."""
    try:
        return [entry.name for entry in os.scandir(root) if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []


def remove_folders(folders: Sequence[Path]) -> int:
    """Remove folders and return the bytes that this freed."""
    freed = 0
    for folder in folders:
        size = size_of(folder)
        shutil.rmtree(folder, ignore_errors=True)
        freed += size
    return freed


def size_of(folder: Path) -> int:
    """Return the bytes of all files below a folder, without manifests."""
    size = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                size += 0 if name == _MANIFEST else (Path(parent) / name).lstat().st_size
    return size
