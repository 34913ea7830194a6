"""Creates the store's files, for their owner alone."""

import os
from pathlib import Path

from worker.disk.private_file import open_new
from worker.disk.room import lack_of_room, write_error
from worker.errors import StoreFull, StoreUnwritable


def create_folder(path: Path) -> None:
    """Create the folder of `path` (0700) if there is none; raises StoreUnwritable or StoreFull."""
    try:
        for folder in reversed([folder for folder in path.parents if not folder.exists()]):
            folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as exc:
        if (lack := lack_of_room(exc, path.parent)) is not None:
            raise StoreFull(lack) from exc
        raise StoreUnwritable(f"cannot create {path.parent}: {exc.strerror}; create it, or set Queue:Path") from exc


def create_file(path: Path) -> None:
    """Create an empty database (0600) if there is none; SQLite gives its log the same mode.

    Raises StoreUnwritable or StoreFull.
    """
    if path.is_dir():
        raise StoreUnwritable(f"{path} is a folder: set Queue:Path to a file in it")
    try:
        # Opening a database that SQLite has open would drop its locks; a file that did not exist has none.
        descriptor = open_new(path)
    except FileExistsError:
        return
    except OSError as exc:
        raise write_error(exc, path, "give this user the right to write its folder") from exc
    os.fchmod(descriptor, 0o600)
    os.close(descriptor)
