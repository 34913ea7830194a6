"""A text that is split in columns has the rows that Python's csv reads, whether all of its lines are tidy or not."""

import csv
import io

from hypothesis import given, settings
from hypothesis import strategies as st

from worker.insignia.columnar.delimited import NUMBER, PART, split_rows
from worker.insignia.roster.csv_sheet import is_blank
from worker.insignia.roster.table import DelimitedText

_WIDTH, _PART = 3, 4
_CELL = st.one_of(
    st.sampled_from(("", " ", "a", "ก", "1", '"', '""', ",", "a,b", 'x "y"', "é ", "0")),
    st.text("aก ,;\"'", max_size=4),
)
_ROW = st.one_of(
    st.lists(_CELL, min_size=_WIDTH, max_size=_WIDTH),
    st.lists(_CELL, min_size=_WIDTH, max_size=_WIDTH),
    st.lists(st.sampled_from(("", " ", "a")), max_size=_WIDTH + 1),
)
_TIDY = st.lists(st.lists(_CELL.filter(str.strip), min_size=_WIDTH, max_size=_WIDTH), min_size=1, max_size=12)


@settings(max_examples=200, deadline=None)
@given(
    rows=st.one_of(_TIDY, st.lists(_ROW, min_size=1, max_size=12)),
    end=st.sampled_from(("\n", "\r\n")),
    separator=st.sampled_from(",;\t"),
    quoting=st.sampled_from((csv.QUOTE_MINIMAL, csv.QUOTE_ALL)),
    is_closed=st.booleans(),
    first_row=st.integers(1, 4),
)
def test_rows_are_those_of_csv(
    rows: list[list[str]], end: str, separator: str, quoting: int, is_closed: bool, first_row: int
) -> None:
    file = io.StringIO(newline="")
    csv.writer(file, lineterminator=end, delimiter=separator, quoting=quoting).writerows(rows)  # type: ignore[arg-type] # one of csv's constants
    text = file.getvalue() if is_closed else file.getvalue().removesuffix(end)
    found = split_rows(DelimitedText(text, separator, 0), first_row, _WIDTH, _PART)
    assert found is not None
    read = list(enumerate(csv.reader(io.StringIO(text, newline=""), delimiter=separator), 1))
    filled = [
        (number, place // _PART, cells) for place, (number, cells) in enumerate(r for r in read if not is_blank(r[1]))
    ]
    expected = [entry for entry in filled if entry[0] >= first_row]
    names = [str(place) for place in range(_WIDTH)]
    tidy = [(number, part, cells) for number, part, *cells in found.tidy.select(NUMBER, PART, *names).iter_rows()]
    others = [(row.number, part, list(row.cells)) for part, row in found.other_rows()]
    assert tidy == [entry for entry in expected if len(entry[2]) == _WIDTH]
    assert others == [entry for entry in expected if len(entry[2]) != _WIDTH]
