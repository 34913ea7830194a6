"""What keeps the house in order: old rows, the store, the event loop."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from tests.support.attempts import a_job as a_claimed_job
from tests.support.eventually import eventually
from tests.support.hearing import Heard
from tests.support.sqlite_store import Gate, a_store, told
from tests.support.stores import HandClock, failed, retried, success
from worker.clock import Clock
from worker.errors import StoreFull, StoreReplaced
from worker.events import JobSettled, LoopBlocked, LoopFailed, Pruned
from worker.handler import Handler, handler
from worker.maintenance import Aftercare, Indexer, Pruner, Pulse, Receipts, Watch
from worker.queue import AuditEntry, AuditQuery, Indexed, JobQuery
from worker.queues.sqlite import SqliteStore
from worker.queues.sqlite_look import SearchFile


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    async with a_store(tmp_path) as store:
        yield store


async def stopped(running: "asyncio.Task[None]", stop: asyncio.Event) -> None:
    stop.set()
    async with asyncio.timeout(5):
        await running


async def test_old_jobs_go_when_their_news_is_delivered(store: SqliteStore) -> None:
    delivered = await told(store, 5)
    await store.delivered(delivered[-1])
    pending = await told(store, 2)
    heard, stop = Heard(), asyncio.Event()
    later = Clock(now=lambda: time.time() + 100)
    pruner = asyncio.ensure_future(Pruner(store, 50.0, later, heard, interval=60, chunk=2).run(stop))
    assert await heard.until(Pruned) == [Pruned(5)]
    await stopped(pruner, stop)
    assert [message.id for message in await store.pending(0, 10)] == pending
    assert len((await store.find(JobQuery())).jobs) == 2


async def test_pruning_goes_on_after_an_error(store: SqliteStore) -> None:
    gate, heard, stop = Gate(store, "prune"), Heard(), asyncio.Event()
    gate.errors = [OSError("disk")]
    pruner = asyncio.ensure_future(Pruner(gate, 50.0, Clock(), heard, interval=0.01).run(stop))  # type: ignore[arg-type]
    await heard.until(LoopFailed)
    await gate.reached.wait()
    await stopped(pruner, stop)


async def test_a_store_that_was_removed_is_noticed(store: SqliteStore) -> None:
    await store.figures()  # the reader has it open
    elsewhere = store.path.rename(store.path.with_name("elsewhere.db"))
    with pytest.raises(StoreReplaced):
        await Watch(store, interval=0.01).run(asyncio.Event())
    elsewhere.rename(store.path)


async def test_a_full_store_is_no_reason_to_end(store: SqliteStore) -> None:
    gate, stop = Gate(store, "check"), asyncio.Event()
    gate.errors = [StoreFull("full")]
    watch = asyncio.ensure_future(Watch(gate, interval=0.01).run(stop))  # type: ignore[arg-type]
    await gate.reached.wait()
    await stopped(watch, stop)


async def test_a_loop_that_stands_still_is_told_once_with_where_and_how_long() -> None:
    heard, stop = Heard(), asyncio.Event()
    beats: list[float] = []
    pulse = Pulse(heard, Clock(), limit=0.05, on_beat=lambda _late: beats.append(time.monotonic()))
    running = asyncio.ensure_future(pulse.run(stop))
    await asyncio.sleep(0)
    _stand_still(0.3)
    [blocked] = await heard.until(LoopBlocked)
    seen = len(beats)
    await eventually(lambda: len(beats) > seen + 10)  # the thread beside it has looked several times since
    await stopped(running, stop)
    assert blocked.seconds >= 0.3
    assert "_stand_still" in blocked.stack
    assert heard.of(LoopBlocked) == [blocked]


def _stand_still(seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(0.01)


async def test_the_search_index_follows_the_jobs(store: SqliteStore) -> None:
    heard, stop = Heard(), asyncio.Event()
    await told(store, 100)
    indexing = asyncio.ensure_future(Indexer(store, Clock(), heard, gather=0.01).run(stop))
    searching = SearchFile(store.path)
    await eventually(lambda: _indexed(searching) == 100)
    await told(store, 3)
    await eventually(lambda: _indexed(searching) == 103)
    searching.close()
    await stopped(indexing, stop)
    assert heard.events == []


def _indexed(searching: SearchFile) -> int:
    with searching.look() as look:
        return 0 if look is None else look.up_to


async def test_indexing_goes_on_after_an_error(store: SqliteStore) -> None:
    gate, heard, stop = Gate(store, "index"), Heard(), asyncio.Event()
    gate.errors = [OSError("disk")]
    indexing = asyncio.ensure_future(Indexer(gate, Clock(), heard, idle=0.01).run(stop))  # type: ignore[arg-type]
    [failed] = await heard.until(LoopFailed)
    assert failed.where == "indexing for searches"
    await gate.reached.wait()
    await stopped(indexing, stop)


@pytest.mark.parametrize(("arriving", "pause"), [(100, 1.0), (1000, 20.0), (100_000, 100.0)])
async def test_indexing_leaves_a_busy_machine_to_the_jobs(arriving: int, pause: float) -> None:
    class Busy:
        """`arriving` runs end each second."""

        left = 1000

        async def index(self) -> Indexed:
            self.left += arriving - 50
            return Indexed(50, self.left, 0.02)

    hands = HandClock()
    indexer = Indexer(Busy(), hands.clock, Heard())  # type: ignore[arg-type]
    for _ in range(2):
        hands.pass_time(1.0)
        measured = await indexer._step()
    assert measured == pytest.approx(0.02 * pause)


async def test_old_entries_of_the_audit_trail_go(store: SqliteStore) -> None:
    now = time.time()
    for age in (100.0, 90.0, 10.0):
        await store.audit(AuditEntry(now - age, "key", "cancel", "job"))
    heard, stop = Heard(), asyncio.Event()
    gate = Gate(store, "prune_audit")
    pruning = asyncio.ensure_future(Pruner(gate, 50.0, Clock(), heard, chunk=1, audit_retention=50.0).run(stop))  # type: ignore[arg-type]
    await eventually(lambda: len(gate.calls) == 3)
    await stopped(pruning, stop)
    assert len((await store.audit_trail(AuditQuery())).entries) == 1
    assert heard.events == []


async def test_what_was_shown_is_written_down_a_batch_at_a_time(store: SqliteStore) -> None:
    await told(store, 3)
    gate, heard = Gate(store, "shown"), Heard()
    gate.open.set()
    receipts = Receipts(gate, Clock(lambda: 9.0), heard, interval=0.01)  # type: ignore[arg-type]
    messages = await store.pending(0, 10)
    running = asyncio.ensure_future(receipts.run())
    for message in messages[:2] * 5:
        receipts.note(message.notification_id)
    await gate.reached.wait()
    shown = [(await store.deliveries(message.job_id))[0].shown_at for message in messages]
    running.cancel()
    await asyncio.wait([running])
    assert shown == [9.0, 9.0, None]
    assert heard.events == []


async def test_what_was_shown_last_is_written_at_the_stop(store: SqliteStore) -> None:
    await told(store, 1)
    [message] = await store.pending(0, 10)
    receipts = Receipts(store, Clock(lambda: 9.0), Heard(), interval=600)
    running = asyncio.ensure_future(receipts.run())
    receipts.note(message.notification_id)
    await asyncio.sleep(0)
    running.cancel()
    await asyncio.wait([running])
    assert (await store.deliveries(message.job_id))[0].shown_at == 9.0


async def test_a_store_that_is_busy_makes_receipts_pile_up_no_higher_than_they_may(store: SqliteStore) -> None:
    gate, heard = Gate(store, "shown"), Heard()
    gate.errors = [OSError("disk")]
    receipts = Receipts(gate, Clock(), heard, most=2)  # type: ignore[arg-type]
    for number in range(5):
        receipts.note(f"id-{number}")
    assert list(receipts._shown) == ["id-0", "id-1"]
    await receipts.write()
    assert len(heard.of(LoopFailed)) == 1


# -- after settling ------------------------------------------------------------------------------------------


class Ending(BaseModel):
    """A payload of nothing."""


def caring(kind: str, settled: Callable[[bytes | None, Any], None] | None) -> dict[str, Handler]:
    async def run(payload: Ending) -> None: ...

    return {kind: handler(kind, settled=settled)(run)}


async def test_what_a_handler_does_after_settling_is_done_in_turn_and_harms_nothing() -> None:
    done: list[bytes | None] = []

    def settled(result: bytes | None, settings: Any) -> None:
        assert settings == "its section"
        if result == b"1":
            raise OSError("disk")
        done.append(result)

    heard = Heard()
    care = Aftercare(caring("echo", settled), lambda _handler: "its section", heard)
    running = asyncio.ensure_future(care.run())
    for ended in (success(a_claimed_job(), result=b"%d" % number) for number in range(3)):
        care.note(JobSettled(ended.attempt, ended.outcome))
    for ended in (failed(a_claimed_job()), retried(a_claimed_job(), 1.0)):
        care.note(JobSettled(ended.attempt, ended.outcome))
    await eventually(lambda: done == [b"0", b"2"])
    [trouble] = heard.of(LoopFailed)
    assert (trouble.where, str(trouble.error)) == ("tidying after a job of kind echo", "disk")
    running.cancel()


async def test_kinds_without_such_a_wish_cost_nothing() -> None:
    care = Aftercare(caring("echo", None), lambda _handler: None, Heard())
    assert care.kinds == frozenset()
    ended = success(a_claimed_job())
    care.note(JobSettled(ended.attempt, ended.outcome))
    assert not care._waiting
