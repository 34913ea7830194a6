"""The table of results for people: Thai headings, and labels beside the codes. CSV and workbook show the same."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from worker.insignia.criteria.labels import CONFIDENCE, DECISIONS, REASONS
from worker.insignia.criteria.model import weakest
from worker.insignia.evaluation import is_uncertain
from worker.insignia.results.csv_cells import CsvCells, csv_cell, fragment, quoted
from worker.insignia.results.details import ResultDetails
from worker.insignia.roster.headings import LABELS_TH
from worker.insignia.roster.officer import ABOUT, about_of
from worker.insignia.roster.person_id import is_citizen_id
from worker.insignia.rules.decision import Decision, Verdict
from worker.insignia.rules.explain_words import missing_label
from worker.insignia.rules.ruleset import Rules

COLUMNS: Sequence[tuple[str, int]] = (
    ("ลำดับ", 7),
    ("เลขประจำตัวประชาชน", 20),
    *((LABELS_TH[name], width) for name, width in zip(ABOUT, (11, 18, 18, 7, 26, 26), strict=True)),
    ("ผลการพิจารณาชั้นตรา", 20),
    ("ชั้นที่เสนอ", 11),
    ("เหตุผล", 34),
    ("ชั้นถัดไป", 11),
    ("คาดว่าครบเกณฑ์ตั้งแต่รอบปี", 12),
    ("เงื่อนไขที่ใช้พิจารณา", 60),
    ("ข้อ", 12),
    ("ความเชื่อมั่น", 26),
    ("ผลการพิจารณาเหรียญจักรพรรดิมาลา", 20),
    ("เหตุผล (เหรียญ)", 34),
    ("ข้อมูลที่ขาด", 26),
    ("ต้องทวนสอบ", 9),
    ("รหัสการพิจารณา", 27),
    ("หลักเกณฑ์ที่ใช้", 40),
)
"""Headings, and their widths in a workbook."""
_MAYBE_NUMBER = re.compile(r"[0-9.,/:eE+\- ]*[0-9][0-9.,/:eE+\- ]*")
KEYS = ("decision", "award", "abbr_th", "step", "reason", "next_award", "confidence")
"""What results say about a decision, in JSON and in the columns for programs."""
_CODES = ("person_id", *(f"class.{name}" for name in KEYS), *(f"medal.{name}" for name in KEYS), "missing")
"""Headings of the columns for programs, which follow the columns for people in the CSV file."""
CSV_HEADER = (*(heading for heading, _ in COLUMNS), *_CODES)


@dataclass(frozen=True, slots=True)
class SharedCells:
    """The cells that all officers with the same two decisions share, as tuples and as parts of CSV lines."""

    before: tuple[str, ...]
    """The class and the reason."""
    after: tuple[str, ...]
    """From the step to whether the row is to be checked."""
    before_csv: str
    after_csv: str
    codes_csv: str


@dataclass(slots=True)
class ResultTable:
    """The rows of an evaluation as cells of text; one object serves the CSV file and the workbook."""

    details: ResultDetails
    _shared: dict[tuple[int, int], SharedCells] = field(default_factory=dict)

    @property
    def _rules(self) -> Rules:
        return self.details.evaluation.rules

    def rows(self) -> Iterator[tuple[str, ...]]:
        """Yield a row for each officer, in roster order; ids are as they were read."""
        criteria = self._rules.criteria.short
        for number, (verdict, identity, when, conditions) in enumerate(self._entries(), 1):
            shared = self._cells(verdict.class_, verdict.medal)
            yield (
                str(number),
                verdict.person_id,
                *about_of(verdict.officer),
                *shared.before,
                "" if when is None else str(when),
                conditions,
                *shared.after,
                identity,
                criteria,
            )

    def csv_lines(self) -> Iterator[str]:
        """Yield the same rows as lines of a CSV file, with the codes for programs at their end."""
        criteria = csv_cell(self._rules.criteria.short)
        cells = CsvCells()
        for number, (verdict, identity, when, conditions) in enumerate(self._entries(), 1):
            shared = self._cells(verdict.class_, verdict.medal)
            shown, person_id = csv_ids(verdict.person_id)
            about = ",".join([cells[text] for text in about_of(verdict.officer)])
            yield (
                f"{number},{shown},{about},{shared.before_csv},{'' if when is None else when},{csv_cell(conditions)},"
                f"{shared.after_csv},{identity},{criteria},{person_id},{shared.codes_csv}"
            )

    def _entries(self) -> Iterator[tuple[Verdict, str, int | None, str]]:
        details = self.details
        return zip(details.evaluation.verdicts, details.ids, details.next_rounds, details.conditions, strict=True)

    def _cells(self, class_: Decision, medal: Decision) -> SharedCells:
        key = id(class_), id(medal)  # by identity: the verdicts keep each of them alive
        if key not in self._shared:
            self._shared[key] = shared_cells(class_, medal, self._rules)
        return self._shared[key]


def shared_cells(class_: Decision, medal: Decision, rules: Rules) -> SharedCells:
    """Return the cells that say what was decided."""
    missing = missing_fields(class_, medal)
    before = (
        label(DECISIONS, class_.decision),
        class_.abbr_th or "",
        label(REASONS, class_.reason),
        rules.abbreviations.get(class_.next_award or "", ""),
    )
    after = (
        class_.step or "",
        label(CONFIDENCE, weakest((class_.confidence, medal.confidence))),
        label(DECISIONS, medal.decision),
        label(REASONS, medal.reason),
        ", ".join(missing_label(name, "th") for name in missing),
        "ใช่" if is_uncertain(class_, medal) else "",
    )
    codes = (*_codes(class_), *_codes(medal), "; ".join(missing))
    return SharedCells(before, after, fragment(before), fragment(after), fragment(codes))


def csv_ids(person_id: str) -> tuple[str, str]:
    """Return the cell of an id for people, and the one for programs."""
    shown = id_cell(person_id)
    if is_citizen_id(person_id):
        return shown, person_id
    plain = csv_cell(person_id)
    return plain if shown == person_id else quoted(shown), plain


def _codes(decision: Decision) -> tuple[str, ...]:
    return tuple(getattr(decision, name) or "" for name in KEYS)


def decision_row(decision: Decision) -> dict[str, str]:
    """Return what results say about a decision; keys that do not apply are absent."""
    return {name: value for name in KEYS if (value := getattr(decision, name)) is not None}


def missing_fields(class_: Decision, medal: Decision) -> tuple[str, ...]:
    """Return the fields that decide the class or the medal and are unknown."""
    return tuple(dict.fromkeys((*class_.missing, *medal.missing)))


def label(labels: Mapping[str, Mapping[str, Any]], code: str | None) -> str:
    """Return the Thai label with its code; empty if there is no code."""
    if code is None:
        return ""
    return f"{labels[code]['th']} ({code})" if code in labels else code


def id_cell(person_id: str) -> str:
    """Return an id that spreadsheets keep as text when they open a CSV file.

    A citizen id gets the hyphens of its official form. Other ids that could be a number or a date become a formula
    whose value is the text.
    """
    if is_citizen_id(person_id):
        return f"{person_id[0]}-{person_id[1:5]}-{person_id[5:10]}-{person_id[10:12]}-{person_id[12]}"
    return f'="{person_id}"' if _MAYBE_NUMBER.fullmatch(person_id) else person_id
