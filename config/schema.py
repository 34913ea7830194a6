"""The shape of the settings: PascalCase keys, lists, dictionaries, secrets.

It is derived from the models, so that a key is declared in one place only.
"""

import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.alias_generators import to_pascal
from pydantic.fields import FieldInfo

from config.errors import suggestions
from config.merge import Empty, Path, Segment, Value, key_text


@dataclass(frozen=True, slots=True)
class Unit:
    """The unit of a number: an annotation of a field, for messages and documentation."""

    name: str


@dataclass(frozen=True, slots=True)
class Hot:
    """Marks a field whose new value takes effect on a reload; on a section, all fields below it."""


@dataclass(frozen=True, slots=True)
class LeafShape:
    """One value."""

    secret: bool
    unit: str = ""
    is_number: bool = False


@dataclass(frozen=True, slots=True)
class ListOf:
    item: "Shape"


@dataclass(frozen=True, slots=True)
class MapOf:
    """Keys chosen by the operator, which keep their spelling; `spelled` are those with a known spelling."""

    item: LeafShape
    spelled: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Key:
    name: str
    """In PascalCase, as operators write it."""
    field: str
    """The field of the model."""
    shape: "Shape"
    info: FieldInfo

    @property
    def is_hot(self) -> bool:
        """Return whether the field itself is marked as `Hot`; a field of a hot section need not be."""
        return any(isinstance(part, Hot) for part in self.info.metadata)


@dataclass(frozen=True, slots=True)
class SectionShape:
    keys: Mapping[str, Key]
    """By lower-case name."""


Shape = LeafShape | ListOf | MapOf | SectionShape


@dataclass(frozen=True, slots=True)
class KnownKey:
    """A path that exists, in its canonical spelling."""

    path: Path
    shape: Shape


@dataclass(frozen=True, slots=True)
class UnknownKey:
    """A path that does not exist; all but its last segment is known."""

    path: Path
    reason: str
    candidates: list[str] = field(default_factory=list)


@cache
def shape_of(model: type[BaseModel]) -> SectionShape:
    """Return the shape of a model, with its nested sections."""
    keys = (
        Key(to_pascal(name), name, _field_shape(info.annotation, info), info)
        for name, info in model.model_fields.items()
    )
    return SectionShape({key.name.lower(): key for key in keys})


def _field_shape(annotation: Any, info: FieldInfo | None = None, unit: str = "") -> Shape:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return shape_of(annotation)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _field_shape(arguments[0], info, _unit(arguments[1:]) or unit)
    if origin is tuple:
        return ListOf(_field_shape(arguments[0]))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        defaults = info.get_default(call_default_factory=True) if info is not None else {}
        return MapOf(_leaf(arguments[1]), {name.lower(): name for name in defaults})
    if origin in (Union, types.UnionType):
        return _field_shape(next(part for part in arguments if part is not types.NoneType), info)
    return _leaf(annotation, info, unit)


def _leaf(annotation: Any, info: FieldInfo | None = None, unit: str = "") -> LeafShape:
    plain = get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation
    own = _unit(info.metadata if info is not None else ())
    return LeafShape(plain is SecretStr, own or unit, plain in (int, float))


def _unit(metadata: Sequence[Any]) -> str:
    return next((part.name for part in metadata if isinstance(part, Unit)), "")


def locate(root: SectionShape, path: Path) -> KnownKey | UnknownKey:
    """Find the key of a path, ignoring case."""
    shape: Shape = root
    known: Path = ()
    for segment in path:
        step = _step(shape, segment)
        if step is None:
            return _unknown_key(root, shape, known, segment)
        known, shape = (*known, step[0]), step[1]
    return KnownKey(known, shape)


def _step(shape: Shape, segment: Segment) -> tuple[Segment, Shape] | None:
    match shape:
        case SectionShape(keys):
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


def _unknown_key(root: SectionShape, shape: Shape, known: Path, segment: Segment) -> UnknownKey:
    path, parent = (*known, segment), key_text(known)
    match shape:
        case SectionShape(keys):
            return UnknownKey(path, "", _candidates(root, keys, known, str(segment)))
        case ListOf():
            return UnknownKey(path, f"{parent} is a list: its elements are {parent}:0, {parent}:1 and so on")
        case MapOf():
            return UnknownKey(path, f"{parent} is a dictionary: its entries are {parent}:NAME")
        case _:
            return UnknownKey(path, f"{parent} takes a single value")


def _candidates(root: SectionShape, keys: Mapping[str, Key], known: Path, segment: str) -> list[str]:
    """Return similar names in this section, else the same name in other sections."""
    near = suggestions(segment, (key.name for key in keys.values()))
    if near:
        return [key_text((*known, name)) for name in near]
    return [key_text(path) for path, _ in walk(root) if str(path[-1]).lower() == segment.lower()]


def form_fault(place: KnownKey, value: Value) -> str | None:
    """Return why a key cannot have a value of this form; None when it can. Null is allowed everywhere."""
    key = key_text(place.path)
    match place.shape:
        case LeafShape() if isinstance(value, Empty):
            return "takes a single value"
        case ListOf() if isinstance(value, str):
            return f"is a list: give its elements as {key}:0, {key}:1 and so on"
        case MapOf() if isinstance(value, str):
            return f"is a dictionary: give its entries as {key}:NAME"
        case SectionShape() if isinstance(value, str):
            return f"is a section: give its settings as {key}:NAME"
        case _:
            return None


def walk(section: SectionShape, path: Path = ()) -> Iterator[tuple[Path, Key]]:
    """Yield every key in order, sections before their contents; lists of sections as `Name:N:Key`."""
    for key in section.keys.values():
        here = (*path, key.name)
        yield here, key
        match key.shape:
            case SectionShape():
                yield from walk(key.shape, here)
            case ListOf(SectionShape() as item):
                yield from walk(item, (*here, "N"))


def to_field_names(shape: Shape, tree: Any) -> Any:
    """Return the tree with the models' field names instead of PascalCase keys; unknown keys are kept."""
    match shape:
        case SectionShape(keys) if isinstance(tree, Mapping):
            known = {name: keys[name.lower()] for name in tree if name.lower() in keys}
            return {
                known[name].field if name in known else name: to_field_names(known[name].shape, child)
                if name in known
                else child
                for name, child in tree.items()
            }
        case ListOf(item) if isinstance(tree, list | tuple):
            return [to_field_names(item, child) for child in tree]
        case _:
            return tree


def to_key_path(root: SectionShape, location: Path) -> Path:
    """Return the path of keys for a location of pydantic's errors; what it appends after a value is left out."""
    shape: Shape = root
    path: Path = ()
    for part in location:
        match shape:
            case SectionShape(keys):
                key = next((key for key in keys.values() if key.field == part), None)
                if key is None:
                    break
                path, shape = (*path, key.name), key.shape
            case ListOf(item) | MapOf(item):
                path, shape = (*path, part), item
            case _:
                break
    return path
