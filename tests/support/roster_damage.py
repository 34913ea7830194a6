"""Damages that happen to rosters on their way through spreadsheets, programs and people."""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from random import Random

import xlsxwriter

Grid = list[list[str]]
"""The rows of a roster; the first is the header."""
_THAI_DIGITS = str.maketrans("0123456789", "๐๑๒๓๔๕๖๗๘๙")
_MONTHS = ("ม.ค.", "ก.พ.", "มี.ค.", "เม.ย.", "พ.ค.", "มิ.ย.", "ก.ค.", "ส.ค.", "ก.ย.", "ต.ค.", "พ.ย.", "ธ.ค.")
_DATES = ("birth_date", "service_start", "level_start")


@dataclass(frozen=True, slots=True)
class Damaged:
    """A damaged roster as a file, and what was done to it."""

    path: Path
    what: str


def columns(grid: Grid, *names: str) -> list[int]:
    return [grid[0].index(name) for name in names if name in grid[0]]


def some_row(grid: Grid, random: Random) -> list[str]:
    return grid[random.randrange(1, len(grid))]


def on_cells(*names: str, share: float | None = None) -> Callable[[Callable[[str, Random], str]], Callable[..., None]]:
    """Make a damage of a function that changes the text of a cell: in one row, in a share of the rows, or in all."""

    def decorate(change: Callable[[str, Random], str]) -> Callable[[Grid, Random], None]:
        def damage(grid: Grid, random: Random) -> None:
            place = random.choice(columns(grid, *names))
            rows = [some_row(grid, random)] if share is None else [row for row in grid[1:] if random.random() < share]
            for row in rows:
                if place < len(row) and row[place]:
                    row[place] = change(row[place], random)

        damage.__name__ = change.__name__ + ("" if share is None else f"_{share:g}")
        return damage

    return decorate


# -- ids


def with_decimals(text: str, _: Random) -> str:
    return f"{text}.0"


def without_zeros(text: str, _: Random) -> str:
    return text.lstrip("0")


def scientific(text: str, _: Random) -> str:
    return f"{float(text):.5E}"


def hyphenated(text: str, _: Random) -> str:
    return f"{text[0]}-{text[1:5]}-{text[5:10]}-{text[10:12]}–{text[12:]}"


def quoted(text: str, random: Random) -> str:
    return random.choice(["'{}", '="{}"', "’{}", "\u00a0{} ", "\u200b{}", "`{}`"]).format(text)


def digit_lost(text: str, random: Random) -> str:
    place = random.randrange(len(text))
    return text[:place] + text[place + 1 :]


def digit_mistyped(text: str, random: Random) -> str:
    place = random.randrange(len(text))
    return text[:place] + str((int(text[place]) + random.randrange(1, 10)) % 10) + text[place + 1 :]


def digits_swapped(text: str, random: Random) -> str:
    place = random.randrange(len(text) - 1)
    return text[:place] + text[place + 1] + text[place] + text[place + 2 :]


def letter_for_zero(text: str, _: Random) -> str:
    return text.replace("0", "O", 1)


def thai_digits(text: str, _: Random) -> str:
    return text.translate(_THAI_DIGITS)


def full_width(text: str, _: Random) -> str:
    return "".join(chr(ord(char) + 0xFEE0) if char.isdigit() else char for char in text)


# -- dates


def _day(text: str) -> date:
    day, month, year = text.split("/")
    return date(int(year) - 543, int(month), int(day))


def iso_date(text: str, _: Random) -> str:
    return _day(text).isoformat()


def buddhist_iso(text: str, _: Random) -> str:
    day = _day(text)
    return f"{day.year + 543}-{day:%m-%d}"


def timestamp(text: str, _: Random) -> str:
    return f"{_day(text).isoformat()} 00:00:00"


def month_first(text: str, _: Random) -> str:
    """One cell alone can be told from a day-first date only if its day is above 12; a whole column always."""
    day, month, year = text.split("/")
    return f"{month}/{day}/{year}"


def month_first_if_visible(text: str, random: Random) -> str:
    return month_first(text, random) if int(text.split("/")[0]) > 12 else text


def month_name(text: str, _: Random) -> str:
    day, month, year = text.split("/")
    return f"{int(day)} {_MONTHS[int(month) - 1]} {year}"


def short_year(text: str, _: Random) -> str:
    return text[:-4] + text[-2:]


def day_number(text: str, _: Random) -> str:
    return str((_day(text) - date(1899, 12, 30)).days)


def eight_digits(text: str, _: Random) -> str:
    day, month, year = text.split("/")
    return f"{year}{month}{day}"


def dotted(text: str, _: Random) -> str:
    return text.replace("/", ".")


def impossible_day(text: str, _: Random) -> str:
    return f"31/02/{text[-4:]}"


def wrong_era(text: str, random: Random) -> str:
    return text[:-4] + str(int(text[-4:]) + random.choice([543, -543, -1086]))


# -- pay


def thousands(text: str, _: Random) -> str:
    return f"{int(text):,}"


def baht(text: str, random: Random) -> str:
    return random.choice(["{} บาท", "฿{}", "{}.-", "{}.00", " {} ", "{}/-"]).format(text)


def european(text: str, _: Random) -> str:
    return f"{int(text):,}".replace(",", ".")


def yearly(text: str, _: Random) -> str:
    return str(int(text) * 12)


def in_thousands(text: str, _: Random) -> str:
    return str(int(text) / 1000)


def zero(_: str, __: Random) -> str:
    return "0"


def blank(_: str, __: Random) -> str:
    return ""


def negative(text: str, _: Random) -> str:
    return f"-{text}"


def error_value(_: str, random: Random) -> str:
    return random.choice(["#REF!", "#VALUE!", "#N/A", "#DIV/0!"])


# -- words and decorations


def decomposed(text: str, _: Random) -> str:
    return text.replace("ำ", "\u0e4d\u0e32").replace("แ", "เเ")


def without_dots(text: str, _: Random) -> str:
    return text.replace("บ.ม.", "บม").replace("จ.ม.", "จม").replace("ต.ม.", "ตม").replace("ท.ช.", "ทช")


def unknown_word(text: str, random: Random) -> str:
    return random.choice([f"{text}x", "???", "อื่น ๆ", "ไม่ทราบ", "ดูเอกสารแนบ"])


def gazette_date(text: str, _random: Random) -> str:
    head, _, year = text.rpartition("/")
    return f"{head.rpartition(' ')[0]} 12/01/{int(year) + 1}" if year.isdigit() else text


def without_date(text: str, _: Random) -> str:
    return "; ".join(entry.split(" ")[0] for entry in text.split("; "))


def other_order_added(text: str, _: Random) -> str:
    return f"{text}; บ.ภ. 05/12/2553"


def year_only(text: str, _: Random) -> str:
    return "; ".join(f"{entry.split(' ')[0]} {entry[-4:]}" for entry in text.split("; "))


def with_name(text: str, _: Random) -> str:
    names = {"ต.ม.": "ตริตาภรณ์มงกุฎไทย", "จ.ม.": "จัตุรถาภรณ์มงกุฎไทย", "บ.ม.": "เบญจมาภรณ์มงกุฎไทย"}
    for short, name in names.items():
        text = text.replace(short, f"{name} ({short})")
    return text


def some_month_first(grid: Grid, random: Random) -> None:
    """A column in both orders. Nothing tells if only dates with a day up to 12 are month first, so one above is too."""
    place = random.choice(columns(grid, *_DATES))
    rows = [row for row in grid[1:] if place < len(row) and row[place].count("/") == 2]
    visible = [row for row in rows if int(row[place].split("/")[0]) > 12]
    for row in rows if visible else ():
        if row is visible[0] or random.random() < 0.4:
            row[place] = month_first(row[place], random)


ID = "person_id"
CELL_DAMAGES: list[Callable[[Grid, Random], None]] = [
    *(
        on_cells(ID, share=share)(change)
        for share in (None, 1.0)
        for change in (
            with_decimals, without_zeros, scientific, hyphenated, quoted, letter_for_zero, thai_digits, full_width
        )
    ),
    *(on_cells(ID)(change) for change in (digit_lost, digit_mistyped, digits_swapped, blank, error_value)),
    *(
        on_cells(*_DATES, share=share)(change)
        for share in (None, 0.4, 1.0)
        for change in (
            iso_date, buddhist_iso, timestamp, month_name, short_year, day_number, eight_digits, dotted, thai_digits
        )
    ),
    on_cells(*_DATES)(month_first_if_visible),
    on_cells(*_DATES, share=1.0)(month_first),
    some_month_first,
    *(on_cells(*_DATES)(change) for change in (impossible_day, wrong_era, blank, error_value, unknown_word)),
    *(
        on_cells("salary", "salary_5y_ago", share=share)(change)
        for share in (None, 1.0)
        for change in (thousands, baht, european, yearly, in_thousands, zero, blank, thai_digits)
    ),
    *(on_cells("salary")(change) for change in (negative, error_value, unknown_word)),
    *(
        on_cells("employee_group", "position_type", "level", "nationality", share=share)(change)
        for share in (None, 1.0)
        for change in (decomposed, unknown_word, error_value)
    ),
    *(
        on_cells("decorations", share=share)(change)
        for share in (None, 1.0)
        for change in (
            without_dots, unknown_word, gazette_date, without_date, other_order_added, year_only, with_name, thai_digits
        )
    ),
    on_cells("decorations")(error_value),
]  # fmt: skip


# -- rows


def cell_deleted(grid: Grid, random: Random) -> None:
    row = some_row(grid, random)
    del row[random.randrange(len(row))]


def cell_inserted(grid: Grid, random: Random) -> None:
    row = some_row(grid, random)
    row.insert(random.randrange(len(row)), "")


def amount_split(grid: Grid, random: Random) -> None:
    """An unquoted thousands separator, after which the empty last cells are dropped."""
    row = some_row(grid, random)
    place = columns(grid, "salary")[0]
    head, _, tail = f"{int(row[place] or 26000):,}".partition(",")
    row[place : place + 1] = [head, tail]
    if not row[-1]:
        row.pop()


def row_cut(grid: Grid, random: Random) -> None:
    row = some_row(grid, random)
    del row[random.randrange(1, len(row)) :]


def trailing_cells_dropped(grid: Grid, random: Random) -> None:
    for row in grid[random.randrange(1, 20) :]:
        while row and not row[-1]:
            row.pop()


def trailing_cells_added(grid: Grid, random: Random) -> None:
    for row in grid[1:]:
        if random.random() < 0.4:
            row += ["", ""]


def lines_joined(grid: Grid, random: Random) -> None:
    place = random.randrange(1, len(grid) - 1)
    grid[place] += grid.pop(place + 1)


def titles_above(grid: Grid, random: Random) -> None:
    grid[:0] = [["บัญชีรายชื่อ"], ["ประจำปี 2568", ""], *([[]] if random.random() < 0.5 else [])]


def totals_below(grid: Grid, random: Random) -> None:
    grid.append(random.choice([["รวม", "39", "คน"], ["รวมทั้งสิ้น", *[""] * 10, "1439600"], ["ข้อมูล ณ วันที่ 1 ม.ค. 2568"]]))
    grid.append(["", "", "", "ลงชื่อ ........ ผู้จัดทำ"])


def header_repeated(grid: Grid, random: Random) -> None:
    grid.insert(random.randrange(2, len(grid)), list(grid[0]))


def blank_rows(grid: Grid, random: Random) -> None:
    for _ in range(4):
        grid.insert(random.randrange(1, len(grid)), [""] * random.choice([0, 1, len(grid[0])]))


def row_repeated(grid: Grid, random: Random) -> None:
    grid.insert(random.randrange(1, len(grid)), list(some_row(grid, random)))


def row_contradicted(grid: Grid, random: Random) -> None:
    row = list(some_row(grid, random))
    row[columns(grid, "salary")[0]] = "12345"
    grid.insert(random.randrange(1, len(grid)), row)


def column_moved(grid: Grid, random: Random) -> None:
    source, target = random.randrange(len(grid[0])), random.randrange(len(grid[0]))
    for row in grid:
        row.insert(target, row.pop(source))


def column_shifted(grid: Grid, random: Random) -> None:
    """One column moved up by a row, as if a cell had been deleted in a spreadsheet."""
    place = random.choice(columns(grid, "birth_date", "service_start", "salary", "level", "person_id"))
    start = random.randrange(1, len(grid) - 1)
    for row, following in zip(grid[start:], [*grid[start + 1 :], [""] * len(grid[0])], strict=False):
        row[place] = following[place]


def numbered(grid: Grid, _: Random) -> None:
    for number, row in enumerate(grid):
        row.insert(0, str(number) if number else "ลำดับที่")


def column_lost(grid: Grid, random: Random) -> None:
    place = random.choice(
        columns(grid, ID, "level", "birth_date", "service_start", "level_start", "salary", "decorations")
    )
    for row in grid:
        del row[place]


ROW_DAMAGES: list[Callable[[Grid, Random], None]] = [
    cell_deleted, cell_inserted, amount_split, row_cut, trailing_cells_dropped, trailing_cells_added, lines_joined,
    titles_above, totals_below, header_repeated, blank_rows, row_repeated, row_contradicted, column_moved, numbered,
    column_lost,
]  # fmt: skip


# -- headings


def heading_mistyped(grid: Grid, random: Random) -> None:
    place = random.randrange(len(grid[0]))
    head = grid[0][place]
    at = random.randrange(len(head))
    grid[0][place] = head[:at] + head[at + 1 :]


def headings_varied(grid: Grid, random: Random) -> None:
    changes: list[Callable[[str], str]] = [
        str.upper,
        str.title,
        lambda head: head.replace("_", " "),
        lambda head: f" {head}\n",
    ]
    change = random.choice(changes)
    grid[0] = [change(head) for head in grid[0]]


def headings_in_thai(grid: Grid, random: Random) -> None:
    names = {
        ID: "เลขประจําตัวประชาชน",
        "birth_date": "วัน/เดือน/ปี\nเกิด",
        "level": "ระดับตำแหน่ง",
        "salary": "เงินเดือน (บาท)",
        "service_start": "วันที่บรรจุ",
        "nationality": "สัญชาติ",
    }
    grid[0] = [names.get(head, head) if random.random() < 0.8 else head for head in grid[0]]


HEADING_DAMAGES: list[Callable[[Grid, Random], None]] = [heading_mistyped, headings_varied, headings_in_thai]


# -- files


def _text(grid: Grid, random: Random) -> str:
    out = io.StringIO()
    separator = random.choice([",", ",", ";", "\t", "|"])
    csv.writer(out, delimiter=separator, lineterminator=random.choice(["\n", "\r\n", "\r"])).writerows(grid)
    return out.getvalue()


def _encoded(text: str, random: Random) -> bytes:
    encoding = random.choice(["utf-8", "utf-8-sig", "cp874", "utf-16", "utf-16-be"])
    data = text.encode(encoding, "replace")
    return b"\xfe\xff" + data if encoding == "utf-16-be" else data


def as_csv(grid: Grid, random: Random, path: Path) -> None:
    path.write_bytes(_encoded(_text(grid, random), random))


def as_workbook(grid: Grid, random: Random, path: Path) -> None:
    """Write a workbook, with numbers and dates as such or as text."""
    is_typed = random.random() < 0.5
    with xlsxwriter.Workbook(path) as book:
        sheet = book.add_worksheet()
        form = book.add_format({"num_format": "dd/mm/yyyy"})
        for number, row in enumerate(grid):
            for place, cell in enumerate(row):
                if is_typed and cell.isascii() and cell.isdigit():
                    sheet.write_number(number, place, float(cell))
                elif is_typed and number and (day := _day_or_none(cell)):
                    sheet.write_datetime(number, place, day, form)
                else:
                    sheet.write_string(number, place, cell)


def _day_or_none(cell: str) -> date | None:
    try:
        return _day(cell)
    except (ValueError, IndexError):
        return None


def as_page(grid: Grid, random: Random, path: Path) -> None:
    rows = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in grid)
    path.write_bytes(f"<html><table>{rows}</table></html>".encode(random.choice(["utf-8", "cp874"]), "replace"))


def damage(tidy: Sequence[Sequence[str]], seed: int, folder: Path) -> Damaged:
    """Write a roster with one to three damages; the same seed gives the same file."""
    random = Random(seed)
    grid = [list(row) for row in tidy]
    kinds = [
        random.choice([CELL_DAMAGES, CELL_DAMAGES, ROW_DAMAGES, HEADING_DAMAGES])
        for _ in range(random.choice([1, 1, 2, 3]))
    ]
    # Cells first: their columns are found by the headings and by the width of a tidy row.
    chosen = [random.choice(kind) for kind in sorted(kinds, key=[CELL_DAMAGES, ROW_DAMAGES, HEADING_DAMAGES].index)]
    done = []
    for change in chosen:
        try:
            change(grid, random)
            done.append(change.__name__)
        except (ValueError, IndexError):
            continue  # an earlier damage has left nothing that this one could change
    write = random.choice([as_csv, as_csv, as_csv, as_workbook, as_page])
    path = folder / f"{seed}.dat"
    write(grid, random, path)
    return Damaged(path, f"{seed}: {', '.join([*done, write.__name__])}")
