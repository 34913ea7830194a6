"""The insignia job: a roster through the rules of a round, results in a folder of their own.

Translates between the queue's world and the rules': payload to arguments, their errors to ours. Knows no rule.
"""

from pathlib import Path
from typing import Any, Literal, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from config.settings import InsigniaSettings
from worker.errors import Cancelled, Discard, WorkerError
from worker.handler import Context, handler
from worker.insignia import (
    EvaluationCancelled,
    InsigniaError,
    JobFolder,
    ResultsUnwritable,
    RosterRejected,
    RoundInvalid,
    evaluate_roster,
    load_criteria,
    write_bad_rows,
    write_results,
)
from worker.insignia.compiler import check_round
from worker.insignia.roster import Source, Watch


class InsigniaPayload(BaseModel):
    """What a job of this kind is given. Paths are relative to Insignia:DataDirectory."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    round: int = Field(strict=True)
    """The round's Buddhist year."""
    roster: str | None = Field(None, min_length=1, max_length=1000)
    officers: list[dict[str, Any]] | None = None
    history: str | list[dict[str, Any]] | None = None
    sequence: Literal["highest_satisfied", "strict_next"] | None = None
    organization: str | None = Field(None, min_length=1, max_length=200)
    """Whose round it is; results lie under its name, else under the user's."""

    @field_validator("round")
    @classmethod
    def _is_a_buddhist_year(cls, value: int) -> int:
        try:
            check_round(value)
        except RoundInvalid as exc:
            raise ValueError(str(exc)) from None
        return value

    @model_validator(mode="after")
    def _has_one_source(self) -> Self:
        if (self.roster is None) is (self.officers is None):
            raise ValueError("give either roster (a file) or officers (a list), and not both")
        return self


def remove_superseded(result: bytes | None, settings: InsigniaSettings | None) -> None:
    """What the attempt replaces goes once it is settled, and not before: until then it may come to nothing."""
    output = orjson.loads(result or b"{}").get("output")
    if isinstance(output, str) and Path(output).is_dir():
        root = Path((settings or InsigniaSettings()).output_directory)
        JobFolder.written(root, Path(output)).remove_superseded()


@handler(
    "insignia_background_processing",
    execution="process",
    section="Insignia",
    files=("roster", "history"),
    settled=remove_superseded,
)
def evaluate_round(payload: InsigniaPayload, context: Context) -> dict[str, Any]:
    """Evaluate a round and replace its unconfirmed results. Returns the summary."""
    settings = context.settings or InsigniaSettings()
    folder = JobFolder.of(
        Path(settings.output_directory),
        owner=payload.organization or context.user_id,
        round_be=payload.round,
        job_id=context.job_id,
        attempt=context.attempt,
    )
    try:
        summary = _evaluate(payload, settings, folder, context)
    except EvaluationCancelled as exc:
        raise Cancelled(str(exc)) from None
    except ResultsUnwritable as exc:
        raise WorkerError(f"{exc}: make room or set the rights, then try again") from exc
    except InsigniaError as exc:
        raise Discard(str(exc)) from None
    context.progress(100, "done")
    return summary


def _evaluate(
    payload: InsigniaPayload, settings: InsigniaSettings, folder: JobFolder, context: Context
) -> dict[str, Any]:
    folder.refuse_if_confirmed()
    data = Path(settings.data_directory)
    watch = Watch(context.progress, lambda: context.cancelled)
    try:
        evaluation = evaluate_roster(
            _source(data, payload.officers if payload.roster is None else payload.roster),
            payload.round,
            history=None if payload.history is None else _source(data, payload.history),
            criteria=load_criteria(settings.criteria_path),
            sequence=payload.sequence or settings.sequence,
            bad_row_limit=settings.bad_row_limit,
            progress=watch.progress,
            cancelled=watch.cancelled,
        )
    except RosterRejected as exc:
        bad_rows = folder.attempt / "bad_rows.csv"
        write_bad_rows(exc.bad_cells, bad_rows)
        raise Discard(f"{exc}. All of them: {folder.told(bad_rows)}") from None
    folder.refuse_if_confirmed()
    return write_results(evaluation, folder.attempt, watch=watch, register=True)


def _source(data: Path, source: str | list[dict[str, Any]] | None) -> Source:
    """A list as it is; a path only inside the data directory, symbolic links resolved."""
    if not isinstance(source, str):
        return source or []
    if "\0" in source or Path(source).is_absolute():
        raise Discard("the path must be relative to Insignia:DataDirectory")
    try:
        base = data.resolve()
        path = (base / source).resolve()
        exists = path.is_file()
    except (OSError, RuntimeError):  # a name too long, a ring of symbolic links
        raise Discard("the path cannot be followed: put the file under Insignia:DataDirectory") from None
    if not path.is_relative_to(base):
        raise Discard("the path leaves Insignia:DataDirectory: put the file there")
    if not exists:
        raise Discard(f"there is no file {path.relative_to(base)} under Insignia:DataDirectory")
    return path
