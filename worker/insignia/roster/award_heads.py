"""Joins two rows of headings where decorations stand: the upper one names them, the lower one says which or when."""

import itertools
import re
from collections.abc import Sequence
from typing import NamedTuple

from worker.insignia.roster.award_words import LATEST, THIS_TIME, is_of_awards, is_unclear
from worker.insignia.roster.heading_keys import heading_key
from worker.insignia.roster.table import Sheet
from worker.insignia.roster.thai import canonical

_CLASSES = frozenset(map(heading_key, ("ชั้น", "ชั้นตรา", "ตรา", "ชั้น/ตรา", "ชั้นที่ได้รับ", "ชั้นตราที่ได้รับ")))
_WHOLE = frozenset(
    map(
        heading_key,
        ["ที่ได้รับ", "ได้รับแล้ว", "ที่ได้รับแล้ว", "ที่มี", "ที่มีอยู่", "ที่เคยได้รับ", "เดิม", "ของเดิม"],
    )
)
_DAYS = frozenset(
    map(
        heading_key,
        [
            "ปี",
            "ปีที่ได้รับ",
            "พ.ศ.",
            "ปี พ.ศ.",
            "วันที่",
            "วันที่ได้รับ",
            "วันเดือนปี",
            "ว.ด.ป.",
            "วัน เดือน ปี",
            "วัน เดือน ปี ที่ได้รับ",
            "ได้รับเมื่อ",
            "เมื่อ",
            "ปีที่ได้รับพระราชทาน",
            "วันที่ได้รับพระราชทาน",
        ],
    )
)
_CLASS, _DAY = "ชั้นตรา", "วันที่ได้รับ"
_ASKS = re.compile("ขอ(?![งบ])|เสนอ|request|propos", re.IGNORECASE)
_HELD = re.compile("ได้รับ|มีอยู่|received|held", re.IGNORECASE)
_ONLY_LAST = re.compile(r"\W*(?:ครั้ง|ชั้น|ที่|ได้รับ|\s)*(?:ล่าสุด|สุดท้าย|สูงสุด|หลังสุด|last|latest|highest)", re.IGNORECASE)
_TITLE = re.compile("บัญชี|รายชื่อ|ผู้|แบบ|list", re.IGNORECASE)
_SHORT = 30
_LONGEST = 60
"""Characters of a heading; a longer text above the header is a title."""
_FORMER = re.compile(r"[(\[](?:ของ|ที่|ชั้น|ที่ได้รับ|ตรา)*(?:เดิม|ก่อนหน้า(?:นี้)?|ครั้งก่อน|former|previous|old)[)\]]", re.IGNORECASE)
_BEGINS = re.compile(
    r"\W*(?:ขอ|เสนอ|ครั้งนี้|ปีนี้|ชั้น|ตรา|เครื่องราช|อิสริยาภรณ์|insignia|decoration|award|propos|request)", re.IGNORECASE
)
_MOST_ROWS = 10_000
"""Rows among which the days of the last decorations are looked for."""
_DATED = re.compile(r"[ก-๎A-Za-z.)\s(]\d{4}\)?$|\d[/.-]\d{1,2}[/.-]\d|\d{1,2} ?[ก-ฮ][ก-๎.]+ ?\d{2,4}")
"""A day or year in a cell that names a decoration."""


def is_asked(text: str) -> bool:
    """Return whether words above or below a heading say that its decorations are proposed ones."""
    return THIS_TIME.search(text) is not None or (asks(text) and _HELD.search(text) is None)


def asks(over: str) -> bool:
    """Return whether a heading has a word for a request, whatever else it says."""
    return _ASKS.search(over) is not None


def is_proposal(over: str) -> bool:
    """Return whether a heading above one of decorations says that they are asked for; a title does not."""
    return asks(over) and not (_HELD.search(over) or _TITLE.search(over))


def is_this_time(over: str) -> bool:
    """Return whether a heading above one of decorations says that they are those of this round; a title does not."""
    return len(over) <= _SHORT and THIS_TIME.search(over) is not None and _TITLE.search(over) is None


def says_which(over: str) -> bool:
    """Return whether a heading above one of decorations says that it has only the last one, or those of a year."""
    if len(over) > _SHORT:
        return False
    is_last = _ONLY_LAST.match(over) or (is_of_awards(over) and LATEST.search(over))
    return bool(is_last) or is_unclear(over)


class DividedHeads(NamedTuple):
    """The headings of two rows of which the lower one divides a heading of decorations."""

    heads: list[str]
    has_others: bool
    """Whether the lower row has further texts that the upper one does not have."""


def joined_awards(upper: Sequence[str], lower: Sequence[str]) -> DividedHeads | None:
    """Return the headings of two rows, if cells of the lower one divide a heading of decorations; else None."""
    found: list[str] = []
    over, kind, is_divided, has_others = "", "", False, False
    for place, cell in enumerate(lower):
        high, low = canonical(upper[place] if place < len(upper) else ""), canonical(cell)
        if high and not (high == over and low):
            over, kind = high, ""
        joined, kind = _below(over, low, kind) if _is_over(over) else ("", "")
        is_divided = is_divided or bool(joined)
        has_others = has_others or (bool(low) and not joined and low != high)
        over = over if joined else ""
        found.append(joined or low or high)
    return DividedHeads(found, has_others) if is_divided else None


def _is_over(over: str) -> bool:
    return bool(over) and len(over) <= _LONGEST and is_of_awards(over)


def _below(over: str, low: str, kind: str) -> tuple[str, str]:
    """Return the heading of a cell below decorations, and what it has; empty for a cell that says neither."""
    key = heading_key(low)
    if key in _DAYS:  # the day of what stands before it
        return (f"{over} ({kind}) {low}" if is_asked(f"{over} {kind}") else _DAY), kind
    if key in _CLASSES and not is_asked(over):  # with one day each; a single one may be the last of several
        return (f"{_CLASS} ({over})" if LATEST.search(over) else _CLASS), low
    if key in _CLASSES | _WHOLE or (low and len(low) <= _LONGEST and (is_asked(low) or LATEST.search(low))):
        return f"{over} ({low})", low
    return "", kind


def former_place(heads: Sequence[str]) -> int | None:
    """Return the column of the decorations from before, such as (เดิม), if it stands beside proposed ones."""
    plain = [canonical(head) for head in heads]
    former = [place for place, head in enumerate(plain) if is_of_awards(head) and _FORMER.search(head)]
    asked = any(len(head) <= _LONGEST and _BEGINS.match(head) and is_asked(head) for head in plain)
    return former[0] if asked and len(former) == 1 else None


def lacks_days(sheet: Sheet, place: int | None) -> bool:
    """Return whether no cell of a column of decorations has a day or year."""
    rows = itertools.islice(sheet.rows(), _MOST_ROWS if place is not None else 0)
    return place is not None and not any(
        place < len(row.cells) and _DATED.search(canonical(row.cells[place])) for row in rows
    )
