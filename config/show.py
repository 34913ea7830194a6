"""Every effective value and where it came from, for `config show`. Secrets are masked. Knows no output."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from config.binding import masked
from config.layers import Loaded
from config.problems import Origin
from config.settings import Settings
from config.shape import ListOf, MapOf, Section, Shape, shape_of
from config.tree import Empty, Path, flatten, key_text


@dataclass(frozen=True, slots=True)
class Row:
    """One effective value; `value` is as JSON has it, an empty list or dictionary included."""

    key: str
    value: Any
    origin: Origin


def rows(loaded: Loaded) -> list[Row]:
    """In the order of the tree: `Http:ApiKeys:0:Name` for what lies in lists."""
    return [
        Row(key_text(path), _plain(masked(path, value)), loaded.origin(key_text(path)))
        for path, value in leaves(loaded.settings)
    ]


@dataclass(frozen=True, slots=True)
class Explained(Row):
    """A row with what a page tells beside it."""

    default: Any
    """As JSON has it; None where there is none, as for the elements of a list."""
    description: str


def explained(loaded: Loaded) -> list[Explained]:
    """The rows, each with its default and its meaning."""
    usual = {key_text(path): _plain(masked(path, value)) for path, value in leaves(Settings())}
    descriptions = {key_text(path): _description(path) for path, _ in leaves(loaded.settings)}
    return [
        Explained(row.key, row.value, row.origin, usual.get(row.key), descriptions[row.key]) for row in rows(loaded)
    ]


def _description(path: Path) -> str:
    """Of the last key that has a name of ours: the elements of a list or dictionary share theirs."""
    shape: Shape = shape_of(Settings)
    text = ""
    for segment in path:
        match shape:
            case Section(keys):
                key = keys[str(segment).lower()]
                shape, text = key.shape, key.info.description or ""
            case ListOf(item) | MapOf(item):
                shape = item
    return text


def leaves(settings: Settings) -> Iterator[tuple[Path, Any]]:
    """The typed values under the paths people know; secrets still wrapped, empty containers as Empty."""
    yield from flatten(_outside(settings, shape_of(type(settings))))


def _outside(node: Any, shape: Shape) -> Any:
    if isinstance(node, BaseModel) and isinstance(shape, Section):
        return {key.name: _outside(getattr(node, key.field), key.shape) for key in shape.keys.values()}
    if isinstance(node, tuple):
        return [_outside(child, shape_of(type(child)) if isinstance(child, BaseModel) else shape) for child in node]
    return node


def _plain(value: Any) -> Any:
    return {Empty.LIST: [], Empty.OBJECT: {}}[value] if isinstance(value, Empty) else value
