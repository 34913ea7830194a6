"""A wall clock for processes that tests can set."""

import os
import struct
from pathlib import Path

_FOLDER = Path(__file__).parent
_ROOT = _FOLDER.parents[2]


class FakeClock:
    """Sets the wall clock of the processes that are started with `environ`."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.set(0.0)

    @property
    def environ(self) -> dict[str, str]:
        return {"PYTHONPATH": os.pathsep.join((str(_FOLDER), str(_ROOT))), "FAKE_CLOCK": str(self._file)}

    def set(self, offset: float) -> None:
        """Move the clock by this many seconds from the right time."""
        data = struct.pack("d", offset)
        if self._file.exists():
            with self._file.open("r+b") as file:
                file.write(data)
        else:
            self._file.write_bytes(data)
