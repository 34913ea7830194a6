"""Handlers for tests, loaded by Worker:Handlers=tests.support.jobs."""

import asyncio
import os
import re
import signal
import time
from pathlib import Path

from pydantic import BaseModel

from worker.errors import Discard
from worker.handler import Context, handler


class Nothing(BaseModel):
    """A payload of no interest."""

    number: int = 0


class Pause(BaseModel):
    seconds: float = 0.0
    mark: str | None = None
    """A file that gets one line per start."""


class Text(BaseModel):
    text: str


@handler("noop")
async def noop(payload: Nothing) -> None:
    """Succeeds at once."""


_left: list[asyncio.Task[None]] = []


@handler("leave")
async def leave(payload: Nothing) -> None:
    """Succeeds at once, and leaves a task that goes on."""
    _left.append(asyncio.create_task(asyncio.sleep(3600)))


class Size(BaseModel):
    size: int
    """Bytes."""


@handler("large")
async def large(payload: Size) -> str:
    """Has a result of this size."""
    return "x" * payload.size


@handler("sleep")
async def sleep(payload: Pause) -> dict[str, float]:
    _leave(payload.mark)
    await asyncio.sleep(payload.seconds)
    return {"slept": payload.seconds}


class Until(BaseModel):
    mark: str
    """A file that gets one line per start."""
    gone: str
    """The job ends when this file is there."""


@handler("hold")
async def hold(payload: Until) -> None:
    _leave(payload.mark)
    while not Path(payload.gone).exists():
        await asyncio.sleep(0.01)


@handler("step")
async def step(payload: Until, context: Context) -> None:
    """Reports progress repeatedly until the file exists."""
    while not Path(payload.gone).exists():
        context.progress(40, "ครึ่งทาง")
        await asyncio.sleep(0.02)


@handler("block")
async def block(payload: Pause) -> None:
    """Blocks the event loop with a call into the kernel."""
    _leave(payload.mark)
    time.sleep(payload.seconds)


@handler("spin")
async def spin(payload: Pause) -> None:
    """Blocks the event loop with Python code."""
    _leave(payload.mark)
    until = time.monotonic() + payload.seconds
    while time.monotonic() < until:
        pass


_BACKTRACKING = re.compile("(a*)*b")
_ENDLESS = "a" * 64
"""That expression needs centuries for it, and holds the interpreter's lock in the meantime."""


@handler("backtrack")
async def backtrack(payload: Pause) -> None:
    _leave(payload.mark)
    _BACKTRACKING.match(_ENDLESS)


@handler("backtrack-thread")
def backtrack_thread(payload: Pause) -> None:
    _leave(payload.mark)
    _BACKTRACKING.match(_ENDLESS)


@handler("backtrack-child", execution="process")
def backtrack_child(payload: Pause) -> None:
    _leave(payload.mark)
    _BACKTRACKING.match(_ENDLESS)


@handler("cancel-everything")
async def cancel_everything(payload: Pause) -> None:
    for task in asyncio.all_tasks():
        task.cancel()


@handler("stubborn")
async def stubborn(payload: Pause) -> None:
    """Ignores its cancellation."""
    _leave(payload.mark)
    until = time.monotonic() + payload.seconds
    while time.monotonic() < until:
        try:
            await asyncio.sleep(until - time.monotonic())
        except asyncio.CancelledError:
            continue


@handler("fail")
async def fail(payload: Text) -> None:
    raise ValueError(payload.text)


@handler("discard")
async def discard(payload: Text) -> None:
    raise Discard(payload.text)


@handler("poison")
async def poison(payload: Pause) -> None:
    """Kills the whole service."""
    _leave(payload.mark)
    os.kill(os.getpid(), signal.SIGKILL)


@handler("thread")
def in_thread(payload: Pause, context: Context) -> None:
    _leave(payload.mark)
    until = time.monotonic() + payload.seconds
    while time.monotonic() < until and not context.cancelled:
        time.sleep(0.005)


@handler("child", execution="process")
def in_child(payload: Pause) -> int:
    _leave(payload.mark)
    time.sleep(payload.seconds)
    return os.getpid()


@handler("child-crash", execution="process")
def child_crash(payload: Pause) -> None:
    _leave(payload.mark)
    os.kill(os.getpid(), signal.SIGSEGV)


def _leave(mark: str | None) -> None:
    if mark is not None:
        with Path(mark).open("a", encoding="utf-8") as file:
            file.write(f"{os.getpid()}\n")
