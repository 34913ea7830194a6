"""Finds sheets of a roster's workbook that list decorations, one on each line: they are the officers' history."""

import re
from collections.abc import Sequence

from worker.insignia.errors import RosterUnreadable
from worker.insignia.messages import message
from worker.insignia.roster.columns import HISTORY, Headings
from worker.insignia.roster.continuation import SUPPORT
from worker.insignia.roster.history import History
from worker.insignia.roster.layout import header_of
from worker.insignia.roster.table import Sheet

_PROPOSAL = re.compile("ขอ(?!ง)|เสนอ|propos|request", re.IGNORECASE)
"""In the name of a sheet of decorations that officers are to get."""
_HISTORY = re.compile("ประวัติ|history", re.IGNORECASE)
_FEWEST_CLASSES = 2


def take_award_sheets(files: Sequence[list[Sheet]], roster: Headings, past: Headings) -> list[Sheet]:
    """Remove the sheets of decorations from the sheets of each file, and return them.

    Raises RosterUnreadable for one that cannot be joined with the officers: without it, they would lack decorations.
    """
    taken: list[Sheet] = []
    for sheets in files:
        shown = [sheet for sheet in sheets if not sheet.is_hidden]
        found = [sheet for sheet in shown if _lists_awards(sheet, roster, past)] if len(shown) > 1 else []
        if len(found) == len(shown):
            continue
        for sheet in found:
            if not _is_history(sheet, past):
                raise RosterUnreadable(message("sheet_of_awards", name=sheet.file, sheet=sheet.name))
            sheets.remove(sheet)
        taken += found
    return taken


def _lists_awards(sheet: Sheet, roster: Headings, past: Headings) -> bool:
    """Return whether a sheet has officers and their decorations, and nothing else that a decision depends on."""
    heads = [head for head in header_of(sheet, roster).cells if head]
    names = {roster.field_of(head) for head in heads}
    if names & {*SUPPORT, "salary"}:
        return False
    known = {past.field_of(head) for head in (*heads, *header_of(sheet, past).cells) if head}
    classes = sum(name is not None and name.startswith("class:") for name in names)
    has_awards = {*HISTORY[1:]} <= known or classes >= _FEWEST_CLASSES
    return has_awards and bool(known & {"person_id", "first_name"})


def _is_history(sheet: Sheet, past: Headings) -> bool:
    known = {past.field_of(head) for head in header_of(sheet, past).cells if head}
    return {*HISTORY} <= known and not _PROPOSAL.search(sheet.name)


def are_whole(sheets: Sequence[Sheet], history: History) -> bool:
    """Return whether the sheets are the whole history, and not the list of one round."""
    return history.has_several_years() or any(_HISTORY.search(sheet.name) for sheet in sheets)
