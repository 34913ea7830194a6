"""Handlers of the tests in tests/system. They signal by files in the state directory, and run where no test code is."""

import asyncio
import os
import time
from pathlib import Path

from pydantic import BaseModel

from worker.handler import Context, handler


class Signals(BaseModel):
    """Names of files in the state directory."""

    begun: str = "begun"
    """Created by the handler when it begins."""
    go: str = "go"
    """The handler waits until this file exists."""

    def begin(self) -> None:
        _in_state(self.begun).touch()

    @property
    def may_go(self) -> bool:
        return _in_state(self.go).exists()


def _in_state(name: str) -> Path:
    return Path(os.environ["STATE_DIRECTORY"], name)


@handler("waits")
async def waits(payload: Signals, context: Context) -> int:
    """Returns the number of the attempt."""
    payload.begin()
    while not payload.may_go:
        await asyncio.sleep(0.05)
    return context.attempt


@handler("blocks", movable=False)
async def blocks(payload: Signals) -> str:
    """Keeps the event loop from running until the file exists."""
    payload.begin()
    while not payload.may_go:
        time.sleep(0.05)
    return "went"


@handler("fails")
async def fails(payload: Signals) -> None:
    raise ValueError("this job fails on purpose")


@handler("eats", execution="process")
def eats(payload: Signals) -> int:
    """Takes memory until the system gives no more."""
    eaten = bytearray()
    while True:
        eaten += b"x" * (16 << 20)
