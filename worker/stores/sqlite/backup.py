"""Copies a database that another process may have open and is writing to."""

import contextlib
import sqlite3
from pathlib import Path

from worker.disk.room import sqlite_lack_of_room
from worker.errors import StoreFull
from worker.stores.sqlite.connection import connect_reader
from worker.stores.sqlite.errors import translate
from worker.stores.sqlite.files import create_file


def back_up(path: Path, to: Path) -> None:
    """Write the database as it is at one moment to a new file. Blocks, and does not hold up the writer.

    Raises StoreCorrupt, StoreUnwritable or StoreFull.
    """
    draft = to.with_name(f"{to.name}.part")
    draft.unlink(missing_ok=True)
    create_file(draft)
    try:
        with contextlib.closing(connect_reader(path)) as source, contextlib.closing(sqlite3.connect(draft)) as target:
            source.backup(target)
    except sqlite3.Error as exc:
        lack = sqlite_lack_of_room(exc, to)  # while the draft is there: without it the quota has room
        draft.unlink(missing_ok=True)
        if lack is not None:  # only the copy is written
            raise StoreFull(lack) from exc
        raise translate(exc, path) from exc
    draft.replace(to)
