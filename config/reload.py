"""Compares reloaded settings with those in force: what changed, what applies at once, what needs a restart.

A reload with faults changes nothing. The service applies the changes to its parts; nothing here knows them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path as FilePath
from typing import Any

from pydantic import BaseModel

from config.errors import ConfigError, Origin, SettingsProblem
from config.loader import LoadedSettings
from config.merge import Path, key_text
from config.schema import Key, SectionShape, shape_of
from config.settings import Settings


@dataclass(frozen=True, slots=True)
class Change:
    """The keys whose values have changed."""

    applied: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()
    """They apply after a restart; until then the earlier values do."""


def reload(before: LoadedSettings, read: Callable[[], LoadedSettings]) -> tuple[LoadedSettings, Change]:
    """Return the settings that are in force from now on, and what changed. Raises ConfigError when they have faults."""
    after = read()
    missing = [file for file in before.files if file not in after.files]
    if missing:
        raise ConfigError([_missing_file(file) for file in missing])
    keys = list(_changed(before.settings, after.settings, shape_of(Settings), ()))
    change = Change(*(tuple(key_text(path) for path in keys if is_hot(path) is hot) for hot in (True, False)))
    return _in_force(before, after, change.waiting), change


@cache
def hot_keys() -> tuple[str, ...]:
    """Return the keys and whole sections that are marked as `Hot`, in the order of the tree."""
    return tuple(key_text(path) for path in _hot_paths(shape_of(Settings), ()))


def _hot_paths(shape: SectionShape, path: Path) -> Iterator[Path]:
    for key in shape.keys.values():
        here = (*path, key.name)
        if key.is_hot:
            yield here
        elif isinstance(key.shape, SectionShape):
            yield from _hot_paths(key.shape, here)


def is_hot(path: Path) -> bool:
    """Return whether a new value of this key takes effect on a reload, without a restart."""
    return any(key_text(path[:length]) in hot_keys() for length in range(1, len(path) + 1))


def _missing_file(file: FilePath) -> SettingsProblem:
    text = f"{file} was read at the start and is missing now: put it back, or restart without it"
    return SettingsProblem(text, Origin("file", str(file)))


def _changed(before: BaseModel, after: BaseModel, shape: SectionShape, path: Path) -> Iterator[Path]:
    for key, old, new in _pairs(before, after, shape):
        if isinstance(key.shape, SectionShape):
            yield from _changed(old, new, key.shape, (*path, key.name))
        elif old != new:
            yield (*path, key.name)


def _in_force(before: LoadedSettings, after: LoadedSettings, waiting: tuple[str, ...]) -> LoadedSettings:
    """Return the new settings with the earlier values of those that wait, so that they show what the service does."""
    origins = {key: origin for key, origin in after.origins.items() if not _below(key, waiting)}
    origins |= {key: origin for key, origin in before.origins.items() if _below(key, waiting)}
    return replace(
        after,
        settings=_with_waiting(before.settings, after.settings, shape_of(Settings), (), waiting),
        environment=before.environment,
        content_root=before.content_root,
        state_dir=before.state_dir,
        origins=origins,
    )


def _with_waiting(before: Any, after: Any, shape: SectionShape, path: Path, waiting: tuple[str, ...]) -> Any:
    kept: dict[str, Any] = {}
    for key, old, new in _pairs(before, after, shape):
        here = (*path, key.name)
        if isinstance(key.shape, SectionShape):
            kept[key.field] = _with_waiting(old, new, key.shape, here, waiting)
        elif key_text(here) in waiting:
            kept[key.field] = old
    return after.model_copy(update=kept)


def _pairs(before: BaseModel, after: BaseModel, shape: SectionShape) -> Iterator[tuple[Key, Any, Any]]:
    for key in shape.keys.values():
        yield key, getattr(before, key.field), getattr(after, key.field)


def _below(key: str, ancestors: tuple[str, ...]) -> bool:
    return any(key == ancestor or key.startswith(f"{ancestor}:") for ancestor in ancestors)
