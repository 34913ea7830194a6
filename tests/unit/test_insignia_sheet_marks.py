"""What a sheet shows beside the values of its cells: merged cells, the first day of its calendar, hidden rows."""

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from time import process_time

import pytest
import xlsxwriter

from tests.unit.test_insignia_award_columns import FACTS, HEADER, OTHER, PERSON
from tests.unit.test_insignia_roster import read
from worker.insignia.errors import RosterUnreadable
from worker.insignia.roster.files import open_file
from worker.insignia.roster.sheet_marks import CommentParts, MarkFinder
from worker.insignia.roster.workbook_guard import SheetFacts

HEADS = [*HEADER.split(","), "decorations"]
ROWS = [[PERSON, *FACTS.split(","), "CT3 2021-07-28"], [OTHER, *FACTS.split(","), "CT3 2021-07-28"]]
SALARY = HEADS.index("salary")
NAMES = 'xmlns:office="o" xmlns:table="t" xmlns:text="x" xmlns:style="s" xmlns:calcext="c" xmlns:dc="d"'


def ods(path: Path, rows: str, before: str = "", styles: str = "") -> Path:
    content = f"<office:document-content {NAMES}>{styles}{before}<table:table table:name='a'>{rows}</table:table>"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("content.xml", f"{content}</office:document-content>")
    return path


def ods_row(cells: list[str], covered: int | None = None, span: int | None = None) -> str:
    found = []
    for place, cell in enumerate(cells):
        spanned = ' table:number-rows-spanned="2" table:number-columns-spanned="1"' if place == span else ""
        text = f"<table:table-cell{spanned}><text:p>{cell}</text:p></table:table-cell>"
        found.append("<table:covered-table-cell/>" if place == covered else text)
    return f"<table:table-row>{''.join(found)}</table:table-row>"


def merged_xlsx(path: Path) -> Path:
    with xlsxwriter.Workbook(path) as book:
        sheet = book.add_worksheet()
        for number, cells in enumerate([HEADS, *ROWS]):
            for place, cell in enumerate(cells):
                sheet.write_string(number, place, cell)
        sheet.merge_range(1, SALARY, 2, SALARY, ROWS[0][SALARY])
    return path


def merged_page(path: Path) -> Path:
    head, first, second = ("".join(f"<td>{cell}</td>" for cell in cells) for cells in (HEADS, *ROWS))
    salary = f"<td>{ROWS[0][SALARY]}</td>"
    first = first.replace(salary, salary.replace("<td", "<td rowspan=2"))
    text = "".join(f"<tr>{cells}</tr>" for cells in (head, first, second.replace(salary, "")))
    path.write_text(f"<html><table>{text}</table></html>", "utf-8")
    return path


def merged_ods(path: Path) -> Path:
    return ods(path, ods_row(HEADS) + ods_row(ROWS[0], span=SALARY) + ods_row(ROWS[1], covered=SALARY))


@pytest.mark.parametrize(("name", "make"), [("r.xlsx", merged_xlsx), ("r.xls", merged_page), ("r.ods", merged_ods)])
def test_cell_merged_over_several_officers_is_filled_down_and_reported(name: str, make: object, tmp_path: Path) -> None:
    roster = read(make(tmp_path / name))  # type: ignore[operator] # one of the functions above
    assert [officer.salary for officer in roster.officers] == [18900, 18900]
    assert [
        (repair.row, repair.person_id, repair.column, repair.before, repair.after) for repair in roster.repairs
    ] == [(3, OTHER, "salary", "", "18900")]


def test_day_numbers_of_ods_count_from_its_first_day(tmp_path: Path) -> None:
    first = "<table:calculation-settings><table:null-date table:date-value='1904-01-01'/></table:calculation-settings>"
    birth = HEADS.index("birth_date")
    rows = [[*cells[:birth], "31473", *cells[birth + 1 :]] for cells in ROWS]
    roster = read(ods(tmp_path / "r.ods", "".join(map(ods_row, [HEADS, *rows])), before=first))
    assert [str(officer.birth_date) for officer in roster.officers] == ["1990-03-03"] * 2


def marked_xlsx(path: Path) -> Path:
    """The third row is hidden, the fourth struck through, the fifth in part; the sixth and seventh have comments."""
    with xlsxwriter.Workbook(path) as book:
        sheet = book.add_worksheet()
        struck = book.add_format({"font_strikeout": True})
        for number, cells in enumerate([HEADS, *many()]):
            sheet.write_row(number, 0, cells, struck if number == 3 else None)
        sheet.set_row(2, None, None, {"hidden": True})
        sheet.set_column(SALARY, SALARY, None, None, {"hidden": True})
        sheet.write_rich_string(4, 1, struck, "civil_", book.add_format({"bold": True}), "servant")
        sheet.write_comment(5, 1, "ตรวจแล้ว")
        sheet.write_comment(6, 1, "ลาออก 1 พ.ค. 68")
    return path


def marked_ods(path: Path) -> Path:
    styles = (
        "<style:style style:name='ce2' style:family='table-cell'>"
        "<style:text-properties style:text-line-through-style='solid'/></style:style>"
    )
    rows = [ods_row(cells) for cells in [HEADS, *many()]]
    rows[2] = rows[2].replace("<table:table-row>", "<table:table-row table:visibility='filter'>")
    rows[3] = rows[3].replace("<table:table-cell>", "<table:table-cell table:style-name='ce2'>", 1)
    rows[4] = rows[4].replace("civil_servant", "<text:span text:style-name='ce2'>civil_servant</text:span>")
    for place, comment in ((5, "ตรวจแล้ว"), (6, "ลาออก 1 พ.ค. 68")):
        note = f"<table:table-cell><office:annotation><text:p>{comment}</text:p></office:annotation>"
        rows[place] = rows[place].replace("<table:table-cell>", note, 1)
    hidden = f"<table:table-column table:number-columns-repeated='{SALARY}'/>"
    hidden += "<table:table-column table:visibility='collapse'/>"
    return ods(path, hidden + "".join(rows), styles=styles)


def marked_page(path: Path) -> Path:
    rows = [[f"<td>{cell}</td>" for cell in cells] for cells in [HEADS, *many()]]
    rows[3][0] = rows[3][0].replace("<td>", "<td style='text-decoration: line-through'>")
    rows[4][1] = "<td><s>civil_servant</s></td>"
    tags = ["<tr style='display: none'>" if number == 2 else "<tr>" for number in range(len(rows))]
    text = "".join(f"{tag}{''.join(cells)}</tr>" for tag, cells in zip(tags, rows, strict=True))
    path.write_text(f"<html><table>{text}</table></html>", "utf-8")
    return path


def marked_xml(path: Path) -> Path:
    rows = [[f'<Cell><Data ss:Type="String">{cell}</Data></Cell>' for cell in cells] for cells in [HEADS, *many()]]
    rows[3][0] = rows[3][0].replace("<Cell>", '<Cell ss:StyleID="s2">')
    rows[4][1] = rows[4][1].replace("<Cell>", '<Cell ss:StyleID="s2">')
    for place, comment in ((5, "ตรวจแล้ว"), (6, "ลาออก 1 พ.ค. 68")):
        note = f"<Comment><ss:Data><Font>{comment}</Font></ss:Data></Comment></Cell>"
        rows[place][1] = rows[place][1].replace("</Cell>", note)
    tags = ['<Row ss:Hidden="1">' if number == 2 else "<Row>" for number in range(len(rows))]
    text = "".join(f"{tag}{''.join(cells)}</Row>" for tag, cells in zip(tags, rows, strict=True))
    path.write_text(
        '<?xml version="1.0"?><Workbook xmlns="urn:schemas-microsoft-com:office:spreadsheet" '
        'xmlns:ss="urn:schemas-microsoft-com:office:spreadsheet"><Styles><Style ss:ID="s2">'
        '<Font ss:StrikeThrough="1"/></Style></Styles><Worksheet ss:Name="a">'
        f"<Table>{text}</Table></Worksheet></Workbook>",
        "utf-8",
    )
    return path


def many() -> list[list[str]]:
    persons = (PERSON, OTHER, "3100600000021", "3100600000030", "3100600000048", "3100600000056", "3100600000064")
    return [[person, *ROWS[0][1:]] for person in persons]


@pytest.mark.parametrize(
    ("name", "make", "has_comments"),
    [
        ("r.xlsx", marked_xlsx, True),
        ("r.ods", marked_ods, True),
        ("r.xls", marked_page, False),
        ("s.xls", marked_xml, True),
    ],
)
def test_rows_that_are_hidden_struck_through_or_commented_are_left_to_a_reviewer(
    name: str, make: object, has_comments: bool, tmp_path: Path
) -> None:
    roster = read(make(tmp_path / name))  # type: ignore[operator] # one of the functions above
    comments = [(6, "comment"), (7, "comment_exclusion")] if has_comments else []
    noted = [(3, "hidden_row"), (4, "struck_row"), (5, "struck_row"), *comments]
    assert sorted((notice.row, notice.code) for notice in roster.notices if notice.code != "check_digit") == noted
    doubtful = [2, 3, 4, 6] if has_comments else [2, 3, 4]
    assert [number for number, one in enumerate(roster.officers, 1) if one.on_leave] == doubtful


@pytest.mark.parametrize(("name", "make"), [("r.xlsx", marked_xlsx), ("r.ods", marked_ods)])
def test_hidden_column_that_is_read_is_a_remark(name: str, make: object, tmp_path: Path) -> None:
    [remark] = read(make(tmp_path / name)).remarks  # type: ignore[operator] # one of the functions above
    assert remark == "hidden columns, which were read like the others: salary"


def test_marks_on_empty_cells_and_rows_concern_no_officer(tmp_path: Path) -> None:
    with xlsxwriter.Workbook(tmp_path / "r.xlsx") as book:
        sheet = book.add_worksheet()
        struck = book.add_format({"font_strikeout": True})
        for number, cells in enumerate([HEADS, *ROWS]):
            sheet.write_row(number, 0, cells)
        sheet.write_blank(1, len(HEADS), None, struck)
        sheet.write_comment(0, 0, "ลาออก")
        sheet.set_row(5, None, None, {"hidden": True})
    assert [officer.on_leave for officer in read(tmp_path / "r.xlsx").officers] == [None, None]


def rewritten(path: Path, *changes: tuple[str, str, str]) -> Path:
    """Replace texts in the parts of a workbook: name, text, new text. Without a name, parts are renamed."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name).decode() for name in archive.namelist() if not name.endswith(".bin")}
    for name, text, other in changes:
        if not name:
            parts = {part.replace(text, other): content for part, content in parts.items()}
        else:
            assert text in parts[name]
            parts[name] = parts[name].replace(text, other)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return path


RELATIONS = "xl/worksheets/_rels/sheet1.xml.rels"


@pytest.mark.parametrize("target", ["/xl/comments/comment1.xml", "../comments/comment1.xml", "../notes.xml"])
def test_comments_are_found_by_the_kind_of_their_relation(target: str, tmp_path: Path) -> None:
    part = "xl/" + target.removeprefix("/xl/").removeprefix("../")
    changes = (RELATIONS, "../comments1.xml", target), ("", "xl/comments1.xml", part)
    roster = read(rewritten(marked_xlsx(tmp_path / "r.xlsx"), *changes))
    assert [one.code for one in roster.notices if "comment" in one.code] == ["comment", "comment_exclusion"]


BOOK = "xl/workbook.xml"


@pytest.mark.parametrize(
    "attribute",
    ['name="H&quot;x"', 'name="H&lt;x>"', 'name="&#3619;&#3634;&#3618;"', 'name="H&amp;amp;x"', "name='H\"x'"],
)
def test_marks_are_found_whatever_the_name_of_the_sheet(attribute: str, tmp_path: Path) -> None:
    roster = read(rewritten(marked_xlsx(tmp_path / "r.xlsx"), (BOOK, 'name="Sheet1"', attribute)))
    assert {one.code for one in roster.notices} >= {"hidden_row", "struck_row", "comment_exclusion"}


def test_workbook_with_a_sheet_that_was_not_checked_is_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.insignia.roster.workbook.check_workbook", lambda *_: {"another": SheetFacts()})
    with pytest.raises(RosterUnreadable):
        read(merged_xlsx(tmp_path / "r.xlsx"))


def test_text_in_a_cell_of_its_own_that_is_struck_in_part_is_seen(tmp_path: Path) -> None:
    with xlsxwriter.Workbook(tmp_path / "r.xlsx", {"constant_memory": True}) as book:
        sheet, struck = book.add_worksheet(), book.add_format({"font_strikeout": True})
        for number, cells in enumerate([HEADS, *ROWS]):
            for place, cell in enumerate(cells):
                if number == 2 and place == 2:
                    sheet.write_rich_string(number, place, struck, cell[:1], cell[1:])
                else:
                    sheet.write_string(number, place, cell)
    assert [bool(one.on_leave) for one in read(tmp_path / "r.xlsx").officers] == [False, True]


@pytest.mark.parametrize("count", [3, 200])
def test_part_of_comments_is_read_once_for_all_its_relations(count: int, tmp_path: Path) -> None:
    path = marked_xlsx(tmp_path / "r.xlsx")
    more = "".join(
        f'<Relationship Id="z{number}" Type="t/comments" Target="../comments1.xml"/>' for number in range(count)
    )
    rewritten(path, (RELATIONS, "</Relationships>", f"{more}</Relationships>"))
    parsed: list[str] = []
    with zipfile.ZipFile(path) as archive:

        def pieces_of(part: str) -> Iterator[bytes]:
            parsed.append(part)
            yield archive.read(part)

        comments = CommentParts(pieces_of)
        found = [comments.of_sheet("xl/worksheets/sheet1.xml") for _ in range(2)]
    assert found[0] == found[1] == {6: ("ตรวจแล้ว",), 7: ("ลาออก 1 พ.ค. 68",)}
    assert parsed.count("xl/comments1.xml") == 1


def test_sheet_with_several_parts_of_comments_rejects_the_workbook(tmp_path: Path) -> None:
    more = '<Relationship Id="z" Type="t/comments" Target="../styles.xml"/></Relationships>'
    with pytest.raises(RosterUnreadable):
        read(rewritten(marked_xlsx(tmp_path / "r.xlsx"), (RELATIONS, "</Relationships>", more)))


SHEET = "xl/worksheets/sheet1.xml"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('<row r="3"', "<row r='3'"),
        ('hidden="1"', "hidden='1'"),
        ('hidden="1"', 'hidden = "1"'),
        ('<row r="3"', "<row"),
    ],
)
def test_hidden_row_is_found_however_its_attributes_are_written(before: str, after: str, tmp_path: Path) -> None:
    roster = read(rewritten(marked_xlsx(tmp_path / "r.xlsx"), (SHEET, before, after)))
    assert [one.row for one in roster.notices if one.code == "hidden_row"] == [3]


@pytest.mark.parametrize("part", ["worksheets/sheet1", "sharedStrings", "worksheets/_rels/sheet1", "comments1"])
def test_parts_are_found_whatever_the_case_of_their_names(part: str, tmp_path: Path) -> None:
    roster = read(rewritten(marked_xlsx(tmp_path / "r.xlsx"), ("", f"xl/{part}.xml", f"xl/{part.title()}.xml")))
    assert {one.code for one in roster.notices} >= {"hidden_row", "struck_row", "comment_exclusion"}
    assert len(roster.officers) == len(many())


def redeclared(path: Path, part: str, encoding: str) -> Path:
    """Write a part of a workbook in another encoding, and declare it by this name."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    text = parts[part].decode()
    assert 'encoding="UTF-8"' in text
    parts[part] = text.replace('encoding="UTF-8"', f'encoding="{encoding}"').encode("cp874")
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return path


COMMENTS = "xl/comments1.xml"


@pytest.mark.parametrize("part", [BOOK, COMMENTS])
def test_part_in_a_thai_encoding_of_one_byte_is_read(part: str, tmp_path: Path) -> None:
    roster = read(redeclared(marked_xlsx(tmp_path / "r.xlsx"), part, "windows-874"))
    assert {one.code for one in roster.notices} >= {"hidden_row", "struck_row", "comment_exclusion"}


@pytest.mark.parametrize("part", [BOOK, COMMENTS])
def test_part_in_an_encoding_that_is_not_known_rejects_the_workbook(part: str, tmp_path: Path) -> None:
    with pytest.raises(RosterUnreadable):
        read(redeclared(marked_xlsx(tmp_path / "r.xlsx"), part, "x-none-such"))


@pytest.mark.parametrize(
    ("part", "root"), [(COMMENTS, "comments"), ("xl/styles.xml", "styleSheet"), ("xl/sharedStrings.xml", "sst")]
)
def test_part_that_cannot_be_read_to_its_end_rejects_the_workbook(part: str, root: str, tmp_path: Path) -> None:
    change = (part, f"<{root} ", f"<!DOCTYPE {root}><{root} ")
    with pytest.raises(RosterUnreadable):
        read(rewritten(marked_xlsx(tmp_path / "r.xlsx"), change))


@pytest.mark.parametrize(("text", "code"), [("?", "comment_unread"), (" ? ", "comment_unread"), ("ดี?", "comment")])
def test_comment_whose_text_is_unknown_is_left_to_a_reviewer(text: str, code: str, tmp_path: Path) -> None:
    with xlsxwriter.Workbook(tmp_path / "r.xlsx") as book:
        sheet = book.add_worksheet()
        for number, cells in enumerate([HEADS, *ROWS]):
            sheet.write_row(number, 0, cells)
        sheet.write_comment(2, 1, text)
    roster = read(tmp_path / "r.xlsx")
    assert [(one.row, one.code) for one in roster.notices] == [(3, code)]
    assert [bool(one.on_leave) for one in roster.officers] == [False, code == "comment_unread"]


STRUCK = (
    "<style><!-- td {color:red} @media all {"
    ".xl65, .xl66 {mso-style-parent:style0; text-decoration:Line-Through;}} --></style>"
)


@pytest.mark.parametrize(
    ("row_tag", "cell_tag", "is_struck"),
    [
        ("tr", "td class=xl65", True), ("tr class='a xl66'", "td", True),
        ("tr style='text-decoration:line-through'", "td", True),
        ("tr", "td class=xl6", False), ("tr class=xl64", "td class='a b'", False),
    ],
)  # fmt: skip
def test_page_may_strike_through_by_a_class_or_a_row(
    row_tag: str, cell_tag: str, is_struck: bool, tmp_path: Path
) -> None:
    text = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>" for cells in (HEADS, ROWS[0]))
    text += f"<{row_tag}>{''.join(f'<{cell_tag}>{cell}</td>' for cell in ROWS[1])}</tr>"
    (tmp_path / "r.xls").write_text(f"<html><head>{STRUCK}</head><table>{text}</table></html>", "utf-8")
    assert [bool(one.on_leave) for one in read(tmp_path / "r.xls").officers] == [False, is_struck]


def test_empty_cell_of_a_page_with_a_struck_class_concerns_no_officer(tmp_path: Path) -> None:
    rows = [f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}<td class=xl65></td></tr>" for cells in (HEADS, *ROWS)]
    (tmp_path / "r.xls").write_text(f"<html>{STRUCK}<table>{''.join(rows)}</table></html>", "utf-8")
    assert [one.on_leave for one in read(tmp_path / "r.xls").officers] == [None, None]


def test_hidden_column_of_a_page_is_a_remark(tmp_path: Path) -> None:
    rows = [f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>" for cells in (HEADS, *ROWS)]
    columns = f"<col span={SALARY}><col style='display:none'>"
    (tmp_path / "r.xls").write_text(f"<html><table>{columns}{''.join(rows)}</table></html>", "utf-8")
    assert read(tmp_path / "r.xls").remarks == ["hidden columns, which were read like the others: salary"]


@pytest.mark.parametrize(
    ("column", "row_style", "cell", "is_struck"),
    [
        ("", ' ss:StyleID="s2"', "{}", True),
        ("", ' ss:StyleID="s3"', "{}", True),
        ('<Column ss:Index="3" ss:StyleID="s2"/>', "", "{}", True),
        ("", "", "<Font><S>{}</S></Font>", True),
        ('<Column ss:Index="3" ss:StyleID="s2"/>', ' ss:StyleID="s4"', "{}", False),
        ("", ' ss:StyleID="s4"', "{}", False),
    ],
)
def test_spreadsheet_in_xml_may_strike_through_rows_columns_and_parts_of_a_text(
    column: str, row_style: str, cell: str, is_struck: bool, tmp_path: Path
) -> None:
    path = marked_xml(tmp_path / "r.xls")
    styles = '<Style ss:ID="s3" ss:Parent="s2"/><Style ss:ID="s4" ss:Parent="s2"><Font ss:StrikeThrough="0"/></Style>'
    rows = [
        "".join(f'<Cell><Data ss:Type="String">{form.format(text)}</Data></Cell>' for text in cells)
        for cells, form in ((HEADS, "{}"), (ROWS[0], cell))
    ]
    before, _, after = path.read_text("utf-8").partition("<Table>")
    table = f"<Table>{column}<Row>{rows[0]}</Row><Row{row_style}>{rows[1]}</Row></Table>"
    path.write_text(before.replace("</Styles>", f"{styles}</Styles>") + table + after.partition("</Table>")[2], "utf-8")
    assert [bool(one.on_leave) for one in read(path).officers] == [is_struck]


@pytest.mark.parametrize(
    "column", ['<Column ss:Index="{}" ss:Hidden="1"/>', '<Column ss:Span="{}"/><Column ss:Hidden="1"/>']
)
def test_hidden_column_of_a_spreadsheet_in_xml_is_a_remark(column: str, tmp_path: Path) -> None:
    path = marked_xml(tmp_path / "r.xls")
    place = SALARY + 1 if "Index" in column else SALARY - 1
    path.write_text(path.read_text("utf-8").replace("<Table>", "<Table>" + column.format(place)), "utf-8")
    assert "hidden columns, which were read like the others: salary" in read(path).remarks


def test_columns_that_are_hidden_many_times_cost_no_more_than_once(tmp_path: Path) -> None:
    piece = b"".join(b'<col min="%d" max="16384" hidden="1"/>' % (1 + number) for number in range(9_000))
    finder = MarkFinder(None, frozenset())
    begun = process_time()
    for _ in range(5):
        finder.look(piece)
    marks = finder.marks({})
    assert process_time() - begun < 1
    assert marks is not None
    assert marks.hidden_columns == frozenset(range(16384))


@pytest.mark.parametrize(
    "cell", [b'<c s="3"><v>1</v></c>', b'<c t="s"><v>2</v></c>', b"<c><is><r><strike/></r></is></c>"]
)
def test_struck_cell_that_does_not_say_where_it_is_is_not_lost(cell: bytes) -> None:
    strokes = MarkFinder(re.compile(rb"""<c\b(?=[^<>]*\bs="3")([^<>]*)>"""), frozenset({2}))
    with pytest.raises(ValueError, match="no place"):
        strokes.look(b"<row>" + cell + b"</row>")


def test_strokes_outside_of_cells_concern_no_officer() -> None:
    finder = MarkFinder(None, frozenset())
    finder.look(b"<extLst><dxf><font><strike/></font></dxf></extLst>")
    assert finder.marks({}) is None


def test_empty_rows_that_are_hidden_are_not_kept(tmp_path: Path) -> None:
    blank = "<table:table-row table:visibility='collapse' table:number-rows-repeated='999999999'/>" * 3
    hidden = ods_row(ROWS[1]).replace("<table:table-row>", "<table:table-row table:visibility='filter'>")
    [sheet] = open_file(ods(tmp_path / "r.ods", ods_row(HEADS) + ods_row(ROWS[0]) + hidden + blank), "officers", len)
    assert sheet.marks is not None
    assert sheet.marks.hidden == {3}
