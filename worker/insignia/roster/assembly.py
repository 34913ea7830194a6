"""Puts the files of a roster together: the same person twice, ids of another kind, rows with missing cells."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from worker.insignia.errors import BadCell
from worker.insignia.messages import BilingualText, message
from worker.insignia.roster.columns import ROSTER_FIELDS
from worker.insignia.roster.file_rows import FileRows
from worker.insignia.roster.history import History
from worker.insignia.roster.layout import Segment
from worker.insignia.roster.officer import Officer
from worker.insignia.roster.person_id import is_citizen_id
from worker.insignia.roster.roster_data import Report, Roster

_HABIT, _LEAST_HABIT = 0.05, 3
"""Share of a table's rows, and number of rows, that must lack the same cells for this to be the program's habit."""
_ONE_FOR_ALL_ROWS = frozenset(ROSTER_FIELDS) - {"decorations", "last_decoration"}
"""Columns that say the same in every row of a person."""
_LASTING = ("discipline", "imprisonment", "decoration_recalled", "left_service", "resigned")
"""Grounds against an officer that are not over when a year is."""
_MANY, _RARE = 10, 0.1
"""Rows from which on an empty cell means something, and the share of rows with such a cell up to which it does."""


@dataclass(slots=True)
class _Assembly:
    officers: list[Officer]
    numbers: list[int]
    segments: list[Segment]
    report: Report = field(default_factory=Report)
    dropped: set[int] = field(default_factory=set)
    """Officers who are part of another row, by their places."""
    bad: set[int] = field(default_factory=set)

    def mark_bad(self, place: int, column: str, why: BilingualText) -> None:
        if place not in self.bad:
            self.bad.add(place)
            officer = self.officers[place]
            self.report.bad(
                self.segments[place].sheet, self.numbers[place], officer.person_id, column, officer.person_id, why
            )


def assemble(files: Sequence[FileRows], history: History | None) -> Roster:
    """Return the roster of all files."""
    whole = _Assembly(
        [officer for file in files for officer in file.officers],
        [number for file in files for number in file.numbers],
        [segment for file in files for segment in file.segments],
    )
    _judge_short_rows(files, whole, history)
    _doubt_cut_rows(files, whole)
    _reject_other_kinds(files, whole)
    _doubt_other_rows(files, whole)
    _drop_old_rows(whole)
    _doubt_unread_sheets(files, whole)
    _merge_persons(whole)
    _settle_namesakes(whole, history)
    clean = set[str]().union(*(file.clean.persons for file in files))
    _doubt_mistyped(whole, history, clean | {officer.person_id for officer in whole.officers})
    reports = [*(file.report for file in files), whole.report]
    kept = [place for place in range(len(whole.officers)) if place not in whole.bad and place not in whole.dropped]
    roster = Roster(
        officers=[whole.officers[place] for place in kept],
        numbers=[whole.numbers[place] for place in kept],
        clean=len(clean),
        bad_cells=sorted((cell for report in reports for cell in report.bad_cells), key=_place),
        bad_rows=sum(file.bad_rows for file in files) + len(whole.bad),
        notices=[notice for report in reports for notice in report.notices],
        repairs=[repair for report in reports for repair in report.repairs],
    )
    _add_history(roster, history, clean)
    return roster


def _place(cell: BadCell) -> tuple[str, str, int]:
    return cell.file, cell.sheet, cell.row


def _judge_short_rows(files: Sequence[FileRows], whole: _Assembly, history: History | None) -> None:
    """Judge rows with too few cells.

    Many rows with the same number of cells are a habit of the program: what is missing was empty. Otherwise a cell in
    the middle may be missing, if the last one is empty, and decorations at the end stay unknown.
    """
    start = 0
    for file in files:
        many = max(_LEAST_HABIT, _HABIT * file.count)
        is_usual = sum(len(kind.places) for kind in file.short.values()) >= many
        for kind in file.short.values():
            is_habit = len(kind.places) >= many
            doubtful = [] if is_habit else kind.places if kind.lack_one and not is_usual else kind.doubtful
            for place in doubtful:
                whole.mark_bad(start + place, "(row)", message("row_shifted"))
            for place in kind.places if is_habit else ():
                officer = whole.officers[start + place]
                held = kind.held.get(place, officer.decorations or () if kind.lack_decorations else None)
                if held is not None and not (history is not None and officer.person_id in history.doubted):
                    whole.officers[start + place] = replace(officer, decorations=held)
        start += len(file.officers)


def _doubt_cut_rows(files: Sequence[FileRows], whole: _Assembly) -> None:
    """Make the nationality unknown where nearly all other rows state it: the rest of such a row may be lost as well."""
    start = 0
    for file in files:
        if doubts_unstated(file):
            for place in (start + one for one in file.unstated):
                officer = whole.officers[place] = replace(whole.officers[place], nationality=None)
                sheet, number = whole.segments[place].sheet, whole.numbers[place]
                what = message("nationality_missing")
                whole.report.notice(sheet, number, officer.person_id, "nationality", what)
        start += len(file.officers)


def doubts_unstated(file: FileRows) -> bool:
    """Return whether so few rows of a file lack the nationality that it means something."""
    return file.count >= _MANY and len(file.unstated) + len(file.clean.unstated) <= _RARE * file.count


def _reject_other_kinds(files: Sequence[FileRows], whole: _Assembly) -> None:
    """Mark ids that are not citizen ids among such ids, and ids whose lost zero is doubtful."""
    are_citizens = [is_citizen_id(officer.person_id) for officer in whole.officers]
    clean = sum(file.clean.count for file in files)
    if 2 * (sum(are_citizens) + clean) > len(are_citizens) + clean and not all(are_citizens):
        for place, is_citizen in enumerate(are_citizens):
            if not is_citizen:
                whole.mark_bad(place, "person_id", message("id_other_kind"))
    start = 0
    for file in files:
        restored = set(file.restored)
        kept_zero = file.clean.has_leading_zero or any(
            officer.person_id.startswith("0") and place not in restored for place, officer in enumerate(file.officers)
        )
        if restored and kept_zero:  # the program did not take zeros off, so a digit is missing somewhere else
            for place in restored:
                whole.mark_bad(start + place, "person_id", message("id_wrong_length", digits=12))
        start += len(file.officers)


def _doubt_other_rows(files: Sequence[FileRows], whole: _Assembly) -> None:
    """Mark rows of persons who have another row whose decorations cannot be read: these rows may lack them."""
    cells = (cell for file in files for cell in file.report.bad_cells if cell.person_id)
    unread = {cell.person_id: cell.row for cell in cells if cell.column not in _ONE_FOR_ALL_ROWS}
    for place, officer in enumerate(whole.officers) if unread else ():
        if officer.person_id in unread:
            whole.mark_bad(place, "decorations", message("other_row_unread", row=unread[officer.person_id]))


def _drop_old_rows(whole: _Assembly) -> None:
    """Leave out rows of an earlier year's sheet whose officers are on another sheet as well."""
    if not any(segment.is_old for segment in whole.segments):
        return
    places = [place for place in range(len(whole.officers)) if place not in whole.bad]
    current: dict[str, list[int]] = {}
    for place in places:
        if not whole.segments[place].is_old:
            current.setdefault(whole.officers[place].person_id, []).append(place)
    for place in places:
        person = whole.officers[place].person_id
        if whole.segments[place].is_old and person in current:
            whole.dropped.add(place)
            sheet, number = whole.segments[place].sheet, whole.numbers[place]
            whole.report.notice(sheet, number, person, "(row)", message("old_row"))
            for newer in current[person]:
                _carry_over(whole, place, newer)


def _carry_over(whole: _Assembly, old: int, new: int) -> None:
    """Add the decorations of an earlier year's row to the newer one, and doubt it if it lacks what excluded before."""
    before, now = whole.officers[old], whole.officers[new]
    if before.decorations is not None and now.decorations is not None:
        known = {award.code for award in now.decorations}
        missing = [award for award in before.decorations if award.received is not None or award.code not in known]
        held = tuple(dict.fromkeys((*now.decorations, *missing)))
        is_last = now.last_only or (before.last_only and not {award.code for award in before.decorations} <= known)
        now = replace(now, decorations=held, last_only=is_last)
    else:
        now = replace(now, decorations=None)
    sheet = whole.segments[old].sheet
    is_said = before.on_leave not in (None, sheet.name)  # which every row of such a sheet has
    is_foreign = before.nationality not in ("TH", None) and now.nationality == "TH"
    if is_said or is_foreign or any(getattr(before, name) and not getattr(now, name) for name in _LASTING):
        now = replace(now, on_leave=now.on_leave or sheet.name)
        what = message("old_row_more", row=whole.numbers[old], sheet=sheet.name)
        whole.report.notice(whole.segments[new].sheet, whole.numbers[new], now.person_id, "(row)", what)
    whole.officers[new] = now


def _doubt_unread_sheets(files: Sequence[FileRows], whole: _Assembly) -> None:
    """Doubt officers whose row on another sheet of the file cannot be read: it may say what this one lacks."""
    cells = (cell for report in (*(file.report for file in files), whole.report) for cell in report.bad_cells)
    unread = {cell.person_id: cell for cell in cells if cell.person_id and cell.sheet}
    for place, officer in enumerate(whole.officers) if unread else ():
        cell, sheet = unread.get(officer.person_id), whole.segments[place].sheet
        if cell is not None and cell.file == sheet.file and cell.sheet != sheet.name:
            whole.officers[place] = replace(officer, on_leave=officer.on_leave or cell.sheet)
            what = message("other_sheet_unread", row=cell.row, sheet=cell.sheet)
            whole.report.notice(sheet, whole.numbers[place], officer.person_id, "(row)", what)


def _merge_persons(whole: _Assembly) -> None:
    """Merge rows of one person that differ only in decorations; mark those that contradict each other."""
    first: dict[str, int] = {}
    for place, officer in enumerate(whole.officers):
        if place in whole.bad or place in whole.dropped:
            continue
        other = first.setdefault(officer.person_id, place)
        if other == place:
            continue
        before = whole.officers[other]
        if other not in whole.bad and _differ_in_decorations(before, officer):
            whole.officers[other] = _merged(before, officer)
            whole.dropped.add(place)
            what = message("merged_rows", row=whole.numbers[other])
            sheet, number = whole.segments[place].sheet, whole.numbers[place]
            whole.report.notice(sheet, number, officer.person_id, "person_id", what)
            continue
        whole.mark_bad(other, "person_id", message("contradicting_rows", row=whole.numbers[place]))
        whole.mark_bad(place, "person_id", message("contradicting_rows", row=whole.numbers[other]))
    if whole.bad:  # what was merged into a bad row is bad with it
        for place in list(whole.dropped):
            other = first[whole.officers[place].person_id]
            if other in whole.bad:
                whole.dropped.discard(place)
                whole.mark_bad(place, "person_id", message("contradicting_rows", row=whole.numbers[other]))


def _differ_in_decorations(one: Officer, other: Officer) -> bool:
    return replace(one, decorations=None, last_only=False) == replace(other, decorations=None, last_only=False)


def _merged(one: Officer, other: Officer) -> Officer:
    if one.decorations is None or other.decorations is None:
        return replace(one, decorations=None)
    awards = tuple(dict.fromkeys((*one.decorations, *other.decorations)))
    return replace(one, decorations=awards, last_only=one.last_only or other.last_only)


def _settle_namesakes(whole: _Assembly, history: History | None) -> None:
    """Give officers without lines in the history no decorations where all lines of their name are other officers'."""
    if history is None or not history.is_whole or not history.namesakes:
        return
    persons = {officer.person_id for officer in whole.officers}
    for place, officer in enumerate(whole.officers):
        others = history.namesakes.get(officer.person_id)
        if others is not None and others <= persons:
            whole.officers[place] = replace(officer, decorations=officer.decorations or (), last_only=False)


def _doubt_mistyped(whole: _Assembly, history: History | None, persons: set[str]) -> None:
    """Make the decorations of officers unknown whose id was probably mistyped, so that the history missed them."""
    if history is None:
        return
    mistyped = history.mistyped(persons)
    for place, officer in enumerate(whole.officers) if mistyped else ():
        if officer.person_id in mistyped and not officer.decorations:
            whole.officers[place] = replace(officer, decorations=None, last_only=False)
            sheet, number = whole.segments[place].sheet, whole.numbers[place]
            whole.report.notice(sheet, number, officer.person_id, "history", message("history_unknown"))


def _add_history(roster: Roster, history: History | None, clean: set[str]) -> None:
    if history is None:
        return
    roster.notices += history.report.notices
    roster.repairs += history.report.repairs
    others = history.others(clean | {officer.person_id for officer in roster.officers})
    if others:
        roster.remark(message("history_of_others", count=others))
    if history.namesakes:
        unknown = {officer.person_id for officer in roster.officers if officer.decorations is None or officer.last_only}
        roster.notices = [
            notice for notice in roster.notices if notice.code != "history_unknown" or notice.person_id in unknown
        ]
