"""Looks at a roster while it arrives: whether it can be a table at all, before anybody waits for a job to say so.

Asks the reader's own questions (worker/insignia/table.py), a piece at a time; whether it holds officers is the job's.
"""

from worker.insignia.faults import RosterUnreadable
from worker.insignia.table import damaged, neither, refuse_other_formats, refuse_pages

_HEAD = 65536
_MOST_CONTROLS = 0.02
"""Share of control characters in the beginning above which it is no text, whatever decodes."""
_CONTROLS = bytes(set(range(32)) - set(b"\t\n\v\f\r\x1a")) + b"\x7f"


class Arrival:
    """Feed it every piece, then ask `finish`; both raise RosterUnreadable."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._head = bytearray()
        self._seen = False
        self._lines = 0
        self._carry = b""
        self._is_ascii = True
        self._is_thai = False

    def feed(self, data: bytes) -> None:
        if self._seen:
            self._decode(self._carry + data, final=False)
            return
        self._head += data  # no piece is judged before the beginning is there: a signature may be cut in two
        if len(self._head) >= _HEAD:
            self._look()

    def finish(self) -> None:
        if not self._seen:
            self._look()
        self._decode(self._carry, final=True)

    @property
    def is_json(self) -> bool:
        """Whether the reader will take it for JSON."""
        return bytes(self._head[:1000]).removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"[", b"{")

    def _look(self) -> None:
        """Once the beginning is there."""
        head = bytes(self._head)
        self._seen = True
        refuse_other_formats(self._name, head)
        if not head.removeprefix(b"\xef\xbb\xbf").strip() and len(head) < _HEAD:
            raise RosterUnreadable(f"{self._name} is empty")
        refuse_pages(self._name, head.decode("utf-8", "replace").removeprefix("\ufeff"))
        controls = len(head) - len(head.translate(None, _CONTROLS))
        if controls > _MOST_CONTROLS * len(head):
            raise RosterUnreadable(f"{self._name} is binary, no text: open it and save it as CSV UTF-8")
        self._decode(head, final=False)

    def _decode(self, data: bytes, *, final: bool) -> None:
        """As UTF-8; from the first byte that is none on as Thai, if all before was ASCII."""
        if b"\0" in data:
            raise RosterUnreadable(f"{self._name} is binary or UTF-16, no text: open it and save it as CSV UTF-8")
        self._carry = b""
        if not self._is_thai:
            cut = len(data) - (0 if final else _incomplete(data))
            try:
                data[:cut].decode()
            except UnicodeDecodeError as exc:
                if not (self._is_ascii and data[: exc.start].isascii()):
                    raise damaged(self._name, self._line(data, exc)) from None
                self._is_thai = True
            else:
                data, self._carry = data[:cut], data[cut:]
                self._is_ascii = self._is_ascii and data.isascii()
        if self._is_thai:
            try:
                data.decode("cp874")
            except UnicodeDecodeError as exc:
                raise neither(self._name, self._line(data, exc)) from None
        self._lines += data.count(b"\n")

    def _line(self, data: bytes, exc: UnicodeDecodeError) -> int:
        return self._lines + data.count(b"\n", 0, exc.start) + 1


def _incomplete(data: bytes) -> int:
    """How many bytes at the end may be the beginning of a character."""
    for back in range(1, min(4, len(data) + 1)):
        byte = data[-back]
        if byte & 0xC0 == 0x80:
            continue
        needs = 4 if byte >= 0xF0 else 3 if byte >= 0xE0 else 2 if byte >= 0xC0 else 1
        return back if needs > back else 0
    return 0
