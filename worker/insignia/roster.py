"""A roster as officers: good rows, bad rows, and rows that deserve a look. Knows no rule.

A bad row is one with a value that cannot be read; a value that is not there is no fault of the row.
Bad rows never stop the good ones, up to a limit.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worker.insignia.columns import roster_columns, strange_columns
from worker.insignia.criteria import Criteria
from worker.insignia.faults import EvaluationCancelled, RosterRejected, RosterUnreadable
from worker.insignia.history import NOBODYS, History, Reader, read_history
from worker.insignia.rows import Roster, Rows
from worker.insignia.table import Table, objects_table, read_table
from worker.insignia.vocabulary import vocabulary_of

Source = Path | str | Sequence[Any]
"""A file, or the objects themselves."""
_STRIDE = 1000
"""Rows between two looks at the clock and the wish to cancel."""


@dataclass(frozen=True, slots=True)
class Watch:
    """Who wants to know how far it is, and whether to stop."""

    progress: Callable[[float, str], None] | None = None
    cancelled: Callable[[], bool] | None = None

    def tell(self, percent: float, note: str) -> None:
        """Raises EvaluationCancelled."""
        if self.cancelled is not None and self.cancelled():
            raise EvaluationCancelled("the evaluation was cancelled; nothing was written")
        if self.progress is not None:
            self.progress(percent, note)


def read_roster(
    source: Source,
    criteria: Criteria,
    *,
    history: Source | None = None,
    bad_row_limit: float = 5.0,
    watch: Watch | None = None,
    share: float = 100.0,
) -> Roster:
    """Raises RosterUnreadable; RosterRejected where more than `bad_row_limit` percent of the rows are bad."""
    watch = watch or Watch()
    watch.tell(0, "reading")
    reader = Reader(vocabulary_of(criteria), frozenset((day.month, day.day) for day in criteria.calendar.ceremony))
    past = None if history is None else _read_past(history, reader, bad_row_limit)
    table = _table(source, "officers")
    columns = roster_columns(table, has_history=past is not None)
    rows = Rows(table, columns, reader, past, _paid_by_wage(criteria))
    for count, row in enumerate(table.rows):
        if count % _STRIDE == 0:
            watch.tell(min(share, share * count / max(1, table.expected)), "reading")
        rows.take(row)
    rows.remark(strange_columns(table, columns))
    _refuse_if_too_bad(table.name, rows.roster, bad_row_limit)
    return rows.roster


def _table(source: Source, list_name: str) -> Table:
    if isinstance(source, Path | str):
        return read_table(Path(source), list_name)
    return objects_table(f"the list of {list_name}", source)


def _read_past(source: Source, reader: Reader, limit: float) -> History:
    table = _table(source, "history")
    past = read_history(table, reader)
    if past.nobodys * 100 > limit * past.lines:
        lines = ", ".join(str(notice.row) for notice in past.notices if notice.code == NOBODYS)[:60]
        raise RosterUnreadable(
            f"{table.name}: {past.nobodys} of {past.lines} lines belong to nobody (lines {lines}), more than the limit "
            f"of {limit:g} %: correct them"
        )
    return past


def _paid_by_wage(criteria: Criteria) -> frozenset[str]:
    """Groups whose ladders the wage picks: what the roster calls their level plays no part."""
    return frozenset(group.id for group in criteria.groups if all(level.applies_when.by_wage for level in group.levels))


def _refuse_if_too_bad(name: str, roster: Roster, limit: float) -> None:
    if not roster.rows:
        raise RosterUnreadable(f"{name} has a header, but no officers")
    if roster.bad_rows * 100 <= limit * roster.rows:
        return
    percent = 100 * roster.bad_rows / roster.rows
    first = "; ".join(f"row {cell.row}, {cell.column}: {cell.reason}" for cell in roster.bad_cells[:3])
    raise RosterRejected(
        f"{name}: {roster.bad_rows} of {roster.rows} rows ({percent:.1f} %) cannot be read, "
        f"more than the limit of {limit:g} %: {first}. Correct them, or raise Insignia:BadRowLimit",
        roster.bad_cells,
    )
