"""Words in headings of decorations that say which of them a column has: the proposed one, or only the last one."""

import re

_THIS = (
    r"(?<!ก่อน)(?<!ก่อนถึง)(?<!จนถึง)(?<!ถึง)(?<!ไม่รวม)(?<!ไม่นับ)(?<!ก่อนการ)"
    "(?<!ก่อนขอ)(?<!ก่อนการขอ)(?<!ก่อนเสนอขอ)(?<!ก่อนเสนอ)(?<!ก่อนขอพระราชทาน)"
    "(?:ครั้ง|ปี|รอบ|คราว|งวด|วาระ|ครา)(?:ปัจจุบัน)?นี้|"
    "(?<!ไป)(?<!ไป )(?<!ถึง)(?<!-)(?<!- )ใหม่|ต่อไป|ถัดไป|(?<!ผู้)(?<!ผู้มี)สิทธิ|แผน|คาด|(?<!ผู้)ยื่น|พิจารณา|เห็นควร|"
    "สมควร|ควร(?:จะ)?(?:ได้|ขอ)|เลื่อน|รอ(?=ประกาศ|รับ|ผล|พระราชทาน|การ)|ที่ส่ง|(?:จะ|พึง)ได้|เข้าเกณฑ์|เข้าข่าย|"
    r"\b(?<!before )(?<!until )this (?:year|time|round)\b|"
    r"\b(?:expected|new|due|eligible|planned|recommended|nominated|nomination|pending|upcoming|candidate|applied)\b"
)
THIS_TIME = re.compile(_THIS, re.IGNORECASE)
"""Of decorations: those of this round, which are proposed and not held; not those from before it (ก่อนครั้งนี้)."""
HIGHEST = re.compile("(?<!จาก)(?<!จากชั้น)(?<!ไป)(?<!ไปชั้น)(?:สูงสุด|สูงที่สุด)(?!(?:ไป| ?-))|highest", re.IGNORECASE)
"""Of decorations: only the highest class."""
LATEST = re.compile(
    rf"(?<!จาก)(?<!ถึง)(?:ล่าสุด|สุดท้าย|หลังสุด)|ปัจจุบัน|ครั้ง(?:ที่แล้ว|ก่อน)|{HIGHEST.pattern}|\b(?:last|latest|current)\b",
    re.IGNORECASE,
)
"""Of decorations: only the last one, or the highest class, which is the last as classes are received upwards."""
_UNCLEAR = re.compile(
    r"(?<!\d)(?:2[45]\d\d|19\d\d|20\d\d)(?!\d)|แรก|เกณฑ์|^[^ก-ฮ]*(?:ตระกูล)?(?:ช้างเผือก|มงกุฎไทย|เหรียญ\S*)[^ก-ฮ]*$|\bfirst\b",
    re.IGNORECASE,
)
_ONLY_DATED = re.compile(r"ณ|ถึง|ข้อมูล|ก่อน|เช่น|ตัวอย่าง|ตั้งแต่|as of|until|before|e\.g", re.IGNORECASE)
_AWARD = re.compile(
    r"\W*(?:ประวัติ)?(?:การ)?(?:ได้รับ|รับ)?(?:ชั้น|ตรา|เครื่องราช|อิสริยาภรณ์)|"
    r"\W*(?:(?:last|latest|current)[_ ]?)?(?:insignia|awards?|decorations?(?!_))",
    re.IGNORECASE,
)


def is_of_awards(heading: str) -> bool:
    """Return whether a heading begins with a word for decorations, so that its remarks say which of them it has."""
    return _AWARD.match(heading) is not None


def is_unclear(remark: str) -> bool:
    """Return whether a remark names one year or order, so that the decorations may be only those, or proposed ones."""
    return _UNCLEAR.search(remark) is not None and _ONLY_DATED.search(remark) is None
