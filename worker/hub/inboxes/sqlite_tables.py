"""The tables of the inbox's file: users with epoch and positions, messages, known notification ids, revoked tokens.

Used by the inbox's own thread alone. Users are cached, and changed ones are written with each commit.
"""

import contextlib
import os
import secrets
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from worker.core.clock import Clock
from worker.core.elapsed import ElapsedTime, SavedTime
from worker.disk.private_file import open_new
from worker.disk.room import sqlite_lack_of_room, unwritable_database, write_error
from worker.disk.row_statement import RowStatement
from worker.errors import SchemaTooNew, StoreCorrupt, StoreError, StoreFull, StoreLocked
from worker.hub.inbox import InboxLimits, InboxPage, ResumePoint
from worker.hub.messages import Message, StoredMessage, stored_message

MEMORY: Final = ":memory:"
_VERSION: Final = 2
_PAGE: Final = 100
_PAGE_BYTES: Final = 256 * 1024
_TRIM_EVERY: Final = 64
_PRUNE_ROWS: Final = 1000
_DAY: Final = 86400.0
_MAX_CACHED_USERS: Final = 50_000
_SCHEMA: Final = """
CREATE TABLE user (
  id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, epoch TEXT NOT NULL,
  seq INTEGER NOT NULL, read INTEGER NOT NULL, at REAL NOT NULL
);
CREATE INDEX user_at ON user (at);
CREATE TABLE message (
  id INTEGER PRIMARY KEY, user INTEGER NOT NULL, seq INTEGER NOT NULL, at REAL NOT NULL, body BLOB NOT NULL,
  UNIQUE (user, seq)
);
CREATE TABLE seen (
  id INTEGER PRIMARY KEY, notification TEXT NOT NULL UNIQUE, redelivery INTEGER NOT NULL, at REAL NOT NULL
);
CREATE TABLE revoked (token TEXT PRIMARY KEY, at REAL NOT NULL) WITHOUT ROWID;
"""
_UPGRADE: Final = """
CREATE TABLE clock (elapsed REAL NOT NULL, wall REAL NOT NULL, monotonic REAL NOT NULL, boot TEXT NOT NULL);
INSERT INTO clock SELECT coalesce(max(at), 0.0), coalesce(max(at), 0.0), 0.0, '' FROM
  (SELECT max(at) AS at FROM message UNION ALL SELECT max(at) FROM seen UNION ALL SELECT max(at) FROM user);
"""
"""To version 2. `at` is elapsed time, which no wall clock can change; it starts with the last time that was written."""


_ADD_IDS: Final = RowStatement(
    "INSERT INTO seen (notification, redelivery, at) SELECT * FROM {rows} WHERE column1 IS NOT NULL "
    "ON CONFLICT (notification) DO UPDATE SET redelivery = excluded.redelivery "
    "WHERE excluded.redelivery > redelivery",
    width=3,
)
_ADD: Final = RowStatement(
    "INSERT INTO message (user, seq, at, body) SELECT * FROM {rows} WHERE column1 IS NOT NULL", width=4
)


class AmongRepetitions(Exception):
    """Some of several messages are repetitions: they must be stored one by one."""


class _Transaction:
    def __init__(self, tables: "InboxTables") -> None:
        self._tables = tables

    def __enter__(self) -> None:
        self._tables.begin()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._tables.commit()
        else:
            self._tables.rollback()


@dataclass(slots=True)
class _User:
    id: int
    epoch: str
    seq: int
    read: int
    at: float
    """When it was last active, in whole days."""
    changed: bool = False


class InboxTables:
    """The tables, with one method for each operation of the inbox."""

    def __init__(self, connection: sqlite3.Connection, limits: InboxLimits, clock: Clock) -> None:
        self._db = connection
        saved = SavedTime(*connection.execute("SELECT elapsed, wall, monotonic, boot FROM clock").fetchone())
        if saved.wall == 0.0:  # it is new
            saved = SavedTime(0.0, clock.now(), clock.monotonic(), clock.boot)
        self._elapsed = ElapsedTime(clock, saved)
        self._at = 0.0
        """The time of the current transaction."""
        self._limits = limits
        self._users: dict[str, _User] = {}
        self._changed: list[_User] = []
        with self.transaction():
            self.save_time()

    def transaction(self) -> _Transaction:
        return _Transaction(self)

    def begin(self) -> None:
        if len(self._users) > _MAX_CACHED_USERS:
            self._users.clear()
        self._db.execute("BEGIN IMMEDIATE")
        self._at = self._elapsed.now()

    def commit(self) -> None:
        try:
            self._save_users()
            self._db.execute("COMMIT")
        except BaseException:
            self.rollback()
            raise

    def rollback(self) -> None:
        # The cached users may be ahead of the tables now.
        self._users.clear()
        self._changed.clear()
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")

    def save_time(self) -> None:
        """Write how much time has passed, from which the next start continues."""
        self._db.execute("UPDATE clock SET elapsed = ?, wall = ?, monotonic = ?, boot = ?", self._elapsed.save())

    def append(self, message: Message) -> StoredMessage | None:
        """Store a message; return None if it is a repetition."""
        if message.id is not None and not self._add_ids([message]):
            return None
        [stored] = self._add([message])
        return stored

    def append_all(self, messages: Sequence[Message]) -> list[StoredMessage]:
        """Store messages in order. Raises AmongRepetitions if some are repetitions; the transaction is void then."""
        known = [message for message in messages if message.id is not None]
        if self._add_ids(known) != len(known):
            raise AmongRepetitions
        return self._add(messages)

    def _add_ids(self, messages: Sequence[Message]) -> int:
        """Note that the notifications were stored; return how many were not known, or have been sent again since."""
        at = self._at
        return _ADD_IDS.run(self._db, [(message.id, message.redelivery, at) for message in messages])

    def _add(self, messages: Sequence[Message]) -> list[StoredMessage]:
        at, added, rows = self._at, [], []
        to_trim: dict[int, _User] = {}
        for message in messages:
            user = self._user(message.user)
            user.seq = seq = user.seq + 1
            self._note_activity(user, at)
            self._change(user)
            rows.append((user.id, seq, at, message.body))
            added.append(StoredMessage(seq, user.epoch, message))
            if seq % _TRIM_EVERY == 0:
                to_trim[user.id] = user
        _ADD.run(self._db, rows)
        for user in to_trim.values():
            self._trim(user)
        return added

    def open(self, name: str, resume_point: ResumePoint | None) -> InboxPage:
        """Return the first page for a client of this user."""
        user = self._user(name)
        if self._note_activity(user, self._at):
            self._change(user)
        if resume_point is None or resume_point.epoch != user.epoch or resume_point.seq > user.seq:
            return self.page(name, user.read, recovered=False)
        if resume_point.seq > user.read:
            user.read = resume_point.seq
            self._change(user)
        recovered = resume_point.seq >= self._oldest(user) - 1
        return self.page(name, resume_point.seq, recovered=recovered)

    def page(self, name: str, after: int, *, recovered: bool) -> InboxPage:
        """Return the messages after this number, up to 100 and about 256 KiB."""
        user = self._user(name)
        if after >= user.seq:
            return InboxPage(user.epoch, user.seq, recovered, [], more=False)
        rows = self._rows(user, after)
        messages = [stored_message(seq, user.epoch, body) for seq, body in rows]
        more = bool(messages) and messages[-1].seq < user.seq
        return InboxPage(user.epoch, user.seq, recovered, messages, more)

    def mark_read(self, positions: dict[tuple[str, str], int]) -> None:
        """Move the read positions of these users, each in this epoch, forward; those of another epoch are void."""
        for (name, epoch), seq in positions.items():
            user = self._user(name)
            if epoch == user.epoch and user.read < seq <= user.seq:
                user.read = seq
                self._change(user)

    def prune(self) -> bool:
        """Delete some of what is too old or too much; return whether there may be more."""
        self.save_time()
        now = self._at
        before = now - self._limits.seconds
        deleted = self._delete_oldest("message", before, full=self._bytes() > self._limits.bytes)
        seen = self._db.execute("SELECT COALESCE(MAX(id) - MIN(id), 0) FROM seen").fetchone()[0]
        deleted += self._delete_oldest("seen", before, full=seen >= self._limits.seen)
        deleted += self._forget_users(now - self._limits.user_seconds)
        return deleted > 0

    def revoke(self, token_id: str) -> None:
        """Store that this token id is revoked."""
        self._db.execute("INSERT OR IGNORE INTO revoked (token, at) VALUES (?, ?)", (token_id, self._at))

    def revoked_tokens(self) -> list[str]:
        """Return the ids of the revoked tokens."""
        return [token_id for (token_id,) in self._db.execute("SELECT token FROM revoked")]

    def _forget_users(self, before: float) -> int:
        # What this transaction changed must be in the table before the query reads it.
        self._save_users()
        chosen = "SELECT id FROM user WHERE at < ? ORDER BY at LIMIT ?"
        forgotten = self._db.execute(f"DELETE FROM user WHERE id IN ({chosen})", (before, _PRUNE_ROWS)).rowcount
        if forgotten:
            self._users.clear()
        return forgotten

    def _user(self, name: str) -> _User:
        user = self._users.get(name)
        if user is None:
            user = self._users[name] = self._load(name) or self._create(name)
        return user

    def _load(self, name: str) -> _User | None:
        row = self._db.execute("SELECT id, epoch, seq, read, at FROM user WHERE name = ?", (name,)).fetchone()
        return None if row is None else _User(*row)

    def _create(self, name: str) -> _User:
        epoch, at = secrets.token_hex(6), self._at
        at -= at % _DAY
        cursor = self._db.execute(
            "INSERT INTO user (name, epoch, seq, read, at) VALUES (?, ?, 0, 0, ?)", (name, epoch, at)
        )
        return _User(int(cursor.lastrowid or 0), epoch, 0, 0, at)

    def _note_activity(self, user: _User, at: float) -> bool:
        """Note that the user is active; return whether for the first time today."""
        day = at - at % _DAY
        is_new = day > user.at
        user.at = max(user.at, day)
        return is_new

    def _change(self, user: _User) -> None:
        if not user.changed:
            user.changed = True
            self._changed.append(user)

    def _save_users(self) -> None:
        if not self._changed:
            return
        self._db.executemany(
            "UPDATE user SET seq = ?, read = ?, at = ? WHERE id = ?",
            [(user.seq, user.read, user.at, user.id) for user in self._changed],
        )
        for user in self._changed:
            user.changed = False
        self._changed.clear()

    def _trim(self, user: _User) -> None:
        self._db.execute("DELETE FROM message WHERE user = ? AND seq <= ?", (user.id, user.seq - self._limits.messages))

    def _oldest(self, user: _User) -> int:
        """Return the oldest stored number; without messages, the one after the newest."""
        (oldest,) = self._db.execute("SELECT MIN(seq) FROM message WHERE user = ?", (user.id,)).fetchone()
        return user.seq + 1 if oldest is None else int(oldest)

    def _rows(self, user: _User, after: int) -> list[tuple[int, bytes]]:
        cursor = self._db.execute(
            "SELECT seq, body FROM message WHERE user = ? AND seq > ? ORDER BY seq LIMIT ?", (user.id, after, _PAGE)
        )
        rows: list[tuple[int, bytes]] = []
        size = 0
        for seq, body in cursor:
            rows.append((seq, body))
            size += len(body)
            if size >= _PAGE_BYTES:
                break
        cursor.close()
        return rows

    def _bytes(self) -> int:
        used = "SELECT (page_count - freelist_count) * page_size"
        sql = f"{used} FROM pragma_page_count, pragma_freelist_count, pragma_page_size"
        return int(self._db.execute(sql).fetchone()[0])

    def _delete_oldest(self, table: str, before: float, *, full: bool) -> int:
        # Rows are numbered in the order of their arrival, so the oldest come first. `table` is a constant here.
        due = self._db.execute(
            f"SELECT MAX(id) FROM (SELECT id, at FROM {table} ORDER BY id LIMIT ?) WHERE at < ? OR ?",
            (_PRUNE_ROWS, before, full),
        ).fetchone()[0]
        if due is None:
            return 0
        return self._db.execute(f"DELETE FROM {table} WHERE id <= ?", (due,)).rowcount


@contextlib.contextmanager
def inbox_errors(path: Path | None) -> Iterator[None]:
    """Raise errors of the file system and of SQLite as StoreErrors, with the path."""
    try:
        yield
    except (OSError, sqlite3.DatabaseError) as exc:
        raise inbox_error(exc, path) from exc


def inbox_error(exc: OSError | sqlite3.Error, path: Path | None) -> StoreError:
    """Return the error that says what to do about an error of the inbox's file."""
    if path is None:
        return StoreError(f"the hub's inbox in memory: {exc}")
    if isinstance(exc, OSError):
        return write_error(exc, path, "give this user the right to the file and its folder")
    if (lack := sqlite_lack_of_room(exc, path)) is not None:
        return StoreFull(lack)
    default = sqlite3.SQLITE_PERM if isinstance(exc, sqlite3.OperationalError) else sqlite3.SQLITE_NOTADB
    match getattr(exc, "sqlite_errorcode", default) & 0xFF:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return StoreLocked(f"{path} is locked by another program ({exc}): close what has it open")
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM | sqlite3.SQLITE_IOERR:
            return unwritable_database(exc, path)
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB | sqlite3.SQLITE_ERROR:
            return StoreCorrupt(f"{path}: this is not an inbox of the hub ({exc}); move it away and start again")
        case _:
            return StoreError(f"{path}: {exc} ({exc.sqlite_errorname}): check the disk and the system log")


def open_inbox_file(path: Path | None) -> tuple[sqlite3.Connection, bool]:
    """Return the connection, and whether the inbox is new; None: in memory. SchemaTooNew: it is of a newer version.

    Other errors are those of SQLite and of the file system: see `inbox_errors`.
    """
    created = path is not None and not path.exists()
    is_empty = path is not None and not created and path.stat().st_size == 0
    if path is not None and created:
        # SQLite would make it readable by others.
        os.close(open_new(path))
    connection = sqlite3.connect(MEMORY if path is None else path, isolation_level=None)
    try:
        is_empty = is_empty and connection.execute("PRAGMA user_version").fetchone()[0] == 0  # not even in its log
        _prepare(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection, created or is_empty


def renew_epochs(path: Path) -> None:
    """Give all users of an inbox that no one has open a new epoch: positions that clients have are void then.

    A backup gives numbers again that clients have seen. Raises what `inbox_errors` does.
    """
    with inbox_errors(path), contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'user'").fetchone():  # not of an empty file
            connection.execute("UPDATE user SET epoch = lower(hex(randomblob(6)))")


def _prepare(connection: sqlite3.Connection, path: Path | None) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > _VERSION:
        raise SchemaTooNew(f"{path}: the inbox was written by a newer version; update this program")
    if version < _VERSION:
        create = _SCHEMA if version == 0 else ""
        connection.executescript(f"BEGIN;{create}{_UPGRADE}PRAGMA user_version = {_VERSION};COMMIT;")
