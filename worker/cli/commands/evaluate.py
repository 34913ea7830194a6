"""`evaluate`: the insignia rules without the queue."""

from pathlib import Path
from typing import Annotated

import typer


def evaluate(
    context: typer.Context,
    roster: Annotated[list[Path], typer.Argument(help="The officers: one file or several; XLSX, XLS, ODS, CSV, JSON.")],
    round_be: Annotated[int, typer.Option("--round", help="The round, a Buddhist year, e.g. 2569.")],
    history: Annotated[
        Path | None, typer.Option(help="person_id,decoration,received, in any of these formats.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="FILE.json, .csv, .xlsx or a folder; else JSON to stdout."),
    ] = None,
    mapping: Annotated[
        list[str] | None,
        typer.Option("--map", help="HEADING=FIELD for a heading that is not known; FIELD - ignores it. Repeatable."),
    ] = None,
    explain: Annotated[
        str | None, typer.Option("--explain", metavar="ID", help="Print why: the id of an officer or of a decision.")
    ] = None,
) -> None:
    """Evaluate a roster against the insignia rules, without the queue."""
    loaded = context.obj.load()
    from worker.cli import evaluate

    evaluate.run(loaded, evaluate.Inputs(roster, history, mapping or [], explain), round_be, output)
