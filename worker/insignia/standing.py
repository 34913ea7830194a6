"""Where an officer stands in a round: what of the history counts, which ladder is theirs, what is not known."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from worker.insignia.conditions import Standing
from worker.insignia.officer import Officer
from worker.insignia.rules import GroupRules, Ladder, Rules, Rung


@dataclass(frozen=True, slots=True)
class Place:
    """An officer among the ladders."""

    group: GroupRules | None
    ladder: Ladder | None
    """None: the criteria have no ladder for this level, or `lacking` says why none could be picked."""
    lacking: str | None = None
    """The field without which the ladder cannot be picked."""


def standing_of(officer: Officer, rules: Rules) -> Standing:
    """What of the officer's record counts in this round."""
    held: dict[str, date | None] = {}
    rank, last, medal, dated = 0, None, False, True
    for award in officer.decorations or ():
        award_rank = rules.ranks.get(award.code)
        if award_rank is None:
            medal = medal or award.code == rules.medal.code
            continue
        held[award.code] = _earlier(held.get(award.code), award.received)
        if award_rank >= rank:
            rank, dated = award_rank, held[award.code] is not None
        last = _later(last, award.received)
    returned = officer.returned_to_service
    return Standing(
        officer=officer,
        serving_since=_later(officer.service_start, returned) if officer.service_start else None,
        in_level_since=_later(officer.level_start, returned) if officer.level_start else None,
        held=held,
        rank=rank,
        last_class=last,
        highest_dated=dated,
        has_medal=medal,
    )


def _earlier(one: date | None, other: date | None) -> date | None:
    return other if one is None else one if other is None else min(one, other)


def _later(one: date | None, other: date | None) -> date | None:
    return other if one is None else one if other is None else max(one, other)


def in_service(officer: Officer, day: date) -> bool:
    """Whether the officer serves on that day; the day of leaving is the first day out."""
    left = _later(officer.left_service, officer.resigned)
    returned = officer.returned_to_service
    if returned is not None and returned > day:
        return left is not None and left > day
    if left is None or left > day:
        return True
    return returned is not None and returned >= left


def retirement_day(birth: date) -> date:
    """30 September of the fiscal year (October to September) in which the 60th birthday falls."""
    return date(birth.year + 60 + (birth.month >= 10), 9, 30)


def place_of(officer: Officer, rules: Rules) -> Place:
    """The ladder of the officer's group, level, position type, allowance or wage."""
    group = rules.groups.get(officer.employee_group or "")
    if group is None:
        return Place(None, None, None if officer.employee_group else "employee_group")
    candidates = group.candidates(officer.level)
    if officer.level is None and not candidates:
        return Place(group, None, "level")
    for ladder in candidates:
        lacking = ladder.lacks(officer)
        if lacking or ladder.fits(officer):
            return Place(group, None if lacking else ladder, lacking)
    return Place(group, None)


def rungs_above(standing: Standing, ladder: Ladder) -> tuple[Rung, ...]:
    """The rungs above every class held, lowest first."""
    return tuple(rung for rung in ladder.rungs if rung.rank > standing.rank)


def considered(standing: Standing, ladder: Ladder, rules: Rules) -> tuple[Rung, ...]:
    """The rungs the sequence policy looks at: all above, or only the next."""
    above = rungs_above(standing, ladder)
    return above[:1] if rules.sequence == "strict_next" else above


def gaps(standing: Standing, place: Place, rules: Rules) -> Iterator[str]:
    """The fields that are asked of this officer for a class, and are not there or contradict the round."""
    officer = standing.officer
    if place.lacking:
        yield place.lacking
    if officer.service_start is None:
        yield "service_start"
    yield from _history_gaps(standing, rules)
    # A level reached after the cut-off does not count yet (GR-CUTOFF-60), and the roster no longer tells the former.
    if place.group and place.group.dated_levels and officer.level_start and officer.level_start > rules.cutoff:
        yield "level at the cut-off"
    if place.ladder is not None:
        yield from _ladder_gaps(standing, place.ladder, rules)


def _history_gaps(standing: Standing, rules: Rules) -> Iterator[str]:
    officer = standing.officer
    if officer.decorations is None or (officer.last_only and standing.has_medal and not standing.held):
        yield "decorations"
    elif not standing.highest_dated:
        yield "received"
    elif standing.last_class is not None and standing.last_class > rules.ceremony:
        # A slip, or a history newer than the round: either way nobody can say what was held on the day.
        yield "decorations at the ceremony"


def _ladder_gaps(standing: Standing, ladder: Ladder, rules: Rules) -> Iterator[str]:
    for rung in considered(standing, ladder, rules):
        if rung.reachable(standing):
            for condition in rung.conditions:
                if condition.missing(standing):
                    yield condition.field
