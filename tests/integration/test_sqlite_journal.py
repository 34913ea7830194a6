"""A store that has lost something is recognised, at the start and while it is open, and can be restored."""

import errno
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.sqlite_store import a_new_job, a_store, submitted
from worker.core.notification import NotificationFormat
from worker.errors import NotFound, SchemaTooNew, StoreCorrupt, StoreFull, StoreIncomplete, StoreReplaced
from worker.stores.sqlite.journal import CommitJournal, StoreState, journal_of
from worker.stores.sqlite.recovery import recover
from worker.stores.sqlite.restore import restore
from worker.stores.sqlite.schema import MIGRATIONS


def empty(path: Path) -> None:
    os.truncate(path, 0)


def remove(path: Path) -> None:
    path.unlink()


def remove_log(path: Path) -> None:
    path.with_name(f"{path.name}-wal").unlink()


def flip_log(path: Path) -> None:
    log = path.with_name(f"{path.name}-wal")
    data = bytearray(log.read_bytes())
    data[len(data) // 2] ^= 0xFF
    log.write_bytes(data)


def cut_log(path: Path) -> None:
    log = path.with_name(f"{path.name}-wal")
    os.truncate(log, log.stat().st_size // 2)


DAMAGES = [empty, remove, remove_log, flip_log, cut_log]


@pytest.fixture
async def crashed(tmp_path: Path) -> Path:
    """The files that a service with 30 jobs leaves when it is killed."""
    alive, dead = tmp_path / "alive", tmp_path / "dead"
    async with a_store(alive) as store:
        for _ in range(30):
            await submitted(store, a_new_job())
        shutil.copytree(alive, dead)
    return dead / "queue.db"


async def jobs_in(path: Path) -> int:
    async with a_store(path.parent) as store:
        return (await store.stats()).jobs["queued"]


async def test_open_after_a_crash_finds_every_job(crashed: Path) -> None:
    assert await jobs_in(crashed) == 30


@pytest.mark.parametrize("damage", DAMAGES)
async def test_open_of_a_store_that_lost_something_is_refused_with_a_remedy(
    crashed: Path, damage: Callable[[Path], None]
) -> None:
    damage(crashed)
    for _ in range(2):  # the service manager starts it again
        with pytest.raises(StoreIncomplete, match="db restore") as caught:
            await jobs_in(crashed)
    assert caught.value.exit_code == 74
    assert "\n" not in str(caught.value)


async def test_open_of_an_older_copy_or_another_store_is_refused(crashed: Path, tmp_path: Path) -> None:
    backup = tmp_path / "backup.db"
    assert await jobs_in(crashed) == 30
    shutil.copy(crashed, backup)
    async with a_store(crashed.parent) as store:
        await submitted(store, a_new_job())
    shutil.copy(backup, crashed)
    with pytest.raises(StoreIncomplete, match="lost its last 1 commits"):
        await jobs_in(crashed)
    other = tmp_path / "other"
    async with a_store(other) as store:
        await submitted(store, *(a_new_job() for _ in range(3)))
    shutil.copy(other / "queue.db", crashed)
    with pytest.raises(StoreIncomplete, match="not the store"):
        await jobs_in(crashed)


@pytest.mark.parametrize("damage", [empty, remove])
async def test_restore_of_a_backup_puts_it_in_place(
    crashed: Path, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    backup = tmp_path / "backup.db"
    connection = sqlite3.connect(crashed)
    connection.execute("VACUUM INTO ?", (str(backup),))
    connection.close()
    damage(crashed)
    restore(crashed, backup, 1e9)
    assert await jobs_in(crashed) == 30
    assert await jobs_in(crashed) == 30


async def test_restore_without_a_backup_goes_on_with_what_is_there(crashed: Path) -> None:
    empty(crashed)
    restore(crashed, None, 1e9)
    assert await jobs_in(crashed) == 0


async def test_restore_of_what_is_not_a_store_is_refused(crashed: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        restore(crashed, tmp_path / "none.db", 1e9)
    text = tmp_path / "text.db"
    text.write_text("not a database" * 100, encoding="utf-8")
    with pytest.raises(StoreCorrupt):
        restore(crashed, text, 1e9)
    assert await jobs_in(crashed) == 30


async def test_open_of_a_snapshot_of_the_whole_folder_is_accepted(crashed: Path, tmp_path: Path) -> None:
    snapshot = tmp_path / "snapshot"
    shutil.copytree(crashed.parent, snapshot)
    async with a_store(crashed.parent) as store:
        await submitted(store, a_new_job())
    assert await jobs_in(snapshot / "queue.db") == 30


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_journal_that_finds_no_room_when_it_is_synced_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def reject(_descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", reject)
    with pytest.raises(StoreFull, match=r"queue\.db\.commits .*free some space"):
        CommitJournal.open(tmp_path / "queue.db", StoreState("this", 1))


async def test_open_with_an_unreadable_journal_finds_every_job(crashed: Path) -> None:
    journal_of(crashed).write_text("00000000", encoding="utf-8")
    assert await jobs_in(crashed) == 30


async def test_check_of_a_database_that_was_cut_while_open_raises(tmp_path: Path) -> None:
    async with a_store(tmp_path) as store:
        await submitted(store, a_new_job())
        await store.check()
        os.truncate(tmp_path / "queue.db", 0)
        with pytest.raises(StoreReplaced, match="was cut"):
            await store.check()
        shutil.rmtree(tmp_path)  # nothing is written into the damaged store when it closes


async def test_recover_of_a_newer_schema_is_refused(crashed: Path) -> None:
    assert await jobs_in(crashed) == 30
    connection = sqlite3.connect(crashed)
    connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    connection.close()
    with pytest.raises(SchemaTooNew):
        recover(crashed, 1e9, NotificationFormat())


async def test_recovered_store_is_accepted(crashed: Path) -> None:
    recover(crashed, 1e9, NotificationFormat())
    assert await jobs_in(crashed) == 30
