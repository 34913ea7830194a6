"""Workbooks and markup: contents, limits, and files made to do harm."""

import io
import re
import zipfile
from contextlib import suppress
from datetime import date, timedelta
from pathlib import Path
from time import process_time

import pytest
import xlsxwriter
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.xls import BOF, EOF, ole_file, record
from worker.insignia.criteria.loader import load_criteria
from worker.insignia.errors import RosterUnreadable
from worker.insignia.roster import biff_guard
from worker.insignia.roster.files import open_file
from worker.insignia.roster.reader import read_roster
from worker.insignia.roster.sheet_marks import MarkFinder
from worker.insignia.roster.table import Sheet

FOLDER = Path(__file__).parent.parent / "data/rosters"
SHEET = "xl/worksheets/sheet1.xml"
CONTENT = (
    '<office:document-content xmlns:office="o" xmlns:table="t" xmlns:text="x" xmlns:style="s" xmlns:calcext="c">'
    '<style:style style:name="ta2" style:family="table"><style:table-properties table:display="false"/></style:style>'
    '<table:table table:name="a" table:style-name="ta1">{rows}</table:table>'
    '<table:table table:name="hidden" table:style-name="ta2"/></office:document-content>'
)


def sheets(path: Path, data: bytes) -> list[Sheet]:
    path.write_bytes(data)
    return open_file(path, "officers", len)


def refusal(path: Path, data: bytes) -> str:
    with pytest.raises(RosterUnreadable) as caught:
        sheets(path, data)
    assert caught.value.message.th
    return str(caught.value)


def workbook(fill: object) -> bytes:
    out = io.BytesIO()
    with xlsxwriter.Workbook(out) as book:
        fill(book)  # type: ignore[operator] # a function of the book
    return out.getvalue()


def changed(data: bytes, part: str, change: object) -> bytes:
    """Return a workbook in which the text of one part is changed."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            text = old.read(name)
            new.writestr(name, change(text) if name == part else text)  # type: ignore[operator] # a function of bytes
    return out.getvalue()


def cells(found: list[Sheet]) -> list[list[list[str]]]:
    return [[list(row.cells) for row in sheet.rows()] for sheet in found if not sheet.is_hidden]


def ods(rows: str) -> bytes:
    return ods_of(CONTENT.format(rows=rows))


def ods_of(content: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("content.xml", content)
    return out.getvalue()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "r.dat"


def test_typed_cells_become_text(path: Path) -> None:
    def fill(book: xlsxwriter.Workbook) -> None:
        sheet = book.add_worksheet("ก")
        sheet.write_number(2, 1, 9256800000071)
        sheet.write_number(2, 2, 1.5)
        sheet.write_boolean(2, 3, True)
        sheet.write_datetime(2, 4, date(2025, 7, 28), book.add_format({"num_format": "d/m/yyyy"}))
        sheet.write_formula(2, 5, "=1+1", None, 2)

    [sheet] = sheets(path, workbook(fill))
    [row] = sheet.rows()
    assert (sheet.name, row.number) == ("ก", 3)
    assert row.cells == ["", "9256800000071", "1.5", "true", "2025-07-28", "2"]


def test_formula_without_a_value_is_not_an_empty_cell(path: Path) -> None:
    def fill(book: xlsxwriter.Workbook) -> None:
        sheet = book.add_worksheet()
        sheet.write_string(0, 0, "a")
        sheet.write_formula(0, 1, "=1/0", None, "#DIV/0!")
        sheet.write_formula(0, 2, "=A1", None, 7)

    data = workbook(fill)
    assert cells(sheets(path, data)) == [[["a", "#REF!", "7"]]]
    never = changed(data, "xl/worksheets/sheet1.xml", lambda text: text.replace(b"<v>7</v>", b"<v></v>"))
    assert cells(sheets(path, never)) == [[["a", "#REF!", "#REF!"]]]


FORMS = {
    "single quotes": lambda text: text.replace(b'"', b"'"),
    "spaces": lambda text: text.replace(b'="', b' = "'),
    "lines between tags": lambda text: text.replace(b"><", b">\n<"),
    "spaces in the ends of tags": lambda text: re.sub(rb"(</\w+)>", rb"\1 >", text),
    "another order": lambda text: re.sub(rb'<c (r="\w+")((?: \w="\w+")*)', rb"<c\2 \1", text),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_cell_without_a_value_is_found_however_its_tags_are_written(form: object, path: Path) -> None:
    def fill(book: xlsxwriter.Workbook) -> None:
        sheet = book.add_worksheet()
        sheet.write_string(0, 0, "a")
        sheet.write_formula(0, 1, "=1/0", None, "#DIV/0!")
        sheet.write_formula(0, 2, "=A1", None, "")
        sheet.write_formula(0, 3, "=A1", None, 7)

    data = changed(workbook(fill), SHEET, lambda text: text.replace(b' t="str"', b""))
    assert cells(sheets(path, changed(data, SHEET, form))) == [[["a", "#REF!", "#REF!", "7"]]]


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_formula_that_shares_another_one_and_lacks_a_value_is_found(form: object, path: Path) -> None:
    shared = b'<c r="B1"><f t="shared" si="0"/></c></row>'
    data = changed(
        workbook(lambda book: book.add_worksheet().write(0, 0, 1)), SHEET, lambda text: text.replace(b"</row>", shared)
    )
    assert cells(sheets(path, changed(data, SHEET, form))) == [[["1", "#REF!"]]]


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("cell", [(1_048_575, 16_383), (1_048_575, 60)])
def test_corner_of_a_sheet_is_measured_however_its_tags_are_written(
    form: object, cell: tuple[int, int], path: Path
) -> None:
    data = workbook(lambda book: book.add_worksheet().write(*cell, 1))
    assert "reaches to row 1048576" in refusal(path, changed(data, SHEET, form))


def test_openings_without_an_end_are_searched_at_once(path: Path) -> None:
    began = process_time()
    for word in (b"<c ", b'<c r = "A1" t', b"<f ", b"<v>", b"<row r "):
        text = b"<sheetData>" + word * 300_000 + b't="e"</f></c>'
        with suppress(RosterUnreadable):
            sheets(path, changed(workbook(lambda book: book.add_worksheet()), SHEET, lambda _, text=text: text))
    assert process_time() - began < 5


@pytest.mark.parametrize("word", ['t="s" ', 't="e" ', 't="str ', 'r="A1" ', 's="1" ', 'hidden="1 ', 'val="0 '])
@pytest.mark.parametrize("end", ["'>", "'><f>1</f><v>1</v></c>", "'><strike val="])
def test_opening_of_many_attributes_is_searched_at_once(word: str, end: str, path: Path) -> None:
    text = f"<c r='Z9' x='{word * 20_000}{end}<f/><v/>".encode()
    began = process_time()
    MarkFinder(None, frozenset({1})).look(text)
    with suppress(RosterUnreadable):
        sheets(path, changed(workbook(lambda book: book.add_worksheet()), SHEET, lambda _: text))
    assert process_time() - began < 2


def test_cells_below_a_merged_cell_get_its_value(path: Path) -> None:
    def fill(book: xlsxwriter.Workbook) -> None:
        sheet = book.add_worksheet()
        sheet.merge_range(0, 0, 2, 0, "ข้าราชการ")
        for row in range(4):
            sheet.write_string(row, 1, str(row))

    [found] = cells(sheets(path, workbook(fill)))
    assert [row[0] for row in found] == ["ข้าราชการ", "ข้าราชการ", "ข้าราชการ", ""]


def test_hidden_sheets_are_marked(path: Path) -> None:
    def fill(book: xlsxwriter.Workbook) -> None:
        book.add_worksheet("shown").write_string(0, 0, "a")
        book.add_worksheet("hidden").hide()

    assert [(sheet.name, sheet.is_hidden) for sheet in sheets(path, workbook(fill))] == [
        ("shown", False),
        ("hidden", True),
    ]


def test_sheet_that_reaches_too_far_is_rejected(path: Path) -> None:
    data = workbook(lambda book: book.add_worksheet("a").write_string(0, 0, "x"))
    far = changed(data, "xl/worksheets/sheet1.xml", lambda text: text.replace(b'r="A1"', b'r="XFD1048576"'))
    assert "reaches to row 1048576 and column 16384" in refusal(path, far)


@pytest.mark.parametrize("row", [b'<row r="1">', b"<row>"])
def test_cell_far_from_its_row_is_found(row: bytes, path: Path) -> None:
    data = workbook(lambda book: book.add_worksheet("a").write_string(0, 0, "x"))
    far = changed(data, SHEET, lambda text: re.sub(rb"<row\b[^>]*>", row, text).replace(b'r="A1"', b'r="XFD99999"'))
    assert "reaches to row 99999 and column 16384" in refusal(path, far)


def test_cells_without_a_place_are_counted(path: Path) -> None:
    data = workbook(lambda book: book.add_worksheet("a").write_string(0, 0, "x"))
    rows = (
        b"<row>"
        + b"<c></c>" * 1000
        + b"</row>"
        + b"<x:row><x:c t='n'/>"
        + b"<c/>" * 3000
        + b'</x:row><row r="13345"></row>'
    )
    wide = changed(data, SHEET, lambda text: text.replace(b"<row ", rows + b"<row ", 1))
    assert "reaches to row 13345 and column 3027" in refusal(path, wide)


def test_rows_without_numbers_are_counted(path: Path) -> None:
    data = workbook(lambda book: book.add_worksheet("a").write_string(0, 0, "x"))
    rows = b"<row r='9'></row>" + b"<row/>" * 3_000 + b"<row r='7'><c><v>1</v></c></row>"
    far = changed(data, SHEET, lambda text: text.replace(b"<row ", rows + b"<row ").replace(b'r="A1"', b'r="XFD1"'))
    assert "reaches to row 3009 and column 16385" in refusal(path, far)


@pytest.mark.parametrize(
    ("corner", "place"), [("Z200000", "row 200000 and column 26"), ("XFD400", "row 400 and column 16384")]
)
def test_small_workbook_whose_library_would_take_much_memory_is_rejected(path: Path, corner: str, place: str) -> None:
    def fill(book: xlsxwriter.Workbook) -> None:
        sheet = book.add_worksheet("a")
        sheet.write_string("A1", "x")
        sheet.write_string(corner, "y")

    assert f"reaches to {place}" in refusal(path, workbook(fill))


@pytest.mark.parametrize(
    "far",
    [
        b'<c r="xfd200000"><v>1</v></c>',
        b'<c r="XFD200000">x<v>1</v></c>',
        b'<c r="XFD200000" a=">"><v>1</v></c>',
        b'<c r="XFD00000000200000"><v>1</v></c>',
        b'<c r="XFD99999999999"><v>1</v></c>',
        b'<c r="AXFD200000"><v>1</v></c>',
        b'<c r="AAAAAAAAAAAAXFD2"><v>1</v></c>',
        b"<c" + b" " * (17 << 20) + b'r="XFD200000"><v>1</v></c>',
        b'</row><row a=">" r="200000">' + b"<c><v>1</v></c>" * 400,
        b'</row><row a="<" r="200000">' + b"<c><v>1</v></c>" * 400,
        b'</row><row r="00000000000200000">' + b"<c><v>1</v></c>" * 400,
    ],
    ids=lambda far: far[:40].decode(),
)
def test_far_cell_is_found_however_it_is_written(path: Path, far: bytes) -> None:
    """The library reads all of them, and would reserve gigabytes for the cells before it."""
    data = workbook(lambda book: book.add_worksheet("a").write_string(0, 0, "x"))
    wide = changed(
        data, SHEET, lambda text: text.replace(b"</sheetData>", b'<row r="2">' + far + b"</row></sheetData>")
    )
    assert re.search(r"reaches to row \d+ and column \d{3,9}: |is a damaged workbook", refusal(path, wide))


def test_rectangles_of_all_sheets_count_together(path: Path) -> None:
    def fill(book: xlsxwriter.Workbook) -> None:
        for name in "abc":
            sheet = book.add_worksheet(name)
            sheet.write_string("A1", "x")
            sheet.write_string("Z60000", "y")

    assert "sheet c reaches to row 60000" in refusal(path, workbook(fill))


def test_cells_that_only_have_a_format_do_not_count(path: Path) -> None:
    """Whole columns and rows are often formatted, to the end of the sheet."""

    def fill(book: xlsxwriter.Workbook) -> None:
        sheet, bold = book.add_worksheet("a"), book.add_format({"bold": True})
        sheet.write_row(0, 0, ["x", "y"])
        for row in range(300, 200_000, 100):
            sheet.write_blank(row, 3, None, bold)
        for column in range(30, 16_384):
            sheet.write_blank(0, column, None, bold)

    assert cells(sheets(path, workbook(fill))) == [[["x", "y"]]]


def test_filled_sheet_may_be_large(path: Path) -> None:
    def fill(book: xlsxwriter.Workbook) -> None:
        sheet = book.add_worksheet("a")
        for row in range(40_000):
            for column in range(0, 120, 7):
                sheet.write_number(row, column, row * column)

    [found] = sheets(path, workbook(fill))
    assert sum(1 for _ in found.rows()) == 40_000


@pytest.mark.parametrize(
    "lost",
    [b'<c t="e"><v>#REF!</v></c>', b"<c><f>B1</f></c>", b"<c><f>B1</f><v></v></c>", b'<c s="1"><f>B1</f><v/></c>'],
)
def test_error_in_a_cell_that_does_not_say_where_it_is_rejects_the_workbook(lost: bytes, path: Path) -> None:
    data = workbook(lambda book: book.add_worksheet("a").write_row(0, 0, ["x", "y"]))
    bare = changed(data, SHEET, lambda text: re.sub(rb'<c r="[A-Z]+1"', b"<c", text))
    assert cells(sheets(path, bare)) == [[["x", "y"]]]
    assert "damaged" in refusal(path, changed(bare, SHEET, lambda text: text.replace(b"</row>", lost + b"</row>")))


def test_archive_that_unpacks_to_too_much_is_rejected_without_unpacking(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.insignia.roster.workbook_guard.MAX_UNPACKED", 1 << 20)
    data = workbook(lambda book: book.add_worksheet().write_string(0, 0, "x"))
    bomb = changed(data, "xl/worksheets/sheet1.xml", lambda text: text + b" " * (2 << 20))
    assert len(bomb) < 20_000
    assert "unpacks to more than 1 MB" in refusal(path, bomb)


def test_part_that_is_larger_than_the_directory_states_is_rejected(path: Path) -> None:
    data = bytearray(workbook(lambda book: book.add_worksheet().write_string(0, 0, "x" * 500)))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entry = archive.getinfo("xl/worksheets/sheet1.xml")
    place = data.rindex(entry.filename.encode()) - 46 + 24
    data[place : place + 4] = (10).to_bytes(4, "little")
    assert "damaged workbook" in refusal(path, bytes(data))


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (
            '<table:table-row><table:table-cell office:value-type="float" office:value="9256800000071"/>'
            '<table:table-cell office:value-type="date" office:date-value="2025-07-28"/>'
            "<table:table-cell><text:p>ก<text:s/>ข</text:p><office:annotation><text:p>no</text:p></office:annotation>"
            '</table:table-cell><table:table-cell table:number-columns-repeated="16000"/></table:table-row>'
            '<table:table-row table:number-rows-repeated="1000000"><table:table-cell/></table:table-row>',
            [["9256800000071", "2025-07-28", "ก ข"]],
        ),
        (
            '<table:table-row table:number-rows-repeated="2"><table:table-cell table:number-columns-repeated="2">'
            "<text:p>a</text:p></table:table-cell></table:table-row>",
            [["a", "a"], ["a", "a"]],
        ),
        (
            '<table:table-row><table:table-cell calcext:value-type="error" office:value-type="string"/>'
            "</table:table-row>",
            [["#REF!"]],
        ),
    ],
)
def test_ods_cells_become_text(path: Path, rows: str, expected: list[list[str]]) -> None:
    found = sheets(path, ods(rows))
    assert cells(found) == [expected]
    assert [sheet.is_hidden for sheet in found] == [False, True]


def test_ods_cells_outside_a_table_are_left_out(path: Path) -> None:
    inside = "<table:table-row><table:table-cell><text:p>a</text:p></table:table-cell></table:table-row>"
    outside = "<table:table-row><table:covered-table-cell/><table:table-cell/></table:table-row>"
    content = CONTENT.format(rows=inside).replace("<table:table ", f"{outside}<table:table ", 1)
    assert cells(sheets(path, ods_of(content))) == [[["a"]]]


@pytest.mark.parametrize(
    "rows",
    [
        '<table:table-row><table:table-cell table:number-columns-repeated="999999999"><text:p>a</text:p>'
        "</table:table-cell></table:table-row>",
        '<table:table-row table:number-rows-repeated="999999999"><table:table-cell><text:p>a</text:p>'
        "</table:table-cell></table:table-row>",
    ],
)
def test_ods_with_too_many_repeated_cells_is_rejected(path: Path, rows: str) -> None:
    assert "delete the unused rows and columns" in refusal(path, ods(rows))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<table><tr><th>a<td>b</tr><tr><td rowspan=2>1<td>2<tr><td>3</table>", [["a", "b"], ["1", "2"], ["1", "3"]]),
        ("<style>td{}</style><div><table><tr><td colspan=2>x&amp;y</td></tr></table></div>", [["x&y", ""]]),
        (
            "MIME-Version: 1.0\nContent-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\n"
            "<table><tr><td>=E0=B8=81</td></tr></table>",
            [["ก"]],
        ),
        (
            '<?xml version="1.0"?><Workbook xmlns="urn:schemas-microsoft-com:office:spreadsheet" '
            'xmlns:ss="urn:schemas-microsoft-com:office:spreadsheet"><Worksheet ss:Name="a"><Table><Row ss:Index="3">'
            '<Cell ss:Index="2"><Data ss:Type="Number">5</Data></Cell><Cell><Data ss:Type="DateTime">'
            '2025-07-28T00:00:00.000</Data></Cell><Cell><Data ss:Type="Error">#N/A</Data></Cell></Row></Table>'
            "</Worksheet></Workbook>",
            [["", "5", "2025-07-28", "#REF!"]],
        ),
    ],
)
def test_markup_tables_become_rows(path: Path, text: str, expected: list[list[str]]) -> None:
    assert cells(sheets(path, text.encode())) == [expected]


@pytest.mark.parametrize(
    ("data", "reported"),
    [
        (b"<html><p>no table</p></html>", "without a table"),
        (b"<table><tr><td colspan=99999>x</table>", "delete the unused"),
        (
            b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aa">]><Workbook '
            b'xmlns="urn:schemas-microsoft-com:office:spreadsheet">&a;</Workbook>',
            "damaged workbook",
        ),
        (b"PK\x03\x04nothing", "damaged workbook"),
        (b"\xd0\xcf\x11\xe0" + b"\0" * 600, "damaged workbook"),
        (b"\xd0\xcf\x11\xe0" + "EncryptedPackage".encode("utf-16-le"), "protected by a password"),
        (b"\xd0\xcf\x11\xe0" + "WordDocument".encode("utf-16-le"), "word processor"),
    ],
)
def test_file_that_only_looks_like_a_workbook_is_rejected(path: Path, data: bytes, reported: str) -> None:
    assert reported in refusal(path, data)


def test_archives_of_other_kinds_are_rejected(path: Path) -> None:
    for part, reported in (("xl/workbook.bin", "binary workbook (XLSB)"), ("word/document.xml", "not a workbook")):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            archive.writestr(part, "x")
        assert reported in refusal(path, out.getvalue())


SEEDS = [
    (FOLDER / name).read_bytes()
    for name in ("53-dpis.xls", "66-cover-and-hidden-sheet.xlsx", "69-merged-group-cells.xlsx", "72-html-cp874.xls")
] + [ods('<table:table-row><table:table-cell office:value-type="float" office:value="1"/></table:table-row>')]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(SEEDS), st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), max_size=12), st.data()
)
def test_damaged_bytes_are_read_or_rejected(
    path: Path, seed: bytes, changes: list[tuple[int, int]], data: st.DataObject
) -> None:
    content = bytearray(seed[: data.draw(st.integers(1, len(seed)))] if data.draw(st.booleans()) else seed)
    for place, byte in changes:
        content[place % len(content)] = byte
    path.write_bytes(content)
    try:
        for sheet in open_file(path, "officers", len):
            for _ in sheet.rows():
                pass
    except RosterUnreadable:
        pass


HEADER = ["person_id", "employee_group", "level", "birth_date", "service_start", "level_start", "salary", "decorations"]
DATES = (date(1990, 3, 3), date(2015, 4, 1), date(2019, 5, 2))
FACTS: list[object] = ["civil_servant", "K2", *((day - date(1904, 1, 1)).days for day in DATES), 18900, ""]
"""With dates as day numbers from 1904."""


def officers(book: xlsxwriter.Workbook, name: str, heads: list[str], *rows: list[object]) -> None:
    sheet = book.add_worksheet(name)
    for number, row in enumerate([heads, *rows]):
        sheet.write_row(number, 0, row)


@pytest.mark.parametrize("is_1904", [True, False])
def test_day_numbers_of_a_workbook_count_from_its_first_day(path: Path, is_1904: bool) -> None:
    out = io.BytesIO()
    with xlsxwriter.Workbook(out, {"date_1904": is_1904}) as book:
        officers(book, "s", HEADER, ["3100600000005", *FACTS])
    path.write_bytes(out.getvalue())
    [one] = read_roster(path, load_criteria()).officers
    days = (one.birth_date, one.service_start, one.level_start)
    assert tuple(day and day + timedelta(0 if is_1904 else 1462) for day in days) == DATES


@pytest.mark.parametrize(("mode", "expected"), [(b"\x01\x00", True), (b"\x00\x00", False), (b"", False)])
def test_old_workbook_says_from_when_it_counts_days(mode: bytes, expected: bool) -> None:
    date_mode = record(0x0022, mode) if mode else b""
    stream = record(BOF, bytes(16)) + date_mode + record(EOF) + record(0x0022, b"\x01\x00")
    assert biff_guard.counts_from_1904(ole_file(stream)) is expected


@pytest.mark.parametrize(
    ("sheet", "is_reviewed"),
    [("เกษียณ", True), ("ลาออก-โอน", True), ("รับโอน", False), ("กองวินัย", False), ("กองคลัง", False)],
)
def test_officers_on_a_sheet_of_those_who_left_are_reviewed(path: Path, sheet: str, is_reviewed: bool) -> None:
    path.write_bytes(workbook(lambda book: officers(book, sheet, HEADER, ["3100600000005", *FACTS])))
    [one] = read_roster(path, load_criteria()).officers
    assert one.on_leave == (sheet if is_reviewed else None)


def test_list_of_those_who_left_rejects_the_roster(path: Path) -> None:
    def fill(book: xlsxwriter.Workbook) -> None:
        officers(book, "s", HEADER, ["3100600000005", *FACTS])
        officers(book, "ลาออก", ["person_id", "ชื่อ"], ["3100600000005", "ก"])

    path.write_bytes(workbook(fill))
    with pytest.raises(RosterUnreadable, match="the sheet ลาออก seems to list officers who are excluded"):
        read_roster(path, load_criteria())
