"""One Chromium for each file, and one event loop with it; a fresh profile and a fresh hub for each test."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_asyncio

from tests.support.chromium import a_chromium, a_profile
from tests.support.fault_proxy import FaultProxy, fault_proxy
from tests.support.hub import RunningHub, running_hub
from worker.api.static_files import add_page


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium() -> AsyncIterator[Any]:
    async with a_chromium() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="module")
async def context(chromium: Any) -> AsyncIterator[Any]:
    async with a_profile(chromium) as context:
        yield context


@pytest_asyncio.fixture(loop_scope="module")
async def running(tmp_path: Path) -> AsyncIterator[RunningHub]:
    async with running_hub(tmp_path, mount=add_page) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def proxy(running: RunningHub) -> AsyncIterator[FaultProxy]:
    async with fault_proxy(running.port) as proxy:
        yield proxy
