"""The judge: every rule, with the promise that it checks."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from tests.support.history import job_rules, limit_rules, notification_rules
from tests.support.history.events import Event
from tests.support.history.evidence import Evidence, sort_events


class Rule(NamedTuple):
    promise: str
    check: Callable[[Evidence], Iterator[str]]

    @property
    def name(self) -> str:
        return self.check.__name__.replace("_", "-")


RULES = (
    Rule("P1", job_rules.lost),
    Rule("P1", job_rules.invented),
    Rule("P1", job_rules.rejected_exists),
    Rule("P1", job_rules.accepted_twice),
    Rule("P2", job_rules.unfinished),
    Rule("P2", job_rules.ended_twice),
    Rule("P3", job_rules.overlap),
    Rule("P4", notification_rules.unreadable),
    Rule("P4", notification_rules.missing),
    Rule("P4", notification_rules.several_ids),
    Rule("P4", notification_rules.shared_id),
    Rule("P4", notification_rules.changed),
    Rule("P4", notification_rules.contradiction),
    Rule("P4", notification_rules.gap),
    Rule("P4", notification_rules.out_of_order),
    Rule("P4", notification_rules.repeated),
    Rule("P4", notification_rules.number_used_twice),
    Rule("P4", notification_rules.sent_without_lease),
    Rule("P5", job_rules.overcharged),
    Rule("P5", job_rules.wrong_end),
    Rule("P6", job_rules.held_up),
    Rule("P7", limit_rules.unbounded),
    Rule("P8", limit_rules.wrong_duration),
    Rule("P9", limit_rules.endless_stop),
    Rule("P10", notification_rules.another_user),
)

_SHOWN = 5
"""Violations of a rule that are printed."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the rules found."""

    violations: dict[str, list[str]]
    """By rule: `P4 gap`."""
    figures: dict[str, int]

    @property
    def is_clean(self) -> bool:
        return not self.violations

    def __str__(self) -> str:
        lines = [
            ("clean: " if self.is_clean else "BROKEN: ") + ", ".join(f"{n} {what}" for what, n in self.figures.items())
        ]
        for rule, found in self.violations.items():
            lines += [f"  {rule}: {len(found)}", *(f"    {text}" for text in found[:_SHOWN])]
        return "\n".join(lines)


def judge(events: Iterable[Event], *, max_attempts: int | None = None) -> Verdict:
    """Apply every rule to a history."""
    found = sort_events(events, max_attempts)
    violations = {f"{rule.promise} {rule.name}": texts for rule in RULES if (texts := list(rule.check(found)))}
    figures = {
        "accepted": len(found.accepted),
        "jobs": len(found.jobs),
        "received": len(found.arrivals),
        "executions": sum(len(events) for events in found.executions.values()),
        "killed": len(found.killed),
        "away": len(found.away),
    }
    return Verdict(violations, figures)
