"""The words rosters use for decorations, levels, position types and groups, and the codes they stand for.

Built from the criteria, so that a decoration or level added there is understood here. Spellings seen in the wild
(dots left out, มงกุฏ, จตุรถาภรณ์, names instead of codes) are taken; a word with two meanings is refused.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from worker.insignia.cells import Unreadable, tidy
from worker.insignia.criteria import Criteria, Decoration, Level, ServiceMedal

_MISSPELT = (("มงกุฏ", "มงกุฎ"), ("จตุรถาภรณ์", "จัตุรถาภรณ์"))
_JOINTS = re.compile(r"[\s.\-_/()]+")

_GROUP_WORDS = {
    "civil_servant": (
        "ข้าราชการ",
        "ข้าราชการพลเรือน",
        "ข้าราชการกรุงเทพมหานคร",
        "ข้าราชการกทม.",
        "civil servant",
        "civil servants",
    ),
    "permanent_employee": ("ลูกจ้างประจำกรุงเทพมหานคร", "ลูกจ้างประจำกทม.", "permanent employee", "permanent employees"),
    "government_employee": ("government employee", "government employees"),
}
_POSITION_TYPES = {
    "general": ("ทั่วไป", "ประเภททั่วไป", "o"),
    "academic": ("วิชาการ", "ประเภทวิชาการ", "knowledge worker", "k"),
    "director": ("อำนวยการ", "ประเภทอำนวยการ", "managerial", "d"),
    "executive": ("บริหาร", "ประเภทบริหาร", "m"),
}
_EXECUTIVE = {"M1": "ต้น", "M2": "สูง"}
"""Levels without a ladder in the criteria; their names are those of the civil service."""
_LEGACY = re.compile(r"c(\d{1,2})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Words to codes; keys went through `key`."""

    decorations: Mapping[str, str]
    abbreviations: Mapping[str, str]
    """Code to the Thai abbreviation."""
    groups: Mapping[str, str]
    position_types: Mapping[str, str]
    levels: Mapping[str, frozenset[tuple[str, str]]]
    """A level's words to (group or position type, code): some words need one of these to be clear."""
    seen: dict[str, str] = field(default_factory=dict, compare=False)
    """Decorations as they were spelt so far: a history repeats a handful of spellings in every line."""

    def decoration(self, text: str) -> str:
        """The code; raises Unreadable."""
        if text in self.seen:
            return self.seen[text]
        word = key(text)
        code = self.decorations.get(word) or self.decorations.get("เหรียญ" + word)
        if code is None:
            raise Unreadable(_no_decoration(word))
        self.seen[text] = code
        return code

    def group(self, text: str) -> str | None:
        word = key(text)
        if word and word not in self.groups:
            raise Unreadable("none of the three groups: civil_servant, permanent_employee, government_employee")
        return self.groups[word] if word else None

    def position_type(self, text: str) -> str | None:
        word = key(text)
        if word and word not in self.position_types:
            raise Unreadable("no position type: general, academic, director, executive")
        return self.position_types[word] if word else None

    def level(self, text: str, group: str | None, position_type: str | None) -> str | None:
        """The code. Raises Unreadable for words unknown or with two meanings for such an officer."""
        word = key(text).removeprefix("ระดับ")
        if not word:
            return None
        meanings = {code for owner, code in self.levels.get(word, ()) if owner in (group, position_type, "")}
        if len(meanings) == 1:
            return meanings.pop()
        if self.levels.get(word):
            raise Unreadable("this level is there in several position types or groups: give those, or its code")
        if match := _LEGACY.fullmatch(word):
            return f"C{int(match[1])}"
        raise Unreadable("no known level: give a code such as O2, K3, D1, PE-A, GE-2, or its Thai name")


def key(text: str) -> str:
    """What makes two spellings the same word: no dots, blanks and hyphens, lower case, the common slips mended."""
    word = tidy(text).replace("\u0e4d\u0e32", "\u0e33")
    word = _JOINTS.sub("", word).lower()
    for wrong, right in _MISSPELT:
        word = word.replace(wrong, right)
    return word


def _no_decoration(word: str) -> str:
    if word.isdigit():
        return "a number instead of a decoration: its meaning differs between systems, give the abbreviation"
    return "no known decoration: give a code such as CT5 or an abbreviation such as บ.ม."


def vocabulary_of(criteria: Criteria) -> Vocabulary:
    everything: list[Decoration | ServiceMedal] = [*criteria.decorations, *criteria.service_medals]
    return Vocabulary(
        decorations={key(word): item.code for item in everything for word in _names(item)},
        abbreviations={item.code: item.abbr_th for item in everything},
        groups=dict(_group_words(criteria)),
        position_types={key(word): code for code, words in _POSITION_TYPES.items() for word in (code, *words)},
        levels=_level_words(criteria),
    )


def _names(item: Decoration | ServiceMedal) -> tuple[str, ...]:
    return (item.code, item.abbr_th, item.name_th, item.name_en, item.name_th.removeprefix("เหรียญ"))


def _group_words(criteria: Criteria) -> Iterable[tuple[str, str]]:
    for group in criteria.groups:
        for word in (group.id, *group.name_th.split(" / "), group.name_en, *_GROUP_WORDS.get(group.id, ())):
            yield key(word), group.id


def _level_words(criteria: Criteria) -> dict[str, frozenset[tuple[str, str]]]:
    """Codes are clear by themselves (owner ""); names belong to their position type or group."""
    words: dict[str, frozenset[tuple[str, str]]] = {}

    def add(word: str, owner: str, code: str) -> None:
        words[key(word)] = words.get(key(word), frozenset()) | {(owner, code)}

    for group in criteria.groups:
        for level in group.levels:
            add(level.level, "", level.level)
            for word in _level_names(level):
                add(word, level.position_type or group.id, level.level)
    for code, name in _EXECUTIVE.items():
        add(code, "", code)
        for word in (name, f"บริหาร{name}", f"บริหารระดับ{name}"):
            add(word, "executive", code)
    return _clear_without_owner(words)


def _level_names(level: Level) -> Iterable[str]:
    kind = (level.position_type_th or "").removeprefix("ประเภท")
    for name in level.level_th.split(" / "):
        yield from (name, name.removeprefix("กลุ่มงาน"))
        if kind:
            yield from (f"{kind}{name}", f"{kind}ระดับ{name}", f"ประเภท{kind}ระดับ{name}")


def _clear_without_owner(words: dict[str, frozenset[tuple[str, str]]]) -> dict[str, frozenset[tuple[str, str]]]:
    """A word with one meaning in the whole service needs no position type beside it."""
    return {
        word: meanings if len({code for _, code in meanings}) > 1 else meanings | {("", next(iter(meanings))[1])}
        for word, meanings in words.items()
    }
