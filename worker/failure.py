"""What is told of an exception: type, one line, a trace without locals, paths or people's numbers."""

import os
import sys
import traceback
import uuid
from dataclasses import dataclass
from itertools import dropwhile
from pathlib import PurePath
from types import TracebackType

from worker.errors import Cancelled, Discard, WorkerError
from worker.redact import Redactor


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


def failure_of(exc: BaseException, redact: Redactor) -> Failure:
    """Our own errors speak for themselves; any other is its type and message, redacted."""
    own = isinstance(exc, WorkerError)
    text = redact(str(exc)).strip()
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
    )


def new_error_id() -> str:
    """Twelve hexadecimal digits: short enough to read out on the telephone."""
    return uuid.uuid4().hex[:12]


def _trace(exc: BaseException, last_line: str, redact: Redactor) -> str | None:
    if exc.__traceback__ is None:
        return None
    lines = ["Traceback (most recent call last):"]
    for frame in dropwhile(_is_plumbing, _frames(exc.__traceback__)):
        lines.append(f'  File "{_short(frame.filename)}", line {frame.lineno}, in {frame.name}')
        if frame.line:
            lines.append(f"    {frame.line}")
    return redact("\n".join(lines)) + "\n" + last_line


def _frames(tb: TracebackType) -> list[traceback.FrameSummary]:
    return traceback.StackSummary.extract(traceback.walk_tb(tb), capture_locals=False)


def _is_plumbing(frame: traceback.FrameSummary) -> bool:
    """Our own frames around the handler tell nobody anything."""
    return PurePath(_short(frame.filename)).as_posix() in _PLUMBING


_PLUMBING = ("worker/executor.py", "worker/child.py", "worker/handler.py")
_ROOTS = sorted({os.path.realpath(path) for path in sys.path if path}, key=len, reverse=True)


def _short(filename: str) -> str:
    """The path below the folder Python imports from, so that nothing of the machine's layout is told."""
    real = os.path.realpath(filename)
    for root in _ROOTS:
        if real.startswith(root + os.sep):
            return real[len(root) + 1 :]
    return PurePath(filename).name
