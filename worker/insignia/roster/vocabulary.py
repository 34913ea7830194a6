"""The words that rosters use for decorations, levels, position types and groups, and the codes they stand for.

Built from the criteria, so that a decoration or level added there is understood here. Common spellings (missing dots,
มงกุฏ, จตุรถาภรณ์, names instead of codes) are accepted; a word with two meanings is rejected.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from worker.insignia.criteria.model import Criteria, Decoration, LevelCriteria, ServiceMedal
from worker.insignia.roster.cells import Unreadable, normalize, reject_formula_errors
from worker.insignia.roster.other_orders import OTHER_BEGINNINGS, OTHER_NAMES, OTHER_ORDER

_MISSPELT = (("ปฎิบัติ", "ปฏิบัติ"), ("มงกุฏ", "มงกุฎ"), ("จตุรถาภรณ์", "จัตุรถาภรณ์"), ("จตุตถาภรณ์", "จัตุรถาภรณ์"))
_JOINTS = re.compile(r"[\s.\-_/()\[\]]+")
_IN_BRACKETS = re.compile(r"(.+?) ?[(\[]([^()\[\]]+)[)\]]")
_NOT_HELD = re.compile("คืน|ถอน|ริบ|ไม่|รอ|ขอ|เสนอ|ระหว่าง|ยกเลิก|ผิด")
"""Remarks beside a decoration that say more than its name, such as เรียกคืน (recalled)."""
_FULL_WORDING = re.compile(
    "^(?:เครื่องราชอิสริยาภรณ์|ราชอิสริยาภรณ์)?(?:(?:อันเป็นที่เชิดชูยิ่ง|อันมีเกียรติยศยิ่ง|อันมีเกียรติยิ่ง)(ช้างเผือก|มงกุฎไทย))?"
    r"(?:ชั้น(?:ที่)?(\d)|ชั้นสูงสุด|ชั้นพิเศษ|ชั้นสายสะพาย)?"
)
_BY_NUMBER = re.compile(
    "(?:เครื่องราชอิสริยาภรณ์)?(?:อันเป็นที่เชิดชูยิ่ง|อันมีเกียรติยศยิ่ง)?(ช้างเผือก|มงกุฎไทย)ชั้น(?:(?:ที่)?(\\d)|สูงสุด|พิเศษ)"
)
_LIKE_A_CLASS = re.compile("ช้างเผือก|มงกุฎ|ภรณ์|จักรพรรดิมาลา|วชิร")
_LIKE_AN_ABBREVIATION = re.compile(r"[ก-ฮ]\. ?(?:[ก-ฮ]\. ?)?[ก-ฮ]\.")
_ORDERS = {"ช้างเผือก": "WE", "มงกุฎไทย": "CT"}

_GROUP_WORDS = {
    "civil_servant": (
        "ข้าราชการ",
        "ข้าราชการพลเรือน",
        "ข้าราชการกรุงเทพมหานคร",
        "ข้าราชการกทม.",
        "ข้าราชการสามัญ",
        "ข้าราชการพลเรือนสามัญกรุงเทพมหานคร",
        "ขรก.",
        "ขรก.สามัญ",
        "ขรก.กทม.",
        "ขรก.กทม.สามัญ",
        "ขรก.พลเรือน",
        "ข้าราชการกทม.สามัญ",
        "ข้าราชการสามัญกทม.",
        "ข้าราชการสามัญกรุงเทพมหานคร",
        "ข้าราชการพลเรือนสามัญกทม.",
        "civil servant",
        "civil servants",
        "civil service",
    ),
    "permanent_employee": (
        "ลูกจ้างประจำกรุงเทพมหานคร",
        "ลูกจ้างประจำกทม.",
        "ลูกจ้างประจำ(งบประมาณ)",
        "ลูกจ้างประจำเงินงบประมาณ",
        "ลูกจ้างประจำของทางราชการ",
        "ลูกจ้างประจำของส่วนราชการ",
        "ลจ.ประจำ",
        "ลจป.",
        "ลปจ.",
        "permanent employee",
        "permanent employees",
    ),
    "government_employee": (
        "พนักงานราชการทั่วไป",
        "พนักงานราชการพิเศษ",
        "พนักงานราชการกรุงเทพมหานคร",
        "พนักงานราชการกทม.",
        "พรก.",
        "พนง.ราชการ",
        "พนง.รก.",
        "government employee",
        "government employees",
    ),
}
_POSITION_TYPES = {
    "general": ("ทั่วไป", "ประเภททั่วไป", "ตำแหน่งประเภททั่วไป", "ทป.", "o"),
    "academic": ("วิชาการ", "ประเภทวิชาการ", "ตำแหน่งประเภทวิชาการ", "วก.", "knowledge worker", "knowledge", "k"),
    "director": ("อำนวยการ", "ประเภทอำนวยการ", "ตำแหน่งประเภทอำนวยการ", "อก.", "managerial", "management", "d"),
    "executive": ("บริหาร", "ประเภทบริหาร", "ตำแหน่งประเภทบริหาร", "บห.", "m"),
}
_SHORT_LEVELS = {
    "O1": ("ปง.",),
    "O2": ("ชง.",),
    "O3": ("อส.", "อว."),
    "O4": ("ทพ.", "ทษ.", "ทักษะ"),
    "K1": ("ปก.", "คศ.1", "ครูผู้ช่วย", "อันดับคศ.1"),
    "K2": ("ชก.", "คศ.2", "อันดับคศ.2"),
    "K3": ("ชพ.", "ชกพ.", "คศ.3", "อันดับคศ.3"),
    "K4": ("ชช.", "คศ.4", "อันดับคศ.4"),
    "K5": ("ทว.", "ทรงฯ", "ทรง"),
    "D1": ("อต.", "อำนวยการ ต้น", "อก.ต้น"),
    "D2": ("อส.", "อำนวยการ สูง", "อก.สูง"),
    "M1": ("บต.", "บริหาร ต้น", "S1"),
    "M2": ("บส.", "บริหาร สูง", "S2"),
}
"""Office shorthand, the pay scale of teachers (คศ.), and the codes S1 and S2 for executives."""
_DIRECTORS = {"M1": "D1", "M2": "D2"}
"""The codes that one public code set uses for directors, and the other for executives."""
_EXECUTIVE = {"M1": "ต้น", "M2": "สูง"}
"""Levels without a ladder in the criteria, with the names of the civil service."""
_CODE_AND_NAME = re.compile(
    r"([okdms] ?\d|[pg]e-?[ab\d])[ :=(\-]+([^()]+)\)?|([^()]+?)[ :=(\-]+([okdms] ?\d|[pg]e-?[ab\d])\)?", re.IGNORECASE
)
_ACTING = re.compile("รักษา|หน้าที่|แทน|acting")
"""Beside a level, these say that it is not the officer's own."""
_LEGACY = re.compile(r"(?:c|ซี)(\d{1,2})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Words to codes; all keys are results of normalize_word."""

    decorations: Mapping[str, str]
    groups: Mapping[str, str]
    position_types: Mapping[str, str]
    levels: Mapping[str, frozenset[tuple[str, str]]]
    """A word for a level to (group or position type, code); some words are only clear with one of these."""
    group_of_level: Mapping[str, str] = field(default_factory=dict)
    """Code of a level to the group that has it."""
    codes: dict[str, str] = field(default_factory=dict, compare=False)
    """Cache of spellings and codes: a history repeats a few spellings in every line."""

    def decoration(self, text: str) -> str:
        """Return the code of a decoration. Raises Unreadable."""
        if text in self.codes:
            return self.codes[text]
        code = self._decoration(text)
        self.codes[text] = code
        return code

    def _decoration(self, text: str) -> str:
        if match := _IN_BRACKETS.fullmatch(normalize(text)):
            outside, inside = self._one_name(match[1]), self._one_name(match[2])
            if outside and inside and outside != inside:
                raise Unreadable("two_decorations")
            if outside and (inside or not (match[2].isascii() or _NOT_HELD.search(match[2]))):
                return outside
        code = self._one_name(text)
        if code is None:
            raise _no_decoration(normalize_word(text), normalize(text))
        return code

    def _one_name(self, text: str) -> str | None:
        """Return the code of a name without brackets; None if it is unknown."""
        word = normalize_word(text)
        code = self.decorations.get(word) or self.decorations.get("เหรียญ" + word)
        if code is None and (match := _BY_NUMBER.fullmatch(word)):
            code = self.decorations.get(f"{_ORDERS[match[1]]}{match[2] or 's'}".lower())
        if code is None and (match := _FULL_WORDING.match(word)):
            code = self.decorations.get(word[match.end() :])
            if code is not None and not _agrees(code, match[1], match[2]):
                return None
        return OTHER_ORDER if code is None and word.startswith(_OTHER_WORDS) else code

    def is_decoration(self, heading: str) -> str | None:
        """Return the code of the decoration that a heading names; None if it names none."""
        code = self._of_heading(heading)
        return None if code == OTHER_ORDER else code

    def resembles_decoration(self, heading: str) -> bool:
        """Return whether a heading seems to name a class, but none that is known."""
        word = normalize_word(heading).replace("เครื่องราชอิสริยาภรณ์", "")
        outside = normalize(heading).split("(")[0].strip()
        is_alike = _LIKE_A_CLASS.search(word) or _LIKE_AN_ABBREVIATION.fullmatch(outside)
        return is_alike is not None and self._of_heading(heading) is None

    def _of_heading(self, heading: str) -> str | None:
        plain = normalize(heading)
        match = _IN_BRACKETS.fullmatch(plain)
        codes = [self._after_year(text) for text in ((match[1], match[2]) if match else (plain,))]
        if codes[0] is None and match:  # a part of the name is in brackets
            return self._after_year(plain)
        return None if len(codes) == 2 and codes[1] not in (None, codes[0]) else codes[0]

    def _after_year(self, text: str) -> str | None:
        word = normalize_word(text).removeprefix("ปีที่ได้รับ").removeprefix("วันที่ได้รับ").removeprefix("ปี")
        return self._one_name(word) if word else None

    def group(self, text: str) -> str | None:
        """Return the code of a group; None for an empty cell. Raises Unreadable."""
        word = normalize_word(text)
        if word and word not in self.groups:
            reject_formula_errors(normalize(text))
            raise Unreadable("unknown_group")
        return self.groups[word] if word else None

    def position_type(self, text: str) -> str | None:
        """Return the code of a position type; None for an empty cell. Raises Unreadable."""
        word = normalize_word(text)
        if word and word not in self.position_types:
            reject_formula_errors(normalize(text))
            raise Unreadable("unknown_position_type")
        return self.position_types[word] if word else None

    def level(self, text: str, group: str | None, position_type: str | None) -> str | None:
        """Return the code of a level. Raises Unreadable for unknown words, and for words with two meanings here."""
        word = normalize_word(text).removeprefix("ระดับ")
        code = self._level(word, group, position_type)
        if code is None and (parts := _two_names(normalize(text))):
            word, name = (normalize_word(part).removeprefix("ระดับ") for part in parts)
            code, named = self._level(word, group, position_type), self._level(name, group, position_type)
            may_be_unknown = _CODE_AND_NAME.fullmatch(normalize(text)) is not None and not _ACTING.search(name)
            code = code if named == code or (named is None and may_be_unknown) else None
        if code is None and normalize(text):
            reject_formula_errors(normalize(text))
            raise Unreadable("unknown_level")
        is_director = position_type == "director" and word in ("m1", "m2")
        return _DIRECTORS[code] if is_director and code else code

    def _level(self, word: str, group: str | None, position_type: str | None) -> str | None:
        """Return the code of a word for a level, None for an unknown word. Raises Unreadable for two meanings."""
        known = self.levels.get(word, frozenset())
        meanings = {code for owner, code in known if owner in (group, position_type)}
        meanings = meanings or {code for owner, code in known if owner == ""}
        if len(meanings) == 1:
            return meanings.pop()
        if known:
            raise Unreadable("ambiguous_level")
        match = _LEGACY.fullmatch(word)
        return f"C{int(match[1])}" if match else None


def _two_names(plain: str) -> tuple[str, str] | None:
    """Return two names of one level, a code first: ชำนาญการ (K2), K2 ชำนาญการ, ชำนาญการ (ชก.); None for one name."""
    if match := _CODE_AND_NAME.fullmatch(plain):
        return (match[1], match[2]) if match[1] else (match[4], match[3])
    match = _IN_BRACKETS.fullmatch(plain)
    return (match[1], match[2]) if match else None


def normalize_word(text: str) -> str:
    """Return the form that all spellings share: lower case, without dots, spaces and hyphens, slips corrected."""
    word = _JOINTS.sub("", normalize(text)).lower()
    for wrong, right in _MISSPELT:
        word = word.replace(wrong, right)
    return word


def _agrees(code: str, order: str | None, number: str | None) -> bool:
    """Return whether the order and the number of a class in its full wording are those of its name."""
    is_order = order is None or code.startswith(_ORDERS[order])
    return is_order and (number is None or not code[-1].isdigit() or code[-1] == number)


def _no_decoration(word: str, plain: str) -> Unreadable:
    reject_formula_errors(plain)
    return Unreadable("decoration_number" if word.isdigit() else "unknown_decoration")


def build_vocabulary(criteria: Criteria) -> Vocabulary:
    """Return the vocabulary of a criteria file."""
    everything: list[Decoration | ServiceMedal] = [*criteria.decorations, *criteria.service_medals]
    others = {normalize_word(name): OTHER_ORDER for name in OTHER_NAMES}
    return Vocabulary(
        decorations=others | {normalize_word(word): item.code for item in everything for word in _names(item)},
        groups=dict(_group_words(criteria)),
        position_types={
            normalize_word(word): code for code, words in _POSITION_TYPES.items() for word in (code, *words)
        },
        levels=_level_words(criteria),
        group_of_level={level.level: group.id for group in criteria.groups for level in group.levels}
        | dict.fromkeys(_EXECUTIVE, "civil_servant"),
    )


_OTHER_WORDS = tuple(normalize_word(name) for name in OTHER_BEGINNINGS)


def _names(item: Decoration | ServiceMedal) -> tuple[str, ...]:
    return (item.code, item.abbr_th, item.name_th, item.name_en, item.name_th.removeprefix("เหรียญ"))


def _group_words(criteria: Criteria) -> Iterable[tuple[str, str]]:
    for group in criteria.groups:
        for word in (group.id, *group.name_th.split(" / "), group.name_en, *_GROUP_WORDS.get(group.id, ())):
            yield normalize_word(word), group.id


def _level_words(criteria: Criteria) -> dict[str, frozenset[tuple[str, str]]]:
    """Return the words of all levels: codes are clear on their own (owner ""), names need position type or group."""
    words: dict[str, frozenset[tuple[str, str]]] = {}

    def add(word: str, owner: str, code: str) -> None:
        words[normalize_word(word)] = words.get(normalize_word(word), frozenset()) | {(owner, code)}

    for group in criteria.groups:
        for level in group.levels:
            add(level.level, "", level.level)
            for word in _level_names(level):
                add(word, level.position_type or group.id, level.level)
    for code, name in _EXECUTIVE.items():
        add(code, "", code)
        for word in (name, f"บริหาร{name}", f"บริหารระดับ{name}"):
            add(word, "executive", code)
    kinds = {level.level: level.position_type for group in criteria.groups for level in group.levels}
    for code, shorts in _SHORT_LEVELS.items():
        for word in shorts if code in kinds or code in _EXECUTIVE else ():
            add(word, kinds.get(code) or "executive", code)
    return _clear_without_owner(words)


def _level_names(level: LevelCriteria) -> Iterable[str]:
    kind = (level.position_type_th or "").removeprefix("ประเภท")
    for name in level.level_th.split(" / "):
        yield from (name, name.removeprefix("กลุ่มงาน"))
        if kind:
            yield from (f"{kind}{name}", f"{kind}ระดับ{name}", f"ประเภท{kind}ระดับ{name}")


def _clear_without_owner(words: dict[str, frozenset[tuple[str, str]]]) -> dict[str, frozenset[tuple[str, str]]]:
    """Make words that have only one meaning clear without a position type."""
    return {
        word: meanings if len({code for _, code in meanings}) > 1 else meanings | {("", next(iter(meanings))[1])}
        for word, meanings in words.items()
    }
