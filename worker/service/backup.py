"""Backs up the state directory while the service runs, and puts a backup in its place."""

import contextlib
import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from config.loader import LoadedSettings
from config.presence import exists
from worker.core.clock import Clock
from worker.disk.file_lock import FileLock
from worker.disk.room import write_error
from worker.disk.sync import sync
from worker.errors import NotPossible, StoreIncomplete, StoreUnwritable
from worker.hub.inboxes.sqlite_tables import renew_epochs
from worker.service.backup_content import (
    CONTENT_FILE,
    BackupContent,
    databases_in,
    draft_of,
    is_backup,
    places_of,
    write_content,
)
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

    Databases come first: each file that a job of the copy names was there before. While it is made, the folder has
    another name, which ends in .part.

    Raises Unavailable without a store; NotPossible if the store is in PostgreSQL or the folder in the state directory;
    StoreUnwritable if the folder exists or cannot be made; StoreFull if its disk has no room. No folder is left then.
    """
    settings = loaded.settings
    if settings.queue.provider != "sqlite":
        raise NotPossible("db backup copies files: back up the PostgreSQL database of the store with pg_dump")
    queue, inbox = loaded.resolve_state(settings.queue.path), loaded.resolve_state(settings.hub.inbox_path)
    require_store(loaded)
    _require_outside(folder, loaded.state_dir)
    skipped: list[Path] = []
    databases = [path for path in (queue, inbox) if exists(path)]
    places = places_of(databases, loaded.state_dir)
    content = BackupContent(str(places[0]), str(places[1]) if inbox in databases else None)
    with _new_folder(folder) as draft:
        write_content(draft, content)
        for path, place in zip(databases, places, strict=True):
            (draft / place).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            back_up(path, draft / place)
        if content.inbox is not None:
            renew_epochs(draft / content.inbox)  # this service goes on giving numbers
        others = _other_files(loaded.state_dir, databases, skipped)
        files = sum(_copy(source, draft, loaded.state_dir) for source in others)
        copied = [file for file in draft.rglob("*") if file.is_file() and file != draft / CONTENT_FILE]
        size = sum(file.stat().st_size for file in copied)
        write_content(draft, replace(content, complete=True))
    return Backup(len(databases), files, size, tuple(skipped))


def _require_outside(folder: Path, state_dir: Path) -> None:
    """Raise NotPossible for a folder that every later backup would copy as well, each with all before it."""
    with contextlib.suppress(OSError):  # what cannot be looked up is reported when it is made
        if folder.resolve().is_relative_to(state_dir.resolve()):
            raise NotPossible(f"{folder} is in the state directory {state_dir}: name a folder outside it")


@contextlib.contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """Make the folder for what the block writes; if it fails, leave nothing. Raises StoreUnwritable and StoreFull."""
    draft, made = draft_of(folder), list[Path]()
    try:
        if exists(folder):
            raise StoreUnwritable(f"{folder} exists already: name a new folder")
        if exists(draft):
            raise StoreUnwritable(
                f"{draft} exists: if no backup is being made there, delete it; or name another folder"
            )
        made = [path for path in (draft, *draft.parents) if not exists(path)]
        draft.mkdir(mode=0o700, parents=True)
        yield draft
        _put_in_place(draft, folder)
    except BaseException as exc:
        if made:
            shutil.rmtree(draft, ignore_errors=True)
        for parent in made[1:]:
            with contextlib.suppress(OSError):  # another program has put something in it
                parent.rmdir()
        if isinstance(exc, OSError):
            raise write_error(exc, Path(exc.filename or folder), "no backup was made") from None
        raise


def _put_in_place(draft: Path, folder: Path) -> None:
    """Sync what was written, then give it its name: a power cut leaves no complete backup with files that are not."""
    for path in (draft, *draft.rglob("*")):
        sync(path)
    draft.rename(folder)
    sync(folder.parent)


def _other_files(state_dir: Path, databases: list[Path], skipped: list[Path]) -> list[Path]:
    """Return the other files of the state directory: keys, uploads, rosters and results.

    Folders with a store of their own, earlier backups or that of the demo, are added to `skipped` instead.
    """
    # Settings may name the databases by another path than the state directory: a link, or one with `..`.
    state_dir, databases = state_dir.resolve(), [path.parent.resolve() / path.name for path in databases]
    in_use = {folder for path in databases for folder in path.parents}
    found = []
    for folder, below, files in os.walk(state_dir):
        stores = [name for name in below if _has_store(Path(folder, name), databases[0].name)]
        stores = [name for name in stores if Path(folder, name) not in in_use]
        skipped.extend(Path(folder, name) for name in stores)
        below[:] = sorted(set(below).difference(stores))
        found += [Path(folder, name) for name in files]
    not_copied = {*databases, state_dir / CONTENT_FILE}  # of the backup that became the state directory
    return sorted(file for file in found if file not in not_copied and _is_kept(file, databases))


def _has_store(folder: Path, name: str) -> bool:
    return is_store(folder / name) or is_backup(folder)


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
        copy, inbox_copy = databases_in(backup, settings.queue.path, settings.hub.inbox_path)
        if inbox_copy is None:
            kept = [restore(queue, copy, now)]
        else:
            kept = _restore_both((queue, copy), (inbox, inbox_copy), now)
    return [path for path in kept if path is not None]


def _restore_both(store: tuple[Path, Path], hub: tuple[Path, Path], now: float) -> list[Path | None]:
    """Put store and inbox, each with its copy, in place: whatever could fail for the inbox comes first."""
    inbox, inbox_copy = hub
    create_folder(inbox)
    lock = FileLock.acquire(inbox.with_name(f"{inbox.name}.lock"), remedy="another hub uses this inbox: stop it first")
    try:
        with translated_files(inbox), copied_next_to(inbox, inbox_copy) as copy:
            renew_epochs(copy)
            kept = restore(*store, now)
            return [kept, swap(inbox, copy, now)]
    finally:
        lock.release()
