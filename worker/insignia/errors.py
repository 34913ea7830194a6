"""Errors in the input of a round, each in one line. The lines never contain a name, an id or a cell."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from worker.insignia.messages import BilingualText

_MOST_HEADINGS, _LONGEST_HEADING = 100, 100


class InsigniaError(Exception):
    """The evaluation is not possible; the text says what is wrong, where, and what to do."""

    def __init__(self, text: str | BilingualText) -> None:
        super().__init__(text.en if isinstance(text, BilingualText) else text)
        self.message = text if isinstance(text, BilingualText) else BilingualText("", text, "")
        """Code, English and Thai text; the code is empty for errors without a catalogue entry."""


class CriteriaInvalid(InsigniaError):
    """The criteria file cannot be read, or contains something that this program cannot apply."""


class RoundInvalid(InsigniaError):
    """The requested round, sequence or parameter does not exist."""


class InvalidPath(InsigniaError):
    """A path in the payload cannot be used."""


class RosterUnreadable(InsigniaError):
    """The roster or the history file is rejected as a whole."""

    headings: tuple[str, ...] = ()
    """Headings without a known meaning, where a mapping of them may help."""
    missing: tuple[str, ...] = ()
    """The fields that no heading names."""

    def with_headings(self, headings: Iterable[str], missing: Iterable[str] = ()) -> Self:
        """Set what a mapping needs, bounded, and return the error."""
        shown = dict.fromkeys(heading[:_LONGEST_HEADING] for heading in headings if heading.strip())
        self.headings, self.missing = tuple(shown)[:_MOST_HEADINGS], tuple(missing)
        return self


class RoundConfirmed(InsigniaError):
    """The round is closed: its results must not change."""


class EvaluationCancelled(InsigniaError):
    """The evaluation was cancelled; nothing was written."""


class ResultsUnwritable(InsigniaError):
    """The results could not be stored. The same call may succeed later."""


@dataclass(frozen=True, slots=True)
class BadCell:
    """A value that cannot be read. One row may have several."""

    row: int
    """Line or row in the file (the first is 1), or the officer's place in a JSON list, counted from 1."""
    person_id: str
    column: str
    value: str
    reason: str
    reason_th: str = ""
    code: str = ""
    file: str = ""
    """Without its folder; empty for a list of objects."""
    sheet: str = ""


@dataclass(frozen=True, slots=True)
class Notice:
    """A value that was read but should be checked."""

    row: int
    person_id: str
    column: str
    code: str
    text: str
    text_th: str = ""
    file: str = ""
    sheet: str = ""


@dataclass(frozen=True, slots=True)
class Repair:
    """A value that was read differently from how it is written."""

    row: int
    person_id: str
    column: str
    before: str
    after: str
    code: str
    text: str = ""
    text_th: str = ""
    file: str = ""
    sheet: str = ""


class RosterRejected(RosterUnreadable):
    """More rows are unreadable than the limit allows; `bad_cells` lists them."""

    def __init__(self, text: str | BilingualText, bad_cells: Sequence[BadCell]) -> None:
        super().__init__(text)
        self.bad_cells = tuple(bad_cells)
