"""The columns of a roster and of a history file: fields, the headings that name them, and which are required."""

import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import lru_cache

from worker.insignia.errors import RosterUnreadable
from worker.insignia.messages import BilingualText, message
from worker.insignia.roster.award_heads import former_place, lacks_days
from worker.insignia.roster.award_words import LATEST
from worker.insignia.roster.heading_keys import (
    bare_key,
    has_unclear_awards,
    heading_key,
    heading_keys,
    is_about_other,
    is_proposed,
)
from worker.insignia.roster.headings import (
    ALIASES,
    HINTS,
    HISTORY_REMARKS,
    IGNORED,
    LABELS_TH,
    REMARKS,
    RETIREMENT,
    STEMS,
)
from worker.insignia.roster.history_remarks import names_taking
from worker.insignia.roster.officer import ABOUT
from worker.insignia.roster.side_columns import SideKind
from worker.insignia.roster.table import Sheet
from worker.insignia.roster.thai import canonical

REQUIRED = ("person_id", "employee_group", "level", "birth_date", "service_start", "level_start", "salary")
"""Required even if empty: without the column, a mistake in the header looks like unknown values. `employee_group` may
be absent where every level names its group."""
OPTIONAL = (
    "position_type",
    "salary_5y_ago",
    "position_allowance",
    "decorations",
    "last_decoration",
    "last_decoration_date",
    "nationality",
    "decoration_recalled",
    "imprisonment",
    "discipline",
    "on_leave",
    "service_status",
    "left_service",
    "resigned",
    "returned_to_service",
)
HISTORY = ("person_id", "decoration", "received")
ROSTER_FIELDS, HISTORY_FIELDS = (*REQUIRED, *OPTIONAL, *ABOUT), (*HISTORY, "first_name", "last_name")
IGNORE = "-"
"""The field that a mapping gives to headings that are not to be used."""
_SIMILAR = 0.88
"""Similarity of a heading and a known one above which a missing field may be a slip of the pen."""
_MOST_SIMILAR = 5
_LONGEST = 300
"""Characters of a list of headings in a message."""
_YEAR = re.compile(r"(?<!\d)(?:\d{4}|\d{2})(?!\d)")
_RANKS, _PLACES = ("level", "employee_group", "position_type"), ("post", "office")
_HISTORY_PAIR = ("decoration",), ("received",)
_ROSTER_PAIR = ("decorations", "last_decoration"), ("last_decoration_date", "received")
_NUMBER = re.compile(r"(?:ครั้งที่|ลำดับที่|ที่)?\d{1,2}$")


@dataclass(frozen=True, slots=True)
class Headings:
    """What the headings of one kind of file mean."""

    fields: tuple[str, ...]
    required: tuple[str, ...]
    decoration_of: Callable[[str], str | None]
    """The code of the decoration that a heading names, for rosters with one column per class."""
    resembles_decoration: Callable[[str], bool]
    """Whether a heading seems to name a class, but none that is known."""
    mapping: Mapping[str, str] = field(default_factory=dict)
    """Key of a heading to its field, as the caller has decided for this roster."""
    remembered: Mapping[str, str] = field(default_factory=dict)
    """The same for earlier rosters of the organization; used for headings that nothing else explains."""

    def field_of(self, heading: str) -> str | None:
        """Return the field of a heading; None if it has none."""
        keys = heading_keys(heading)
        for key in keys:
            if key in self.mapping:
                return self.mapping[key]
        if "level" not in self.fields:  # a history may number its columns of decorations
            keys = (*keys, *(key for whole in keys if (key := _NUMBER.sub("", whole)) and key != whole))
        for key in keys:
            for name in _BY_KEY.get(key, ()):
                if name in self.fields and not (name == "salary" and key != keys[0] and _YEAR.search(heading)):
                    return name  # pay of a certain day may be the pay five years ago
        is_class = "decorations" in self.fields and keys[0] and not is_about_other(canonical(heading))
        code = self.decoration_of(heading) if is_class else None
        if code:
            return f"class:{code}"
        return next((self.remembered[key] for key in keys if key in self.remembered), None)

    def is_remembered(self, heading: str) -> bool:
        """Return whether only an earlier mapping explains a heading."""
        return self.field_of(heading) is not None and replace(self, remembered={}).field_of(heading) is None

    def count(self, cells: Iterable[str]) -> int:
        """Return how many different fields the cells name."""
        return len({name for cell in cells if cell and (name := self.field_of(cell)) and name != IGNORE})


def parse_mapping(mapping: Mapping[str, str], fields: Sequence[str]) -> dict[str, str]:
    """Return the fields by the keys of their headings. Raises RosterUnreadable for an unknown field."""
    known = {*ROSTER_FIELDS, *HISTORY_FIELDS, IGNORE}
    for name in mapping.values():
        if name not in known:
            raise RosterUnreadable(message("bad_mapping", field=name, known=", ".join(sorted(known))))
    return {heading_key(heading): name for heading, name in mapping.items() if name in (*fields, IGNORE)}


def reject_unused_mapping(mapping: Mapping[str, str], heads: Sequence[str], headings: Headings, name: str) -> None:
    """Raise RosterUnreadable if the mapping explains a heading that no file has, so that it would have no effect."""
    known = {key for head in heads for key in heading_keys(head)}
    unused = [heading for heading in mapping if heading_key(heading) not in known]
    if unused:
        listed = ", ".join(canonical(head)[:40] for head in heads)[:_LONGEST] or "-"
        texts = {"unused": ", ".join(canonical(heading)[:40] for heading in unused)[:_LONGEST], "heads": listed}
        free = [head for head in heads if headings.field_of(head) is None]
        raise RosterUnreadable(message("mapping_unused", name=name, **texts)).with_headings(map(canonical, free))


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of one table."""

    index: Mapping[str, int]
    """Field to column number."""
    classes: Mapping[int, str]
    """Column number to the decoration whose year or day it contains."""
    unknown: tuple[str, ...]
    """Headings that mean nothing here; names, remarks and the like are left out."""
    width: int
    remembered: Mapping[str, str] = field(default_factory=dict)
    """Headings that only an earlier mapping explains, with their fields."""
    sides: Mapping[int, SideKind] = field(default_factory=dict)
    """Columns that no field uses and that may still say what excludes an officer, or that a decoration is not held."""
    pairs: tuple[tuple[int, int], ...] = ()
    """Columns of several decorations, each with its column of days; of a history, those after the first."""

    def __contains__(self, name: str) -> bool:
        return name in self.index

    @property
    def has_dates_beside(self) -> bool:
        """Whether the dates of the decorations stand in a column of their own."""
        return "decorations" in self and "last_decoration_date" in self and "last_decoration" not in self


def names_same(heading: str, head: str, field_name: str | None) -> bool:
    """Return whether a heading may stand above the column of `head`, which has this field; None if it has none."""
    keys = heading_keys(heading)
    if field_name == "salary" and _YEAR.search(heading):  # what stands in brackets may be the day of other pay
        keys = keys[:1]
    if {*keys} & {*heading_keys(head)} - {""}:
        return True
    fields = {name for key in keys for name in _BY_KEY.get(key, ())}
    if field_name is None:
        return fields <= set(ABOUT) and _side_kind(heading) in (SideKind.FREE, _side_kind(head))
    return field_name in fields or (field_name in ABOUT and not fields)


def find_columns(sheet: Sheet, heads: Sequence[str], headings: Headings) -> Columns:
    """Return the columns that the headings name. Raises RosterUnreadable if two of them mean the same field."""
    index: dict[str, int] = {}
    classes: dict[int, str] = {}
    unknown: list[str] = []
    dropped: set[int] = set()
    is_history = "level" not in headings.fields
    pairs = _pairs(heads, headings)
    for place, head in enumerate(heads):
        name = headings.field_of(head) if head else None
        if any(place in pair for pair in pairs):
            dropped.add(place)
            continue
        if name is None:
            unknown += [canonical(head)] if head and not _is_ignored(head) else []
        elif name.startswith("class:"):
            classes[place] = name.removeprefix("class:")
        elif name in index and name not in ABOUT:  # of several columns for one of those, the first is used
            labels = {"field": name, "field_th": LABELS_TH.get(name, name)}
            raise RosterUnreadable(message("two_columns", name=sheet.title, **labels))
        elif name == IGNORE:
            dropped.add(place)
        else:
            index.setdefault(name, place)
    if not (is_history or classes or pairs or {"decorations", "last_decoration"} & index.keys()):
        former = former_place(heads)
        if former is not None and former not in dropped:
            index["last_decoration"] = former
            unknown = [head for head in unknown if head != canonical(heads[former])]
    width = max((place + 1 for place, head in enumerate(heads) if head), default=0)
    known_before = {head: headings.field_of(head) or "" for head in heads if head and headings.is_remembered(head)}
    find_sides = _history_sides if is_history else _sides
    sides = find_sides(heads[:width], index, {*classes, *dropped})
    return Columns(index, classes, tuple(unknown), width, known_before, sides, pairs)


def count_pairs(heads: Sequence[str], headings: Headings) -> int:
    """Return how many pairs of a decoration and its day the headings have, if they are more than one."""
    return len(_pairs(heads, headings))


def names_award(head: str, headings: Headings) -> bool:
    """Return whether a heading names a decoration or its day, alone or as one of several, or a class."""
    what, when = _HISTORY_PAIR if "level" not in headings.fields else _ROSTER_PAIR
    name = _pair_field(head, headings, {*what, *when})
    return name in {*what, *when} or name.startswith("class:")


def _pairs(heads: Sequence[str], headings: Headings) -> tuple[tuple[int, int], ...]:
    """Return the columns of several decorations with those of their days, if they stand in pairs in one order.

    Of a history, the first pair is left out: it has fields of its own.
    """
    is_history = "level" not in headings.fields
    what, when = _HISTORY_PAIR if is_history else _ROSTER_PAIR
    names = [_pair_field(head, headings, {*what, *when}) if head else "" for head in heads]
    codes, days = ([place for place, name in enumerate(names) if name in wanted] for wanted in (what, when))
    found = tuple(zip(codes, days, strict=False))
    if not is_history and any(LATEST.search(heads[place]) for place in codes):
        return ()  # what was received before is unknown
    is_regular = len(codes) == len(days) > 1 and {day - code for code, day in found} in ({1}, {-1})
    return found[is_history:] if is_regular else ()


def _pair_field(head: str, headings: Headings, wanted: Set[str]) -> str:
    """Return the field of a heading that may be numbered, if it is one of those of a pair."""
    name = headings.field_of(head)
    if name is not None:
        return name
    keys = [key for whole in heading_keys(head) for key in (whole, _NUMBER.sub("", whole))]
    return next((name for key in keys for name in _BY_KEY.get(key, ()) if name in wanted), "")


def _history_sides(heads: Sequence[str], index: Mapping[str, int], used: Set[int]) -> dict[int, SideKind]:
    """Return what the columns of a history are about that no field uses."""
    places = set(range(len(heads))) - used - set(index.values())
    return {place: history_kind(heads[place]) for place in sorted(places)}


@lru_cache(1 << 12)
def history_kind(head: str) -> SideKind:
    """Return what a column, or a key of a decoration, is about that no field of a history uses."""
    keys = heading_keys(head)
    if names_taking(keys[0]) or any(key in _RECALLED_KEYS for key in keys):
        return SideKind.EXCLUSION
    is_remark = _side_kind(head) is SideKind.REMARK or any(word in keys[0] for word in HISTORY_REMARKS)
    return SideKind.REMARK if is_remark else SideKind.FREE


def _sides(heads: Sequence[str], index: Mapping[str, int], used: Set[int]) -> dict[int, SideKind]:
    """Return what the columns are about that no field uses, or that only name the officer."""
    fields = {place: name for name, place in index.items()}
    found: dict[int, SideKind] = {}
    for place, head in enumerate(heads):
        if place in used or fields.get(place, "post") not in (*ABOUT, *_RANKS):
            continue
        if fields.get(place) in _PLACES:
            found[place] = SideKind.FREE
        else:
            found[place] = SideKind.ABOUT if place in fields else _side_kind(head)
    return found


def _side_kind(head: str) -> SideKind:
    keys = (*heading_keys(head), bare_key(head))  # remarks of another time may exclude an officer, too
    if any(key.rstrip("0123456789") in _REMARK_KEYS for key in keys):
        return SideKind.REMARK
    if any(key in _RETIREMENT_KEYS for key in keys) or "เกษียณ" in keys[0]:
        return SideKind.RETIREMENT
    is_exclusion = not _EXCLUDING.isdisjoint(_BY_KEY.get(keys[-1], ())) or _named_by_stem(head, _EXCLUDING)
    return SideKind.EXCLUSION if is_exclusion else SideKind.FREE


def _is_ignored(head: str) -> bool:
    return any(key in _IGNORED_KEYS for key in (*heading_keys(head), bare_key(head)))


def check_columns(sheet: Sheet, columns: Columns, headings: Headings, heads: Sequence[str]) -> None:
    """Raise RosterUnreadable if a required column is missing, or if an unknown heading resembles a missing one."""
    if not (columns.index or columns.classes or columns.pairs):
        raise no_known_column(sheet, headings, heads)
    missing = [name for name in headings.required if name not in columns]
    _reject_unclear_awards(sheet, columns, headings, heads)
    if "last_decoration_date" not in columns and lacks_days(sheet, columns.index.get("last_decoration")):
        missing.append("last_decoration_date")
    odd = [head for head in columns.unknown if columns.classes and headings.resembles_decoration(head)]
    if odd:  # without it, a class would be missing from everyone's decorations
        labels = {"heads": ", ".join(head[:40] for head in odd)[:_LONGEST]}
        raise RosterUnreadable(message("unknown_class", name=sheet.title, **labels)).with_headings(odd)
    similar = dict(_similar(columns, headings))
    if missing or similar:
        similar |= {head: name for head, name in _hints(columns, missing) if head not in similar}
        missing = missing or sorted(set(similar.values()))
        raise RosterUnreadable(_missing(sheet, missing, similar)).with_headings(columns.unknown, missing)


def _reject_unclear_awards(sheet: Sheet, columns: Columns, headings: Headings, heads: Sequence[str]) -> None:
    """Raise RosterUnreadable if it is open whether a column has all decorations that are held."""
    for head in (heads[columns.index[name]] for name in _ROSTER_PAIR[0] if name in columns):
        if has_unclear_awards(head) and headings.mapping.keys().isdisjoint(heading_keys(head)):
            names = {"name": sheet.title, "head": canonical(head)[:_LONGEST]}
            raise RosterUnreadable(message("unclear_decorations", **names)).with_headings([canonical(head)])


def _similar(columns: Columns, headings: Headings) -> Iterable[tuple[str, str]]:
    """Yield unknown headings that resemble a known heading of a field that is missing, with that field."""
    wanted = {
        key: name
        for key, names in _BY_KEY.items()
        for name in names
        if name in headings.fields and name not in columns and name not in ABOUT and len(key) > 4
    }
    for head in columns.unknown:
        if is_proposed(head):
            continue
        for key in heading_keys(head):
            near = difflib.get_close_matches(key, wanted, 1, _SIMILAR) if len(key) > 4 else []
            if near:
                yield head, wanted[near[0]]
                break
        else:
            if named := _named_by_stem(head, {*wanted.values()}):
                yield head, named


def _hints(columns: Columns, missing: Sequence[str]) -> Iterable[tuple[str, str]]:
    """Yield unknown headings that may be about a missing field, with that field."""
    for head in columns.unknown:
        key = heading_key(head)
        if name := next((name for name in missing if any(word in key for word in HINTS.get(name, ()))), None):
            yield head, name


def _named_by_stem(head: str, wanted: Set[str]) -> str | None:
    """Return the missing field that a heading is about; the birth date says when an officer retires."""
    keys = heading_keys(head)
    if any(key in _RETIREMENT_KEYS for key in keys):
        return None
    return next(
        (name for name, stems in STEMS.items() if name in wanted and any(stem in keys[0] for stem in stems)), None
    )


def _missing(sheet: Sheet, missing: Sequence[str], similar: Mapping[str, str]) -> BilingualText:
    shown = list(similar.items())[:_MOST_SIMILAR]
    near = "; ".join(f'"{head}" resembles {name}' for head, name in shown)
    near_th = "; ".join(f'"{head}" คล้ายกับ{LABELS_TH.get(name, name)}' for head, name in shown)
    return message(
        "missing_columns",
        name=f"{sheet.title} ({sheet.name})" if sheet.name else sheet.title,
        word="column" if len(missing) == 1 else "columns",
        fields=", ".join(missing),
        fields_th=", ".join(LABELS_TH.get(name, name) for name in missing),
        near=f"; {near}: correct the heading or use --map" if near else "",
        near_th=f" ({near_th})" if near else "",
    )


def no_known_column(sheet: Sheet, headings: Headings, heads: Sequence[str]) -> RosterUnreadable:
    """Return the error for a table without any known heading."""
    required = headings.required[:7]
    return RosterUnreadable(
        message(
            "no_known_column",
            name=sheet.title,
            place="its objects have" if sheet.columns is not None else "its first lines name",
            required=", ".join(required),
            required_th=", ".join(LABELS_TH.get(name, name) for name in required),
            seen=", ".join(canonical(head)[:40] for head in heads if head)[:_LONGEST] or "-",
        )
    ).with_headings(map(canonical, heads), required)


_BY_KEY: dict[str, tuple[str, ...]] = {}
for _name in dict.fromkeys((*ROSTER_FIELDS, *HISTORY_FIELDS)):
    for _alias in (_name, *ALIASES.get(_name, ())):
        _BY_KEY[heading_key(_alias)] = (*_BY_KEY.get(heading_key(_alias), ()), _name)
_RETIREMENT_KEYS = frozenset(heading_key(heading) for heading in RETIREMENT)
_RECALLED = ("decoration_recalled", *ALIASES["decoration_recalled"])
_RECALLED_KEYS = frozenset(heading_key(heading) for heading in _RECALLED)
_IGNORED_KEYS = frozenset(heading_key(heading) for heading in IGNORED)
_REMARK_KEYS = frozenset(heading_key(heading) for heading in REMARKS)
_EXCLUDING = (frozenset(STEMS) | {"service_status"}) - {"nationality", "returned_to_service"}
