"""Reads workbooks: XLSX and ODS (zip archives), and XLS (an OLE file)."""

import io
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import date, datetime
from typing import Any

from worker.insignia.errors import RosterUnreadable
from worker.insignia.messages import message
from worker.insignia.roster.biff_guard import check_biff
from worker.insignia.roster.biff_guard import counts_from_1904 as biff_counts_from_1904
from worker.insignia.roster.file_format import reject_protected
from worker.insignia.roster.ods import ods_sheets
from worker.insignia.roster.table import Row, Sheet
from worker.insignia.roster.workbook_guard import SheetFacts, check_workbook, counts_from_1904, open_archive

ERROR = "#REF!"
"""The text of a cell whose formula has an error or was never calculated."""
_BINARY = {"what": "is a binary workbook (XLSB)", "what_th": "เป็นสมุดงานแบบไบนารี (XLSB)"}
_EXACT = 1e15
"""Below this, a floating-point number holds every whole number exactly."""


def workbook_sheets(name: str, data: bytes) -> list[Sheet]:
    """Return the sheets of a workbook in its order. Raises RosterUnreadable."""
    facts: dict[str, SheetFacts] = {}
    if data.startswith(b"PK"):
        archive = open_archive(name, data)
        parts = set(archive.namelist())
        if "content.xml" in parts:
            return ods_sheets(name, archive)
        if "xl/workbook.bin" in parts:
            raise RosterUnreadable(message("other_format", name=name, **_BINARY))
        if "xl/workbook.xml" not in parts:
            raise RosterUnreadable(message("not_a_workbook", name=name))
        facts = check_workbook(name, archive)
        is_1904 = counts_from_1904(name, archive)
    else:
        reject_protected(name, data)
        facts = check_biff(name, data)
        is_1904 = biff_counts_from_1904(data)
    book = _open(name, data)
    try:
        sheets = [_sheet(name, book, entry, facts) for entry in book.sheets_metadata if "WorkSheet" in str(entry.typ)]
    except RosterUnreadable:
        raise
    except Exception as exc:
        raise _broken(name, exc) from exc
    return [replace(sheet, counts_from_1904=is_1904) for sheet in sheets]


def _open(name: str, data: bytes) -> Any:
    import python_calamine  # a native library: loaded only for workbooks

    try:
        return python_calamine.CalamineWorkbook.from_filelike(io.BytesIO(data))
    except python_calamine.PasswordError:
        raise RosterUnreadable(message("password", name=name)) from None
    except BaseException as exc:
        if isinstance(exc, KeyboardInterrupt | SystemExit | MemoryError):
            raise
        raise _broken(name, exc) from exc


def _broken(name: str, exc: BaseException) -> RosterUnreadable:
    code = "password" if "password" in str(exc).lower() else "broken_workbook"
    return RosterUnreadable(message(code, name=name))


def _sheet(name: str, book: Any, entry: Any, facts: Mapping[str, SheetFacts]) -> Sheet:
    is_hidden = not str(entry.visible).endswith(".Visible")
    if is_hidden:
        return Sheet(name, entry.name, lambda: iter(()), 0, is_hidden=True)
    sheet = book.get_sheet_by_name(entry.name)
    if entry.name not in facts:  # its marks and errors are not known
        raise RosterUnreadable(message("broken_workbook", name=name))
    filled, known = _merged(sheet), facts[entry.name]
    return Sheet(
        name,
        entry.name,
        lambda: _rows(sheet, filled, known.errors),
        sheet.height,
        merged=frozenset(filled),
        marks=known.marks,
    )


def _merged(sheet: Any) -> dict[tuple[int, int], tuple[int, int]]:
    """Return the cells below the first one of each merged range of one column, with the cell that has the value."""
    filled: dict[tuple[int, int], tuple[int, int]] = {}
    last = (sheet.end or (0, 0))[0]
    for (top, left), (bottom, right) in sheet.merged_cell_ranges or ():
        if left == right:
            for row in range(top + 1, min(bottom, last) + 1):
                filled[(row + 1, left)] = (top + 1, left)
    return filled


def _rows(
    sheet: Any, filled: Mapping[tuple[int, int], tuple[int, int]], errors: frozenset[tuple[int, int]]
) -> Iterator[Row]:
    """Yield the rows that are not blank; numbers and columns are those of the sheet."""
    if sheet.start is None:
        return
    top, left = sheet.start
    before = [""] * left
    values: dict[tuple[int, int], str] = {}
    sources = set(filled.values())
    columns = sorted({column for _, column in filled})
    bad_columns = sorted({column for _, column in errors})
    # iter_rows begins at the first row of the sheet, whatever is in it, and at the first column with a value.
    for number, cells in enumerate(sheet.iter_rows(), start=1):
        if number <= top:
            continue
        row = before + [cell if type(cell) is str else value_text(cell) for cell in cells]
        for column in bad_columns:
            if (number, column) in errors:
                row += [""] * (column + 1 - len(row))
                row[column] = ERROR
        if not any(row):
            continue
        for column in columns:
            if (number, column) in sources:
                values[(number, column)] = row[column]
            elif (number, column) in filled and not row[column]:
                row[column] = values.get(filled[(number, column)], "")
        yield Row(number, row)


def value_text(value: object) -> str:
    """Return a typed cell as text: whole numbers without decimals, dates as 2025-07-28."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < _EXACT else repr(value)
    if isinstance(value, datetime):
        return value.date().isoformat() if value.time() == value.time().min else value.isoformat(" ")
    if isinstance(value, date):
        return value.isoformat()
    return str(value)
