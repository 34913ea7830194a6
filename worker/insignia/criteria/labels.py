"""Labels of the codes in the results, in Thai and English, for pages and people."""

from collections.abc import Iterable, Mapping
from typing import Any

from worker.insignia.criteria.model import Criteria, Decoration, ServiceMedal

Label = Mapping[str, str]
"""`th` and `en`."""


def _label(th: str, en: str) -> Label:
    return {"th": th, "en": en}


DECISIONS: Mapping[str, Label] = {
    "nominate": _label("เสนอขอพระราชทาน", "to be nominated"),
    "not_eligible": _label("ยังไม่เข้าเกณฑ์", "not eligible"),
    "manual_review": _label("ต้องตรวจสอบเอง", "to be reviewed"),
}
CONFIDENCE: Mapping[str, Label] = {
    "high": _label("เกณฑ์ยืนยันแล้ว", "rule confirmed"),
    "medium": _label("เกณฑ์มีแหล่งอ้างอิงเดียว", "rule from one source"),
    "low": _label("เกณฑ์ยังไม่แน่ชัด ควรตรวจทาน", "rule uncertain, should be checked"),
}
SEQUENCES: Mapping[str, Label] = {
    "highest_satisfied": _label("ชั้นสูงสุดที่เข้าเกณฑ์", "the highest class whose conditions are met"),
    "strict_next": _label("ชั้นถัดไปตามลำดับเท่านั้น", "the next class only"),
}
LEVELS_OF_CONFIDENCE: Mapping[str, Label] = {
    "high": _label("สูง", "high"),
    "medium": _label("ปานกลาง", "medium"),
    "low": _label("ต่ำ", "low"),
}
REASONS: Mapping[str, Label] = {
    "ALREADY_AT_MAX": _label("ได้รับชั้นสูงสุดของระดับแล้ว", "already holds the highest class of the level"),
    "ALREADY_HELD": _label("ได้รับเหรียญนี้แล้ว", "already holds this medal"),
    "CONSECUTIVE_YEAR": _label("ได้รับพระราชทานในปีที่แล้ว ยังเสนอปีติดกันไม่ได้", "received a class the year before"),
    "DECORATION_RECALLED": _label("เคยถูกเรียกคืนเครื่องราชอิสริยาภรณ์", "a decoration was recalled"),
    "DISCIPLINE_REVIEW": _label("มีเรื่องทางวินัย ต้องตรวจสอบ", "a disciplinary matter has to be reviewed"),
    "GROUP_NOT_COVERED": _label("ประเภทบุคลากรนี้ไม่อยู่ในเกณฑ์", "this group of staff is not covered"),
    "HELD_YEARS_TOO_SHORT": _label("ครองชั้นปัจจุบันยังไม่ครบจำนวนปีตามเกณฑ์", "has not held the present class long enough"),
    "IMPRISONMENT_REVIEW": _label("เคยต้องโทษจำคุก ต้องตรวจสอบ", "a sentence of imprisonment has to be reviewed"),
    "INCOMPLETE_DATA": _label("ข้อมูลไม่ครบ", "data is missing"),
    "LEAVE_REVIEW": _label("อยู่ระหว่างลา ต้องตรวจสอบ", "on leave, has to be reviewed"),
    "LEVEL_YEARS_TOO_SHORT": _label("ดำรงตำแหน่งในระดับนี้ยังไม่ครบจำนวนปีตามเกณฑ์", "has not been in the level long enough"),
    "NOT_IN_SERVICE_ON_CEREMONY": _label("ไม่ได้รับราชการอยู่ในวันพระราชพิธี", "not in service on the day of the ceremony"),
    "NOT_THAI": _label("ไม่ได้มีสัญชาติไทย", "not a Thai national"),
    "PREREQUISITE_NOT_HELD": _label("ยังไม่ได้รับชั้นที่ต้องมีก่อน", "lacks the class that has to come before"),
    "RETIREMENT_CLAUSE_REVIEW": _label("อาจเข้าเกณฑ์ปีที่เกษียณ ต้องตรวจสอบ", "the clause for the last year may apply"),
    "RULE_NOT_FOUND": _label("ไม่พบเกณฑ์ของระดับนี้", "no rule for this level"),
    "SALARY_BRANCH_NOT_APPLICABLE": _label("เงินเดือนสูงเกินช่วงของเกณฑ์ข้อนี้", "the salary is above this rule's band"),
    "SALARY_HISTORY_TOO_LOW": _label("เงินเดือนเมื่อห้าปีก่อนไม่ถึงเกณฑ์", "the salary five years ago was too low"),
    "SALARY_TOO_LOW": _label("เงินเดือนไม่ถึงเกณฑ์", "the salary is too low"),
    "SERVICE_TOO_SHORT": _label("อายุราชการยังไม่ครบจำนวนปีตามเกณฑ์", "has not served long enough"),
}


def labels_of(criteria: Criteria) -> dict[str, Any]:
    """Return labels of every code that results under these criteria can contain; a code without one labels itself."""
    return {
        "decisions": DECISIONS,
        "confidence": CONFIDENCE,
        "reasons": {
            code: REASONS.get(code, _label(code, code)) for code in sorted({*REASONS, *reason_codes(criteria)})
        },
        "classes": _names(criteria.decorations),
        "medals": _names(criteria.service_medals),
    }


def reason_codes(criteria: Criteria) -> set[str]:
    """Return the reason codes that the criteria define."""
    general = {rule.reason_code for rule in criteria.general_rules}
    return {code for code in general if code} | set(criteria.policies.unmet_reason_codes.values())


def _names(items: Iterable[Decoration | ServiceMedal]) -> dict[str, Label]:
    return {item.code: {"abbr": item.abbr_th, **_label(item.name_th, item.name_en)} for item in items}
