"""Describes exceptions: type, one line, and a trace without locals, paths, secrets or citizen ids."""

import os
import sys
import traceback
import uuid
from dataclasses import dataclass
from itertools import dropwhile
from pathlib import PurePath
from types import TracebackType
from typing import Any, NamedTuple

import orjson

from worker.core.redact import Redactor
from worker.errors import Cancelled, Discard, RetryLater, WorkerError

_LONGEST = 16_384
"""Characters of a message; an ORM's error may quote megabytes of SQL."""
_MOST_FRAMES = 80


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt failed."""

    type: str
    message: str
    stack_trace: str | None
    error_id: str
    """The id in the log line and in the notification."""
    retryable: bool = True
    cancelled: bool = False
    retry_after: float | None = None
    """Seconds that the other side requested before the next attempt."""
    code: str = ""
    """Names the message in catalogues of texts; empty if it has no Thai text."""
    text_th: str = ""
    """The message in Thai."""
    details: dict[str, Any] | None = None
    """What a page needs to offer a remedy."""


class LocalizedError(NamedTuple):
    """The part of a failure that is stored in the place of a result."""

    code: str
    text_th: str
    details: dict[str, Any] | None = None


def localized_form(failure: Failure) -> bytes | None:
    """Return code, Thai text and details as JSON, which a failed job has as its result; None without a code."""
    if not failure.code:
        return None
    details = {"details": failure.details} if failure.details else {}
    return orjson.dumps({"error": {"code": failure.code, "th": failure.text_th, **details}})


def localized_of(result: bytes | None) -> LocalizedError | None:
    """Return what localized_form stored in the result of a failed job; None if there is nothing, or it is damaged."""
    try:
        stored = orjson.loads(result or b"null")
    except orjson.JSONDecodeError:
        return None
    match stored:
        case {"error": {"code": str(code), "th": str(text), **rest}}:
            details = rest.get("details")
            return LocalizedError(code, text, details if isinstance(details, dict) else None)
        case _:
            return None


def failure_of(exc: BaseException, redact: Redactor) -> Failure:
    """Return the failure of an attempt: the message of a WorkerError, else type and message; all of it redacted."""
    own = isinstance(exc, WorkerError)
    text = _message_of(exc, redact)
    name = type(exc).__name__
    if isinstance(exc, Cancelled):
        message = "Cancelled"
    elif own:
        message = text or name
    else:
        message = f"{name}: {text}" if text else name
    return Failure(
        type=name,
        message=message,
        stack_trace=_trace(exc, message if not own else f"{name}: {message}", redact),
        error_id=new_error_id(),
        retryable=not isinstance(exc, Discard | Cancelled),
        cancelled=isinstance(exc, Cancelled),
        retry_after=exc.after if isinstance(exc, RetryLater) else None,
        code=exc.code if isinstance(exc, WorkerError) else "",
        text_th=_encodable(redact(exc.text_th[:_LONGEST])) if isinstance(exc, WorkerError) else "",
        details=dict(exc.details) if isinstance(exc, WorkerError) and exc.details else None,
    )


def innermost_cause(exc: BaseException) -> BaseException:
    """Return the exception that `exc` was first raised from, explicitly or while it was handled."""
    seen = {id(exc)}  # a careless `raise` can tie a chain into a ring
    while (cause := exc.__cause__ or exc.__context__) is not None and id(cause) not in seen:
        exc = cause
        seen.add(id(exc))
    return exc


def _message_of(exc: BaseException, redact: Redactor) -> str:
    """Return the exception's text, redacted, shortened, and encodable as UTF-8."""
    try:
        text = str(exc)
    except Exception:  # noqa: BLE001 -- any class may raise here; then only its name is used
        return ""
    # Redacted before it is shortened, or half a secret could remain at its end.
    text = redact(_encodable(_without_import_roots(text[: 2 * _LONGEST]))).strip()
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"


def _encodable(text: str) -> str:
    """Escape lone surrogates, as in file names that are not UTF-8: neither JSON nor the store accepts them."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def new_error_id() -> str:
    """Return twelve random hexadecimal digits: short enough to be read out."""
    return uuid.uuid4().hex[:12]


def _trace(exc: BaseException, last_line: str, redact: Redactor) -> str | None:
    if exc.__traceback__ is None:
        return None
    lines = ["Traceback (most recent call last):"]
    for frame in _both_ends(list(dropwhile(_is_plumbing, _frames(exc.__traceback__)))):
        lines.append(f'  File "{_relative(frame.filename)}", line {frame.lineno}, in {frame.name}')
        if frame.line:
            lines.append(f"    {frame.line}")
    return redact(_encodable("\n".join(lines))) + "\n" + last_line


def _frames(tb: TracebackType) -> list[traceback.FrameSummary]:
    return traceback.StackSummary.extract(traceback.walk_tb(tb), capture_locals=False)


def _is_plumbing(frame: traceback.FrameSummary) -> bool:
    """Return whether a frame belongs to this program's code around the handler."""
    return PurePath(_relative(frame.filename)).as_posix() in _PLUMBING


def _both_ends(frames: list[traceback.FrameSummary]) -> list[traceback.FrameSummary]:
    """Keep both ends of a long trace, as of an endless recursion."""
    return frames if len(frames) <= _MOST_FRAMES else frames[: _MOST_FRAMES // 2] + frames[-_MOST_FRAMES // 2 :]


_PLUMBING = ("worker/runtime/executor.py", "worker/runtime/process_child.py", "worker/handler.py")
_ROOTS = sorted({os.path.realpath(path) for path in sys.path if path} - {os.sep}, key=len, reverse=True)


def _without_import_roots(text: str) -> str:
    """Remove the folders that Python imports from: some messages, such as ImportError's, contain paths."""
    for root in _ROOTS:
        text = text.replace(root + os.sep, "")
    return text


def _relative(filename: str) -> str:
    """Return the path below the folder that Python imports from, so that no path of the machine is shown."""
    real = os.path.realpath(filename)
    for root in _ROOTS:
        if real.startswith(root + os.sep):
            return real[len(root) + 1 :]
    return PurePath(filename).name
