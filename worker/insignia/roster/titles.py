"""Judges the text of a title between the officers of a sheet: what it says of the officers below it.

A title is neutral only if it is understood: names of offices and posts may go on freely, words about people may not.
"""

import re
from collections.abc import Container, Sequence
from datetime import date
from enum import Enum
from functools import lru_cache

from worker.insignia.roster.side_columns import HAPPENED, LEAVING, NOT_PROPOSED, SideKind, excludes
from worker.insignia.roster.table import UNKNOWN
from worker.insignia.roster.thai import CACHE, canonical
from worker.insignia.roster.title_words import (
    COURT,
    EXCEPT,
    EXCLUDING,
    FACT_APART,
    HEADS,
    HOLDERS,
    INCLUDING,
    KNOWN_WORDS,
    NAMES_OFFICE,
    PEOPLE,
    PERSON,
    POST_FACT,
    PROPER_NAME,
    SAYS_NOTHING,
    UNREAD,
)


class TitleKind(Enum):
    """What a title says of the officers below it."""

    NEUTRAL = "neutral"
    INCLUDED = "included"
    """They belong to the roster: an exclusion ends here."""
    EXCLUDED = "excluded"
    UNCLEAR = "unclear"


_MOST_CELLS = 2
"""Cells that a title may have; a row with more is a person without data, or the numbers of the columns."""
_LONGEST = 300
"""Characters of a title whose words about people are read, and of a total; some patterns take long over more."""
_NUMBERING = re.compile(
    r"^(?:[(\[]?(?!อ\.[ก-ฮเ-ไ])(?:\d+(?:[./]\d+)*|[ก-ฮA-Za-z])[.)\]]+ ?|[-–•*#]+ ?|"
    r"(?:ส่วน|กลุ่ม|ตอน|หมวด|ชุด|ฉบับ|บัญชี)ที่ ?\d+ ?[.:)-]* ?)+"
)
_EMPTY_LIST = re.compile(r"(?:.*[\s:(\[-])?(?:ไม่มี|none|nil)[\s)\]*.-]*", re.IGNORECASE)
_TOTAL = re.compile("รวม|ยอด|จำนวน|total|sum|ลงชื่อ|ลงนาม|หมายเหตุ|คำชี้แจง|คำอธิบาย", re.IGNORECASE)
_SUM = re.compile(r"(?:รวม(?!รายชื่อ)|ยอด|total|sum)[^()]*?\d+ ?(?:คน|ราย|นาย|อัตรา|persons?|people)\W*", re.IGNORECASE)
_SIGNATURE = re.compile(r"[(\[]*+(?:ลงชื่อ|ลงนาม)")
_NAME = re.compile(rf"[(\[]*+(?>{PERSON})(?!และ|หรือ|ที่|ซึ่ง|ผู้|{HEADS})", re.IGNORECASE)
_POST_LEFT = re.compile(f"{HOLDERS}(?:{LEAVING}|{HAPPENED}|{NOT_PROPOSED}|{EXCLUDING.pattern})", re.IGNORECASE)
_HOLDERS = re.compile(HOLDERS, re.IGNORECASE)
_ONLY_POST = re.compile("นาย(?:อำเภอ|ทะเบียน|ด่าน|สถานี|ไปรษณีย์|ทหาร|ตำรวจ|ตรวจ|เวร(?![ก-๎]))")
"""Posts of which no name of a person is the rest."""
_REQUEST = re.compile("(?:บัญชี|แบบ|รายงาน|ตาราง|ทะเบียน|สรุป).*(?:ขอ|เสนอ)พระราชทาน")
_PAGE = re.compile(r"\d+ ?(?:จาก|of|/) ?\d+", re.IGNORECASE)
_LOG_OUT = re.compile(r"\W*ออกจากระบบ\W*")
"""A control of a web page; in any longer title, these words say that officers have left."""
_PAGE_NUMBER = re.compile(r"\W*(?:หน้า|แผ่น|page)(?:ที่)? ?\d|\W*\(?(?:มี)?ต่อ(?![\wก-๎])", re.IGNORECASE)
_LETTER = re.compile(r"[^\W\d_]")
_COUNT = re.compile(r"[(\[]*(?:รวม|จำนวน)?[\s:]*[(\[]*\d+ ?(?:คน|ราย|นาย|อัตรา)[\s)\].]*|\W*")


def is_single(cells: Sequence[str]) -> bool:
    """Return whether a row has one text and nothing else, or a total or signature of two parts."""
    found = texts_of(cells)
    return len(found) == 1 or (len(found) <= _MOST_CELLS and _TOTAL.match(" ".join(found)) is not None)


def texts_of(cells: Sequence[str]) -> list[str]:
    """Return the different texts of a row in canonical form."""
    return list(dict.fromkeys(canonical(cell) for cell in cells if cell.strip() not in ("", UNKNOWN)))


def title_of(cells: Sequence[str]) -> str:
    """Return the text of a row that may be a title; empty for any other row."""
    found = texts_of(cells)
    if len(found) > _MOST_CELLS:
        found = [text for text in found if len(text) > _LONGEST or not _COUNT.fullmatch(text)]
    return " ".join(found) if len(found) <= _MOST_CELLS else ""


def excluding_cell(cells: Sequence[str], heads: Container[str]) -> str:
    """Return the text of a wide row that excludes officers, if that is not a heading; "" for a total or a person."""
    found = texts_of(cells)
    if not found or _TOTAL.match(found[0]) or any(map(_is_name, found)):
        return ""
    return next((text for text in found if text not in heads and judge(text) is TitleKind.EXCLUDED), "")


@lru_cache(CACHE)
def judge(title: str, birth: date | None = None) -> TitleKind:
    """Return what a title in canonical form says; `birth` is that of an officer below it."""
    if not _LETTER.search(title) or _PAGE.fullmatch(title) or _LOG_OUT.fullmatch(title):
        return TitleKind.NEUTRAL
    plain = _NUMBERING.sub("", EXCEPT.sub(" ", title)).strip()
    if _is_name(plain) or _SIGNATURE.match(plain) or _is_sum(plain) or COURT.fullmatch(plain):
        return TitleKind.NEUTRAL
    speaks = _speaks_of_exclusion(plain, birth)
    if _TOTAL.match(plain):
        return TitleKind.UNCLEAR if speaks else TitleKind.NEUTRAL
    if _EMPTY_LIST.fullmatch(plain):
        return TitleKind.INCLUDED
    if speaks:
        return TitleKind.EXCLUDED
    if UNREAD.search(plain):
        return TitleKind.UNCLEAR
    if INCLUDING.search(plain):
        return TitleKind.INCLUDED
    return TitleKind.NEUTRAL if _says_nothing(plain) else TitleKind.UNCLEAR


def names_part(title: str) -> bool:
    """Return whether a neutral title begins another part of the roster; a page, a total or a signature does not."""
    plain = _NUMBERING.sub("", title).strip()
    is_beside = any(pattern.match(plain) for pattern in (_SIGNATURE, _TOTAL, _PAGE, _PAGE_NUMBER, _LOG_OUT))
    return _LETTER.search(title) is not None and not is_beside and not _is_name(plain)


def is_request(title: str) -> bool:
    """Return whether a title is that of the whole report, which proposes its officers, and not of a part of them."""
    return _REQUEST.match(title) is not None


def names_people(title: str) -> bool:
    """Return whether a title speaks of people, so that it is about the officers below it."""
    return PEOPLE.search(title) is not None or "ข้าราชการ" in title


def _is_name(plain: str) -> bool:
    # Some posts begin like the title of a name; what has happened directly follows the post, but not a name.
    is_post = POST_FACT.match(plain) or _POST_LEFT.match(plain) or _is_post(plain)
    return _NAME.match(plain) is not None and not is_post


def _is_post(plain: str) -> bool:
    """Return whether a text that begins like a name is a post with its office, such as นายแพทย์โรงพยาบาลกลาง."""
    if _ONLY_POST.match(plain):
        return True
    post = _HOLDERS.match(plain)
    return post is not None and post.end() > 0 and PROPER_NAME.match(plain, post.end()) is not None


def _is_sum(plain: str) -> bool:
    return len(plain) <= _LONGEST and _SUM.fullmatch(plain) is not None


def _speaks_of_exclusion(plain: str, birth: date | None) -> bool:
    # An office may deal with discipline or lawsuits.
    is_office = NAMES_OFFICE.match(plain) is not None and PEOPLE.search(plain) is None
    kind = SideKind.SHEET if is_office else SideKind.REMARK
    is_fact = any((POST_FACT.match(plain), FACT_APART.search(plain), EXCLUDING.search(plain)))
    return is_fact or excludes(kind, plain, birth)


def _says_nothing(plain: str) -> bool:
    """Return whether a title only names an office, post, group or report, and all words about people are known."""
    if not plain:
        return True
    if not SAYS_NOTHING.match(plain):
        return False
    if len(plain) > _LONGEST:
        return PEOPLE.search(plain) is None  # a text of any length would take too long
    return all(_is_known(plain[found.start() :]) for found in PEOPLE.finditer(plain))


def _is_known(words: str) -> bool:
    """Return whether words about people are known up to their end, or up to the name of an office or person."""
    head = KNOWN_WORDS.match(words)
    rest = words[head.end() :] if head is not None else words
    return not rest or PROPER_NAME.match(rest) is not None
