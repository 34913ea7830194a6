"""Explains why an officer gets what is proposed, in Thai or English, for the responsible clerk.

Names every question that was asked up to the deciding one, with dates, figures, sources and confidence, and what is
missing for the next class. The explanation contains no name and no id.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Literal

from worker.insignia.buddhist_year import BE_OFFSET, thai_date
from worker.insignia.criteria.labels import DECISIONS, LEVELS_OF_CONFIDENCE, REASONS
from worker.insignia.criteria.model import weakest
from worker.insignia.roster.officer import Officer
from worker.insignia.rules.conditions import (
    ANY_DAY,
    Condition,
    Days,
    HeldYears,
    MinimumYears,
    PayCondition,
    RequiresClass,
    ServiceRecord,
)
from worker.insignia.rules.decision import Decision
from worker.insignia.rules.eligibility import (
    LadderMatch,
    in_service,
    match_ladder,
    received_last_round,
    service_record,
    steps_above,
)
from worker.insignia.rules.evaluate import decide_class
from worker.insignia.rules.explain_words import FIGURES_TH, RULES_TH, WORDS, Language, missing_label
from worker.insignia.rules.medal import decide_medal
from worker.insignia.rules.outlook import outlook_of, rounds_until
from worker.insignia.rules.ruleset import Rules, Step

Answer = Literal["yes", "no", "unknown"]
_ANSWERS: Mapping[bool | None, Answer] = {True: "yes", False: "no", None: "unknown"}
_MOST_TEXTS = 200_000
"""Texts that are kept for one table."""
_REVIEWS = ("GR-IMPRISONMENT", "GR-DISCIPLINE", "GR-LEAVE")
_INDENT = {"decision": "", "step": "  ", "condition": "    "}


@dataclass(frozen=True, slots=True)
class ExplanationLine:
    """One sentence of an explanation."""

    about: Literal["class", "medal"]
    kind: Literal["decision", "missing", "question", "rule", "step", "condition", "outlook"]
    text: str
    answer: Answer | None = None
    """Of a question or condition: whether the officer meets it."""


def explain(officer: Officer, rules: Rules, language: Language = "en") -> list[str]:
    """Return the explanation as indented lines: each decision, what was asked for it, and what is missing."""
    return [f"{_INDENT.get(line.kind, '  ')}{line.text}" for line in explanation(officer, rules, language)]


def explanation(officer: Officer, rules: Rules, language: Language = "en") -> list[ExplanationLine]:
    """Return the explanation of both decisions."""
    explainer = _Explainer(service_record(officer, rules), rules, language)
    return [*explainer.class_lines(), *explainer.medal_lines()]


def has_conditions(decision: Decision) -> bool:
    """Return whether a decision has a proposed or next class, whose conditions may be shown."""
    return bool(decision.award or decision.next_award or decision.missing)


@dataclass(slots=True)
class ConditionTexts:
    """Words the conditions of many officers; most conditions and values occur often."""

    rules: Rules
    language: Language
    _known: dict[tuple[int, object], str] = field(default_factory=dict)

    def conditions(self, record: ServiceRecord, decision: Decision) -> Sequence[Condition]:
        """Return the conditions of the proposed or next class."""
        return _Explainer(record, self.rules, self.language).decisive_conditions(decision)

    def text_of(self, record: ServiceRecord, condition: Condition) -> str:
        """Return the words for one condition."""
        return _Explainer(record, self.rules, self.language).answer(condition)

    def of(self, record: ServiceRecord, decision: Decision) -> str:
        """Return the conditions of the proposed or next class in one line; empty if there is none."""
        explainer = _Explainer(record, self.rules, self.language)
        return "; ".join(self._text(explainer, condition) for condition in explainer.decisive_conditions(decision))

    def _text(self, explainer: "_Explainer", condition: Condition) -> str:
        key = (id(condition), explainer.value(condition))  # by identity: the rules keep each of them alive
        text = self._known.get(key)
        if text is None:
            if len(self._known) >= _MOST_TEXTS:
                self._known.clear()
            text = self._known[key] = explainer.answer(condition)
        return text


@dataclass(frozen=True, slots=True)
class _Explainer:
    record: ServiceRecord
    rules: Rules
    language: Language

    def class_lines(self) -> Iterator[ExplanationLine]:
        decision = decide_class(self.record, self.rules)
        match = match_ladder(self.record.officer, self.rules)
        yield from self._decision_lines("class", decision)
        yield from self._class_questions(decision, match)
        if step := self._decisive(decision, match):
            yield self._line("class", "step", self._say("step", id=step.id, award=step.award, abbr=step.abbr_th))
            yield from (self._condition("class", condition, "condition") for condition in step.conditions)
        elif decision.reason == "RULE_NOT_FOUND":
            yield self._line("class", "step", self._say("no_ladder", level=self.record.officer.level or "-"))
        if decision.decision == "not_eligible" and (next_class := self._outlook()):
            yield next_class

    def medal_lines(self) -> Iterator[ExplanationLine]:
        decision = decide_medal(self.record, self.rules)
        yield from self._decision_lines("medal", decision)
        for answer in self._exclusions("medal"):
            yield answer
            if answer.answer == "no":
                return
        medal, officer = self.rules.medal, self.record.officer
        basis = self._basis([medal.id])
        is_covered = None if officer.employee_group is None else officer.employee_group in medal.groups
        yield self._asked("medal", "group_covered", is_covered, basis)
        if is_covered is False:
            return
        yield self._asked("medal", "medal_held", not self.record.has_medal, basis)
        yield from (self._condition("medal", condition, "condition") for condition in medal.service)

    def decisive_conditions(self, decision: Decision) -> Sequence[Condition]:
        """Return the conditions of the proposed or next class."""
        step = self._decisive(decision, match_ladder(self.record.officer, self.rules))
        return step.conditions if step else ()

    def value(self, condition: Condition) -> object:
        """Return all of the record that the words for a condition depend on."""
        match condition:
            case MinimumYears() | PayCondition():
                return condition.value(self.record)
            case HeldYears() | RequiresClass():
                return self.record.held.get(condition.award), self.record.history_gap

    # -- questions

    def _class_questions(self, decision: Decision, match: LadderMatch) -> Iterator[ExplanationLine]:
        """Yield the questions up to the one that excludes the officer."""
        for line in (*self._exclusions("class"), *self._class_limits(match)):
            yield line
            if line.answer == "no":
                return
        if match.group is not None:
            minimum = self._condition("class", match.group.minimum, "question")
            yield minimum
            if minimum.answer == "no":
                return
        if decision.decision == "not_eligible" or decision.missing:
            return
        officer = self.record.officer
        found = (not officer.imprisonment, not officer.discipline, not officer.on_leave)
        for rule_id, answer in zip(_REVIEWS, found, strict=True):
            yield self._asked("class", rule_id, answer, self._basis([rule_id]))

    def _exclusions(self, about: Literal["class", "medal"]) -> Iterator[ExplanationLine]:
        officer, ceremony = self.record.officer, self.rules.ceremony
        is_thai = None if officer.nationality is None else officer.nationality == "TH"
        yield self._asked(about, "GR-NATIONALITY", is_thai, self._basis(["GR-NATIONALITY"]))
        yield self._asked(about, "GR-RECALLED", not officer.decoration_recalled, self._basis(["GR-RECALLED"]))
        is_serving, day = in_service(officer, ceremony), self._day(ceremony)
        yield self._asked(about, "GR-IN-SERVICE", is_serving, self._basis(["GR-IN-SERVICE"]), day=day)

    def _class_limits(self, match: LadderMatch) -> Iterator[ExplanationLine]:
        record, year = self.record, self.rules.ceremony.year
        received = received_last_round(record, self.rules)
        last = record.last_class
        yield self._asked(
            "class",
            "GR-CONSECUTIVE",
            None if received is None else not received,
            self._basis(["GR-CONSECUTIVE"]),
            before=self._year(year - 1),
            year=self._year(year),
            last=self._say("unknown" if record.history_gap else "none") if last is None else self._since(last),
        )
        if match.ladder is None or record.history_gap:
            return
        names = {rank: self._class_name(code) for code, rank in self.rules.ranks.items()}
        held, highest = names.get(record.rank, self._say("none")), names[match.ladder.max_rank]
        is_below, basis = record.rank < match.ladder.max_rank, self._basis(["GR-HIGHER-ONLY"])
        yield self._asked("class", "GR-HIGHER-ONLY", is_below, basis, held=held, highest=highest)

    def _asked(
        self, about: Literal["class", "medal"], name: str, answer: bool | None, basis: str, **values: str
    ) -> ExplanationLine:
        text = self._say(name, answer=self._say(_ANSWERS[answer]), **values)
        return ExplanationLine(about, "question", text + basis, _ANSWERS[answer])

    # -- the decision

    def _line(
        self,
        about: Literal["class", "medal"],
        kind: Literal["decision", "missing", "rule", "step", "outlook"],
        text: str,
    ) -> ExplanationLine:
        return ExplanationLine(about, kind, text)

    def _say(self, name: str, **values: object) -> str:
        return WORDS[self.language][name].format(**values)

    def _decision_lines(self, about: Literal["class", "medal"], decision: Decision) -> Iterator[ExplanationLine]:
        award = decision.next_award
        headline = self._say(
            "headline",
            what=self._outcome(decision),
            next=self._say("next", award=self._class_name(award)) if award else "",
            confidence=self._confidence(decision.confidence),
            rules=self._say("list").join(decision.rules),
        )
        yield self._line(about, "decision", f"{self._say(about)}: {headline}")
        if decision.missing:
            fields = ", ".join(missing_label(name, self.language) for name in decision.missing)
            yield self._line(about, "missing", self._say("missing", fields=fields))
        for rule_id in decision.rules:
            rule = self.rules.general.get(rule_id)
            if rule is not None and rule.reason_code and rule.reason_code == decision.reason:
                text = rule.rule if self.language == "en" else RULES_TH.get(rule_id, self._reason(rule.reason_code))
                yield self._line(about, "rule", f"{rule_id}: {text}{self._basis([rule_id])}")

    def _outcome(self, decision: Decision) -> str:
        if self.language == "en":
            return f"{decision.decision} {decision.award or decision.reason}"
        detail = decision.abbr_th or self._reason(decision.reason or "")
        return f"{DECISIONS[decision.decision]['th']} {detail}"

    def _reason(self, code: str) -> str:
        return REASONS[code]["th"] if code in REASONS else code

    def _outlook(self) -> ExplanationLine | None:
        found = outlook_of(self.record, self.rules)
        if found is None:
            return None
        names = {"award": found.step.award, "abbr": found.step.abbr_th}
        if found.from_round is None:
            return self._line("class", "outlook", self._say("outlook_never", count=len(found.lacking), **names))
        return self._line("class", "outlook", self._say("outlook", round=found.from_round, **names))

    def _decisive(self, decision: Decision, match: LadderMatch) -> Step | None:
        """Return the step whose conditions decided: that of the proposed or next class, else the next above."""
        if match.ladder is None:
            return None
        above = steps_above(self.record, match.ladder)
        wanted = decision.award or decision.next_award
        found = next((step for step in above if step.award == wanted), None)
        return found or next((step for step in above if decision.missing), None)

    # -- conditions

    def _condition(
        self, about: Literal["class", "medal"], condition: Condition, kind: Literal["question", "condition"]
    ) -> ExplanationLine:
        ids = [reference.id for reference in condition.references]
        confidence = weakest(reference.confidence for reference in condition.references)
        text = self.answer(condition) + self._basis(ids, confidence)
        return ExplanationLine(about, kind, text, _ANSWERS[condition.answer(self.record)])

    def answer(self, condition: Condition) -> str:
        """Return the words for a condition, with its values and whether it is met."""
        met = condition.answer(self.record)
        name: str = _ANSWERS[met]
        if self.language == "th" and met is not None and isinstance(condition, MinimumYears | HeldYears):
            name = "met" if met else "unmet"
        answer = self._say(name)
        match condition:
            case MinimumYears():
                line = self._years(condition.field, condition, condition.value(self.record), answer)
            case HeldYears():
                line = self._years("held", condition, self.record.held.get(condition.award, ANY_DAY), answer)
            case PayCondition():
                line = self._pay(condition, answer)
            case RequiresClass():
                names = {"award": condition.award, "abbr": self._class_name(condition.award)}
                line = self._say("requires", answer=answer, **names)
        return line

    def _years(self, name: str, condition: MinimumYears | HeldYears, since: Days, answer: str) -> str:
        award = condition.award if isinstance(condition, HeldYears) else ""
        names = {"award": award, "abbr": self._class_name(award)}
        day, shown = self._day(condition.as_of), self._since(since)
        line = self._say(name, years=condition.years, day=day, since=shown, answer=answer, **names)
        if since[0] != since[1] or condition.answer(self.record):
            return line
        return line + self._say("from_round", round=self.rules.round_be + rounds_until(condition, since[0]))

    def _pay(self, condition: PayCondition, answer: str) -> str:
        pay = condition.value(self.record)
        figure = FIGURES_TH.get(condition.figure) if self.language == "th" else None
        return self._say(
            "pay",
            field=self._say(condition.field),
            pay=self._say("unknown") if pay is None else self._say("baht", amount=_amount(pay)),
            sign=self._say("at_least" if condition.at_least else "below"),
            amount=self._say("baht", amount=_amount(condition.amount)),
            figure=figure or condition.figure,
            answer=answer,
        )

    # -- values

    def _basis(self, ids: Iterable[str], confidence: str | None = None) -> str:
        """Return the rules behind a line with their sources, in brackets."""
        known = {name: self.rules.sources[name] for name in ids if name in self.rules.sources}
        if not known:
            return ""
        sources = list(dict.fromkeys(source for entry in known.values() for source in entry.sources))
        confidence = confidence or weakest(entry.confidence for entry in known.values())
        return self._say(
            "basis" if sources else "unsourced",
            ids=self._say("list").join(known),
            confidence=self._confidence(confidence),
            sources=self._say("list").join(sources),
        )

    def _confidence(self, confidence: str) -> str:
        return LEVELS_OF_CONFIDENCE[confidence][self.language]

    def _class_name(self, code: str) -> str:
        return code if self.language == "en" else self.rules.abbreviations.get(code, code)

    def _since(self, days: Days) -> str:
        return self._day(days[0]) if days[0] == days[1] else self._say("unknown")

    def _day(self, day: date) -> str:
        return day.isoformat() if self.language == "en" else thai_date(day)

    def _year(self, year: int) -> str:
        return str(year if self.language == "en" else year + BE_OFFSET)


def _amount(amount: float) -> str:
    return f"{int(amount) if amount == int(amount) else amount:,}"
