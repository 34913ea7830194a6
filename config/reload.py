"""Reading the settings anew while the service runs: what changed, what of it holds at once, what waits for a restart.

A reload that cannot be used changes nothing. Knows no part of the service: whoever holds a setting is told elsewhere.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path as FilePath
from typing import Any, Final

from pydantic import BaseModel

from config.layers import Loaded
from config.problems import ConfigError, Origin, Problem
from config.settings import Settings
from config.shape import Key, Section, shape_of
from config.tree import Path, key_text

HOT: Final = (
    "WebSocket:DefaultUserId",
    "WebSocket:ReconnectionDelay",
    "WebSocket:ReconnectionAttempts",
    "WebSocket:Timeout",
    "WebSocket:AutoReconnect",
    "WebSocket:TaskDelayOnError",
    "WebSocket:MaxReconnectionDelay",
    "WebSocket:MinUptime",
    "WebSocket:SlowRetryDelay",
    "WebSocket:Confirmation",
    "WebSocket:AckTimeout",
    "WebSocket:Window",
    "WebSocket:Token",
    "WebSocket:TokenFile",
    "WebSocket:Headers",
    "WebSocket:VerifyTls",
    "WebSocket:CaFile",
    "WebSocket:IncludeStackTrace",
    "WebSocket:IncludeResult",
    "WebSocket:Progress",
    "Worker:Concurrency",
    "Worker:Processes",
    "Worker:MaxAttempts",
    "Worker:BackoffDelay",
    "Worker:MaxBackoffDelay",
    "Worker:Timeout",
    "Worker:Execution",
    "Queue:Retention",
    "Queue:AuditRetention",
    "Http:ApiKeys",
    "Http:AllowedHosts",
    "Http:RateLimit",
    "Http:FailedLogins",
    "Insignia",
    "Handlers",
    "HostOptions:ShutdownTimeout",
    "Logging",
)
"""What holds at once after a reload: keys, and sections with all that lies in them. docs/operations.md names them."""


@dataclass(frozen=True, slots=True)
class Change:
    """The keys whose values are others now."""

    applied: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()
    """They hold after a restart; until then the values from before do."""


def again(before: Loaded, read: Callable[[], Loaded]) -> tuple[Loaded, Change]:
    """What holds from now on, and what that changes. ConfigError: it cannot be used, and nothing changes."""
    after = read()
    gone = [file for file in before.files if file not in after.files]
    if gone:
        raise ConfigError([_vanished(file) for file in gone])
    keys = list(_changed(before.settings, after.settings, shape_of(Settings), ()))
    change = Change(*(tuple(key_text(path) for path in keys if is_hot(path) is hot) for hot in (True, False)))
    return _in_force(before, after, change.waiting), change


def is_hot(path: Path) -> bool:
    """Whether a new value for this key holds without a restart."""
    return any(key_text(path[:length]) in HOT for length in range(1, len(path) + 1))


def _vanished(file: FilePath) -> Problem:
    text = f"{file} was read at the start and is not there now; put it back, or restart without it"
    return Problem(text, Origin("file", str(file)))


def _changed(before: BaseModel, after: BaseModel, shape: Section, path: Path) -> Iterator[Path]:
    for key, old, new in _pairs(before, after, shape):
        if isinstance(key.shape, Section):
            yield from _changed(old, new, key.shape, (*path, key.name))
        elif old != new:
            yield (*path, key.name)


def _in_force(before: Loaded, after: Loaded, waiting: tuple[str, ...]) -> Loaded:
    """The new settings, but for those that wait: what a page or a log tells is what the service does."""
    origins = {key: origin for key, origin in after.origins.items() if not _below(key, waiting)}
    origins |= {key: origin for key, origin in before.origins.items() if _below(key, waiting)}
    return replace(
        after,
        settings=_mixed(before.settings, after.settings, shape_of(Settings), (), waiting),
        environment=before.environment,
        content_root=before.content_root,
        state_dir=before.state_dir,
        origins=origins,
    )


def _mixed(before: Any, after: Any, shape: Section, path: Path, waiting: tuple[str, ...]) -> Any:
    kept: dict[str, Any] = {}
    for key, old, new in _pairs(before, after, shape):
        here = (*path, key.name)
        if isinstance(key.shape, Section):
            kept[key.field] = _mixed(old, new, key.shape, here, waiting)
        elif key_text(here) in waiting:
            kept[key.field] = old
    return after.model_copy(update=kept)


def _pairs(before: BaseModel, after: BaseModel, shape: Section) -> Iterator[tuple[Key, Any, Any]]:
    for key in shape.keys.values():
        yield key, getattr(before, key.field), getattr(after, key.field)


def _below(key: str, ancestors: tuple[str, ...]) -> bool:
    return any(key == ancestor or key.startswith(f"{ancestor}:") for ancestor in ancestors)
