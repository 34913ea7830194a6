"""Trees as .NET configuration sees them: leaves under paths of keys and indices. Knows no setting, no file."""

import enum
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from config.problems import Origin

Segment = str | int
"""A key, or an index into a list."""
Path = tuple[Segment, ...]


class Empty(enum.Enum):
    """A container without children is a leaf of its own, or it would vanish when flattened."""

    LIST = "[]"
    OBJECT = "{}"


Value = str | None | Empty
"""Every provider hands over text, as in .NET; None is JSON's null: not set."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One leaf as one provider gave it."""

    path: Path
    value: Value
    origin: Origin


def key_text(path: Path) -> str:
    """As people write it: `Http:ApiKeys:0:Name`."""
    return ":".join(str(segment) for segment in path)


def same_key(path: Path) -> str:
    """Equal for two paths exactly when .NET takes them for the same key: case does not count."""
    return key_text(path).lower()


def flatten(tree: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every leaf of nested mappings and sequences with its path, in order."""
    if isinstance(tree, Mapping):
        children: Iterable[tuple[Segment, Any]] = tree.items()
    elif isinstance(tree, Sequence) and not isinstance(tree, str | bytes):
        children = enumerate(tree)
    else:
        yield path, tree
        return
    if not tree:
        yield path, Empty.OBJECT if isinstance(tree, Mapping) else Empty.LIST
    for segment, child in children:
        yield from flatten(child, (*path, segment))


def unflatten(leaves: Iterable[tuple[Path, Any]]) -> Any:
    """The tree these leaves came from: dictionaries, and lists where the segments are indices."""
    root: dict[Segment, Any] = {}
    for path, value in leaves:
        _plant(root, ("", *path), value)
    return _grown(root[""]) if root else {}


@dataclass(frozen=True, slots=True)
class _Branch:
    children: dict[Segment, Any]


def _plant(root: dict[Segment, Any], path: Path, value: Any) -> None:
    children = root
    for segment in path[:-1]:
        children = children.setdefault(segment, _Branch({})).children
    children[path[-1]] = value


def _grown(node: Any) -> Any:
    if node is Empty.LIST:
        return []
    if node is Empty.OBJECT:
        return {}
    if not isinstance(node, _Branch):
        return node
    if all(isinstance(segment, int) for segment in node.children):
        return [_grown(child) for _, child in sorted(node.children.items())]
    return {segment: _grown(child) for segment, child in node.children.items()}


def effective(layers: Iterable[Iterable[Setting]]) -> list[Setting]:
    """What the layers come to: the last one wins leaf by leaf, null unsets, lists close their gaps."""
    return _without_gaps(_without_hollow(_overlaid(layers)))


def _overlaid(layers: Iterable[Iterable[Setting]]) -> list[Setting]:
    """Later leaves replace earlier ones, but the first spelling stays: variables are often all capitals."""
    merged: dict[str, Setting] = {}
    for layer in layers:
        for setting in layer:
            first = merged.get(same_key(setting.path), setting)
            merged[same_key(setting.path)] = replace(setting, path=first.path)
    return [setting for setting in merged.values() if setting.value is not None]


def _without_hollow(settings: list[Setting]) -> list[Setting]:
    """An empty container counts only where no layer put anything into it."""
    parents = {same_key(setting.path[:depth]) for setting in settings for depth in range(len(setting.path))}
    return [setting for setting in settings if same_key(setting.path) not in parents]


def _without_gaps(settings: list[Setting]) -> list[Setting]:
    """.NET binds a list's elements in order and does not mind missing numbers; so element 0, 5 are 0, 1."""
    found: dict[Path, set[int]] = {}
    for path in (setting.path for setting in settings):
        for depth, segment in enumerate(path):
            if isinstance(segment, int):
                found.setdefault(path[:depth], set()).add(segment)
    rank = {prefix: {index: place for place, index in enumerate(sorted(taken))} for prefix, taken in found.items()}

    def closed(path: Path) -> Path:
        return tuple(rank[path[:at]][part] if isinstance(part, int) else part for at, part in enumerate(path))

    return [replace(setting, path=closed(setting.path)) for setting in settings]
