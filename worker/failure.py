"""What is told of an exception: type, one line, a trace without locals, paths or people's numbers."""

import os
import sys
import traceback
import uuid
from dataclasses import dataclass
from itertools import dropwhile
from pathlib import PurePath
from types import TracebackType

from worker.errors import Cancelled, Discard, RetryLater, WorkerError
from worker.redact import Redactor

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
    """The id that stands in the log line and in the notification."""
    retryable: bool = True
    cancelled: bool = False
    retry_after: float | None = None
    """Seconds the other side asked to be left alone."""


def failure_of(exc: BaseException, redact: Redactor) -> Failure:
    """Our own errors speak for themselves; any other is its type and message, redacted."""
    own = isinstance(exc, WorkerError)
    text = _told(exc, redact)
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
    )


def _told(exc: BaseException, redact: Redactor) -> str:
    """What the exception says of itself, fit for JSON, UTF-8 and the user's eyes."""
    try:
        text = str(exc)
    except Exception:  # noqa: BLE001 -- a foreign class may be broken; its name must do
        return ""
    # Redacted before it is cut, or half a secret could stay behind at the edge.
    text = redact(_encodable(_below_roots(text[: 2 * _LONGEST]))).strip()
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"


def _encodable(text: str) -> str:
    """Names of files that are no UTF-8 come as lone surrogates, which neither JSON nor the store takes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def new_error_id() -> str:
    """Twelve hexadecimal digits: short enough to read out on the telephone."""
    return uuid.uuid4().hex[:12]


def _trace(exc: BaseException, last_line: str, redact: Redactor) -> str | None:
    if exc.__traceback__ is None:
        return None
    lines = ["Traceback (most recent call last):"]
    for frame in _ends(list(dropwhile(_is_plumbing, _frames(exc.__traceback__)))):
        lines.append(f'  File "{_short(frame.filename)}", line {frame.lineno}, in {frame.name}')
        if frame.line:
            lines.append(f"    {frame.line}")
    return redact(_encodable("\n".join(lines))) + "\n" + last_line


def _frames(tb: TracebackType) -> list[traceback.FrameSummary]:
    return traceback.StackSummary.extract(traceback.walk_tb(tb), capture_locals=False)


def _is_plumbing(frame: traceback.FrameSummary) -> bool:
    """Our own frames around the handler tell nobody anything."""
    return PurePath(_short(frame.filename)).as_posix() in _PLUMBING


def _ends(frames: list[traceback.FrameSummary]) -> list[traceback.FrameSummary]:
    """Endless recursion has a thousand frames and more; its two ends tell it all."""
    return frames if len(frames) <= _MOST_FRAMES else frames[: _MOST_FRAMES // 2] + frames[-_MOST_FRAMES // 2 :]


_PLUMBING = ("worker/executor.py", "worker/child.py", "worker/handler.py")
_ROOTS = sorted({os.path.realpath(path) for path in sys.path if path} - {os.sep}, key=len, reverse=True)


def _below_roots(text: str) -> str:
    """An ImportError, for one, names the file it stumbled over, and so how this machine is laid out."""
    for root in _ROOTS:
        text = text.replace(root + os.sep, "")
    return text


def _short(filename: str) -> str:
    """The path below the folder Python imports from, so that nothing of the machine's layout is told."""
    real = os.path.realpath(filename)
    for root in _ROOTS:
        if real.startswith(root + os.sep):
            return real[len(root) + 1 :]
    return PurePath(filename).name
