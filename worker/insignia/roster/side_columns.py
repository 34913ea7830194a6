"""Reads columns that no field uses for words about what excludes an officer: remarks, a second column of penalties.

A roster with a column of penalties may still say in another one, such as หมายเหตุ, that the officer has resigned.
What such a cell says is left to a reviewer.
"""

import re
from collections.abc import Iterator
from datetime import date, timedelta
from enum import Enum

from worker.insignia.buddhist_year import BE_OFFSET
from worker.insignia.retirement import retirement_day
from worker.insignia.roster.cells import FIRST_BUDDHIST_YEAR, normalize
from worker.insignia.roster.negations import is_in_office, says_nothing, without_denials


class SideKind(Enum):
    """What a column that no field uses is about."""

    ABOUT = "about"
    """Who the officer is: words in brackets behind a name or a level count."""
    FREE = "free"
    """Anything, and post and office: cells that begin with a word for leaving, or have it in brackets, count."""
    REMARK = "remark"
    """Remarks: cells that contain any word about an exclusion count."""
    SHEET = "sheet"
    """The name of a sheet: words for what has happened count, not the name of an office that deals with penalties."""
    RETIREMENT = "retirement"
    """Retirement: cells count that do not agree with the birth date."""
    EXCLUSION = "exclusion"
    """Penalties, leave or leaving, beside the column for it: any entry counts."""


LEAVING = (
    "ลาออก|เกษียณ|ถึงแก่(?:กรรม|ชีวิต|ความตาย|ชีพ)|อนิจกรรม|อสัญกรรม|เสียชีวิต|สิ้นชีวิต|สิ้นชีพ|วายชนม์|ล่วงลับ|ตาย(?!าย)|มรณ|ให้ออก|ไล่ออก|ปลดออก|ออกจากราชการ|พ้นจาก|พ้นสภาพ|พ้นราชการ|"
    "พักราชการ|พักงาน|โอน|ข้าราชการบำนาญ|ผู้รับบำนาญ|อดีต|เลิกจ้าง|(?:สิ้นสุด|จบ)(?:การ(?:จ้าง|ปฏิบัติ|เป็น)|สัญญา|วาระ|สภาพ|ความเป็น)|"
    "ขาดราชการ|ละทิ้ง|สาบสูญ|retire|resign|died|dead|decease|death|transfer|suspend|"
    "dismiss|terminat|expelled|laid off"
)
_OWN_LEAVE = "(?<!เว)(?<!ศา)ลา"
"""Leave, not the end of เวลา (time) or ศาลา (hall)."""
_DURING_LEAVE = "ระหว่างลา(?!ว(?![ิัี])|ด(?![ู้])|น(?!า))"
"""Not between Laos and another country, nor a place such as Lat Phrao and another one."""
_NOT_DUTY = "".join(f"(?<!{word}{more})" for word in ("ปราบ", "ปราม", "ต้าน", "ป้องกัน", "ระวัง") for more in ("", "การ"))
"""Not what an office acts against."""
_OTHER = (
    f"ก่อนกำหนด|สอบสวน|วินัย|โทษ|ภาคทัณฑ์|ตัดเงินเดือน|ลดเงินเดือน|ลดขั้น(?!ตอน)|จำคุก|อาญา|คดี|ฟ้อง|ล้มละลาย|{_OWN_LEAVE}ศึกษา|ศึกษาต่อ|ลาติดตาม|"
    f"ติดตามคู่สมรส|เรียกคืน|ติดคุก|ทัณฑ์บน|ประพฤติ(?:ชั่ว|ผิด|มิชอบ)|{_OWN_LEAVE}(?:เรียน|บวช|อุปสมบท|ไม่รับ|เลี้ยงดู|ฝึก|ไปปฏิบัติ)|{_DURING_LEAVE}|สัญชาติ|ไม่ขอรับ|ไม่ประสงค์|สละสิทธิ์|ขาดคุณสมบัติ|งดเสนอ|ไม่เสนอ|penalt|disciplin|investigat|"
    "ร้องทุกข์กล่าวโทษ|(?<!รับเรื่อง)(?<!รับเรื่องราว)ร้องเรียน|กล่าวหา|ข้อหา|ต้องหา|มลทิน|มัวหมอง|"
    "คำพิพากษา|จำเลย|จับกุม|ประกันตัว|(?:(?<!ผู้)ต้อง|คุม|กัก)ขัง|"
    "(?:ระหว่าง|ยื่น|ขอ)(?:การ)?อุทธรณ์|(?:หนี|ทิ้ง|ขาด)(?:งาน|หน้าที่|ราชการ)|หลบหนี|ตักเตือน|ตำหนิ|ลด(?:ตำแหน่ง|ระดับ)|"
    f"{_NOT_DUTY}ทุจริต|(?<!แต่ง)ตั้งกรรมการ|กระทำ(?:ความ)?ผิด|"
    "imprison|convict|bankrupt|study leave|on leave|recall|early"
)
HAPPENED = (
    "ผิดวินัย|จำคุก|ติดคุก|ภาคทัณฑ์|ทัณฑ์บน|รอลงอาญา|(?:มี|รับ|ต้อง|ถูกลง)โทษ|(?:มี|ติด|ต้อง)คดี|ตัดเงินเดือน|ลดขั้น(?!ตอน)|ลดเงินเดือน|"
    f"ประพฤติ(?:ชั่ว|ผิด|มิชอบ)|{_OWN_LEAVE}(?:เรียน|ศึกษา|ติดตาม)|{_DURING_LEAVE}"
)
"""Words for penalties and leave of people, which are not in the name of an office that deals with them."""
NOT_PROPOSED = (
    "ไม่(?:มีสิทธิ|มีคุณสมบัติ|มีชื่อ|อยู่ใน|เข้า(?:ข่าย|เกณฑ์|หลัก|เงื่อน)|ผ่าน|ครบ|สมควร|เห็น|อนุมัติ|เหมาะสม|ประสงค์|ถึงเกณฑ์|(?:ต้อง|ได้)?(?:เสนอ|ขอ(?!ง)))|"
    "คุณสมบัติไม่|(?:หมด|ขาด|สิ้น|ถูกตัด)สิทธิ|ชะลอ|รอ(?=การ|ผล|ตรวจ|พิจารณา|เอกสาร|ประกาศ|คำสั่ง)|ระงับ|"
    "งด(?=เสนอ|ขอ|รับ|เลื่อน|บำเหน็จ)|ตัด(?:ชื่อ|สิทธิ|ออก)|คัดออก|ถอน|ยกเลิก|ซ้ำ(?!ซ้อน)|สำรอง|"
    r"(?:ได้รับ|ขอ|เสนอ)(?:พระราชทาน)?(?: ?[ก-ฮ.]{2,7} ?)?(?:ไป)?แล้ว|"
    r"(?:ขอ|เสนอ)(?:พระราชทาน)?(?: ?[ก-ฮ.]{2,7} ?)?(?:ไป)?(?:เมื่อ|ใน)? ?(?:ปี ?พ\.ศ\.|ปี|พ\.ศ\.) ?\d{2,4} ?(?:ไป)?แล้ว|"
    "(?<!รับ)(?<!เคลื่อน)ย้าย(?! ?(?:มา|จาก(?!.{0,200}ไป)|เข้า|ภายใน))|ไปดำรง|ไปรับราชการ|"
    "not eligible|ineligible|excluded|removed|duplicate|withdrawn|cancelled"
)
"""Words for officers who are not to be proposed, or have been proposed already."""
_BEGINS = re.compile(rf"[\s(\[*-]*(?:ได้|ขอ|ถูก|สั่ง|has |was )?(?:{LEAVING}|{NOT_PROPOSED})", re.IGNORECASE)
_CONTAINS = re.compile(f"{LEAVING}|{_OTHER}|{NOT_PROPOSED}", re.IGNORECASE)
_LEAVES = re.compile(f"{LEAVING}|{HAPPENED}|{NOT_PROPOSED}", re.IGNORECASE)
_IN_BRACKETS = re.compile(rf"[(\[][^()\[\]]*(?:{LEAVING}|{NOT_PROPOSED})", re.IGNORECASE)
_CAME = re.compile(
    r"(?:รับ)?โอน[ -]?(?:ย้าย)? ?(?:มา|จาก(?!.{0,200}ไป)|เข้า(?!ไป|รับราชการ|สังกัด))|รับโอน(?! ?ไป)|"
    "transfer(?:red)? (?:in|from(?!.{0,200} to ))",
    re.IGNORECASE,
)
_HARMLESS = re.compile(
    "ไม่(?:มี|พบ|ได้)?(?:ข้อมูล|รายชื่อ|ชื่อ|คน|ที่)*ซ้ำ(?!ซ้อน)|ตรวจ(?:สอบ)?(?:ชื่อ|ความ)?ซ้ำแล้ว|"
    "ไม่มี(?:เหตุ|กรณี)(?:ที่)?(?:ต้อง|ให้|ถูก)?(?:งด|ระงับ|ชะลอ)(?:การ)?(?:เสนอ)?(?:ขอ)?(?:พระราชทาน)?|"
    r"ได้รับ(?:พระราชทาน)? ?(?:[ก-ฮ]\.){2} ?แล้ว(?= ?(?:จึง)?(?:เสนอ)?ขอ(?:พระราชทาน)? ?(?:[ก-ฮ]\.){2})"
)
"""Phrases with a word about an exclusion which they deny, and a class that is only what comes before another one."""
_HARMLESS_SHEET = re.compile(
    "(?:งาน|กลุ่ม|ฝ่าย|ส่วน|กอง)(?:[^ ]*(?:บรรจุ|แต่งตั้ง|สรรหา)(?:และ|การ|-)*|การ)?โยกย้าย|"
    "(?:ป้องกัน|ปราบปราม|ต่อต้าน|เฝ้าระวัง|(?<!มี)(?<!ติด)(?<!ต้อง)คดี)(?:การ)?(?:ทุจริต(?:และ|หรือ)?)?(?:การ)?(?:ความ)?ประพฤติมิชอบ|"
    "(?:รายชื่อ|บัญชี|ข้อมูล)[ (_-]*ตัด(?:ชื่อ)?(?:ที่)?ซ้ำ(?:ออก)?แล้ว"
)
"""Names of offices that deal with transfers or misconduct, and of lists from which repeated names were removed."""
_RETIREMENT = re.compile(r"(?:จะ|ครบ)*เกษียณ(?:อายุ)?(?:ราชการ)?|retire\w*", re.IGNORECASE)
_BRACKET = re.compile(r"[(\[（［]")
_SERIAL = re.compile(r"(\d{5})(?:\.0+)?")
_YEAR = re.compile(r"(?<!\d)\d{4}(?!\d)")
_SHORT_YEAR = re.compile(r"(?:^|(?<=[/ .-]))\d\d$")
_EPOCH = date(1899, 12, 30)


def excludes(kind: SideKind, text: str, birth: date | None) -> bool:
    """Return whether a cell of such a column may say that the officer is excluded."""
    if not text.strip() or (kind is SideKind.ABOUT and not _BRACKET.search(text)):
        return False
    plain = _CAME.sub(" ", normalize(text)).strip()
    if not _concerns(kind, plain, birth):
        return False
    return not says_nothing(plain) and not is_in_office(plain)


def _concerns(kind: SideKind, plain: str, birth: date | None) -> bool:
    claimed = _HARMLESS.sub(" ", plain)
    match kind:
        case SideKind.ABOUT:
            return _IN_BRACKETS.search(claimed) is not None
        case SideKind.FREE:
            return _BEGINS.match(claimed) is not None or _IN_BRACKETS.search(claimed) is not None
        case SideKind.REMARK | SideKind.SHEET:
            words = _CONTAINS if kind is SideKind.REMARK else _LEAVES
            claimed = without_denials(_HARMLESS_SHEET.sub(" ", claimed) if kind is SideKind.SHEET else claimed)
            is_other = words.search(_RETIREMENT.sub(" ", claimed)) is not None
            return is_other or (_RETIREMENT.search(plain) is not None and not _agrees(plain, birth))
        case SideKind.RETIREMENT:
            return bool(plain) and not _agrees(plain, birth)
    return bool(plain) and plain.lower() not in _NO


_NO = frozenset({"0", "0.0", "false", "no", "n", "f", "ไม่", "ไม่ใช่", "ไม่เคย", "[]"})


def names_leavers(sheet: str) -> bool:
    """Return whether the name of a sheet says that its officers have left, or are excluded otherwise."""
    return bool(sheet) and excludes(SideKind.SHEET, sheet, None)


def may_exclude(kind: SideKind, text: str) -> bool:
    """Return whether a cell may exclude any officer, whenever born."""
    return excludes(kind, text, None)


def _agrees(plain: str, birth: date | None) -> bool:
    """Return whether words about retirement name the year in which the officer retires by the birth date."""
    if birth is None:
        return False
    by_birth = retirement_day(birth).year
    # practice may count the 60th birthday of officers born on 1 October one day earlier
    accepted = {by_birth, by_birth - 1} if (birth.month, birth.day) == (10, 1) else {by_birth}
    years = set(_years(plain))
    return bool(years) and years <= accepted


def _years(plain: str) -> Iterator[int]:
    if match := _SERIAL.fullmatch(plain):
        yield (_EPOCH + timedelta(days=int(match[1]))).year
        return
    found = _YEAR.findall(plain) or [f"25{short}" for short in _SHORT_YEAR.findall(plain)]
    for year in map(int, found):
        yield year - BE_OFFSET if year >= FIRST_BUDDHIST_YEAR else year
