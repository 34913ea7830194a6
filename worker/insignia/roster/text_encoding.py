"""The encoding of a text file, decided by the whole file: UTF-8, UTF-16, or Thai (code page 874).

The same class serves the upload, which sees the file piece by piece, and the reader, which has all of it.
"""

import codecs
import re

from worker.insignia.errors import RosterUnreadable
from worker.insignia.messages import message

_UTF16 = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
_NOT_THAI = bytes(byte for byte in range(128, 256) if not bytes([byte]).decode("cp874", "ignore"))
_THAI_UTF8 = re.compile(rb"(?:\xe0[\xb8\xb9][\x80-\xbf]){3}")
"""Three Thai letters in UTF-8. As code page 874 they would be no Thai word."""
_OVERLAP = 8


def utf16_of(head: bytes) -> str | None:
    """Return the kind of UTF-16 that the beginning shows, by its mark or by the zeros between Latin letters."""
    if head[:2] in _UTF16:
        return _UTF16[head[:2]]
    sample = head[:2000]
    if len(sample) < 4 or b"\0" not in sample:
        return None
    even, odd = sample[0::2].count(0), sample[1::2].count(0)
    if odd > 0.2 * len(sample) / 2 and not even:
        return "utf-16-le"
    return "utf-16-be" if even > 0.2 * len(sample) / 2 and not odd else None


class EncodingCheck:
    """Takes every piece by `feed`, then `finish`, which returns the encoding."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._utf8 = codecs.getincrementaldecoder("utf-8")()
        self._lines = 0
        self._carry = b""
        self._not_utf8: int | None = None
        self._not_thai: int | None = None
        self._thai_in_utf8: int | None = None
        self._first_non_ascii: int | None = None

    def feed(self, data: bytes, *, final: bool = False) -> None:
        """Take the next piece."""
        if self._not_utf8 is None:
            held = len(self._utf8.getstate()[0])
            try:
                self._utf8.decode(data, final)
            except UnicodeDecodeError as exc:
                self._not_utf8 = self._line(data, max(0, exc.start - held))
        if not data.isascii():
            self._look_for_thai(data)
        self._carry = data[-_OVERLAP:]
        self._lines += data.count(b"\n")

    def _look_for_thai(self, data: bytes) -> None:
        if self._not_thai is None and len(data) != len(data.translate(None, _NOT_THAI)):
            self._not_thai = self._line(data, next(place for place, byte in enumerate(data) if byte in _NOT_THAI))
        if self._thai_in_utf8 is None and (match := _THAI_UTF8.search(self._carry + data)):
            self._thai_in_utf8 = self._line(data, max(0, match.start() - len(self._carry)))

    def finish(self) -> str:
        """Return the encoding. Raises RosterUnreadable for damaged or mixed text."""
        self.feed(b"", final=True)
        if self._not_utf8 is None:
            return "utf-8"
        if self._thai_in_utf8 is not None:
            if self._thai_in_utf8 > self._not_utf8:
                raise RosterUnreadable(message("mixed_encoding", name=self._name, line=self._thai_in_utf8))
            raise RosterUnreadable(message("damaged_utf8", name=self._name, line=self._not_utf8))
        if self._not_thai is not None:
            raise RosterUnreadable(message("unknown_encoding", name=self._name, line=self._not_thai))
        return "cp874"

    def _line(self, data: bytes, place: int) -> int:
        return self._lines + data.count(b"\n", 0, place) + 1


def decode(name: str, data: bytes) -> str:
    """Return the text of a file without its byte order mark. Raises RosterUnreadable."""
    if kind := utf16_of(data):
        try:
            return data.decode(kind).removeprefix("\ufeff")
        except UnicodeDecodeError as exc:
            line = data.count(b"\n", 0, exc.start) + 1
            raise RosterUnreadable(message("unknown_encoding", name=name, line=line)) from None
    try:
        return data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError:  # which other encoding it is, or where it is damaged
        check = EncodingCheck(name)
        check.feed(data)
    return data.decode(check.finish()).removeprefix("\ufeff")
