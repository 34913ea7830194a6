"""What the files that settings come from look like, to notice that one of them was changed."""

from collections.abc import Iterable
from pathlib import Path

FileState = tuple[str, str, int, int, int]
"""Path, the file behind all links, inode, time of change in nanoseconds, size; zeros for a file that is missing."""


def fingerprint(files: Iterable[Path]) -> tuple[FileState, ...]:
    """Return what changes whenever one of the files does, also when a link on the way to it points elsewhere.

    Kubernetes replaces files of a ConfigMap in that way. Contents are not read.
    """
    return tuple(_state_of(file) for file in files)


def _state_of(file: Path) -> FileState:
    try:
        target, state = str(file.resolve()), file.stat()
    except (OSError, RuntimeError):  # missing, or links that form a circle
        return (str(file), "", 0, 0, 0)
    return (str(file), target, state.st_ino, state.st_mtime_ns, state.st_size)
