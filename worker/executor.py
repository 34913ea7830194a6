"""Runs one attempt of a job and times it. Knows no queue: what comes of the attempt is decided elsewhere.

A handler is asked to stop first (cancelled, or told by its context) and left behind when it does not: no
timeout and no shutdown ever waits for a handler that will not end.
"""

import asyncio
import contextlib
import heapq
import itertools
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from worker.children import ChildPool
from worker.clock import Clock
from worker.errors import Cancelled, Interrupted, TimedOut, UnknownKind
from worker.events import Emit, HandlerAbandoned
from worker.failure import Failure, failure_of
from worker.handler import Execution, Handler, Registry, call, call_to_its_end, encode_result
from worker.job import Job
from worker.outcome import Attempt
from worker.redact import Redactor

Cause = Literal["timeout", "cancel", "stop"]
Progress = Callable[[Job, float, str], None]
Done = Callable[["Running", Attempt | None], None]
"""Called once in the event loop when the attempt has ended; None: interrupted by shutdown, give the job back."""

_Answer = bytes | BaseException | None
"""What a thread comes back with: the result, or what it raised."""

GRACE = 2.0
"""Seconds between asking a handler to stop and leaving it behind."""


@dataclass(slots=True, eq=False)
class Running:
    """An attempt under way; also the handler's context when it runs in this process."""

    job: Job
    done: Done
    started_at: float
    started: float
    settings: Any = None
    cause: Cause | None = None
    seconds: float = 0.0
    """The timeout that applies."""
    on_progress: Progress | None = None
    loop: asyncio.AbstractEventLoop | None = None
    ended: bool = False
    wish: asyncio.Event | None = None
    """For a child process: set when it should stop by itself."""
    in_child: bool = False
    work: asyncio.Task[None] | None = None
    percent: float = 0.0
    note: str = ""

    @property
    def job_id(self) -> str:
        return self.job.id

    @property
    def user_id(self) -> str:
        return self.job.user_id

    @property
    def attempt(self) -> int:
        return self.job.attempt

    @property
    def cancelled(self) -> bool:
        return self.cause is not None

    @property
    def waits_for_child(self) -> bool:
        return self.wish is not None and not self.in_child

    def progress(self, percent: float, note: str = "") -> None:
        """From a coroutine or from a handler's thread."""
        if self.loop is not None:
            self.loop.call_soon_threadsafe(self.note_progress, percent, note)

    def note_progress(self, percent: float, note: str) -> None:
        self.percent, self.note = max(0.0, min(100.0, percent)), note
        if self.on_progress is not None and not self.ended:
            self.on_progress(self.job, self.percent, self.note)


@dataclass(slots=True)
class Executor:
    """Starts attempts, holds them to their deadlines, and says how each ended."""

    registry: Registry
    children: ChildPool
    clock: Clock
    redact: Redactor
    emit: Emit
    timeout: float
    """Seconds for one attempt where the handler names none."""
    overrides: Mapping[str, Execution] = field(default_factory=dict)
    sections: Mapping[str, Any] = field(default_factory=dict)
    on_progress: Progress | None = None
    grace: float = GRACE
    running: dict[str, Running] = field(default_factory=dict)
    _deadlines: list[tuple[float, int, Running]] = field(default_factory=list)
    _order: Iterator[int] = field(default_factory=itertools.count)
    _timer: asyncio.TimerHandle | None = None
    _timer_at: float = 0.0

    def start(self, job: Job, done: Done) -> None:
        """Begin an attempt; `done` is called when it has ended, never before this returns."""
        running = Running(job, done, self.clock.now(), self.clock.monotonic(), on_progress=self.on_progress)
        self.running[job.id] = running
        running.loop = loop = asyncio.get_running_loop()
        handler = self.registry.get(job.kind)
        if job.cancel_requested:
            loop.call_soon(self._fail, running, Cancelled())
            return
        if handler is None:
            loop.call_soon(self._fail, running, UnknownKind(f"no handler for kind {job.kind!r}"))
            return
        running.settings = self.sections.get(handler.section or "")
        running.work = loop.create_task(self._run(running, handler))
        self._watch(running, handler.timeout or self.timeout)

    def cancel(self, job_id: str) -> bool:
        """Ask a running job to stop; False: it does not run here."""
        running = self.running.get(job_id)
        if running is None:
            return False
        self._interrupt(running, "cancel")
        return True

    def how_far(self, job_id: str) -> tuple[float, str] | None:
        """Percent and note of a running job; None: it does not run here."""
        running = self.running.get(job_id)
        return None if running is None else (running.percent, running.note)

    def stop_all(self) -> None:
        """Shutdown's patience is over: interrupt what still runs; each ends within the grace."""
        for running in list(self.running.values()):
            self._interrupt(running, "stop")

    # -- one attempt ---------------------------------------------------------------------------------------

    async def _run(self, running: Running, handler: Handler) -> None:
        try:
            self._succeed(running, await self._dispatch(running, handler))
        except asyncio.CancelledError:
            self._fail(running, self._interruption(running))
        except BaseException as exc:  # noqa: BLE001 -- a handler's sys.exit() ends its attempt, not the service
            self._fail(running, exc)

    def _came_home(self, running: Running) -> None:
        """A task that is cancelled before its first step never gets into `_run`."""
        if not running.ended:
            self._fail(running, self._interruption(running))

    def _dispatch(self, running: Running, handler: Handler) -> Coroutine[Any, Any, bytes | Failure | None]:
        match self.overrides.get(handler.kind, handler.execution):
            case "async":
                return self._in_loop(running, handler)
            case "thread":
                return self._in_thread(running, handler)
            case "process":
                return self._in_child(running)

    async def _in_loop(self, running: Running, handler: Handler) -> bytes | None:
        payload = handler.validate(running.job.payload)
        result = call(handler, payload, running)
        return encode_result(await result if asyncio.iscoroutine(result) else result)

    async def _in_thread(self, running: Running, handler: Handler) -> bytes | None:
        """A daemon thread of its own: a pool's threads would be joined at exit, however stuck they are."""
        payload = handler.validate(running.job.payload)
        loop = asyncio.get_running_loop()
        # Exceptions are handed over as answers: a future refuses StopIteration, and SystemExit would end the loop.
        ended: asyncio.Future[_Answer] = loop.create_future()

        def body() -> None:
            answer: _Answer
            try:
                answer = encode_result(call_to_its_end(handler, payload, running))
            except BaseException as exc:  # noqa: BLE001 -- raised again in the loop
                answer = exc
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(_answer, ended, answer)

        threading.Thread(target=body, name=f"job-{running.job.id}", daemon=True).start()
        answer = await _patiently(ended, running)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    async def _in_child(self, running: Running) -> bytes | Failure | None:
        running.wish = asyncio.Event()
        if running.cause is not None:
            raise asyncio.CancelledError
        answer = await self.children.run(running.job, running.note_progress, lambda: self._began(running), running.wish)
        return answer.failure or answer.result

    def _began(self, running: Running) -> None:
        """A child has the job in hand: time starts now, not when it began to wait for a free child."""
        running.in_child = True
        running.started_at, running.started = self.clock.now(), self.clock.monotonic()

    # -- how it ends ---------------------------------------------------------------------------------------

    def _succeed(self, running: Running, result: bytes | Failure | None) -> None:
        if isinstance(result, Failure):
            self._end(running, failure=self._with_cause(running, result))
        else:
            self._end(running, result=result)

    def _fail(self, running: Running, exc: BaseException) -> None:
        if running.cause is not None and not isinstance(exc, TimedOut | Cancelled):
            exc = self._interruption(running)
        self._end(running, failure=failure_of(exc, self.redact))

    def _with_cause(self, running: Running, failure: Failure) -> Failure:
        """An error raised while the handler was being stopped is the stop, not news of its own."""
        return failure if running.cause is None else failure_of(self._interruption(running), self.redact)

    def _interruption(self, running: Running) -> Exception:
        match running.cause:
            case "timeout":
                return TimedOut(f"The job took longer than {running.seconds:g} s")
            case "cancel" | "stop":
                return Cancelled()
            case None:
                # A handler may raise CancelledError itself; taken for shutdown it would run again for ever.
                return Interrupted("The handler cancelled itself")

    def _end(self, running: Running, *, result: bytes | None = None, failure: Failure | None = None) -> None:
        if running.ended:
            return  # it was left behind, and comes home late
        running.ended = True
        self.running.pop(running.job.id, None)
        if failure is not None and running.cause == "stop":
            running.done(running, None)
            return
        duration = round((self.clock.monotonic() - running.started) * 1000, 2)
        running.done(running, Attempt(running.job, running.started_at, self.clock.now(), duration, result, failure))

    # -- deadlines -----------------------------------------------------------------------------------------

    def _watch(self, running: Running, seconds: float) -> None:
        """One timer for all: a timer per job would cost more than a short job does."""
        running.seconds = seconds
        deadline = running.started + seconds
        heapq.heappush(self._deadlines, (deadline, next(self._order), running))
        if len(self._deadlines) > 2 * len(self.running) + 64:
            self._deadlines = [entry for entry in self._deadlines if not entry[2].ended]
            heapq.heapify(self._deadlines)
        if self._timer is None or deadline < self._timer_at:
            self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._deadlines:
            self._timer_at = self._deadlines[0][0]
            delay = max(0.0, self._timer_at - self.clock.monotonic())
            self._timer = asyncio.get_running_loop().call_later(delay, self._sweep)

    def _sweep(self) -> None:
        self._timer = None
        now = self.clock.monotonic()
        while self._deadlines and self._deadlines[0][0] <= now:
            _, _, running = heapq.heappop(self._deadlines)
            if running.ended:
                continue
            remaining = running.seconds if running.waits_for_child else running.started + running.seconds - now
            if running.cause is None and remaining > 0:  # it waits for a free child, or had waited
                heapq.heappush(self._deadlines, (now + remaining, next(self._order), running))
            else:
                self._interrupt(running, "timeout")
        self._set_timer()

    def _interrupt(self, running: Running, cause: Cause) -> None:
        if running.ended or running.cause is not None:
            return  # already asked to stop; its grace runs
        running.cause = cause
        if running.wish is not None and running.in_child:
            running.wish.set()
        elif running.work is not None:
            running.work.add_done_callback(lambda _work: self._came_home(running))
            running.work.cancel()
        asyncio.get_running_loop().call_later(self._grace_of(running, cause), self._give_up, running)

    def _grace_of(self, running: Running, cause: Cause) -> float:
        """A stop has a deadline of its own, which no handler can move."""
        handler = self.registry.get(running.job.kind)
        return self.grace if cause == "stop" or handler is None or handler.grace is None else handler.grace

    def _give_up(self, running: Running) -> None:
        if running.ended:
            return
        if running.wish is not None and running.work is not None:
            running.work.cancel()  # kills the child; the attempt ends right after
            return
        self.emit(HandlerAbandoned(running.job))
        # It may still be running, so it must not be started a second time.
        failure = replace(failure_of(self._interruption(running), self.redact), retryable=False)
        self._end(running, failure=failure)
        if running.work is not None:
            running.work.cancel()  # lets go of a thread that does not answer


def _answer(future: "asyncio.Future[_Answer]", answer: _Answer) -> None:
    if not future.done():
        future.set_result(answer)


async def _patiently(future: "asyncio.Future[_Answer]", running: Running) -> _Answer:
    """Await a thread's answer through the wish to stop: it comes when it comes, or the attempt is left behind."""
    while True:
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            if running.ended or running.cause is None:
                raise
