"""Keeps what a program writes, within limits, and takes progress reports out of it. Standard library only."""

import codecs
import re
import unicodedata
from collections.abc import Callable

from worker.core.secret_mask import SecretMask

_PROGRESS = re.compile(rb"::progress +(\d{1,3}(?:\.\d{1,6})?)%?(?: +(.*)|\s*)", re.DOTALL)
_MARK = b"::progress "
_LONGEST_LINE = 4096
"""Bytes of a line that may report progress."""
_LONGEST_NOTE = 200
_DROP_STEP = 1 << 18
"""Bytes that are collected before the middle of an output is dropped."""
_SPARE = 64
"""Bytes kept beyond each cut, to tell whether the letter there is complete; the mask's margin is kept as well."""
_NOTHING = SecretMask(())


class OutputCapture:
    """Keeps the beginning and the end of an output of any length, in bounded memory and without secrets."""

    def __init__(self, max_bytes: int, mask: SecretMask = _NOTHING) -> None:
        self._half = max_bytes // 2
        self._mask = mask
        self._spare = _SPARE + mask.margin
        self._head = bytearray()
        self._tail = bytearray()
        self._size = 0

    def add(self, data: bytes) -> None:
        """Take the next piece of the output."""
        self._size += len(data)
        room = self._half + self._spare - len(self._head)
        self._head += data[:room]
        self._tail += data[max(0, room) :]
        if len(self._tail) > 4 * (self._half + self._spare) + _DROP_STEP:
            del self._tail[: -self._half - self._spare]

    def text(self, encoding: str) -> tuple[str, bool]:
        """Return the text and whether it is complete; a cut is between two letters and names the bytes left out.

        A secret that lies across a cut is masked as a whole.
        """
        if self._size <= 2 * self._half:
            return self._mask((self._head + self._tail).decode(encoding, "replace")), True
        kept = self._head + self._tail  # the end may begin in the head, so it is cut from both together
        head = bytes(self._head).decode(encoding, "replace")
        first = self._mask(head, 0, len(_cut_end(bytes(self._head), self._half, encoding)))
        # The end is decoded from a letter's first byte on, so that the text cut from it is its end.
        tail = _cut_start(bytes(kept[-self._half - self._spare :]), self._half + self._spare, encoding)
        last = self._mask(tail, len(tail) - len(_cut_start(bytes(kept), self._half, encoding)))
        return f"{first}\n… {self._size - 2 * self._half} bytes left out …\n{last}", False


def _cut_end(data: bytes, max_bytes: int, encoding: str) -> str:
    """Return at most `max_bytes` from the start, cut between two letters."""
    decode = codecs.getincrementaldecoder(encoding)
    end = len(decode("replace").decode(data[:max_bytes]))
    text = decode("replace").decode(data)
    while 0 < end < len(text) and _continues_a_letter(text[end]):
        end -= 1
    return text[:end]


def _cut_start(data: bytes, max_bytes: int, encoding: str) -> str:
    """Return at most `max_bytes` from the end, cut between two letters."""
    data = data[-max_bytes:]
    if encoding == "utf-8":
        start = next((at for at in range(min(3, len(data))) if data[at] & 0xC0 != 0x80), min(3, len(data)))
        data = data[start:]
    return drop_orphaned_marks(data.decode(encoding, "replace"))


def drop_orphaned_marks(text: str) -> str:
    """Remove the vowels and tone marks at the start whose letter was cut off."""
    start = next((at for at, char in enumerate(text) if not _continues_a_letter(char)), len(text))
    return text[start:]


def _continues_a_letter(char: str) -> bool:
    # Unicode classifies Thai and Lao AM as letters, but readers see them as part of the letter before.
    return unicodedata.category(char)[0] == "M" or char in "\u0e33\u0eb3\u200d"


class ProgressFilter:
    """Removes the lines `::progress 40 note` from an output and reports them."""

    def __init__(self, report: Callable[[float, str], None], mask: SecretMask = _NOTHING) -> None:
        self._report = report
        self._mask = mask
        self._held_back = b""
        self._inside_a_line = False

    def feed(self, data: bytes) -> bytes:
        """Return the rest of the output; the beginning of a line that may report progress is held back."""
        *lines, last = (self._held_back + data).split(b"\n")
        passed = bytearray()
        for line in lines:
            if self._inside_a_line or not self._consume(line):
                passed += line + b"\n"
            self._inside_a_line = False
        may_be_progress = not self._inside_a_line and _MARK.startswith(last[: len(_MARK)]) and len(last) < _LONGEST_LINE
        self._held_back = last if may_be_progress else b""
        if not may_be_progress:
            passed += last
            self._inside_a_line = True
        return bytes(passed)

    def finish(self) -> bytes:
        """Return what was held back, at the end of the output."""
        line, self._held_back = self._held_back, b""
        return b"" if self._consume(line) else line

    def _consume(self, line: bytes) -> bool:
        match = _PROGRESS.fullmatch(line) if len(line) < _LONGEST_LINE else None
        if match is None:
            return False
        note = " ".join(self._mask((match[2] or b"").decode("utf-8", "replace")).split())
        self._report(min(100.0, float(match[1])), note[:_LONGEST_NOTE])
        return True
