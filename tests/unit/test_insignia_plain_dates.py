"""Dates that are read in columns are those that the reader of single cells reads."""

from datetime import date

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.insignia.columnar.plain_dates import PlainDates
from worker.insignia.roster.cell_readers import CellReader
from worker.insignia.roster.cells import parse_date
from worker.insignia.roster.date_columns import DateColumn, judge_columns

_SHORT = "ม.ค. ก.พ. มี.ค. เม.ย. พ.ค. มิ.ย. ก.ค. ส.ค. ก.ย. ต.ค. พ.ย. ธ.ค."
_LONG = "มกราคม กุมภาพันธ์ มีนาคม เมษายน พฤษภาคม มิถุนายน กรกฎาคม สิงหาคม กันยายน ตุลาคม พฤศจิกายน ธันวาคม"
_MONTHS = f"{_SHORT} {_LONG}".split()
_THAI = str.maketrans("0123456789", "๐๑๒๓๔๕๖๗๘๙")
_numbers = st.sampled_from(("0", "00", "1", "01", "2", "02", "9", "12", "13", "28", "29", "30", "31", "32", "99"))
_years = st.sampled_from(
    ("1899", "1900", "2000", "2023", "2199", "2200", "2201", "2399", "2400", "2443", "2530", "2543", "2700", "2743")
)
_dates = st.one_of(
    st.tuples(_years, _numbers, _numbers).map("-".join),
    st.tuples(_numbers, _numbers, _years).map("/".join),
    st.tuples(_numbers, st.sampled_from((*_MONTHS, "มค", "ธันวา")), _years).map(" ".join),
    st.sampled_from(
        (
            "",
            "?",
            "-",
            "43831",
            "1900-01-01",
            "1/1/2443",
            "20100105",
            "5/12/57",
            "0000-00-00",
            "ไม่มี",
            "2014-12-05 00:00:00",
        )
    ),
)
_texts = st.tuples(_dates, st.booleans(), st.sampled_from(("", "", "", " ", "\u200b"))).map(
    lambda parts: (parts[0].translate(_THAI) if parts[1] else parts[0]) + parts[2]
)


@given(texts=st.lists(_texts, unique=True, max_size=40))
def test_plain_dates_are_those_of_single_cells(texts: list[str]) -> None:
    alone, beside = CellReader(parse_date), CellReader(parse_date)
    expected = [alone[text] for text in texts]
    dates = PlainDates()
    assert dates.read("birth_date", pl.Series(texts, dtype=pl.String), beside).to_list() == expected
    assert alone.notes == beside.notes
    judged = judge_columns({"birth_date": dates.column("birth_date", beside)})
    assert judged == judge_columns({"birth_date": DateColumn(alone)})


@pytest.mark.parametrize("name", _MONTHS)
def test_plain_dates_know_the_month(name: str) -> None:
    reader = CellReader(parse_date)
    found = PlainDates().read("birth_date", pl.Series([f"๕ {name} 2557"]), reader)
    assert found.to_list() == [date(2014, _MONTHS.index(name) % 12 + 1, 5)]
    assert not reader
