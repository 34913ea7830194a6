"""The settings in force, each with its origin, its default and its meaning; secrets masked."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from config.layers import Loaded
from config.reload import is_hot
from config.show import Explained, explained
from worker.door.answers import Answer
from worker.door.problems import json_response
from worker.door.routes import Route


class SettingAnswer(Answer):
    key: str
    value: Any
    """`***` for a secret."""
    origin: str
    default: Any
    description: str
    restart: bool
    """A new value holds only after a restart."""


class SettingsAnswer(Answer):
    environment: str
    files: list[str]
    settings: list[SettingAnswer]


@dataclass(frozen=True, slots=True)
class SettingsRoutes:
    """`/api/v1/settings`."""

    loaded: Callable[[], Loaded]
    """The settings in force."""

    def routes(self) -> Sequence[Route]:
        answers = {200: SettingsAnswer}
        summary = "The settings in force, and where each comes from"
        return (Route("GET", "/api/v1/settings", self.show, summary, "admin", answers=answers),)

    async def show(self, _request: web.Request) -> web.Response:
        loaded = self.loaded()
        return json_response(
            {
                "environment": loaded.environment,
                "files": [str(file) for file in loaded.files],
                "settings": [_view(row) for row in explained(loaded)],
            }
        )


def _view(row: Explained) -> Mapping[str, Any]:
    return {
        "key": row.key,
        "value": row.value,
        "origin": str(row.origin),
        "default": row.default,
        "description": row.description,
        "restart": not is_hot(tuple(row.key.split(":"))),
    }
