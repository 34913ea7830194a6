"""The insignia job: evaluates a roster by the rules of a round and writes the results to a folder of their own.

Translates between the queue and the rules: payload to arguments, errors of the rules to errors of the worker.
"""

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from config.settings import InsigniaSettings
from worker.disk.room import DISK_FULL, free_bytes, lack_of_room
from worker.errors import Cancelled, Discard, WorkerError, WrongContent
from worker.handler import Context, handler
from worker.insignia import (
    EvaluationCancelled,
    InsigniaError,
    InvalidPath,
    JobFolder,
    ResultsUnwritable,
    RosterFile,
    RosterRejected,
    RosterUnreadable,
    RoundInvalid,
    evaluate_roster,
    load_criteria,
    write_bad_rows,
    write_results,
)
from worker.insignia.buddhist_year import check_round
from worker.insignia.messages import message
from worker.insignia.progress import ProgressReporter
from worker.insignia.results.remembered import remember_columns, remembered_columns
from worker.insignia.roster.reader import Source
from worker.insignia.roster.upload_check import UploadCheck

_MAX_NAMED = 10
"""Jobs that one log line names."""

FileNames = Annotated[list[Annotated[str, Field(min_length=1, max_length=1000)]], Field(min_length=1, max_length=100)]


class InsigniaPayload(BaseModel):
    """The payload of a round. Paths are relative to Insignia:DataDirectory."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    round: int = Field(strict=True)
    """The round's Buddhist year."""
    roster: Annotated[str, Field(min_length=1, max_length=1000)] | FileNames | None = None
    """One file, or several for one round."""
    officers: list[dict[str, Any]] | None = None
    history: Annotated[str, Field(min_length=1, max_length=1000)] | FileNames | list[dict[str, Any]] | None = None
    columns: dict[str, str] | None = Field(None, max_length=200)
    """Headings that are not known, each with its field, or with `-` to ignore it."""
    sequence: Literal["highest_satisfied", "strict_next"] | None = None
    organization: str | None = Field(None, min_length=1, max_length=200)
    """The owner of the round, whose name the folder of results gets; without it, the user."""

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


def replace_older(result: bytes | None, settings: InsigniaSettings | None) -> str | None:
    """Replace the older results of a settled attempt's round; before it is settled they are still the valid ones.

    Returns a sentence for the log that names their jobs; None if there were none.
    """
    output = orjson.loads(result or b"{}").get("output")
    settings = settings or InsigniaSettings()
    root = Path(settings.output_directory)
    if not isinstance(output, str) or not (root / output).is_dir():
        return None
    folder = JobFolder.written(root, root / output)
    keep, now = settings.keep_replaced / 1000, time.time()
    jobs = folder.replace_older(keep, now)
    if not jobs:
        return None
    listed = ", ".join(jobs[:_MAX_NAMED]) + (f" and {len(jobs) - _MAX_NAMED} more" if len(jobs) > _MAX_NAMED else "")
    done = f"are kept until {_day(now + keep)}" if keep > 0 else "were deleted"
    return (
        f"the older results of {folder.owner}, round {folder.round_folder.name}, "
        f"which job {folder.job.name} replaces, {done}: {listed}"
    )


def _day(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).date().isoformat()


class RosterFileCheck:
    """Rejects a roster or history file that cannot be a table, before a job has to report it."""

    def __init__(self, name: str) -> None:
        self._check = UploadCheck(name)

    def feed(self, data: bytes) -> None:
        """Check the next piece. Raises WrongContent."""
        with _as_wrong_content():
            self._check.feed(data)

    def finish(self) -> str:
        """Check the end and return the suffix that fits the content. Raises WrongContent."""
        with _as_wrong_content():
            return self._check.finish()


@contextlib.contextmanager
def _as_wrong_content() -> Iterator[None]:
    try:
        yield
    except RosterUnreadable as exc:
        raise WrongContent(str(exc)).localized(exc.message.code, exc.message.th) from None


@handler(
    "insignia_background_processing",
    execution="process",
    section="Insignia",
    files={"roster": RosterFileCheck, "history": RosterFileCheck},
    settled=replace_older,
)
def evaluate_round(payload: InsigniaPayload, context: Context) -> dict[str, Any]:
    """Evaluate a round, replace its unconfirmed results and return the summary."""
    settings = context.settings or InsigniaSettings()
    folder = JobFolder.of(
        Path(settings.output_directory),
        user=context.user_id,
        organization=payload.organization,
        round_be=payload.round,
        job_id=context.job_id,
        attempt=context.attempt,
    )
    try:
        summary = _evaluate(payload, settings, folder, context)
    except EvaluationCancelled as exc:
        raise Cancelled(str(exc)) from None
    except ResultsUnwritable as exc:
        raise _unwritable(exc, folder, absolute=settings.absolute_output) from exc
    except InsigniaError as exc:
        raise Discard(str(exc)).localized(exc.message.code, exc.message.th, _remedy(exc)) from None
    context.progress(100, "done")
    return summary


def _unwritable(exc: ResultsUnwritable, folder: JobFolder, *, absolute: bool) -> WorkerError:
    """Return the error that says what is full and what to do, or which rights to correct."""
    setting = f"Insignia:OutputDirectory ({folder.root})" if absolute else "Insignia:OutputDirectory"
    where = f"in {folder.shown_path(folder.attempt.parent)}, below {setting}"
    lack = _lack_of_room(exc.__cause__, setting)
    if lack is None:
        text = f"{exc} {where}: correct the rights of the folder, or look at its disk, then retry the job"
        return WorkerError(text).localized(exc.message.code, exc.message.th)
    free, free_th = "", ""
    with contextlib.suppress(OSError):
        count = free_bytes(folder.root)
        free, free_th = f"; {count:,} bytes are free there now", f" (เหลือ {count:,} ไบต์)"
    th = f"{exc.message.th} ดิสก์ของ Insignia:OutputDirectory เต็ม{free_th}"
    return WorkerError(f"{exc} {where}: {lack}, then retry the job{free}").localized(exc.message.code, th)


def _lack_of_room(cause: BaseException | None, place: str) -> str | None:
    if isinstance(cause, OSError):
        return lack_of_room(cause, Path(place))
    is_full = getattr(cause, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL
    return DISK_FULL.format(path=place) if is_full else None


def _remedy(exc: InsigniaError) -> dict[str, Any] | None:
    """Return the headings that a mapping may explain, and the fields that are missing."""
    if not isinstance(exc, RosterUnreadable) or not exc.headings:
        return None
    return {"headings": list(exc.headings), "missing": list(exc.missing)}


def _evaluate(
    payload: InsigniaPayload, settings: InsigniaSettings, folder: JobFolder, context: Context
) -> dict[str, Any]:
    folder.reject_if_confirmed()
    data = Path(settings.data_directory)
    reporter = ProgressReporter(context.progress, lambda: context.cancelled)
    try:
        evaluation = evaluate_roster(
            payload.officers or [] if payload.roster is None else _source(data, payload.roster, "roster"),
            payload.round,
            history=None if payload.history is None else _source(data, payload.history, "history"),
            criteria=load_criteria(settings.criteria_path),
            sequence=payload.sequence or settings.sequence,
            bad_row_limit=settings.bad_row_limit,
            mapping=payload.columns,
            remembered=remembered_columns(folder.owner_folder),
            progress=reporter.callback,
            cancelled=reporter.is_cancelled,
        )
    except RosterRejected as exc:
        bad_rows = folder.attempt / "bad_rows.csv"
        write_bad_rows(exc.bad_cells, bad_rows)
        folder.record_owner()
        shown, text = folder.shown_path(bad_rows), exc.message
        text_th = f"{text.th} ทั้งหมดอยู่ใน {shown}"
        raise Discard(f"{exc}. All of them: {shown}").localized(text.code, text_th) from None
    folder.reject_if_confirmed()
    replaces = {"replaces": older} if (older := folder.older_jobs()) else {}
    # Users read the result, and need not know where the folder lies on the server.
    shown = str(folder.attempt) if settings.absolute_output else folder.shown_path(folder.attempt)
    about = {"output": shown, **replaces}
    summary = write_results(evaluation, folder.attempt, reporter=reporter, row_index=True, about=about)
    folder.record_owner()
    if payload.columns:
        remember_columns(folder.owner_folder, payload.columns)
    return summary


def _source(data: Path, source: str | list[str] | list[dict[str, Any]], field: str) -> Source:
    """Return a list of objects as it is, and the files of paths. Raises InvalidPath for one outside the directory."""
    if isinstance(source, str):
        return _file(data, source, field)
    return [_file(data, item, field) if isinstance(item, str) else item for item in source]


def _file(data: Path, name: str, field: str) -> RosterFile:
    if "\0" in name or Path(name).is_absolute():
        raise InvalidPath(message("path_not_relative"))
    try:
        base = data.resolve()
        path = (base / name).resolve()
        exists = path.is_file()
    except (OSError, RuntimeError):  # the name is too long, or symbolic links form a cycle
        raise InvalidPath(message("path_broken")) from None
    if not path.is_relative_to(base):
        raise InvalidPath(message("path_outside"))
    if not exists:
        raise InvalidPath(message("path_missing", name=path.relative_to(base)))
    is_upload = path.relative_to(base).parts[0] == "uploads"  # stored as the field, a hyphen and the owner's name
    return RosterFile(path, path.name.lstrip("_").removeprefix(f"{field}-") if is_upload else path.name)
