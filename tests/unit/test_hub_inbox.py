"""The inboxes: numbering, repetition, catching up, bounds, and what survives."""

import asyncio
import stat
from dataclasses import replace

import orjson
import pytest

from worker.clock import Clock
from worker.errors import SchemaTooNew, StoreCorrupt, StoreLocked, StoreUnwritable
from worker.hub.inbox import Inbox
from worker.hub.keeping import Claim, Limits
from worker.hub.news import News, read_news


def news(number, user="ann", **payload):
    array = [
        "socket-notification",
        {"success": True, "message": "Task Finish", "payload": {"notificationId": f"n{number}", **payload}},
        {"userId": user},
    ]
    return read_news(array, orjson.dumps(array))


class Time:
    def __init__(self, now=1000.0):
        self.now = now

    @property
    def clock(self):
        return Clock(now=lambda: self.now)


async def ask(method, *arguments):
    future = asyncio.get_running_loop().create_future()
    method(*arguments, future.set_result)
    return await future


async def put(inbox, *many):
    return await asyncio.gather(*(ask(inbox.append, one) for one in many))


def seqs(page):
    return [stored.seq for stored in page.messages]


@pytest.fixture(params=["disk", "memory"])
async def inbox(request, tmp_path):
    inbox = Inbox(tmp_path / "hub.db" if request.param == "disk" else None, Clock())
    await inbox.start()
    yield inbox
    await inbox.close()


async def test_messages_are_numbered_for_each_user_without_gaps(inbox):
    stored = await put(inbox, news(1), news(2, "bob"), news(3), news(4))
    assert [(one.news.user, one.seq) for one in stored] == [("ann", 1), ("bob", 1), ("ann", 2), ("ann", 3)]


async def test_a_repeated_id_is_dropped_and_costs_no_number(inbox):
    await put(inbox, news(1))
    assert await put(inbox, news(1), news(1), news(2)) == [None, None, (await last(inbox))]


async def last(inbox):
    page = await ask(inbox.open, "ann", None)
    stored = page.messages[-1]
    assert stored.seq == 2
    return stored


async def test_a_new_redelivery_passes_and_its_repetition_does_not(inbox):
    await put(inbox, news(1))
    results = await put(
        inbox, news(1, redelivery=1), news(1, redelivery=1), news(1, redelivery=3), news(1, redelivery=2)
    )
    assert [one and one.seq for one in results] == [2, None, 3, None]


async def test_news_without_an_id_is_never_a_repetition(inbox):
    nameless = replace(news(1), id=None)
    assert [one.seq for one in await put(inbox, nameless, nameless)] == [1, 2]


async def test_one_who_says_nothing_gets_what_nobody_was_given(inbox):
    await put(inbox, news(1), news(2), news(3))
    inbox.was_read("ann", 2)
    page = await ask(inbox.open, "ann", None)
    assert seqs(page) == [3]
    assert not page.recovered


async def test_a_mark_never_goes_back(inbox):
    await put(inbox, news(1), news(2), news(3))
    inbox.was_read("ann", 3)
    inbox.was_read("ann", 1)
    inbox.flush()
    inbox.was_read("ann", 2)
    assert seqs(await ask(inbox.open, "ann", None)) == []


async def test_a_good_claim_gets_what_came_after_it(inbox):
    await put(inbox, news(1), news(2), news(3))
    inbox.was_read("ann", 3)
    epoch = (await ask(inbox.open, "ann", None)).epoch
    page = await ask(inbox.open, "ann", Claim(epoch, 1))
    assert seqs(page) == [2, 3]
    assert page.recovered
    assert page.seq == 3


@pytest.mark.parametrize("seq", [0, 2, 5])
async def test_a_claim_of_another_epoch_is_no_claim(inbox, seq):
    await put(inbox, news(1), news(2))
    inbox.was_read("ann", 1)
    page = await ask(inbox.open, "ann", Claim("other", seq))
    assert seqs(page) == [2]
    assert not page.recovered


async def test_a_claim_from_the_future_is_no_claim(inbox):
    await put(inbox, news(1))
    epoch = (await ask(inbox.open, "ann", None)).epoch
    page = await ask(inbox.open, "ann", Claim(epoch, 2))
    assert not page.recovered
    assert seqs(page) == [1]


async def test_a_claim_says_what_was_received(inbox):
    await put(inbox, news(1), news(2))
    epoch = (await ask(inbox.open, "ann", None)).epoch
    await ask(inbox.open, "ann", Claim(epoch, 1))
    assert seqs(await ask(inbox.open, "ann", None)) == [2]


async def test_nobody_sees_anothers_messages(inbox):
    await put(inbox, news(1), news(2, "bob"), news(3, "Ann"), news(4, "ann "))
    assert seqs(await ask(inbox.open, "ann", None)) == [1]


async def test_an_unknown_user_has_an_empty_inbox(inbox):
    page = await ask(inbox.open, "eve", None)
    assert (page.seq, page.messages, page.more) == (0, [], False)


async def test_a_long_backlog_comes_in_pages(inbox):
    await put(inbox, *(news(n) for n in range(250)))
    page = await ask(inbox.open, "ann", None)
    found = seqs(page)
    while page.more:
        page = await ask(inbox.read, "ann", found[-1])
        found += seqs(page)
    assert found == list(range(1, 251))


async def test_a_page_of_large_messages_is_short(inbox):
    await put(inbox, *(news(n, error="x" * 100_000) for n in range(10)))
    page = await ask(inbox.open, "ann", None)
    assert len(page.messages) == 3
    assert page.more


async def test_answers_come_in_the_order_of_the_questions(inbox):
    order = []
    for number in range(20):
        inbox.append(news(number), lambda result: order.append(("stored", result.seq)))
        inbox.open("ann", None, lambda page: order.append(("opened", page.seq)))
    await ask(inbox.open, "ann", None)
    assert order == [(what, n) for n in range(1, 21) for what in ("stored", "opened")]


async def test_one_bad_operation_fails_alone(inbox):
    bad = replace(news(2), body=["not bytes"])
    results = await put(inbox, news(1), bad, news(3))
    assert isinstance(results[1], Exception)
    assert [results[0].seq, results[2].seq] == [1, 2]
    # Nothing of the bad one is left: its id was not taken for seen.
    assert [one.seq for one in await put(inbox, news(2))] == [3]


async def test_publishers_wait_while_too_much_is_unwritten(inbox):
    big = news(1, error="x" * 1_000_000)
    answers = [asyncio.ensure_future(ask(inbox.append, replace(big, id=f"b{n}"))) for n in range(9)]
    await asyncio.sleep(0)
    waiting = asyncio.ensure_future(inbox.room())
    await asyncio.sleep(0)
    assert not waiting.done()
    await asyncio.gather(*answers)
    await waiting


async def test_messages_survive_a_restart(tmp_path):
    first = Inbox(tmp_path / "hub.db", Clock())
    assert await first.start()
    await put(first, news(1), news(2))
    first.was_read("ann", 1)
    epoch = (await ask(first.open, "ann", None)).epoch
    await first.close()
    second = Inbox(tmp_path / "hub.db", Clock())
    assert not await second.start()
    page = await ask(second.open, "ann", None)
    assert (page.epoch, seqs(page)) == (epoch, [2])
    assert await put(second, news(1)) == [None]
    await second.close()


async def test_a_new_inbox_is_a_new_epoch(tmp_path):
    epochs = set()
    for name in ("a.db", "b.db"):
        inbox = Inbox(tmp_path / name, Clock())
        await inbox.start()
        epochs.add((await ask(inbox.open, "ann", None)).epoch)
        await inbox.close()
    assert len(epochs) == 2


async def test_only_the_newest_are_kept(tmp_path):
    inbox = Inbox(tmp_path / "hub.db", Clock(), Limits(messages=10))
    await inbox.start()
    await put(inbox, *(news(n) for n in range(128)))
    page = await ask(inbox.open, "ann", None)
    assert seqs(page) == list(range(119, 129))
    assert not (await ask(inbox.open, "ann", Claim(page.epoch, 50))).recovered
    assert (await ask(inbox.open, "ann", Claim(page.epoch, 118))).recovered
    await inbox.close()


async def test_what_is_a_week_old_goes(tmp_path):
    time = Time()
    inbox = Inbox(tmp_path / "hub.db", time.clock)
    await inbox.start()
    await put(inbox, news(1), news(2))
    time.now += 7 * 86400 - 10
    await put(inbox, news(3))
    time.now += 20
    await inbox.prune()
    page = await ask(inbox.open, "ann", None)
    assert seqs(page) == [3]
    # The id is forgotten with the message, and the numbers go on.
    assert [one.seq for one in await put(inbox, news(1))] == [4]
    await inbox.close()


async def test_remembered_ids_are_bounded(tmp_path):
    inbox = Inbox(tmp_path / "hub.db", Clock(), Limits(seen=1000))
    await inbox.start()
    await put(inbox, *(news(n) for n in range(1500)))
    await inbox.prune()
    assert await put(inbox, news(1499)) == [None]
    assert await put(inbox, news(0)) != [None]
    await inbox.close()


async def test_the_file_is_bounded(tmp_path):
    inbox = Inbox(tmp_path / "hub.db", Clock(), Limits(bytes=2_000_000))
    await inbox.start()
    for start in range(0, 4000, 1000):
        await put(inbox, *(news(n, f"user{n}", error="x" * 500) for n in range(start, start + 1000)))
        await inbox.prune()
    assert seqs(await ask(inbox.open, "user0", None)) == []
    assert (tmp_path / "hub.db").stat().st_size < 6_000_000
    await inbox.close()


async def test_a_user_of_whom_nothing_was_heard_is_forgotten(tmp_path):
    time = Time()
    inbox = Inbox(tmp_path / "hub.db", time.clock)
    await inbox.start()
    await put(inbox, news(1))
    epoch = (await ask(inbox.open, "ann", None)).epoch
    time.now += 60 * 86400
    await put(inbox, news(2))
    time.now += 60 * 86400
    await inbox.prune()
    # Whoever comes is heard of, too.
    assert (await ask(inbox.open, "ann", None)).epoch == epoch
    time.now += 80 * 86400
    await inbox.prune()
    assert (await ask(inbox.open, "ann", None)).epoch == epoch
    time.now += 100 * 86400
    await inbox.prune()
    forgotten = await ask(inbox.open, "ann", None)
    assert forgotten.epoch != epoch
    assert (await put(inbox, news(3)))[0].seq == 1
    await inbox.close()


async def test_a_user_who_is_heard_of_in_the_same_moment_is_not_forgotten(tmp_path):
    time = Time()
    inbox = Inbox(tmp_path / "hub.db", time.clock)
    await inbox.start()
    await put(inbox, news(1))
    time.now += 120 * 86400
    inbox.append(news(2), lambda stored: None)
    await inbox.prune()
    assert seqs(await ask(inbox.open, "ann", None)) == [2]
    await inbox.close()


async def test_two_hubs_cannot_share_an_inbox(tmp_path):
    first, second = Inbox(tmp_path / "hub.db", Clock()), Inbox(tmp_path / "hub.db", Clock())
    await first.start()
    with pytest.raises(StoreLocked, match="another hub"):
        await second.start()
    await second.close()
    await first.close()
    assert not await second.start()
    await second.close()


async def test_the_file_is_for_its_owner_alone(tmp_path):
    inbox = Inbox(tmp_path / "state" / "hub.db", Clock())
    await inbox.start()
    await put(inbox, news(1))
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "state").iterdir()}
    assert set(modes.values()) == {0o600}, modes
    await inbox.close()


@pytest.mark.parametrize(
    ("prepare", "error"),
    [
        (lambda path: path.write_bytes(b"no database" * 100), StoreCorrupt),
        (lambda path: path.mkdir(), StoreUnwritable),
    ],
)
async def test_a_file_that_is_no_inbox_stops_the_start(tmp_path, prepare, error):
    prepare(tmp_path / "hub.db")
    inbox = Inbox(tmp_path / "hub.db", Clock())
    with pytest.raises(error, match=r"hub\.db"):
        await inbox.start()
    await inbox.close()


async def test_an_inbox_of_a_newer_version_stops_the_start(tmp_path):
    import sqlite3

    connection = sqlite3.connect(tmp_path / "hub.db")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(SchemaTooNew):
        await Inbox(tmp_path / "hub.db", Clock()).start()


def test_news_knows_what_it_is():
    progress = ["e", {"message": "Task Progress", "payload": {"jobId": "j"}}, {"userId": "ann"}]
    assert read_news(progress, b"") == News("ann", None, 0, "j", True, b"", False)
