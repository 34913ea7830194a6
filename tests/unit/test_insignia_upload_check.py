"""Checks of a roster while it is uploaded: exactly what the reader would reject as a whole is rejected."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.insignia.errors import RosterUnreadable
from worker.insignia.roster.files import open_file
from worker.insignia.roster.upload_check import UploadCheck

THAI = "person_id,ชื่อ\n1,สมชาย\n2,สมหญิง\n"


def arrive(data: bytes, step: int = 1000) -> str:
    arrival = UploadCheck("r.csv")
    for start in range(0, len(data), step):
        arrival.feed(data[start : start + step])
    return arrival.finish()


def reported(data: bytes, step: int) -> str | None:
    try:
        arrive(data, step)
    except RosterUnreadable as exc:
        return str(exc)
    return None


@pytest.mark.parametrize("step", [1, 2, 3, 7, 100_000])
@pytest.mark.parametrize(
    ("data", "suffix"),
    [
        (THAI.encode(), ".csv"),
        (THAI.encode("utf-8-sig"), ".csv"),
        (THAI.encode("cp874"), ".csv"),
        (THAI.encode("utf-16"), ".csv"),
        (THAI.encode("utf-16-be"), ".csv"),
        (THAI.replace(",", "\t").encode(), ".csv"),
        (b"a;b\r\n1;2\r\n", ".csv"),
        (('[{"person_id": "1", "ชื่อ": "สมชาย"}]').encode(), ".json"),
        (b'\xef\xbb\xbf\n {"officers": []}', ".json"),
        (b"a\vb,c\n" + THAI.encode(), ".csv"),
        (b"PK\x03\x04" + bytes(range(256)) + b"PK\x05\x06" + bytes(18), ".xlsx"),
        (b"\xd0\xcf\x11\xe0" + bytes(range(256)), ".xls"),
        (b"<!DOCTYPE html><p>x", ".html"),
        (b"MIME-Version: 1.0\r\n\r\n", ".html"),
        (b"a,b\n1,2\n" + "ลง,ยศ\n".encode("cp874"), ".csv"),
    ],
)
def test_upload_check_accepts_what_the_reader_accepts(data: bytes, suffix: str, step: int) -> None:
    assert arrive(data, step) == suffix


@pytest.mark.parametrize("step", [1, 3, 70_000])
@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf \n\n", "is empty"),
        (b"PK\x03\x04" + bytes(range(256)), "damaged workbook"),
        (b"\xd0\xcf\x11\xe0" + bytes(200) + "EncryptedPackage".encode("utf-16-le"), "protected by a password"),
        (b"%PDF-1.7\nxx", "is a PDF"),
        (b"\x1f\x8b" + os.urandom(100), "compressed"),
        (b"\x89PNG\r\n\x1a\n" + os.urandom(100), "is a picture"),
        (b"\xff\xd8\xff\xe0" + os.urandom(100), "is a picture"),
        (b"\x7fELF\x02\x01\x01\0" + os.urandom(100), "is a program"),
        (b"MZ\x90\0\x03\0\0\0" + os.urandom(100), "is binary"),
        (b"#!/bin/sh\nrm -rf /\n", "is a script"),
        (b"{\\rtf1 x}", "RTF"),
        (b"a,b\n\x01\x02\x03\x04\x05\x06", "is binary"),
        (THAI.encode() + b"\xff,x\n", "line 4 is damaged"),
        (b"a,b\n1,2\n\xff,x\n", "line 3 is neither UTF-8 nor Thai"),
        (b"a,b\n1,2\n" + "สมชาย\n".encode("cp874") + b"\xff\n", "line 4 is neither UTF-8 nor Thai"),
        ("a,b\nสมชาย,1\n".encode("cp874") + "สมหญิง,2\n".encode(), "line 3 is UTF-8 but other lines"),
    ],
)
def test_upload_check_rejects_what_the_reader_rejects(data: bytes, reason: str, step: int) -> None:
    with pytest.raises(RosterUnreadable, match=rf"^r\.csv.*{reason}"):
        arrive(data, step)


pieces = st.sampled_from(
    [b"a,b\n", "ชื่อ,สกุล\n".encode(), "ชื่อ\n".encode("cp874"), b"\xff", b"\xe0\xb8", "𝒳".encode(), b"\x0b", b"\n"]
)


@settings(max_examples=300)
@given(st.lists(pieces, max_size=8), st.integers(1, 9))
def test_upload_check_agrees_with_the_reader_wherever_pieces_are_split(
    tmp_path_factory: pytest.TempPathFactory, parts: list[bytes], step: int
) -> None:
    data = b"a,b\n" + b"".join(parts)
    path = tmp_path_factory.getbasetemp() / "r.csv"
    Path(path).write_bytes(data)
    try:
        open_file(path, "officers", len)
        expected = None
    except RosterUnreadable as exc:
        expected = str(exc)
    assert reported(data, step) == expected
