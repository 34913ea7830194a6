"""One attempt, in every way it can end: in the loop, in a thread, in a child process."""

import asyncio
import contextlib
import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
import pytest_asyncio
import uvloop

from tests.support import handlers
from tests.support.attempts import Bench, a_bench, a_claimed_job, pids_in
from tests.support.eventually import eventually
from tests.support.processes import is_running
from worker.core.events import HandlerAbandoned
from worker.core.outcome import Attempt
from worker.runtime.process_pool import ProcessConfig


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with a_bench() as bench:
        yield bench


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    return tmp_path / "mark"


def failure_type(attempt: Attempt) -> tuple[str, bool]:
    assert attempt.failure is not None
    return attempt.failure.type, attempt.failure.retryable


# -- in the loop and in threads ----------------------------------------------------------------------------


async def test_coroutine_handler_receives_payload_and_context(bench: Bench) -> None:
    job = a_claimed_job("echo", {"text": "สวัสดี"}, attempt=2, user_id="สมชาย")
    attempt = await bench.start(job)
    assert attempt is not None
    assert attempt.failure is None
    assert attempt.result is not None
    assert orjson.loads(attempt.result) == {"text": "สวัสดี", "attempt": 2, "user": "สมชาย", "job": job.id}
    assert bench.executor.running == {}


async def test_plain_function_runs_in_a_thread_of_its_own(bench: Bench) -> None:
    job = a_claimed_job("echo-thread", {"text": "x"})
    attempt = await bench.start(job)
    assert attempt is not None
    assert attempt.result is not None
    assert orjson.loads(attempt.result) == {"text": "x", "thread": f"job-{job.id}"}


@pytest.mark.parametrize("kind", ["echo", "echo-thread", "echo-process"])
async def test_result_beyond_the_limit_fails_the_job_for_good(bench: Bench, kind: str) -> None:
    bench.executor.max_result = 2000
    assert (await bench.run(kind, text="x" * 1000)).failure is None
    failure = (await bench.run(kind, text="x" * 2000)).failure
    assert failure is not None
    assert not failure.retryable
    assert "Worker:MaxResult is 2,000" in failure.message


async def test_handler_that_returns_nothing_has_no_result(bench: Bench) -> None:
    attempt = await bench.run("nothing")
    assert (attempt.result, attempt.failure) == (None, None)


async def test_attempt_is_timed_by_the_monotonic_clock(bench: Bench) -> None:
    walls = iter([5000.0, 4000.0])  # set back in the meantime
    bench.executor.clock = replace(bench.executor.clock, now=lambda: next(walls))
    began = time.monotonic()
    attempt = await bench.run("waits", seconds=0.02)
    elapsed_ms = (time.monotonic() - began) * 1000
    assert (attempt.started_at, attempt.finished_at) == (5000.0, 4000.0)
    assert 20 <= attempt.duration_ms <= elapsed_ms
    assert attempt.duration_ms == round(attempt.duration_ms, 2)


@pytest.mark.parametrize("kind", ["broken", "broken-thread"])
async def test_exception_of_a_handler_is_a_retryable_failure(bench: Bench, kind: str) -> None:
    attempt = await bench.run(kind, text="no luck: hush-hush")
    assert attempt.failure is not None
    assert attempt.failure.message == "ValueError: no luck: ***"
    assert failure_type(attempt) == ("ValueError", True)
    assert attempt.failure.stack_trace is not None
    assert 'File "tests/support/handlers.py"' in attempt.failure.stack_trace.splitlines()[1]


def exceptions_that_say(text: str) -> list[BaseException]:
    return [found for found in gc.get_objects() if isinstance(found, BaseException) and text in str(found)]


@pytest.fixture
def no_collection() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collection")
@pytest.mark.parametrize("kind", ["broken", "broken-thread"])
async def test_exception_of_a_handler_is_freed_without_a_garbage_collection(bench: Bench, kind: str) -> None:
    text = f"not kept: <{kind}>"
    attempt = await bench.run(kind, text=text)
    assert attempt.failure is not None
    assert text in attempt.failure.message
    await eventually(lambda: exceptions_that_say(text) == [])


@pytest.mark.usefixtures("no_collection")
async def test_exception_of_an_abandoned_thread_is_freed_without_a_garbage_collection(bench: Bench, mark: Path) -> None:
    bench.executor.grace = 0.01
    job = a_claimed_job("late-and-broken-thread", {"text": str(mark)})
    ended = bench.start(job)

    def runs() -> bool:
        return f"job-{job.id}" in {thread.name for thread in threading.enumerate()}

    await eventually(runs)
    bench.executor.cancel(job.id)
    assert await ended is not None
    mark.touch()
    await eventually(lambda: not runs())
    await eventually(lambda: exceptions_that_say(f"late: {mark}") == [])


async def test_discarded_job_is_not_retryable(bench: Bench) -> None:
    attempt = await bench.run("discarded", text="this can never work")
    assert failure_type(attempt) == ("Discard", False)
    assert attempt.failure is not None
    assert attempt.failure.message == "this can never work"


async def test_invalid_payload_is_not_retryable_and_its_values_are_not_shown(bench: Bench) -> None:
    attempt = await bench.run("echo", text=["1101700203451"], seconds="soon")
    assert failure_type(attempt) == ("InvalidPayload", False)
    assert attempt.failure is not None
    assert "text: " in attempt.failure.message
    assert "seconds: " in attempt.failure.message
    assert "1101700203451" not in attempt.failure.message
    assert "soon" not in attempt.failure.message


async def test_kind_without_a_handler_is_not_retryable(bench: Bench) -> None:
    assert failure_type(await bench.run("unheard-of")) == ("UnknownKind", False)


async def test_result_that_is_not_json_is_a_failure(bench: Bench) -> None:
    assert failure_type(await bench.run("not-json")) == ("TypeError", True)


@pytest.mark.parametrize("kind", ["exhausted", "exhausted-thread"])
async def test_handler_that_raises_stop_iteration_fails(bench: Bench, kind: str) -> None:
    assert failure_type(await bench.run(kind)) == ("RuntimeError", True)


@pytest.mark.parametrize("kind", ["leaves", "leaves-thread"])
async def test_handler_that_calls_exit_fails_only_its_attempt(bench: Bench, kind: str) -> None:
    attempt = await bench.run(kind, text="bye")
    assert attempt.failure is not None
    assert attempt.failure.message == "SystemExit: bye"
    assert attempt.failure.retryable


@pytest.mark.parametrize("kind", ["cancels-itself", "cancels-itself-thread"])
async def test_handler_that_cancels_itself_counts_as_interrupted(bench: Bench, kind: str) -> None:
    assert failure_type(await bench.run(kind)) == ("Interrupted", True)


async def test_coroutine_handler_with_execution_thread_runs_in_a_thread() -> None:
    async with a_bench(overrides={"echo": "thread"}) as bench:
        attempt = await bench.run("echo", text="x")
    assert attempt.failure is None
    assert attempt.result is not None


# -- told to stop --------------------------------------------------------------------------------------------


async def test_coroutine_beyond_its_timeout_is_timed_out(mark: Path) -> None:
    async with a_bench(timeout=0.05) as bench:
        attempt = await bench.run("waits", mark=str(mark))
    assert failure_type(attempt) == ("TimedOut", True)
    assert attempt.failure is not None
    assert attempt.failure.message == "The job took longer than 0.05 s"
    assert attempt.duration_ms >= 50


async def test_each_attempt_has_its_own_deadline(mark: Path) -> None:
    async with a_bench(timeout=300.0) as bench:
        last = bench.start(a_claimed_job("waits", {"seconds": 300}))
        ends = []
        for seconds in (0.3, 0.05):
            bench.executor.timeout = seconds
            ends.append(bench.start(a_claimed_job("waits", {"seconds": 300})))
        late, early = [_ended(await end) for end in ends]
        assert failure_type(late) == failure_type(early) == ("TimedOut", True)
        assert (late.failure and late.failure.message) == "The job took longer than 0.3 s"
        assert (early.failure and early.failure.message) == "The job took longer than 0.05 s"
        assert late.duration_ms >= 300
        assert not last.done()


async def test_deadline_holds_where_its_timer_is_always_late() -> None:
    async with a_bench(timeout=0.2) as bench:
        bench.executor.clock = replace(bench.executor.clock, monotonic=lambda: 10 * time.monotonic())
        attempt = await bench.run("waits", seconds=300)
    assert failure_type(attempt) == ("TimedOut", True)


async def test_thread_that_checks_its_context_is_timed_out(mark: Path) -> None:
    async with a_bench(timeout=0.05) as bench:
        attempt = await bench.run("heeds", mark=str(mark))
        assert failure_type(attempt) == ("TimedOut", True)
        assert bench.events == []


async def test_cancel_of_a_coroutine_ends_it_at_once(bench: Bench, mark: Path) -> None:
    ended = bench.start(a_claimed_job("waits", {"mark": str(mark)}))
    await eventually(mark.exists)
    [job_id] = bench.executor.running
    assert bench.executor.cancel(job_id)
    attempt = _ended(await ended)
    assert attempt.failure is not None
    assert attempt.failure.cancelled
    assert (attempt.failure.message, attempt.failure.stack_trace) == ("Cancelled", None)
    assert not bench.executor.cancel(job_id)


@pytest.mark.parametrize("kind", ["waits", "heeds", "heeds-process"])
@pytest.mark.parametrize(("cause", "expected"), [("cancel", "Cancelled"), ("stop", None)])
async def test_cancel_before_the_first_step_ends_the_attempt(
    bench: Bench, kind: str, cause: str, expected: str | None
) -> None:
    """Its task has not run yet, so the handler must not count as one that does not answer."""
    job = a_claimed_job(kind)
    ended = bench.start(job)
    _stop(bench, cause, job.id)
    async with asyncio.timeout(bench.executor.grace / 2):
        attempt = await ended
    assert (None if attempt is None else failure_type(attempt)[0]) == expected
    assert bench.events == []
    assert bench.executor.running == {}


async def test_job_with_a_stored_cancellation_does_not_run(bench: Bench, mark: Path) -> None:
    attempt = _ended(await bench.start(a_claimed_job("waits", {"mark": str(mark)}, cancel_requested=True)))
    assert attempt.failure is not None
    assert attempt.failure.cancelled
    assert not mark.exists()


async def test_thread_that_raises_while_being_cancelled_is_cancelled(bench: Bench, mark: Path) -> None:
    job = a_claimed_job("heeds", {"mark": str(mark)})
    ended = bench.start(job)
    await eventually(mark.exists)
    bench.executor.cancel(job.id)
    assert failure_type(_ended(await ended)) == ("Cancelled", False)
    assert bench.events == []


async def test_error_raised_during_a_stop_counts_as_the_stop(bench: Bench, mark: Path) -> None:
    job = a_claimed_job("turns-error", {"mark": str(mark)})
    ended = bench.start(job)
    await eventually(mark.exists)
    bench.executor.cancel(job.id)
    assert failure_type(_ended(await ended)) == ("Cancelled", False)


async def test_handler_that_finishes_despite_a_cancel_succeeds(bench: Bench, mark: Path) -> None:
    job = a_claimed_job("finishes-anyway", {"mark": str(mark), "text": "in time"})
    ended = bench.start(job)
    await eventually(mark.exists)
    bench.executor.cancel(job.id)
    assert _ended(await ended).result == b'"in time"'


async def test_attempt_whose_job_is_claimed_again_by_the_same_worker_is_stopped(bench: Bench, mark: Path) -> None:
    job = a_claimed_job("waits", {"mark": str(mark)})
    first = bench.start(job)
    await eventually(mark.exists)
    second = bench.start(job._replace(claim=2))
    assert _ended(await first).job.claim == 1
    assert not second.done()
    assert [running.job.claim for running in bench.executor.running.values()] == [2]
    assert bench.executor.cancel(job.id)
    assert _ended(await second).job.claim == 2


@pytest.mark.parametrize("kind", ["waits", "heeds"])
async def test_job_interrupted_by_a_shutdown_is_released(bench: Bench, mark: Path, kind: str) -> None:
    ended = bench.start(a_claimed_job(kind, {"mark": str(mark)}))
    await eventually(mark.exists)
    bench.executor.stop_all()
    assert await ended is None


async def test_job_that_succeeds_during_a_shutdown_is_not_released(bench: Bench, mark: Path) -> None:
    ended = bench.start(a_claimed_job("finishes-anyway", {"mark": str(mark), "text": "in time"}))
    await eventually(mark.exists)
    bench.executor.stop_all()
    assert _ended(await ended).result == b'"in time"'


@pytest.mark.parametrize(("cause", "patient"), [("cancel", True), ("timeout", True), ("stop", False)])
async def test_grace_of_a_handler_extends_a_cancel_but_not_a_shutdown(
    tmp_path: Path, mark: Path, cause: str, patient: bool
) -> None:
    release = tmp_path / "release"
    async with a_bench(grace=0.05, timeout=0.05 if cause == "timeout" else 30.0) as bench:
        slow = replace(bench.executor.registry["stubborn"], grace=30.0)
        bench.executor.registry = {"stubborn": slow}
        job = a_claimed_job("stubborn", {"mark": str(mark), "text": str(release)})
        ended = bench.start(job)
        await eventually(mark.exists)
        _stop(bench, cause, job.id)
        asyncio.get_running_loop().call_later(0.15, release.touch)
        await ended
        await eventually(release.exists)
        assert bench.events == ([] if patient else [HandlerAbandoned(job)])


@pytest.mark.parametrize("kind", ["stubborn", "deaf"])
@pytest.mark.parametrize(("cause", "expected"), [("cancel", "Cancelled"), ("timeout", "TimedOut"), ("stop", None)])
async def test_handler_that_does_not_stop_is_abandoned(
    tmp_path: Path, mark: Path, kind: str, cause: str, expected: str | None
) -> None:
    release = tmp_path / "release"
    async with a_bench(grace=0.05, timeout=0.05 if cause == "timeout" else 30.0) as bench:
        job = a_claimed_job(kind, {"mark": str(mark), "text": str(release)})
        ended = bench.start(job)
        [work] = [running.work for running in bench.executor.running.values()]
        await eventually(mark.exists)
        _stop(bench, cause, job.id)
        attempt = await ended
        # It may still be running, so it must not be started a second time.
        assert (None if attempt is None else failure_type(attempt)) == (expected and (expected, False))
        assert bench.events == [HandlerAbandoned(job)]
        assert bench.executor.running == {}
        release.touch()
        assert work is not None
        await work  # it ends late, and is not reported a second time
        assert bench.events == [HandlerAbandoned(job)]


def _stop(bench: Bench, cause: str, job_id: str) -> None:
    match cause:
        case "cancel":
            bench.executor.cancel(job_id)
        case "stop":
            bench.executor.stop_all()


def _ended(attempt: Attempt | None) -> Attempt:
    assert attempt is not None
    return attempt


# -- progress ------------------------------------------------------------------------------------------------


async def test_progress_is_limited_to_0_and_100(bench: Bench) -> None:
    job = a_claimed_job("tells")
    await bench.start(job)
    assert bench.progress == [(job.id, 10.0, "step 10"), (job.id, 100.0, "step 150"), (job.id, 0.0, "step -5")]


async def test_progress_of_a_thread_is_reported_in_the_loop(bench: Bench) -> None:
    job = a_claimed_job("tells-thread")
    await bench.start(job)
    assert bench.progress == [(job.id, 40.0, "from a thread")]


# -- child processes -----------------------------------------------------------------------------------------


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def children() -> AsyncIterator[Bench]:
    """One warm child for all tests that leave it alive."""
    async with a_bench() as bench:
        yield bench


in_one_loop = pytest.mark.asyncio(loop_scope="module")


@in_one_loop
async def test_child_process_is_kept_for_the_next_job(children: Bench) -> None:
    results = [await children.run("echo-process", text=text) for text in ("ก", "ข")]
    first, second = (orjson.loads(attempt.result or b"") for attempt in results)
    assert (first["text"], second["text"]) == ("ก", "ข")
    assert first["pid"] == second["pid"] != os.getpid()


@in_one_loop
async def test_child_process_runs_a_coroutine(children: Bench) -> None:
    assert (await children.run("coroutine-process", text="x")).result == b'"x"'


@in_one_loop
async def test_error_in_a_child_is_reported_like_any_other(children: Bench) -> None:
    attempt = await children.run("broken-process", text="no luck: hush-hush")
    assert failure_type(attempt) == ("ValueError", True)
    assert attempt.failure is not None
    assert attempt.failure.message == "ValueError: no luck: ***"
    assert 'File "tests/support/handlers.py"' in (attempt.failure.stack_trace or "").splitlines()[1]


@in_one_loop
@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("discarded-process", ("Discard", False)),
        ("leaves-process", ("SystemExit", True)),
        ("cancels-itself-process", ("Interrupted", True)),
        ("misses-process", ("FileNotFoundError", True)),
    ],
)
async def test_child_survives_what_its_handler_raises(children: Bench, kind: str, expected: tuple[str, bool]) -> None:
    await children.run("echo-process")
    pids = children.pids()
    assert failure_type(await children.run(kind)) == expected
    assert children.pids() == pids


@in_one_loop
async def test_progress_from_several_threads_of_a_child_arrives_intact(children: Bench) -> None:
    children.progress.clear()
    job = a_claimed_job("tells-process")
    await children.start(job)
    assert sorted(children.progress) == [(job.id, 100.0, f"{n}" * 2000) for n in range(8)]


@in_one_loop
async def test_late_progress_of_an_ended_job_is_not_credited_to_the_next(children: Bench, tmp_path: Path) -> None:
    release = tmp_path / "release"
    await children.run("haunts-process", text=str(release))
    children.progress.clear()
    job = a_claimed_job("tells-process")
    await children.start(job)
    release.touch()
    assert {job_id for job_id, _, _ in children.progress} == {job.id}


@in_one_loop
async def test_child_that_checks_its_context_is_cancelled_and_kept(children: Bench, mark: Path) -> None:
    job = a_claimed_job("heeds-process", {"mark": str(mark)})
    ended = children.start(job)
    await eventually(mark.exists)
    children.executor.cancel(job.id)
    assert _ended(await ended).result == b'"stopped by itself"'
    assert children.pids() == pids_in(mark)
    # The wish was for that job, not for the next.
    assert (await children.run("heeds-process", seconds=0.02)).result == b'"never"'


async def test_child_that_does_not_stop_is_killed_with_its_descendants(mark: Path) -> None:
    async with a_bench(grace=0.05) as bench:
        job = a_claimed_job("family", {"mark": str(mark)})
        ended = bench.start(job)
        await eventually(mark.exists)
        bench.executor.cancel(job.id)
        assert failure_type(_ended(await ended)) == ("Cancelled", False)
        assert bench.events == []  # it is gone, not left behind
        for pid in pids_in(mark):
            await eventually(lambda pid=pid: not is_running(pid))  # type: ignore[misc]  # mypy infers no default
        assert (await bench.run("echo-process")).failure is None


async def test_death_of_a_child_is_a_crash_and_the_pool_continues(mark: Path) -> None:
    async with a_bench() as bench:
        attempt = await bench.run("dies", mark=str(mark))
        assert failure_type(attempt) == ("Crashed", True)
        assert attempt.failure is not None
        assert attempt.failure.message == "The process running the job died (signal SIGKILL)"
        assert (await bench.run("echo-process")).failure is None


async def test_crash_is_detected_while_a_grandchild_holds_the_connection(mark: Path) -> None:
    async with a_bench() as bench:
        async with asyncio.timeout(120):
            attempt = await bench.run("dies-with-heir", mark=str(mark))
        assert failure_type(attempt) == ("Crashed", True)
        _, heir = pids_in(mark)
        await eventually(lambda: not is_running(heir))


async def test_child_that_died_while_idle_is_replaced(mark: Path) -> None:
    async with a_bench() as bench:
        first = orjson.loads((await bench.run("echo-process")).result or b"")["pid"]
        os.kill(first, signal.SIGKILL)
        await eventually(lambda: not is_running(first))
        second = orjson.loads((await bench.run("echo-process")).result or b"")["pid"]
        assert second != first


async def test_pool_that_grows_admits_waiting_jobs(tmp_path: Path) -> None:
    marks = [tmp_path / "first", tmp_path / "second"]
    async with a_bench(size=1) as bench:
        for path in marks:
            bench.start(a_claimed_job("deaf-process", {"seconds": 30, "mark": str(path)}))
        await eventually(marks[0].exists)
        assert not marks[1].exists()
        await bench.pool.resize(2)
        await eventually(marks[1].exists)


async def test_pool_that_shrinks_ends_surplus_children(tmp_path: Path) -> None:
    async with a_bench(size=3) as bench:
        jobs = [a_claimed_job("deaf-process", {"seconds": 0.2}) for _ in range(3)]
        await asyncio.gather(*(bench.start(job) for job in jobs))
        first = set(bench.pids())
        await bench.pool.resize(2)
        assert len(bench.pids()) == 2
        busy = [bench.start(a_claimed_job("deaf-process", {"seconds": 0.2})) for _ in range(2)]
        await asyncio.sleep(0)  # both have taken their child
        await bench.pool.resize(1)
        await asyncio.gather(*busy)
        await eventually(lambda: len(bench.pids()) == 1)
        await eventually(lambda: sum(map(is_running, first)) == 1)
        assert (await bench.run("echo-process")).failure is None


async def test_cancelled_wait_for_a_child_takes_no_slot(tmp_path: Path) -> None:
    async with a_bench(size=1, grace=0.05) as bench:
        first = bench.start(a_claimed_job("deaf-process", {"seconds": 0.3}))
        job = a_claimed_job("echo-process")
        called_off = bench.start(job)
        await asyncio.sleep(0)
        bench.executor.cancel(job.id)
        assert failure_type(_ended(await called_off)) == ("Cancelled", False)
        await first
        assert (await bench.run("echo-process")).failure is None


async def test_jobs_run_in_children_with_the_newest_configuration() -> None:
    async with a_bench(size=2) as bench:
        old = orjson.loads((await bench.run("echo-process")).result or b"")["pid"]
        await bench.pool.reconfigure(ProcessConfig([handlers.__name__], {}, ["hush-hush"]))  # the same: they stay warm
        assert bench.pids() == [old]
        await bench.pool.reconfigure(ProcessConfig([handlers.__name__], {}, ["another secret"]))
        await eventually(lambda: not is_running(old))
        failure = (await bench.run("broken-process", text="another secret")).failure
        assert failure is not None
        assert failure.message == "ValueError: ***"


async def test_wait_for_a_free_child_does_not_count_as_attempt_time(tmp_path: Path) -> None:
    async with a_bench(size=1) as bench:
        await bench.run("echo-process")  # warm
        first = bench.start(a_claimed_job("deaf-process", {"seconds": 2.5, "mark": str(tmp_path / "first")}))
        await eventually((tmp_path / "first").exists)
        bench.executor.timeout = 2.0
        second = bench.start(a_claimed_job("deaf-process", {"seconds": 0.05}))
        blocking = _ended(await first)
        attempt = _ended(await second)
        assert blocking.failure is None
        assert attempt.started_at >= blocking.finished_at
        # A busy machine may keep it from its end: then it is timed out after two seconds of its own.
        assert attempt.failure is None or attempt.duration_ms >= 2000


async def test_timeout_of_a_child_counts_from_its_start(tmp_path: Path) -> None:
    async with a_bench(size=1, grace=0.05) as bench:
        await bench.run("echo-process")
        first = bench.start(a_claimed_job("deaf-process", {"seconds": 0.3}))
        bench.executor.timeout = 0.2
        attempt = _ended(await bench.start(a_claimed_job("deaf-process", {"seconds": 30})))
        assert _ended(await first).failure is None
        assert failure_type(attempt) == ("TimedOut", True)
        assert attempt.duration_ms >= 200


@pytest.mark.parametrize("steps", range(6))
async def test_cancel_while_a_child_starts_leaves_no_process(steps: int) -> None:
    """An unreaped process would be a ResourceWarning, and so an error."""
    async with a_bench() as bench:
        job = a_claimed_job("heeds-process")
        ended = bench.start(job)
        for _ in range(steps):
            await asyncio.sleep(0)
        bench.executor.cancel(job.id)
        attempt = _ended(await ended)
        assert attempt.failure is None or attempt.failure.cancelled


async def test_child_that_cannot_start_is_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    async with a_bench() as bench:
        monkeypatch.setattr(sys, "executable", "/bin/false")
        assert failure_type(await bench.run("echo-process")) == ("Crashed", True)
        monkeypatch.undo()
        assert (await bench.run("echo-process")).failure is None


@pytest.mark.parametrize("kind", ["leaves-daemon", "dies-with-daemon"])
async def test_daemon_of_a_handler_ends_with_the_job(kind: str, mark: Path) -> None:
    async with a_bench() as bench:
        await bench.run(kind, mark=str(mark))
        (daemon,) = pids_in(mark)
        await eventually(lambda: not is_running(daemon))


async def test_output_of_a_child_is_cut_and_belongs_to_the_failed_attempt(
    bench: Bench, capfd: pytest.CaptureFixture[str]
) -> None:
    assert (await bench.run("prints", text="done")).failure is None
    failure = (await bench.run("prints", text="broken")).failure
    assert failure is not None
    assert failure.stack_trace is not None
    assert "ValueError: broken" in failure.stack_trace
    assert "the last 8,192 of 20,000,229 bytes" in failure.stack_trace
    assert "the last line" in failure.stack_trace
    assert "1234567890123" not in failure.stack_trace
    quiet = (await bench.run("broken-process", text="quiet")).failure
    assert quiet is not None
    assert "Output" not in (quiet.stack_trace or "")
    assert capfd.readouterr() == ("", "")


async def test_output_of_a_child_that_died_belongs_to_its_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it, in its order."""
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    async with a_bench() as bench:
        failure = (await bench.run("prints-and-dies")).failure
    assert failure is not None
    assert failure.type == "Crashed"
    written = ["first, on stdout", "second, on stderr", "the last line"]
    assert [line for line in (failure.stack_trace or "").splitlines() if line in written] == written


_PARENT = """
import asyncio, sys
from tests.support.attempts import a_bench
kind, mark, text = sys.argv[1:]
async def main():
    async with a_bench() as bench:
        await bench.run(kind, mark=mark, text=text)
asyncio.run(main())
"""


@contextlib.asynccontextmanager
async def a_parent(kind: str, mark: Path, text: str = "") -> AsyncIterator["subprocess.Popen[bytes]"]:
    """A service of its own that runs such a job, and is killed at the end."""
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    with subprocess.Popen([sys.executable, "-c", _PARENT, kind, str(mark), text], env=environment, cwd=root) as parent:
        try:
            await eventually(mark.exists)
            yield parent
        finally:
            parent.kill()


async def test_children_and_grandchildren_end_when_their_parent_is_killed(mark: Path) -> None:
    async with a_parent("family", mark):
        assert [is_running(pid) for pid in pids_in(mark)] == [True, True]
    await eventually(lambda: not any(is_running(pid) for pid in pids_in(mark)))


async def test_child_ends_when_its_parent_died_with_unread_frames(mark: Path, tmp_path: Path) -> None:
    """Its line is reset then, and not just closed."""
    go, reported = tmp_path / "go", tmp_path / "mark.told"
    async with a_parent("chatters-process", mark, str(go)) as parent:
        parent.send_signal(signal.SIGSTOP)
        go.touch()
        await eventually(reported.exists)
    await eventually(lambda: not any(is_running(pid) for pid in pids_in(mark)))


def test_children_work_under_uvloop(tmp_path: Path) -> None:
    async def main() -> list[str | None]:
        async with a_bench(grace=0.05) as bench:
            kinds = ["echo-process", "dies", "dies-with-heir", "discarded-process"]
            attempts = [await bench.run(kind, mark=str(tmp_path / kind)) for kind in kinds]
            job = a_claimed_job("deaf-process", {"mark": str(tmp_path / "deaf")})
            ended = bench.start(job)
            await eventually((tmp_path / "deaf").exists)
            bench.executor.cancel(job.id)
            attempts.append(_ended(await ended))
        return [None if attempt.failure is None else attempt.failure.type for attempt in attempts]

    with contextlib.closing(uvloop.new_event_loop()) as loop:
        ends = loop.run_until_complete(asyncio.wait_for(main(), 240))
    assert ends == [None, "Crashed", "Crashed", "Discard", "Cancelled"]
