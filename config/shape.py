"""The settings tree as it looks from outside: PascalCase keys, lists, dictionaries, secrets.

Read off the models, so that a key is declared in one place only. Knows no provider and no value.
"""

import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.alias_generators import to_pascal
from pydantic.fields import FieldInfo

from config.problems import suggestions
from config.tree import Empty, Path, Segment, Value, key_text


@dataclass(frozen=True, slots=True)
class Unit:
    """What a number counts: stands among a field's annotations, for messages and documentation."""

    name: str


@dataclass(frozen=True, slots=True)
class Leaf:
    """One value."""

    secret: bool
    unit: str = ""


@dataclass(frozen=True, slots=True)
class ListOf:
    item: "Shape"


@dataclass(frozen=True, slots=True)
class MapOf:
    """Keys of the operator's own, which keep their spelling; `spelled` are those we know."""

    item: Leaf
    spelled: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Key:
    name: str
    """PascalCase, as outside."""
    field: str
    """The model's field."""
    shape: "Shape"
    info: FieldInfo


@dataclass(frozen=True, slots=True)
class Section:
    keys: Mapping[str, Key]
    """By lower-case name."""


Shape = Leaf | ListOf | MapOf | Section


@dataclass(frozen=True, slots=True)
class Place:
    """A path that exists, in its proper spelling."""

    path: Path
    shape: Shape


@dataclass(frozen=True, slots=True)
class Misfit:
    """A path that does not exist: understood up to its last segment."""

    path: Path
    reason: str
    candidates: list[str] = field(default_factory=list)


@cache
def shape_of(model: type[BaseModel]) -> Section:
    """The section a model describes; sections inside sections included."""
    keys = (
        Key(to_pascal(name), name, _field_shape(info.annotation, info), info)
        for name, info in model.model_fields.items()
    )
    return Section({key.name.lower(): key for key in keys})


def _field_shape(annotation: Any, info: FieldInfo | None = None) -> Shape:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return shape_of(annotation)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _field_shape(arguments[0], info)
    if origin is tuple:
        return ListOf(_field_shape(arguments[0]))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        defaults = info.get_default(call_default_factory=True) if info is not None else {}
        return MapOf(_leaf(arguments[1]), {name.lower(): name for name in defaults})
    if origin in (Union, types.UnionType):
        return _field_shape(next(part for part in arguments if part is not types.NoneType), info)
    return _leaf(annotation, info)


def _leaf(annotation: Any, info: FieldInfo | None = None) -> Leaf:
    plain = get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation
    units = (part.name for part in (info.metadata if info is not None else ()) if isinstance(part, Unit))
    return Leaf(secret=plain is SecretStr, unit=next(units, ""))


def locate(root: Section, path: Path) -> Place | Misfit:
    """Where a path leads, ignoring case."""
    shape: Shape = root
    known: Path = ()
    for segment in path:
        step = _step(shape, segment)
        if step is None:
            return _misfit(root, shape, known, segment)
        known, shape = (*known, step[0]), step[1]
    return Place(known, shape)


def _step(shape: Shape, segment: Segment) -> tuple[Segment, Shape] | None:
    match shape:
        case Section(keys):
            key = keys.get(str(segment).lower())
            return None if key is None else (key.name, key.shape)
        case ListOf(item):
            index = _index(segment)
            return None if index is None else (index, item)
        case MapOf(item, spelled) if isinstance(segment, str) and segment:
            return spelled.get(segment.lower(), segment), item
        case _:
            return None


def _index(segment: Segment) -> int | None:
    text = str(segment)
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 6 else None


def _misfit(root: Section, shape: Shape, known: Path, segment: Segment) -> Misfit:
    path, parent = (*known, segment), key_text(known)
    match shape:
        case Section(keys):
            return Misfit(path, "", _candidates(root, keys, known, str(segment)))
        case ListOf():
            return Misfit(path, f"{parent} is a list: its elements are {parent}:0, {parent}:1 and so on")
        case MapOf():
            return Misfit(path, f"{parent} is a dictionary: its entries are {parent}:NAME")
        case _:
            return Misfit(path, f"{parent} takes a single value")


def _candidates(root: Section, keys: Mapping[str, Key], known: Path, segment: str) -> list[str]:
    """Names nearby in this section first; else the same name in another section."""
    near = suggestions(segment, (key.name for key in keys.values()))
    if near:
        return [key_text((*known, name)) for name in near]
    return [key_text(path) for path, _ in walk(root) if str(path[-1]).lower() == segment.lower()]


def misplaced(place: Place, value: Value) -> str | None:
    """Why a value of this form cannot stand at this place; None when it can. Null fits everywhere."""
    key = key_text(place.path)
    match place.shape:
        case Leaf() if isinstance(value, Empty):
            return "takes a single value"
        case ListOf() if isinstance(value, str):
            return f"is a list: give its elements as {key}:0, {key}:1 and so on"
        case MapOf() if isinstance(value, str):
            return f"is a dictionary: give its entries as {key}:NAME"
        case Section() if isinstance(value, str):
            return f"is a section: give its settings as {key}:NAME"
        case _:
            return None


def walk(section: Section, path: Path = ()) -> Iterator[tuple[Path, Key]]:
    """Every key of the tree in order, sections before their contents; lists of sections as `Name:N:Key`."""
    for key in section.keys.values():
        here = (*path, key.name)
        yield here, key
        match key.shape:
            case Section():
                yield from walk(key.shape, here)
            case ListOf(Section() as item):
                yield from walk(item, (*here, "N"))


def inside(shape: Shape, tree: Any) -> Any:
    """The same tree with the models' field names in place of PascalCase keys; what is unknown stays."""
    match shape:
        case Section(keys) if isinstance(tree, Mapping):
            known = {name: keys[name.lower()] for name in tree if name.lower() in keys}
            return {
                known[name].field if name in known else name: inside(known[name].shape, child)
                if name in known
                else child
                for name, child in tree.items()
            }
        case ListOf(item) if isinstance(tree, list | tuple):
            return [inside(item, child) for child in tree]
        case _:
            return tree


def outside(root: Section, location: Path) -> Path:
    """The path people know for the place pydantic names by fields; what it adds behind a value is left out."""
    shape: Shape = root
    path: Path = ()
    for part in location:
        match shape:
            case Section(keys):
                key = next((key for key in keys.values() if key.field == part), None)
                if key is None:
                    break
                path, shape = (*path, key.name), key.shape
            case ListOf(item) | MapOf(item):
                path, shape = (*path, part), item
            case _:
                break
    return path
