"""Reads a roster in columns: each different cell once; rows that something is to be said about, as row_reader.py does.

A row is clean if it is an officer's, all of its cells can be read without a note, its values do not contradict each
other, and no other row has the same id. About a clean row nothing is reported, and putting the files together changes
nothing in it; so the other rows can be read on their own.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby, takewhile
from typing import Any

import polars as pl

from worker.insignia.columnar.delimited import NUMBER, PART, SplitRows, split_rows
from worker.insignia.columnar.frame import DEFAULTS, HELD, PLAIN, AwardList, OfficerColumns, columns_of, discipline_text
from worker.insignia.columnar.history_columns import PERSON, HistoryColumns, plain_ids
from worker.insignia.columnar.plain_dates import PlainDates
from worker.insignia.retirement import YOUNGEST
from worker.insignia.roster.assembly import doubts_unstated
from worker.insignia.roster.cell_readers import CellReader
from worker.insignia.roster.cells import Unreadable, normalize
from worker.insignia.roster.columns import Columns
from worker.insignia.roster.continuation import SUPPORT
from worker.insignia.roster.decorations import joined
from worker.insignia.roster.file_rows import CleanRows, FileRows
from worker.insignia.roster.history import History
from worker.insignia.roster.layout import Layout, Segment
from worker.insignia.roster.officer import ABOUT
from worker.insignia.roster.person_id import read_person_id
from worker.insignia.roster.plausibility import DOUBTFUL
from worker.insignia.roster.roster_data import Roster
from worker.insignia.roster.row_reader import CHUNK, RowReader
from worker.insignia.roster.row_shape import RowShape
from worker.insignia.roster.sections import Sections
from worker.insignia.roster.side_columns import may_exclude
from worker.insignia.roster.table import Row

_FEW_UNSTATED = 0.2
"""Share of rows with an empty nationality up to which they are read as rows that are not clean."""
_READ_BY_ROW = ("last_decoration", "service_status")
"""Columns that are joined with another one."""
_NOTED, _FIRST_AWARD = "noted", "first_award"


@dataclass(frozen=True, slots=True)
class TidyTable:
    """The only table of a roster, split into rows."""

    segment: Segment
    rows: SplitRows

    @property
    def count(self) -> int:
        return self.rows.tidy.height + self.rows.others.height


def tidy_table(layouts: Sequence[Layout]) -> TidyTable | None:
    """Return the table of a roster that is one delimited text; None if it cannot be read in columns."""
    segments = [segment for layout in layouts for segment in layout.segments]
    columns = segments[0].columns
    source = segments[0].sheet.delimited
    has_more = (
        columns.classes or columns.pairs or columns.has_dates_beside or any(name in columns for name in _READ_BY_ROW)
    )
    if len(segments) > 1 or source is None or has_more:
        return None
    rows = split_rows(source, segments[0].first_row, columns.width, CHUNK)
    if rows is None or _may_continue(rows, columns):
        return None
    return TidyTable(segments[0], rows)


def _may_continue(rows: SplitRows, columns: Columns) -> bool:
    """Return whether a row may continue the one above: it has decorations, and nothing that an officer's row has."""
    if "decorations" not in columns:
        return False
    held, birth = columns.index["decorations"], columns.index["birth_date"]
    is_filled = pl.col(str(held)).str.strip_chars() != ""
    has_no_date = ~pl.col(str(birth)).str.contains(r"\d") | pl.col(str(birth)).str.contains("0000-00-00", literal=True)
    places = [columns.index[name] for name in SUPPORT if name in columns]
    few = rows.tidy.filter(is_filled & has_no_date).select(map(str, places))
    listed = [cells for _, row in rows.other_rows() if held < len(cells := row.cells) and cells[held].strip()]
    others = ([cells[place] for place in places if place < len(cells)] for cells in listed)
    return any(not any(map(normalize, cells)) for cells in (*few.iter_rows(), *others))


@dataclass(frozen=True, slots=True)
class CleanOfficers:
    """The officers of the clean rows, with the numbers of their rows, and the other rows of the file."""

    columns: OfficerColumns
    file: FileRows
    dates: PlainDates

    def whole(self, roster: Roster) -> OfficerColumns:
        """Return all officers in the order of their rows; `roster` has those of the other rows."""
        others = columns_of(roster.officers)
        numbers = pl.Series(NUMBER, roster.numbers, dtype=pl.UInt32)
        shifted = others.frame.with_columns(numbers, pl.col(HELD) + len(self.columns.lists))
        frame = pl.concat([self.columns.frame, shifted.select(self.columns.frame.columns)]).sort(NUMBER)
        return OfficerColumns(frame.drop(NUMBER), [*self.columns.lists, *others.lists])


def read_clean(
    table: TidyTable,
    reader: RowReader,
    history: HistoryColumns | None,
    not_clean: Iterable[str] = (),
    *,
    has_plain_dates: bool = True,
    advance: Callable[[int], None] = lambda _: None,
) -> CleanOfficers:
    """Read the rows of a table; those of the persons `not_clean` are read as if something was to be said about them.

    `has_plain_dates` says that dates are written as is assumed of a column that was not judged yet. `advance` receives
    numbers of rows, less than the table has altogether: each column counts as its share of all rows.
    """
    cells = _Cells(table, reader, history, PlainDates() if has_plain_dates else None, advance)
    frame, lists = cells.read()
    is_clean = ~_is_noted(frame, table, reader, history, {*not_clean})
    clean = frame.filter(is_clean)
    _read_others(table, frame.filter(~is_clean), reader, history)
    persons = frozenset(clean[PERSON].to_list())
    if history is not None:
        found = set(clean.filter(pl.col("list").is_not_null())[PERSON].to_list())
        history.history.met |= found
        history.history.absent |= persons - found
    reader.rows.clean = CleanRows(
        len(persons),
        persons,
        has_leading_zero=bool(clean[PERSON].str.starts_with("0").any()),
        unstated=frozenset(clean.filter("unstated")[PERSON]),
    )
    columns = OfficerColumns(clean.select(NUMBER, *PLAIN, "discipline", HELD), lists)
    return CleanOfficers(columns, reader.rows, cells.dates or PlainDates())


def rows_to_reread(officers: CleanOfficers, history: History | None) -> set[str]:
    """Return persons with clean rows about which something is to be said, seen the file as a whole."""
    clean = officers.file.clean
    found = set(clean.unstated) if doubts_unstated(officers.file) else set()
    if history is not None:
        others = {officer.person_id for officer in officers.file.officers}
        found |= clean.persons & history.mistyped(others.union(clean.persons))
    return found


def _read_others(table: TidyTable, odd: pl.DataFrame, reader: RowReader, history: HistoryColumns | None) -> None:
    """Read the rows that are not clean as the readable path does, in the same parts."""
    names = [str(place) for place in range(table.segment.columns.width)]
    cells = table.rows.tidy.join(odd.select(NUMBER), on=NUMBER, how="semi")
    listed = [(part, Row(number, texts)) for number, part, *texts in cells.select(NUMBER, PART, *names).iter_rows()]
    listed += table.rows.other_rows()
    listed.sort(key=lambda entry: entry[1].number)
    place = table.segment.columns.index[PERSON]
    if history is not None:
        texts = (row.cells[place] for _, row in listed if place < len(row.cells))
        history.move(person for text in texts for person in _ids(text))
    shape = RowShape(table.segment)
    reader.sections = Sections(table.segment)
    above = takewhile(lambda row: row.number < table.segment.first_row, table.segment.sheet.rows())
    reader.sections.open(above)
    for _, entries in groupby(listed, key=lambda entry: entry[0]):
        reader.read_part(table.segment, shape, [row for _, row in entries])


def _ids(text: str) -> Iterator[str]:
    """Yield the id in a cell, and what stands for it if it cannot be read."""
    yield normalize(text)
    try:
        yield read_person_id(text).text
    except Unreadable:
        return


# -- which rows are clean


def _is_noted(
    frame: pl.DataFrame, table: TidyTable, reader: RowReader, history: HistoryColumns | None, not_clean: set[str]
) -> pl.Series:
    """Return whether anything is to be said about each row."""
    place = table.segment.columns.index[PERSON]
    ids = [*frame.filter(pl.col(PERSON).is_null())["text"]]
    ids += [row.cells[place] for _, row in table.rows.other_rows() if place < len(row.cells)]
    persons = not_clean.union(*map(_ids, ids))
    if history is not None:
        persons |= history.history.awards.keys() | history.history.bad.keys()
    person = pl.col(PERSON)
    is_odd = (
        person.is_null() | person.is_duplicated() | person.is_in(list(persons)) | ~_fits_check_digit() | pl.col(_NOTED)
    )
    is_odd |= _is_implausible(reader)
    unstated = frame["unstated"]
    if unstated.sum() <= _FEW_UNSTATED * len(unstated):
        is_odd |= pl.col("unstated")
    return frame.select(is_odd.fill_null(True)).to_series()


def _fits_check_digit() -> pl.Expr:
    number = pl.col(PERSON).cast(pl.Int64)
    total = pl.sum_horizontal((number // 10 ** (12 - place) % 10) * (13 - place) for place in range(12))
    return (11 - total % 11) % 10 == number % 10


def _is_implausible(reader: RowReader) -> pl.Expr:
    """Return whether plausibility.py may have something to say."""
    birth, start, first = (pl.col(name) for name in ("birth_date", "service_start", _FIRST_AWARD))
    entered = _years(birth, start)
    bounds = reader.plausibility.pay
    lowest, highest = (
        pl.col("level").replace_strict(list(bounds), [pay[end] for pay in bounds.values()], default=None)
        for end in (0, 1)
    )
    salary = pl.col("salary")
    found = (
        (entered < YOUNGEST) | (entered >= DOUBTFUL),
        _years(birth, pl.col("level_start")) < YOUNGEST,
        pl.min_horizontal("level_start", "left_service", "resigned") < start,
        _years(birth, first) < YOUNGEST,
        first < start,
        (salary < lowest) | (salary > highest),
        pl.col("salary_5y_ago") > salary,
    )
    return pl.any_horizontal(*(one.fill_null(False) for one in found))


def _years(start: pl.Expr, end: pl.Expr) -> pl.Expr:
    begun, ended = (day.dt.month().cast(pl.Int32) * 100 + day.dt.day() for day in (start, end))
    return end.dt.year() - start.dt.year() - (ended < begun).cast(pl.Int32)


# -- the cells


@dataclass
class _Cells:
    """The cells of the tidy rows, read column by column."""

    table: TidyTable
    reader: RowReader
    history: HistoryColumns | None
    dates: PlainDates | None
    """None: all dates are read by the readers of their columns."""
    advance: Callable[[int], None]

    def read(self) -> tuple[pl.DataFrame, list[AwardList]]:
        """Return NUMBER, PERSON, the fields, and what decides whether a row is clean; and the lists of decorations."""
        index, rows = self.table.segment.columns.index, self.table.rows.tidy
        self._noted: list[pl.Series] = [self._repeats_headings(), *self._sides()]
        text = rows[str(index[PERSON])]
        person = text.to_frame(PERSON).select(plain_ids(pl.col(PERSON))).to_series()
        found = {NUMBER: rows[NUMBER], "text": text, PERSON: person, "unstated": self._unstated()}
        for name in PLAIN.keys() - {PERSON, "level", "last_only", *ABOUT}:
            found[name] = self._values(name)
            self._advance()
        found["discipline"] = self._values("discipline")
        found |= self._levels(found)
        for name in ABOUT:
            found[name] = self._about(name)
            self._advance()
        found["last_only"] = self._repeated(default=False, dtype=pl.Boolean())
        held, lists = self._held(person)
        noted = pl.select(pl.any_horizontal(*self._noted)).to_series()
        return pl.DataFrame({**found, _NOTED: noted}).hstack(held), lists

    def _advance(self) -> None:
        self.advance(self.table.count // len(PLAIN))

    def _texts(self, name: str) -> pl.Series | None:
        place = self.table.segment.columns.index.get(name)
        return None if place is None else self.table.rows.tidy[str(place)]

    def _repeated(self, default: Any, dtype: pl.DataType) -> pl.Series:
        return pl.Series([default], dtype=dtype).new_from_index(0, self.table.rows.tidy.height)

    def _repeats_headings(self) -> pl.Series:
        rows = self.table.rows.tidy
        same = [rows[str(place)] == head for place, head in enumerate(self.table.segment.heads) if head]
        return pl.select(pl.any_horizontal(*same)).to_series()

    def _sides(self) -> Iterator[pl.Series]:
        for place, kind in self.table.segment.columns.sides.items():
            yield _mapped(self.table.rows.tidy[str(place)], partial(may_exclude, kind), pl.Boolean())

    def _unstated(self) -> pl.Series:
        texts = self._texts("nationality")
        if texts is None:
            return self._repeated(default=False, dtype=pl.Boolean())
        return _mapped(texts, lambda text: not text.strip(), pl.Boolean())

    def _about(self, name: str) -> pl.Series:
        texts = self._texts(name)
        if texts is None:
            return self._repeated(default="", dtype=pl.String())
        return _mapped(texts, self.reader.about.__getitem__, pl.String())

    def _values(self, name: str) -> pl.Series:
        texts, dtype = self._texts(name), PLAIN.get(name, pl.String())
        if texts is None:
            return self._repeated(DEFAULTS[name], dtype)
        read = self.reader.readers[name]
        if dtype == pl.Date and self.dates is not None:
            different = texts.unique()
            values = self.dates.read(name, different, read).gather(_numbers(texts, different))
        elif name == "discipline":
            values = _mapped(texts, lambda text: discipline_text(read[text]), dtype)
        else:
            values = _mapped(texts, read.__getitem__, dtype)
        self._note(texts, read)
        return values

    def _note(self, texts: pl.Series, read: CellReader) -> None:
        if read.notes:
            self._noted.append(texts.is_in(list(read.notes)))

    def _levels(self, found: dict[str, pl.Series]) -> dict[str, pl.Series]:
        """Return the levels, and the groups if only the levels tell them."""
        texts = self._texts("level")
        levels = self.reader.levels
        assert texts is not None, "the level is a required column"
        words = pl.DataFrame({"text": texts, "group": found["employee_group"], "type": found["position_type"]})
        kinds = words.unique(maintain_order=True)
        read = [levels.read(*kind) for kind in kinds.iter_rows()]
        known = kinds.with_columns(
            pl.Series("level", [level for level, _ in read], dtype=pl.String),
            pl.Series("noted", [note is not None for _, note in read], dtype=pl.Boolean),
        )
        joined = words.join(known, on=words.columns, how="left", nulls_equal=True, maintain_order="left")
        self._noted.append(joined["noted"])
        if self._texts("employee_group") is not None:
            return {"level": joined["level"]}
        groups = {level: levels.group_of(level) for level in known["level"].unique()}
        names = list(groups)
        return {
            "level": joined["level"],
            "employee_group": joined["level"].replace_strict(names, list(groups.values()), return_dtype=pl.String),
        }

    def _held(self, persons: pl.Series) -> tuple[pl.DataFrame, list[AwardList]]:
        """Return HELD, the number of the list in the history, and the first day on which a decoration was received."""
        texts = self._texts("decorations")
        frame = persons.to_frame()
        past: list[tuple[Any, ...]] = []
        if self.history is None:
            frame = frame.with_columns(pl.lit(None, dtype=pl.UInt32).alias("list"))
        else:
            known, past = self.history.lists()
            frame = frame.join(known, on=PERSON, how="left", maintain_order="left")
        frame = frame.with_columns(
            pl.lit(None, dtype=pl.String).alias("cell") if texts is None else texts.alias("cell")
        )
        kinds = frame.select("cell", "list").unique(maintain_order=True)
        lists = [self._list(cell, None if place is None else past[place]) for cell, place in kinds.iter_rows()]
        first = [min((one.received for one in held or () if one.received), default=None) for held in lists]
        numbered = kinds.with_columns(
            pl.int_range(pl.len(), dtype=pl.UInt32).alias(HELD), pl.Series(_FIRST_AWARD, first, dtype=pl.Date)
        )
        if texts is not None:
            self._note(texts, self.reader.readers["decorations"])
        held = frame.join(numbered, on=["cell", "list"], how="left", nulls_equal=True, maintain_order="left")
        return held.select("list", HELD, _FIRST_AWARD), lists

    def _list(self, cell: str | None, past: tuple[Any, ...] | None) -> AwardList:
        listed: AwardList = None if cell is None else self.reader.readers["decorations"][cell]
        if self.history is None:
            return listed
        return joined(source for source in (listed, past) if source is not None)


def _mapped(texts: pl.Series, value_of: Callable[[str], Any], dtype: pl.DataType) -> pl.Series:
    """Return a value for each text, made once for each different text."""
    different = texts.unique()
    values = pl.Series(list(map(value_of, different.to_list())), dtype=dtype, strict=False)
    return values.gather(_numbers(texts, different))


def _numbers(texts: pl.Series, different: pl.Series) -> pl.Series:
    """Return the place of each text among the different ones."""
    return texts.cast(pl.Enum(different)).to_physical()
