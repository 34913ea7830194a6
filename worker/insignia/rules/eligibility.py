"""Which part of an officer's history counts in a round, which ladder applies, and which data is missing."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

from worker.insignia.retirement import YOUNGEST, retirement_day
from worker.insignia.roster.officer import Officer
from worker.insignia.rules.conditions import ANY_DAY, Days, HeldYears, RequiresClass, ServiceRecord
from worker.insignia.rules.ruleset import GroupRules, Ladder, Rules, Step


@dataclass(frozen=True, slots=True)
class LadderMatch:
    """The ladder that applies to an officer."""

    group: GroupRules | None
    ladder: Ladder | None
    """None: the criteria have no ladder for this level, or `missing_field` says why it cannot be determined."""
    missing_field: str | None = None
    """The field without which the ladder cannot be determined."""


_ODD_YEARS = 3
"""How many years before its date a class may have been received, if the date is not the day of a ceremony."""


def service_record(officer: Officer, rules: Rules) -> ServiceRecord:
    """Return what of the officer's record counts in this round."""
    gap = _history_gap(officer, rules)
    held, rank, last = ({}, 0, None) if gap else _classes(officer, rules)
    start, returned = officer.service_start, officer.returned_to_service
    if any(day is not None and day.year > rules.ceremony.year for day in (start, returned)):
        serving: Days = ANY_DAY  # a list newer than the round, or a Buddhist year of two digits read as 20xx
    elif start is None:
        serving = (returned or date.min, date.max)
    else:
        begun = start if returned is None else max(start, returned)
        serving = (begun, begun)
    return ServiceRecord(
        officer=officer,
        serving_since=serving,
        in_level_since=_in_level_since(officer),
        held=held,
        rank=rank,
        last_class=last,
        history_gap=gap,
        has_medal=any(award.code == rules.medal.code for award in officer.decorations or ()),
    )


def _history_gap(officer: Officer, rules: Rules) -> str | None:
    """Return the field without which the classes held on the day of the ceremony are unknown."""
    if officer.decorations is None:
        return "decorations"
    has_class = False
    for award in officer.decorations:
        if award.code in rules.ranks:
            has_class = True
            if award.received is not None and award.received > rules.ceremony:
                return "decorations at the ceremony"  # a mistake, or a history newer than the round
    return "decorations" if officer.last_only and officer.decorations and not has_class else None


def _classes(officer: Officer, rules: Rules) -> tuple[dict[str, Days], int, Days | None]:
    """Return when each class was first received, the rank of the highest, and when the latest was received."""
    held: dict[str, Days] = {}
    last: Days | None = None
    undated: set[str] = set()
    for award in officer.decorations or ():
        if award.code not in rules.ranks:
            continue
        if award.received is None:
            undated.add(award.code)
            continue
        days = received_between(award.received, rules)
        first = held.get(award.code)
        held[award.code] = days if first is None else (min(first[0], days[0]), min(first[1], days[1]))
        last = days if last is None else (max(last[0], days[0]), max(last[1], days[1]))
    undated -= held.keys()
    rank = max(map(rules.ranks.__getitem__, (*held, *undated)), default=0)
    if undated:
        if any(rules.ranks[code] == rank for code in undated):
            last = (last[0] if last else date.min, rules.ceremony)
        held |= dict.fromkeys(undated, (date.min, last[1] if last else rules.ceremony))
    return held, rank, last


def received_between(day: date, rules: Rules) -> Days:
    """Return the days on which a class may have been received.

    A date outside the ceremonies may be that of a Gazette or of a late award, or have its day and month exchanged.
    """
    if rules.is_ceremony_day(day):
        return (day, day)
    return (date(max(1, day.year - _ODD_YEARS), 1, 1), min(date(day.year, 12, 31), rules.ceremony))


def _in_level_since(officer: Officer) -> Days:
    """Return the day from which the years in the level count: a break is left out, what came before it counts."""
    start, returned = officer.level_start, officer.returned_to_service
    if start is None:
        return ANY_DAY
    if returned is None or start >= returned:
        return (start, start)
    left = max((day for day in (officer.left_service, officer.resigned) if day and day <= returned), default=None)
    if left is None:  # how long the break was is unknown
        return (start, returned)
    begun = returned if start >= left else start + (returned - left)
    return (begun, begun)


def _later(one: date | None, other: date | None) -> date | None:
    return other if one is None else one if other is None else max(one, other)


def in_service(officer: Officer, day: date) -> bool:
    """Return whether the officer is in service on that day; the day of leaving is the first day out of service."""
    left, returned = _left_by(officer, day), officer.returned_to_service
    if returned is not None and returned > day:
        leaves = officer.left_service is not None or officer.resigned is not None
        return left is None and (leaves or returned.year > day.year)
    return left is None or (returned is not None and returned >= left)


def _left_by(officer: Officer, day: date) -> date | None:
    """Return the last day of leaving up to that day. A later one does not undo it; only a return does."""
    return max((left for left in (officer.left_service, officer.resigned) if left and left <= day), default=None)


def is_past_retirement(officer: Officer, rules: Rules) -> bool:
    """Return whether the officer should have retired in a year before the ceremony, and no day of leaving is known.

    Then the officer has left, serves longer by an exception, or the birth date is wrong.
    """
    left = _later(officer.left_service, officer.resigned)
    is_there = left is None or (officer.returned_to_service is not None and officer.returned_to_service >= left)
    birth = latest_birth(officer, rules)
    return is_there and birth is not None and retirement_day(birth).year < rules.ceremony.year


def known_birth(officer: Officer, rules: Rules) -> date | None:
    """Return the birth date; None if no one born then can be in service in this round."""
    birth = officer.birth_date
    return None if birth is None or birth.year > rules.ceremony.year - YOUNGEST else birth


def latest_birth(officer: Officer, rules: Rules) -> date | None:
    """Return the birth date, or the first day of the year in which the officer was born at the latest."""
    birth = known_birth(officer, rules)
    began = officer.service_start or officer.level_start
    return birth if birth is not None or began is None else date(began.year - YOUNGEST, 1, 1)


def retires(record: ServiceRecord, ladder: Ladder, rules: Rules) -> bool | None:
    """Return whether the retirement clause may give one more class; None if the birth date decides."""
    officer = record.officer
    last_day = date(rules.ceremony.year, 9, 30)
    left = _left_by(officer, last_day - timedelta(days=1))
    is_back = left is not None and officer.returned_to_service is not None and officer.returned_to_service >= left
    if not ladder.retirement or (left is not None and not is_back):
        return False
    birth = known_birth(officer, rules)
    return None if birth is None else retirement_day(birth) == last_day


def match_ladder(officer: Officer, rules: Rules) -> LadderMatch:
    """Return the ladder for the officer's group, level, position type, allowance or wage."""
    group = rules.groups.get(officer.employee_group or "")
    if group is None:
        return LadderMatch(None, None, None if officer.employee_group else "employee_group")
    # A level reached after the cut-off does not count yet (GR-CUTOFF-60), and the roster no longer has the former one.
    if group.dated_levels and officer.level_start and officer.level_start > rules.cutoff:
        return LadderMatch(group, None, "level at the cut-off")
    candidates = group.candidates(officer.level)
    if officer.level is None and not candidates:
        return LadderMatch(group, None, "level")
    for ladder in candidates:
        missing_field = ladder.missing_field(officer)
        if missing_field or ladder.fits(officer):
            return LadderMatch(group, None if missing_field else ladder, missing_field)
    return LadderMatch(group, None)


def steps_above(record: ServiceRecord, ladder: Ladder) -> tuple[Step, ...]:
    """Return the steps above every class held, lowest first."""
    return tuple(step for step in ladder.steps if step.rank > record.rank)


def candidate_steps(record: ServiceRecord, ladder: Ladder, rules: Rules) -> tuple[Step, ...]:
    """Return the steps that the sequence policy considers: all above, or only the next, if it is known."""
    above = steps_above(record, ladder)
    return above[:1] if rules.sequence == "strict_next" and not record.history_gap else above


def received_last_round(record: ServiceRecord, rules: Rules) -> bool | None:
    """Return whether the latest class was received in this round's year or the year before; None if unknown."""
    if record.last_class is None:
        return None if record.history_gap else False
    earliest, latest = record.last_class
    before = rules.ceremony.year - 1
    return True if earliest.year >= before else False if latest.year < before else None


def deciding_fields(record: ServiceRecord, match: LadderMatch, rules: Rules) -> Iterator[str]:
    """Yield the missing fields that can change the class decision of an officer whom nothing certain excludes."""
    if record.officer.nationality is None:
        yield "nationality"
    if is_past_retirement(record.officer, rules):
        yield "left_service"
    if match.missing_field:
        yield match.missing_field
    if match.group is not None and match.group.minimum.answer(record) is None:
        yield "service_start"
    if record.history_gap:
        yield record.history_gap
    elif received_last_round(record, rules) is None:
        yield "received"
    if match.ladder is not None:
        yield from _ladder_fields(record, match.ladder, rules)


def _ladder_fields(record: ServiceRecord, ladder: Ladder, rules: Rules) -> Iterator[str]:
    is_open = False
    for step in reversed(candidate_steps(record, ladder, rules)):
        answer = step.answer(record)
        if answer is False:
            continue
        is_open = True
        if answer:
            break  # lower steps do not matter
        for condition in step.conditions:
            of_history = isinstance(condition, HeldYears | RequiresClass)
            if condition.answer(record) is None and not (of_history and record.history_gap):
                yield condition.field
    if not is_open and retires(record, ladder, rules) is None:
        yield "birth_date"
