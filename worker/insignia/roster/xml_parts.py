"""Reads the tags and texts of a workbook's parts piece by piece, so that no part is held in memory as a whole."""

import re
from collections.abc import Callable, Iterable
from xml.parsers import expat

OnTag = Callable[[str, dict[str, str]], object]
"""Gets the name of each tag without its prefix, and the attributes."""
_THAI = re.compile(rb"""<\?xml[^<>]*\bencoding\s*=\s*["']windows-874["']""", re.IGNORECASE)
"""An encoding that the parser only knows by another name."""


def read_tags(pieces: Iterable[bytes], start: OnTag, characters: Callable[[str], object] | None = None) -> None:
    """Report the tags of a part; a part that is missing has none.

    Raises ValueError if it cannot be parsed to its end: what stands there, such as a remark, would be lost.
    """
    parser = None
    try:
        for piece in pieces:
            parser = parser or _parser(piece, start, characters)
            parser.Parse(piece, False)
        if parser is not None:
            parser.Parse(b"", True)
    except (expat.ExpatError, LookupError) as exc:  # an unknown encoding is a LookupError
        raise ValueError(str(exc)) from exc


def _parser(beginning: bytes, start: OnTag, characters: Callable[[str], object] | None) -> expat.XMLParserType:
    parser = expat.ParserCreate("cp874" if _THAI.match(beginning) else None)
    parser.buffer_text = True
    parser.StartElementHandler = lambda tag, attributes: start(tag.rpartition(":")[2], attributes)
    parser.CharacterDataHandler = characters
    parser.StartDoctypeDeclHandler = _reject_doctype
    return parser


def _reject_doctype(*_: object) -> None:
    raise ValueError("doctype")


def attributes_of(pieces: Iterable[bytes], tag: str) -> list[dict[str, str]]:
    """Return the attributes of all tags of one name; each different set once. Raises ValueError, as read_tags does."""
    found: dict[tuple[tuple[str, str], ...], dict[str, str]] = {}
    read_tags(pieces, lambda name, attributes: name == tag and found.setdefault((*attributes.items(),), attributes))
    return list(found.values())
