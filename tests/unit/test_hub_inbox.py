"""The SQLite inbox: numbering, repetitions, replay, limits, and what survives a restart."""

import asyncio
import contextlib
import errno
import functools
import os
import random
import sqlite3
import stat
import threading

import orjson
import pytest

from tests.support.inbox_calls import ask
from worker.core.clock import Clock
from worker.disk import room
from worker.errors import SchemaTooNew, StoreCorrupt, StoreLocked, StoreReplaced, StoreUnwritable
from worker.hub.inbox import InboxLimits, ResumePoint
from worker.hub.inboxes.sqlite import SqliteInbox
from worker.hub.inboxes.sqlite_tables import InboxTables
from worker.hub.messages import Message, read_message


def news(number, user="ann", **payload):
    array = [
        "socket-notification",
        {"success": True, "message": "Task Finish", "payload": {"notificationId": f"n{number}", **payload}},
        {"userId": user},
    ]
    return read_message(array, orjson.dumps(array))


class Time:
    """Both clocks count `now`; the wall clock shows `set_by` seconds more."""

    def __init__(self, now=1000.0):
        self.now = now
        self.set_by = 0.0
        self.boot = "boot-1"

    @property
    def clock(self):
        return Clock(now=lambda: self.now + self.set_by, monotonic=lambda: self.now, boot=self.boot)


async def put(inbox, *many):
    return await asyncio.gather(*(ask(inbox.append, one) for one in many))


def seqs(page):
    return [stored.seq for stored in page.messages]


async def test_check_of_an_inbox_that_was_replaced_raises(tmp_path):
    inbox = SqliteInbox(tmp_path / "hub.db", Clock())
    inbox.check()
    await inbox.start()
    inbox.check()
    (tmp_path / "hub.db").rename(tmp_path / "kept.db")
    with pytest.raises(StoreReplaced, match=r"hub\.db was removed or replaced"):
        inbox.check()
    (tmp_path / "hub.db").touch()
    with pytest.raises(StoreReplaced, match=r"hub\.db was removed or replaced"):
        inbox.check()
    (tmp_path / "kept.db").replace(tmp_path / "hub.db")
    inbox.check()
    await inbox.close()
    inbox.check()


@pytest.mark.parametrize(
    ("error", "known"),
    [(PermissionError(errno.EACCES, "Permission denied"), StoreUnwritable), (FileNotFoundError(), StoreReplaced)],
)
async def test_check_of_an_inbox_whose_disk_cannot_be_asked_raises(tmp_path, monkeypatch, error, known):
    inbox = SqliteInbox(tmp_path / "hub.db", Clock())
    await inbox.start()

    def reject(_path):
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(os, "statvfs", reject)
        with pytest.raises(known, match=r"hub\.db"):
            inbox.check()
    await inbox.close()


async def test_check_of_an_inbox_whose_folder_cannot_be_looked_up_raises(tmp_path):
    folder = tmp_path / "state"
    folder.mkdir()
    inbox = SqliteInbox(folder / "hub.db", Clock())
    await inbox.start()
    folder.rename(tmp_path / "kept")
    folder.touch()
    with pytest.raises(StoreReplaced, match=r"hub\.db was removed or replaced"):
        inbox.check()
    folder.unlink()
    folder.symlink_to(folder)
    with pytest.raises(StoreUnwritable, match=r"cannot look at .*hub\.db"):
        inbox.check()
    folder.unlink()
    (tmp_path / "kept").rename(folder)
    await inbox.close()


@contextlib.asynccontextmanager
async def running(inbox):
    await inbox.start()
    try:
        yield inbox
    finally:
        await inbox.close()


@pytest.fixture(params=["disk", "memory"])
async def inbox(request, tmp_path):
    async with running(SqliteInbox(tmp_path / "hub.db" if request.param == "disk" else None, Clock())) as inbox:
        yield inbox


async def test_append_numbers_each_users_messages_without_gaps(inbox):
    stored = await put(inbox, news(1), news(2, "bob"), news(3), news(4))
    assert [(one.message.user, one.seq) for one in stored] == [("ann", 1), ("bob", 1), ("ann", 2), ("ann", 3)]


async def test_append_of_a_repeated_id_stores_nothing_and_uses_no_number(inbox):
    await put(inbox, news(1))
    assert await put(inbox, news(1), news(1), news(2)) == [None, None, (await last(inbox))]


async def last(inbox):
    page = await ask(inbox.open, "ann", None)
    stored = page.messages[-1]
    assert stored.seq == 2
    return stored


async def test_append_of_a_new_redelivery_is_stored_once(inbox):
    await put(inbox, news(1))
    results = await put(
        inbox, news(1, redelivery=1), news(1, redelivery=1), news(1, redelivery=3), news(1, redelivery=2)
    )
    assert [one and one.seq for one in results] == [2, None, 3, None]


@pytest.mark.parametrize("seed", range(8))
async def test_append_of_many_at_once_stores_what_one_after_the_other_stores(tmp_path, seed):
    randomly = random.Random(seed)
    many = [
        news(randomly.randrange(30), randomly.choice(["ann", "bea"]), redelivery=randomly.randrange(1 + seed % 3))
        for _ in range(200 if seed % 2 else 40)
    ]
    async with contextlib.AsyncExitStack() as stack:
        together, in_turn = [
            await stack.enter_async_context(running(SqliteInbox(tmp_path / name, Clock()))) for name in ("a.db", "b.db")
        ]
        expected = [await ask(in_turn.append, one) for one in many]
        results = await put(together, *many)
        assert [one and one.seq for one in results] == [one and one.seq for one in expected]
        for user in ("ann", "bea"):
            pages = [await ask(inbox.open, user, None) for inbox in (together, in_turn)]
            assert pages[0].messages
            assert [one.message for one in pages[0].messages] == [one.message for one in pages[1].messages]


async def test_append_without_an_id_is_never_a_repetition(inbox):
    nameless = news(1)._replace(id=None)
    assert [one.seq for one in await put(inbox, nameless, nameless)] == [1, 2]


async def mark_read(inbox, seq):
    """Ann has read up to this number of her inbox."""
    page = await ask(inbox.read, "ann", 0)
    inbox.mark_read("ann", ResumePoint(page.epoch, seq))


async def test_open_without_a_resume_point_returns_what_no_client_has_read(inbox):
    await put(inbox, news(1), news(2), news(3))
    await mark_read(inbox, 2)
    page = await ask(inbox.open, "ann", None)
    assert seqs(page) == [3]
    assert not page.recovered


async def test_mark_read_never_moves_backwards(inbox):
    await put(inbox, news(1), news(2), news(3))
    await mark_read(inbox, 3)
    await mark_read(inbox, 1)
    inbox.flush()
    await mark_read(inbox, 2)
    assert seqs(await ask(inbox.open, "ann", None)) == []


async def test_open_with_a_valid_resume_point_returns_what_came_after_it(inbox):
    await put(inbox, news(1), news(2), news(3))
    await mark_read(inbox, 3)
    epoch = (await ask(inbox.open, "ann", None)).epoch
    page = await ask(inbox.open, "ann", ResumePoint(epoch, 1))
    assert seqs(page) == [2, 3]
    assert page.recovered
    assert page.seq == 3


@pytest.mark.parametrize("seq", [0, 2, 5])
async def test_open_with_a_resume_point_of_another_epoch_ignores_it(inbox, seq):
    await put(inbox, news(1), news(2))
    await mark_read(inbox, 1)
    page = await ask(inbox.open, "ann", ResumePoint("other", seq))
    assert seqs(page) == [2]
    assert not page.recovered


async def test_open_with_a_resume_point_in_the_future_ignores_it(inbox):
    await put(inbox, news(1))
    epoch = (await ask(inbox.open, "ann", None)).epoch
    page = await ask(inbox.open, "ann", ResumePoint(epoch, 2))
    assert not page.recovered
    assert seqs(page) == [1]


async def test_open_with_a_resume_point_marks_everything_before_it_as_read(inbox):
    await put(inbox, news(1), news(2))
    epoch = (await ask(inbox.open, "ann", None)).epoch
    await ask(inbox.open, "ann", ResumePoint(epoch, 1))
    assert seqs(await ask(inbox.open, "ann", None)) == [2]


async def test_open_returns_the_users_own_messages_alone(inbox):
    await put(inbox, news(1), news(2, "bob"), news(3, "Ann"), news(4, "ann "))
    assert seqs(await ask(inbox.open, "ann", None)) == [1]


async def test_open_for_an_unknown_user_returns_an_empty_inbox(inbox):
    page = await ask(inbox.open, "eve", None)
    assert (page.seq, page.messages, page.more) == (0, [], False)


async def test_read_of_many_messages_comes_in_pages(inbox):
    await put(inbox, *(news(n) for n in range(250)))
    page = await ask(inbox.open, "ann", None)
    found = seqs(page)
    while page.more:
        page = await ask(inbox.read, "ann", found[-1])
        found += seqs(page)
    assert found == list(range(1, 251))


async def test_read_of_large_messages_returns_a_short_page(inbox):
    await put(inbox, *(news(n, error="x" * 100_000) for n in range(10)))
    page = await ask(inbox.open, "ann", None)
    assert len(page.messages) == 3
    assert page.more


async def test_operations_are_answered_in_the_order_of_the_calls(inbox):
    order = []
    for number in range(20):
        inbox.append(news(number), lambda result: order.append(("stored", result.seq)))
        inbox.open("ann", None, lambda page: order.append(("opened", page.seq)))
    await ask(inbox.open, "ann", None)
    assert order == [(what, n) for n in range(1, 21) for what in ("stored", "opened")]


@contextlib.contextmanager
def locked_by_another_program(path):
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield


async def test_inbox_that_another_program_locks_is_reported_as_locked(tmp_path, monkeypatch):
    """At the start, and while it is open. More rights would change nothing."""
    path = tmp_path / "hub.db"
    connect = functools.partial(sqlite3.connect, timeout=0.1)
    monkeypatch.setattr(sqlite3, "connect", connect)
    inbox = SqliteInbox(path, Clock())
    await inbox.start()
    with locked_by_another_program(path):
        failure = await ask(inbox.append, news(1))
        assert isinstance(failure, StoreLocked)
        assert str(failure) == f"{path} is locked by another program (database is locked): close what has it open"
        with pytest.raises(StoreLocked):
            await inbox.revoke("token")
    assert (await ask(inbox.append, news(1))).seq == 1
    await inbox.close()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreLocked, match="is locked by another program"):
            await SqliteInbox(path, Clock()).start()


async def test_operation_that_fails_does_not_fail_the_others_of_its_batch(inbox):
    bad = news(2)._replace(body=["not bytes"])
    results = await put(inbox, news(1), bad, news(3))
    assert isinstance(results[1], Exception)
    assert [results[0].seq, results[2].seq] == [1, 2]
    # The failed operation left nothing: its id is not remembered.
    assert [one.seq for one in await put(inbox, news(2))] == [3]


async def test_wait_for_capacity_blocks_while_too_much_is_unwritten(inbox, monkeypatch):
    tables, may_write = inbox._batches._tables, threading.Event()
    add_ids = tables._add_ids

    def add_ids_later(messages):
        assert may_write.wait(60)
        return add_ids(messages)

    monkeypatch.setattr(tables, "_add_ids", add_ids_later)
    big = news(1, error="x" * 1_000_000)
    answers = [asyncio.ensure_future(ask(inbox.append, big._replace(id=f"b{n}"))) for n in range(9)]
    await asyncio.sleep(0)
    waiting = asyncio.ensure_future(inbox.wait_for_capacity())
    await asyncio.sleep(0)
    assert not waiting.done()
    may_write.set()
    await asyncio.gather(*answers)
    await waiting


async def test_messages_survive_a_restart(tmp_path):
    first = SqliteInbox(tmp_path / "hub.db", Clock())
    assert await first.start()
    await put(first, news(1), news(2))
    await mark_read(first, 1)
    epoch = (await ask(first.open, "ann", None)).epoch
    await first.close()
    second = SqliteInbox(tmp_path / "hub.db", Clock())
    assert not await second.start()
    page = await ask(second.open, "ann", None)
    assert (page.epoch, seqs(page)) == (epoch, [2])
    assert await put(second, news(1)) == [None]
    await second.close()


async def test_inbox_that_was_emptied_is_reported_as_new(tmp_path):
    """Nothing else would say that what users had not read is gone."""
    (tmp_path / "hub.db").touch(0o600)
    inbox = SqliteInbox(tmp_path / "hub.db", Clock())
    assert await inbox.start()
    await inbox.close()
    assert not await inbox.start()
    await inbox.close()


async def test_new_inbox_has_a_new_epoch(tmp_path):
    epochs = set()
    for name in ("a.db", "b.db"):
        inbox = SqliteInbox(tmp_path / name, Clock())
        await inbox.start()
        epochs.add((await ask(inbox.open, "ann", None)).epoch)
        await inbox.close()
    assert len(epochs) == 2


async def test_inbox_above_its_limit_of_messages_keeps_the_newest(tmp_path):
    inbox = SqliteInbox(tmp_path / "hub.db", Clock(), InboxLimits(messages=10))
    await inbox.start()
    await put(inbox, *(news(n) for n in range(128)))
    page = await ask(inbox.open, "ann", None)
    assert seqs(page) == list(range(119, 129))
    assert not (await ask(inbox.open, "ann", ResumePoint(page.epoch, 50))).recovered
    assert (await ask(inbox.open, "ann", ResumePoint(page.epoch, 118))).recovered
    await inbox.close()


async def test_prune_deletes_messages_that_are_too_old(tmp_path):
    time = Time()
    inbox = SqliteInbox(tmp_path / "hub.db", time.clock)
    await inbox.start()
    await put(inbox, news(1), news(2))
    time.now += 7 * 86400 - 10
    await put(inbox, news(3))
    time.now += 20
    await inbox.prune()
    page = await ask(inbox.open, "ann", None)
    assert seqs(page) == [3]
    # The id is forgotten together with the message, and the numbers continue.
    assert [one.seq for one in await put(inbox, news(1))] == [4]
    await inbox.close()


@pytest.mark.parametrize("days", [31, 34 * 365, -56 * 365])
async def test_wall_clock_that_is_set_deletes_nothing(tmp_path, days):
    """Neither while it is wrong, nor after a start with it, nor when it is right again."""
    time = Time()
    for set_by in (0.0, days * 86400.0, 0.0):
        time.set_by = set_by
        inbox = SqliteInbox(tmp_path / "hub.db", time.clock)
        await inbox.start()
        await put(inbox, news(1), news(int(set_by)))
        time.set_by = days * 86400.0 - set_by
        await inbox.prune()
        page = await ask(inbox.open, "ann", None)
        assert seqs(page)[:2] == [1, 2]
        await inbox.close()


@pytest.mark.parametrize(("boot", "left"), [("boot-1", []), ("boot-2", [1])])
async def test_time_without_a_running_hub_counts(tmp_path, boot, left):
    """Within one boot by the monotonic clock; after a reboot once both clocks have agreed for an hour."""
    time = Time()
    inbox = SqliteInbox(tmp_path / "hub.db", time.clock)
    await inbox.start()
    await put(inbox, news(1))
    await inbox.close()
    time.boot = boot
    time.now += 8 * 86400
    inbox = SqliteInbox(tmp_path / "hub.db", time.clock)
    await inbox.start()
    await inbox.prune()
    assert seqs(await ask(inbox.open, "ann", None)) == left
    time.now += 3601
    await inbox.prune()
    assert seqs(await ask(inbox.open, "ann", None)) == []
    await inbox.close()


async def test_append_fails_if_an_earlier_one_could_not_be_written(tmp_path, monkeypatch):
    """A publisher whose message failed sends it again; what it sent after that must not take its place."""
    inbox = SqliteInbox(tmp_path / "hub.db", Clock())
    await inbox.start()
    tables = inbox._batches._tables
    add_ids, failures = tables._add_ids, iter([sqlite3.OperationalError("database or disk is full")] * 2)

    def fail_at_first(messages):
        if any(message.id == "n1" for message in messages) and (failure := next(failures, None)) is not None:
            raise failure
        return add_ids(messages)

    monkeypatch.setattr(tables, "_add_ids", fail_at_first)
    results = await put(inbox, news(1), news(2), news(3, "bob"))
    assert [type(one) for one in results] == [StoreUnwritable] * 3
    assert [one.seq for one in await put(inbox, news(1), news(2))] == [1, 2]
    await inbox.close()


async def test_reason_of_a_failure_is_looked_for_in_the_thread_of_the_inbox(tmp_path, monkeypatch):
    """It asks the disk, which may hang: all clients of the hub would wait for it."""
    inbox = SqliteInbox(tmp_path / "hub.db", Clock())
    await inbox.start()
    asked = []
    look = room.read_only_disk

    def note(path):
        asked.append(threading.current_thread() is threading.main_thread())
        return look(path)

    def fail(_messages):
        raise sqlite3.OperationalError("attempt to write a readonly database")

    monkeypatch.setattr(room, "read_only_disk", note)
    monkeypatch.setattr(inbox._batches._tables, "_add_ids", fail)
    assert [type(one) for one in await put(inbox, news(1))] == [StoreUnwritable]
    assert asked
    assert not any(asked)
    await inbox.close()


async def test_inbox_of_the_earlier_schema_is_upgraded(tmp_path):
    time = Time(2_000_000.0)
    inbox = SqliteInbox(tmp_path / "hub.db", time.clock)
    await inbox.start()
    await put(inbox, news(1))
    await inbox.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "hub.db")) as earlier:
        written = "".join(f"UPDATE {table} SET at = 1.8e9;" for table in ("message", "seen", "user"))
        earlier.executescript(f"DROP TABLE clock; {written} PRAGMA user_version = 1;")
    inbox = SqliteInbox(tmp_path / "hub.db", time.clock)
    await inbox.start()
    await inbox.prune()
    assert seqs(await ask(inbox.open, "ann", None)) == [1]
    time.now += 7 * 86400 + 3601
    await inbox.prune()
    assert seqs(await ask(inbox.open, "ann", None)) == []
    await inbox.close()


async def test_prune_bounds_the_remembered_ids(tmp_path):
    inbox = SqliteInbox(tmp_path / "hub.db", Clock(), InboxLimits(seen=1000))
    await inbox.start()
    await put(inbox, *(news(n) for n in range(1500)))
    await inbox.prune()
    assert await put(inbox, news(1499)) == [None]
    assert await put(inbox, news(0)) != [None]
    await inbox.close()


async def test_prune_bounds_the_size_of_the_file(tmp_path):
    inbox = SqliteInbox(tmp_path / "hub.db", Clock(), InboxLimits(bytes=2_000_000))
    await inbox.start()
    for start in range(0, 4000, 1000):
        await put(inbox, *(news(n, f"user{n}", error="x" * 500) for n in range(start, start + 1000)))
        await inbox.prune()
    assert seqs(await ask(inbox.open, "user0", None)) == []
    assert (tmp_path / "hub.db").stat().st_size < 6_000_000
    await inbox.close()


async def test_prune_deletes_users_without_activity(tmp_path):
    time = Time()
    inbox = SqliteInbox(tmp_path / "hub.db", time.clock)
    await inbox.start()
    await put(inbox, news(1))
    epoch = (await ask(inbox.open, "ann", None)).epoch
    time.now += 60 * 86400
    await put(inbox, news(2))
    time.now += 60 * 86400
    await inbox.prune()
    # Connecting counts as activity, too.
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


async def test_prune_keeps_a_user_who_is_active_in_the_same_transaction(tmp_path):
    time = Time()
    inbox = SqliteInbox(tmp_path / "hub.db", time.clock)
    await inbox.start()
    await put(inbox, news(1))
    time.now += 120 * 86400
    inbox.append(news(2), lambda stored: None)
    await inbox.prune()
    assert seqs(await ask(inbox.open, "ann", None)) == [2]
    await inbox.close()


async def test_start_on_an_inbox_of_another_hub_fails(tmp_path):
    first, second = SqliteInbox(tmp_path / "hub.db", Clock()), SqliteInbox(tmp_path / "hub.db", Clock())
    await first.start()
    with pytest.raises(StoreLocked, match="another hub"):
        await second.start()
    await second.close()
    await first.close()
    assert not await second.start()
    await second.close()


async def test_inbox_file_is_readable_by_its_owner_alone(tmp_path):
    inbox = SqliteInbox(tmp_path / "state" / "hub.db", Clock())
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
async def test_start_on_a_file_that_is_not_an_inbox_fails(tmp_path, prepare, error):
    prepare(tmp_path / "hub.db")
    inbox = SqliteInbox(tmp_path / "hub.db", Clock())
    with pytest.raises(error, match=r"hub\.db"):
        await inbox.start()
    await inbox.close()


async def test_start_on_a_full_disk_leaves_the_inbox_to_the_next_start(tmp_path, monkeypatch):
    def fail(_tables):
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as full_disk:
        full_disk.setattr(InboxTables, "save_time", fail)
        with pytest.raises(StoreUnwritable, match=r"hub\.db.*disk is full"):
            await SqliteInbox(tmp_path / "hub.db", Clock()).start()
    inbox = SqliteInbox(tmp_path / "hub.db", Clock())
    await inbox.start()
    await inbox.close()


async def test_start_on_an_inbox_of_a_newer_version_fails(tmp_path):
    connection = sqlite3.connect(tmp_path / "hub.db")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(SchemaTooNew):
        await SqliteInbox(tmp_path / "hub.db", Clock()).start()


def test_read_message_returns_all_fields_of_a_publishers_event():
    progress = ["e", {"message": "Task Progress", "payload": {"jobId": "j"}}, {"userId": "ann"}]
    assert read_message(progress, b"") == Message("ann", None, 0, "j", True, b"", False)
