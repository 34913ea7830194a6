"""Fills the search index, a little at a time, in a thread and a transaction that are not the store's.

SQLite does all of it by itself: no row comes into Python, so that the event loop keeps its interpreter.
"""

import contextlib
import sqlite3
from pathlib import Path
from time import monotonic

from worker.errors import StoreError
from worker.queue import Indexed
from worker.queues.sqlite_errors import passing
from worker.queues.sqlite_files import make_file
from worker.queues.sqlite_room import search_bytes
from worker.queues.sqlite_schema import BUSY_SECONDS, Connection
from worker.queues.sqlite_search import (
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
"""Jobs of a shelf that are rather written anew than kept among so many that went."""


class SearchIndex:
    """Use it in one thread alone. Whatever is wrong with the file, it is thrown away and begun again."""

    def __init__(self, path: Path) -> None:
        """`path` is the store's."""
        self._path = path
        self._connection: Connection | None = None
        self._limit = _LEAST
        self._checked = 0
        """The shelf that was last looked at for whether it can go."""

    def advance(self, _store: Connection) -> Indexed:
        """Index some messages more. The reader's own connection is not needed: one that has both files is.

        StoreError: it could not go on, and will begin anew, or try again where that may help.
        """
        try:
            return self._advance(self._opened())
        except sqlite3.DatabaseError as exc:
            if passing(exc):
                self.close()
                raise StoreError(f"the search index of {self._path} had to wait ({exc}): check the disk") from exc
            self.throw_away()
            raise StoreError(f"the search index of {self._path} could not be used ({exc}): it is begun anew") from exc

    def give_up(self, _store: Connection) -> int:
        """How many bytes that has freed."""
        size = search_bytes(self._path)
        self.throw_away()
        return size

    def throw_away(self) -> None:
        self.close()
        for file in files_of(self._path):
            file.unlink(missing_ok=True)

    def close(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
        self._connection = None

    def _opened(self) -> Connection:
        if self._connection is None:
            self._connection = _connect(self._path)
        if not _fits(self._connection):
            self.throw_away()
            self._connection = _connect(self._path)
            _create(self._connection)
        return self._connection

    def _advance(self, connection: Connection) -> Indexed:
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
        return Indexed(done, left, seconds)

    def _tidy(self, connection: Connection) -> None:
        """One shelf at a time; the newest is still being filled."""
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
    make_file(search)
    connection = sqlite3.connect(f"{search.as_uri()}?mode=rw", uri=True, isolation_level=None, timeout=BUSY_SECONDS)
    try:
        # What a power cut takes is indexed again, and only that: NORMAL keeps the file sound.
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
    """Whether it is this store's index: not another's, nor one of a later day than a backup that was restored."""
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
"""  # noqa: S608 -- put together from constants

_TOLD = (
    "INSERT OR IGNORE INTO told SELECT jobs.seq, outbox.id FROM store.outbox "
    "CROSS JOIN store.jobs ON jobs.id = outbox.job_id WHERE outbox.id > :after AND outbox.id <= :up_to"
)

_RECEIVED = f"""
    INSERT OR IGNORE INTO received SELECT number, id FROM store.outbox
    CROSS JOIN names ON field = {USER} AND name = outbox.user_id WHERE id > :after AND id <= :up_to
"""  # noqa: S608

_BATCH = (
    "INSERT OR IGNORE INTO batch SELECT jobs.seq FROM store.outbox CROSS JOIN store.jobs ON jobs.id = outbox.job_id "
    "WHERE outbox.id > :after AND outbox.id <= :up_to AND jobs.lane IS NULL"
)

_BLOCKS = f"""
    INSERT INTO blocks SELECT seq / {BLOCK}, min(created_at), max(created_at)
    FROM batch CROSS JOIN store.jobs USING (seq) GROUP BY seq / {BLOCK}
    ON CONFLICT DO UPDATE SET earliest = min(earliest, excluded.earliest), latest = max(latest, excluded.latest)
"""  # noqa: S608


def _mark(field: int, column: str) -> str:
    mark = MARK.format(field=field, number="number")
    return f"(SELECT {mark} FROM names WHERE field = {field} AND name = jobs.{column})"  # noqa: S608


# In the order of rowid, or FTS5 begins a new segment with each row. With two characters more at the end a trigram
# begins at each that counts.
_FILL = f"""
    INSERT INTO shelf_{{number}} (rowid, words, state, kind, user, organization)
    SELECT seq, id || char(10) || user_id || char(10) || CAST(payload AS TEXT) || char(10) || coalesce(error, '')
        || char(10) || coalesce(CAST(result AS TEXT), '') || char(10, 10),
        {_mark(STATE, "state")}, {_mark(KIND, "kind")}, {_mark(USER, "user_id")}, {_mark(ORGANIZATION, "organization")}
    FROM batch CROSS JOIN store.jobs USING (seq) CROSS JOIN store.payloads USING (seq)
    WHERE seq >= ? AND seq < ? ORDER BY seq
"""  # noqa: S608


def _index_messages(connection: Connection, limit: int) -> tuple[int, int]:
    """How many were indexed, and how many wait."""
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


# -- what can go -------------------------------------------------------------------------------------------


def _clear(connection: Connection, number: int) -> None:
    """A shelf of which hardly a job is left goes, and the few of them are written anew."""
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
