"""Limits on JSON that are checked while it arrives, before objects are made of it.

A body of a few megabytes can become gigabytes of objects, and the parser holds the interpreter's lock, so that the
whole service stands still until it ends. The scanner counts in pieces, at some 100 MB/s, and understands only what it
needs to: what is a string, and what is structure.
"""

import re
from dataclasses import dataclass
from typing import Final

_BRACKETS: Final = b"[]{}"
_NO_BRACKET: Final = bytes(byte for byte in range(256) if byte not in _BRACKETS)
_ALL_ALIKE: Final = bytes.maketrans(b"{}", b"[]")
_ALL_ELSE: Final = bytes(byte for byte in range(256) if byte not in b'[]{},:"')
"""What is neither structure nor the beginning or end of a string."""
_OPENING: Final = b"[{"
_COMMA, _COLON = b",:"
_INNERMOST: Final = re.compile(rb"[\[{][,:]*[\]}]")
"""A list or an object that contains no other, without its values."""
_MOST_ROUNDS: Final = 4


class JsonTooLarge(ValueError):
    """The document has more values or names than allowed."""


class JsonTooDeep(ValueError):
    """The document is nested deeper than allowed."""


@dataclass(frozen=True, slots=True)
class JsonLimits:
    """What one document may contain."""

    values: int = 250_000
    """Objects, lists, and what they contain; 250,000 take about 50 ms and 100 MB."""
    names: int = 10_000
    """Names in one object."""
    depth: int = 254
    """Levels of nesting; deeper ones could be read but not written."""


class JsonScanner:
    """Checks a document in UTF-8, piece by piece. It need not be valid: the parser finds out."""

    def __init__(self, limits: JsonLimits) -> None:
        self._limits = limits
        self._in_string = False
        self._backslash = b""
        """The end of the last piece, when it is half an escape."""
        self._values = 0
        self._names = [0]
        """How many names the object at each level has."""

    def feed(self, piece: bytes) -> None:
        """Check the next bytes. Raises JsonTooLarge, JsonTooDeep."""
        structure = self._structure(piece)
        if not self._feed_at_once(structure):
            self._feed_one_by_one(structure)

    def _feed_at_once(self, structure: bytes) -> bool:
        """Check what cannot be beyond a limit, without a step for each value; return False for all else.

        Most bodies are lists of small objects. Those that begin and end in this piece leave only their values.
        """
        limits, values = self._limits, structure.count(b",") + _opened(structure)
        if self._values + values > limits.values or structure.count(b":") > limits.names - max(self._names):
            return False
        rest, levels = structure, 0
        while levels < _MOST_ROUNDS and (shorter := _INNERMOST.sub(b"", rest)) != rest:
            rest, levels = shorter, levels + 1
        opened = _opened(rest)
        if len(self._names) + opened + levels > limits.depth + 1:
            return False
        self._feed_one_by_one(rest.translate(None, b","))
        self._values += values - opened
        return True

    def _feed_one_by_one(self, structure: bytes) -> None:
        names, limits = self._names, self._limits
        for token in structure:
            if token == _COMMA:
                self._values += 1
            elif token == _COLON:
                names[-1] += 1
                if names[-1] > limits.names:
                    raise JsonTooLarge(f"one of its objects has more than {limits.names:,} names")
            elif token in _OPENING:
                self._values += 1
                names.append(0)
                if len(names) > limits.depth + 1:
                    raise JsonTooDeep(f"it is nested deeper than {limits.depth} levels")
            elif len(names) > 1:
                names.pop()
            if self._values > limits.values:
                raise JsonTooLarge(f"it has more than {limits.values:,} values")

    def _structure(self, piece: bytes) -> bytes:
        """Return the brackets, commas and colons of the piece that are not in a string."""
        if self._backslash or b"\\" in piece:
            piece = _without_escapes(self._backslash + piece)
            self._backslash = b"\\" if piece.endswith(b"\\") else b""
            piece = piece.removesuffix(b"\\")
        parts = piece.translate(None, _ALL_ELSE).split(b'"')
        structure = b"".join(parts[self._in_string :: 2])
        self._in_string ^= len(parts) % 2 == 0
        return structure


def _opened(structure: bytes) -> int:
    return structure.count(b"[") + structure.count(b"{")


def is_deeper_than(document: bytes, levels: int) -> bool:
    """Return whether a valid document is nested deeper than that. What is not valid JSON may get either answer.

    Takes a few milliseconds for a megabyte of anything: nothing here loops over the characters.
    """
    outside = b"".join(_without_escapes(document).split(b'"')[::2])
    brackets = outside.translate(_ALL_ALIKE, _NO_BRACKET)
    for _ in range(levels):
        inner = brackets.replace(b"[]", b"")
        if len(inner) == len(brackets):
            break
        brackets = inner
    return b"[]" in brackets


def _without_escapes(text: bytes) -> bytes:
    """Return the text without escaped quotes and backslashes, so that every quote left begins or ends a string."""
    return text.replace(b"\\\\", b"").replace(b'\\"', b"") if b"\\" in text else text
