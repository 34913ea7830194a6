"""The index of decision records lists every record."""

import re
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.repository import ROOT

ADR = ROOT / "docs" / "adr"
INDEX = ADR / "README.md"
RECORDS = sorted(ADR.glob("[0-9]*.md"))

_TITLE = re.compile(r"# (?P<number>\d+)\. (?P<title>.+)")
_ROW = re.compile(
    r"^\| (?P<number>\d+) \| \[(?P<title>[^\]]+)\]\((?P<file>[^)]+)\) \| (?P<status>[^|]+) \|$", re.MULTILINE
)
_STATUS = re.compile(r"accepted|(?:superseded|accepted, amended) by \[(?P<number>\d+)\]\((?P<file>[^)]+)\)")


class Entry(NamedTuple):
    """A decision record, as the index lists it or as its file states it."""

    number: int
    title: str
    file: str


def test_index_lists_every_record_with_its_title_in_order() -> None:
    listed = [Entry(int(row["number"]), row["title"], row["file"]) for row in _rows()]

    assert listed == [_entry(page) for page in RECORDS]


@pytest.mark.parametrize("page", RECORDS, ids=lambda page: page.name[:4])
def test_record_file_name_is_its_number_and_title(page: Path) -> None:
    number, title, file = _entry(page)
    words = re.sub(r"[^a-z0-9]+", "-", re.sub(r"['\"]", "", title.lower())).strip("-")

    assert file == f"{number:04d}-{words}.md"


def test_index_status_is_accepted_or_names_a_listed_record() -> None:
    files = {int(row["number"]): row["file"] for row in _rows()}

    for row in _rows():
        status = _STATUS.fullmatch(row["status"])
        assert status is not None, f"record {row['number']}: unknown status {row['status']!r}"
        if status["number"] is not None:
            assert files.get(int(status["number"])) == status["file"], f"record {row['number']}: {row['status']!r}"


def _rows() -> list[re.Match[str]]:
    return list(_ROW.finditer(INDEX.read_text(encoding="utf-8")))


def _entry(page: Path) -> Entry:
    """Return the number and title that the first line of a record states."""
    first = page.read_text(encoding="utf-8").split("\n", 1)[0]
    found = _TITLE.fullmatch(first)
    assert found is not None, f"{page.name}: the first line must be '# NUMBER. TITLE', not {first!r}"
    return Entry(int(found["number"]), found["title"], page.name)
