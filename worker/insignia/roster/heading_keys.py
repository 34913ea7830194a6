"""The forms in which headings are compared."""

import re
from functools import lru_cache

from worker.insignia.roster.award_words import LATEST, THIS_TIME, is_of_awards, is_unclear
from worker.insignia.roster.thai import canonical

_JOINTS = re.compile(r"[\s_\-./:*\"'“”,;|ฯ]+")
_BRACKETS, _MARKS = re.compile(r"\([^()]*\)|\[[^\[\]]*\]"), re.compile(r"[()\[\]]")
OTHER_PERSONS = "คู่สมรส|สามี|ภรรยา|ภริยา|บิดา|มารดา|บุตร"
"""Relatives of the officer, whose values are not the officer's."""
_PERSON = re.compile(rf"{OTHER_PERSONS}|\b(?:spouse|husband|wife|father|mother)\b", re.IGNORECASE)
_ASKED = re.compile(
    r"(?<!ผู้)(?<!ผู้เสนอ)ขอ(?!ง|บ|น|ให้|เป็น)|(?<!ผู้)เสนอ|(?:จะ|ควร|พึง|(?<!ถ้า)(?<!หาก)(?<!ถ้ายัง)(?<!หากยัง)ไม่)ได้รับ|"
    r"\b(?:proposed|requested)\b",
    re.IGNORECASE,
)
"""A proposal; not who makes it (ผู้ขอ), nor a request to the user (ขอให้ตรวจ)."""
_ON_REQUEST_DAY = re.compile("ณ ?(?:วัน|ปี)(?:ที่)? ?(?:เสนอ)?ขอ(?:พระราชทาน)?")
_OTHER_TIME = re.compile(
    "เดิม|ก่อน(?!ส่ง|หัก|ไปหลัง)|ย้อนหลัง|เก่า(?! ?(?:ไป|ถึง|-))|ที่จะ|ขั้นต่ำ|ขั้นสูง|เต็มขั้น|ต่อปี|กลับ|(?<!ลูกจ้าง)ชั่วคราว|การศึกษา|ถัดไป|"
    r"\b(?:previous|old|former|next|annual|per year|minimum|maximum)\b",
    re.IGNORECASE,
)
_AT_FIRST = re.compile("แรกบรรจุ|ที่บรรจุ")
_BEGINNING = re.compile("บรรจุ|รับราชการ")
"""Headings of the beginning of service, which is what `_AT_FIRST` says."""
_ANY_TIME = re.compile("วินัย")
"""Penalties count whenever they were."""
_HELD = re.compile(r"(?<!จะ)(?<!ควร)(?<!พึง)(?<!ไม่)ได้รับ(?!การเสนอ)|มีอยู่|\bheld\b|\breceived\b", re.IGNORECASE)
_NOW = re.compile("ปัจจุบัน|current", re.IGNORECASE)
_ONLY_LAST = "ชั้นตราล่าสุด"
"""The heading that stands for all those whose remark says that a column only has the last decoration."""


@lru_cache(1 << 12)
def heading_key(heading: str) -> str:
    """Return the form that all spellings of a heading share: no case, spaces or punctuation, one Thai spelling."""
    return _JOINTS.sub("", canonical(heading).lower()).removesuffix(")").removesuffix("(")


@lru_cache(1 << 12)
def heading_keys(heading: str) -> tuple[str, ...]:
    """Return the keys under which a heading may be known: whole, without brackets, and without what is in them.

    The last one is left out if the remark in brackets says that the column is about something else. For decorations of
    which a column only has the last one, it is another heading.
    """
    plain = canonical(heading)
    texts = [plain, _MARKS.sub(" ", plain)] if "(" in plain or "[" in plain else [plain]
    if not is_about_other(plain):
        texts.append(_ONLY_LAST if _is_last(plain) else _BRACKETS.sub(" ", plain))
    return tuple(dict.fromkeys(map(heading_key, texts)))


def bare_key(heading: str) -> str:
    """Return the key of a heading without its remarks in brackets, whatever they say."""
    return heading_key(_BRACKETS.sub(" ", canonical(heading)))


def _is_last(plain: str) -> bool:
    remarks = _BRACKETS.findall(plain)
    return bool(remarks) and is_of_awards(plain) and any(map(LATEST.search, remarks))


def has_unclear_awards(heading: str) -> bool:
    """Return whether a remark in brackets leaves open which decorations a column has, such as (ปี 2569)."""
    plain = canonical(heading)
    return is_of_awards(plain) and any(map(is_unclear, _BRACKETS.findall(plain)))


def is_proposed(plain: str) -> bool:
    """Return whether a remark in brackets says that a column has the decorations of this round."""
    return is_of_awards(plain) and any(map(THIS_TIME.search, _BRACKETS.findall(plain)))


def is_about_other(plain: str) -> bool:
    """Return whether a remark in brackets says that a column is about other values than its name, such as (ที่ขอ)."""
    remarks = _BRACKETS.findall(plain)
    bare = _BRACKETS.sub(" ", plain)[:300] if remarks else ""  # of a heading of any length, this would take too long
    return any(_is_other(remark, bare) for remark in set(remarks))


def _is_other(remark: str, bare: str) -> bool:
    if _PERSON.search(remark):
        return True
    remark = _ON_REQUEST_DAY.sub(" ", remark)
    if is_of_awards(bare) and THIS_TIME.search(remark):
        return True
    if _HELD.search(remark):
        return False
    if _ASKED.search(remark):
        return True
    if _NOW.search(remark) or _ANY_TIME.search(bare) or (_HELD.search(bare) and "ครั้ง" not in remark):
        return False
    return bool(_OTHER_TIME.search(remark) or (_AT_FIRST.search(remark) and not _BEGINNING.search(bare)))
