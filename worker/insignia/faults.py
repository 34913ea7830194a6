"""What can be wrong with a round's input, in one clear line each. Lines never hold a name, an id or a cell."""

from collections.abc import Sequence
from dataclasses import dataclass


class InsigniaError(Exception):
    """The evaluation cannot be done; the text says what is wrong, where, and what to do."""


class CriteriaInvalid(InsigniaError):
    """The criteria file cannot be read, or says something this program cannot carry out."""


class RoundInvalid(InsigniaError):
    """The round, the sequence or a parameter asked for does not exist."""


class RosterUnreadable(InsigniaError):
    """The roster or the history file is refused as a whole."""


class RoundConfirmed(InsigniaError):
    """The round is closed: its results must not change."""


class EvaluationCancelled(InsigniaError):
    """Somebody asked to stop; nothing was written."""


class ResultsUnwritable(InsigniaError):
    """The results could not be stored. The same call may succeed later."""


@dataclass(frozen=True, slots=True)
class BadCell:
    """A value that cannot be read. One row may have several."""

    row: int
    """Line in the file (the header is line 1), or the officer's place in a JSON list, counted from 1."""
    person_id: str
    column: str
    value: str
    reason: str


@dataclass(frozen=True, slots=True)
class Notice:
    """A value that was read, but deserves a look."""

    row: int
    person_id: str
    column: str
    code: str
    text: str


class RosterRejected(RosterUnreadable):
    """More rows are unreadable than the limit allows; `bad_cells` tells which."""

    def __init__(self, text: str, bad_cells: Sequence[BadCell]) -> None:
        super().__init__(text)
        self.bad_cells = tuple(bad_cells)
