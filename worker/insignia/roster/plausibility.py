"""Checks the values of one officer against each other: lives that cannot be, and pay that cannot be monthly pay."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from worker.insignia.messages import message
from worker.insignia.retirement import YOUNGEST
from worker.insignia.roster.cell_readers import Note
from worker.insignia.roster.officer import Officer

OLDEST = 65
"""The age above which no one enters the service."""
DOUBTFUL = YOUNGEST + 43
"""The age from which on a Buddhist year of two digits, read as 20xx instead of 25xx, explains the day of entering."""
_EARLY = 40
"""Years before the service in which no one receives a decoration."""
_LEAST, _MOST = 0.4, 2.0
"""Share of the band's minimum, and multiple of its ceiling, outside which pay is not the monthly pay of the level."""

Notes = list[tuple[str, Note]]
"""Column and note."""


@dataclass(frozen=True, slots=True)
class Plausibility:
    """The bounds of pay by level."""

    pay: Mapping[str, tuple[float, float]]

    def check(self, officer: Officer) -> tuple[Officer, Notes]:
        """Return the officer, with pay that cannot be right as unknown, and what has to be reported."""
        notes: Notes = []
        start = officer.service_start
        self._check_age(officer, notes)
        if start is not None and officer.level_start is not None and officer.level_start < start:
            notes.append(("level_start", Note("bad", message("level_before_service"))))
        notes += [(name, Note("bad", message("left_before_service"))) for name in _left_before(officer)]
        if officer.decorations:
            self._check_awards(officer, notes)
        bounds = self.pay.get(officer.level or "")
        if bounds and officer.salary is not None and not bounds[0] <= officer.salary <= bounds[1]:
            notes.append(("salary", Note("notice", message("implausible_pay"))))
            officer = replace(officer, salary=None)
        before = officer.salary_5y_ago
        if before is not None and officer.salary is not None and before > officer.salary:
            notes.append(("salary_5y_ago", Note("notice", message("pay_fell"))))
            officer = replace(officer, salary=None, salary_5y_ago=None)
        return officer, notes

    def _check_age(self, officer: Officer, notes: Notes) -> None:
        birth, start = officer.birth_date, officer.service_start
        began = officer.level_start if start is None else start
        if birth is None or began is None:
            return
        age = _years(birth, began)
        if age < YOUNGEST:
            notes.append(("birth_date", Note("bad", message("born_too_late", years=YOUNGEST))))
        elif start is not None and age > OLDEST:
            notes.append(("birth_date", Note("bad", message("born_too_early", years=OLDEST))))
        elif start is not None and age >= DOUBTFUL:
            notes.append(("service_start", Note("bad", message("entered_late", years=DOUBTFUL))))

    def _check_awards(self, officer: Officer, notes: Notes) -> None:
        days = [award.received for award in officer.decorations or () if award.received is not None]
        if not days:
            return
        first = min(days)
        if officer.birth_date is not None and _years(officer.birth_date, first) < YOUNGEST:
            notes.append(("decorations", Note("bad", message("award_before_birth", years=YOUNGEST))))
        elif officer.service_start is not None and first < officer.service_start:
            is_early = officer.birth_date is None and first.year < officer.service_start.year - _EARLY
            notes.append(("decorations", Note("bad" if is_early else "notice", message("award_before_service"))))


def _left_before(officer: Officer) -> Iterator[str]:
    """Yield the days of leaving before the service of an officer who has not returned."""
    start, returned = officer.service_start, officer.returned_to_service
    for name, left in (("left_service", officer.left_service), ("resigned", officer.resigned)):
        if left is not None and start is not None and left < start and (returned is None or returned < left):
            yield name


def plausibility(salary_bands: Mapping[str, Any]) -> Plausibility:
    """Return the checks with the bands of a criteria file; levels without both figures are not bounded."""
    bounds = {
        level: (_LEAST * min(band["min"], band.get("temporary_min", band["min"])), _MOST * band["ceiling"])
        for level, band in salary_bands.items()
        if isinstance(band, dict) and "min" in band and "ceiling" in band
    }
    return Plausibility(bounds)


def _years(start: date, end: date) -> int:
    return end.year - start.year - ((end.month, end.day) < (start.month, start.day))
