"""Reads the most usual spellings of dates in columns: 2014-12-05, 5/12/2557, 5 ธ.ค. 2557. cells.py reads all others."""

from dataclasses import dataclass, field
from datetime import date

import polars as pl

from worker.insignia.buddhist_year import BE_OFFSET
from worker.insignia.roster.cell_readers import CellReader
from worker.insignia.roster.cells import FIRST_BUDDHIST_YEAR
from worker.insignia.roster.date_columns import DateColumn, OrderCounts

_ISO = r"^(?:19|20|21)[0-9]{2}-[0-9]{2}-[0-9]{2}$"
_SLASHED = r"^([0-9]{1,2})/([0-9]{1,2})/([0-9]{4})$"
_PLACEHOLDER = date(1900, 1, 1)
_CENTURIES = r"^(?:19|20|21)"
_LETTERS = "[ก-ฮ]"
_SHORT = "ม.ค. ก.พ. มี.ค. เม.ย. พ.ค. มิ.ย. ก.ค. ส.ค. ก.ย. ต.ค. พ.ย. ธ.ค."
_LONG = "มกราคม กุมภาพันธ์ มีนาคม เมษายน พฤษภาคม มิถุนายน กรกฎาคม สิงหาคม กันยายน ตุลาคม พฤศจิกายน ธันวาคม"
_PLAINER = dict(zip("๐๑๒๓๔๕๖๗๘๙", "0123456789", strict=True))
_PLAINER |= {f" {name} ": f"/{month}/" for names in (_SHORT, _LONG) for month, name in enumerate(names.split(), 1)}


@dataclass(slots=True)
class PlainDates:
    """The different cells of columns of dates that were read here, for judging the columns as a whole."""

    texts: dict[str, pl.Series] = field(default_factory=dict)
    """By field."""
    counts: dict[str, OrderCounts] = field(default_factory=dict)

    def read(self, name: str, different: pl.Series, reader: CellReader) -> pl.Series:
        """Return the dates of a column's different cells; `reader` reads those that are not plain."""
        texts = _parsed(different.alias("text"))
        is_plain = texts["day"].is_not_null()
        plain = texts.filter(is_plain)
        self.texts[name], self.counts[name] = plain["text"], _counts(plain)
        others = (~is_plain).arg_true()
        days = pl.Series([reader[text] for text in different.gather(others).to_list()], dtype=pl.Date)
        return texts["day"].scatter(others, days)

    def column(self, name: str, reader: CellReader) -> DateColumn:
        """Return the cells of a column for judging it, those that were read here and those of the reader."""
        keys = pl.Series(list(reader), dtype=pl.String)
        if name not in self.texts:
            return DateColumn(keys)
        return DateColumn(keys.filter(~keys.is_in(self.texts[name])), self.counts[name])


def _parsed(texts: pl.Series) -> pl.DataFrame:
    """Return the texts with `day`, and the numbers `first` and `second`: in steps, which do nothing twice."""
    text, year, written, day = (pl.col(name) for name in ("text", "year", "written", "day"))
    parts = (
        text.str.replace_many(_PLAINER).str.extract_groups(_SLASHED).struct.rename_fields(["first", "second", "year"])
    )
    numbers = texts.to_frame().with_columns(parts.alias("parts")).unnest("parts")
    numbers = numbers.with_columns(pl.col("first", "second", "year").cast(pl.Int32))
    common = pl.when(year >= FIRST_BUDDHIST_YEAR).then(year - BE_OFFSET).otherwise(year)
    found = numbers.with_columns(pl.concat_str(common, "second", "first", separator="-").alias("written"))
    slashed = pl.when(written.str.contains(_CENTURIES)).then(written.str.to_date("%Y-%m-%d", strict=False))
    iso = pl.when(text.str.contains(_ISO)).then(text.str.to_date("%Y-%m-%d", strict=False))
    found = found.with_columns(pl.coalesce(iso, slashed).alias("day"))
    return found.select("text", pl.when(day != _PLACEHOLDER).then(day).alias("day"), "first", "second")


def _counts(plain: pl.DataFrame) -> OrderCounts:
    written = plain.filter(pl.col("first").is_not_null())
    is_named = written["text"].str.contains(_LETTERS)
    slashed = written.filter(~is_named)
    iso = plain.filter(pl.col("first").is_null())
    return OrderCounts(
        slashed=slashed.height,
        day_first=int((slashed["first"] > 12).sum()),  # as a date day first, its second number is a month
        month_first=0,
        named=int(is_named.sum()),
        iso=iso.height,
        last_day=max(iso["day"].dt.day().unique().to_list(), default=0),
    )
