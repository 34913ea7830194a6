"""Reads the level, which may depend on the group and the position type of the same row."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from worker.insignia.messages import message
from worker.insignia.roster.cell_readers import Note
from worker.insignia.roster.cells import Unreadable
from worker.insignia.roster.vocabulary import Vocabulary, normalize_word

_AMBIGUOUS = frozenset({"m1", "m2"})
"""Codes of an executive in one public code set, and of a director in the other."""


@dataclass(slots=True)
class LevelReader:
    """Reads each combination of words once."""

    vocabulary: Vocabulary
    paid_by_wage: frozenset[str]
    """Groups whose ladder depends on the wage alone."""
    known: dict[tuple[str, str | None, str | None], tuple[str | None, Note | None]] = field(default_factory=dict)

    def read(self, text: str, group: str | None, position_type: str | None) -> tuple[str | None, Note | None]:
        """Return the code of the level, and what has to be reported."""
        words = (text, group, position_type)
        if words not in self.known:
            self.known[words] = self._read(*words)
        return self.known[words]

    def _read(self, text: str, group: str | None, position_type: str | None) -> tuple[str | None, Note | None]:
        try:
            level = self.vocabulary.level(text, group, position_type)
        except Unreadable as exc:
            if group in self.paid_by_wage and exc.message.code != "formula_error":
                return None, Note("notice", message("level_by_wage"))
            return None, Note("bad", exc.message)
        if normalize_word(text) in _AMBIGUOUS:
            if position_type is None:
                return level, Note("notice", message("ambiguous_level_code"))
            if level != normalize_word(text).upper():
                return level, Note("repair", message("level_by_type"), level or "")
        return level, None

    def group_of(self, level: str | None) -> str | None:
        """Return the group that has a level; None if the level is unknown."""
        groups: Mapping[str, str] = self.vocabulary.group_of_level
        return groups.get(level or "")
