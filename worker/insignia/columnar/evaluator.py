"""Decides a whole roster: a pattern of answers for each officer, one decision for each pattern."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import overload

import polars as pl

from worker.insignia.columnar.frame import PLACE, AwardList, OfficerColumns, award_rows, columns_of, held_rows
from worker.insignia.columnar.prospects import PROSPECT, Prospects
from worker.insignia.columnar.questions import LADDER, Question, classes_of, ladders_of, question, which_ladder
from worker.insignia.columnar.record import (
    add_record,
    held,
    held_record,
    in_service,
    is_past_retirement,
    received_last_round,
    retires,
)
from worker.insignia.roster.officer import ABOUT, Officer
from worker.insignia.rules.conditions import Condition
from worker.insignia.rules.decision import Decision, Verdict
from worker.insignia.rules.evaluate import evaluate
from worker.insignia.rules.ruleset import Ladder, Rules

_CHUNK = 100_000
"""Officers that are decided together, which bounds the memory for columns."""
PAIR = "pair"
"""The column with the number of an officer's two decisions."""
Pattern = tuple[object, ...]
Pair = tuple[Decision, Decision]
"""Class and medal."""


@dataclass(frozen=True, slots=True)
class DecidedColumns(Sequence[Verdict]):
    """The decisions about all officers, in the roster's order. As a sequence, it makes each verdict when asked."""

    rules: Rules
    officers: OfficerColumns
    pairs: Sequence[Pair]
    """The different pairs of decisions, in the order in which they occur first."""
    decided: pl.DataFrame
    """PAIR, `next_round` and `conditions` of each officer."""

    def __len__(self) -> int:
        return self.decided.height

    @overload
    def __getitem__(self, place: int) -> Verdict: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Verdict]: ...
    def __getitem__(self, place: int | slice) -> Verdict | Sequence[Verdict]:
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(len(self)))]
        [officer] = self.officers.at([place])
        return self._verdict(officer, self.decided[PAIR][place])

    def __iter__(self) -> Iterator[Verdict]:
        return map(self._verdict, self.officers.officers(), self.decided[PAIR])

    def _verdict(self, officer: Officer, pair: int) -> Verdict:
        return Verdict(officer.person_id, *self.pairs[pair], officer)

    def counts(self) -> Iterator[tuple[Decision, Decision, int]]:
        """Yield each pair of decisions with the number of its officers."""
        counted = self.decided.group_by(PAIR).len().sort(PAIR)
        for pair, count in counted.iter_rows():
            yield (*self.pairs[pair], count)


def evaluate_all(
    officers: Sequence[Officer], rules: Rules, report: Callable[[int], None] = lambda _: None
) -> DecidedColumns:
    """Return the verdicts of all officers, in order; `report` receives the number of those decided."""
    return decide_columns(columns_of(officers), rules, report)


def decide_columns(officers: OfficerColumns, rules: Rules, report: Callable[[int], None]) -> DecidedColumns:
    """Return the same for officers in columns."""
    decider = _Decider(rules, Patterns(rules, officers.lists))
    parts = [_NONE_DECIDED]
    for start in range(0, len(officers), _CHUNK):
        report(start)
        parts.append(decider.decide(officers.part(start, _CHUNK)))
    pairs = [decider.known_pairs[key] for key in decider.numbers]
    return DecidedColumns(rules, officers, pairs, pl.concat(parts))


_NONE_DECIDED = pl.DataFrame(schema={PAIR: pl.UInt32, "next_round": pl.Int32, "conditions": pl.String})


@dataclass(slots=True)
class _Decider:
    """Decides one officer of each pattern, and remembers the decisions."""

    rules: Rules
    patterns: "Patterns"
    known: dict[Pattern, tuple[tuple[int, int], int]] = field(default_factory=dict)
    """Pattern to the key of its decisions, and to the number of its prospects."""
    known_pairs: dict[tuple[int, int], Pair] = field(default_factory=dict)
    """By the identities of the two decisions."""
    numbers: dict[tuple[int, int], int] = field(default_factory=dict)
    prospects: Prospects = field(init=False)

    def __post_init__(self) -> None:
        self.prospects = Prospects(self.rules)

    def decide(self, officers: OfficerColumns) -> pl.DataFrame:
        """Return the decisions about these officers, in order."""
        record = self.patterns.record(officers.frame)
        firsts: list[tuple[int, Pattern]] = []
        members: list[pl.Series] = []
        for patterns, places in self.patterns.of(record):
            members.append(places)
            firsts += zip(places.list.first().to_list(), patterns, strict=True)
        new = {pattern: first for first, pattern in firsts if pattern not in self.known}
        for pattern, officer in zip(new, officers.at([*new.values()]), strict=True):
            self.known[pattern] = self._decide_one(officer)
        found = [(first, *self.known[pattern]) for first, pattern in firsts]
        for _, key, _ in sorted(found):  # in the order of the roster
            self.numbers.setdefault(key, len(self.numbers))
        decided = pl.DataFrame(
            {
                PLACE: pl.concat(members),
                PAIR: [self.numbers[key] for _, key, _ in found],
                PROSPECT: [prospect for *_, prospect in found],
            },
            schema_overrides={PAIR: pl.UInt32, PROSPECT: pl.UInt32},
        )
        ordered = decided.explode(PLACE).sort(PLACE)
        outlooks = self.prospects.of(record.with_columns(ordered[PROSPECT]))
        return ordered.select(PAIR).hstack(outlooks)

    def _decide_one(self, officer: Officer) -> tuple[tuple[int, int], int]:
        verdict = evaluate(officer, self.rules)
        pair = verdict.class_, verdict.medal
        key = id(pair[0]), id(pair[1])  # by identity: `known_pairs` keeps each of them alive
        self.known_pairs.setdefault(key, pair)
        return key, self.prospects.number(officer, verdict.class_)


class Patterns:
    """The answers to all questions of a round, as one pattern for each officer."""

    def __init__(self, rules: Rules, lists: Sequence[AwardList]) -> None:
        self._rules = rules
        self._ladders = ladders_of(rules)
        self._codes = tuple(dict.fromkeys(code for ladder in self._ladders for code in classes_of(ladder)))
        self._general = tuple(_general_answers(rules))
        self._held = held_record(held_rows(lists).lazy(), award_rows(lists, rules).lazy(), self._codes, rules).collect()

    def record(self, officers: pl.DataFrame) -> pl.DataFrame:
        """Return the officers with their places, service records and ladders, but without ids and names."""
        numbered = (
            officers.lazy()
            .drop("person_id", *ABOUT, strict=False)
            .with_columns(pl.int_range(pl.len(), dtype=pl.UInt32).alias(PLACE))
        )
        frame = add_record(numbered, self._held.lazy(), self._codes, self._rules)
        return frame.with_columns(which_ladder(self._rules)).collect()

    def of(self, record: pl.DataFrame) -> Iterator[tuple[list[Pattern], pl.Series]]:
        """Yield for each ladder the patterns that occur, with lists of the places of their officers."""
        for (number,), part in record.partition_by(LADDER, as_dict=True).items():
            own = _ladder_answers(self._ladders[number]) if number >= 0 else ()
            columns = [answer.alias(f"answer.{place}") for place, answer in enumerate((*self._general, *own))]
            grouped = part.select(PLACE, *columns).group_by(pl.exclude(PLACE)).agg(PLACE)
            yield [(number, *row) for row in grouped.drop(PLACE).iter_rows()], grouped[PLACE]


def _general_answers(rules: Rules) -> Iterator[pl.Expr]:
    """Yield everything but the ladder that a decision can depend on."""
    yield from (pl.col(name) for name in ("employee_group", "history_gap", "rank", "has_medal", "decoration_recalled"))
    yield from (pl.col("imprisonment"), pl.col("discipline").is_not_null(), pl.col("on_leave").fill_null("") != "")
    yield pl.col("nationality") == "TH"
    yield in_service(rules.ceremony)
    yield pl.col("returned_to_service").is_not_null()
    yield ~pl.col("has_list") | pl.col("last_only")
    yield received_last_round(rules)
    yield pl.col("last_earliest").dt.year() == rules.ceremony.year
    for condition in (*(group.minimum for group in rules.groups.values()), *rules.medal.service):
        yield from _both(question(condition))
    yield retires(date(rules.ceremony.year, 9, 30))
    yield is_past_retirement(rules.ceremony.year)


def _ladder_answers(ladder: Ladder) -> Iterator[pl.Expr]:
    conditions: dict[int, Condition] = {id(one): one for step in ladder.steps for one in step.conditions}
    for condition in conditions.values():
        yield from _both(question(condition))
    for code in classes_of(ladder):
        yield held(code)[0]


def _both(asked: Question) -> Iterator[pl.Expr]:
    yield asked.answer
    if asked.is_edge is not None:
        yield asked.is_edge
