"""Rosters of any format: every input is a roster or is rejected by one of the roster's own errors."""

import io
import os
import struct
import zipfile
from functools import cache
from pathlib import Path
from unittest.mock import patch

from worker.insignia.criteria.loader import load_criteria
from worker.insignia.criteria.model import Criteria
from worker.insignia.errors import RosterUnreadable
from worker.insignia.roster import reader
from worker.insignia.roster.files import RosterFile
from worker.insignia.roster.upload_check import UploadCheck
from worker.insignia.roster.vocabulary import Vocabulary, build_vocabulary

_NAME = "roster.csv"
_SECTOR = 512
_WORKBOOK_PARTS = ("xl/worksheets/sheet1.xml", "xl/sharedStrings.xml", "xl/styles.xml", "xl/workbook.xml")
_END_OF_CHAIN, _FREE, _TABLE = 0xFFFFFFFE, 0xFFFFFFFF, 0xFFFFFFFD


@cache
def _known() -> tuple[Criteria, Vocabulary]:
    """Return the rules and their words; to collect these takes longer than all the rest of a small roster."""
    criteria = load_criteria()
    return criteria, build_vocabulary(criteria)


@cache
def _file() -> Path:
    """Return a file in memory, which is gone with this process however that ends."""
    return Path(f"/proc/self/fd/{os.memfd_create(_NAME)}")


def _read(data: bytes) -> None:
    criteria, vocabulary = _known()
    _file().write_bytes(data)
    try:
        with patch.object(reader, "build_vocabulary", lambda _: vocabulary):
            roster = reader.read_roster(RosterFile(_file(), _NAME), criteria, bad_row_limit=100)
    except RosterUnreadable as exc:
        _check_message(exc)
    else:
        assert roster.rows > 0


def _check_message(error: RosterUnreadable) -> None:
    assert "\n" not in str(error)
    assert error.message.en


def text(data: bytes) -> None:
    """A file of text, JSON or markup, as it is."""
    _read(data)


def upload_check(data: bytes) -> None:
    """An upload is checked with the same result, however it was divided."""
    size, data = (data[0] or 1) if data else 1, data[1:]
    whole = _checked([data])
    assert _checked([data[at : at + size] for at in range(0, len(data), size)]) == whole


def _checked(pieces: list[bytes]) -> str:
    check = UploadCheck(_NAME)
    try:
        for piece in pieces:
            check.feed(piece)
        return check.finish()
    except RosterUnreadable as exc:
        return str(exc)


def xlsx(data: bytes) -> None:
    """The first byte chooses the part of a workbook that the rest replaces; another one: the rest is the file."""
    part = data[0] if data else 255
    if part >= len(_WORKBOOK_PARTS):
        _read(b"PK\x03\x04" + data[1:] if data[1:3] != b"PK" else data[1:])
        return
    _read(_archive(workbook_parts() | {_WORKBOOK_PARTS[part]: data[1:]}))


def ods(data: bytes) -> None:
    """The bytes are the content of an OpenDocument spreadsheet."""
    _read(_archive({"mimetype": b"application/vnd.oasis.opendocument.spreadsheet", "content.xml": data}))


def xls(data: bytes) -> None:
    """The bytes are the workbook's records in a valid OLE container; after a first byte of 255, the whole file."""
    if data[:1] == b"\xff":
        _read(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + data[1:])
    else:
        _read(ole_file(data))


def _archive(parts: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in parts.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return file.getvalue()


@cache
def _sample_workbook() -> dict[str, bytes]:
    path = Path(__file__).parent / "sample.xlsx"
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def workbook_parts() -> dict[str, bytes]:
    """Return the parts of a small workbook."""
    return dict(_sample_workbook())


def ole_file(stream: bytes) -> bytes:
    """Return an OLE file with one stream, `Workbook`."""
    body = stream.ljust(max(4096, -(-len(stream) // _SECTOR) * _SECTOR), b"\0")
    count = len(body) // _SECTOR
    table = [_TABLE, _END_OF_CHAIN, *range(3, count + 2), _END_OF_CHAIN][: _SECTOR // 4]
    table += [_FREE] * (_SECTOR // 4 - len(table))
    head = struct.pack(
        "<8s16xHHHHH6xIIIIIIIII",
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        62,
        3,
        0xFFFE,
        9,
        6,
        0,
        1,
        1,
        0,
        4096,
        _END_OF_CHAIN,
        0,
        _END_OF_CHAIN,
        0,
    )
    lists = struct.pack("<109I", 0, *[_FREE] * 108)
    directory = _entry("Root Entry", 5, _END_OF_CHAIN, 0, 1) + _entry("Workbook", 2, 2, len(body), _FREE)
    return head + lists + struct.pack(f"<{len(table)}I", *table) + directory.ljust(_SECTOR, b"\0") + body


def _entry(name: str, kind: int, start: int, size: int, child: int) -> bytes:
    text = name.encode("utf-16-le")
    return struct.pack("<64sHBBIII36xIQ", text, len(text) + 2, kind, 1, _FREE, _FREE, child, start, size)
