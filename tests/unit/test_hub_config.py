"""The hub's configuration: what each of its settings becomes."""

import time
from pathlib import Path
from typing import Any

import jwt
import pytest

from config.settings import Settings
from worker.core.clock import Clock
from worker.hub.config import HubConfig
from worker.hub.server import HubServer
from worker.service.factories import HubTokenIssuer


def config_of(tmp_path: Path, **hub: Any) -> HubConfig:
    tree: dict[str, Any] = {"Hub": hub}
    return HubConfig.from_settings(Settings(**tree), state_dir=tmp_path, content_root=tmp_path)


def test_heartbeat_without_settings_is_that_of_each_endpoint(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    assert (config.timing.ping_interval, config.timing.ping_timeout) == (25.0, 5.0)
    assert (config.native_heartbeat.interval, config.native_heartbeat.timeout) == (30.0, 15.0)


def test_heartbeat_that_is_set_applies_to_both_endpoints(tmp_path: Path) -> None:
    config = config_of(tmp_path, HeartbeatInterval="00:00:40", HeartbeatTimeout=60)
    assert (config.timing.ping_interval, config.timing.ping_timeout) == (40.0, 60.0)
    assert (config.native_heartbeat.interval, config.native_heartbeat.timeout) == (40.0, 60.0)


@pytest.mark.parametrize(("word", "evicts"), [("reject", False), ("Close-Oldest", True)])
def test_when_full_decides_which_connection_has_to_go(tmp_path: Path, word: str, evicts: bool) -> None:
    assert config_of(tmp_path, WhenFull=word).connection_limits.evict_oldest is evicts
    assert config_of(tmp_path).connection_limits.evict_oldest is False


@pytest.mark.parametrize(
    ("hub", "seconds"), [({}, 3600), ({"Redis": "redis://127.0.0.1:1"}, 300), ({"Jwt": {"Key": "k" * 32}}, 300)]
)
async def test_token_of_a_key_is_short_where_other_hubs_may_accept_it(
    tmp_path: Path, hub: dict[str, Any], seconds: int
) -> None:
    server = HubServer(config_of(tmp_path, **hub), Clock(), lambda _: None)
    before = int(time.time())
    token = HubTokenIssuer(server).token("ann", "service:key", read_only=True, token_id=None)
    expires = jwt.decode(token, options={"verify_signature": False})["exp"]  # a hub asks Redis before it accepts one
    assert 0 <= expires - before - seconds <= 30
