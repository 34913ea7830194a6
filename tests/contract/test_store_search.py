"""Every Store finds the same jobs, however far its search index has come, and however they came to be as they are."""

import random

import orjson
import pytest

from tests.support.stores import START, HandClock, StoreHouse, a_job, cancelled, failed, retried, success
from worker.job import JobRecord, JobState
from worker.notification import notification_id
from worker.queue import JobQuery, Store

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
        page = await store.find(
            JobQuery(
                query.states, query.kind, query.user_ids, query.organizations, query.text, query.since, query.until,
                cursor, 7,
            )
        )  # fmt: skip
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


class Life:
    """What happens to a store in a random life."""

    def __init__(self, store: Store, hands: HandClock, chance: random.Random) -> None:
        self.store, self.hands, self.chance = store, hands, chance

    async def step(self) -> None:
        act = self.chance.choice([self.accept, self.accept, self.run, self.run, self.again, self.resend, self.index])
        self.hands.pass_time(self.chance.choice([0.0, 1.0, 5.0]))
        await act()

    async def accept(self) -> None:
        chance = self.chance
        jobs = [
            a_job(
                self.hands.wall - chance.choice([0.0, 0.0, 30.0]),
                user=f"user-{chance.randrange(4)}",
                kind=chance.choice(["noop", "report"]),
                organization=chance.choice([None, "กรม", "other"]),
                payload={"text": chance.choice(WORDS)},
            )
            for _ in range(chance.randrange(1, 8))
        ]
        await self.store.enqueue(jobs)

    async def run(self) -> None:
        chance, now = self.chance, self.hands.wall
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
        await self.store.index()


def a_query(chance: random.Random, now: float) -> JobQuery:
    def perhaps(value: object) -> object:
        return value if chance.random() < 0.35 else None

    return JobQuery(
        states=perhaps(chance.sample(list(JobState), chance.randrange(1, 4))),  # type: ignore[arg-type]
        kind=perhaps(chance.choice(["noop", "report", "unknown"])),  # type: ignore[arg-type]
        user_ids=perhaps(chance.sample([f"user-{n}" for n in range(6)], chance.randrange(1, 4))),  # type: ignore[arg-type]
        organizations=perhaps(chance.sample(["กรม", "other", "none"], chance.randrange(1, 3))),  # type: ignore[arg-type]
        text=chance.choice(TEXTS) if chance.random() < 0.5 else None,
        since=perhaps(now - chance.uniform(0, 200)),  # type: ignore[arg-type]
        until=perhaps(now - chance.uniform(0, 200)),  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("seed", range(6))
async def test_every_search_finds_what_a_look_at_each_job_finds(store: Store, hands: HandClock, seed: int) -> None:
    chance = random.Random(seed)
    life = Life(store, hands, chance)
    for _ in range(12):
        for _ in range(8):
            await life.step()
        records = await everything(store, JobQuery())
        for _ in range(25):
            query = a_query(chance, hands.wall)
            assert [job.id for job in await everything(store, query)] == expected(records, query), query


@pytest.mark.parametrize("text", TEXTS)
async def test_each_text_finds_the_same_with_and_without_the_index(store: Store, text: str) -> None:
    await store.enqueue([a_job(payload={"text": word, "n": number}) for number, word in enumerate(WORDS)])
    await store.settle([success(job, START, None) for job in (await store.claim(100)).jobs])
    records = await everything(store, JobQuery())
    without = [job.id for job in await everything(store, JobQuery(text=text))]
    assert (await store.index()).left == 0
    assert [job.id for job in await everything(store, JobQuery(text=text))] == without
    assert without == expected(records, JobQuery(text=text))


async def test_what_was_pruned_is_not_found_and_what_came_after_is(store: Store, hands: HandClock) -> None:
    await store.enqueue([a_job(payload={"text": "ราชการ"}) for _ in range(5)])
    await store.settle([success(job) for job in (await store.claim(5)).jobs])
    await store.index()
    await store.delivered(5)
    hands.pass_time(100.0)
    assert await store.prune(hands.wall, 10) == 5
    assert (await store.find(JobQuery(text="ราช"))).jobs == []
    await store.enqueue([a_job(payload={"text": "ราชการ"})])
    assert len((await store.find(JobQuery(text="ราช"))).jobs) == 1
    await store.index()
    assert len((await store.find(JobQuery(text="ราช"))).jobs) == 1


async def test_a_store_that_is_opened_again_gives_numbers_away_twice_and_finds_the_right_jobs(
    store: Store, house: StoreHouse, hands: HandClock
) -> None:
    """Places of the newest jobs are free again once these are pruned; the index has older words under them."""
    await store.enqueue([a_job(payload={"text": "first words"}) for _ in range(3)])
    await store.settle([success(job) for job in (await store.claim(3)).jobs])
    await store.index()
    await store.delivered(3)
    hands.pass_time(100.0)
    await store.prune(hands.wall, 10)
    store = await house.reopen(store)
    await store.enqueue([a_job(payload={"text": "later words"})])
    await store.settle([success(job) for job in (await store.claim(1)).jobs])
    for _ in range(2):
        assert (await store.find(JobQuery(text="first"))).jobs == []
        [found] = (await store.find(JobQuery(text="later", states=[JobState.SUCCEEDED]))).jobs
        [one] = await store.notifications(job_id=found.id)
        assert one.job_id == found.id
        await store.index()


@pytest.mark.parametrize("pieces", [0, 1])
async def test_notifications_are_found_by_user_and_job_and_state(store: Store, pieces: int) -> None:
    for _ in range(4):
        await store.enqueue([a_job(user=user) for user in ("a", "b")])
        await store.settle([success(job) for job in (await store.claim(2)).jobs])
    await store.dead(7, "no")
    await store.delivered(5)
    for _ in range(pieces):
        await store.index()
    await store.enqueue([a_job(user="a")])
    await store.settle([success(job) for job in (await store.claim(1)).jobs])

    async def ids(**filters: object) -> list[int]:
        return [one.id for one in await store.notifications(**filters)]  # type: ignore[arg-type]

    assert await ids(user_id="a") == [9, 7, 5, 3, 1]
    assert await ids(user_id="a", limit=2) == [9, 7]
    assert await ids(user_id="a", before=7, limit=2) == [5, 3]
    assert await ids(user_id="a", state="dead") == [7]
    assert await ids(user_id="b", state="pending") == [8, 6]
    assert await ids(user_id="b", state="delivered") == [4, 2]
    [job_id] = {one.job_id for one in await store.notifications(before=4, limit=1)}
    assert await ids(job_id=job_id) == [3]
    assert await ids(job_id=job_id, user_id="b") == []
    assert await ids(user_id="nobody") == await ids(job_id="nobody's") == []
    assert [one.state for one in await store.deliveries(job_id)] == ["delivered"]
