"""Finds what a table says of its officers outside of the columns that have a field.

Such words stand in columns of remarks, in the sheet's name, in titles between the rows, in comments on cells; and a row
may be hidden or struck through.
"""

from collections.abc import Iterator, Sequence
from datetime import date
from typing import NamedTuple

from worker.insignia.messages import BilingualText, message
from worker.insignia.roster.cells import normalize
from worker.insignia.roster.sections import Sections
from worker.insignia.roster.side_columns import SideKind, excludes
from worker.insignia.roster.table import UNKNOWN, Row

_ROW = "(row)"


class Said(NamedTuple):
    """Something that is said of the officer of a row."""

    place: int
    column: str
    text: str
    what: BilingualText
    is_reviewed: bool = True
    """Whether it makes the officer doubtful, and is not only to be checked."""


def said_of_rows(
    sections: Sections, rows: Sequence[Row], by_column: Sequence[Sequence[str]], births: Sequence[date | None]
) -> Iterator[Said]:
    """Yield what is said of the officers of some rows; `by_column` has their cells."""
    segment = sections.segment
    name = segment.sheet.name
    sides = [(segment.heads[column], kind, by_column[column]) for column, kind in segment.columns.sides.items()]
    sides += [(_ROW, SideKind.SHEET, (name,) * len(rows))] if name else []
    for head, kind, texts in sides:
        for place, text in enumerate(texts):
            if excludes(kind, text, births[place]):
                yield Said(place, head, normalize(text), message("side_exclusion"))
    if segment.is_old:
        for place in range(len(rows)):
            yield Said(place, _ROW, name, message("old_sheet"))
    if sections.is_any:
        yield from _titles(sections, rows, births)
    if segment.sheet.marks is not None:
        yield from _marks(sections, rows, births)


def _titles(sections: Sections, rows: Sequence[Row], births: Sequence[date | None]) -> Iterator[Said]:
    for place, row in enumerate(rows):
        title = sections.title_over(row.number, births[place])
        if title is not None:
            yield Said(place, _ROW, title.text, message(title.code, row=title.row, title=title.text[:100]))


def _marks(sections: Sections, rows: Sequence[Row], births: Sequence[date | None]) -> Iterator[Said]:
    marks = sections.segment.sheet.marks
    assert marks is not None, "the caller has asked"
    for place, row in enumerate(rows):
        if row.number in marks.hidden:
            yield Said(place, _ROW, "hidden", message("hidden_row"))
        if row.number in marks.struck:
            yield Said(place, _ROW, "struck through", message("struck_row"))
        for comment in marks.comments.get(row.number, ()):
            speaks = excludes(SideKind.REMARK, comment, births[place])
            is_doubtful = speaks or comment == UNKNOWN
            code = "comment_exclusion" if speaks else "comment_unread" if is_doubtful else "comment"
            text = "comment" if comment == UNKNOWN else normalize(comment)
            yield Said(place, _ROW, text, message(code), is_doubtful)
