"""Checks a roster while it is uploaded: whether it can be a table at all, before a job has to report it.

Text is checked to its end, workbooks by their signature, for the end of an archive, and for a password; whether they
contain officers is left to the job.
"""

from worker.insignia.errors import RosterUnreadable
from worker.insignia.messages import message
from worker.insignia.roster.file_format import SUFFIXES, FileFormat, format_of, reject_protected
from worker.insignia.roster.text_encoding import EncodingCheck, utf16_of

_HEAD = 65536
_TAIL = 65536 + 22
"""Bytes at the end of an archive that contain its directory's place; the comment after it may be as long."""
_OVERLAP = 64
"""Bytes of the piece before that a mark of protection may begin in."""
_END_OF_ARCHIVE = b"PK\x05\x06"


class UploadCheck:
    """Takes every piece by `feed`, then `finish`; both raise RosterUnreadable."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._head = bytearray()
        self._format: FileFormat | None = None
        self._encoding: EncodingCheck | None = None
        self._tail = b""

    def feed(self, data: bytes) -> None:
        """Check the next piece."""
        if self._format is None:
            self._head += data  # wait for the whole beginning, as a piece may end inside a signature
            if len(self._head) >= _HEAD:
                self._check_head()
        elif self._encoding is not None:
            self._encoding.feed(data)
        else:
            self._workbook(data)

    def finish(self) -> str:
        """Check the end and return the suffix that fits the content."""
        if self._format is None:
            self._check_head()
        if self._encoding is not None:
            self._encoding.finish()
        assert self._format is not None, "the beginning was checked"
        if self._format == "zip" and _END_OF_ARCHIVE not in self._tail:
            raise RosterUnreadable(message("broken_workbook", name=self._name))
        return SUFFIXES[self._format]

    def _check_head(self) -> None:
        head = bytes(self._head)
        self._format = format_of(self._name, head)
        if self._format in ("csv", "json", "markup") and utf16_of(head) is None:
            self._encoding = EncodingCheck(self._name)
            self._encoding.feed(head)
        elif self._format in ("zip", "ole"):
            self._workbook(head)

    def _workbook(self, data: bytes) -> None:
        if self._format == "ole":
            reject_protected(self._name, self._tail[-_OVERLAP:] + data)
        self._tail = (self._tail + data)[-_TAIL:]
