"""How much the check of an XLS file does, whatever the file claims."""

import struct
from collections.abc import Iterator

import pytest

from tests.support.xls import BOF, EOF, SECTOR, ole_file, record, workbook
from worker.insignia.errors import RosterUnreadable
from worker.insignia.roster import biff_guard, workbook_guard
from worker.insignia.roster.biff_guard import check_biff
from worker.insignia.roster.table import RowMarks
from worker.insignia.roster.workbook import workbook_sheets

SHEET = record(BOF, bytes(16)) + record(EOF)
OPEN_SHEET = record(BOF, bytes(16))
NUMBER = record(0x0203, struct.pack("<HHHd", 3, 2, 0, 1.5))
BAD_CELL = record(0x0205, struct.pack("<HHHBB", 1, 4, 0, 7, 1))


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of records that are read, in a list of one."""
    counted = [0]
    original = biff_guard._records

    def records(stream: bytes, offset: int) -> Iterator[tuple[int, bytes]]:
        for each in original(stream, offset):
            counted[0] += 1
            yield each

    monkeypatch.setattr(biff_guard, "_records", records)
    return counted


def test_check_finds_the_cells_with_an_error_of_each_sheet() -> None:
    sheets = [SHEET, OPEN_SHEET + NUMBER + BAD_CELL + record(EOF), OPEN_SHEET + BAD_CELL]  # the last one is cut off
    found = check_biff("r.xls", ole_file(workbook(sheets)))
    errors = {sheet: facts.errors for sheet, facts in found.items()}
    assert errors == {"s0": frozenset(), "s1": frozenset({(2, 4)}), "s2": frozenset({(2, 4)})}
    assert not any(facts.marks for facts in found.values())


def test_check_finds_rows_that_are_hidden_struck_through_or_commented() -> None:
    plain, struck = (record(0x0031, struct.pack("<HHHHH", 200, flags, 0, 400, 0)) for flags in (0, 8))
    formats = [record(0x00E0, struct.pack("<H", font) + bytes(18)) for font in (0, 5)]
    begin = record(BOF, bytes(16)) + b"".join([plain * 4, struck, *formats])
    hidden = record(0x0208, struct.pack("<HHHHHHHH", 1, 0, 2, 255, 0, 0, 0x20, 0))
    column = record(0x007D, struct.pack("<HHHHHH", 2, 3, 0, 0, 1, 0))
    cells = [record(0x0203, struct.pack("<HHHd", row, 0, form, 1.5)) for row, form in ((1, 0), (2, 1), (3, 0))]
    blank = record(0x0201, struct.pack("<HHH", 5, 0, 1))
    note = record(0x001C, struct.pack("<HHHH", 3, 0, 0, 1))
    sheet = OPEN_SHEET + b"".join([column, hidden, *cells, blank, note]) + record(EOF)
    listed = struct.pack("<IHBB", len(begin) + 4 + 10 + 4, 0, 2, 0) + b"s0"
    marks = check_biff("r.xls", ole_file(begin + record(0x0085, listed) + record(EOF) + sheet))["s0"].marks
    assert marks == RowMarks(frozenset({2}), frozenset({3}), {4: ("?",)}, frozenset({2, 3}))


def _number(row: int, column: int) -> bytes:
    return record(0x0203, struct.pack("<HHHd", row, column, 0, 1.5))


@pytest.mark.parametrize(
    "sheets",
    [
        [OPEN_SHEET + _number(65_535, 99) + record(EOF)],
        [OPEN_SHEET + _number(65_535, 30) + record(EOF)] * 2,  # the library keeps all sheets
        [OPEN_SHEET + record(0x00BE, struct.pack("<HHHH", 60_000, 0, 0, 200)) + record(EOF)],
    ],
)
def test_few_cells_in_a_large_rectangle_are_rejected(sheets: list[bytes]) -> None:
    with pytest.raises(RosterUnreadable, match="reaches to row"):
        check_biff("r.xls", ole_file(workbook(sheets)))


def test_large_rectangle_with_many_cells_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workbook_guard, "_MOST_EMPTY", 1_000)
    several = record(0x00BD, struct.pack("<HH", 99, 0) + bytes(6 * 98) + struct.pack("<H", 97))
    blanks = record(0x00BE, struct.pack("<HH", 98, 0) + bytes(2 * 98) + struct.pack("<H", 97))
    numbers = b"".join(_number(row, column) for row in range(98) for column in range(11))
    sheet = OPEN_SHEET + numbers + several + blanks + record(EOF)
    assert list(check_biff("r.xls", ole_file(workbook([sheet])))) == ["s0"]


@pytest.mark.parametrize(
    "dimensions",
    [
        struct.pack("<IIHHH", 0, 0x47000015, 0, 31, 0),
        struct.pack("<IIHHH", 9, 3, 0, 31, 0),
        struct.pack("<IIHHH", 0, 3, 31, 31, 0),
        struct.pack("<HHHHH", 9, 3, 0, 31, 0),
        struct.pack("<HHH", 0, 3, 0),
    ],
)
def test_size_that_no_sheet_has_is_rejected(dimensions: bytes) -> None:
    """The library would reserve memory for it, and end the process (SIGABRT) if there is not that much."""
    sheet = OPEN_SHEET + record(0x0200, dimensions) + NUMBER + record(EOF)
    with pytest.raises(RosterUnreadable, match="damaged"):
        check_biff("r.xls", ole_file(workbook([sheet])))


@pytest.mark.parametrize(
    "dimensions", [bytes(14), struct.pack("<IIHHH", 0, 65_536, 0, 256, 0), struct.pack("<HHHHH", 0, 4, 0, 3, 0)]
)
def test_size_of_a_sheet_is_accepted(dimensions: bytes) -> None:
    sheet = OPEN_SHEET + record(0x0200, dimensions) + NUMBER + record(EOF)
    assert list(check_biff("r.xls", ole_file(workbook([sheet])))) == ["s0"]


def test_names_of_sheets_of_the_earlier_version_are_read_in_their_code_page() -> None:
    begin = record(BOF, b"\0\5" + bytes(14)) + record(0x0042, struct.pack("<H", 874))
    title = "วินัย".encode("cp874")
    listed = struct.pack("<IHB", len(begin) + 4 + 7 + len(title) + 4, 0, len(title)) + title
    stream = begin + record(0x0085, listed) + record(EOF) + OPEN_SHEET + BAD_CELL + record(EOF)
    assert check_biff("r.xls", ole_file(stream))["วินัย"].errors == frozenset({(2, 4)})


def test_sheet_with_a_chart_inside_is_read_to_its_own_end() -> None:
    chart = record(BOF, bytes(16)) + record(EOF)
    assert check_biff("r.xls", ole_file(workbook([OPEN_SHEET + chart + BAD_CELL + record(EOF), SHEET])))["s0"].errors


@pytest.mark.parametrize("count", [100, 1600])
def test_check_of_many_sheets_reads_each_record_once(steps: list[int], count: int) -> None:
    assert len(check_biff("r.xls", ole_file(workbook([SHEET] * count)))) == count
    assert steps[0] <= 3 * count + 2


@pytest.mark.parametrize(
    ("sheets", "offsets"),
    [
        ([OPEN_SHEET] * 1600, None),
        ([OPEN_SHEET + NUMBER] * 800 + [record(EOF) * 800], None),
        ([OPEN_SHEET + NUMBER * 4 + record(EOF)] * 400, [0] * 400),
        ([OPEN_SHEET + NUMBER * 800 + record(EOF), *[SHEET] * 399], [20 + 18 * number for number in range(400)]),
    ],
    ids=["no ends", "all ends at the end", "all in one place", "each in the middle of the first"],
)
def test_sheets_that_share_records_are_rejected_after_one_reading(
    steps: list[int], sheets: list[bytes], offsets: list[int] | None
) -> None:
    stream = workbook(sheets, offsets)
    sheets_and_records = len(sheets) + len(stream) // 4
    with pytest.raises(RosterUnreadable):
        workbook_sheets("r.xls", ole_file(stream))
    assert steps[0] <= sheets_and_records


@pytest.mark.parametrize("entries", [0xFFFFFFFF, 0])
def test_sector_list_that_leads_to_itself_is_read_to_an_end(entries: int) -> None:
    data = ole_file(workbook([SHEET]))
    number = len(data) // SECTOR - 1  # the sector that is appended
    loop = struct.pack(f"<{SECTOR // 4}I", *[entries] * (SECTOR // 4 - 1), number)
    with pytest.raises(RosterUnreadable):
        check_biff("r.xls", ole_file(b"", next_list=number)[: len(data)].ljust(len(data), b"\0") + loop)
