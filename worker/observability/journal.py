"""How systemd's journal learns the level of a line: by a number in front of it, as from the kernel."""

import os
from collections.abc import Mapping
from typing import Final, Protocol

PRIORITIES: Final[Mapping[str, int]] = {
    "TRACE": 7,
    "DEBUG": 7,
    "INFO": 6,
    "SUCCESS": 5,
    "WARNING": 4,
    "ERROR": 3,
    "CRITICAL": 2,
}
"""By loguru's levels."""


class OpenFile(Protocol):
    def fileno(self) -> int: ...


def is_journal(stream: OpenFile) -> bool:
    """Return whether the stream is the journal's socket, which systemd names as device:inode."""
    try:
        stat = os.fstat(stream.fileno())
    except (OSError, ValueError, AttributeError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{stat.st_dev}:{stat.st_ino}"
