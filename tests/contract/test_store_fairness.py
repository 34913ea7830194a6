"""Every Store lets owners take turns, and keeps to the rules it was given."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from tests.support.stores import (
    START,
    ManualClock,
    StoreLocation,
    a_job,
    cancel_notification,
    record_of,
    retried,
    success,
)
from worker.core.claim_rules import ClaimRules, Limit, LimitScope
from worker.core.job import Job
from worker.core.store import Store
from worker.errors import LimitReached


async def claimed(store: Store, limit: int) -> list[Job]:
    return (await store.claim(limit)).jobs


async def one_by_one(store: Store, count: int) -> list[Job]:
    return [job for _ in range(count) for job in await claimed(store, 1)]


# -- turns ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at_once", [True, False])
async def test_claim_with_one_user_ahead_of_another_alternates_between_them(store: Store, at_once: bool) -> None:
    await store.enqueue([a_job(START - 100, user="first") for _ in range(200)])
    await store.enqueue([a_job(user="second") for _ in range(3)])
    jobs = await claimed(store, 6) if at_once else await one_by_one(store, 6)
    assert Counter(job.user_id for job in jobs) == {"first": 3, "second": 3}


@pytest.mark.parametrize("at_once", [True, False])
async def test_claim_with_younger_jobs_of_one_user_still_alternates_in_each_round(store: Store, at_once: bool) -> None:
    # The second job of "first" is younger than both of "second", as after the clock was set back.
    await store.enqueue([a_job(START - 100, user="first"), a_job(START, user="first")])
    await store.enqueue([a_job(START - 50, user="second") for _ in range(2)])
    jobs = await claimed(store, 4) if at_once else await one_by_one(store, 4)
    assert [job.user_id for job in jobs] == ["first", "second"] * 2


@pytest.mark.parametrize("organization", [None, "office"])
async def test_turn_of_a_user_or_organization_whose_oldest_job_is_paused_is_not_lost(
    store: Store, organization: str | None
) -> None:
    await store.pause("noop")
    sides = {"first": organization, "second": None}
    await store.enqueue([a_job(user=user, organization=sides[user], kind="report") for user in sides for _ in range(2)])
    [served] = await claimed(store, 1)
    (other,) = sides.keys() - {served.user_id}
    await store.enqueue([a_job(START - 100, user=other, organization=sides[other])])
    await store.enqueue([a_job(START - 100, user=f"{other} too", organization=sides[other])])
    assert [job.user_id for job in await claimed(store, 1)] == [other]


async def test_claim_gives_each_organization_the_same_share_whatever_its_number_of_users(store: Store) -> None:
    await store.enqueue([a_job(user=f"user-{number % 10}", organization="large") for number in range(100)])
    await store.enqueue([a_job(user="alone", organization="small") for _ in range(100)])
    await store.enqueue([a_job(user="without") for _ in range(100)])
    jobs = [*await claimed(store, 21), *await one_by_one(store, 9)]
    assert Counter(job.user_id == "alone" for job in jobs) == {True: 10, False: 20}
    assert Counter(job.user_id for job in jobs if job.user_id.startswith("user-")) == {
        f"user-{number}": 1 for number in range(10)
    }


async def test_claim_with_different_priorities_takes_turns_only_within_one(store: Store) -> None:
    await store.enqueue([a_job(user="urgent", priority=1) for _ in range(5)])
    await store.enqueue([a_job(START - 100, user="patient") for _ in range(5)])
    assert [job.user_id for job in await claimed(store, 6)] == ["urgent"] * 5 + ["patient"]


async def test_claim_for_one_user_with_several_kinds_takes_the_oldest_first(store: Store) -> None:
    jobs = [a_job(START - age, kind=kind) for kind in ("a", "b") for age in (4, 3, 2, 1)]
    await store.enqueue(jobs)
    ages = [START - job.created_at for job in [*await claimed(store, 3), *await one_by_one(store, 5)]]
    assert ages == sorted(ages, reverse=True)


async def test_claim_after_a_restart_still_takes_turns(location: StoreLocation) -> None:
    store = await location.open()
    await store.enqueue([a_job(START - 100, user="first") for _ in range(100)])
    await store.enqueue([a_job(user="second", delay=5.0) for _ in range(50)])
    location.manual_clock.pass_time(5.0)
    store = await location.reopen(store)
    jobs = [*await claimed(store, 40), *await one_by_one(store, 40)]
    assert Counter(job.user_id for job in jobs) == {"first": 40, "second": 40}
    assert len({job.id for job in jobs}) == 80


async def test_claim_after_a_failed_transaction_returns_every_job_once(store: Store) -> None:
    jobs = [a_job(user=f"user-{number % 3}") for number in range(90)]
    await store.enqueue(jobs)
    [first] = await claimed(store, 1)
    lost = first._replace(claim=first.claim + 7)
    found: list[str] = [first.id]
    for _ in range(5):
        # The settlement that is not this claim's makes the whole batch start again.
        answers = await asyncio.gather(
            store.settle([success(lost)]), store.claim(9), store.enqueue([a_job(job_id=first.id)]),
            return_exceptions=True,
        )  # fmt: skip
        assert isinstance(answers[2], ValueError)
        found += [job.id for job in answers[1].jobs]  # type: ignore[union-attr]  # asserted above by the other answers
    found += [job.id for job in await claimed(store, 100)]
    assert sorted(found) == sorted(job.id for job in jobs)


async def test_claim_with_ten_thousand_waiting_owners_gives_each_one_job(store: Store) -> None:
    owners = [f"user-{number}" for number in range(10_000)]
    for start in range(0, len(owners), 1000):
        await store.enqueue([a_job(user=user) for user in owners[start : start + 1000] for _ in range(2)])
    users = Counter[str]()
    for _ in range(10):
        users.update(job.user_id for job in await claimed(store, 1000))
    assert users == dict.fromkeys(owners, 1)


# -- kinds ---------------------------------------------------------------------------------------------------------


async def test_claim_of_a_kind_that_is_not_served_leaves_the_job_queued_until_it_is(store: Store) -> None:
    gone, here = a_job(START - 10, kind="gone"), a_job(kind="here")
    await store.enqueue([gone, here])
    await store.use_rules(ClaimRules(kinds=frozenset({"here"})))
    answer = await store.claim(10)
    assert [job.id for job in answer.jobs] == [here.id]
    assert answer.next_run_at is None
    assert (await store.counts_by_kind())["gone"] == 1
    [line] = await store.waiting_lines(10)
    assert (line.kind, line.queued, line.position, line.held_by) == ("gone", 1, None, "unserved")
    work = asyncio.Event()
    store.on_work(work.set)
    await store.use_rules(ClaimRules(kinds=frozenset({"here", "gone"})))
    await asyncio.wait_for(work.wait(), 30)
    [job] = await claimed(store, 10)
    assert (job.id, job.attempt) == (gone.id, 1)


# -- limits --------------------------------------------------------------------------------------------------------


def owner_of(scope: LimitScope) -> dict[str, Any]:
    return {"submitter" if scope == "key" else scope: "limited"}


SCOPES: list[LimitScope] = ["kind", "user", "organization", "key"]


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("name", ["limited", None])
async def test_claim_beyond_a_limit_of_running_jobs_waits_for_one_to_end(
    store: Store, scope: LimitScope, name: str | None
) -> None:
    await store.use_rules(ClaimRules(limits=[Limit(scope, name, running=2)]))
    await store.enqueue([a_job(START - 10, **owner_of(scope)) for _ in range(5)])
    other = a_job(user="other", kind="other", organization="other", submitter="other")
    await store.enqueue([other])
    first = await store.claim(10)
    assert len(first.jobs) == 3
    assert other.id in {job.id for job in first.jobs}
    assert first.next_run_at is None
    mine = [job for job in first.jobs if job.id != other.id]
    work = asyncio.Event()
    store.on_work(work.set)
    await store.settle([success(mine[0])])
    await asyncio.wait_for(work.wait(), 30)
    assert len(await claimed(store, 10)) == 1
    await store.settle([retried(mine[1], START)])
    assert len(await claimed(store, 10)) == 1


async def test_claim_with_a_limit_by_kind_passes_over_to_other_kinds_of_the_same_user(store: Store) -> None:
    await store.use_rules(ClaimRules(limits=[Limit("kind", "slow", running=1)]))
    await store.enqueue([a_job(START - 10, kind="slow") for _ in range(5)])
    await store.enqueue([a_job(kind="fast") for _ in range(5)])
    assert Counter(job.kind for job in await claimed(store, 10)) == {"slow": 1, "fast": 5}


async def test_claim_with_a_full_kind_serves_its_users_in_turn(store: Store) -> None:
    await store.use_rules(ClaimRules(limits=[Limit("kind", "slow", running=1)]))
    await store.enqueue([a_job(kind="slow", user=f"user-{number % 4}") for number in range(12)])
    seen = []
    for _ in range(8):
        [job] = await claimed(store, 10)
        seen.append(job.user_id)
        await store.settle([success(job)])
    assert Counter(seen) == dict.fromkeys(("user-0", "user-1", "user-2", "user-3"), 2)


async def test_claim_with_a_rate_continues_when_the_minute_is_over(store: Store, manual_clock: ManualClock) -> None:
    await store.use_rules(ClaimRules(limits=[Limit("user", None, per_minute=2)]))
    await store.enqueue([a_job() for _ in range(3)])
    first = await store.claim(10)
    manual_clock.pass_time(20.0)
    second = await store.claim(10)
    assert (len(first.jobs), second.jobs) == (2, [])
    assert second.next_run_at == pytest.approx(START + 60.0, abs=1)
    manual_clock.pass_time(40.0)
    assert len(await claimed(store, 10)) == 1


@pytest.mark.parametrize("scope", SCOPES)
async def test_enqueue_beyond_a_limit_of_waiting_jobs_is_rejected_until_there_is_room(
    store: Store, scope: LimitScope
) -> None:
    await store.use_rules(ClaimRules(limits=[Limit(scope, None, waiting=3)]))

    async def submit(count: int) -> None:
        await store.enqueue([a_job(delay=60.0 * number, **owner_of(scope)) for number in range(count)])

    await submit(2)
    with pytest.raises(LimitReached, match="3") as caught:
        await submit(2)
    assert caught.value.after > 0
    assert (await store.stats()).jobs["queued"] == 2
    await submit(1)
    with pytest.raises(LimitReached):
        await submit(1)
    [job] = await claimed(store, 1)
    await submit(1)
    await store.release([job])
    with pytest.raises(LimitReached):
        await submit(1)


async def test_enqueue_at_a_limit_counts_what_was_waiting_before_the_restart(location: StoreLocation) -> None:
    store = await location.open()
    jobs = [a_job(), a_job(delay=60.0), a_job()]
    await store.enqueue(jobs)
    await claimed(store, 1)
    store = await location.reopen(store)
    await store.use_rules(ClaimRules(limits=[Limit("user", "somchai", waiting=3)]))
    await store.release(await store.orphans())
    with pytest.raises(LimitReached):
        await store.enqueue([a_job()])
    await store.cancel(jobs[1].id, 1, cancel_notification(await record_of(store, jobs[1].id)))
    await store.enqueue([a_job()])


@pytest.mark.parametrize("scope", SCOPES)
async def test_enqueue_beyond_a_limit_of_waiting_bytes_is_rejected_until_there_is_room(
    store: Store, scope: LimitScope
) -> None:
    await store.use_rules(ClaimRules(limits=[Limit(scope, None, waiting_bytes=300)]))
    text = "ก" * 30  # 90 bytes, 101 with the JSON around it

    async def submit(*delays: float) -> None:
        await store.enqueue([a_job(delay=delay, payload={"text": text}, **owner_of(scope)) for delay in delays])

    with pytest.raises(LimitReached, match="300") as caught:
        await submit(0.0, 0.0, 0.0)
    assert caught.value.after > 0
    await submit(0.0, 60.0)
    with pytest.raises(LimitReached, match="202 bytes"):
        await submit(0.0)
    [job] = await claimed(store, 1)
    await submit(0.0)
    await store.release([job])  # over the limit: what was accepted goes on
    with pytest.raises(LimitReached, match="303 bytes"):
        await store.enqueue([a_job(payload={}, **owner_of(scope))])
    first, second = await claimed(store, 2)
    await store.settle([success(first), retried(second, 30.0)])
    with pytest.raises(LimitReached, match="202 bytes"):
        await submit(0.0)
    await store.enqueue([a_job(user="another", kind="another", payload={"text": text * 2})])


async def test_limit_of_waiting_bytes_counts_what_waits_when_it_is_set_and_leaves_with_it(
    location: StoreLocation,
) -> None:
    store = await location.open()
    jobs = [a_job(payload={"text": "a" * 100}, delay=delay) for delay in (0.0, 0.0, 60.0)]
    await store.enqueue(jobs)
    await claimed(store, 1)
    store = await location.reopen(store)
    rules = ClaimRules(limits=[Limit("user", "somchai", waiting_bytes=300)])
    await store.use_rules(rules)
    await store.enqueue([a_job(payload={})])
    await store.release(await store.orphans())
    with pytest.raises(LimitReached):
        await store.enqueue([a_job(payload={})])
    await store.cancel(jobs[2].id, 1, cancel_notification(await record_of(store, jobs[2].id)))
    await store.enqueue([a_job(payload={})])
    await store.retry(jobs[2].id)
    with pytest.raises(LimitReached):
        await store.enqueue([a_job(payload={})])
    await store.use_rules(ClaimRules())
    await store.enqueue([a_job(payload={"text": "a" * 1000})])


async def test_enqueue_that_fails_leaves_the_waiting_bytes_as_they_were(store: Store) -> None:
    await store.use_rules(ClaimRules(limits=[Limit("user", None, waiting_bytes=100)]))
    known = a_job(payload={})
    await store.enqueue([known])
    for _ in range(3):
        with pytest.raises(ValueError, match="id"):
            await store.enqueue([a_job(payload={"text": "a" * 60}), a_job(job_id=known.id, payload={})])
    await store.enqueue([a_job(payload={"text": "a" * 60})])
    with pytest.raises(LimitReached):
        await store.enqueue([a_job(payload={"text": "a" * 60})])


async def test_enqueue_with_a_known_key_at_a_limit_returns_its_job(store: Store) -> None:
    await store.use_rules(ClaimRules(limits=[Limit("user", None, waiting=1)]))
    await store.enqueue([a_job(key="k")])
    [answer] = await store.enqueue([a_job(key="k")])
    assert answer.state == "existing"


# -- who waits behind what -----------------------------------------------------------------------------------------


async def test_waiting_lines_are_in_the_order_of_their_turns(store: Store) -> None:
    await store.use_rules(ClaimRules(limits=[Limit("kind", "slow", running=0)]))
    await store.enqueue(
        [
            *(a_job(user="a", organization="x") for _ in range(5)),
            a_job(user="b", organization="x", submitter="key-b"),
            a_job(user="c"),
            a_job(user="d", priority=3),
            a_job(user="e", kind="slow"),
            a_job(user="f", delay=60.0),
        ]
    )
    await store.claim(0)
    lines = await store.waiting_lines(10)
    due = [line for line in lines if line.position is not None and line.held_by is None]
    assert [line.position for line in due] == list(range(len(due)))
    order = [line.user_id for line in due]
    assert order[0] == "d"
    assert [job.user_id for job in await claimed(store, 4)] == order[:4]
    by_user = {line.user_id: line for line in lines}
    assert (by_user["a"].queued, by_user["a"].running) == (5, 0)
    assert by_user["b"].submitter == "key-b"
    assert by_user["e"].held_by == "running"
    assert (by_user["f"].position, by_user["f"].held_by) == (None, None)
    assert len(await store.waiting_lines(2)) == 2
