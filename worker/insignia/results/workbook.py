"""Writes the decisions as a workbook with Thai headings and labels, for offices that open nothing else."""

from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

from worker.insignia.buddhist_year import thai_date
from worker.insignia.criteria.labels import SEQUENCES
from worker.insignia.errors import ResultsUnwritable
from worker.insignia.messages import message
from worker.insignia.results.details import ResultDetails
from worker.insignia.results.table import COLUMNS, ResultTable
from worker.insignia.results.workbook_file import open_workbook
from worker.insignia.rules.ruleset import Rules

MOST_ROWS = 1_048_575
"""Officers that fit on one sheet below its header."""
_A4 = 9
"""The number of this paper in a workbook."""


def write_workbook(file: BinaryIO, details: ResultDetails, table: ResultTable, report: Callable[[int], None]) -> None:
    """Write one sheet with a row for each officer; every cell is text, so that ids keep their zeros.

    `report` receives the number of rows written. Raises OSError, and ResultsUnwritable for more officers
    than a sheet can hold.
    """
    evaluation = details.evaluation
    if len(evaluation.verdicts) > MOST_ROWS:
        raise ResultsUnwritable(message("too_many_for_workbook", most=f"{MOST_ROWS:,}"))
    with open_workbook(file) as book:
        text = book.add_format({"num_format": "@", "valign": "top"})
        sheet = _sheet(book, evaluation.rules.round_be, text)
        for number, cells in enumerate(table.rows(), 1):
            for place, cell in enumerate(cells):
                if cell:
                    sheet.write_string(number, place, cell, text)
            report(number)
        _about(book, evaluation.rules, details.summary, text)


def _about(book: Any, rules: Rules, counts: Mapping[str, Any], text: Any) -> None:
    """Add a sheet that says by which criteria the round was evaluated."""
    sheet = book.add_worksheet("หลักเกณฑ์")
    sheet.set_column(0, 0, 30, text)
    sheet.set_column(1, 1, 72, text)
    lines = (
        ("รอบปี พ.ศ.", str(rules.round_be)),
        ("วันพระราชพิธี", thai_date(rules.ceremony)),
        ("วันครบคุณสมบัติ", thai_date(rules.cutoff)),
        ("วิธีเลือกชั้น", SEQUENCES[rules.sequence]["th"]),
        ("ไฟล์หลักเกณฑ์", rules.criteria.file),
        ("ฉบับ", rules.criteria.version),
        ("SHA-256 ของหลักเกณฑ์", rules.criteria.sha256),
        ("จำนวนเจ้าหน้าที่", str(counts["officers"])),
        ("เสนอขอพระราชทาน", str(counts["nominate"])),
        ("ต้องตรวจสอบเอง", str(counts["manualReview"])),
        ("ยังไม่เข้าเกณฑ์", str(counts["notEligible"])),
        ("แถวที่อ่านไม่ได้", str(counts["badRows"])),
    )
    for number, line in enumerate(lines):
        for place, cell in enumerate(line):
            sheet.write_string(number, place, cell, text)


def _sheet(book: Any, round_be: int, text: Any) -> Any:
    """Return a sheet with its header, set up for printing on A4 across."""
    head = book.add_format({"bold": True, "text_wrap": True, "valign": "top", "bottom": 1})
    sheet = book.add_worksheet(f"รอบ {round_be}")
    sheet.freeze_panes(1, 0)
    sheet.set_landscape()
    sheet.set_paper(_A4)
    sheet.fit_to_pages(1, 0)
    sheet.repeat_rows(0)
    sheet.set_footer(f"&Lรอบปี พ.ศ. {round_be}&Rหน้า &P/&N")
    for place, (heading, width) in enumerate(COLUMNS):
        sheet.set_column(place, place, width, text)
        sheet.write_string(0, place, heading, head)
    return sheet
