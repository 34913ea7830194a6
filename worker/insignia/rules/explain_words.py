"""The words of explanations, in Thai and English."""

from collections.abc import Mapping
from typing import Literal

from worker.insignia.roster.headings import LABELS_TH

Language = Literal["th", "en"]

WORDS: Mapping[Language, Mapping[str, str]] = {
    "en": {
        "class": "class",
        "medal": "medal",
        "next": ", next {award}",
        "headline": "{what}{next}; confidence {confidence}; rests on {rules}",
        "missing": "missing: {fields}",
        "basis": " ({ids}; confidence {confidence}; sources {sources})",
        "unsourced": " ({ids}; confidence {confidence})",
        "step": "step {id} to {award} ({abbr}):",
        "no_ladder": "level {level}: the criteria have no ladder for it",
        "service_start": "{years} years of service on {day}, since {since}: {answer}",
        "level_start": "{years} years in the level on {day}, since {since}: {answer}",
        "held": "{award} held {years} years on {day}, received {since}: {answer}",
        "requires": "{award} held: {answer}",
        "pay": "{field} {pay} {sign} {amount} ({figure}): {answer}",
        "baht": "{amount}",
        "at_least": ">=",
        "below": "<",
        "from_round": ", met from round {round}",
        "outlook": "next class {award} ({abbr}): all conditions are met from round {round}, if nothing else changes",
        "outlook_never": "next class {award} ({abbr}): waiting alone is not enough; {count} conditions are not met",
        "GR-NATIONALITY": "Thai national: {answer}",
        "GR-RECALLED": "no decoration was recalled: {answer}",
        "GR-IN-SERVICE": "in service on {day}: {answer}",
        "GR-CONSECUTIVE": "no class received in {before} or {year}, the latest on {last}: {answer}",
        "GR-HIGHER-ONLY": "the highest class held ({held}) is below the highest of the level ({highest}): {answer}",
        "GR-IMPRISONMENT": "no sentence of imprisonment: {answer}",
        "GR-DISCIPLINE": "no disciplinary matter: {answer}",
        "GR-LEAVE": "not on leave: {answer}",
        "group_covered": "the medal covers this group of staff: {answer}",
        "medal_held": "the medal is not held yet: {answer}",
        "none": "none",
        "yes": "yes",
        "no": "no",
        "unknown": "unknown",
        "salary": "salary",
        "salary_5y_ago": "salary_5y_ago",
        "list": ", ",
    },
    "th": {
        "class": "ชั้นตรา",
        "medal": "เหรียญจักรพรรดิมาลา",
        "next": " ชั้นถัดไป {award}",
        "headline": "{what}{next} (ความเชื่อมั่น{confidence} อ้างเกณฑ์ {rules})",
        "missing": "ข้อมูลที่ขาดและมีผลต่อการพิจารณา: {fields}",
        "basis": " (เกณฑ์ {ids} ความเชื่อมั่น{confidence} แหล่งอ้างอิง {sources})",
        "unsourced": " (เกณฑ์ {ids} ความเชื่อมั่น{confidence})",
        "step": "เกณฑ์ {id} เพื่อขอ {abbr}:",
        "no_ladder": "ระดับ {level}: ไม่พบเกณฑ์ของระดับนี้",
        "service_start": "รับราชการครบ {years} ปี ณ วันที่ {day} นับแต่ {since}: {answer}",
        "level_start": "ดำรงระดับครบ {years} ปี ณ วันที่ {day} นับแต่ {since}: {answer}",
        "held": "ได้รับ {abbr} มาแล้วครบ {years} ปี ณ วันที่ {day} ได้รับเมื่อ {since}: {answer}",
        "requires": "เคยได้รับ {abbr}: {answer}",
        "pay": "{field} {pay} {sign} {amount} ({figure}): {answer}",
        "baht": "{amount} บาท",
        "at_least": "ไม่ต่ำกว่า",
        "below": "ต่ำกว่า",
        "from_round": " จะครบในรอบปี {round}",
        "outlook": "ชั้นถัดไป {abbr}: จะครบทุกข้อตั้งแต่รอบปี {round} หากข้อมูลอื่นไม่เปลี่ยน",
        "outlook_never": "ชั้นถัดไป {abbr}: รอเวลาอย่างเดียวไม่พอ ยังไม่ครบ {count} ข้อ",
        "GR-NATIONALITY": "มีสัญชาติไทย: {answer}",
        "GR-RECALLED": "ไม่เคยถูกเรียกคืนเครื่องราชอิสริยาภรณ์: {answer}",
        "GR-IN-SERVICE": "รับราชการอยู่ในวันที่ {day}: {answer}",
        "GR-CONSECUTIVE": "ไม่ได้รับพระราชทานชั้นตราในปี {before} หรือ {year} (ครั้งล่าสุด {last}): {answer}",
        "GR-HIGHER-ONLY": "ชั้นสูงสุดที่ได้รับแล้ว ({held}) ต่ำกว่าชั้นสูงสุดของระดับ ({highest}): {answer}",
        "GR-IMPRISONMENT": "ไม่เคยต้องโทษจำคุก: {answer}",
        "GR-DISCIPLINE": "ไม่มีเรื่องทางวินัย: {answer}",
        "GR-LEAVE": "ไม่อยู่ระหว่างลา: {answer}",
        "group_covered": "เป็นประเภทบุคลากรที่ขอเหรียญนี้ได้: {answer}",
        "medal_held": "ยังไม่เคยได้รับเหรียญนี้: {answer}",
        "none": "ไม่มี",
        "yes": "ใช่",
        "no": "ไม่ใช่",
        "unknown": "ไม่ทราบ",
        "met": "ครบ",
        "unmet": "ไม่ครบ",
        "salary": "เงินเดือน",
        "salary_5y_ago": "เงินเดือนเมื่อ 5 ปีก่อน",
        "list": " ",
    },
}

FIGURES_TH: Mapping[str, str] = {
    "params.o2_min": "เงินเดือนขั้นต่ำระดับชำนาญงาน",
    "params.k3_min": "เงินเดือนขั้นต่ำระดับชำนาญการพิเศษ",
    "params.k3_ceiling": "เงินเดือนขั้นสูงระดับชำนาญการพิเศษ",
    "params.d1_ceiling": "เงินเดือนขั้นสูงประเภทอำนวยการระดับต้น",
}
"""Figures of the included criteria; others are shown under their names."""

RULES_TH: Mapping[str, str] = {
    "GR-NATIONALITY": "ผู้ขอพระราชทานต้องมีสัญชาติไทย",
    "GR-RECALLED": "ต้องไม่เคยถูกเรียกคืนเครื่องราชอิสริยาภรณ์",
    "GR-IN-SERVICE": "ต้องมีสถานภาพเป็นข้าราชการหรือเจ้าหน้าที่ในวันพระราชพิธี",
    "GR-CONSECUTIVE": "ไม่เสนอขอในปีถัดจากปีที่ได้รับพระราชทาน ไม่พบข้อยกเว้น",
    "GR-HIGHER-ONLY": "ชั้นที่ขอต้องสูงกว่าชั้นที่ได้รับแล้วทุกชั้น และไม่เกินชั้นสูงสุดของระดับ",
    "GR-SERVICE-5": "ต้องรับราชการติดต่อกันครบห้าปีก่อนวันพระราชพิธีไม่น้อยกว่า 60 วัน",
    "GR-IMPRISONMENT": "คำพิพากษาถึงที่สุดให้จำคุกเป็นข้อห้าม ไม่พบข้อความเต็มและข้อยกเว้น จึงต้องตรวจสอบ",
    "GR-DISCIPLINE": "โทษทางวินัยทำให้ต้องรอชั้นถัดไปนานขึ้น ไม่พบข้อความที่ระบุว่านานเท่าใด จึงต้องตรวจสอบ",
    "GR-LEAVE": "ผู้ลาศึกษาหรือลาติดตามคู่สมรสเสนอขอได้ หากหน่วยงานเห็นว่าเป็นประโยชน์แก่ราชการ",
    "GR-RETIREMENT": "ในปีที่เกษียณอาจขอได้สูงขึ้นหนึ่งชั้น (ไม่รวมการลาออก) ไม่พบข้อความครบถ้วน จึงต้องตรวจสอบ",
}
"""The general rules of the included criteria."""

_MISSING_TH: Mapping[str, str] = {
    "level at the cut-off": "ระดับ ณ วันครบคุณสมบัติ",
    "decorations at the ceremony": "เครื่องราชอิสริยาภรณ์ที่ได้รับก่อนวันพระราชพิธี",
}


def missing_label(name: str, language: Language) -> str:
    """Return what people call a missing field."""
    return name if language == "en" else _MISSING_TH.get(name) or LABELS_TH.get(name, name)
