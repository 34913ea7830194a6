"""The forms in which headings are compared."""

import re
from functools import lru_cache

from worker.insignia.roster.thai import canonical

_JOINTS = re.compile(r"[\s_\-./:*\"'“”,;|ฯ]+")
_BRACKETS, _MARKS = re.compile(r"\([^()]*\)|\[[^\[\]]*\]"), re.compile(r"[()\[\]]")
_OTHER_VALUES = re.compile(
    "ขอ(?![งบน])|เสนอ|คู่สมรส|บิดา|มารดา|บุตร|เดิม|ก่อน|ย้อนหลัง|เก่า|แรกบรรจุ|ที่บรรจุ|ที่จะ|ขั้นต่ำ|ขั้นสูง|เต็มขั้น|"
    "ต่อปี|กลับ|ชั่วคราว|การศึกษา|ถัดไป|"
    r"\b(?:spouse|father|mother|previous|old|former|next|proposed|requested|annual|per year|minimum|maximum)\b",
    re.IGNORECASE,
)
"""Of a proposal, of another person, or of another time."""
_OWN_VALUES = re.compile("ได้รับ|มีอยู่|ปัจจุบัน|held|current|received", re.IGNORECASE)


@lru_cache(1 << 12)
def heading_key(heading: str) -> str:
    """Return the form that all spellings of a heading share: no case, spaces or punctuation, one Thai spelling."""
    return _JOINTS.sub("", canonical(heading).lower()).removesuffix(")").removesuffix("(")


@lru_cache(1 << 12)
def heading_keys(heading: str) -> tuple[str, ...]:
    """Return the keys under which a heading may be known: whole, without brackets, and without what is in them.

    The last one is left out if the remark in brackets says that the column is about something else.
    """
    plain = canonical(heading)
    texts = [plain, _MARKS.sub(" ", plain)] if "(" in plain or "[" in plain else [plain]
    if not is_about_other(plain):
        texts.append(_BRACKETS.sub(" ", plain))
    return tuple(dict.fromkeys(map(heading_key, texts)))


def is_about_other(plain: str) -> bool:
    """Return whether a remark in brackets says that a column is about other values than its name, such as (ที่ขอ)."""
    remarks = _BRACKETS.findall(plain)
    return any(_OTHER_VALUES.search(remark) and not _OWN_VALUES.search(remark) for remark in remarks)
