"""Handlers that end in every way in which an attempt can end. Child processes import this module as well."""

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
    seconds: float = 300.0
    mark: str = ""
    """A file that the handler creates when it begins."""

    def begin(self, word: str = "") -> None:
        if self.mark:
            # Renamed into place, so that the file is complete when it appears.
            draft = Path(f"{self.mark}.{os.getpid()}")
            draft.write_text(word or str(os.getpid()), encoding="utf-8")
            draft.rename(self.mark)


@handler("pid")
async def pid(payload: Order) -> int:
    """Returns the process that ran the job."""
    return os.getpid()


@handler("only-here", movable=False)
async def only_here(payload: Order) -> int:
    """Cannot run in a child process."""
    return os.getpid()


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


@handler("late-and-broken-thread")
def late_and_broken_thread(payload: Order) -> None:
    """Raises once the file `text` exists, whatever it is asked in the meantime."""
    while not Path(payload.text).exists():
        time.sleep(0.005)
    raise ValueError(f"late: {payload.text}")


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
    """Ignores every cancellation until the file `text` exists."""
    payload.begin()
    while not Path(payload.text).exists():
        try:
            await asyncio.sleep(0.005)
        except asyncio.CancelledError:
            continue
    return "late"


@handler("heeds")
def heeds(payload: Order, context: Context) -> str:
    """A thread that checks for cancellation from time to time."""
    payload.begin()
    until = time.monotonic() + payload.seconds
    while time.monotonic() < until:
        if context.cancelled:
            raise RuntimeError("told to stop")
        time.sleep(0.002)
    return "never"


@handler("deaf")
def deaf(payload: Order) -> str:
    """A thread that ignores cancellation until the file `text` exists."""
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
    """Starts a grandchild, writes both process ids to the mark, and waits."""
    grandchild = subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({payload.seconds})"])
    payload.begin(f"{os.getpid()} {grandchild.pid}")
    time.sleep(payload.seconds)


@handler("dies", execution="process")
def dies(payload: Order) -> None:
    payload.begin()
    os.kill(os.getpid(), signal.SIGKILL)


@handler("dies-with-heir", execution="process")
def dies_with_heir(payload: Order) -> None:
    """A forked grandchild inherits the channel to the parent and keeps it open."""
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
    """Reports from many threads at once: frames must not be mixed up."""
    threads = [threading.Thread(target=context.progress, args=(100, f"{n}" * 2000)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@handler("chatters-process", execution="process")
def chatters_process(payload: Order, context: Context) -> None:
    """Reports more progress than its parent reads, once the file `text` exists."""
    payload.begin()
    while not Path(payload.text).exists():
        time.sleep(0.005)
    for _ in range(10):
        context.progress(100, "x" * 1000)
    Path(f"{payload.mark}.told").touch()
    time.sleep(payload.seconds)


@handler("haunts-process", execution="process")
def haunts_process(payload: Order, context: Context) -> None:
    """Leaves a thread running that reports progress until the file `text` exists."""

    def haunt() -> None:
        while not Path(payload.text).exists():
            context.progress(100, "ghost")
            time.sleep(0.001)

    threading.Thread(target=haunt, daemon=True).start()


_DAEMON = "import os, sys, time; os.setsid(); open(sys.argv[1], 'a').write(f'{os.getpid()} '); time.sleep(600)"


def _start_daemon(mark: str) -> None:
    """Start a process in a session of its own whose parent ends, and wait until it runs."""
    start = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {_DAEMON!r}, {mark!r}])"
    subprocess.run([sys.executable, "-c", start], check=True)
    while not Path(mark).exists() or not Path(mark).read_text(encoding="utf-8").endswith(" "):
        time.sleep(0.005)


@handler("leaves-daemon", execution="process")
def leaves_daemon(payload: Order) -> None:
    _start_daemon(payload.mark)


@handler("dies-with-daemon", execution="process")
def dies_with_daemon(payload: Order) -> None:
    _start_daemon(payload.mark)
    os.kill(os.getpid(), signal.SIGKILL)


@handler("waits-with-daemon", execution="process")
def waits_with_daemon(payload: Order) -> None:
    _start_daemon(payload.mark)
    time.sleep(payload.seconds)


@handler("prints", execution="process")
def prints(payload: Order) -> None:
    """Writes 20 MB to stdout, a line to stderr, and fails unless the text is `done`."""
    for _ in range(200):
        print("x" * 100_000)
    print("the last line, 1234567890123", file=sys.stderr)
    if payload.text != "done":
        raise ValueError(payload.text)


@handler("prints-and-dies", execution="process")
def prints_and_dies(payload: Order) -> None:
    print("first, on stdout")
    print("second, on stderr", file=sys.stderr)
    print("the last line")
    os.abort()
