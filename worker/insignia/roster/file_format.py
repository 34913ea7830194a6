"""The format of a file by its content: its name and its suffix are not considered."""

from typing import Literal

from worker.insignia.errors import RosterUnreadable
from worker.insignia.messages import message
from worker.insignia.roster.text_encoding import utf16_of

FileFormat = Literal["zip", "ole", "markup", "json", "csv"]
"""zip: XLSX, XLSB or ODS. ole: XLS. markup: a web page or XML. csv: any other text."""
SUFFIXES: dict[FileFormat, str] = {"zip": ".xlsx", "ole": ".xls", "markup": ".html", "json": ".json", "csv": ".csv"}

_OTHER = (
    (b"%PDF", "is a PDF", "เป็นไฟล์ PDF"),
    (b"\x1f\x8b", "is compressed (gzip)", "เป็นไฟล์บีบอัด (gzip)"),
    (b"SQLite format 3", "is a database", "เป็นฐานข้อมูล"),
    (b"\x89PNG", "is a picture", "เป็นรูปภาพ"),
    (b"\xff\xd8\xff", "is a picture", "เป็นรูปภาพ"),
    (b"GIF8", "is a picture", "เป็นรูปภาพ"),
    (b"\x7fELF", "is a program", "เป็นโปรแกรม"),
    (b"#!", "is a script", "เป็นสคริปต์"),
    (b"{\\rtf", "is a word processor's document (RTF)", "เป็นเอกสารประมวลคำ (RTF)"),
    (b"Rar!", "is compressed (RAR)", "เป็นไฟล์บีบอัด (RAR)"),
    (b"7z\xbc\xaf", "is compressed (7z)", "เป็นไฟล์บีบอัด (7z)"),
)
_ENCRYPTED = "EncryptedPackage".encode("utf-16-le")
_WORD_DOCUMENT = "WordDocument".encode("utf-16-le")
_MARKUP = ("<", "mime-version:", "content-type:")
_MOST_CONTROLS = 0.02
"""Share of control characters in the beginning above which it is not text, even if it decodes."""
_CONTROLS = bytes(set(range(32)) - set(b"\t\n\v\f\r\x1a")) + b"\x7f"


def format_of(name: str, head: bytes) -> FileFormat:
    """Return the format that the beginning shows (64 KiB are enough). Raises RosterUnreadable for other formats."""
    if not head:
        raise RosterUnreadable(message("empty_file", name=name))
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "zip"
    if head.startswith(b"\xd0\xcf\x11\xe0"):
        return "ole"
    for magic, what, what_th in _OTHER:
        if head.startswith(magic):
            raise RosterUnreadable(message("other_format", name=name, what=what, what_th=what_th))
    start = _first_characters(name, head)
    if not start and len(head) < 65536:
        raise RosterUnreadable(message("empty_file", name=name))
    if start.lower().startswith(_MARKUP):
        return "markup"
    return "json" if start.startswith(("[", "{")) else "csv"


def _first_characters(name: str, head: bytes) -> str:
    kind = utf16_of(head)
    if kind is None:
        controls = len(head) - len(head.translate(None, _CONTROLS))
        if b"\0" in head or controls > _MOST_CONTROLS * len(head):
            raise RosterUnreadable(message("binary", name=name))
    return head[: len(head) // 2 * 2].decode(kind or "utf-8", "replace").removeprefix("\ufeff").strip()[:200]


def reject_protected(name: str, data: bytes) -> None:
    """Raise RosterUnreadable for an OLE file that is not an open workbook."""
    if _ENCRYPTED in data:
        raise RosterUnreadable(message("password", name=name))
    if _WORD_DOCUMENT in data:
        what, what_th = "is a word processor's document (DOC)", "เป็นเอกสารประมวลคำ (DOC)"
        raise RosterUnreadable(message("other_format", name=name, what=what, what_th=what_th))
