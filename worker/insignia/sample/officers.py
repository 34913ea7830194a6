"""Made-up officers as plain values: a plausible career, pay and decorations. No real persons, no real ids.

Only Random.random() is used, whose sequence for a seed is the same in every Python version.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from random import Random
from typing import TypeVar

from worker.insignia.roster.officer import Award
from worker.insignia.roster.person_id import check_digit

T = TypeVar("T")

YEAR = 2026
"""The year of the round that the sample is made for: BE 2569."""


@dataclass(frozen=True, slots=True)
class SampleLevel:
    """A level: how many officers have it, their ages, years of service, pay and decorations."""

    weight: float
    group: str
    position_type: str
    level: str
    ages: tuple[int, int]
    service: tuple[int, int]
    pay: tuple[int, int]
    path: tuple[str, ...]
    """Decorations in the order in which such an officer receives them."""
    allowances: tuple[int, ...] = ()


_CIVIL, _PERMANENT, _GOVERNMENT = "civil_servant", "permanent_employee", "government_employee"
LEVELS = (
    SampleLevel(10, _CIVIL, "general", "O1", (24, 50), (1, 20), (8800, 21010), ("CT5", "CT4", "WE4")),
    SampleLevel(14, _CIVIL, "general", "O2", (32, 59), (6, 32), (15000, 38750), ("CT4", "CT3", "WE3")),
    SampleLevel(6, _CIVIL, "general", "O3", (40, 59), (15, 36), (24000, 54820), ("CT3", "WE3", "CT2", "WE2")),
    SampleLevel(0.3, _CIVIL, "general", "O4", (50, 59), (25, 37), (48220, 69040), ("CT2", "WE2", "CT1", "WE1")),
    SampleLevel(10, _CIVIL, "academic", "K1", (23, 36), (1, 9), (15000, 26900), ("CT3",)),
    SampleLevel(17, _CIVIL, "academic", "K2", (28, 56), (4, 30), (16000, 43600), ("CT3", "WE3", "CT2", "WE2")),
    SampleLevel(11, _CIVIL, "academic", "K3", (36, 59), (12, 36), (30000, 58390), ("WE3", "CT2", "WE2", "CT1")),
    SampleLevel(1.6, _CIVIL, "academic", "K4", (46, 59), (22, 37), (44000, 69040), ("CT2", "WE2", "CT1", "WE1", "CTS")),
    SampleLevel(
        0.4,
        _CIVIL,
        "academic",
        "K5",
        (52, 59),
        (28, 38),
        (60000, 76800),
        ("WE2", "CT1", "WE1", "CTS"),
        allowances=(13000, 15600),
    ),
    SampleLevel(2.6, _CIVIL, "director", "D1", (42, 59), (17, 36), (38000, 59500), ("CT2", "WE2", "CT1")),
    SampleLevel(1, _CIVIL, "director", "D2", (48, 59), (24, 37), (48000, 70360), ("CT2", "WE2", "CT1", "WE1")),
    SampleLevel(0.4, _CIVIL, "executive", "M1", (50, 59), (26, 38), (58000, 74320), ("WE2", "CT1", "WE1")),
    SampleLevel(0.2, _CIVIL, "executive", "M2", (53, 59), (29, 38), (66000, 76800), ("CT1", "WE1", "CTS")),
    SampleLevel(8, _PERMANENT, "", "PE-A", (28, 59), (3, 34), (8340, 15040), ("CT5", "WE5", "CT4")),
    SampleLevel(8, _PERMANENT, "", "PE-B", (34, 59), (8, 36), (15050, 29000), ("WE5", "CT4", "WE4")),
    SampleLevel(5, _GOVERNMENT, "", "GE-1", (24, 58), (1, 18), (11000, 22000), ("CT5", "WE5", "CT4", "WE4")),
    SampleLevel(3, _GOVERNMENT, "", "GE-2", (25, 58), (1, 18), (18000, 36000), ("WE5", "CT4", "WE4", "CT3")),
    SampleLevel(1.2, _GOVERNMENT, "", "GE-3", (27, 58), (1, 18), (20000, 44000), ("CT4", "WE4", "CT3")),
    SampleLevel(0.3, _GOVERNMENT, "", "GE-4", (32, 59), (2, 18), (37000, 68000), ("WE4", "CT3", "WE3")),
)

_WEIGHTS = [level.weight for level in LEVELS]
_ALTOGETHER = sum(_WEIGHTS)


@dataclass(slots=True)
class SampleOfficer:
    """The values of a made-up officer in a roster."""

    person_id: str
    level: SampleLevel
    birth_date: date
    service_start: date
    level_start: date | None
    salary: int | None
    salary_5y_ago: int | None
    position_allowance: int | None
    awards: tuple[Award, ...]
    nationality: str = "TH"
    decoration_recalled: bool = False
    imprisonment: bool = False
    discipline: str = ""
    on_leave: str = ""
    left_service: date | None = None
    resigned: date | None = None
    returned_to_service: date | None = None


def pick(rng: Random, choices: Sequence[T]) -> T:
    return choices[int(rng.random() * len(choices))]


def between(rng: Random, low: int, high: int) -> int:
    return low + int(rng.random() * (high - low + 1))


def person_id(index: int, seed: int) -> str:
    """Return 13 digits with a valid check digit; they begin with 0, unlike any citizen's id."""
    twelve = f"0{(index * 7919 + seed) % 10**11:011d}"
    return f"{twelve}{check_digit(twelve)}"


def make_officer(rng: Random, index: int, seed: int) -> SampleOfficer:
    """Return the officer of this index."""
    level = _pick_level(rng)
    start = date(YEAR - between(rng, *level.service), 1, 1) + timedelta(days=between(rng, 0, 364))
    since = (
        start + timedelta(days=int((date(YEAR, 4, 1) - start).days * rng.random() ** 1.5))
        if level.position_type
        else None
    )
    pay = between(rng, level.pay[0] // 10, level.pay[1] // 10) * 10
    if rng.random() < 0.06:
        pay = level.pay[1]
    officer = SampleOfficer(
        person_id=person_id(index, seed),
        level=level,
        birth_date=_birth(rng, level, start),
        service_start=start,
        level_start=since,
        salary=pay,
        salary_5y_ago=_earlier_pay(rng, pay, start),
        position_allowance=pick(rng, level.allowances) if level.allowances else None,
        awards=_awards(rng, level, start),
    )
    _add_special_case(rng, officer)
    return officer


def _pick_level(rng: Random) -> SampleLevel:
    remaining = rng.random() * _ALTOGETHER
    for level in LEVELS:
        remaining -= level.weight
        if remaining < 0:
            return level
    return LEVELS[0]


def _birth(rng: Random, level: SampleLevel, start: date) -> date:
    year = min(YEAR - between(rng, *level.ages), start.year - 20)
    return date(max(year, YEAR - 60), 1, 1) + timedelta(days=between(rng, 0, 364))


def _earlier_pay(rng: Random, pay: int, start: date) -> int | None:
    if start > date(YEAR - 5, 4, 1):
        return None
    return int(pay * (0.66 + 0.22 * rng.random()) / 10) * 10


def _awards(rng: Random, level: SampleLevel, start: date) -> tuple[Award, ...]:
    """Return one class after the other, never in consecutive rounds, and the medal after 25 years."""
    found: list[Award] = []
    year = start.year + (9 if level.group == _PERMANENT else 6) + between(rng, 0, 3)
    for code in level.path:
        if year >= YEAR:
            break
        found.append(Award(code, ceremony(year)))
        year += 5 + between(rng, -2, 3)
    medal = start.year + 25 + (start.month > 6)
    if level.group == _CIVIL and medal < YEAR and rng.random() < 0.9:
        found.append(Award("CKM", ceremony(medal)))
    return tuple(found)


def ceremony(year: int) -> date:
    """Return the day of the ceremony: 28 July from BE 2560 on, 5 December before."""
    return date(year, 7, 28) if year >= 2017 else date(year, 12, 5)


def _add_special_case(rng: Random, officer: SampleOfficer) -> None:
    """Give one officer in fifteen a special case, such as leave or a penalty."""
    fate = rng.random()
    if fate < 0.012:
        officer.left_service = date(YEAR, 1, 1) + timedelta(days=between(rng, 0, 250))
    elif fate < 0.027:
        officer.discipline = pick(rng, ("ภาคทัณฑ์", "ตัดเงินเดือน", "ลดเงินเดือน"))
    elif fate < 0.037:
        officer.on_leave = pick(rng, ("ลาศึกษาต่อ", "ลาติดตามคู่สมรส"))
    elif fate < 0.045 and officer.service_start.year < YEAR - 8:
        officer.resigned = officer.service_start + timedelta(days=900)
        officer.returned_to_service = officer.resigned + timedelta(days=between(rng, 200, 900))
    elif fate < 0.055:
        officer.level_start = None
    elif fate < 0.060:
        officer.salary = None
    elif fate < 0.062:
        officer.nationality = "LA"
    elif fate < 0.063:
        officer.decoration_recalled = True
    elif fate < 0.065:
        officer.imprisonment = True
