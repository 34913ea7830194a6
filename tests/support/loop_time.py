"""The clock of the event loop, which a test can set forward instead of waiting."""

import asyncio

import pytest


def pass_time(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let the running event loop believe that so many seconds have passed: what was due within them is due now."""
    loop = asyncio.get_running_loop()
    before = loop.time
    monkeypatch.setattr(loop, "time", lambda: before() + seconds)
