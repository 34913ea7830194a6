"""Fills the search index, a little at a time, in a thread and transactions of its own.

SQLite does all of it by itself: no row reaches Python, so that the event loop keeps the interpreter lock.
"""

import contextlib
import sqlite3
from pathlib import Path
from time import monotonic

from worker.core.store import IndexProgress
from worker.errors import StoreError
from worker.stores.sqlite.connection import BUSY_SECONDS, Connection
from worker.stores.sqlite.disk_space import search_bytes
from worker.stores.sqlite.errors import is_temporary
from worker.stores.sqlite.files import create_file
from worker.stores.sqlite.search.index_file import (
    BLOCK,
    FORMAT,
    KIND,
    MARK,
    ORGANIZATION,
    SHELF,
    SHELF_TABLE,
    STATE,
    TABLES,
    USER,
    files_of,
)

_CHUNK_SECONDS = 0.02

_LEAST, _MOST = 50, 5_000
"""Messages in one transaction."""

_ALMOST_EMPTY = SHELF // 100
"""If fewer jobs than this are left in a shelf, it is dropped, and they are indexed again."""


class SearchIndex:
    """Writes the index. For one thread only. A file that cannot be used is deleted and created again."""

    def __init__(self, path: Path) -> None:
        """`path` is the store's."""
        self._path = path
        self._connection: Connection | None = None
        self._limit = _LEAST
        self._checked = 0
        """The shelf that was last checked for whether it can be dropped."""

    def advance(self, _store: Connection) -> IndexProgress:
        """Index some more messages; return what was done and what is left.

        The reader's connection is not used, but one that has both files attached. Raises StoreError if it failed: the
        next call tries again, or starts from scratch if the file cannot be used.
        """
        try:
            return self._advance(self._connected())
        except sqlite3.DatabaseError as exc:
            if is_temporary(exc):
                self.close()
                raise StoreError(f"the search index of {self._path} had to wait ({exc}): check the disk") from exc
            self.delete()
            raise StoreError(f"the search index of {self._path} could not be used ({exc}): it is built again") from exc

    def discard(self, _store: Connection) -> int:
        """Delete the index; return how many bytes that freed."""
        size = search_bytes(self._path)
        self.delete()
        return size

    def delete(self) -> None:
        self.close()
        for file in files_of(self._path):
            file.unlink(missing_ok=True)

    def close(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
        self._connection = None

    def _connected(self) -> Connection:
        if self._connection is None:
            self._connection = _connect(self._path)
        if not _fits(self._connection):
            self.delete()
            self._connection = _connect(self._path)
            _create(self._connection)
        return self._connection

    def _advance(self, connection: Connection) -> IndexProgress:
        started = monotonic()
        connection.execute("BEGIN")
        try:
            done, left = _index_messages(connection, self._limit)
            if not left:
                self._tidy(connection)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        seconds = monotonic() - started
        if done:
            self._limit = min(max(int(self._limit * min(2.0, _CHUNK_SECONDS / seconds)), _LEAST), _MOST)
        return IndexProgress(done, left, seconds)

    def _tidy(self, connection: Connection) -> None:
        """Check one shelf for whether it can be dropped; the newest is still being filled."""
        row = connection.execute(
            "SELECT number FROM shelves WHERE number > ? AND number < (SELECT max(number) FROM shelves) "
            "ORDER BY number LIMIT 1",
            (self._checked,),
        ).fetchone()
        if row is None:
            self._checked = -1
            return
        self._checked = row[0]
        _clear(connection, row[0])


# -- the file ----------------------------------------------------------------------------------------------


def _connect(path: Path) -> Connection:
    search = files_of(path)[0]
    create_file(search)
    connection = sqlite3.connect(f"{search.as_uri()}?mode=rw", uri=True, isolation_level=None, timeout=BUSY_SECONDS)
    try:
        # NORMAL keeps the file consistent; what a power cut loses is indexed again.
        for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "temp_store = MEMORY", "cache_size = -2000"):
            connection.execute(f"PRAGMA {pragma}").fetchall()
        connection.execute("ATTACH ? AS store", (f"{path.as_uri()}?mode=ro",))
        connection.execute("CREATE TEMP TABLE batch (seq INTEGER PRIMARY KEY)")
    except BaseException:
        connection.close()
        raise
    return connection


def _create(connection: Connection) -> None:
    connection.execute("BEGIN")
    for statement in TABLES:
        connection.execute(statement)
    connection.execute("INSERT INTO about SELECT store, 0 FROM store.tally")
    connection.execute("COMMIT")


def _fits(connection: Connection) -> bool:
    """Return whether the index belongs to this store, and is not newer than a backup that was restored."""
    (version,) = connection.execute("PRAGMA main.user_version").fetchone()
    if version != FORMAT:
        return False
    row = connection.execute(
        "SELECT about.store = tally.store AND about.up_to <= "
        "coalesce((SELECT seq FROM store.sqlite_sequence WHERE name = 'outbox'), 0) FROM about, store.tally"
    ).fetchone()
    return row is not None and bool(row[0])


# -- filling it --------------------------------------------------------------------------------------------

_NAMES = f"""
    INSERT OR IGNORE INTO names (field, name)
    SELECT {STATE}, state FROM batch CROSS JOIN store.jobs USING (seq)
    UNION SELECT {KIND}, kind FROM batch CROSS JOIN store.jobs USING (seq)
    UNION SELECT {USER}, user_id FROM store.outbox WHERE id > :after AND id <= :up_to
    UNION SELECT {ORGANIZATION}, organization FROM batch CROSS JOIN store.jobs USING (seq)
    WHERE organization IS NOT NULL
"""

_TOLD = (
    "INSERT OR IGNORE INTO told SELECT jobs.seq, outbox.id FROM store.outbox "
    "CROSS JOIN store.jobs ON jobs.id = outbox.job_id WHERE outbox.id > :after AND outbox.id <= :up_to"
)

_RECEIVED = f"""
    INSERT OR IGNORE INTO received SELECT number, id FROM store.outbox
    CROSS JOIN names ON field = {USER} AND name = outbox.user_id WHERE id > :after AND id <= :up_to
"""

_BATCH = (
    "INSERT OR IGNORE INTO batch SELECT jobs.seq FROM store.outbox CROSS JOIN store.jobs ON jobs.id = outbox.job_id "
    "WHERE outbox.id > :after AND outbox.id <= :up_to AND jobs.lane IS NULL"
)

_BLOCKS = f"""
    INSERT INTO blocks SELECT seq / {BLOCK}, min(created_at), max(created_at)
    FROM batch CROSS JOIN store.jobs USING (seq) GROUP BY seq / {BLOCK}
    ON CONFLICT DO UPDATE SET earliest = min(earliest, excluded.earliest), latest = max(latest, excluded.latest)
"""


def _mark(field: int, column: str) -> str:
    mark = MARK.format(field=field, number="number")
    return f"(SELECT {mark} FROM names WHERE field = {field} AND name = jobs.{column})"


# In the order of rowid, or FTS5 starts a new segment with each row. Two more characters at the end give every character
# of the text a trigram that begins with it.
_FILL = f"""
    INSERT INTO shelf_{{number}} (rowid, words, state, kind, user, organization)
    SELECT seq, id || char(10) || user_id || char(10) || CAST(payload AS TEXT) || char(10) || coalesce(error, '')
        || char(10) || coalesce(CAST(result AS TEXT), '') || char(10, 10),
        {_mark(STATE, "state")}, {_mark(KIND, "kind")}, {_mark(USER, "user_id")}, {_mark(ORGANIZATION, "organization")}
    FROM batch CROSS JOIN store.jobs USING (seq) CROSS JOIN store.payloads USING (seq)
    WHERE seq >= ? AND seq < ? ORDER BY seq
"""


def _index_messages(connection: Connection, limit: int) -> tuple[int, int]:
    """Index up to `limit` messages; return how many were indexed and how many are left."""
    (after,) = connection.execute("SELECT up_to FROM about").fetchone()
    done, up_to = connection.execute(
        "SELECT count(*), max(id) FROM (SELECT id FROM store.outbox WHERE id > ? ORDER BY id LIMIT ?)", (after, limit)
    ).fetchone()
    if done:
        span = {"after": after, "up_to": up_to}
        connection.execute("DELETE FROM batch")
        for statement in (_BATCH, _NAMES, _TOLD, _RECEIVED):
            connection.execute(statement, span)
        connection.execute(_BLOCKS)
        _fill_shelves(connection)
        connection.execute("UPDATE about SET up_to = ?", (up_to,))
    (last,) = connection.execute("SELECT coalesce(max(id), 0) FROM store.outbox").fetchone()
    return done, max(0, last - (up_to or after))


def _fill_shelves(connection: Connection) -> None:
    shelves = connection.execute("SELECT DISTINCT seq / ? FROM batch", (SHELF,)).fetchall()
    for (number,) in shelves:
        if connection.execute("INSERT OR IGNORE INTO shelves VALUES (?)", (number,)).rowcount:
            connection.execute(SHELF_TABLE.format(number=number))
        connection.execute(_FILL.format(number=number), (number * SHELF, (number + 1) * SHELF))


# -- dropping shelves -------------------------------------------------------------------------------------------


def _clear(connection: Connection, number: int) -> None:
    """Drop a shelf if hardly any of its jobs are left, and index those again."""
    first, below = number * SHELF, (number + 1) * SHELF
    connection.execute("DELETE FROM batch")
    live = connection.execute(
        "INSERT INTO batch SELECT seq FROM store.jobs WHERE seq >= ? AND seq < ? LIMIT ?", (first, below, _ALMOST_EMPTY)
    ).rowcount
    if live >= _ALMOST_EMPTY:
        return
    (docs,) = connection.execute("SELECT count(*) FROM told WHERE seq >= ? AND seq < ?", (first, below)).fetchone()
    if docs <= 2 * live:
        return
    connection.execute(f"DROP TABLE shelf_{number:d}")
    connection.execute("DELETE FROM shelves WHERE number = ?", (number,))
    connection.execute("DELETE FROM blocks WHERE number >= ? AND number < ?", (first // BLOCK, below // BLOCK))
    connection.execute("DELETE FROM told WHERE seq >= ? AND seq < ? AND seq NOT IN batch", (first, below))
    connection.execute("DELETE FROM received WHERE message < (SELECT min(id) FROM store.outbox)")
    connection.execute("DELETE FROM batch WHERE (SELECT lane FROM store.jobs WHERE seq = batch.seq) IS NOT NULL")
    connection.execute(_BLOCKS)
    _fill_shelves(connection)
