"""Reads columns of a history file that no field uses for words that a decoration is not, or no longer, held.

A decoration that was given back because of a higher class counts as received. One that was recalled, cancelled or only
proposed does not, and what else a remark of this kind means is left to a reviewer.
"""

import re

from worker.insignia.roster.cells import normalize
from worker.insignia.roster.negations import says_nothing
from worker.insignia.roster.side_columns import SideKind
from worker.insignia.roster.thai import CACHE

_TAKEN = "เรียก(?:ฐานันดร|เครื่องราช[^ ]*)?คืน|ยกเลิก|เพิกถอน|ถอดถอน|ถอนคืน|(?<!บ)ริบ|cancel|revok|recall|withdr|annul"
_ANYWHERE = re.compile(_TAKEN, re.IGNORECASE)
_IN_REMARKS = re.compile(
    f"{_TAKEN}|ถอน|ไม่|มิได้|รอ(?![บงยก])|เสนอ|ขอ(?![งนบ])|สละ|ระหว่าง|ผิด|ซ้ำ|งด|ชะลอ|pending|propos|request|"
    r"\bnot\b|error|wrong|void|duplicate|declin|refus",
    re.IGNORECASE,
)
_KEPT_BACK = re.compile(
    "(?:(?:ยัง)?(?:ไม่|มิ)(?:มี|ได้|ต้อง|การ)*|รอ(?:การ)?)(?:ส่ง|นำส่ง)?(?:มอบ)?คืน(?:เครื่องราช(?:อิสริยาภรณ์|ฯ|ย์)?)?|(?:ไม่มี|ไม่ปรากฏ)หมายเหตุ"
)
"""The insignia of a lower class are to be given back, or are not yet; or there is nothing to remark."""
_GIVEN_BACK = re.compile("คืน|return", re.IGNORECASE)
_NO = frozenset({"0", "0.0", "false", "no", "n", "f", "ไม่", "ไม่ใช่", "ไม่เคย"})


def doubts_award(kind: SideKind, text: str) -> bool:
    """Return whether a cell may say that the decoration of its line is not held."""
    plain = normalize(text)
    if not plain or plain.lower() in _NO or says_nothing(plain):
        return False
    if kind is SideKind.EXCLUSION:
        return True
    words = _IN_REMARKS if kind is SideKind.REMARK else _ANYWHERE
    return words.search(_KEPT_BACK.sub(" ", plain)) is not None


def names_taking(head: str) -> bool:
    """Return whether a heading alone says that a decoration was taken back, such as revoked or ยกเลิก."""
    return _ANYWHERE.search(head) is not None


class RemarkTexts(dict[str, str]):
    """The texts of a column of a history to the code of the notice about them; empty if there is none."""

    def __init__(self, kind: SideKind) -> None:
        super().__init__()
        self._kind = kind

    def __missing__(self, text: str) -> str:
        code = ""
        if doubts_award(self._kind, text):
            code = "history_doubted"
        elif self._kind is SideKind.REMARK and _GIVEN_BACK.search(_KEPT_BACK.sub(" ", normalize(text))):
            code = "history_given_back"
        if len(self) < CACHE:
            self[text] = code
        return code
