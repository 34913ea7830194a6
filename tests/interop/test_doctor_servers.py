"""`doctor ws` against real servers of Socket.IO 1 to 4."""

import pytest

from tests.support.js import js_server
from worker.cli.doctor import Doctor, Target


@pytest.mark.parametrize("version", [1, 2, 3, 4])
async def test_examine_names_version_and_transports_and_finds_no_fault(version: int) -> None:
    async with js_server(version=version, pingInterval=500) as server:
        target = Target(server.url, "/api/v1/org-socket", "socket-notification", user="u", publish=True)
        checks = {check.name: check for check in await Doctor(target, lambda _: None).examine()}
    assert f"Engine.IO {3 if version < 3 else 4}" in checks["open"].text
    assert checks["transports"].text.startswith("websocket and long-polling")
    assert "acknowledged in order" in checks["publish"].text
    assert {check.name for check in checks.values() if check.verdict == "failed"} == set()


@pytest.mark.parametrize("version", [2, 4])
async def test_examine_recommends_polling_where_no_websocket_gets_through(version: int) -> None:
    async with js_server(version=version, transports=["polling"]) as server:
        target = Target(server.url, "/api/v1/org-socket", "socket-notification")
        checks = {check.name: check for check in await Doctor(target, lambda _: None).examine()}
    assert checks["upgrade"].verdict == "failed"
    assert "WebSocket:Transports" in checks["transports"].remedy
