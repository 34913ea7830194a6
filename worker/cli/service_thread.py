"""Runs an event loop in a thread, so that the command's own thread may block on its socket."""

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Iterator

from worker.errors import StoreError

Serve = Callable[[asyncio.Event, Callable[[], None]], Awaitable[None]]
"""Takes the lock, listens on the socket, calls back when ready, and returns when the event is set."""


@contextlib.contextmanager
def running_in_thread(serve: Serve) -> Iterator[None]:
    """Run `serve` in a thread until the block ends. Raises what it raised before it was ready, and its StoreErrors."""
    ready, failure = threading.Event(), []
    handle: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def body() -> None:
        stop = asyncio.Event()
        handle.append((asyncio.get_running_loop(), stop))
        await serve(stop, ready.set)

    def run() -> None:
        try:
            asyncio.run(body())
        except BaseException as exc:  # noqa: BLE001 -- handed to the command's thread, which raises it
            failure.append(exc)
        finally:
            ready.set()

    thread = threading.Thread(target=run, name="store", daemon=True)
    thread.start()
    ready.wait()
    if failure:
        thread.join()
        raise failure[0]
    try:
        yield
    finally:
        loop, stop = handle[0]
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        if failure and isinstance(failure[0], StoreError):
            raise failure[0]
