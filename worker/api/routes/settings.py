"""`/api/v1/settings`: the settings in force, with their origin, default and meaning; secrets are masked."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from typing_extensions import TypedDict

from config.loader import LoadedSettings
from config.reload import is_hot
from config.show import DescribedSetting, described_rows
from worker.api.errors import json_response
from worker.api.routing import Route
from worker.api.schemas import response


@response
class SettingAnswer(TypedDict):
    key: str
    value: Any
    """`***` for a secret."""
    origin: str
    unit: str
    """`milliseconds`, `seconds`, `bytes`, `percent`, or empty."""
    default: Any
    description: str
    restart: bool
    """A new value takes effect only after a restart."""


@response
class SettingsAnswer(TypedDict):
    environment: str
    files: list[str]
    settings: list[SettingAnswer]


@dataclass(frozen=True, slots=True)
class SettingsRoutes:
    """`/api/v1/settings`."""

    loaded: Callable[[], LoadedSettings]
    """Returns the settings in force."""

    def routes(self) -> Sequence[Route]:
        answers = {200: SettingsAnswer}
        summary = "The settings in force, and the origin of each"
        return (Route("GET", "/api/v1/settings", self.show, summary, "admin", answers=answers),)

    async def show(self, _request: web.Request) -> web.Response:
        loaded = self.loaded()
        settings: SettingsAnswer = {
            "environment": loaded.environment,
            "files": [str(file) for file in loaded.files],
            "settings": [_setting(row) for row in described_rows(loaded)],
        }
        return json_response(settings)


def _setting(row: DescribedSetting) -> SettingAnswer:
    return {
        "key": row.key,
        "value": row.value,
        "origin": str(row.origin),
        "unit": row.unit,
        "default": row.default,
        "description": row.description,
        "restart": not is_hot(tuple(row.key.split(":"))),
    }
