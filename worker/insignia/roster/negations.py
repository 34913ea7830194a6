"""Recognises the many ways to say that nothing is on file: no penalty, no leave, no resignation.

A phrase counts only if it is understood as a whole and names what there is none of. "No data" and "not in the office"
say something else, so they are left to a reviewer.
"""

import re

from worker.insignia.roster.thai import canonical

_NO = (
    "(?:ยัง)?(?:ไม่มี|ไม่เคย|ไม่ได้|ไม่ถูก|ไม่โดน|ไม่อยู่|ไม่ปรากฏ|ไม่พบ|"
    "ไม่(?=ต้อง(?:โทษ|คดี|หา)|ขาด(?:งาน|ราชการ)|ทิ้งงาน|ทุจริต)|มิได้|มิเคย)"
)
_MATTERS = (
    "ลงโทษ|โทษ|วินัย|สอบสวน|ความผิด|กระทำผิด|กระทำความผิด|คดีความ(?!ผิด)|คดี|อาญา|จำคุก|ข้อร้องเรียน|ร้องเรียน|ตั้งกรรมการ|ข้อกล่าวหา|กล่าวหา|ข้อหา|มลทิน|มัวหมอง|"
    "ว่ากล่าวตักเตือน|ตักเตือน|ข้อตำหนิ|ตำหนิ|ทุจริต|ขาดงาน|ขาดราชการ|ทิ้งงาน|เสียหาย|ลาศึกษาต่อ|ลาศึกษา|ลาติดตามคู่สมรส|ลาคลอด|ลาป่วย|ลากิจ|การลา|วันลา|ลา|พักราชการ|เรียกคืน"
)
_NOUNS = "โทษ|วินัย|อาญา|คดีความ(?!ผิด)|คดี|ความผิด|มลทิน|มัวหมอง|ข้อหา"
"""Matters that say more of the one before them, or stand beside it in a list; others may be what did happen."""
_NOT_LEAVE = "".join(f"(?<!{end})" for end in ("ลา", "ศึกษา", "ศึกษาต่อ", "คู่สมรส", "คลอด", "ป่วย", "กิจ"))
"""Directly after leave, such a matter says nothing more of it: it is what did happen."""
_FILLERS = (
    "เคย|ถูก|ต้อง|ได้รับ|รับ|มี|อยู่|ในระหว่าง|ใน|ระหว่าง|การ|ข้อมูล|เรื่อง|กรณี|ทาง|ร้ายแรง|ดำเนินการ|ดำเนิน|ผิด|"
    "เครื่องราชอิสริยาภรณ์|เครื่องราชฯ|เครื่องราช|หรือ|ใดๆ|ใด|เลย"
)
_AFTER = "ข้อมูล|เรื่อง|(?:อย่าง)?ร้ายแรง|การ|ผิด|เครื่องราชอิสริยาภรณ์|เครื่องราชฯ|เครื่องราช|ใดๆ|ใด|เลย|ทั้งสิ้น|มาก่อน|แต่อย่างใด"
"""Words that may follow a matter; any other one, such as มี or ถูก, may begin what the denial does not reach."""
_BEFORE = f"(?:{_FILLERS}|ประวัติ)*+"  # possessive, as some of these words are also two others of them
_NEXT = (
    f"(?:{_AFTER})*+(?:หรือ{_BEFORE}(?:{_MATTERS})|และ(?:ทาง|เรื่อง|กรณี)*+(?:{_NOUNS}))|"
    f"{_NOT_LEAVE}(?:(?:{_AFTER})*+(?:ทาง|กรณี|เรื่อง)++|(?:ผิด)?)(?:{_NOUNS})|(?<=โทษ)จำคุก|(?<=กรรมการ)สอบสวน|(?<=กล่าวหา)กระทำ(?:ความ)?ผิด|(?<=สอบสวน)และลงโทษ"
)
_PHRASE = re.compile(
    f"{_NO}{_BEFORE}(?:{_MATTERS}|ประวัติ)(?:{_NEXT})*+(?:{_AFTER})*+|{_NO}ประวัติ|(?:ยัง)?ไม่ลา(?:ใดๆ|เลย)?"
)
_SHORT = re.compile("(?:ยัง)?(?:ไม่มี|ไม่เคย|ไม่เคยมี|ไม่เคยถูก|ไม่ปรากฏ|ไม่พบ|มิได้มี|มิเคย)|0(?:ครั้ง|วัน|เรื่อง)")
_NORMAL = frozenset({"ปกติ", "ปรกติ", "สถานะปกติ", "ปฏิบัติงานปกติ", "ปฏิบัติราชการ", "ปฏิบัติราชการปกติ", "ปฏิบัติงาน", "มาปฏิบัติราชการ"})
_NORMAL |= {"มีชีวิตอยู่", "มีชีวิต", "อยู่ในราชการ", "รับราชการ", "รับราชการอยู่", "ยังรับราชการ", "ยังรับราชการอยู่", "ประจำการ"}
_NORMAL_ENGLISH = frozenset(
    {"normal", "clean", "no record", "no records", "no penalty", "no penalties", "no leave", "nil", "never"}
    | {"not on leave", "active", "working"}
)
_AND = re.compile(r"[,;/]|\.(?=[ก-๎])|(?:และ|หรือ)(?=(?:ยัง)?(?:ไม่|มิ))")
_GOES_ON = "และ|หรือ|ทาง|กรณี|เรื่อง|(?:อย่าง)?ร้ายแรง|เครื่องราช|ใด|ๆ|เลย|ทั้งสิ้น|มาก่อน|แต่อย่างใด"
_ANEW = re.compile(
    f"(?:(?:{_MATTERS})(?:{_AFTER})*+ (?!{_GOES_ON})|"
    "(?:มี|พบ|ปรากฏ) (?!โทษ|ความผิด|คดี|มลทิน|ข้อ|ประวัติ|การ|เรื่อง|กรณี|ๆ)|เคย (?=อยู่|ใน|ระหว่าง))(?=[ก-๎])"
)
"""The end of a denial before a space: what follows may be another sentence, which the word for "not" does not reach."""
_CLAUSE_END = re.compile("[ ,;/]+|และ(?=(?:ยัง)?ไม่)")
_AROUND = " -–.*()[]\"'"

_LEAVING = "ลาออกจากราชการ|ลาออก|ออกจากราชการ|พ้นจากราชการ|พ้นราชการ|พ้นจากตำแหน่ง|พ้น|ออก|โอน|เกษียณ"
_IN_OFFICE = re.compile(
    f"(?:ยัง)?(?:ไม่มี|ไม่เคย|ไม่ได้|มิได้|ไม่)(?:การ|เคย|ได้)?(?:{_LEAVING})|"
    "(?:ถึง)?ปัจจุบัน|(?:ยัง)?(?:คง)?(?:รับราชการ|ปฏิบัติราชการ|ปฏิบัติงาน|ปกติ)(?:อยู่)?(?:ปกติ|ถึงปัจจุบัน)?|present|active"
)


def says_nothing(text: str) -> bool:
    """Return whether the words say that there is nothing on file, such as ไม่เคยถูกลงโทษทางวินัย or ปกติ."""
    plain = canonical(text).lower().strip(_AROUND)
    if plain in _NORMAL_ENGLISH:
        return True
    parts = _AND.split(_ANEW.sub(r"\g<0>,", plain).replace(" ", ""))
    return all(_is_negative(part.replace(".", "").strip(_AROUND)) for part in parts)


def without_denials(text: str) -> str:
    """Return the words without the clauses that only deny something by name, such as ไม่เคยถูกลงโทษทางวินัย."""
    clauses = _CLAUSE_END.split(canonical(text))
    return " ".join(clause for clause in clauses if not _PHRASE.fullmatch(clause.strip(_AROUND)))


def is_in_office(text: str) -> bool:
    """Return whether a cell for the day of leaving says that the officer has not left, such as ยังไม่ลาออก."""
    word = canonical(text).lower().strip(_AROUND).replace(" ", "")
    return _IN_OFFICE.fullmatch(word) is not None


def _is_negative(word: str) -> bool:
    return word in _NORMAL or any(pattern.fullmatch(word) is not None for pattern in (_PHRASE, _SHORT))
