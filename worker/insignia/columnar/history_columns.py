"""Reads a history file in columns; persons with a line that is not tidy are read as history.py does."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import polars as pl

from worker.insignia.columnar.delimited import NUMBER, SplitRows, split_rows
from worker.insignia.messages import message
from worker.insignia.roster.cells import Unreadable
from worker.insignia.roster.columns import HISTORY
from worker.insignia.roster.history import SAMPLE, History, HistoryReader, are_checked, remark_columns
from worker.insignia.roster.layout import Segment
from worker.insignia.roster.officer import Award
from worker.insignia.roster.person_id import read_person_id
from worker.insignia.roster.row_reader import CHUNK
from worker.insignia.roster.table import Row

PERSON, _PLAIN_ID, _HYPHENS = "person_id", r"^[0-9]{13}$", r"^[0-9]-[0-9]{4}-[0-9]{5}-[0-9]{2}-[0-9]$"


def plain_ids(texts: pl.Expr) -> pl.Expr:
    """Return citizen ids with or without the hyphens of their official form; null for all other texts."""
    bare = pl.when(texts.str.contains(_HYPHENS)).then(texts.str.replace_all("-", "", literal=True)).otherwise(texts)
    return pl.when(bare.str.contains(_PLAIN_ID)).then(bare)


@dataclass(slots=True)
class HistoryColumns:
    """The lines of a history: most of them in columns, those of some persons in a `History`."""

    history: History
    lines: pl.DataFrame
    """PERSON and `award` of the tidy lines, in the order of the file."""
    awards: list[Award]
    """The different decorations, by their numbers."""

    def lists(self) -> tuple[pl.DataFrame, list[tuple[Award, ...]]]:
        """Return PERSON and `list` of everybody whose lines are in columns, and the different lists."""
        awards = pl.col("award").unique(maintain_order=True)
        held = self.lines.group_by(PERSON, maintain_order=True).agg(awards)
        held = held.with_columns(pl.col("award").cast(pl.List(pl.String)).list.join(" ").alias("text"))
        different = held.unique("text", keep="first", maintain_order=True)
        numbers = held["text"].cast(pl.Enum(different["text"])).to_physical().cast(pl.UInt32)
        lists = [tuple([self.awards[place] for place in places]) for places in different["award"].to_list()]
        return pl.DataFrame([held[PERSON], numbers.alias("list")]), lists

    def move_all(self) -> None:
        """Move all lines."""
        self.move(self.history.elsewhere)

    def move(self, persons: Iterable[str]) -> None:
        """Move the lines of persons from the columns to the `History`."""
        wanted = self.history.elsewhere.intersection(persons)
        if not wanted:
            return
        is_wanted = pl.col(PERSON).is_in(list(wanted))
        for person, award in self.lines.filter(is_wanted).iter_rows():
            self.history.awards.setdefault(person, []).append(self.awards[award])
        self.history.elsewhere -= wanted
        self.lines = self.lines.filter(~is_wanted)


def read_history_columns(
    segment: Segment, reader: HistoryReader, advance: Callable[[int], None] = lambda _: None
) -> HistoryColumns | None:
    """Read the table of a history file; None if it is not tidy enough to be read in columns.

    `advance` receives numbers of lines while it is read.
    """
    source, index = segment.sheet.delimited, segment.columns.index
    if source is None or "first_name" in index or segment.columns.pairs:
        return None
    rows = split_rows(source, segment.first_row, segment.columns.width, CHUNK)
    if rows is None:
        return None
    advance(rows.tidy.height // 2)
    person, what, when = (pl.col(str(index[name])) for name in HISTORY)
    kinds, awards = _kinds(rows.tidy.select(what.alias("what"), when.alias("when")), reader)
    frame = rows.tidy.with_columns(plain_ids(person).alias(PERSON), what.alias("what"), when.alias("when"))
    frame = frame.join(kinds, on=["what", "when"], how="left", maintain_order="left")
    is_odd = pl.col(PERSON).is_null() | pl.col("award").is_null() | _has_remark(rows.tidy, segment)
    touched = _persons(frame.filter(is_odd).select(person).to_series(), rows, index[PERSON])
    is_odd |= pl.col(PERSON).is_in(list(touched))
    advance(rows.tidy.height // 4)
    kept = frame.filter(~is_odd)
    first = kept.unique(PERSON, keep="first", maintain_order=True).select(NUMBER, PERSON)
    seen = first.head(SAMPLE).rows()
    seen += _read_odd(frame.filter(is_odd), rows, segment, reader)
    history = reader.history
    history.are_checked = are_checked([name for _, name in sorted(seen)][:SAMPLE])
    history.elsewhere = set(first[PERSON].to_list())
    history.lines += kept.height
    for number, name, note in kept.filter(pl.col("note") != "").select(NUMBER, PERSON, "note").iter_rows():
        history.report.notice(segment.sheet, number, name, "history", message(note))
    history.report.notices.sort(key=lambda notice: notice.row)
    return HistoryColumns(history, kept.select(PERSON, "award"), awards)


def _has_remark(lines: pl.DataFrame, segment: Segment) -> pl.Expr:
    """Return whether a column that no field uses says something of the decoration."""
    found = pl.lit(value=False)
    for column, codes in remark_columns(segment):
        name = str(column)
        if said := [text for text in lines[name].unique() if codes[text]]:
            found |= pl.col(name).is_in(said)
    return found


def _kinds(lines: pl.DataFrame, reader: HistoryReader) -> tuple[pl.DataFrame, list[Award]]:
    """Return the different words and days with the number of their decoration and a notice, and the decorations."""
    numbers: dict[Award, int] = {}
    found: list[tuple[str, str, int | None, str]] = []
    for what, when in lines.unique(maintain_order=True).iter_rows():
        try:
            award, note = reader.parser.award(what, when)
        except Unreadable:
            found.append((what, when, None, ""))
        else:
            found.append((what, when, numbers.setdefault(award, len(numbers)), note))
    schema = {"what": pl.String, "when": pl.String, "award": pl.UInt32, "note": pl.String}
    return pl.DataFrame(found, schema=schema, orient="row"), list(numbers)


def _persons(texts: pl.Series, rows: SplitRows, place: int) -> set[str]:
    """Return the persons of lines that are not tidy, as far as their ids can be read."""
    found = texts.to_list() + [row.cells[place] for _, row in rows.other_rows() if place < len(row.cells)]
    persons = set()
    for text in found:
        try:
            persons.add(read_person_id(text).text)
        except Unreadable:
            continue
    return persons


def _read_odd(odd: pl.DataFrame, rows: SplitRows, segment: Segment, reader: HistoryReader) -> list[tuple[int, str]]:
    """Read lines as the readable path does; return where the first persons occur whose lines can be read."""
    names = [str(place) for place in range(segment.columns.width)]
    listed = [Row(number, cells) for number, *cells in odd.select(NUMBER, *names).iter_rows()]
    listed += [row for _, row in rows.other_rows()]
    awards = reader.history.awards
    first: list[tuple[int, str]] = []
    for row in sorted(listed, key=lambda row: row.number):
        before = len(awards)
        reader.read(segment, iter((row,)))
        if before < len(awards) <= SAMPLE:
            first.append((row.number, next(reversed(awards))))
    return first
