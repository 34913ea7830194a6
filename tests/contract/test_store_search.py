"""Every Store finds the same jobs whatever its search index already contains, and whatever happened to them before."""

import random
from dataclasses import replace
from typing import Any, TypeVar

import orjson
import pytest

from tests.support.stores import (
    START,
    ManualClock,
    StoreLocation,
    a_job,
    cancelled,
    failed,
    index_piece,
    retried,
    success,
)
from worker.core.job import JobRecord, JobState
from worker.core.notification import notification_id
from worker.core.store import JobQuery, Store
from worker.stores.postgres import find as find_in_postgres
from worker.stores.sqlite.search import find as find_in_sqlite
from worker.stores.sqlite.search import table_scan

T = TypeVar("T")

WORDS = [
    "เครื่องราชอิสริยาภรณ์", "ช้างเผือก", "นางสาวราชาวดี ใจดี", 'said "no"', "100%_\\", "Straße", "ÉCOLE", "👩‍👩‍👧 ครอบครัว",
    "a AND b", "near(x, y)", "col:umn*", "ก", "no", "line\nbreak", "tab\there", "'; --", "^start", "{a} [b]", "-minus",
]  # fmt: skip
TEXTS = [
    "ราช", "ราชา", "อิสริยาภรณ์", "ง", "่อ", "รื่", 'said "no"', '"', "%", "_", "\\", "%_", "100%", "AND", "a and b",
    "OR", "NEAR", "near(x", "col:umn", "umn*", "*", "👩‍👩‍👧", "👧 ค", "no", "straße", "école", "line\nbreak", "tab\t",
    "';", "--", "^sta", "-minus",
    "nothing like it", "ราชx", "user-1", "ไฟล์หาย", '"text":"ก', "0123456789" * 30, "\ud800",
]  # fmt: skip


async def everything(store: Store, query: JobQuery) -> list[JobRecord]:
    jobs: list[JobRecord] = []
    cursor = None
    while True:
        page = await store.find(replace(query, cursor=cursor, limit=7))
        jobs += page.jobs
        cursor = page.cursor
        if cursor is None:
            return jobs


def folded(text: str) -> str:
    """As LIKE compares: Latin letters without accents in one case, everything else as it is."""
    return "".join(letter.lower() if letter.isascii() else letter for letter in text)


def holds(record: JobRecord, text: str) -> bool:
    typed = text.encode("utf-8", "backslashreplace").decode()
    as_json = orjson.dumps(typed).decode()[1:-1]
    plain = [record.id, record.user_id, record.error or ""]
    in_json = [record.payload.decode(), (record.result or b"").decode()]
    return any(folded(typed) in folded(place) for place in (*plain, *in_json)) or any(
        folded(as_json) in folded(place) for place in in_json
    )


def expected(records: list[JobRecord], query: JobQuery) -> list[str]:
    return [
        record.id
        for record in records
        if (query.states is None or record.state in query.states)
        and (query.kind is None or record.kind == query.kind)
        and (query.user_ids is None or record.user_id in query.user_ids)
        and (query.organizations is None or record.organization in query.organizations)
        and (query.since is None or record.created_at >= query.since)
        and (query.until is None or record.created_at < query.until)
        and (query.text is None or holds(record, query.text))
    ]


class RandomOperations:
    """Random operations on a store."""

    def __init__(self, store: Store, manual_clock: ManualClock, chance: random.Random) -> None:
        self.store, self.manual_clock, self.chance = store, manual_clock, chance

    async def step(self) -> None:
        act = self.chance.choice([self.accept, self.accept, self.run, self.run, self.again, self.resend, self.index])
        self.manual_clock.pass_time(self.chance.choice([0.0, 1.0, 5.0]))
        await act()

    async def accept(self) -> None:
        chance = self.chance
        jobs = [
            a_job(
                self.manual_clock.wall - chance.choice([0.0, 0.0, 30.0]),
                user=f"user-{chance.randrange(4)}",
                kind=chance.choice(["noop", "report"]),
                organization=chance.choice([None, "กรม", "other"]),
                payload={"text": chance.choice(WORDS)},
            )
            for _ in range(chance.randrange(1, 8))
        ]
        await self.store.enqueue(jobs)

    async def run(self) -> None:
        chance, now = self.chance, self.manual_clock.wall
        for job in (await self.store.claim(chance.randrange(1, 8))).jobs:
            result = orjson.dumps({"said": chance.choice(WORDS)})
            end = chance.choice(
                [
                    success(job, now, result),
                    success(job, now, None),
                    failed(job, now, chance.choice(["ไฟล์หาย", *WORDS])),
                    cancelled(job, now),
                    retried(job, now),
                    None,
                ]
            )
            if end is not None:
                await self.store.settle([end])

    async def again(self) -> None:
        page = await self.store.find(JobQuery(states=[JobState.FAILED, JobState.SUCCEEDED], limit=20))
        if page.jobs:
            await self.store.retry(self.chance.choice(page.jobs).id)

    async def resend(self) -> None:
        page = await self.store.find(JobQuery(limit=20))
        if page.jobs:
            job = self.chance.choice(page.jobs)
            await self.store.resend(notification_id(job.id, job.run))

    async def index(self) -> None:
        await index_piece(self.store)


def a_query(chance: random.Random, now: float) -> JobQuery:
    def perhaps(value: T) -> T | None:
        return value if chance.random() < 0.35 else None

    return JobQuery(
        states=perhaps(chance.sample(list(JobState), chance.randrange(1, 4))),
        kind=perhaps(chance.choice(["noop", "report", "unknown"])),
        user_ids=perhaps(chance.sample([f"user-{n}" for n in range(6)], chance.randrange(1, 4))),
        organizations=perhaps(chance.sample(["กรม", "other", "none"], chance.randrange(1, 3))),
        text=chance.choice(TEXTS) if chance.random() < 0.5 else None,
        since=perhaps(now - chance.uniform(0, 200)),
        until=perhaps(now - chance.uniform(0, 200)),
    )


@pytest.mark.parametrize("seed", range(6))
async def test_find_in_a_random_store_returns_what_a_scan_of_all_jobs_returns(
    store: Store, manual_clock: ManualClock, seed: int
) -> None:
    chance = random.Random(seed)
    operations = RandomOperations(store, manual_clock, chance)
    for _ in range(12):
        for _ in range(8):
            await operations.step()
        records = await everything(store, JobQuery())
        for _ in range(25):
            query = a_query(chance, manual_clock.wall)
            assert [job.id for job in await everything(store, query)] == expected(records, query), query


@pytest.mark.parametrize("text", TEXTS)
async def test_find_by_text_returns_the_same_with_and_without_the_index(store: Store, text: str) -> None:
    await store.enqueue([a_job(payload={"text": word, "n": number}) for number, word in enumerate(WORDS)])
    await store.settle([success(job, START, None) for job in (await store.claim(100)).jobs])
    records = await everything(store, JobQuery())
    without = [job.id for job in await everything(store, JobQuery(text=text))]
    assert not await index_piece(store)
    assert [job.id for job in await everything(store, JobQuery(text=text))] == without
    assert without == expected(records, JobQuery(text=text))


async def test_find_by_text_after_a_prune_returns_only_later_jobs(store: Store, manual_clock: ManualClock) -> None:
    await store.enqueue([a_job(payload={"text": "ราชการ"}) for _ in range(5)])
    await store.settle([success(job) for job in (await store.claim(5)).jobs])
    await index_piece(store)
    await store.delivered(5)
    manual_clock.pass_time(100.0)
    assert (await store.prune(0.0, 10)).runs == 5
    assert (await store.find(JobQuery(text="ราช"))).jobs == []
    await store.enqueue([a_job(payload={"text": "ราชการ"})])
    assert len((await store.find(JobQuery(text="ราช"))).jobs) == 1
    await index_piece(store)
    assert len((await store.find(JobQuery(text="ราช"))).jobs) == 1


async def test_find_by_text_after_row_numbers_were_used_again_returns_the_right_jobs(
    store: Store, location: StoreLocation, manual_clock: ManualClock
) -> None:
    """Places of the newest jobs are free again once these are pruned; the index has older words under them."""
    await store.enqueue([a_job(payload={"text": "first words"}) for _ in range(3)])
    await store.settle([success(job) for job in (await store.claim(3)).jobs])
    await index_piece(store)
    await store.delivered(3)
    manual_clock.pass_time(100.0)
    await store.prune(0.0, 10)
    store = await location.reopen(store)
    await store.enqueue([a_job(payload={"text": "later words"})])
    await store.settle([success(job) for job in (await store.claim(1)).jobs])
    for _ in range(2):
        assert (await store.find(JobQuery(text="first"))).jobs == []
        [found] = (await store.find(JobQuery(text="later", states=[JobState.SUCCEEDED]))).jobs
        [one] = await store.notifications(job_id=found.id)
        assert one.job_id == found.id
        await index_piece(store)


async def test_search_beyond_its_time_returns_a_short_page_that_is_continued(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(find_in_postgres, "_WINDOW", 5)
    monkeypatch.setattr(table_scan, "_WINDOW", 5)
    for module in (find_in_sqlite, find_in_postgres):
        monkeypatch.setattr(module, "SEARCH_SECONDS", -1.0)
    wanted = a_job(kind="rare")
    await store.enqueue([wanted, *(a_job() for _ in range(19))])
    query = JobQuery(kind="rare")
    first = await store.find(query)
    assert first.jobs == []
    assert first.cursor is not None
    assert [job.id for job in await everything(store, query)] == [wanted.id]


@pytest.mark.parametrize("pieces", [0, 1])
async def test_notifications_filtered_by_user_job_and_state_return_the_matching_ones(store: Store, pieces: int) -> None:
    for _ in range(4):
        await store.enqueue([a_job(user=user) for user in ("a", "b")])
        await store.settle([success(job) for job in (await store.claim(2)).jobs])
    await store.dead(7, "no")
    await store.delivered(5)
    for _ in range(pieces):
        await index_piece(store)
    await store.enqueue([a_job(user="a")])
    await store.settle([success(job) for job in (await store.claim(1)).jobs])

    async def ids(**filters: Any) -> list[int]:
        return [one.id for one in await store.notifications(**filters)]

    assert await ids(user_id="a") == [9, 7, 5, 3, 1]
    assert await ids(user_id="a", limit=2) == [9, 7]
    assert await ids(user_id="a", before=7, limit=2) == [5, 3]
    assert await ids(user_id="a", state="dead") == [7]
    assert await ids(user_id="b", state="pending") == [8, 6]
    assert await ids(user_id="b", state="delivered") == [4, 2]
    [job_id] = {one.job_id for one in await store.notifications(before=4, limit=1)}
    assert await ids(job_id=job_id) == [3]
    assert await ids(job_id=job_id, user_id="b") == []
    assert await ids(user_id="unknown") == await ids(job_id="unknown") == []
    assert [one.state for one in await store.deliveries(job_id)] == ["delivered"]
