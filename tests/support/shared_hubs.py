"""Hubs that share one Redis."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from config.hub_settings import HubSettings, JwtSettings
from tests.support.hub import RunningHub, running_hub
from tests.support.redis_server import RedisServer

KEY = "the-key-of-both-hubs-in-this-test-0123456789"


@contextlib.asynccontextmanager
async def hubs(server: RedisServer, tmp_path: Path, count: int = 2) -> AsyncIterator[list[RunningHub]]:
    settings = HubSettings(redis=SecretStr(server.url), jwt=JwtSettings(key=SecretStr(KEY)))
    async with contextlib.AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(running_hub(tmp_path / f"state{n}", settings=settings))
            for n in range(count)
        ]


def number_of(event: tuple[Any, ...]) -> int:
    """The number that `message()` was given."""
    return int(event[1]["payload"]["notificationId"].removeprefix("news-"))
