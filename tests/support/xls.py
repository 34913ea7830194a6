"""Small XLS files, sound or not, from the records of their workbook stream."""

import struct
from collections.abc import Sequence

SECTOR = 512
BOF, EOF, BOUNDSHEET = 0x0809, 0x000A, 0x0085
_FREE, _END, _TABLE = 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFD


def record(kind: int, body: bytes = b"") -> bytes:
    return struct.pack("<HH", kind, len(body)) + body


def workbook(sheets: Sequence[bytes], offsets: Sequence[int] | None = None) -> bytes:
    """Return a workbook stream with these sheets; `offsets` claims other places for them, from the first sheet on."""
    names = [f"s{number}".encode() for number in range(len(sheets))]
    begin = record(BOF, bytes(16))
    size = len(begin) + sum(4 + 8 + len(name) for name in names) + len(record(EOF))
    places, place = [], 0
    for sheet in sheets:
        places.append(place)
        place += len(sheet)
    listed = [
        record(BOUNDSHEET, struct.pack("<IHBB", size + offset, 0, len(name), 0) + name)
        for offset, name in zip(offsets or places, names, strict=True)
    ]
    return b"".join([begin, *listed, record(EOF), *sheets])


def ole_file(stream: bytes, *, next_list: int = _END) -> bytes:
    """Return an OLE file with one stream, the workbook; `next_list` is the first further sector of its sector list."""
    stream = stream.ljust(max(4096, -(-len(stream) // SECTOR) * SECTOR), b"\0")
    count = len(stream) // SECTOR
    tables = -(-(count + 1) // (SECTOR // 4 - 1))
    assert tables <= 109
    first = tables + 1
    following = [_TABLE] * tables + [_END] + [first + number + 1 for number in range(count - 1)] + [_END]
    table = struct.pack(f"<{len(following)}I", *following).ljust(tables * SECTOR, b"\xff")
    header = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16) + struct.pack("<HHHHH", 0x3E, 3, 0xFFFE, 9, 6) + bytes(10)
    header += struct.pack("<IIIIIIII", tables, tables, 0, 4096, _END, 0, next_list, 0)
    header += struct.pack("<109I", *range(tables), *[_FREE] * (109 - tables))
    return (
        header
        + table
        + _entry("Root Entry", 5, _END, 0)
        + _entry("Workbook", 2, first, len(stream))
        + bytes(256)
        + stream
    )


def _entry(name: str, kind: int, start: int, size: int) -> bytes:
    title = name.encode("utf-16-le") + b"\0\0"
    links = struct.pack("<III", _FREE, _FREE, 1 if kind == 5 else _FREE)
    head = title.ljust(64, b"\0") + struct.pack("<HBB", len(title), kind, 1) + links
    return head.ljust(116, b"\0") + struct.pack("<IQ", start, size)
