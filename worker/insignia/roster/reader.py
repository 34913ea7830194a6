"""Reads rosters: officers, bad rows, and everything that was repaired, skipped or should be checked.

A bad row has a value that cannot be read; a missing value does not make a row bad. Bad rows do not stop the good ones,
up to a limit.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worker.insignia.buddhist_year import BE_OFFSET
from worker.insignia.criteria.model import Criteria
from worker.insignia.errors import BadCell, RosterRejected, RosterUnreadable
from worker.insignia.messages import BilingualText, message
from worker.insignia.progress import HISTORY as HISTORY_PHASE
from worker.insignia.progress import ROWS, Phase, ProgressReporter
from worker.insignia.roster.assembly import assemble
from worker.insignia.roster.award_sheets import are_whole, take_award_sheets
from worker.insignia.roster.cell_readers import DATES, cell_readers
from worker.insignia.roster.columns import (
    HISTORY,
    HISTORY_FIELDS,
    REQUIRED,
    ROSTER_FIELDS,
    Headings,
    parse_mapping,
    reject_unused_mapping,
)
from worker.insignia.roster.date_columns import DateColumn, DateReading, judge_columns
from worker.insignia.roster.decorations import DecorationParser
from worker.insignia.roster.file_rows import FileRows
from worker.insignia.roster.files import RosterFile, count_lines, open_file
from worker.insignia.roster.headings import LABELS_TH
from worker.insignia.roster.history import History, HistoryReader, reject_lines_without_id
from worker.insignia.roster.layout import Layout, Segment, find_tables, heads_of
from worker.insignia.roster.levels import LevelReader
from worker.insignia.roster.plausibility import plausibility
from worker.insignia.roster.roster_data import Roster
from worker.insignia.roster.row_reader import CHUNK, RowReader
from worker.insignia.roster.table import Row, Sheet, objects_sheet
from worker.insignia.roster.vocabulary import build_vocabulary

if TYPE_CHECKING:
    from worker.insignia.columnar.history_columns import HistoryColumns
    from worker.insignia.columnar.tidy_roster import CleanOfficers

File = Path | str | RosterFile
Source = File | Sequence[Any]
"""A file, several files, or the objects themselves."""
_FLOOR = 3
"""Bad rows that are always accepted if at least as many rows are good, so that small rosters can be read."""
_FEW_GROUPS = ("employee_group",)


@dataclass(slots=True)
class _Reading:
    """What the files of one roster have in common."""

    criteria: Criteria
    reporter: ProgressReporter
    mapping: Mapping[str, str]
    remembered: Mapping[str, str]
    parser: DecorationParser = field(init=False)
    opened: dict[str, list[list[Sheet]]] = field(default_factory=dict)
    """The sheets of each file of the lists that are open before they are read."""
    in_columns: bool = False
    """Whether to read in columns what is tidy enough."""
    past_columns: "HistoryColumns | None" = None
    """The history, if it is read in columns."""
    phase: Phase = HISTORY_PHASE
    expected: int = 1
    done: int = 0

    def __post_init__(self) -> None:
        days = frozenset((day.month, day.day) for day in self.criteria.calendar.ceremony)
        self.parser = DecorationParser(build_vocabulary(self.criteria), days, self._ceremony_of)

    def _ceremony_of(self, year: int) -> date | None:
        for rule in self.criteria.calendar.ceremony:
            if rule.covers(year + BE_OFFSET):
                return date(year, rule.month, rule.day)
        return None

    def headings(self, fields: tuple[str, ...], required: tuple[str, ...]) -> Headings:
        words = self.parser.vocabulary
        mapping, remembered = (parse_mapping(one, fields) for one in (self.mapping, self.remembered))
        return Headings(fields, required, words.is_decoration, words.resembles_decoration, mapping, remembered)

    def advance(self, rows: int) -> None:
        self.done += rows
        self.phase.report(self.reporter, self.done, self.expected)

    def begin(self, phase: Phase, sheets: Iterable[Sheet]) -> None:
        """Begin a part of the reading."""
        self.phase, self.done = phase, 0
        self.expected = max(1, sum(sheet.expected for sheet in sheets))

    def counted(self, rows: Iterator[Row]) -> Iterator[Row]:
        """Yield the rows, and report some of them."""
        for count, row in enumerate(rows, 1):
            if count % CHUNK == 0:
                self.advance(CHUNK)
            yield row


def read_roster(
    source: Source,
    criteria: Criteria,
    *,
    history: Source | None = None,
    bad_row_limit: float = 5.0,
    reporter: ProgressReporter | None = None,
    mapping: Mapping[str, str] | None = None,
    remembered: Mapping[str, str] | None = None,
    large: int | None = None,
) -> Roster:
    """Return the contents of the roster. `mapping` gives fields for headings that are not known.

    `remembered` does so for headings that nothing else explains; that it was used is a remark. A file of at least
    `large` lines is read in columns with Polars if it is tidy enough.

    Raises RosterUnreadable, and RosterRejected if more than `bad_row_limit` percent of the rows are bad.
    """
    reading = _Reading(criteria, reporter or ProgressReporter(), mapping or {}, remembered or {})
    reading.in_columns = large is not None and count_lines(source) >= large
    reading.reporter.report(0, "reading")
    if reading.mapping:
        _reject_unused_mapping(source, history, reading)
    awards = _take_award_sheets(source, reading)
    past = _read_history(history, awards, reading) if history is not None or awards else None
    layouts = _layouts(source, reading, has_history=past is not None and past.is_whole)
    reading.begin(ROWS, (segment.sheet for layout in layouts for segment in layout.segments))
    officers = _read_columns(layouts, reading, past) if reading.in_columns else None
    files = [_read_file(layout, reading, past) for layout in layouts] if officers is None else [officers.file]
    roster = assemble(files, past)
    if officers is not None:
        roster.columns = officers.whole(roster)
    _add_remarks(roster, layouts, awards)
    title = layouts[0].segments[0].sheet.title
    _reject_zero_pay(title, files, roster)
    _check_history(past, roster, layouts, officers)
    _reject_if_too_bad(title, roster, bad_row_limit)
    return roster


def _add_remarks(roster: Roster, layouts: Sequence[Layout], awards: Sequence[Sheet]) -> None:
    for sheet in awards:
        roster.remark(message("history_sheet", name=sheet.file, sheet=sheet.name))
    for remark in (*(remark for layout in layouts for remark in layout.remarks), *_unknown_columns(layouts)):
        roster.remark(remark)
    roster.unknown_columns = _unknown_headings(layouts)


def _sheets(source: Source, list_name: str, headings: Headings) -> list[list[Sheet]]:
    """Return the sheets of each file."""
    files = [source] if isinstance(source, Path | str | RosterFile) else source
    if files and all(isinstance(item, Path | str | RosterFile) for item in files):
        return [
            open_file(item if isinstance(item, RosterFile) else Path(item), list_name, headings.count) for item in files
        ]
    assert not isinstance(source, Path | str | RosterFile), "a file was opened above"
    return [[objects_sheet(f"the list of {list_name}", source)]]


def _reject_unused_mapping(source: Source, history: Source | None, reading: _Reading) -> None:
    officers = reading.headings(ROSTER_FIELDS, REQUIRED[:1])
    past = reading.headings(HISTORY_FIELDS, HISTORY)
    files = reading.opened["officers"] = _sheets(source, "officers", officers)
    heads = [head for sheets in files for head in heads_of(sheets, officers)]
    if history is not None:
        reading.opened["history"] = _sheets(history, "history", past)
        heads += [head for sheets in reading.opened["history"] for head in heads_of(sheets, past)]
    title = files[0][0].title if files[0] else "?"
    reject_unused_mapping(reading.mapping, list(dict.fromkeys(heads)), officers, title)


def _layouts(source: Source, reading: _Reading, *, has_history: bool) -> list[Layout]:
    required = tuple(name for name in REQUIRED if name not in _FEW_GROUPS)
    headings = reading.headings(ROSTER_FIELDS, required)
    sparse = reading.headings(ROSTER_FIELDS, REQUIRED[:1])
    layouts = []
    for sheets in reading.opened.pop("officers", None) or _sheets(source, "officers", headings):
        is_sparse = any(sheet.columns is not None for sheet in sheets)
        layout = find_tables(sheets, sparse if is_sparse else headings)
        for segment in layout.segments:
            columns = segment.columns
            has_list = bool(columns.pairs) or "decorations" in columns or "last_decoration" in columns
            if not (has_history or columns.classes or has_list):
                # Without any column of decorations they are unknown, which is not the same as none.
                raise RosterUnreadable(message("no_decorations", name=segment.sheet.title))
            if columns.classes and not (has_history or has_list):
                _reject_gap(segment, reading.criteria.ranks)
        layouts.append(layout)
    return layouts


def _reject_gap(segment: Segment, ranks: Mapping[str, int]) -> None:
    """Raise RosterUnreadable if a class between those of the columns has none: it would be missing from everyone."""
    held = {code for code in segment.columns.classes.values() if code in ranks}
    known = sorted(ranks[code] for code in held)
    gaps = [code for code in ranks if known and known[0] < ranks[code] < known[-1] and code not in held]
    if gaps:
        raise RosterUnreadable(message("class_gap", name=segment.sheet.title, classes=", ".join(gaps)))


def _take_award_sheets(source: Source, reading: _Reading) -> list[Sheet]:
    """Return the sheets of the roster that are its history, and leave the others for the officers."""
    officers = reading.headings(ROSTER_FIELDS, REQUIRED[:1])
    if "officers" not in reading.opened:
        reading.opened["officers"] = _sheets(source, "officers", officers)
    files = reading.opened["officers"]
    return take_award_sheets(files, officers, reading.headings(HISTORY_FIELDS, HISTORY))


def _read_history(source: Source | None, awards: Sequence[Sheet], reading: _Reading) -> History:
    headings = reading.headings(HISTORY_FIELDS, HISTORY)
    history = History()
    reader = HistoryReader(reading.parser, history)
    files = reading.opened.pop("history", None) or ([] if source is None else _sheets(source, "history", headings))
    files = [*files, *([sheet] for sheet in awards)]
    reading.begin(HISTORY_PHASE, itertools.chain.from_iterable(files))
    for sheets in files:
        segments = find_tables(sheets, headings).segments
        for segment in segments:
            history.title = history.title or segment.sheet.title
            if reading.in_columns and len(files) == len(segments) == 1:
                reading.past_columns = _history_columns(segment, reader, reading)
            if reading.past_columns is None:
                reader.read(segment, reading.counted(segment.sheet.rows()))
    reject_lines_without_id(history)
    history.is_whole = source is not None or are_whole(awards, history)
    return history


def _history_columns(segment: Segment, reader: HistoryReader, reading: _Reading) -> "HistoryColumns | None":
    from worker.insignia.columnar.history_columns import read_history_columns  # loads Polars

    return read_history_columns(segment, reader, reading.advance)


def _read_columns(layouts: Sequence[Layout], reading: _Reading, past: History | None) -> "CleanOfficers | None":
    """Read the roster in columns; None if it is not tidy enough."""
    from worker.insignia.columnar.tidy_roster import read_clean, rows_to_reread, tidy_table  # loads Polars

    table = tidy_table(layouts) if past is None or reading.past_columns is not None else None
    forms: Mapping[str, DateReading] = {}
    persons: set[str] = set()

    def advance(rows: int) -> None:
        reading.advance(0 if forms or persons else rows)

    while table is not None:
        reader = _row_reader(reading, past, forms)
        officers = read_clean(table, reader, reading.past_columns, persons, has_plain_dates=not forms, advance=advance)
        if reader.sections is not None and reader.sections.is_any:  # titles are about the rows below them
            break
        found = {} if forms else _unusual({name: officers.dates.column(name, reader.readers[name]) for name in DATES})
        more = set() if found else rows_to_reread(officers, past)
        if not found and not more:
            reading.advance(table.count - reading.done)
            return officers
        forms, persons = found or forms, persons | more
    if reading.past_columns is not None:
        reading.past_columns.move_all()
    return None


def _read_file(layout: Layout, reading: _Reading, past: History | None) -> FileRows:
    """Read a file; once more if its columns as a whole show that dates are written differently than assumed."""
    reader = _read_once(layout, reading, past, {})
    if forms := _unusual({name: DateColumn(reader.readers[name]) for name in DATES}):
        if any(segment.sheet.counts_from_1904 for segment in layout.segments):
            forms = {name: form.from_1904() for name, form in forms.items()}
        reader = _read_once(layout, reading, past, forms)
    return reader.rows


def _read_once(layout: Layout, reading: _Reading, past: History | None, forms: Mapping[str, DateReading]) -> RowReader:
    reader = _row_reader(reading, past, forms)
    for segment in layout.segments:
        for count in reader.read(segment, segment.sheet.rows()):
            reading.advance(0 if forms else count)
    return reader


def _row_reader(reading: _Reading, past: History | None, forms: Mapping[str, DateReading]) -> RowReader:
    readers = cell_readers(reading.parser, forms)
    levels = LevelReader(reading.parser.vocabulary, _paid_by_wage(reading.criteria))
    return RowReader(readers, levels, reading.parser, past, plausibility(reading.criteria.salary_bands))


def _unusual(columns: Mapping[str, DateColumn]) -> dict[str, DateReading]:
    """Return how the columns of dates are to be read, as their cells show; empty if all of them are as assumed."""
    forms = judge_columns(columns)
    return {} if all(form.is_default for form in forms.values()) else forms


def _paid_by_wage(criteria: Criteria) -> frozenset[str]:
    """Return the groups whose ladder depends on the wage alone, whatever the roster says about the level."""
    return frozenset(group.id for group in criteria.groups if all(level.applies_when.by_wage for level in group.levels))


def _unknown_headings(layouts: Sequence[Layout]) -> list[str]:
    heads = (head for layout in layouts for segment in layout.segments for head in segment.columns.unknown)
    return list(dict.fromkeys(heads))


def _unknown_columns(layouts: Sequence[Layout]) -> list[BilingualText]:
    unknown = _unknown_headings(layouts)
    found = [message("unknown_columns", names=", ".join(unknown))] if unknown else []
    segments = [segment for layout in layouts for segment in layout.segments]
    hidden = dict.fromkeys(head for segment in segments for head in segment.hidden_heads())
    found += [message("hidden_columns", names=", ".join(hidden))] if hidden else []
    known_before = {head: name for segment in segments for head, name in segment.columns.remembered.items()}
    if known_before:
        names = ", ".join(f"{head} = {name}" for head, name in known_before.items())
        names_th = ", ".join(f"{head} = {LABELS_TH.get(name, name)}" for head, name in known_before.items())
        found.append(message("remembered_columns", names=names, names_th=names_th))
    return found


def _check_history(
    past: History | None, roster: Roster, layouts: Sequence[Layout], officers: "CleanOfficers | None"
) -> None:
    if past is None:
        return
    past.check(roster.count)
    persons = {officer.person_id for officer in roster.officers}
    clean = frozenset[str]() if officers is None else officers.file.clean.persons
    segments = (segment for layout in layouts for segment in layout.segments)
    has_names = any("first_name" in segment.columns for segment in segments)
    past.reject_other_ids(lambda person: person in persons or person in clean, has_names=has_names)


def _reject_zero_pay(title: str, files: Sequence[FileRows], roster: Roster) -> None:
    """Raise RosterUnreadable if the pay of everybody is 0."""
    zeros = sum(file.counts.get("salary", 0) for file in files)
    if zeros >= _FLOOR and zeros >= roster.rows:
        raise RosterUnreadable(message("zero_pay_column", name=title, field="salary", field_th=LABELS_TH["salary"]))


def _reject_if_too_bad(title: str, roster: Roster, limit: float) -> None:
    if not roster.rows:
        raise RosterUnreadable(message("no_officers", name=title))
    accepted = limit * roster.rows / 100
    if limit > 0 and roster.bad_rows * 2 <= roster.rows:
        accepted = max(accepted, _FLOOR)
    if roster.bad_rows <= accepted:
        return
    faults = _first_faults(roster)
    raise RosterRejected(
        message(
            "too_bad",
            name=title,
            bad=roster.bad_rows,
            rows=roster.rows,
            percent=f"{100 * roster.bad_rows / roster.rows:.1f}",
            limit=f"{limit:g}",
            first="; ".join(fault.en for fault in faults),
            first_th="; ".join(fault.th for fault in faults),
        ),
        roster.bad_cells,
    )


def _first_faults(roster: Roster) -> list[BilingualText]:
    """Return the first cells that cannot be read, or whole columns whose cells have the same fault; at most three."""
    faults: dict[tuple[str, str], list[BadCell]] = {}
    for cell in roster.bad_cells:
        faults.setdefault((cell.column, cell.reason), []).append(cell)
    return [_fault(cells) for cells in sorted(faults.values(), key=len, reverse=True)[:3]]


def _fault(cells: list[BadCell]) -> BilingualText:
    """Return a line about cells of one column that have the same fault."""
    first = cells[0]
    field, field_th = first.column, LABELS_TH.get(first.column, first.column)
    what = {"field": field, "field_th": field_th, "why": first.reason, "why_th": first.reason_th}
    if len(cells) == 1:
        return message("unreadable_cell", row=first.row, **what)
    return message("unreadable_cells", count=len(cells), **what)
