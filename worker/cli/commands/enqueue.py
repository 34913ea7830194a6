"""`enqueue`: submit a job, or one job per line of stdin."""

import contextlib
import io
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import orjson
import typer

from config.json_text import json_encoding, json_text
from worker.cli.output import PROGRAM, print_message
from worker.errors import Discard, Unavailable, WorkerError

if TYPE_CHECKING:
    from worker.cli.api_client import ApiClient

_BATCH_LINES = 1000
_ENDED = ("succeeded", "failed", "cancelled")
_POLL_SECONDS = 0.3
"""Between two attempts to reach a service that does not run yet."""

_Files = Annotated[
    list[str] | None,
    typer.Option("--file", help="FIELD=@PATH: send the file with the job, as roster=@r.csv. May be given again."),
]
_Priority = Annotated[
    int, typer.Option("--priority", min=-100, max=100, help="Of the jobs that are due, the highest start first.")
]
_RunAt = Annotated[
    str | None, typer.Option("--run-at", help="Not before this time, such as 2026-12-05T08:00:00+07:00.")
]
_MaxAttempts = Annotated[
    int | None, typer.Option("--max-attempts", min=1, max=1000, help="How often to try; else Worker:MaxAttempts.")
]
_Key = Annotated[
    str | None, typer.Option("--id", help="Idempotency key: the same key again answers with the first job.")
]


def enqueue(
    context: typer.Context,
    kind: Annotated[str, typer.Argument(help="The kind of job, e.g. insignia_background_processing.")],
    user: Annotated[str | None, typer.Option("--user", help="User to notify; else WebSocket:DefaultUserId.")] = None,
    payload: Annotated[str | None, typer.Option("--payload", help="A JSON object, or @FILE.")] = None,
    key: _Key = None,
    file: _Files = None,
    priority: _Priority = 0,
    run_at: _RunAt = None,
    max_attempts: _MaxAttempts = None,
    stdin: Annotated[
        bool, typer.Option("--stdin", help="One {userId?, payload, id?} per line in, one job id per line out.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Stay until the job has ended; exit 1 when it failed.")] = False,
) -> None:
    """Store a job and print its id."""
    from worker.cli.store_client import store_client

    others = (payload, key, run_at, max_attempts)
    if stdin and (any(one is not None for one in others) or file or wait or priority):
        raise typer.BadParameter(
            "--stdin takes payloads and ids from its lines, no other options of a job, and cannot --wait"
        )
    if run_at is not None:
        _require_time(run_at)
    files = dict(_file(text) for text in file or ())
    optional = {"userId": user, "id": key, "priority": priority, "runAt": run_at, "maxAttempts": max_attempts}
    job = {"taskType": kind, "payload": _payload(payload)}
    # Also empty texts: a script whose variable is not set must not submit without a key, or for another user.
    job |= {name: value for name, value in optional.items() if value is not None}
    with store_client(context.obj) as client:
        if stdin:
            _enqueue_lines(client, kind, user)
            return
        accepted = _submit(client, job, files)
        print(accepted["jobId"], flush=True)
    if wait:
        raise typer.Exit(_wait_for(context, accepted["jobId"]))


def _submit(client: "ApiClient", job: dict[str, Any], files: dict[str, Path]) -> Any:
    """Submit one job. Raises OutcomeUnknown, with how to repeat the command, when no answer came."""
    from worker.cli.api_client import OutcomeUnknown

    try:
        return client.upload(job, files) if files else client.request("POST", "/api/v1/jobs", job)
    except OutcomeUnknown as exc:
        repeat = (
            f"repeating the same command is safe, as --id {job['id']} gives the same job"
            if "id" in job
            else f"look for it with `{PROGRAM} jobs list`, and give jobs an --id, with which repeating is safe"
        )
        raise OutcomeUnknown(f"the job may have been accepted: {exc}; {repeat}") from None


def _require_time(text: str) -> None:
    """Raise BadParameter unless this is a time with its offset; the service says whether it is one that it accepts."""
    try:
        # Python reads only a capital Z; RFC 3339 and the service allow both.
        has_offset = datetime.fromisoformat(text[:-1] + text[-1:].upper()).tzinfo is not None
    except ValueError:
        has_offset = False
    if not has_offset:
        raise typer.BadParameter(f"--run-at {text}: write a time with its offset, as 2026-12-05T08:00:00+07:00")


def _file(text: str) -> tuple[str, Path]:
    field, sign, path = text.partition("=@")
    if not (field.isidentifier() and sign and path):
        raise typer.BadParameter(f"--file {text}: write FIELD=@PATH, as roster=@r.csv")
    if not Path(path).is_file():
        raise Discard(f"file {path} does not exist")
    return field, Path(path)


def _payload(text: str | None) -> Any:
    if text is None:
        return {}
    where = "--payload"
    if text.startswith("@"):
        where = text[1:]
        try:
            text = json_text(sys.stdin.buffer.read() if where == "-" else Path(where).read_bytes())
        except (OSError, UnicodeDecodeError) as exc:
            raise Discard(f"cannot read the payload file {where}: {getattr(exc, 'strerror', None) or exc}") from None
    return _json_object(text, where)


def _json_object(text: str | bytes, where: str) -> dict[str, Any]:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as exc:
        raise Discard(f"{where} is not valid JSON: {exc}") from None
    if not isinstance(value, dict):
        raise Discard(f"{where} must be a JSON object, not {type(value).__name__}")
    return value


def _enqueue_lines(client: "ApiClient", kind: str, user: str | None) -> None:
    """Store the jobs of stdin in batches; the ids of a batch are printed once it is on disk.

    Raises Discard at a bad line, with its number, after the lines before it were stored.
    """
    batch: list[dict[str, Any]] = []
    first = 1
    for number, line in enumerate(_stdin_lines(), 1):
        if not line.strip():
            continue
        try:
            batch.append(_line_job(line, number, kind, user))
        except Discard:
            _send_batch(client, batch, first)
            raise
        if len(batch) >= _BATCH_LINES:
            _send_batch(client, batch, first)
            batch, first = [], number + 1
    _send_batch(client, batch, first)


def _stdin_lines() -> Iterator[str]:
    """Yield the lines of stdin as they arrive, in whatever encoding JSON may have."""
    stdin = cast(io.BufferedReader, sys.stdin.buffer)
    encoding = json_encoding(stdin.peek(3)[:3])
    # What is not text stays recognisable: the line with it is not valid JSON.
    errors = "surrogateescape" if encoding.startswith("utf-8") else "replace"
    yield from io.TextIOWrapper(stdin, encoding=encoding, errors=errors, newline="\n")


def _line_job(line: str, number: int, kind: str, user: str | None) -> dict[str, Any]:
    entry = _json_object(line, f"line {number}")
    unknown = entry.keys() - {"userId", "payload", "id"}
    if unknown:
        raise Discard(f"line {number}: unknown {', '.join(sorted(unknown))}; a line has userId, payload and id")
    return {"taskType": kind, "payload": {}} | ({} if user is None else {"userId": user}) | entry


def _send_batch(client: "ApiClient", batch: list[dict[str, Any]], first: int) -> None:
    if not batch:
        return
    try:
        answers = client.request("POST", "/api/v1/jobs/batch", {"jobs": batch})["jobs"]
    except WorkerError as exc:
        raise type(exc)(f"lines from {first} on: {exc}") from None
    for answer in answers:
        print(answer["jobId"] if answer["status"] != "conflict" else f"conflict {answer['jobId']}")
    sys.stdout.flush()


def _wait_for(context: typer.Context, job_id: str) -> int:
    """Wait until the job has ended, across restarts of the service; return 0 when it succeeded, else 1."""
    from worker.cli.store_client import service_client

    client = service_client(context.obj)
    with _progress_bar() as show:
        reported = False
        while True:
            try:
                job = client.request("GET", f"/api/v1/jobs/{job_id}?waitSeconds={0.5 if show else 30}")
            except Unavailable:
                if not reported:
                    print_message(f"no service runs yet; the job waits in the store (start one: {PROGRAM} run)")
                reported = True
                time.sleep(_POLL_SECONDS)
                continue
            if job["status"] in _ENDED:
                break
            if show:
                show(job)
    detail = f": {job['error']}" if job.get("error") else ""
    print_message(f"job {job_id} {job['status']}{detail}")
    return 0 if job["status"] == "succeeded" else 1


@contextlib.contextmanager
def _progress_bar() -> Iterator[Callable[[dict[str, Any]], None] | None]:
    """Yield a function that draws the progress of the job it is given; None when stderr is not a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(file=sys.stderr), transient=True) as bar:
        row = bar.add_task("queued", total=100)

        def show(job: dict[str, Any]) -> None:
            progress = job.get("progress", {"percent": 0, "note": ""})
            bar.update(row, completed=progress["percent"], description=progress["note"] or job["status"])

        yield show
