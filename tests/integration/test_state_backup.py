"""A backup or a restore that fails leaves what was there, and nothing else."""

import contextlib
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from config.loader import LoadedSettings
from tests.support.inbox_calls import ask, news
from tests.support.process import clean_environment
from tests.support.site import Site
from tests.support.small_disk import run_on_small_disk
from tests.support.stores import a_job
from worker.core.clock import Clock
from worker.disk.file_lock import FileLock
from worker.errors import NotFound, NotPossible, StoreFull, StoreLocked, StoreUnwritable, Unavailable
from worker.hub.inbox import InboxPage, ResumePoint
from worker.hub.inboxes.sqlite import SqliteInbox
from worker.hub.inboxes.sqlite_tables import open_inbox_file
from worker.service.backup import back_up_state, restore_state
from worker.stores.sqlite.store import open_store


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture
async def loaded(site: Site) -> LoadedSettings:
    """A state directory with a job in the store, and an inbox."""
    loaded = site.load(environ={"STATE_DIRECTORY": str(site.here / "state")})
    store = await open_store(loaded.state_dir / "queue.db", owner="me", max_bytes=1 << 30, clock=Clock())
    await store.enqueue([a_job()])
    await store.close()
    open_inbox_file(loaded.state_dir / "hub.db")[0].close()
    (loaded.state_dir / "admin.key").write_text("secret", encoding="ascii")
    return loaded


async def _open_inbox(path: Path, *numbers: int, resume: ResumePoint | None = None) -> InboxPage:
    """Append notifications to an inbox; return what it has for the user."""
    inbox = SqliteInbox(path, Clock())
    await inbox.start()
    for number in numbers:
        await ask(inbox.append, news(number))
    page: InboxPage = await ask(inbox.open, "ann", resume)
    await inbox.close()
    return page


def _content(folder: Path) -> dict[str, bytes]:
    """Return the files by name; what belongs to open connections and locks is left out."""
    endings = ("-wal", "-shm", ".lock")
    return {file.name: file.read_bytes() for file in folder.iterdir() if not file.name.endswith(endings)}


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
async def test_backup_that_finds_no_room_leaves_no_folder(
    site: Site, loaded: LoadedSettings, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def reject(source: Path, to: Path) -> None:
        raise OSError(number, os.strerror(number), str(to))

    monkeypatch.setattr(shutil, "copy2", reject)
    backup = site.path("backups") / "2026" / "first"
    with pytest.raises(StoreFull, match=r"admin\.key.*free some space"):
        back_up_state(loaded, backup)
    assert not list(site.path("backups").iterdir())


async def test_backup_of_a_file_that_cannot_be_read_names_it_and_leaves_no_folder(
    site: Site, loaded: LoadedSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reject(source: Path, _to: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(source))

    monkeypatch.setattr(shutil, "copy2", reject)
    with pytest.raises(StoreUnwritable, match=r"admin\.key: Permission denied; no backup was made"):
        back_up_state(loaded, site.here / "backup")
    assert not (site.here / "backup").exists()


async def test_backup_into_a_folder_that_exists_leaves_it(site: Site, loaded: LoadedSettings) -> None:
    with pytest.raises(StoreUnwritable, match="name a new folder"):
        back_up_state(loaded, site.path("backups"))
    assert site.path("backups").exists()


@pytest.mark.parametrize("place", ["backup", "backups/2026/first"])
async def test_backup_into_the_state_directory_is_refused(loaded: LoadedSettings, place: str) -> None:
    """Each later backup would copy it, with all that it has copied."""
    with pytest.raises(NotPossible, match=r"is in the state directory .*: name a folder outside it"):
        back_up_state(loaded, loaded.state_dir / place)
    assert not (loaded.state_dir / place.partition("/")[0]).exists()


async def test_backup_through_a_link_into_the_state_directory_is_refused(site: Site, loaded: LoadedSettings) -> None:
    link = site.here / "link"
    link.symlink_to(loaded.state_dir)
    with pytest.raises(NotPossible, match="name a folder outside it"):
        back_up_state(loaded, link / "backup")


async def test_backup_leaves_out_earlier_ones_and_what_was_set_aside(site: Site, loaded: LoadedSettings) -> None:
    """And keeps what users have uploaded, whatever its name is."""
    back_up_state(loaded, site.here / "first")
    earlier = loaded.state_dir / "backups" / "first"
    (site.here / "first").rename(earlier.parent.parent / "moved")
    earlier.parent.mkdir()
    (loaded.state_dir / "moved").rename(earlier)
    for name in ("queue.db.replaced-20260101T000000Z", "queue.db.replaced-20260101T000000Z-wal", "hub.db.damaged-1"):
        (loaded.state_dir / name).write_bytes(b"old")
    upload = loaded.state_dir / "uploads" / "1" / "queue.db"
    upload.parent.mkdir(parents=True)
    upload.write_text("id\n", encoding="ascii")
    made = back_up_state(loaded, site.here / "second")
    assert made.skipped == (earlier,)
    found = {
        str(file.relative_to(site.here / "second")) for file in (site.here / "second").rglob("*") if file.is_file()
    }
    assert found == {"backup.json", "queue.db", "hub.db", "admin.key", "uploads/1/queue.db"}


async def test_backup_of_a_store_that_is_named_by_another_path_holds_its_copy(site: Site) -> None:
    """A plain copy of the file would take its place, and lack what is still in the log."""
    (real := site.here / "real").mkdir(mode=0o700)
    (site.here / "state").symlink_to(real)
    names = (f"--Queue:Path={real / 'queue.db'}", f"--Hub:InboxPath={real / 'hub.db'}")
    loaded = site.load(*names, environ={"STATE_DIRECTORY": str(site.here / "state")})
    store = await open_store(real / "queue.db", owner="me", max_bytes=1 << 30, clock=Clock())
    try:
        await store.enqueue([a_job()])
        open_inbox_file(real / "hub.db")[0].close()
        made = back_up_state(loaded, site.here / "backup")
    finally:
        await store.close()
    assert (made.databases, made.files, made.skipped) == (2, 0, ())
    copy = await open_store(site.here / "backup" / "queue.db", owner="me", max_bytes=1 << 30, clock=Clock())
    assert (await copy.stats()).jobs["queued"] == 1
    await copy.close()


async def test_backup_of_a_store_in_a_folder_of_the_state_directory_keeps_what_is_beside_it(site: Site) -> None:
    environ = {"STATE_DIRECTORY": str(site.here / "state")}
    loaded = site.load("--Queue:Path=data/queue.db", environ=environ)
    (data := loaded.state_dir / "data").mkdir(parents=True)
    store = await open_store(data / "queue.db", owner="me", max_bytes=1 << 30, clock=Clock())
    await store.close()
    (data / "rosters").mkdir()
    (data / "rosters" / "roster.csv").write_text("id\n", encoding="ascii")
    made = back_up_state(loaded, site.here / "backup")
    assert (made.databases, made.skipped) == (1, ())
    assert (site.here / "backup" / "data" / "rosters" / "roster.csv").exists()


async def test_backup_or_restore_at_a_path_that_cannot_be_looked_up_says_why(
    site: Site, loaded: LoadedSettings
) -> None:
    """A name that is too long fails for every user, as a folder that may not be entered does for most."""
    path = site.here / ("x" * 300) / "backup"
    with pytest.raises(StoreUnwritable, match="File name too long; no backup was made"):
        back_up_state(loaded, path)
    with pytest.raises(StoreUnwritable, match=r"cannot read .*: File name too long"):
        restore_state(loaded, path)


_FULL_DISK = """
import json, sys
from pathlib import Path
from tests.support.process import command, create_store
from tests.support.small_disk import fill

folder = Path(sys.argv[1])
create_store(folder)
fill(folder, 64 << 10)
done = command(folder, "db", "backup", str(folder / "backup"))
print(json.dumps([done.returncode, done.stderr, sorted(file.name for file in folder.iterdir())]))
"""


def test_backup_command_on_a_full_disk_exits_with_73(tmp_path: Path) -> None:
    code, text, names = json.loads(run_on_small_disk(tmp_path, "4m", _FULL_DISK))
    assert (code, text.count("\n")) == (73, 1)
    assert "free some space" in text
    assert names == ["ballast", "state"]


@pytest.mark.parametrize("is_restored", [True, False])
async def test_clients_start_over_with_the_inbox_of_a_backup(
    site: Site, loaded: LoadedSettings, is_restored: bool
) -> None:
    """It gives the numbers after the backup to other notifications: a position beyond it would skip those.

    Whether it is restored, or takes the place of the state directory on another machine.
    """
    state, backup = loaded.state_dir, site.here / "backup"
    before = await _open_inbox(state / "hub.db", 1)
    back_up_state(loaded, backup)
    assert sorted(path.name for path in backup.glob("hub.db*")) == ["hub.db"]
    assert (await _open_inbox(state / "hub.db", 2, 3)).seq == 3
    if is_restored:
        restore_state(loaded, backup)
    served = (state if is_restored else backup) / "hub.db"
    after = await _open_inbox(served, 4, 5, 6, resume=ResumePoint(before.epoch, 3))
    assert not after.recovered
    assert [stored.message.id for stored in after.messages] == ["n1", "n4", "n5", "n6"]


async def test_restore_is_not_mixed_with_one_that_was_killed(site: Site, loaded: LoadedSettings) -> None:
    """Whose copy of another backup has left the log of its last change."""
    inbox = SqliteInbox(loaded.state_dir / "hub.db", Clock())
    await inbox.start()
    await ask(inbox.append, news(1))
    await inbox.close()
    back_up_state(loaded, site.here / "backup")
    left, log = loaded.state_dir / "hub.db.restoring", loaded.state_dir / "hub.db.restoring-wal"
    with contextlib.closing(open_inbox_file(left)[0]) as killed:
        killed.execute("CREATE TABLE another (number)")
        log_of_killed = log.read_bytes()
    log.write_bytes(log_of_killed)
    restore_state(loaded, site.here / "backup")
    assert not log.exists()
    await inbox.start()
    page = await ask(inbox.open, "ann", None)
    await inbox.close()
    assert [stored.message.id for stored in page.messages] == ["n1"]


async def test_inbox_that_was_emptied_is_backed_up_and_restored(site: Site, loaded: LoadedSettings) -> None:
    for name in ("hub.db", "hub.db-wal"):
        (loaded.state_dir / name).write_bytes(b"")
    back_up_state(loaded, site.here / "backup")
    restore_state(loaded, site.here / "backup")
    inbox = SqliteInbox(loaded.state_dir / "hub.db", Clock())
    await inbox.start()
    assert (await ask(inbox.append, news(1))).seq == 1
    await inbox.close()


async def test_restore_without_a_backup_where_no_store_is_creates_nothing(site: Site) -> None:
    loaded = site.load(environ={"STATE_DIRECTORY": str(site.here / "state")})
    with pytest.raises(Unavailable, match="there is no store at"):
        restore_state(loaded, None)
    assert not loaded.state_dir.exists()


async def test_restore_of_a_backup_that_does_not_exist_creates_nothing(site: Site) -> None:
    loaded = site.load(environ={"STATE_DIRECTORY": str(site.here / "state")})
    with pytest.raises(NotFound, match="there is no backup at"):
        restore_state(loaded, site.here / "missing")
    assert not loaded.state_dir.exists()


async def test_restore_without_a_backup_goes_on_where_the_file_of_the_store_is_missing(
    site: Site, loaded: LoadedSettings
) -> None:
    (loaded.state_dir / "queue.db").unlink()
    assert restore_state(loaded, None) == []
    store = await open_store(loaded.state_dir / "queue.db", owner="me", max_bytes=1 << 30, clock=Clock())
    assert store.created
    await store.close()


async def test_restore_while_a_hub_has_the_inbox_changes_neither_store_nor_inbox(
    site: Site, loaded: LoadedSettings
) -> None:
    back_up_state(loaded, site.here / "backup")
    before = _content(loaded.state_dir)
    lock = FileLock.acquire(loaded.state_dir / "hub.db.lock")
    try:
        with pytest.raises(StoreLocked, match="stop it first"):
            restore_state(loaded, site.here / "backup")
    finally:
        lock.release()
    assert _content(loaded.state_dir) == before


async def test_restore_whose_inbox_cannot_be_copied_changes_neither_store_nor_inbox(
    site: Site, loaded: LoadedSettings
) -> None:
    back_up_state(loaded, site.here / "backup")
    (site.here / "backup" / "hub.db").write_bytes(b"not a database" * 100)
    before = _content(loaded.state_dir)
    with pytest.raises(Exception, match=r"hub\.db"):
        restore_state(loaded, site.here / "backup")
    assert _content(loaded.state_dir) == before


async def test_restore_puts_store_and_inbox_in_place(site: Site, loaded: LoadedSettings) -> None:
    back_up_state(loaded, site.here / "backup")
    kept = restore_state(loaded, site.here / "backup")
    assert sorted(file.name.partition(".replaced-")[0] for file in kept) == ["hub.db", "queue.db"]
    assert not list(loaded.state_dir.glob("*.restoring*"))
    store = await open_store(loaded.state_dir / "queue.db", owner="me", max_bytes=1 << 30, clock=Clock())
    assert (await store.stats()).jobs["queued"] == 1
    await store.close()


_KILLED = """
import os, shutil, signal, sys
from worker.__main__ import main
shutil.copy2 = lambda source, to: os.kill(os.getpid(), signal.SIGKILL)
sys.argv = ["insignia-worker", "db", "backup", sys.argv[1]]
main()
"""


@pytest.mark.parametrize("name", ["backup", "backup.part", "renamed"])
async def test_backup_that_was_killed_is_not_restored(site: Site, loaded: LoadedSettings, name: str) -> None:
    backup = site.here / "backup"
    environ = clean_environment({"STATE_DIRECTORY": str(loaded.state_dir)})
    done = subprocess.run([sys.executable, "-c", _KILLED, str(backup)], cwd=site.here, env=environ)
    assert done.returncode == -signal.SIGKILL
    assert not backup.exists()
    if name == "renamed":
        (site.here / "backup.part").rename(site.here / name)
    before = _content(loaded.state_dir)
    with pytest.raises(NotPossible, match="is incomplete: `db backup` was ended before it had copied everything"):
        restore_state(loaded, site.here / name)
    assert _content(loaded.state_dir) == before


async def test_backup_beside_one_that_was_killed_says_what_to_do(site: Site, loaded: LoadedSettings) -> None:
    left = site.path("backup.part")
    with pytest.raises(StoreUnwritable, match=r"backup\.part exists: if no backup is being made there, delete it"):
        back_up_state(loaded, site.here.parent / "backup")
    assert left.exists()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("{", "damaged"),
        ("[]", "damaged"),
        ('{"queue": "../queue.db", "inbox": null, "complete": true}', "damaged"),
        ('{"queue": 1, "inbox": null, "complete": true}', "damaged"),
        ('{"queue": "queue.db", "inbox": "other.db", "complete": true}', r"lacks other\.db"),
    ],
)
async def test_backup_that_is_not_what_it_says_is_not_restored(
    site: Site, loaded: LoadedSettings, content: str, expected: str
) -> None:
    back_up_state(loaded, site.here / "backup")
    (site.here / "backup" / "backup.json").write_text(content, encoding="utf-8")
    before = _content(loaded.state_dir)
    with pytest.raises((NotPossible, NotFound), match=expected):
        restore_state(loaded, site.here / "backup")
    assert _content(loaded.state_dir) == before


_PATHS = {
    "top": ("queue.db", "hub.db"),
    "folder": ("data/queue.db", "data/hub/hub.db"),
    "one name": ("data/main.db", "hub/main.db"),
    "outside": ("../srv/jobs/main.db", "../srv/hub/main.db"),
}


@pytest.mark.parametrize("before", _PATHS)
@pytest.mark.parametrize("after", _PATHS)
async def test_backup_is_restored_to_the_paths_of_the_settings(site: Site, before: str, after: str) -> None:
    """Those of the backup, or others; what else is in the state directory takes the place of neither database."""
    environ = {"STATE_DIRECTORY": str(site.here / "state")}

    def load(paths: tuple[str, str]) -> LoadedSettings:
        return site.load(f"--Queue:Path={paths[0]}", f"--Hub:InboxPath={paths[1]}", environ=environ)

    old, new = load(_PATHS[before]), load(_PATHS[after])
    store = await open_store(old.resolve_state(_PATHS[before][0]), owner="me", max_bytes=1 << 30, clock=Clock())
    await store.enqueue([a_job()])
    await store.close()
    old.resolve_state(_PATHS[before][1]).parent.mkdir(parents=True, exist_ok=True)
    await _open_inbox(old.resolve_state(_PATHS[before][1]), 1)
    if before == "outside":
        (old.state_dir).mkdir(exist_ok=True)
        (old.state_dir / "main.db").write_bytes(b"another file")
    made = back_up_state(old, site.here / "backup")
    shutil.rmtree(old.state_dir)
    restore_state(new, site.here / "backup")
    again = await open_store(new.resolve_state(_PATHS[after][0]), owner="me", max_bytes=1 << 30, clock=Clock())
    assert (await again.stats()).jobs["queued"] == 1
    await again.close()
    page = await _open_inbox(new.resolve_state(_PATHS[after][1]))
    assert [stored.message.id for stored in page.messages] == ["n1"]
    assert made.databases == 2


async def _with_store_in_a_folder(site: Site) -> LoadedSettings:
    """Return settings with the store in a folder of the state directory, and a job in it."""
    loaded = site.load("--Queue:Path=data/queue.db", environ={"STATE_DIRECTORY": str(site.here / "state")})
    store = await open_store(loaded.state_dir / "data" / "queue.db", owner="me", max_bytes=1 << 30, clock=Clock())
    await store.enqueue([a_job()])
    await store.close()
    return loaded


async def _queued(loaded: LoadedSettings) -> int:
    store = await open_store(loaded.state_dir / "data" / "queue.db", owner="me", max_bytes=1 << 30, clock=Clock())
    queued: int = (await store.stats()).jobs["queued"]
    await store.close()
    return queued


async def test_backup_of_a_store_in_a_folder_takes_the_place_of_the_state_directory(site: Site) -> None:
    loaded = await _with_store_in_a_folder(site)
    back_up_state(loaded, site.here / "backup")
    loaded.state_dir.rename(site.here / "before")
    (site.here / "backup").rename(loaded.state_dir)
    assert await _queued(loaded) == 1
    back_up_state(loaded, site.here / "second")
    restore_state(loaded, site.here / "second")


async def test_folder_that_was_copied_by_hand_is_restored(site: Site) -> None:
    """A state directory without a service, or the databases of it side by side: it has no file of a backup."""
    loaded = await _with_store_in_a_folder(site)
    shutil.copytree(loaded.state_dir, site.here / "copy")
    shutil.copytree(loaded.state_dir / "data", site.here / "flat")
    for copy in ("copy", "flat"):
        restore_state(loaded, site.here / copy)
        assert await _queued(loaded) == 1
