"""Reads the nationality: Thai, a known foreign one, or unknown. An unknown word never excludes an officer."""

import re

from worker.insignia.roster.cells import normalize

_THAI = frozenset({"th", "tha", "thai", "thailand", "ไทย", "ไท", "ประเทศไทย", "099", "99"})
_UNSTATED = frozenset({"ไม่ระบุ", "ไม่ได้ระบุ", "unspecified", "not specified", "notspecified"})
"""The same as an empty cell: officers are Thai unless the roster says otherwise."""
_PREFIXES = re.compile("^(?:สัญชาติ|เชื้อชาติ|คน|ชาว|ชาติ|ประเทศ)+")
_SUFFIXES = re.compile(r" ?\(?โดย(?:การเกิด|กำเนิด)\)?$| ?(?:nationality|nationals?|citizens?|citizenship|people)$")
_CODES = (
    "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ CA "
    "CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR GA "
    "GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP "
    "KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS "
    "MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS "
    "RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TJ TK TL TM TN TO TR TT TV TW TZ "
    "UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS XX YE YT ZA ZM ZW"
)
_FOREIGN = {code.lower(): code for code in _CODES.split()} | {
    word: code
    for code, words in {
        "LA": "ลาว lao laos laotian",
        "MM": "พม่า เมียนมา เมียนมาร์ เมียนม่า myanmar burmese burma",
        "KH": "กัมพูชา เขมร cambodia cambodian khmer",
        "MY": "มาเลเซีย มาเลเซียน malaysia malaysian",
        "VN": "เวียดนาม vietnam vietnamese",
        "CN": "จีน china chinese",
        "JP": "ญี่ปุ่น japan japanese",
        "IN": "อินเดีย india indian",
        "US": "อเมริกัน อเมริกา สหรัฐอเมริกา american usa",
        "GB": "อังกฤษ บริติช british",
        "XX": "ต่างชาติ ต่างด้าว ต่างประเทศ foreign foreigner stateless ไร้สัญชาติ",
    }.items()
    for word in words.split()
}


def parse_nationality(text: str) -> str | None:
    """Return TH, the code of a foreign nationality, or None if the words are unknown or name several."""
    plain = normalize(text).lower()
    if not plain or plain in _UNSTATED:
        return "TH"
    codes = {_code(part) for part in re.split(r"[/,;+]|\bและ\b|\band\b", plain) if part.strip()}
    return codes.pop() if len(codes) == 1 else None


def _code(part: str) -> str | None:
    bare = _SUFFIXES.sub("", part.strip())
    word = _PREFIXES.sub("", re.sub(r"[\s.\-_()]", "", bare))
    return "TH" if word in _THAI else _FOREIGN.get(word)
