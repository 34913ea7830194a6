"""Sessions that were logged out before their end: remembered in a file, so that they stay ended after a restart.

The file has one line for each: kind, session or key, the key's mark, and the time at which it can be forgotten. A line
that cannot be read may be that of any session: then all that began before are ended.
"""

import asyncio
import os
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from worker.core.clock import Clock
from worker.disk.private_file import replace_content
from worker.errors import StoreUnwritable

SESSION_SECONDS: Final = 12 * 3600
"""How long a session lasts that is not logged out."""
_LINE: Final = re.compile(r"([SKA]) ([\w-]{1,64}) ([0-9a-f]{1,64}) (\d{1,12})")
_MAX_ENDED: Final = 10_000
"""Sessions remembered one by one. Beyond that, all sessions of the key with the most of them are ended at once, so that
an ended session never becomes valid again, however often its holder logs out."""


class EndedSessions:
    """The sessions that were logged out, and the keys all of whose sessions were."""

    def __init__(self, path: Path | None, clock: Clock, limit: int = _MAX_ENDED) -> None:
        """`path` None: remember them until the process ends. Raises StoreUnwritable for a file that cannot be read."""
        self._path, self._clock, self._limit = path, clock, limit
        self._sessions: dict[str, tuple[str, float]] = {}
        self._keys: dict[str, float] = {}
        """By mark: sessions of this key that end no later than this are ended."""
        self._all = 0.0
        """Sessions of any key that end no later than this are ended."""
        self.unreadable = 0
        """Lines of the file that could not be read."""
        self._lines = 0
        self._must_rewrite = False
        """The file may end with a part of a line."""
        self._writing = asyncio.Lock()
        if path is not None:
            self._load(path)

    def contains(self, session_id: str, mark: str, expires: float) -> bool:
        """Return whether the session was logged out."""
        return session_id in self._sessions or expires <= max(self._all, self._keys.get(mark, 0.0))

    async def add(self, session_id: str, mark: str, expires: float) -> None:
        """End a session. Raises StoreUnwritable when it is ended only until the next start."""
        self._sessions[session_id] = (mark, expires)
        lines = [f"S {session_id} {mark} {int(expires)}"]
        if len(self._sessions) > self._limit:
            self._forget_expired()
        if len(self._sessions) > self._limit:
            lines.append(self._end_all_of_the_busiest_key())
        if self._path is None:
            return
        async with self._writing:
            try:
                await asyncio.to_thread(self._write, self._path, lines)
            except OSError as exc:
                raise StoreUnwritable(
                    f"the session has ended, but after a restart it would be valid again: {self._path} cannot be "
                    f"written ({exc.strerror})"
                ) from exc

    def _end_all_of_the_busiest_key(self) -> str:
        [(mark, _)] = Counter(mark for mark, _ in self._sessions.values()).most_common(1)
        until = max(expires for own, expires in self._sessions.values() if own == mark)
        self._keys[mark] = max(until, self._keys.get(mark, 0.0))
        self._sessions = {name: entry for name, entry in self._sessions.items() if entry[0] != mark}
        return f"K - {mark} {int(until)}"

    def _forget_expired(self) -> None:
        now = self._clock.now()
        self._sessions = {name: entry for name, entry in self._sessions.items() if entry[1] > now}
        self._keys = {mark: until for mark, until in self._keys.items() if until > now}

    def _write(self, path: Path, lines: list[str]) -> None:
        self._lines += len(lines)
        if self._must_rewrite or self._lines > 2 * self._limit or not path.exists():
            self._rewrite(path, self._sessions, self._keys)
            return
        self._must_rewrite = True  # unless all of it is written: a part of a line could be read as another one
        with path.open("a", encoding="ascii") as file:
            file.write("\n".join(lines) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self._must_rewrite = False

    def _rewrite(self, path: Path, sessions: Mapping[str, tuple[str, float]], keys: Mapping[str, float]) -> None:
        lines = [f"S {name} {mark} {int(expires)}" for name, (mark, expires) in sessions.items()]
        lines += [f"K - {mark} {int(until)}" for mark, until in keys.items()]
        lines += [f"A - 0 {int(self._all)}"] if self._all > self._clock.now() else []
        replace_content(path, ("\n".join(lines) + "\n").encode("ascii"))
        self._lines, self._must_rewrite = len(lines), False

    def _load(self, path: Path) -> None:
        text = _text_of(path)
        *lines, rest = text.split("\n")
        self.unreadable = int(rest != "")  # its time may lack digits
        for line in filter(None, lines):
            self._read(line)
        if self.unreadable:
            # Not those that begin from now on, which end a second later at the earliest.
            self._all = max(self._all, int(self._clock.now()) + SESSION_SECONDS - 1.0)
            self._must_rewrite = True
        self._forget_expired()

    def _read(self, line: str) -> None:
        match = _LINE.fullmatch(line)
        if match is None:
            self.unreadable += 1
            return
        kind, name, mark, until = match.groups()
        if kind == "S":
            self._sessions[name] = (mark, float(until))
        elif kind == "K":
            self._keys[mark] = max(float(until), self._keys.get(mark, 0.0))
        else:
            self._all = max(float(until), self._all)
        self._lines += 1

    def repair(self) -> str | None:
        """Write the file again without the lines that cannot be read; return what to report, None if there are none."""
        if self._path is None or not self.unreadable:
            return None
        report = (
            f"{self._path} has damaged lines ({self.unreadable:,}), which may have ended any session: all sessions of "
            "browsers are ended, and users sign in again"
        )
        try:
            self._rewrite(self._path, self._sessions, self._keys)
        except OSError as exc:
            return f"{report}, and again after the next start: the file cannot be written ({exc.strerror})"
        return report


def _text_of(path: Path) -> str:
    """Return the content of the file; empty if there is none. StoreUnwritable: it cannot be read."""
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except FileNotFoundError:
        return ""
    except OSError as exc:
        raise StoreUnwritable(
            f"cannot read {path}: {exc.strerror}; give this user the right to the file (without it, sessions that were "
            "logged out would be valid again; if it is lost, delete session.key beside it, which ends all sessions)"
        ) from None
