"""Keeps the end of what a child process writes to its standard streams, for the attempt that runs in it."""

import contextlib
import os
import re
from dataclasses import dataclass, field, replace

from worker.core.failure import Failure
from worker.core.redact import Redactor

_KEPT_BYTES = 8192
_CHUNK_BYTES = 1 << 16
_MOST_CHUNKS = 64
"""Read at once, so that a child that never stops writing does not keep the event loop."""
_CONTROLS = re.compile(r"[^\S\n\t ]|[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


@dataclass(slots=True)
class ChildOutput:
    """The last bytes of a non-blocking pipe."""

    descriptor: int
    total: int = 0
    _kept: bytearray = field(default_factory=bytearray)

    def read(self) -> bool:
        """Read what is there; return False when the other end is closed."""
        with contextlib.suppress(BlockingIOError):
            for _ in range(_MOST_CHUNKS):
                data = os.read(self.descriptor, _CHUNK_BYTES)
                if not data:
                    return False
                self.total += len(data)
                self._kept += data
                del self._kept[:-_KEPT_BYTES]
        return True

    def take(self) -> str:
        """Return the end of what was written since the last call, as text with its size; empty: nothing was."""
        self.read()
        text, total, kept = self._kept.decode(errors="replace"), self.total, len(self._kept)
        self._kept.clear()
        self.total = 0
        if not text.strip():
            return ""
        size = f"{total:,} bytes" if kept == total else f"the last {kept:,} of {total:,} bytes"
        return f"Output of the process, {size}:\n{_CONTROLS.sub(' ', text)}"

    def close(self) -> None:
        os.close(self.descriptor)


def with_output(failure: Failure, output: str, redact: Redactor) -> Failure:
    """Return the failure with the output of its process below the stack trace."""
    if not output:
        return failure
    parts = (failure.stack_trace, redact(output).rstrip())
    return replace(failure, stack_trace="\n\n".join(part for part in parts if part))
