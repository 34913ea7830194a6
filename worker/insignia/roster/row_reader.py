"""Turns the rows of one file into officers, column by column, or into the reasons why a row cannot be read."""

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from worker.insignia.messages import message
from worker.insignia.roster.cell_readers import CellReader, Note
from worker.insignia.roster.cells import Unreadable, normalize
from worker.insignia.roster.continuation import SUPPORT, Continuation, names_award
from worker.insignia.roster.decorations import DecorationParser, with_dates
from worker.insignia.roster.file_rows import FileRows, ShortRows
from worker.insignia.roster.history import History
from worker.insignia.roster.layout import Segment
from worker.insignia.roster.levels import LevelReader
from worker.insignia.roster.officer import ABOUT, Officer
from worker.insignia.roster.person_id import has_valid_check_digit, read_person_id
from worker.insignia.roster.plausibility import Plausibility
from worker.insignia.roster.row_awards import RowAwards
from worker.insignia.roster.row_shape import RowShape
from worker.insignia.roster.row_words import said_of_rows
from worker.insignia.roster.sections import Sections
from worker.insignia.roster.table import UNKNOWN, Row, SharedTexts
from worker.insignia.roster.thai import canonical
from worker.insignia.roster.titles import is_single, texts_of

CHUNK = 4000
"""Rows that are read together."""
_BELOW = 20
"""Rows after a part that are looked at for what they say of its last officer."""
_PERSON = "person_id"
_HEADER = "repeated_header"
_TITLE_CELLS = 3
_ID_DIGITS = 10
"""Digits from which on a text is meant as an id, even if it cannot be read."""
_FIELDS = tuple((field.name, field.default) for field in fields(Officer) if field.name != _PERSON)
"""The fields of an officer in order, with what they are if the roster has no column for them."""
_COUNTER = re.compile(r"\(?\d{1,2}\)?|\([^()]*\)")


@dataclass(slots=True)
class RowReader:
    """Reads the rows of one file."""

    readers: Mapping[str, CellReader]
    levels: LevelReader
    decorations: DecorationParser
    history: History | None
    plausibility: Plausibility
    rows: FileRows = field(default_factory=FileRows)
    lines: Continuation | None = None
    """What may continue the row above; None if the rows do not follow each other."""
    sections: Sections | None = None
    """The titles of the table that is being read."""
    about: dict[str, str] = field(default_factory=SharedTexts)
    """The texts of the columns about a person."""

    def read(self, segment: Segment, rows: Iterator[Row]) -> Iterator[int]:
        """Read the rows of a table; yields the number of rows after each part, so that progress can be reported."""
        shape = RowShape(segment)
        self.lines = Continuation(segment, self.decorations)
        self.sections = Sections(segment, before=self.sections)
        for part, below in _parts(rows):
            self.sections.open(row for row in part if row.number < segment.first_row)
            kept = [row for row in part if row.number >= segment.first_row]
            self.read_part(segment, shape, kept, below)
            yield len(part)

    def read_part(self, segment: Segment, shape: RowShape, part: Sequence[Row], below: Sequence[Row] = ()) -> None:
        """Read some rows of a table together; those `below` may be about the last officer of these rows."""
        fitted: list[Row] = []
        short: dict[int, Row] = {}
        for row in part:
            cells = shape.fit(row)
            if isinstance(cells, str):
                person = shape.person(row)
                self.rows.report.bad(segment.sheet, row.number, person, "(row)", "", shape.why(cells, row))
                self.rows.bad_rows += 1
            elif cells is not None:
                if len(row.cells) < shape.width:
                    short[row.number] = row
                whole = row if cells is row.cells else Row(row.number, cells)
                fitted.append(whole if self.lines is None else self.lines.filled(whole))
        if fitted:
            _Part(self, segment, shape, fitted, short, _fitting(shape, below)).read()


class _Part:
    """Some rows of one table that are read together."""

    def __init__(
        self,
        reader: RowReader,
        segment: Segment,
        shape: RowShape,
        fitted: Sequence[Row],
        short: Mapping[int, Row],
        below: Sequence[Row],
    ) -> None:
        self._reader, self._segment, self._shape, self._short = reader, segment, shape, short
        self._sheet, self._columns = segment.sheet, segment.columns
        self._sections = reader.sections or Sections(segment)
        self._report = reader.rows.report
        self._rows = fitted
        self._with_below = [*fitted, *below]
        self._by_column: list[tuple[str, ...]] = list(zip(*(row.cells for row in fitted), strict=True))
        self._persons: list[str | None] = []
        """None for rows that are not officers, or bad already."""
        self._bad: set[int] = set()
        self._restored: set[int] = set()
        self._unstated = self._texts("nationality") if "nationality" in self._columns else None
        self._awards = RowAwards(
            segment, reader.decorations, reader.history, self._by_column, self._persons, self._add_note
        )
        if short:
            self._awards.lengths = {
                place: len(short[row.number].cells) for place, row in enumerate(fitted) if row.number in short
            }

    def read(self) -> None:
        """Add the officers of these rows."""
        self._read_persons()
        values = {name: self._values(name) for name in self._reader.readers}
        values["level"] = self._levels(values)
        if (status := values.pop("service_status")) is not None:
            values["on_leave"] = [one or other for one, other in zip(status, values["on_leave"] or status, strict=True)]
        self._read_sides(values)
        self._tell_merged()
        listed = values.pop("decorations", None)
        values["decorations"], values["last_only"] = self._awards.read(listed)
        for name in ABOUT:
            if name in self._columns:
                values[name] = list(map(self._reader.about.__getitem__, self._texts(name)))
        self._collect(values)

    def _texts(self, name: str) -> tuple[str, ...]:
        place = self._columns.index.get(name)
        return (UNKNOWN,) * len(self._rows) if place is None else self._by_column[place]

    # -- ids -------------------------------------------------------------------------------------------------------

    def _read_persons(self) -> None:
        for place, text in enumerate(self._texts(_PERSON)):
            if len(text) == 13 and text.isascii() and text.isdigit():
                person: str | None = text
            else:
                person = self._other_person(place, text)
            if person is not None and not has_valid_check_digit(person):
                self._report.notice(self._sheet, self._rows[place].number, person, _PERSON, message("check_digit"))
            self._persons.append(person)
        self._look_below()

    def _look_below(self) -> None:
        """Look for remarks about the last officer at the beginning of the next part."""
        person = self._columns.index.get(_PERSON)
        for place in range(len(self._rows), len(self._with_below)):
            row = self._with_below[place]
            code = self._skipped_as(row, UNKNOWN if person is None else row.cells[person])
            if not code:
                return
            if code != _HEADER:
                self._sections.tell_above(self._with_below, place, self._persons)

    def _other_person(self, place: int, text: str) -> str | None:
        row = self._rows[place]
        if code := self._skipped_as(row, text):
            self._report.notice(self._sheet, row.number, "", "(row)", message(code))
            if code != _HEADER:  # a heading such as โทษวินัย says nothing of the officers below it
                self._sections.meet(self._with_below, place, self._persons)
            return None
        if self._may_be_title(row, text):
            self._sections.meet(self._with_below, place, self._persons)
        try:
            person, repair = read_person_id(text)
        except Unreadable as exc:
            self._mark_bad(place, normalize(text), _PERSON, text, Note("bad", exc.message))
            return normalize(text)
        if repair:
            self._report.repair(self._sheet, row.number, person, _PERSON, (text, person), message(repair))
        if repair == "id_zero_restored":
            self._restored.add(place)
        return person

    def _may_be_title(self, row: Row, text: str) -> bool:
        """Return whether a row that is read as an officer's may be a title whose cells stand in the same columns."""
        if self._sheet.columns is not None or len(_digits(text)) >= _ID_DIGITS or self._supports(row, "birth_date"):
            return False
        return len(texts_of(row.cells)) <= _TITLE_CELLS

    def _skipped_as(self, row: Row, text: str) -> str:
        """Return the code of the notice about a title, total, signature or second header; empty for an officer."""
        if self._sheet.columns is not None:
            return ""
        if self._shape.is_header(row):
            return _HEADER
        if not any(self._supports(row, name) for name in SUPPORT) and len(_digits(text)) < _ID_DIGITS:
            return "" if names_award(self._segment, self._reader.decorations, row.cells) else "not_an_officer"
        if not _digits(text) and is_single(row.cells):
            return "not_an_officer"  # a title or signature in the middle of a page
        if all(_COUNTER.fullmatch(canonical(cell)) for cell in row.cells if cell.strip()):
            return "not_an_officer"  # the numbers or units of the columns, below the header
        return ""

    def _supports(self, row: Row, name: str) -> bool:
        place = self._columns.index.get(name)
        if place is None or (row.number, place) in self._sheet.merged:
            return False
        return bool(normalize(row.cells[place]))

    # -- values ----------------------------------------------------------------------------------------------------

    def _values(self, name: str) -> list[Any] | None:
        place = self._columns.index.get(name)
        if place is None:
            return None
        reader, texts = self._reader.readers[name], self._by_column[place]
        if name == "decorations" and self._columns.has_dates_beside:
            pairs = enumerate(zip(texts, self._texts("last_decoration_date"), strict=True))
            texts = tuple(
                UNKNOWN if self._awards.lacks_decoration(place, name, *pair) else with_dates(*pair)
                for place, pair in pairs
            )
        values = list(map(reader.__getitem__, texts))
        if reader.notes:
            self._note(name, texts, reader.notes)
        return values

    def _read_sides(self, values: dict[str, Any]) -> None:
        """Add what is said of the officers outside of the columns that have a field."""
        births = values.get("birth_date") or [None] * len(self._rows)
        for place, column, text, what, is_reviewed in said_of_rows(self._sections, self._rows, self._by_column, births):
            if self._persons[place] is None:
                continue
            if is_reviewed:
                said = values["on_leave"] = values["on_leave"] or [None] * len(self._rows)
                said[place] = said[place] or text
            self._add_note(place, column, text, Note("notice", what))

    def _tell_merged(self) -> None:
        """Report the cells of different persons that are one merged cell in the sheet."""
        merged = self._sheet.merged
        used = {place: name for name, place in self._columns.index.items()} | dict(self._columns.classes)
        columns = sorted(used.keys() & {column for _, column in merged})
        for place, row in enumerate(self._rows) if columns else ():
            if self._persons[place] is None or (place and self._persons[place] == self._persons[place - 1]):
                continue
            for column in columns:
                if (row.number, column) in merged and (text := row.cells[column].strip()):
                    note = Note("repair", message("merged_cell"), text)
                    self._add_note(place, used[column], "", note)

    def _note(self, name: str, texts: Sequence[str], notes: Mapping[str, tuple[Note, ...]]) -> None:
        for place, text in enumerate(texts):
            if text in notes and self._persons[place] is not None:
                for note in notes[text]:
                    self._add_note(place, name, text, note)

    def _add_note(self, place: int, name: str, text: str, note: Note) -> None:
        person, number = self._persons[place] or "", self._rows[place].number
        if note.kind == "bad":
            self._mark_bad(place, person, name, text, note)
        elif note.kind == "notice":
            self._report.notice(self._sheet, number, person, name, note.message)
            self._count(note.message.code, name)
        else:
            self._report.repair(self._sheet, number, person, name, (text, note.after), note.message)

    def _count(self, code: str, name: str) -> None:
        if code == "zero_pay":
            counts = self._reader.rows.counts
            counts[name] = counts.get(name, 0) + 1

    def _mark_bad(self, place: int, person: str, name: str, text: str, note: Note) -> None:
        self._bad.add(place)
        self._report.bad(self._sheet, self._rows[place].number, person, name, text, note.message)

    def _levels(self, values: dict[str, Any]) -> list[str | None]:
        texts = self._texts("level")
        groups = values.get("employee_group") or [None] * len(texts)
        types = values.get("position_type") or [None] * len(texts)
        reader = self._reader.levels
        levels = []
        for place, words in enumerate(zip(texts, groups, types, strict=True)):
            level, note = reader.read(*words)
            levels.append(level)
            if note is not None and self._persons[place] is not None:
                self._add_note(place, "level", words[0], note)
        if "employee_group" not in self._columns:
            values["employee_group"] = [reader.group_of(level) for level in levels]
        return levels

    # -- officers --------------------------------------------------------------------------------------------------

    def _collect(self, values: Mapping[str, Any]) -> None:
        rows = self._reader.rows
        columns = [
            itertools.repeat(default) if (column := values.get(name)) is None else column for name, default in _FIELDS
        ]
        check = self._reader.plausibility.check
        for place, (person, *cells) in enumerate(zip(self._persons, *columns, strict=False)):
            if person is None:
                continue
            number = self._rows[place].number
            if place not in self._bad:
                officer, notes = check(Officer(person, *cells))
                for name, note in notes:
                    self._add_note(place, name, "", note)
            if place in self._bad:
                rows.bad_rows += 1
                continue
            self._keep(place, officer, number)

    def _keep(self, place: int, officer: Officer, number: int) -> None:
        rows = self._reader.rows
        at = len(rows.officers)
        rows.officers.append(officer)
        rows.numbers.append(number)
        rows.segments.append(self._segment)
        if place in self._restored:
            rows.restored.append(at)
        if self._unstated is not None and not self._unstated[place].strip():
            rows.unstated.append(at)
        row = self._short.get(number)
        if row is not None:
            count = len(row.cells)
            kind = ShortRows(self._shape.lacks_decorations(count), lack_one=count == self._shape.width - 1)
            kind = rows.short.setdefault((id(self._segment), count), kind)
            kind.places.append(at)
            kind.held |= {at: self._awards.cut[place]} if place in self._awards.cut else {}
            kind.doubtful += [at] if self._shape.is_doubtful(row) else []


def _parts(rows: Iterator[Row]) -> Iterator[tuple[list[Row], list[Row]]]:
    """Yield the rows in parts, each with the first rows of the next one."""
    below: list[Row] = []
    while part := [*below, *itertools.islice(rows, CHUNK - len(below))]:
        below = list(itertools.islice(rows, _BELOW))
        yield part, below


def _fitting(shape: RowShape, rows: Sequence[Row]) -> list[Row]:
    """Return the rows up to the first one that is bad, without blank ones, with a cell for each column."""
    found: list[Row] = []
    for row in rows:
        cells = shape.fit(row)
        if isinstance(cells, str):
            break
        found += [Row(row.number, cells)] if cells is not None else []
    return found


def _digits(text: str) -> str:
    return "".join(filter(str.isdigit, text))
