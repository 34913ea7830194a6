"""Reads the decorations of the officers in some rows of one table, from all columns and the history."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from worker.insignia.messages import message
from worker.insignia.roster.award_words import HIGHEST
from worker.insignia.roster.cell_readers import Note
from worker.insignia.roster.cells import Unreadable, normalize
from worker.insignia.roster.decorations import (
    OTHER_NOTICE,
    DecorationParser,
    joined,
    lacks_decoration,
    says_none,
    unique,
)
from worker.insignia.roster.history import History
from worker.insignia.roster.layout import Segment
from worker.insignia.roster.officer import Award
from worker.insignia.roster.table import UNKNOWN
from worker.insignia.roster.thai import canonical


@dataclass(slots=True)
class RowAwards:
    """The decorations of some rows of one table."""

    segment: Segment
    parser: DecorationParser
    history: History | None
    by_column: Sequence[tuple[str, ...]]
    persons: Sequence[str | None]
    """None for rows that are not officers."""
    add_note: Callable[[int, str, str, Note], None]
    """Reports something of a row: its place, the column, the text and what is to be said."""

    lengths: Mapping[int, int] = field(default_factory=dict)
    """Rows with too few cells by their places, and how many they have."""
    cut: dict[int, tuple[Award, ...] | None] = field(default_factory=dict)
    """Such rows whose decorations are incomplete, with what the others say; None if one is missing beside its day."""

    def _texts(self, name: str) -> tuple[str, ...]:
        place = self.segment.columns.index.get(name)
        return (UNKNOWN,) * len(self.persons) if place is None else self.by_column[place]

    def read(self, listed: list[Any] | None) -> tuple[list[Any], list[bool]]:
        """Return the decorations of each row, and whether they are only the last one.

        `listed` has those of the column with all decorations, if there is one.
        """
        columns = self.segment.columns
        has_last = "last_decoration" in columns
        history, classes, pairs = self.history, columns.classes, columns.pairs
        if not (has_last or history or classes or pairs):
            return listed or [None] * len(self.persons), [False] * len(self.persons)
        names = list(zip(self._texts("first_name"), self._texts("last_name"), strict=True))
        awards: list[Any] = []
        last_only: list[bool] = []
        for place, person in enumerate(self.persons):
            sources = [] if listed is None or listed[place] is None else [listed[place]]
            last = self._last_award(place) if has_last and person is not None else None
            is_doubted = history is not None and person in history.doubted
            if person is not None:
                sources += [self._class_awards(place)] if classes else []
                listed_pairs = self._pair_awards(place) if pairs else ()
                is_doubted |= listed_pairs is None
                sources += [listed_pairs or ()] if pairs else []
            is_all = bool(sources) or history is None or history.is_whole
            if person is not None and history is not None:
                sources += self._history_awards(place, person, names[place], history)
            is_doubted |= bool(sources) and not (is_all or last)
            if (before := self.cut.get(place)) is not None:
                self.cut[place] = joined((before, *sources, last or ()))
            awards.append(None if is_doubted else joined((*sources, last or ())) if sources else last)
            last_only.append(self._is_last_only(sources if is_all else [], last))
        return awards, last_only

    def _is_last_only(self, sources: Sequence[tuple[Award, ...]], last: tuple[Award, ...] | None) -> bool:
        """Return whether there may be more than the last decoration; also without a highest class, the medal."""
        if last:
            return not (sources and _contain(sources, last))
        place = self.segment.columns.index.get("last_decoration")
        return last is not None and not sources and HIGHEST.search(self.segment.heads[place or 0]) is not None

    def _class_awards(self, place: int) -> tuple[Award, ...]:
        found = []
        for column, code in self.segment.columns.classes.items():
            text = self.by_column[column][place]
            try:
                award, note = self.parser.class_column(code, text)
            except Unreadable as exc:
                self.add_note(place, code, text, Note("bad", exc.message))
                continue
            found += [award] if award is not None else []
            if note:
                self.add_note(place, code, text, Note("notice", message(note)))
        return unique(found)

    def _is_cut(self, place: int, column: int) -> bool:
        """Return whether a row ends before the column, and it is not known that the cell was empty."""
        return column >= self.lengths.get(place, column + 1) and self.by_column[column][place].strip() == UNKNOWN

    def lacks_decoration(self, place: int, name: str, text: str, day: str) -> bool:
        """Return whether there is a day without its decoration, and report that."""
        is_missing = lacks_decoration(text, day)
        if is_missing and self.persons[place] is not None:
            self.add_note(place, name, text, Note("notice", message("decoration_missing")))
        return is_missing

    def _pair_awards(self, place: int) -> tuple[Award, ...] | None:
        """Return the decorations of a row in several pairs of columns; None if one of them is unknown."""
        found: list[Award] = []
        for what, when in self.segment.columns.pairs:
            text, day = self.by_column[what][place], self.by_column[when][place]
            head = canonical(self.segment.heads[what])
            if self._is_cut(place, what):
                self.cut[place] = None if self.lacks_decoration(place, head, "", day) else unique(found)
                return None
            if text.strip() == UNKNOWN or self.lacks_decoration(place, head, text, day):
                return None
            if says_none(text):
                continue
            try:
                award, note = self.parser.award(text, day)
            except Unreadable as exc:
                self.add_note(place, head, text, Note("bad", exc.message))
                continue
            found.append(award)
            if note:
                self.add_note(place, head, text, Note("notice", message(note)))
        return unique(found)

    def _last_award(self, place: int) -> tuple[Award, ...] | None:
        """Return the last decoration, None if it is unknown or of another order."""
        text = self._texts("last_decoration")[place]
        day = self._texts("last_decoration_date")[place]
        if self._is_cut(place, self.segment.columns.index["last_decoration"]) and day.strip() != UNKNOWN:
            self.cut |= {place: None} if self.lacks_decoration(place, "last_decoration", "", day) else {}
        if text.strip() == UNKNOWN:
            return None
        if not normalize(text):
            return None if self.lacks_decoration(place, "last_decoration", text, day) else ()
        try:
            awards, notes = self.parser.last(text, day)
        except Unreadable as exc:
            self.add_note(place, "last_decoration", text, Note("bad", exc.message))
            return ()
        for note in notes:
            self.add_note(place, "last_decoration", text, Note("notice", message(note)))
        return None if OTHER_NOTICE in notes else awards

    def _history_awards(
        self, place: int, person: str, names: tuple[str, str], history: History
    ) -> list[tuple[Award, ...]]:
        """Return the awards of the history file as one source, or none if it may have missed this person."""
        for cell in history.bad.get(person, ()):
            # One unreadable line makes the whole history unknown: no decision may rest on the remaining lines.
            why = message("history_line_unreadable", row=cell.row, why=cell.reason, why_th=cell.reason_th)
            self.add_note(place, "history", cell.value, Note("bad", why))
        awards = history.find(person, names)
        if person in history.doubted or (person in history.absent and not history.is_whole):
            return []
        if awards is None:
            self.add_note(place, "history", person, Note("notice", message("history_unknown")))
            return []
        return [awards]


def _contain(sources: Sequence[tuple[Award, ...]], last: tuple[Award, ...]) -> bool:
    """Return whether the sources have the last decoration; without it, they may lack others as well."""
    return {award.code for award in last} <= {award.code for awards in sources for award in awards}
