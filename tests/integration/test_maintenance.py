"""What keeps the house in order: old rows, the store, the event loop."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from tests.support.attempts import a_claimed_job
from tests.support.event_collector import EventCollector
from tests.support.eventually import eventually
from tests.support.sqlite_store import Gate, a_store, add_notifications
from tests.support.stores import ManualClock, failed, retried, success
from worker.core.clock import Clock
from worker.core.events import Announced, LoopBlocked, LoopFailed, LoopRecovered, Pruned
from worker.core.store import AuditEntry, AuditQuery, IndexProgress, JobQuery, PruneProgress, StoreStats
from worker.errors import StoreFull, StoreReplaced
from worker.handler import Handler, handler
from worker.runtime.loop_watchdog import LoopWatchdog
from worker.runtime.maintenance import Indexer, Pruner, StoreMonitor, Tidying
from worker.runtime.read_receipts import ReadReceipts
from worker.runtime.success_hooks import SuccessHooks
from worker.stores.sqlite.search.index_reader import SearchFile
from worker.stores.sqlite.store import SqliteStore


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    async with a_store(tmp_path) as store:
        yield store


async def stopped(running: "asyncio.Task[None]", stop: asyncio.Event) -> None:
    stop.set()
    async with asyncio.timeout(30):
        await running


async def test_pruner_deletes_old_jobs_with_delivered_notifications(store: SqliteStore) -> None:
    delivered = await add_notifications(store, 5)
    await store.delivered(delivered[-1])
    pending = await add_notifications(store, 2)
    collector, stop, rounds = EventCollector(), asyncio.Event(), list[int]()
    pruner = Pruner(store, 0.0, Clock(), collector, interval=60, batch_size=2, on_pruned=lambda: rounds.append(1))
    pruning = asyncio.ensure_future(pruner.run(stop))
    assert await collector.until(Pruned) == [Pruned(5)]
    assert rounds == [1]
    await stopped(pruning, stop)
    assert [message.id for message in await store.pending(0, 10)] == pending
    assert len((await store.find(JobQuery())).jobs) == 2


async def test_pruning_continues_after_an_error(store: SqliteStore) -> None:
    gate, collector, stop = Gate(store, "prune"), EventCollector(), asyncio.Event()
    gate.errors = [OSError("disk")]
    pruner = asyncio.ensure_future(Pruner(gate, 50.0, Clock(), collector, interval=0.01).run(stop))
    await collector.until(LoopFailed)
    await gate.reached.wait()
    await stopped(pruner, stop)


async def test_tidying_goes_on_after_an_error_until_nothing_is_left() -> None:
    answers: list[bool | Exception] = [True, OSError("disk"), True, True, False]
    collector, stop = EventCollector(), asyncio.Event()

    async def tidy() -> bool:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        if not answers:
            stop.set()
        return answer

    async with asyncio.timeout(30):
        await Tidying(tidy, collector, interval=0.01).run(stop)
    assert [failure.where for failure in collector.of(LoopFailed)] == ["tidying the store"]
    assert len(collector.of(LoopRecovered)) == 1


async def test_monitor_raises_for_a_removed_store(store: SqliteStore) -> None:
    await store.stats()  # the reader has it open
    elsewhere = store.path.rename(store.path.with_name("elsewhere.db"))
    with pytest.raises(StoreReplaced):
        await StoreMonitor(store, Clock(), EventCollector(), interval=0.01).run(asyncio.Event())
    elsewhere.rename(store.path)


async def test_monitor_looks_at_the_inbox_in_a_thread(store: SqliteStore) -> None:
    """A disk that does not answer must not hold up the event loop."""
    stop, looked, looking = asyncio.Event(), threading.Event(), threading.Event()

    def check() -> None:
        looking.set()
        assert looked.wait(30)

    watch = asyncio.ensure_future(StoreMonitor(store, Clock(), EventCollector(), check, interval=0.01).run(stop))
    await eventually(looking.is_set)
    looked.set()
    await stopped(watch, stop)


async def test_monitor_raises_what_a_check_finds_after_the_stop_was_requested(store: SqliteStore) -> None:
    """A disk that answers late: what was lost must not end with success."""
    stop, answer, looking = asyncio.Event(), threading.Event(), threading.Event()

    def check() -> None:
        looking.set()
        assert answer.wait(30)
        raise StoreReplaced("the inbox was removed")

    watch = asyncio.ensure_future(StoreMonitor(store, Clock(), EventCollector(), check, interval=0.05).run(stop))
    await eventually(looking.is_set)
    stop.set()
    answer.set()
    with pytest.raises(StoreReplaced):
        await watch


async def test_monitor_raises_for_a_store_that_is_removed_at_the_stop(store: SqliteStore) -> None:
    stop = asyncio.Event()
    watch = asyncio.ensure_future(StoreMonitor(store, Clock(), EventCollector(), interval=3600.0).run(stop))
    await eventually(lambda: store.path.exists())
    await asyncio.sleep(0.1)
    elsewhere = store.path.rename(store.path.with_name("elsewhere.db"))
    stop.set()
    with pytest.raises(StoreReplaced):
        await watch
    elsewhere.rename(store.path)


@pytest.mark.parametrize("hanging", ["inbox", "store"])
async def test_monitor_reports_a_hanging_write_while_a_check_hangs_too(store: SqliteStore, hanging: str) -> None:
    """A state disk that hangs answers neither the write that is to be reported nor the checks beside it."""
    collector, stop, manual = EventCollector(), asyncio.Event(), ManualClock()
    answer, looked = threading.Event(), list[int]()
    writes: Any = Gate(store, "release")
    checks = Gate(writes, "check")
    writes.open.clear()

    def check_inbox() -> None:
        looked.append(1)
        assert hanging == "store" or answer.wait(60)

    if hanging == "store":
        checks.open.clear()
    watch = asyncio.ensure_future(StoreMonitor(checks, manual.clock, collector, check_inbox, interval=0.01).run(stop))
    await writes.reached.wait()
    await checks.reached.wait()
    await eventually(lambda: bool(looked))
    manual.pass_time(11.0)
    [failure] = await collector.until(LoopFailed)
    assert failure.where == "writing to the store"
    assert len(looked if hanging == "inbox" else checks.calls) == 1  # no second thread for a disk that does not answer
    answer.set()
    await stopped(watch, stop)


async def test_monitor_ignores_a_full_store(store: SqliteStore) -> None:
    gate, stop = Gate(store, "check"), asyncio.Event()
    gate.errors = [StoreFull("full")]
    watch = asyncio.ensure_future(StoreMonitor(gate, Clock(), EventCollector(), interval=0.01).run(stop))
    await gate.reached.wait()
    await stopped(watch, stop)


async def test_blocked_loop_is_reported_once_with_stack_and_duration() -> None:
    collector, stop = EventCollector(), asyncio.Event()
    beats: list[float] = []
    pulse = LoopWatchdog(collector, Clock(), threshold=0.05, on_beat=lambda _late: beats.append(time.monotonic()))
    running = asyncio.ensure_future(pulse.run(stop))

    def reported() -> list[LoopBlocked]:
        # A busy machine may stop the whole process elsewhere, which is another block.
        return [event for event in collector.of(LoopBlocked) if "_stand_still" in event.stack]

    for _ in range(20):  # on a busy machine the thread beside it may not get its turn while the loop stands still
        await asyncio.sleep(0)
        _stand_still(0.3)
        seen = len(beats)
        await eventually(lambda seen=seen: len(beats) > seen + 10)  # type: ignore[misc]  # mypy infers no default
        if reported():
            break
    await stopped(running, stop)
    [blocked] = reported()
    assert blocked.seconds >= 0.3


def _stand_still(seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(0.01)


async def test_indexer_follows_the_jobs(store: SqliteStore) -> None:
    collector, stop = EventCollector(), asyncio.Event()
    await add_notifications(store, 100)
    indexing = asyncio.ensure_future(Indexer(store, store, Clock(), collector, collect=0.01).run(stop))
    searching = SearchFile(store.path)
    await eventually(lambda: _indexed(searching) == 100)
    await add_notifications(store, 3)
    await eventually(lambda: _indexed(searching) == 103)
    searching.close()
    await stopped(indexing, stop)
    assert collector.events == []


def _indexed(searching: SearchFile) -> int:
    with searching.snapshot() as snapshot:
        return 0 if snapshot is None else snapshot.up_to


async def test_indexing_continues_after_an_error(store: SqliteStore) -> None:
    gate, collector, stop = Gate(store, "index"), EventCollector(), asyncio.Event()
    gate.errors = [OSError("disk")]
    indexing = asyncio.ensure_future(Indexer(store, gate, Clock(), collector, max_idle=0.01).run(stop))
    [failed] = await collector.until(LoopFailed)
    assert failed.where == "indexing for searches"
    await gate.reached.wait()
    await stopped(indexing, stop)


@pytest.mark.parametrize(("arriving", "pause"), [(100, 1.0), (1000, 20.0), (100_000, 100.0)])
async def test_indexing_pauses_longer_on_a_busy_machine(store: SqliteStore, arriving: int, pause: float) -> None:
    class Busy:
        """`arriving` runs end each second."""

        left = 1000

        async def index(self) -> IndexProgress:
            self.left += arriving - 50
            return IndexProgress(50, self.left, 0.02)

    manual_clock = ManualClock()
    indexer = Indexer(store, Busy(), manual_clock.clock, EventCollector())
    for _ in range(2):
        manual_clock.pass_time(1.0)
        measured = await indexer._step()
    assert measured == pytest.approx(0.02 * pause)


@pytest.mark.parametrize(("ending", "rests"), [(0, 1.0), (1000, 20.0), (100_000, 100.0)])
async def test_pruning_rests_longer_the_more_runs_end(ending: int, rests: float) -> None:
    store, stop = PrunedStore(ending), asyncio.Event()
    pruner = Pruner(store, 50.0, store.manual_clock.clock, EventCollector(), batch_size=10)  # type: ignore[arg-type]  # a part of it
    pruning = asyncio.ensure_future(pruner.run(stop))
    await store.reached.wait()
    await stopped(pruning, stop)
    assert pruner.last_rest == pytest.approx(0.0001 * rests)


async def test_pruning_does_not_rest_when_the_store_is_nearly_full() -> None:
    store, stop = PrunedStore(100_000, size_bytes=95), asyncio.Event()
    pruner = Pruner(store, 50.0, store.manual_clock.clock, EventCollector(), batch_size=10)  # type: ignore[arg-type]  # a part of it
    pruning = asyncio.ensure_future(pruner.run(stop))
    await store.reached.wait()
    await stopped(pruning, stop)
    assert pruner.last_rest == 0.0


class PrunedStore:
    """A store with two chunks of old runs, in which `ending` runs end each second while a chunk is pruned."""

    def __init__(self, ending: int, *, size_bytes: int = 10) -> None:
        self.manual_clock = ManualClock()
        self.reached = asyncio.Event()
        """The last chunk was pruned."""
        self._ending, self._size_bytes, self._chunks = ending, size_bytes, 2
        self._listeners: list[Callable[[list[Any]], None]] = []

    def on_message(self, listener: Callable[[list[Any]], None]) -> None:
        self._listeners.append(listener)

    async def prune(self, _before: float, limit: int) -> PruneProgress:
        self.manual_clock.pass_time(1.0)
        for listener in self._listeners:
            listener([None] * self._ending)
        self._chunks -= 1
        if not self._chunks:
            self.reached.set()
        return PruneProgress(limit if self._chunks else 0, 0.0001)

    async def prune_audit(self, _before: float, _limit: int) -> int:
        return 0

    async def stats(self) -> StoreStats:
        return StoreStats(size_bytes=self._size_bytes, max_bytes=100)


async def test_pruner_deletes_old_audit_entries(store: SqliteStore) -> None:
    for _ in range(2):
        await store.audit(AuditEntry(1.0, "key", "cancel", "job"))
    collector, stop = EventCollector(), asyncio.Event()
    gate = Gate(store, "prune_audit")
    pruning = asyncio.ensure_future(Pruner(gate, 50.0, Clock(), collector, batch_size=1, audit_retention=0.0).run(stop))
    await eventually(lambda: len(gate.calls) == 3)
    await stopped(pruning, stop)
    assert (await store.audit_trail(AuditQuery())).entries == []
    assert collector.events == []


async def test_read_receipts_are_written_in_batches(store: SqliteStore) -> None:
    await add_notifications(store, 3)
    gate, collector = Gate(store, "shown"), EventCollector()
    gate.open.set()
    receipts = ReadReceipts(gate, Clock(lambda: 9.0), collector, interval=0.01)
    messages = await store.pending(0, 10)
    running = asyncio.ensure_future(receipts.run())
    for message in messages[:2] * 5:
        receipts.on_shown(message.notification_id)
    await gate.reached.wait()
    shown = [(await store.deliveries(message.job_id))[0].shown_at for message in messages]
    running.cancel()
    await asyncio.wait([running])
    assert shown == [9.0, 9.0, None]
    assert collector.events == []


async def test_last_read_receipts_are_written_at_the_stop(store: SqliteStore) -> None:
    await add_notifications(store, 1)
    [message] = await store.pending(0, 10)
    receipts = ReadReceipts(store, Clock(lambda: 9.0), EventCollector(), interval=600)
    running = asyncio.ensure_future(receipts.run())
    receipts.on_shown(message.notification_id)
    await asyncio.sleep(0)
    running.cancel()
    await asyncio.wait([running])
    assert (await store.deliveries(message.job_id))[0].shown_at == 9.0


async def test_read_receipts_beyond_the_capacity_are_dropped(store: SqliteStore) -> None:
    gate, collector = Gate(store, "shown"), EventCollector()
    gate.errors = [OSError("disk")]
    receipts = ReadReceipts(gate, Clock(), collector, capacity=2)
    for number in range(5):
        receipts.on_shown(f"id-{number}")
    assert list(receipts._shown) == ["id-0", "id-1"]
    await receipts.write()
    assert len(collector.of(LoopFailed)) == 1


# -- after settling ------------------------------------------------------------------------------------------


class Ending(BaseModel):
    """A payload of nothing."""


def caring(kind: str, settled: Callable[[bytes | None, Any], str | None] | None) -> dict[str, Handler]:
    async def run(payload: Ending) -> None: ...

    return {kind: handler(kind, settled=settled)(run)}


async def test_success_hooks_run_in_order_and_their_errors_are_reported() -> None:
    done: list[bytes | None] = []

    def settled(result: bytes | None, settings: Any) -> str | None:
        assert settings == "its section"
        if result == b"1":
            raise OSError("disk")
        done.append(result)
        return "removed what it replaces" if result == b"2" else None

    collector = EventCollector()
    care = SuccessHooks(caring("echo", settled), lambda _handler: "its section", collector)
    running = asyncio.ensure_future(care.run())
    for ended in (success(a_claimed_job(), result=b"%d" % number) for number in range(3)):
        care.on_settled(ended.attempt.job.kind, ended.outcome)
    for ended in (failed(a_claimed_job()), retried(a_claimed_job(), 1.0)):
        care.on_settled(ended.attempt.job.kind, ended.outcome)
    await eventually(lambda: done == [b"0", b"2"])
    [trouble] = collector.of(LoopFailed)
    assert (trouble.where, str(trouble.error)) == ("running the success hook of a job of kind echo", "disk")
    assert (await collector.one(Announced)).text == "removed what it replaces"
    running.cancel()


async def test_kind_without_a_hook_queues_nothing() -> None:
    care = SuccessHooks(caring("echo", None), lambda _handler: None, EventCollector())
    ended = success(a_claimed_job())
    care.on_settled(ended.attempt.job.kind, ended.outcome)
    assert not care._waiting
