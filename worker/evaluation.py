"""`evaluate`: the insignia rules without the queue, for one roster and one pair of eyes."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from config.layers import Loaded
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
from worker.insignia.report import row_of, write_csv, write_json

_SHOWN = 20
"""Bad values that are spelled out; the rest is counted."""


def run(loaded: Loaded, roster: Path, round_be: int, history: Path | None, output: Path | None) -> None:
    """Rows to stdout or to `output` (.json, .csv, or a folder for all files); what people read goes to stderr."""
    settings = loaded.settings.insignia
    criteria = settings.criteria_path
    try:
        with _progress() as progress:
            evaluation = evaluate_roster(
                roster,
                round_be,
                history=history,
                criteria=load_criteria(None if criteria is None else loaded.resolve_content(criteria)),
                sequence=settings.sequence,
                bad_row_limit=settings.bad_row_limit,
                progress=progress,
            )
        _write(evaluation, output)
    except ResultsUnwritable as exc:
        raise StoreUnwritable(str(exc)) from None
    except RosterRejected as exc:
        _tell_bad_cells(exc.bad_cells)
        raise Discard(str(exc)) from None
    except InsigniaError as exc:
        raise Discard(str(exc)) from None
    _tell(evaluation, output)


@contextmanager
def _progress() -> Iterator[Callable[[float, str], None] | None]:
    """A bar where somebody looks at one."""
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
            rows = [row_of(verdict) for verdict in evaluation.verdicts]
            sys.stdout.buffer.write(orjson.dumps(rows, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
        case Path(suffix=".json"):
            write_json(evaluation, output)
        case Path(suffix=".csv"):
            write_csv(evaluation, output)
        case _:
            write_results(evaluation, output)


def _tell(evaluation: Evaluation, output: Path | None) -> None:
    """The summary in a few lines."""
    summary = evaluation.summary()
    say = _say
    say(f"round {summary['round']}: {summary['officers']:,} officers; ceremony {summary['ceremony']}")
    say(f"  class: {_counted(summary)}")
    say(f"  medal: {_counted(summary['medal'])}")
    say(f"  by class: {_listed(summary['byClass'])}")
    say(f"  by reason: {_listed(summary['byReason'])}")
    say(f"  to check (a rule below high confidence was asked): {summary['toCheck']:,}")
    for remark in summary["remarks"]:
        say(f"  note: {remark}")
    if evaluation.bad_rows:
        say(f"  {evaluation.bad_rows:,} rows could not be read:")
        _tell_bad_cells(evaluation.bad_cells)
    if output is not None:
        say(f"  written: {output}")


def _counted(counts: dict[str, Any]) -> str:
    words = (("nominate", "nominate"), ("notEligible", "not eligible"), ("manualReview", "manual review"))
    return ", ".join(f"{counts[key]:,} {text}" for key, text in words)


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items()) or "none"


def _tell_bad_cells(cells: Any) -> None:
    for cell in cells[:_SHOWN]:
        _say(f"    row {cell.row}, {cell.column}: {cell.value[:40]!r} {cell.reason}")
    if len(cells) > _SHOWN:
        _say(f"    … and {len(cells) - _SHOWN:,} more")


def _say(text: str) -> None:
    print(text, file=sys.stderr)
