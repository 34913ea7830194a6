"""Turns the bytes of a JSON document into text, in the same way wherever JSON comes in.

JSON is UTF-8 (RFC 8259), but Windows tools write a byte order mark before it, and PowerShell writes UTF-16.
"""

import codecs

_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


def json_encoding(head: bytes) -> str:
    """Return the encoding of a JSON document by its first bytes; two are enough, except for the mark of UTF-8.

    Without a mark, UTF-16 shows by a NUL: JSON begins with an ASCII character.
    """
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return encoding
    if len(head) > 1 and head[0] == 0 != head[1]:
        return "utf-16-be"
    if len(head) > 1 and head[1] == 0 != head[0]:
        return "utf-16-le"
    return "utf-8"


def json_text(data: bytes) -> str:
    """Return the document as text, without a byte order mark. Raises UnicodeDecodeError."""
    return data.decode(json_encoding(data[:3]))
