"""Trees as in .NET's configuration: leaves under paths of keys and indices, and how layers of them are merged."""

import enum
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from config.errors import Origin

Segment = str | int
"""A key, or an index into a list."""
Path = tuple[Segment, ...]


class Empty(enum.Enum):
    """A container without children, which is a leaf of its own: flattening would lose it otherwise."""

    LIST = "[]"
    OBJECT = "{}"


Value = str | None | Empty
"""Every source gives text, as in .NET; None is JSON's null: not set."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A leaf as one source gave it."""

    path: Path
    value: Value
    origin: Origin


def key_text(path: Path) -> str:
    """Return the path as it is written: `Http:ApiKeys:0:Name`."""
    return ":".join(str(segment) for segment in path)


def same_key(path: Path) -> str:
    """Return a text that is equal for two paths that are the same key in .NET: case is ignored."""
    return key_text(path).lower()


def flatten(tree: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yield every leaf of nested mappings and sequences with its path, in order."""
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
    """Return the tree of these leaves: dictionaries, and lists where the segments are indices."""
    root: dict[Segment, Any] = {}
    for path, value in leaves:
        _insert(root, ("", *path), value)
    return _to_containers(root[""]) if root else {}


@dataclass(frozen=True, slots=True)
class _Branch:
    children: dict[Segment, Any]


def _insert(root: dict[Segment, Any], path: Path, value: Any) -> None:
    children = root
    for segment in path[:-1]:
        children = children.setdefault(segment, _Branch({})).children
    children[path[-1]] = value


def _to_containers(node: Any) -> Any:
    if node is Empty.LIST:
        return []
    if node is Empty.OBJECT:
        return {}
    if not isinstance(node, _Branch):
        return node
    if all(isinstance(segment, int) for segment in node.children):
        return [_to_containers(child) for _, child in sorted(node.children.items())]
    return {segment: _to_containers(child) for segment, child in node.children.items()}


def effective(layers: Iterable[Iterable[Setting]]) -> list[Setting]:
    """Merge the layers: the last one wins leaf by leaf, null removes a leaf, lists are renumbered without gaps."""
    return _without_gaps(_without_filled_containers(_last_leaves(layers)))


def _last_leaves(layers: Iterable[Iterable[Setting]]) -> list[Setting]:
    """Replace earlier leaves by later ones; keep the first spelling of a key, as variables are often in capitals."""
    merged: dict[str, Setting] = {}
    for layer in layers:
        for setting in layer:
            first = merged.get(same_key(setting.path), setting)
            merged[same_key(setting.path)] = replace(setting, path=first.path)
    return [setting for setting in merged.values() if setting.value is not None]


def _without_filled_containers(settings: list[Setting]) -> list[Setting]:
    """Drop empty containers that another layer fills."""
    parents = {same_key(setting.path[:depth]) for setting in settings for depth in range(len(setting.path))}
    return [setting for setting in settings if same_key(setting.path) not in parents]


def _without_gaps(settings: list[Setting]) -> list[Setting]:
    """Renumber list elements: .NET binds them in order and accepts gaps, so elements 0 and 5 become 0 and 1."""
    found: dict[Path, set[int]] = {}
    for path in (setting.path for setting in settings):
        for depth, segment in enumerate(path):
            if isinstance(segment, int):
                found.setdefault(path[:depth], set()).add(segment)
    rank = {prefix: {index: place for place, index in enumerate(sorted(taken))} for prefix, taken in found.items()}

    def closed(path: Path) -> Path:
        return tuple(rank[path[:at]][part] if isinstance(part, int) else part for at, part in enumerate(path))

    return [replace(setting, path=closed(setting.path)) for setting in settings]
