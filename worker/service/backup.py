"""Backs up the state directory while the service runs, and puts a backup in its place."""

import contextlib
import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from config.loader import LoadedSettings
from config.presence import exists, is_folder
from worker.core.clock import Clock
from worker.disk.file_lock import FileLock
from worker.disk.room import write_error
from worker.errors import NotPossible, StoreIncomplete, StoreUnwritable
from worker.hub.inboxes.sqlite_tables import renew_epochs
from worker.service.standalone import REMEDY, require_store
from worker.stores.sqlite.backup import back_up
from worker.stores.sqlite.connection import is_store
from worker.stores.sqlite.errors import translated_files
from worker.stores.sqlite.files import create_folder
from worker.stores.sqlite.restore import copied_next_to, restore, swap

_NOT_COPIED = ("-wal", "-shm", ".lock", ".commits", ".search", ".part", ".restoring", ".recovering")
"""Ends of names: parts of databases that the copy of the database contains, and what is made again."""
_NOT_OF_ANOTHER_MACHINE = ("processes-", "peers.json", "forced-stop", "worker.sock")
"""Beginnings of names: what only means something beside the processes of this machine."""
_KEPT_ASIDE = (".replaced-", ".damaged-")
"""What follows the name of a database that `db restore` or `db recover` has set aside."""


@dataclass(frozen=True, slots=True)
class Backup:
    """What was copied."""

    databases: int
    files: int
    bytes: int
    skipped: tuple[Path, ...]
    """Folders in the state directory that hold a store of their own, such as earlier backups."""


def back_up_state(loaded: LoadedSettings, folder: Path) -> Backup:
    """Copy the state directory to a new folder, which can take its place. Blocks.

    Databases come first: each file that a job of the copy names was there before. Raises Unavailable where there is no
    store, NotPossible for one in PostgreSQL or a folder in the state directory, StoreUnwritable where the folder exists
    or cannot be made, StoreFull where its disk has no room; no folder is left then.
    """
    settings = loaded.settings
    if settings.queue.provider != "sqlite":
        raise NotPossible("db backup copies files: back up the PostgreSQL database of the store with pg_dump")
    queue, inbox = loaded.resolve_state(settings.queue.path), loaded.resolve_state(settings.hub.inbox_path)
    require_store(loaded)
    _require_outside(folder, loaded.state_dir)
    skipped: list[Path] = []
    with _new_folder(folder):
        databases = [path for path in (queue, inbox) if exists(path)]
        for path in databases:
            back_up(path, folder / path.name)
        if inbox in databases:
            renew_epochs(folder / inbox.name)  # this service goes on giving numbers
        others = _other_files(loaded.state_dir, databases, skipped)
        files = sum(_copy(source, folder, loaded.state_dir) for source in others)
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return Backup(len(databases), files, size, tuple(skipped))


def _require_outside(folder: Path, state_dir: Path) -> None:
    """Raise NotPossible for a folder that every later backup would copy as well, each with all before it."""
    with contextlib.suppress(OSError):  # what cannot be looked up is reported when it is made
        if folder.resolve().is_relative_to(state_dir.resolve()):
            raise NotPossible(f"{folder} is in the state directory {state_dir}: name a folder outside it")


@contextlib.contextmanager
def _new_folder(folder: Path) -> Iterator[None]:
    """Make the folder for what the block writes; if it fails, leave nothing. Raises StoreUnwritable and StoreFull."""
    made: list[Path] = []
    try:
        made = [path for path in (folder, *folder.parents) if not exists(path)]
        folder.mkdir(mode=0o700, parents=True)
        yield
    except FileExistsError:
        raise StoreUnwritable(f"{folder} exists already: name a new folder") from None
    except BaseException as exc:
        if made:
            shutil.rmtree(folder, ignore_errors=True)
        for parent in made[1:]:
            with contextlib.suppress(OSError):  # another program has put something in it
                parent.rmdir()
        if isinstance(exc, OSError):
            raise write_error(exc, Path(exc.filename or folder), "no backup was made") from None
        raise


def _other_files(state_dir: Path, databases: list[Path], skipped: list[Path]) -> list[Path]:
    """Return the other files of the state directory: keys, uploads, rosters and results.

    Folders with a store of their own, earlier backups or that of the demo, are added to `skipped` instead.
    """
    # Settings may name the databases by another path than the state directory: a link, or one with `..`.
    state_dir, databases = state_dir.resolve(), [path.parent.resolve() / path.name for path in databases]
    in_use = {folder for path in databases for folder in path.parents}
    found = []
    for folder, below, files in os.walk(state_dir):
        stores = [name for name in below if is_store(Path(folder, name, databases[0].name))]
        stores = [name for name in stores if Path(folder, name) not in in_use]
        skipped.extend(Path(folder, name) for name in stores)
        below[:] = sorted(set(below).difference(stores))
        found += [Path(folder, name) for name in files]
    return sorted(file for file in found if file not in databases and _is_kept(file, databases))


def _is_kept(file: Path, databases: list[Path]) -> bool:
    aside = tuple(f"{path.name}{ending}" for path in databases for ending in _KEPT_ASIDE)
    if file.parent in {path.parent for path in databases} and file.name.startswith(aside):
        return False
    if file.name.endswith(_NOT_COPIED) or file.name.startswith(_NOT_OF_ANOTHER_MACHINE):
        return False
    try:
        return stat.S_ISREG(file.lstat().st_mode)
    except OSError:  # deleted since
        return False


def _copy(source: Path, folder: Path, state_dir: Path) -> int:
    """Copy a file with its mode; return 1, or 0 when it was deleted in the meantime."""
    to = folder / source.relative_to(state_dir.resolve())
    to.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        shutil.copy2(source, to)
    except FileNotFoundError:
        return 0
    return 1


def restore_state(loaded: LoadedSettings, backup: Path | None) -> list[Path]:
    """Put a backup in the place of the store, or accept the store as it is; return the new names of what was there.

    A folder of `back_up_state` replaces the inbox as well. Other files stay as they are. Raises what `restore` raises,
    and Unavailable where there is no store to accept.
    """
    settings = loaded.settings
    if settings.queue.provider != "sqlite":
        raise NotPossible(f"db restore is for the file of provider sqlite: {REMEDY['postgres']}")
    queue, inbox = loaded.resolve_state(settings.queue.path), loaded.resolve_state(settings.hub.inbox_path)
    now = Clock().now()
    if backup is None:
        with contextlib.suppress(StoreIncomplete):  # going on without the file that is missing is what this is for
            require_store(loaded)
        kept = [restore(queue, None, now)]
    else:
        copy, has_inbox = _content_of(backup, queue.name, inbox.name)
        kept = _restore_both(queue, inbox, backup, now) if has_inbox else [restore(queue, copy, now)]
    return [path for path in kept if path is not None]


def _content_of(backup: Path, queue: str, inbox: str) -> tuple[Path, bool]:
    """Return the copy of the store, and whether there is one of the inbox. Raises StoreUnwritable."""
    try:
        return (backup / queue, exists(backup / inbox)) if is_folder(backup) else (backup, False)
    except OSError as exc:
        text = f"cannot read {backup}: {exc.strerror}; give this user the right to enter its folder"
        raise StoreUnwritable(text) from None


def _restore_both(queue: Path, inbox: Path, backup: Path, now: float) -> list[Path | None]:
    """Put store and inbox of a backup in place: whatever could fail for the inbox comes first."""
    create_folder(inbox)
    lock = FileLock.acquire(inbox.with_name(f"{inbox.name}.lock"), remedy="another hub uses this inbox: stop it first")
    try:
        with translated_files(inbox), copied_next_to(inbox, backup / inbox.name) as copy:
            renew_epochs(copy)
            kept = restore(queue, backup / queue.name, now)
            return [kept, swap(inbox, copy, now)]
    finally:
        lock.release()
