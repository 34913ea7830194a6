"""A roster while it arrives: what the reader would refuse as a whole is refused at once, and nothing else."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.insignia.arrival import Arrival
from worker.insignia.faults import RosterUnreadable
from worker.insignia.table import read_table

THAI = "person_id,ชื่อ\n1,สมชาย\n2,สมหญิง\n"


def arrive(data: bytes, step: int = 1000) -> Arrival:
    arrival = Arrival("r.csv")
    for start in range(0, len(data), step):
        arrival.feed(data[start : start + step])
    arrival.finish()
    return arrival


def told(data: bytes, step: int) -> str | None:
    try:
        arrive(data, step)
    except RosterUnreadable as exc:
        return str(exc)
    return None


@pytest.mark.parametrize("step", [1, 2, 3, 7, 100_000])
@pytest.mark.parametrize(
    ("data", "is_json"),
    [
        (THAI.encode(), False),
        (THAI.encode("utf-8-sig"), False),
        (THAI.encode("cp874"), False),
        (THAI.replace(",", "\t").encode(), False),
        (b"a;b\r\n1;2\r\n", False),
        (('[{"person_id": "1", "ชื่อ": "สมชาย"}]').encode(), True),
        (b'\xef\xbb\xbf\n {"officers": []}', True),
        (b"a\vb,c\n" + THAI.encode(), False),
    ],
)
def test_what_the_reader_takes_arrives(data: bytes, is_json: bool, step: int) -> None:
    assert arrive(data, step).is_json is is_json


@pytest.mark.parametrize("step", [1, 3, 70_000])
@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf \n\n", "is empty"),
        (b"PK\x03\x04" + os.urandom(100), "workbook"),
        (b"\xd0\xcf\x11\xe0" + os.urandom(100), "old workbook"),
        (b"%PDF-1.7\nxx", "is a PDF"),
        (b"\x1f\x8b" + os.urandom(100), "compressed"),
        (b"\x89PNG\r\n\x1a\n" + os.urandom(100), "is a picture"),
        (b"\xff\xd8\xff\xe0" + os.urandom(100), "is a picture"),
        (b"\x7fELF\x02\x01\x01\0" + os.urandom(100), "is a program"),
        (b"MZ\x90\0\x03\0\0\0" + os.urandom(100), "is binary"),
        (b"#!/bin/sh\nrm -rf /\n", "is a script"),
        (b"{\\rtf1 x}", "RTF"),
        (b"<!DOCTYPE html><p>x", "web page"),
        (THAI.encode("utf-16"), "UTF-16"),
        (THAI.encode("utf-16-le"), "binary or UTF-16"),
        (b"a,b\n1,2\n" * 30_000 + b"\0", "binary"),
        (b"a,b\n\x01\x02\x03\x04\x05\x06", "is binary"),
        (THAI.encode() + b"\xff,x\n", "line 4 is damaged"),
        (b"a,b\n1,2\n\xff,x\n", "line 3 is neither UTF-8 nor Thai"),
        (b"a,b\n1,2\n" + "สมชาย\n".encode("cp874") + b"\xff\n", "line 4 is neither UTF-8 nor Thai"),
    ],
)
def test_what_no_reader_could_take_is_refused(data: bytes, reason: str, step: int) -> None:
    with pytest.raises(RosterUnreadable, match=rf"^r\.csv.*{reason}"):
        arrive(data, step)


pieces = st.sampled_from(
    [b"a,b\n", "ชื่อ,สกุล\n".encode(), "ชื่อ\n".encode("cp874"), b"\xff", b"\xe0\xb8", "𝒳".encode(), b"\x0b", b"\n"]
)


@settings(max_examples=300)
@given(st.lists(pieces, max_size=8), st.integers(1, 9))
def test_it_decides_as_the_reader_does_however_the_pieces_fall(
    tmp_path_factory: pytest.TempPathFactory, parts: list[bytes], step: int
) -> None:
    data = b"a,b\n" + b"".join(parts)
    path = tmp_path_factory.getbasetemp() / "r.csv"
    Path(path).write_bytes(data)
    try:
        read_table(path, "officers")
        expected = None
    except RosterUnreadable as exc:
        expected = str(exc)
    controls = data.count(b"\x0b") > 0
    assert told(data, step) == expected or controls
