"""`evaluate`: decides one roster by the insignia rules, and prints or writes the result."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from config.loader import LoadedSettings
from worker.errors import Discard, StoreUnwritable
from worker.insignia import (
    Evaluation,
    InsigniaError,
    ResultsUnwritable,
    RosterRejected,
    evaluate_roster,
    load_criteria,
    write_results,
)
from worker.insignia.results.writer import result_row, write_csv, write_json, write_xlsx
from worker.insignia.roster.cells import Unreadable
from worker.insignia.roster.officer import Officer
from worker.insignia.roster.person_id import read_person_id
from worker.insignia.rules.decision_id import decision_id, is_decision_id
from worker.insignia.rules.explain import explain

_MAX_SHOWN = 20
"""How many unreadable values are listed; the rest is counted."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """The files, and what their headings mean."""

    roster: Sequence[Path]
    history: Path | None
    mapping: Sequence[str]
    """`HEADING=FIELD` each."""
    explained: str | None = None
    """The id of an officer or of a decision, which is explained instead of printing all rows."""

    def columns(self) -> dict[str, str]:
        """Return the fields by heading. Raises Discard for an entry without an equals sign."""
        pairs = [entry.rpartition("=") for entry in self.mapping]
        for entry, (heading, _, field) in zip(self.mapping, pairs, strict=True):
            if not heading.strip() or not field.strip():
                raise Discard(f"--map {entry}: write HEADING=FIELD, as วันที่เกิด=birth_date")
        return {heading.strip(): field.strip() for heading, _, field in pairs}


def run(loaded: LoadedSettings, inputs: Inputs, round_be: int, output: Path | None) -> None:
    """Write rows, or one explanation, to stdout or rows to `output` (.json, .csv, .xlsx, folder); a summary to stderr.

    Raises Discard when the roster cannot be evaluated, StoreUnwritable when the result cannot be written.
    """
    settings = loaded.settings.insignia
    criteria = settings.criteria_path
    try:
        with _progress() as progress:
            evaluation = evaluate_roster(
                list(inputs.roster),
                round_be,
                history=inputs.history,
                mapping=inputs.columns(),
                criteria=load_criteria(None if criteria is None else loaded.resolve_content(criteria)),
                sequence=settings.sequence,
                bad_row_limit=settings.bad_row_limit,
                progress=progress,
            )
        if inputs.explained is not None:
            _print_explanation(evaluation, inputs.explained)
        if inputs.explained is None or output is not None:
            _write(evaluation, output)
    except ResultsUnwritable as exc:
        raise StoreUnwritable(str(exc)) from None
    except RosterRejected as exc:
        _print_bad_cells(exc.bad_cells)
        raise Discard(str(exc)) from None
    except InsigniaError as exc:
        raise Discard(str(exc)) from None
    _print_summary(evaluation, output)


@contextmanager
def _progress() -> Iterator[Callable[[float, str], None] | None]:
    """Yield a function that draws progress; None when stderr is not a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(file=sys.stderr), transient=True) as bar:
        row = bar.add_task("reading", total=80)
        yield lambda percent, note: bar.update(row, completed=percent, description=note)


def _write(evaluation: Evaluation, output: Path | None) -> None:
    match output:
        case None:
            rows = [result_row(verdict, evaluation.rules) for verdict in evaluation.verdicts]
            sys.stdout.buffer.write(orjson.dumps(rows, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
        case Path(suffix=".json"):
            write_json(evaluation, output)
        case Path(suffix=".csv"):
            write_csv(evaluation, output)
        case Path(suffix=".xlsx"):
            write_xlsx(evaluation, output)
        case _:
            write_results(evaluation, output)


def _print_explanation(evaluation: Evaluation, given: str) -> None:
    """Print the explanation in Thai and English. Raises Discard for an officer who is not among the good rows."""
    try:
        person = read_person_id(given)[0]
    except Unreadable:
        person = given.strip()
    rules = evaluation.rules
    officer = next((verdict.officer for verdict in evaluation.verdicts if verdict.person_id == person), None)
    officer = officer or _decided_as(given.strip().lower(), evaluation)
    if officer is None:
        why = next(
            (cell.reason for cell in evaluation.bad_cells if cell.person_id == person), "it is not in the roster"
        )
        raise Discard(f"--explain {given}: there is no decision for this id: {why}")
    identity = f"decision {decision_id(officer, rules)}, round {rules.round_be}, {rules.criteria.short}"
    lines = [*explain(officer, rules, "th"), "", *explain(officer, rules, "en")]
    sys.stdout.write("\n".join([officer.person_id, identity, *lines, ""]))


def _decided_as(identity: str, evaluation: Evaluation) -> Officer | None:
    """Return the officer whose decision has this id."""
    if not is_decision_id(identity):
        return None
    officers = (verdict.officer for verdict in evaluation.verdicts)
    return next((officer for officer in officers if decision_id(officer, evaluation.rules) == identity), None)


def _print_summary(evaluation: Evaluation, output: Path | None) -> None:
    """Print the totals in a few lines."""
    summary = evaluation.summary()
    _print(f"round {summary['round']}: {summary['officers']:,} officers; ceremony {summary['ceremony']}")
    _print(f"  class: {_counts_text(summary)}")
    _print(f"  medal: {_counts_text(summary['medal'])}")
    _print(f"  by class: {_list_text(summary['byClass'])}")
    _print(f"  by reason: {_list_text(summary['byReason'])}")
    _print(f"  to check (a rule below high confidence was applied): {summary['toCheck']:,}")
    _print(f"  repaired: {_list_text(summary['repairs'])}")
    _print(f"  notices: {_list_text(summary['notices'])}")
    _print(f"  criteria: {evaluation.rules.criteria.short}")
    for remark in summary["remarks"]:
        _print(f"  note: {remark}")
    if evaluation.bad_rows:
        _print(f"  {evaluation.bad_rows:,} rows could not be read:")
        _print_bad_cells(evaluation.bad_cells)
    if output is not None:
        _print(f"  written: {output}")


def _counts_text(counts: dict[str, Any]) -> str:
    words = (("nominate", "nominate"), ("notEligible", "not eligible"), ("manualReview", "manual review"))
    return ", ".join(f"{counts[key]:,} {text}" for key, text in words)


def _list_text(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items()) or "none"


def _print_bad_cells(cells: Any) -> None:
    for cell in cells[:_MAX_SHOWN]:
        place = ", ".join(part for part in (cell.file, cell.sheet, f"row {cell.row}") if part)
        _print(f"    {place}, {cell.column}: {cell.value[:40]!r} {cell.reason}")
    if len(cells) > _MAX_SHOWN:
        _print(f"    … and {len(cells) - _MAX_SHOWN:,} more")


def _print(text: str) -> None:
    print(text, file=sys.stderr)
