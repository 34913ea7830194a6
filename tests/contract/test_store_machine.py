"""Every Store, driven at random next to a small model: after any operations, both give the same answers."""

import asyncio
import tempfile
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.contract.conftest import PROVIDERS, Provider
from tests.support.store_model import ModelStore
from tests.support.stores import (
    ManualClock,
    StoreLocation,
    a_job,
    cancel_notification,
    cancelled,
    failed,
    index_piece,
    retried,
    sequence_in,
    stale,
    success,
)
from worker.core.job import Job, JobRecord, JobState
from worker.core.notification import notification_id
from worker.core.store import JobQuery, Settlement, Store

ENDS: dict[str, Callable[[Job, float], Settlement]] = {"succeeded": success, "failed": failed, "cancelled": cancelled}
KINDS = ("noop", "report")
MEMORY = Path("/dev/shm")
"""Thousands of commits are made here, and no power is cut: a disk would only wear."""


class StoreMachine(RuleBasedStateMachine):
    provider: Provider

    @initialize()
    def open(self) -> None:
        self.folder = tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None)
        self.runner = asyncio.Runner()
        self.manual_clock = ManualClock()
        self.location = StoreLocation(self.manual_clock, *type(self).provider(Path(self.folder.name)))
        self.store: Store = self.do(self.location.open(owner="life-1"))
        self.model = ModelStore("life-1")
        self.lives = 1
        self.ids = count(1)
        self.handed_out: list[Job] = []
        """Every claim that was ever made, stale ones too."""

    def teardown(self) -> None:
        if hasattr(self, "location"):
            self.do(self.location.close_all())
            self.runner.close()
            self.folder.cleanup()

    def do(self, awaitable: Any) -> Any:
        async def run() -> Any:
            return await awaitable

        return self.runner.run(run())

    # -- intake and claims

    @rule(
        users=st.lists(st.sampled_from("abc"), min_size=1, max_size=5),
        delay=st.sampled_from([0.0, 0.0, 0.0, 20.0]),
        key=st.sampled_from([None, None, "k1", "k2"]),
        payload=st.integers(0, 1),
        kind=st.sampled_from(KINDS),
        priority=st.sampled_from([0, 0, 0, 5, -5]),
        organization=st.sampled_from([None, None, "north", "south"]),
    )
    def enqueue(
        self,
        users: list[str],
        delay: float,
        key: str | None,
        payload: int,
        kind: str,
        priority: int,
        organization: str | None,
    ) -> None:
        now = self.manual_clock.wall
        jobs = [
            a_job(
                now,
                user=user,
                delay=delay,
                key=key if number == 0 else None,
                payload=payload,
                kind=kind,
                priority=priority,
                organization=organization,
                job_id=f"job-{next(self.ids):04}",  # the same in each replay of an example
            )
            for number, user in enumerate(users)
        ]
        answers = self.do(self.store.enqueue(jobs))
        assert [(answer.job_id, answer.state, answer.job_state) for answer in answers] == [
            self.model.enqueue(job, now) for job in jobs
        ]

    @rule(limit=st.integers(0, 4))
    def claim(self, limit: int) -> None:
        claimed = self.do(self.store.claim(limit))
        self.model.claimed([job.id for job in claimed.jobs], limit, self.manual_clock.wall)
        for job in claimed.jobs:
            mine = self.model.jobs[job.id]
            assert (job.run, job.attempt, job.claim) == (mine.run, mine.attempt, mine.claims)
            assert (job.suspect, job.cancel_requested) == (mine.suspect, mine.cancel_requested)
        self.handed_out += claimed.jobs

    # -- ends of attempts

    @precondition(lambda self: self.handed_out)
    @rule(data=st.data(), states=st.lists(st.sampled_from(sorted(ENDS)), min_size=1, max_size=4))
    def settle(self, data: st.DataObject, states: list[str]) -> None:
        now = self.manual_clock.wall
        ends = [(data.draw(st.sampled_from(self.handed_out[-12:])), state) for state in states]
        settlements = [ENDS[state](job, now) for job, state in ends]
        answers = self.do(self.store.settle(settlements))
        assert answers == [
            self.model.settle(one, now, state) for one, (_, state) in zip(settlements, ends, strict=True)
        ]

    @precondition(lambda self: self.handed_out)
    @rule(data=st.data(), delay=st.sampled_from([0.0, 10.0]), suspect=st.booleans())
    def back_off(self, data: st.DataObject, delay: float, suspect: bool) -> None:
        now = self.manual_clock.wall
        job = data.draw(st.sampled_from(self.handed_out[-12:]))
        settlement = retried(job, now + delay, now, suspect=suspect)
        [answer] = self.do(self.store.settle([settlement]))
        assert answer == self.model.settle(settlement, now, "queued")
        if answer:
            self.model.back_off(job.id, now + delay, now, suspect=suspect)

    @precondition(lambda self: self.handed_out)
    @rule(data=st.data(), fake=st.booleans())
    def release(self, data: st.DataObject, fake: bool) -> None:
        job = data.draw(st.sampled_from(self.handed_out[-12:]))
        job = stale(job, claim=job.claim + 1000) if fake else job  # a claim that never existed
        self.do(self.store.release([job]))
        self.model.release(job, suspect=False)

    # -- by hand

    @precondition(lambda self: self.model.jobs)
    @rule(data=st.data(), run=st.integers(1, 2))
    def cancel(self, data: st.DataObject, run: int) -> None:
        job_id = data.draw(st.sampled_from(sorted(self.model.jobs)))
        record = self.do(self.store.get(job_id))
        answer = self.do(self.store.cancel(job_id, run, cancel_notification(record, self.manual_clock.wall)))
        assert answer == self.model.cancel(job_id, run, self.manual_clock.wall)

    @precondition(lambda self: self.model.jobs)
    @rule(data=st.data())
    def retry(self, data: st.DataObject) -> None:
        job_id = data.draw(st.sampled_from(sorted(self.model.jobs)))
        assert self.do(self.store.retry(job_id)) == self.model.retry(job_id, self.manual_clock.wall)

    @rule(kind=st.sampled_from(KINDS))
    def pause(self, kind: str) -> None:
        self.do(self.store.pause(kind))
        self.model.paused.add(kind)

    @rule(kind=st.sampled_from(KINDS))
    def resume(self, kind: str) -> None:
        self.do(self.store.resume(kind))
        self.model.paused.discard(kind)

    # -- the outbox

    @rule(ahead=st.integers(-1, 3))
    def deliver(self, ahead: int) -> None:
        up_to = max(0, self.model.watermark + ahead)
        self.do(self.store.delivered(up_to))
        self.model.delivered(up_to)

    @rule(ahead=st.integers(0, 3))
    def refuse(self, ahead: int) -> None:
        self.do(self.store.dead(self.model.watermark + ahead, "no"))
        self.model.dead(self.model.watermark + ahead)

    @precondition(lambda self: self.model.notified)
    @rule(data=st.data())
    def resend(self, data: st.DataObject) -> None:
        job_id, run = data.draw(st.sampled_from(self.model.notified[-12:]))
        message = self.do(self.store.resend(notification_id(job_id, run)))
        expected = self.model.resend(job_id, run, self.manual_clock.wall)
        assert (None if message is None else message.id) == expected

    # -- looking

    @rule()
    def index(self) -> None:
        self.do(index_piece(self.store))

    @rule(
        states=st.none() | st.sets(st.sampled_from(list(JobState)), min_size=1),
        users=st.none() | st.sets(st.sampled_from("abc"), min_size=1),
        kind=st.none() | st.sampled_from(KINDS),
        text=st.none() | st.sampled_from(["job-00", "b", "broken", '":']),
    )
    def find(self, states: set[JobState] | None, users: set[str] | None, kind: str | None, text: str | None) -> None:
        query = JobQuery(states=states, user_ids=users, kind=kind, text=text, limit=1000)
        page = self.do(self.store.find(query))
        records = self.do(self.store.find(JobQuery(limit=1000))).jobs
        assert [record.id for record in page.jobs] == [
            record.id
            for record in records
            if (states is None or record.state in states)
            and (users is None or record.user_id in users)
            and (kind is None or record.kind == kind)
            and (text is None or _holds(record, text))
        ]
        assert {record.id: record.state for record in records} == {
            job_id: job.state for job_id, job in self.model.jobs.items()
        }

    # -- time and death

    @rule(seconds=st.sampled_from([1.0, 10.0, 30.0]))
    def pass_time(self, seconds: float) -> None:
        self.manual_clock.pass_time(seconds)

    @rule()
    def set_the_clock_back(self) -> None:
        self.manual_clock.set_wall(-100.0)
        self.do(self.store.claim(0))  # a claim is where the store looks at the clock
        self.model.set_back(100.0)
        self.model.claimed([], 0, self.manual_clock.wall)

    @rule(limit=st.integers(1, 5))
    def prune(self, limit: int) -> None:
        total = 0
        while pruned := self.do(self.store.prune(0.0, limit)).runs:
            assert pruned <= limit
            total += pruned
        assert total == self.model.prune()

    @rule(suspect=st.booleans())
    def crash_and_restart(self, suspect: bool) -> None:
        self.lives += 1
        owner = f"life-{self.lives}"
        self.do(self.location.close(self.store))
        self.store = self.do(self.location.open(owner=owner))
        orphans = self.do(self.store.orphans())
        running = [job for job in self.model.jobs.values() if job.state == "running"]
        assert [job.id for job in orphans] == [
            job.new.id for job in sorted(running, key=lambda job: (job.run_at, job.place))
        ]
        self.model.owner = owner
        self.model.owed.clear()
        self.do(self.store.release(orphans, suspect=suspect))
        for job in orphans:
            self.model.release(job, suspect=suspect)

    # -- what always holds

    @invariant()
    def owners_without_due_jobs_have_no_turn(self) -> None:
        if hasattr(self, "model"):
            self.model.observe()

    @invariant()
    def the_paused_kinds_are_those_of_the_model(self) -> None:
        if hasattr(self, "model"):
            assert self.do(self.store.paused()) == self.model.paused

    @invariant()
    def the_figures_are_those_of_the_model(self) -> None:
        if hasattr(self, "model"):
            figures = self.do(self.store.stats())
            assert figures.jobs == self.model.counts()
            assert figures.outbox_depth == len(self.model.pending())
            assert figures.outbox_dead == sum(message.dead for message in self.model.messages)

    @invariant()
    def the_outbox_is_that_of_the_model(self) -> None:
        if hasattr(self, "model"):
            messages = self.do(self.store.pending(0, 10_000))
            expected = self.model.pending()
            assert [(one.id, one.job_id, one.user_id) for one in messages] == [
                (one.id, one.job_id, one.user_id) for one in expected
            ]
            assert [sequence_in(one.body) for one in messages] == [one.sequence for one in expected]
            for message, mine in zip(messages, expected, strict=True):
                payload = orjson.loads(message.body)[1]["payload"]
                assert payload.get("redelivery", 0) == mine.redelivery

    @invariant()
    def every_run_that_ended_has_one_notification(self) -> None:
        if hasattr(self, "model"):
            assert len(self.model.notified) == len(set(self.model.notified))
            numbers: dict[str, list[int]] = {}
            for record in self.do(self.store.notifications(limit=10_000)):
                numbers.setdefault(record.user_id, []).append(record.sequence)
            assert all(len(drawn) == len(set(drawn)) for drawn in numbers.values())


def _holds(record: JobRecord, text: str) -> bool:
    json = record.payload.decode() + (record.result or b"").decode()
    return any(text in place for place in (record.id, record.user_id, json, record.error or ""))


@pytest.mark.timeout(600)  # forty stores, each opened several times: a minute and more where the store is a server
@pytest.mark.parametrize("provider", PROVIDERS)
def test_store_driven_at_random_answers_like_the_model(provider: Provider) -> None:
    machine = type("Machine", (StoreMachine,), {"provider": staticmethod(provider)})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
