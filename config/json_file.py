"""Reads JSON as .NET's configuration does: with comments and trailing commas, scalars as text.

The reader yields leaves with their lines instead of a tree, because layers are merged by leaf and a duplicate key is
reported with its first line.
"""

import bisect
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

from config.json_text import json_text
from config.merge import Empty, Path, Segment, Value, key_text, same_key

_BLANK = re.compile(r"(?:[ \t\r\n]+|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
_SCALAR = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?(?![\w.+-])|(?:true|false|null)(?!\w)")
_STRINGS = json.JSONDecoder()
_MAX_DEPTH = 64  # as in .NET's reader


@dataclass(frozen=True, slots=True)
class Leaf:
    path: Path
    value: Value
    line: int


class JsonFault(ValueError):
    """The text is not usable JSON; `line` and `column` count from 1."""

    def __init__(self, reason: str, line: int, column: int) -> None:
        super().__init__(reason, line, column)
        self.reason = reason
        self.line = line
        self.column = column


def decode(data: bytes) -> str:
    """Decode UTF-8 or UTF-16, with or without a byte order mark. Raises JsonFault at the first byte that is neither."""
    try:
        return json_text(data)
    except UnicodeDecodeError as exc:
        before = data[: exc.start].decode(exc.encoding, "replace").removeprefix("\ufeff")
        hint = "this is not UTF-8" if exc.encoding.startswith("utf-8") else "this is not UTF-16"
        raise JsonFault(hint, before.count("\n") + 1, len(before) - before.rfind("\n")) from None


def read_leaves(text: str) -> list[Leaf]:
    """Return the leaves of a JSON object in order, with keys split at `:`.

    Raises JsonFault for bad syntax and for a key that is given twice.
    """
    reader = _Reader(text)
    leaves: dict[str, Leaf] = {}
    for leaf, offset in reader.document():
        first = leaves.setdefault(same_key(leaf.path), leaf)
        if first is not leaf:
            reader.fail(f"{key_text(leaf.path)} is already given on line {first.line}", offset)
    return list(leaves.values())


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._lines = [0, *(match.end() for match in re.finditer("\n", text))]

    def document(self) -> Iterator[tuple[Leaf, int]]:
        self._skip()
        if self._peek() != "{":
            self.fail("settings are a JSON object, so the file must start with '{'")
        yield from self._object((), 1)
        self._skip()
        if self._at < len(self._text):
            self.fail("nothing may follow the end of the object")

    def fail(self, reason: str, offset: int | None = None) -> NoReturn:
        at = self._at if offset is None else offset
        line = bisect.bisect_right(self._lines, at)
        raise JsonFault(reason, line, at - self._lines[line - 1] + 1)

    def _value(self, path: Path, depth: int) -> Iterator[tuple[Leaf, int]]:
        if depth > _MAX_DEPTH:
            self.fail(f"nested deeper than {_MAX_DEPTH}")
        match self._peek():
            case "{":
                yield from self._object(path, depth)
            case "[":
                yield from self._array(path, depth)
            case '"':
                start = self._at
                yield self._leaf(path, self._string(), start)
            case _:
                start = self._at
                yield self._leaf(path, self._scalar(), start)

    def _object(self, path: Path, depth: int) -> Iterator[tuple[Leaf, int]]:
        start, empty = self._at, True
        while not self._ends("}", first=empty):
            name = self._name()
            yield from self._value((*path, *name), depth + 1)
            empty = False
        if empty:
            yield self._leaf(path, Empty.OBJECT, start)

    def _array(self, path: Path, depth: int) -> Iterator[tuple[Leaf, int]]:
        start, index = self._at, 0
        while not self._ends("]", first=index == 0):
            yield from self._value((*path, index), depth + 1)
            index += 1
        if index == 0:
            yield self._leaf(path, Empty.LIST, start)

    def _ends(self, closing: str, *, first: bool) -> bool:
        """Step over the opening bracket or the comma, and over the closing bracket if it is there."""
        self._skip()
        if first or self._peek() == ",":
            self._at += 1
        elif self._peek() != closing:
            self.fail(f"expected ',' or '{closing}'")
        self._skip()
        if self._peek() != closing:
            return False
        self._at += 1
        return True

    def _name(self) -> tuple[Segment, ...]:
        if self._peek() != '"':
            self.fail("expected a name in double quotes")
        name = self._string()
        self._skip()
        if self._peek() != ":":
            self.fail("expected ':' after the name")
        self._at += 1
        self._skip()
        return tuple(name.split(":"))

    def _string(self) -> str:
        try:
            text, self._at = _STRINGS.raw_decode(self._text, self._at)
        except json.JSONDecodeError as exc:
            reason = exc.msg.removesuffix(" starting at").removesuffix(" at")
            self.fail(reason[0].lower() + reason[1:], exc.pos)
        return str(text)

    def _scalar(self) -> str | None:
        match = _SCALAR.match(self._text, self._at)
        if match is None:
            self.fail("expected a value: text in double quotes, a number, true, false, null, '{' or '['")
        self._at = match.end()
        return None if match.group() == "null" else match.group()

    def _leaf(self, path: Path, value: Value, start: int) -> tuple[Leaf, int]:
        return Leaf(path, value, bisect.bisect_right(self._lines, start)), start

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _skip(self) -> None:
        match = _BLANK.match(self._text, self._at)
        self._at = match.end() if match else self._at
        if self._text.startswith("/*", self._at):
            self.fail("this comment is never closed")
