"""What the integration tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.redis_server import RedisServer


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis of the test's own, for hubs that share one."""
    server = RedisServer(tmp_path / "redis")
    server.start()
    yield server
    server.kill()
