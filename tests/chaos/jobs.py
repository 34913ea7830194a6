"""Job kinds that record when their code runs, loaded by Worker:Handlers. Child processes import this as well."""

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import BaseModel

from tests.support.history.events import Began, Left, encode
from worker.errors import Discard
from worker.handler import Context, handler


class Work(BaseModel):
    record: str
    """The history's file for the beginnings and ends of attempts."""
    seconds: float = 0.0
    tag: str = ""


@contextmanager
def _recorded(work: Work, context: Context, kind: str = "") -> Iterator[None]:
    # One write to a file in append mode each: a kill cannot tear a line, and processes do not mix theirs.
    file = os.open(work.record, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    place = (context.job_id, context.attempt, os.getpid())
    try:
        os.write(file, encode(Began(*place, time.monotonic(), kind)))
        yield
    finally:
        os.write(file, encode(Left(*place, time.monotonic())))
        os.close(file)


@handler("quick")
async def quick(payload: Work, context: Context) -> None:
    with _recorded(payload, context):
        pass


@handler("slow")
async def slow(payload: Work, context: Context) -> None:
    with _recorded(payload, context):
        await asyncio.sleep(payload.seconds)


@handler("threaded")
def threaded(payload: Work, context: Context) -> None:
    with _recorded(payload, context):
        time.sleep(payload.seconds)


@handler("spawned", execution="process")
def spawned(payload: Work, context: Context) -> None:
    with _recorded(payload, context, "spawned"):
        time.sleep(payload.seconds)


@handler("blocking")
async def blocking(payload: Work, context: Context) -> None:
    """Blocks the event loop."""
    with _recorded(payload, context):
        time.sleep(payload.seconds)


@handler("failing")
async def failing(payload: Work, context: Context) -> None:
    with _recorded(payload, context):
        raise ValueError(payload.tag)


@handler("invalid")
async def invalid(payload: Work, context: Context) -> None:
    with _recorded(payload, context):
        raise Discard(payload.tag)


@handler("crashing", execution="process")
def crashing(payload: Work, context: Context) -> None:
    with _recorded(payload, context):
        pass
    os.kill(os.getpid(), signal.SIGKILL)


EXPECTED = {
    "quick": "succeeded",
    "slow": "succeeded",
    "threaded": "succeeded",
    "blocking": "succeeded",
    "spawned": None,  # its process may be killed three times
    "failing": "failed",
    "invalid": "failed",
    "crashing": "failed",
}
"""How a job of the kind ends, whatever happens around it."""
