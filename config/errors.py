"""Faults of the settings: where a value was written, what is wrong with it, and what was probably meant."""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

OriginKind = Literal["default", "file", "credential", "environment", "command line"]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value was written; `name` is the file, the variable or the key of the argument."""

    kind: OriginKind
    name: str = ""
    line: int | None = None

    def __str__(self) -> str:
        match self.kind:
            case "file":
                return self.name if self.line is None else f"{self.name}:{self.line}"
            case "credential":
                return f"credential file {self.name}"
            case "environment":
                return f"environment variable {self.name}"
            case "command line":
                return f"command line {self.name}".rstrip()
            case _:
                return self.kind


DEFAULT = Origin("default")


@dataclass(frozen=True, slots=True)
class SettingsProblem:
    """A fault or a warning as one line for people. The text never contains a secret."""

    text: str
    origin: Origin = DEFAULT
    key: str | None = None
    """The setting concerned, as `WebSocket:Url`; None when it concerns several or none."""

    def __str__(self) -> str:
        return printable(self.text)


@dataclass(frozen=True, slots=True)
class LoadReport:
    """Collects the faults and warnings of one load, so that all of them are reported at once."""

    faults: list[SettingsProblem] = field(default_factory=list)
    warnings: list[SettingsProblem] = field(default_factory=list)


class ConfigError(Exception):
    """The settings cannot be used. Carries every fault, not only the first."""

    def __init__(self, problems: Sequence[SettingsProblem], warnings: Sequence[SettingsProblem] = ()) -> None:
        super().__init__(tuple(problems), tuple(warnings))
        self.problems = tuple(problems)
        self.warnings = tuple(warnings)

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


def printable(text: str) -> str:
    """Return the text with control characters escaped: names of variables and files must not forge lines."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def suggestions(name: str, known: Iterable[str]) -> list[str]:
    """Return the known names that were probably meant, nearest first, at most three; case is ignored.

    Names within two edits come first. Only without any of them is similarity used (difflib), which finds omitted words
    but misses typos in names of three letters.
    """
    names = list(known)
    ranked = sorted((distance(name.lower(), candidate.lower()), candidate) for candidate in names)
    near = [candidate for edits, candidate in ranked if edits <= 2]
    if near:
        return near[:3]
    spelled = {candidate.lower(): candidate for candidate in names}
    return [spelled[match] for match in difflib.get_close_matches(name.lower(), spelled, n=3, cutoff=0.7)]


def did_you_mean(candidates: Sequence[str]) -> str:
    """Return the end of a sentence: `; did you mean 'A' or 'B'?`, or nothing."""
    if not candidates:
        return ""
    return f"; did you mean {' or '.join(repr(candidate) for candidate in candidates)}?"


def distance(left: str, right: str) -> int:
    """Return the edits between two words (Damerau-Levenshtein): insert, delete, replace, or swap two neighbours."""
    far = len(left) + len(right)
    # Row and column 0 stand for "before the word", so that a swap may span letters inserted in between.
    table = [[far] * (len(right) + 2) for _ in range(len(left) + 2)]
    for i in range(len(left) + 1):
        table[i + 1][1] = i
    table[1][1:] = range(len(right) + 1)
    last_row: dict[str, int] = {}
    for i, char in enumerate(left, 1):
        last_column = 0
        for j, other in enumerate(right, 1):
            row, column = last_row.get(other, 0), last_column
            swap = table[row][column] + (i - row - 1) + 1 + (j - column - 1)
            same = char == other
            last_column = j if same else last_column
            table[i + 1][j + 1] = min(table[i][j] + (not same), table[i + 1][j] + 1, table[i][j + 1] + 1, swap)
        last_row[char] = i
    return table[-1][-1]
