"""Runs and times single attempts of jobs. What follows from an attempt is decided elsewhere.

A handler is first asked to stop (its task is cancelled, or its context says so), and abandoned when it does not:
no timeout and no shutdown waits for a handler that does not end.
"""

import asyncio
import contextlib
import heapq
import itertools
import threading
from collections.abc import Coroutine, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from config.settings import WorkerSettings
from worker.core.clock import Clock
from worker.core.events import Emit, HandlerAbandoned
from worker.core.failure import Failure, failure_of
from worker.core.job import Job
from worker.core.outcome import Attempt, Placement, is_isolated
from worker.core.redact import Redactor
from worker.errors import Cancelled, Crashed, Discard, Interrupted, Shortage, TimedOut, UnknownKind
from worker.handler import Execution, Handler, Registry, call, call_blocking, encode_result
from worker.runtime.child_output import with_output
from worker.runtime.process_pool import ProcessPool, shortage_named
from worker.runtime.running_attempt import Cause, OnEnd, Progress, RunningAttempt

_ThreadResult = bytes | BaseException | None
"""The end of a handler in a thread: its result, or what it raised."""

_TASK_PREFIX = "job "
_LATE = 1.0
"""Seconds by which the timer of the deadlines must be late before that is looked into."""
_MOST_WAITS = 3
"""How often in a row that is waited for: on a machine on which the timer is always late, timeouts hold as well."""

GRACE = 2.0
"""Seconds between asking a handler to stop and abandoning it."""


def kind_of_task(name: str) -> str | None:
    """Return the kind of job that a task of this name runs; None: it runs none."""
    return name.removeprefix(_TASK_PREFIX) if name.startswith(_TASK_PREFIX) else None


@dataclass(slots=True)
class Executor:
    """Starts attempts, enforces their deadlines, and reports how each ended."""

    registry: Registry
    pool: ProcessPool
    clock: Clock
    redact: Redactor
    emit: Emit
    timeout: float
    """Seconds for one attempt when the handler declares no timeout."""
    max_result: int = 1_000_000
    """Bytes of a result as JSON."""
    overrides: Mapping[str, Execution] = field(default_factory=dict)
    sections: Mapping[str, Any] = field(default_factory=dict)
    on_progress: Progress | None = None
    grace: float = GRACE
    running: dict[str, RunningAttempt] = field(default_factory=dict)
    _deadlines: list[tuple[float, int, RunningAttempt]] = field(default_factory=list)
    _order: Iterator[int] = field(default_factory=itertools.count)
    _timer: asyncio.TimerHandle | None = None
    _timer_at: float = 0.0
    _waits: int = 0
    _paused: float = 0.0
    """Seconds for which the process was stopped (SIGSTOP); they do not count against a timeout."""

    @classmethod
    def from_settings(
        cls,
        settings: WorkerSettings,
        *,
        registry: Registry,
        sections: Mapping[str, Any],
        pool: ProcessPool,
        redact: Redactor,
        clock: Clock,
        emit: Emit,
        on_progress: Progress,
    ) -> "Executor":
        """Return an executor with the timeouts and kinds of execution of the settings."""
        return cls(
            registry=registry,
            pool=pool,
            clock=clock,
            redact=redact,
            emit=emit,
            timeout=settings.timeout / 1000,
            max_result=settings.max_result,
            overrides=settings.execution,
            sections=sections,
            on_progress=on_progress,
        )

    def apply(self, settings: WorkerSettings, sections: Mapping[str, Any], redact: Redactor) -> None:
        """Use other settings for attempts that start from now on."""
        self.timeout = settings.timeout / 1000
        self.max_result = settings.max_result
        self.overrides = settings.execution
        self.sections = sections
        self.redact = redact

    def section_of(self, handler: Handler) -> Any:
        """Return the settings of a handler; None: it has none."""
        return self.sections.get(handler.section or "")

    def start(self, job: Job, on_end: OnEnd) -> None:
        """Start an attempt; `on_end` is called when it has ended, never before this returns.

        The store gives a job out again when this worker gave no sign of life for too long, for example because the
        machine was suspended. An earlier attempt that still runs here has lost its job then, and is asked to stop.
        """
        self.cancel(job.id)
        running = RunningAttempt(job, on_end, self.clock.now(), self.clock.monotonic(), on_progress=self.on_progress)
        running.paused_before = self._paused
        self.running[job.id] = running
        running.loop = loop = asyncio.get_running_loop()
        handler = self.registry.get(job.kind)
        if job.cancel_requested:
            loop.call_soon(self._fail, running, Cancelled())
            return
        if handler is None:
            loop.call_soon(self._fail, running, UnknownKind(f"no handler for kind {job.kind!r}"))
            return
        running.settings = self.section_of(handler)
        running.work = loop.create_task(self._run(running, handler), name=_TASK_PREFIX + job.kind)
        self._set_deadline(running, handler.timeout or self.timeout)

    def cancel(self, job_id: str) -> bool:
        """Ask a running job to stop; return False when it does not run here."""
        running = self.running.get(job_id)
        if running is None:
            return False
        self._interrupt(running, "cancel")
        return True

    def on_pause(self, seconds: float) -> None:
        """Extend all deadlines: the whole process did not run for so long."""
        self._paused += seconds

    def progress_of(self, job_id: str) -> tuple[float, str] | None:
        """Return percent and note of a running job; None: it does not run here."""
        running = self.running.get(job_id)
        return None if running is None else (running.percent, running.note)

    def stop_all(self) -> None:
        """Interrupt all running attempts for a shutdown; each ends within the grace."""
        for running in list(self.running.values()):
            self._interrupt(running, "stop")

    # -- one attempt ---------------------------------------------------------------------------------------

    async def _run(self, running: RunningAttempt, handler: Handler) -> None:
        try:
            self._succeed(running, await self._dispatch(running, handler))
        except asyncio.CancelledError:
            self._fail(running, self._interruption(running))
        except Shortage as exc:
            self._release(running, str(exc))
        except BaseException as exc:  # noqa: BLE001 -- a handler's sys.exit() ends its attempt, not the service
            self._fail(running, exc)

    def _on_task_done(self, running: RunningAttempt) -> None:
        """End an attempt whose task was cancelled before its first step, so that `_run` never began."""
        if not running.ended:
            self._fail(running, self._interruption(running))

    def placement_of(self, kind: str) -> Placement:
        """Return where jobs of the kind run, and whether they could run in a child process."""
        handler = self.registry.get(kind)
        if handler is None:
            return "movable"
        if self.overrides.get(kind, handler.execution) == "process":
            return "child"
        return "movable" if handler.movable else "service"

    def _dispatch(self, running: RunningAttempt, handler: Handler) -> Coroutine[Any, Any, bytes | Failure | None]:
        if handler.movable and is_isolated(running.job):
            return self._in_child(running)  # its crash ends the child, and is charged to it
        match self.overrides.get(handler.kind, handler.execution):
            case "async":
                return self._in_loop(running, handler)
            case "thread":
                return self._in_thread(running, handler)
            case "process":
                return self._in_child(running)

    async def _in_loop(self, running: RunningAttempt, handler: Handler) -> bytes | None:
        payload = handler.validate(running.job.payload)
        result = call(handler, payload, running)
        return encode_result(await result if asyncio.iscoroutine(result) else result)

    async def _in_thread(self, running: RunningAttempt, handler: Handler) -> bytes | None:
        """Run in a daemon thread of its own: threads of a pool are joined at exit, even when they never end."""
        payload = handler.validate(running.job.payload)
        loop = asyncio.get_running_loop()
        # Exceptions are passed as results: a future rejects StopIteration, and SystemExit would end the loop.
        ended: asyncio.Future[_ThreadResult] = loop.create_future()
        work = (handler, payload, running, loop, ended)
        with shortage_named():
            threading.Thread(target=_work_in_thread, args=work, name=f"job-{running.job.id}", daemon=True).start()
        answer = await _await_thread(ended, running)
        if not isinstance(answer, BaseException):
            return answer
        try:
            raise answer
        finally:
            # The exception refers to this frame: with both, all it holds would live until a garbage collection.
            del answer, ended, work

    async def _in_child(self, running: RunningAttempt) -> bytes | Failure | None:
        running.stop_request = asyncio.Event()
        if running.cause is not None:
            raise asyncio.CancelledError
        try:
            answer = await self.pool.run(
                running.job, running.set_progress, lambda: self._on_child_start(running), running.stop_request
            )
        except Crashed as exc:
            return with_output(failure_of(exc, self.redact), exc.output, self.redact)
        return answer.result if answer.failure is None else with_output(answer.failure, answer.output, self.redact)

    def _on_child_start(self, running: RunningAttempt) -> None:
        """Start the clock when a child has received the job, not when the wait for a free child began."""
        running.in_child = True
        running.started_at, running.started = self.clock.now(), self.clock.monotonic()

    # -- how it ends ---------------------------------------------------------------------------------------

    def _succeed(self, running: RunningAttempt, result: bytes | Failure | None) -> None:
        if isinstance(result, Failure):
            self._end(running, failure=self._with_cause(running, result))
        elif result is not None and len(result) > self.max_result:
            text = f"The result has {len(result):,} bytes, Worker:MaxResult is {self.max_result:,}: write it to a file"
            self._fail(running, Discard(text))
        else:
            self._end(running, result=result)

    def _fail(self, running: RunningAttempt, exc: BaseException) -> None:
        if running.cause is not None and not isinstance(exc, TimedOut | Cancelled):
            exc = self._interruption(running)
        self._end(running, failure=failure_of(exc, self.redact))

    def _release(self, running: RunningAttempt, limit: str) -> None:
        """End an attempt that could not begin; a job that was to be stopped anyway ends like any other."""
        if running.cause in ("timeout", "cancel"):
            self._fail(running, self._interruption(running))
            return
        if not running.ended:
            running.ended, running.shortage = True, limit
            self._forget(running)
            running.on_end(running, None)

    def _forget(self, running: RunningAttempt) -> None:
        if self.running.get(running.job.id) is running:  # otherwise a later attempt of the same job runs
            del self.running[running.job.id]

    def _with_cause(self, running: RunningAttempt, failure: Failure) -> Failure:
        """Report an error raised while the handler was being stopped as the stop itself."""
        return failure if running.cause is None else failure_of(self._interruption(running), self.redact)

    def _interruption(self, running: RunningAttempt) -> Exception:
        match running.cause:
            case "timeout":
                return TimedOut(f"The job took longer than {running.seconds:g} s")
            case "cancel" | "stop":
                return Cancelled()
            case None:
                # A handler may raise CancelledError itself; taken for a shutdown it would run again without end.
                return Interrupted("The handler cancelled itself")

    def _end(self, running: RunningAttempt, *, result: bytes | None = None, failure: Failure | None = None) -> None:
        if running.ended:
            return  # it was abandoned, and ends only now
        running.ended = True
        self._forget(running)
        if failure is not None and running.cause == "stop":
            running.on_end(running, None)
            return
        duration = round((self.clock.monotonic() - running.started) * 1000, 2)
        running.on_end(running, Attempt(running.job, running.started_at, self.clock.now(), duration, result, failure))

    # -- deadlines -----------------------------------------------------------------------------------------

    def _set_deadline(self, running: RunningAttempt, seconds: float) -> None:
        """Set the deadline. All attempts share one timer: one per job would cost more than a short job does."""
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
            self._timer = asyncio.get_running_loop().call_later(delay, self._on_deadline)

    def _on_deadline(self) -> None:
        now = self.clock.monotonic()
        # Blocked, or the process was stopped: wait until `on_pause` has said so.
        if now - self._timer_at > _LATE and self._waits < _MOST_WAITS:
            self._timer_at, self._waits = now, self._waits + 1
            self._timer = asyncio.get_running_loop().call_later(_LATE / 2, self._on_deadline)
            return
        self._timer, self._waits = None, 0
        while self._deadlines and self._deadlines[0][0] <= now:
            _, _, running = heapq.heappop(self._deadlines)
            if running.ended:
                continue
            paused = self._paused - running.paused_before
            # Summed up as in `_set_deadline`: a difference that is rounded up would never become due.
            deadline = (now if running.waits_for_child else running.started + paused) + running.seconds
            if running.cause is None and deadline > now:  # it waits for a free child, or did wait
                heapq.heappush(self._deadlines, (deadline, next(self._order), running))
            else:
                self._interrupt(running, "timeout")
        self._set_timer()

    def _interrupt(self, running: RunningAttempt, cause: Cause) -> None:
        if running.ended or running.cause is not None:
            return  # already asked to stop; its grace runs
        running.cause = cause
        if running.stop_request is not None and running.in_child:
            running.stop_request.set()
        elif running.work is not None:
            running.work.add_done_callback(lambda _work: self._on_task_done(running))
            running.work.cancel()
        asyncio.get_running_loop().call_later(self._grace_for(running, cause), self._abandon, running)

    def _grace_for(self, running: RunningAttempt, cause: Cause) -> float:
        """Return the seconds an attempt has to end. A stop has a deadline of its own, which no handler can extend."""
        handler = self.registry.get(running.job.kind)
        return self.grace if cause == "stop" or handler is None or handler.grace is None else handler.grace

    def _abandon(self, running: RunningAttempt) -> None:
        if running.ended:
            return
        if running.stop_request is not None and running.work is not None:
            running.work.cancel()  # kills the child; the attempt ends right after
            return
        self.emit(HandlerAbandoned(running.job))
        # It may still be running, so it must not be started again.
        failure = replace(failure_of(self._interruption(running), self.redact), retryable=False)
        self._end(running, failure=failure)
        if running.work is not None:
            running.work.cancel()  # stops waiting for the thread


def _work_in_thread(
    handler: Handler,
    payload: Any,
    running: RunningAttempt,
    loop: asyncio.AbstractEventLoop,
    ended: "asyncio.Future[_ThreadResult]",
) -> None:
    answer: _ThreadResult
    try:
        answer = encode_result(call_blocking(handler, payload, running))
    except BaseException as exc:  # noqa: BLE001 -- raised again in the loop
        answer = exc
    with contextlib.suppress(RuntimeError):  # the loop is closed, so nothing waits for the result
        loop.call_soon_threadsafe(_deliver, ended, answer)
    del answer, ended  # an exception refers to this frame


def _deliver(future: "asyncio.Future[_ThreadResult]", answer: _ThreadResult) -> None:
    if not future.done():
        future.set_result(answer)


async def _await_thread(future: "asyncio.Future[_ThreadResult]", running: RunningAttempt) -> _ThreadResult:
    """Await the result of a thread. Being cancelled does not end the wait until the attempt is abandoned."""
    while True:
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            if running.ended or running.cause is None:
                raise
