"""Moves the wall clock of a process: Python imports this at start if the folder is on PYTHONPATH.

The file that FAKE_CLOCK names holds the seconds to add, as a double; another process may change it at any time.
"""

import mmap
import os
import struct
import time

if _path := os.environ.get("FAKE_CLOCK"):
    with open(_path, "rb") as _file:  # noqa: PTH123 -- at the start of every interpreter: as few imports as possible
        _offset = mmap.mmap(_file.fileno(), 8, access=mmap.ACCESS_READ)
    _real = time.time

    def _shifted() -> float:
        shift: float = struct.unpack("d", _offset[:8])[0]
        return _real() + shift

    time.time = _shifted
    time.time_ns = lambda: int(_shifted() * 1e9)
