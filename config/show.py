"""Lists every effective value with its origin, for `config show` and the dashboard. Secrets are masked."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from config.binding import masked
from config.errors import Origin
from config.loader import LoadedSettings
from config.merge import Empty, Path, flatten, key_text
from config.schema import LeafShape, ListOf, MapOf, SectionShape, Shape, shape_of
from config.settings import Settings


@dataclass(frozen=True, slots=True)
class SettingRow:
    """One effective value; `value` is JSON's, including empty lists and dictionaries."""

    key: str
    value: Any
    origin: Origin
    unit: str
    """Such as `milliseconds`; empty for what is not a quantity."""


def rows(loaded: LoadedSettings) -> list[SettingRow]:
    """Return all values in the order of the models, with keys such as `Http:ApiKeys:0:Name` for list elements."""
    return [
        SettingRow(key_text(path), _plain(masked(path, value)), loaded.origin(key_text(path)), _meaning(path)[1])
        for path, value in leaves(loaded.settings)
    ]


@dataclass(frozen=True, slots=True)
class DescribedSetting(SettingRow):
    """A row with its default and description."""

    default: Any
    """JSON's value; None where there is none, as for elements of a list."""
    description: str


def described_rows(loaded: LoadedSettings) -> list[DescribedSetting]:
    """Return all rows, each with its default and description."""
    defaults = {key_text(path): _plain(masked(path, value)) for path, value in leaves(Settings())}
    descriptions = {key_text(path): _meaning(path)[0] for path, _ in leaves(loaded.settings)}
    return [
        DescribedSetting(row.key, row.value, row.origin, row.unit, defaults.get(row.key), descriptions[row.key])
        for row in rows(loaded)
    ]


def _meaning(path: Path) -> tuple[str, str]:
    """Return description and unit of a key; elements of a list or dictionary have those of their container."""
    shape: Shape = shape_of(Settings)
    text = ""
    for segment in path:
        match shape:
            case SectionShape(keys):
                key = keys[str(segment).lower()]
                shape, text = key.shape, key.info.description or ""
            case ListOf(item) | MapOf(item):
                shape = item
    return text, shape.unit if isinstance(shape, LeafShape) else ""


def leaves(settings: Settings) -> Iterator[tuple[Path, Any]]:
    """Yield the typed values with the paths operators write; secrets are wrapped, empty containers are Empty."""
    yield from flatten(_with_key_names(settings, shape_of(type(settings))))


def _with_key_names(node: Any, shape: Shape) -> Any:
    if isinstance(node, BaseModel) and isinstance(shape, SectionShape):
        return {key.name: _with_key_names(getattr(node, key.field), key.shape) for key in shape.keys.values()}
    if isinstance(node, tuple):
        return [
            _with_key_names(child, shape_of(type(child)) if isinstance(child, BaseModel) else shape) for child in node
        ]
    return node


def _plain(value: Any) -> Any:
    return {Empty.LIST: [], Empty.OBJECT: {}}[value] if isinstance(value, Empty) else value
