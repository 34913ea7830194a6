"""Says in a file of each backup whether it is complete, and which of its files are the databases."""

import contextlib
import itertools
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from config.presence import exists, is_folder
from worker.disk.private_file import replace_content
from worker.disk.sync import sync
from worker.errors import NotFound, NotPossible, StoreUnwritable
from worker.stores.sqlite.connection import is_store

CONTENT_FILE = "backup.json"


@dataclass(frozen=True, slots=True)
class BackupContent:
    """Where the databases are in a folder, relative to it."""

    queue: str
    inbox: str | None
    """None: the backup has no inbox."""
    complete: bool = False


def places_of(databases: list[Path], state_dir: Path) -> list[Path]:
    """Return where a backup has these databases: as in the state directory, and at its top what is not in there.

    A name that something else has at the top of the state directory gets a number.
    """
    top, found = state_dir.resolve(), list[Path]()
    for path in databases:
        real = path.parent.resolve() / path.name
        if real.is_relative_to(top):
            found.append(real.relative_to(top))
            continue
        names = (Path(f"{number}-{path.name}" if number else path.name) for number in itertools.count())
        found.append(next(name for name in names if name not in found and not exists(top / name)))
    return found


def write_content(folder: Path, content: BackupContent) -> None:
    """Write the file, or replace it as a whole; it is on the disk then. Raises OSError."""
    replace_content(folder / CONTENT_FILE, json.dumps(asdict(content)).encode())
    sync(folder)


def is_backup(folder: Path) -> bool:
    """Return whether a folder is a backup: its file names a store that is there."""
    with contextlib.suppress(NotPossible, OSError):
        content = _read(folder)
        return content is not None and is_store(folder / content.queue)
    return False


def draft_of(folder: Path) -> Path:
    """Return the name that a backup has while it is made."""
    return folder.with_name(f"{folder.name}.part")


def databases_in(backup: Path, queue: str, inbox: str) -> tuple[Path, Path | None]:
    """Return the copy of the store in a backup, and that of the inbox, if there is one.

    `queue` and `inbox` are the paths in the settings, which count where no `db backup` has made the folder. Raises
    NotPossible for a backup that is not complete, NotFound where there is none, StoreUnwritable if unreadable.
    """
    try:
        return _databases_in(backup, queue, inbox)
    except OSError as exc:
        text = f"cannot read {backup}: {exc.strerror}; give this user the right to enter its folder"
        raise StoreUnwritable(text) from None


def _databases_in(backup: Path, queue: str, inbox: str) -> tuple[Path, Path | None]:
    if not exists(backup) and exists(draft_of(backup)):
        raise _incomplete(draft_of(backup))
    if not is_folder(backup):
        return backup, None
    content = _read(backup)
    if content is None:
        found = _found_in(backup, inbox)
        return _found_in(backup, queue), found if exists(found) else None
    copies = [backup / name for name in (content.queue, content.inbox) if name is not None]
    if not content.complete:
        raise _incomplete(backup)
    for copy in copies:
        if not exists(copy):
            raise NotFound(f"{backup} lacks {copy.relative_to(backup)}, which was backed up: use another backup")
    return copies[0], copies[1] if len(copies) > 1 else None


def _found_in(backup: Path, setting: str) -> Path:
    """Return where a folder that was copied by hand has a database: at its top, else as in the state directory."""
    top = backup / Path(setting).name
    return top if exists(top) or Path(setting).is_absolute() else backup / setting


def _incomplete(folder: Path) -> NotPossible:
    return NotPossible(
        f"{folder} is incomplete: `db backup` was ended before it had copied everything; use another backup"
    )


def _read(folder: Path) -> BackupContent | None:
    """Return what the file of a backup says; None: there is none. Raises NotPossible for a damaged one, and OSError."""
    try:
        text = (folder / CONTENT_FILE).read_bytes()
    except FileNotFoundError:
        return None
    try:
        value: Any = json.loads(text)
        content = BackupContent(**value)
    except (ValueError, TypeError):
        raise _damaged(folder) from None
    names: list[Any] = [content.queue] if content.inbox is None else [content.queue, content.inbox]
    if not all(isinstance(name, str) and _is_below(name) for name in names) or type(content.complete) is not bool:
        raise _damaged(folder)
    return content


def _is_below(name: str) -> bool:
    path = Path(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts


def _damaged(folder: Path) -> NotPossible:
    return NotPossible(f"{folder / CONTENT_FILE} is damaged: use another backup")
