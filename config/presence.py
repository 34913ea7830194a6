"""Tells whether a file or a folder exists, and raises where that cannot be told.

`Path.exists()`, `is_file()` and `is_dir()` of Python 3.14 answer False then: what is out of reach would be taken for
missing, and be created again or left out.
"""

import errno
import os
import stat
from pathlib import Path

_MISSING = (errno.ENOENT, errno.ENOTDIR, errno.EBADF, errno.ELOOP)


def exists(path: Path) -> bool:
    """Return whether there is something at the path. Raises OSError where it cannot be looked up."""
    return _status(path) is not None


def is_folder(path: Path) -> bool:
    """Return whether there is a folder at the path. Raises OSError where it cannot be looked up."""
    status = _status(path)
    return status is not None and stat.S_ISDIR(status.st_mode)


def is_regular_file(path: Path) -> bool:
    """Return whether there is a regular file at the path. Raises OSError where it cannot be looked up."""
    status = _status(path)
    return status is not None and stat.S_ISREG(status.st_mode)


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError as exc:
        if exc.errno in _MISSING:
            return None
        raise
    except ValueError:  # no name of a file has the character NUL
        return None
