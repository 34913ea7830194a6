"""Records what a process writes and syncs below a folder, and works out what a power cut would have left of it.

`trace.c` records, `Disk` replays: a write, a new length, a new or removed name reaches the disk for certain with the
next sync of its file or folder, and not before. Until then the disk may have it or not. Folders count as synced, and
files that are only mapped into memory (`-shm`) are left out: SQLite builds them again.
"""

import os
import random
import struct
import subprocess
import sysconfig
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tests.support.needs import needed_program

_SOURCE = Path(__file__).with_name("trace.c")
_HEAD = struct.Struct("=c3xIqqq")
_SECTOR = 512
_NOT_ON_DISK = "-shm"


def built_recorder(folder: Path) -> Path:
    """Compile the library that records, into the folder."""
    compiler = needed_program("cc", "apt install gcc libc6-dev")
    library = folder / f"lost-syncs-{sysconfig.get_platform()}.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, _SOURCE, "-ldl"], check=True, timeout=120)
    return library


def recording(library: Path, folder: Path, trace: Path) -> dict[str, str]:
    """Return the environment in which a program is recorded."""
    return {"LD_PRELOAD": str(library), "LOST_SYNCS_FOLDER": str(folder), "LOST_SYNCS_TRACE": str(trace)}


class Record(NamedTuple):
    """One thing that the program did. `kind` is that of trace.c."""

    kind: str
    path: str
    inode: int
    """0 for a folder."""
    offset: int
    """Of a write; the new length of a truncation; the number of a sync, which its end repeats."""
    data: bytes


def records_of(trace: Path) -> list[Record]:
    """Return the records in order; one that was cut off by a kill is left out."""
    return list(_records(trace.read_bytes()))


def _records(data: bytes) -> Iterator[Record]:
    at = 0
    while at + _HEAD.size <= len(data):
        kind, path_length, inode, offset, length = _HEAD.unpack_from(data, at)
        begin = at + _HEAD.size + path_length
        at = begin + length
        if at > len(data):
            return
        yield Record(
            kind.decode(), data[begin - path_length : begin].decode(), inode, offset, data[begin : begin + length]
        )


class Change(NamedTuple):
    """A write or a truncation of a file, or, without `path`, a new or removed name."""

    number: int
    record: Record


@dataclass(slots=True)
class _File:
    synced: bytearray = field(default_factory=bytearray)
    changes: list[Change] = field(default_factory=list)
    """Since the last sync."""

    def sync(self, before: int) -> None:
        for change in self.changes:
            if change.number < before:
                _apply(self.synced, change.record)
        self.changes = [change for change in self.changes if change.number >= before]


class Disk:
    """What lies on the disk while the records are replayed one by one."""

    def __init__(self, *, ignores_syncs_of: str | None = None) -> None:
        """`ignores_syncs_of`: the end of the names of files whose syncs the disk confirms and does not carry out."""
        self._ignored = ignores_syncs_of
        self._files: dict[int, _File] = {}
        """By inode, those that have it now: a file whose name is removed lives on until that is synced."""
        self._names: dict[str, _File] = {}
        self._synced_names: dict[str, _File] = {}
        self._new_names: list[tuple[Change, _File | None]] = []
        """With the file that the name is given to, if it is a new file."""
        self._begun: dict[tuple[int, int], tuple[int, _File | None]] = {}
        self._number = 0

    def replay(self, record: Record) -> None:
        """Do what the program did."""
        self._number += 1
        match record.kind:
            case "C" | "U" | "R" | "L":
                created = None
                if record.kind == "C":
                    created = self._files[record.inode] = _File()
                self._new_names.append((Change(self._number, record), created))
                _rename(self._names, record, created)
            case "W" | "T":
                self._files[record.inode].changes.append(Change(self._number, record))
            case "B":
                self._begun[record.inode, record.offset] = self._number, self._files.get(record.inode)
            case "E":
                self._sync(record, *self._begun.pop((record.inode, record.offset)))

    def _sync(self, record: Record, before: int, file: _File | None) -> None:
        if self._ignored is not None and record.path.endswith(self._ignored):
            return
        if file is not None:
            file.sync(before)
            return
        waiting = []
        for change, created in self._new_names:
            if change.number < before and _folder_of(change.record) == record.path:
                _rename(self._synced_names, change.record, created)
            else:
                waiting.append((change, created))
        self._new_names = waiting

    def after_power_cut(self, chance: random.Random | None = None) -> Mapping[str, bytes]:
        """Return the files by path. Without `chance` nothing that was not synced is there, else some of it is: names
        in their order, as file systems with a journal keep them, writes by sectors, in any order."""
        names = dict(self._synced_names)
        if chance is not None:
            for change, created in self._new_names[: chance.randint(0, len(self._new_names))]:
                _rename(names, change.record, created)
        return {path: self._content(file, chance) for path, file in names.items() if not path.endswith(_NOT_ON_DISK)}

    @staticmethod
    def _content(file: _File, chance: random.Random | None) -> bytes:
        content = bytearray(file.synced)
        if chance is not None:
            for change in file.changes:
                for part in _sectors(change.record):
                    if chance.random() < 0.5:
                        _apply(content, part)
        return bytes(content)


def _sectors(record: Record) -> Iterator[Record]:
    """Yield the parts of a write that a disk writes as a whole; a truncation is one."""
    if record.kind == "T":
        yield record
        return
    at = 0
    while at < len(record.data):
        end = min(len(record.data), at + _SECTOR - (record.offset + at) % _SECTOR)
        yield record._replace(offset=record.offset + at, data=record.data[at:end])
        at = end


def _apply(content: bytearray, record: Record) -> None:
    if record.kind == "T":
        del content[record.offset :]
        content.extend(bytes(record.offset - len(content)))
        return
    content.extend(bytes(max(0, record.offset - len(content))))
    content[record.offset : record.offset + len(record.data)] = record.data


def _folder_of(record: Record) -> str:
    """Return the folder whose sync makes a name sure."""
    return str(Path(record.data.decode() or record.path).parent)


def _rename(names: dict[str, _File], record: Record, created: _File | None) -> None:
    match record.kind:
        case "C" if created is not None:
            names[record.path] = created
        case "U":
            names.pop(record.path, None)
        case "L" if record.path in names:
            names[record.data.decode()] = names[record.path]
        case "R":  # of a file or of a folder
            target = record.data.decode()
            for path in [path for path in names if path == record.path or path.startswith(f"{record.path}/")]:
                names[target + path[len(record.path) :]] = names.pop(path)


def note(trace: Path, text: str) -> None:
    """Record that others know something by now, such as an answer of the recorded program."""
    data = text.encode()
    with trace.open("ab", buffering=0) as file:
        file.write(_HEAD.pack(b"O", 0, 0, 0, len(data)) + data)


def lay_out(files: Mapping[str, bytes], origin: Path, folder: Path) -> None:
    """Write the files of `origin` into a new folder, as a machine finds them that starts again."""
    folder.mkdir(parents=True)
    for path, content in files.items():
        target = folder / Path(path).relative_to(os.path.realpath(origin))
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        target.chmod(0o600)
