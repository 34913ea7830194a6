"""A roster in columns: a row for each officer, and each different list of decorations once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import date
from operator import attrgetter
from typing import Any

import orjson
import polars as pl

from worker.insignia.roster.officer import ABOUT, Award, Officer
from worker.insignia.rules.eligibility import received_between
from worker.insignia.rules.ruleset import Rules

PLACE, HELD = "place", "held"
"""The columns with the number of an officer, and with the number of the officer's list of decorations."""
AwardList = tuple[Award, ...] | None
"""None: unknown."""
PLAIN: dict[str, pl.DataType] = {
    "person_id": pl.String(),
    "employee_group": pl.String(),
    "level": pl.String(),
    "position_type": pl.String(),
    "nationality": pl.String(),
    "on_leave": pl.String(),
    "service_start": pl.Date(),
    "level_start": pl.Date(),
    "birth_date": pl.Date(),
    "left_service": pl.Date(),
    "resigned": pl.Date(),
    "returned_to_service": pl.Date(),
    "salary": pl.Float64(),
    "salary_5y_ago": pl.Float64(),
    "position_allowance": pl.Float64(),
    "decoration_recalled": pl.Boolean(),
    "imprisonment": pl.Boolean(),
    "last_only": pl.Boolean(),
    **{name: pl.String() for name in ABOUT},
}
"""The fields that are the same in an officer and in a column. `discipline` is a JSON list there, or null."""
DEFAULTS: dict[str, Any] = {field.name: field.default for field in fields(Officer)} | {"discipline": None}
"""What the fields are if the roster has no column for them."""
_COLUMNS = (*PLAIN, "discipline", HELD)


@dataclass(frozen=True, slots=True)
class OfficerColumns:
    """The officers of a roster, in its order."""

    frame: pl.DataFrame
    """Columns of PLAIN, `discipline`, HELD."""
    lists: Sequence[AwardList]
    """The different lists of decorations, by their numbers."""

    def __len__(self) -> int:
        return self.frame.height

    def part(self, start: int, count: int) -> "OfficerColumns":
        """Return some officers, whose places begin with 0 again."""
        return OfficerColumns(self.frame.slice(start, count), self.lists)

    def officers(self) -> Iterator[Officer]:
        """Yield all officers as values."""
        return (self._officer(row) for row in self.frame.select(_COLUMNS).iter_rows())

    def at(self, places: Sequence[int]) -> Iterator[Officer]:
        """Yield the officers at some places as values."""
        chosen = self.frame.select(pl.all().gather(pl.Series(places, dtype=pl.UInt32)))
        return OfficerColumns(chosen, self.lists).officers()

    def _officer(self, row: tuple[Any, ...]) -> Officer:
        values = dict(zip(PLAIN, row, strict=False))
        discipline = () if row[-2] is None else tuple(orjson.loads(row[-2]))
        return Officer(**values, discipline=discipline, decorations=self.lists[row[-1]])


def columns_of(officers: Sequence[Officer]) -> OfficerColumns:
    """Return officers as columns."""
    series = [
        pl.Series(name, list(map(attrgetter(name), officers)), dtype=dtype, strict=False)
        for name, dtype in PLAIN.items()
    ]
    lists: dict[AwardList, int] = {}
    known: dict[object, int] = {}
    numbers = []
    for officer in officers:
        held = officer.decorations
        key = None if held is None else tuple(map(id, held))  # by identity: the officers keep each of them alive
        number = known.get(key)
        if number is None:
            number = known[key] = lists.setdefault(held, len(lists))
        numbers.append(number)
    series += [
        pl.Series("discipline", [discipline_text(officer.discipline) for officer in officers], dtype=pl.String),
        pl.Series(HELD, numbers, dtype=pl.UInt32),
    ]
    return OfficerColumns(pl.DataFrame(series), list(lists))


def discipline_text(penalties: tuple[str, ...]) -> str | None:
    """Return penalties as they stand in the column."""
    return orjson.dumps(penalties).decode() if penalties else None


def held_rows(lists: Sequence[AwardList]) -> pl.DataFrame:
    """Return for each list of decorations whether it is known, and whether it has entries."""
    return pl.DataFrame(
        {
            HELD: range(len(lists)),
            "has_list": [held is not None for held in lists],
            "has_entries": [bool(held) for held in lists],
        },
        schema={HELD: pl.UInt32, "has_list": pl.Boolean, "has_entries": pl.Boolean},
    )


def award_rows(lists: Sequence[AwardList], rules: Rules) -> pl.DataFrame:
    """Return the decorations of all lists with `held`, code, rank, and the days on which they were received.

    Most lists share theirs with others, so each different one is judged once. `earliest` and `latest` are null without
    a date.
    """
    known: dict[int, int] = {}
    judged: list[tuple[str, int | None, date | None, date | None, date | None]] = []
    numbers: list[int] = []
    places: list[int] = []
    for number, held in enumerate(lists):
        for award in held or ():
            place = known.get(id(award))  # by identity: the lists keep each of them alive
            if place is None:
                place = known[id(award)] = len(judged)
                judged.append(_judged(award, rules))
            numbers.append(number)
            places.append(place)
    schema = {
        "code": pl.String,
        "rank": pl.Int32,
        "received": pl.Date,
        "earliest": pl.Date,
        "latest": pl.Date,
    }
    found = pl.DataFrame(judged, schema=schema, orient="row").select(pl.all().gather(places))
    return found.with_columns(pl.Series(HELD, numbers, dtype=pl.UInt32))


def _judged(award: Award, rules: Rules) -> tuple[str, int | None, date | None, date | None, date | None]:
    day = award.received
    first, last = (None, None) if day is None else received_between(day, rules)
    return award.code, rules.ranks.get(award.code), day, first, last
