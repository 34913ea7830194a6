"""Texts on their way into PostgreSQL and back: its `text` cannot hold the character NUL, which JSON and Python can.

NUL becomes two characters of the private use area, and so does the first of these where it occurs; all other text is
stored as it is.
"""

_MARK = "\ue000"
_NUL, _ITSELF = _MARK + "\ue001", _MARK + _MARK


def to_database(text: str) -> str:
    """Return the text as it is stored."""
    if "\0" not in text and _MARK not in text:
        return text
    return text.replace(_MARK, _ITSELF).replace("\0", _NUL)


def from_database(text: str) -> str:
    """Return the text that was stored."""
    if _MARK not in text:
        return text
    return "\0".join(part.replace(_ITSELF, _MARK) for part in _split(text))


def _split(text: str) -> list[str]:
    """Split at the stored NULs; a mark that stands for itself may come right before one."""
    parts, start, at = [], 0, text.find(_MARK)
    while at >= 0:
        if text[at : at + 2] == _NUL:
            parts.append(text[start:at])
            start = at + 2
        at = text.find(_MARK, at + 2)
    return [*parts, text[start:]]


def optional_to_database(text: str | None) -> str | None:
    return None if text is None else to_database(text)


def optional_from_database(text: str | None) -> str | None:
    return None if text is None else from_database(text)


def writable(text: str | None) -> str | None:
    """Return an error text as it is stored: halves of surrogate pairs, as file names may contain them, are escaped."""
    if text is None:
        return None
    return to_database(text if text.isascii() else text.encode("utf-8", "backslashreplace").decode())
