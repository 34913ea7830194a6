"""Handlers that end in every way an attempt can end. Child processes import this module as well."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from worker.errors import Discard
from worker.handler import Context, handler


class Order(BaseModel):
    text: str = "done"
    seconds: float = 30.0
    mark: str = ""
    """A file that says the handler has begun."""

    def begin(self, word: str = "") -> None:
        if self.mark:
            # Renamed into place, so that whoever sees the file sees all of it.
            draft = Path(f"{self.mark}.{os.getpid()}")
            draft.write_text(word or str(os.getpid()), encoding="utf-8")
            draft.rename(self.mark)


@handler("echo")
async def echo(payload: Order, context: Context) -> dict[str, object]:
    return {"text": payload.text, "attempt": context.attempt, "user": context.user_id, "job": context.job_id}


@handler("echo-thread")
def echo_thread(payload: Order, context: Context) -> dict[str, object]:
    return {"text": payload.text, "thread": threading.current_thread().name}


@handler("echo-process", execution="process")
def echo_process(payload: Order, context: Context) -> dict[str, object]:
    return {"text": payload.text, "attempt": context.attempt, "user": context.user_id, "pid": os.getpid()}


@handler("coroutine-process", execution="process")
async def coroutine_process(payload: Order) -> str:
    await asyncio.sleep(0)
    return payload.text


@handler("nothing")
async def nothing(payload: Order) -> None:
    return None


@handler("broken")
async def broken(payload: Order) -> None:
    raise ValueError(payload.text)


@handler("broken-thread")
def broken_thread(payload: Order) -> None:
    raise ValueError(payload.text)


@handler("broken-process", execution="process")
def broken_process(payload: Order) -> None:
    raise ValueError(payload.text)


@handler("discarded")
async def discarded(payload: Order) -> None:
    raise Discard(payload.text)


@handler("discarded-process", execution="process")
def discarded_process(payload: Order) -> None:
    raise Discard(payload.text)


@handler("not-json")
async def not_json(payload: Order) -> object:
    return object()


class Deep(BaseModel):
    value: Any


@handler("too-deep")
async def too_deep(payload: Order) -> Deep:
    """JSON that pydantic writes, and orjson does not."""
    value: list[Any] = []
    for _ in range(254):
        value = [value]
    return Deep(value=value)


@handler("exhausted")
async def exhausted(payload: Order) -> None:
    next(_nothing())


@handler("exhausted-thread")
def exhausted_thread(payload: Order) -> None:
    next(_nothing())


def _nothing() -> Iterator[None]:
    return iter(())


@handler("leaves")
async def leaves(payload: Order) -> None:
    sys.exit(payload.text)


@handler("leaves-thread")
def leaves_thread(payload: Order) -> None:
    sys.exit(payload.text)


@handler("leaves-process", execution="process")
def leaves_process(payload: Order) -> None:
    sys.exit(payload.text)


@handler("cancels-itself")
async def cancels_itself(payload: Order) -> None:
    raise asyncio.CancelledError


@handler("cancels-itself-thread")
def cancels_itself_thread(payload: Order) -> None:
    raise asyncio.CancelledError


@handler("cancels-itself-process", execution="process")
async def cancels_itself_process(payload: Order) -> None:
    raise asyncio.CancelledError


@handler("misses-process", execution="process")
def misses_process(payload: Order) -> None:
    """A name in TIS-620, as Python sees it."""
    Path(os.fsdecode(b"/tmp/\xa1\xa2")).read_text(encoding="utf-8")


@handler("waits")
async def waits(payload: Order) -> None:
    payload.begin()
    await asyncio.sleep(payload.seconds)


@handler("finishes-anyway")
async def finishes_anyway(payload: Order) -> str:
    payload.begin()
    try:
        await asyncio.sleep(payload.seconds)
    except asyncio.CancelledError:
        return payload.text
    return "never"


@handler("turns-error")
async def turns_error(payload: Order) -> None:
    payload.begin()
    try:
        await asyncio.sleep(payload.seconds)
    except asyncio.CancelledError:
        raise ValueError("was disturbed") from None


@handler("stubborn")
async def stubborn(payload: Order) -> str:
    """Swallows every cancellation until the file `text` is there."""
    payload.begin()
    while not Path(payload.text).exists():
        try:
            await asyncio.sleep(0.005)
        except asyncio.CancelledError:
            continue
    return "late"


@handler("heeds")
def heeds(payload: Order, context: Context) -> str:
    """A thread that asks now and then."""
    payload.begin()
    until = time.monotonic() + payload.seconds
    while time.monotonic() < until:
        if context.cancelled:
            raise RuntimeError("told to stop")
        time.sleep(0.002)
    return "never"


@handler("deaf")
def deaf(payload: Order) -> str:
    """A thread that asks nobody, until the file `text` is there."""
    payload.begin()
    while not Path(payload.text).exists():
        time.sleep(0.005)
    return "late"


@handler("heeds-process", execution="process")
def heeds_process(payload: Order, context: Context) -> str:
    payload.begin()
    until = time.monotonic() + payload.seconds
    while time.monotonic() < until:
        if context.cancelled:
            return "stopped by itself"
        time.sleep(0.002)
    return "never"


@handler("deaf-process", execution="process")
def deaf_process(payload: Order) -> None:
    payload.begin()
    time.sleep(payload.seconds)


@handler("family", execution="process")
def family(payload: Order) -> None:
    """Starts a grandchild, says who it is, and waits."""
    grandchild = subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({payload.seconds})"])
    payload.begin(f"{os.getpid()} {grandchild.pid}")
    time.sleep(payload.seconds)


@handler("dies", execution="process")
def dies(payload: Order) -> None:
    payload.begin()
    os.kill(os.getpid(), signal.SIGKILL)


@handler("dies-with-heir", execution="process")
def dies_with_heir(payload: Order) -> None:
    """A forked grandchild has inherited the line to the parent, and would keep it open."""
    heir = os.fork()
    if heir == 0:
        time.sleep(payload.seconds)
        os._exit(0)
    payload.begin(f"{os.getpid()} {heir}")
    os.kill(os.getpid(), signal.SIGKILL)


@handler("tells")
async def tells(payload: Order, context: Context) -> None:
    for percent in (10, 150, -5):
        context.progress(percent, f"step {percent}")
    await asyncio.sleep(0)


@handler("tells-thread")
def tells_thread(payload: Order, context: Context) -> None:
    context.progress(40, "from a thread")


@handler("tells-process", execution="process")
def tells_process(payload: Order, context: Context) -> None:
    """All at once from many threads: frames must not run into each other."""
    threads = [threading.Thread(target=context.progress, args=(100, f"{n}" * 2000)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@handler("chatters-process", execution="process")
def chatters_process(payload: Order, context: Context) -> None:
    """When the file `text` is there it tells more than its parent reads."""
    payload.begin()
    while not Path(payload.text).exists():
        time.sleep(0.005)
    for _ in range(10):
        context.progress(100, "x" * 1000)
    Path(f"{payload.mark}.told").touch()
    time.sleep(payload.seconds)


@handler("haunts-process", execution="process")
def haunts_process(payload: Order, context: Context) -> None:
    """Leaves a thread behind that goes on telling its progress until the file `text` is there."""

    def haunt() -> None:
        while not Path(payload.text).exists():
            context.progress(100, "ghost")
            time.sleep(0.001)

    threading.Thread(target=haunt, daemon=True).start()
