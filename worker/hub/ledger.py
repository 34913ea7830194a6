"""The tables of the inbox's file: users with their epoch, place and mark, messages, ids seen, revoked tokens.

For the inbox's own thread alone; what is remembered of the users is written with each commit. Knows no loop.
"""

import os
import secrets
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from worker.errors import SchemaTooNew, StoreCorrupt, StoreUnwritable
from worker.hub.keeping import Claim, Limits, Page
from worker.hub.news import News, Stored, read_news

MEMORY: Final = ":memory:"
_VERSION: Final = 1
_PAGE: Final = 100
_PAGE_BYTES: Final = 256 * 1024
_TRIM_EVERY: Final = 64
_PRUNE_ROWS: Final = 1000
_DAY: Final = 86400.0
_KNOWN_USERS: Final = 50_000
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


class _Transaction:
    def __init__(self, ledger: "Ledger") -> None:
        self._ledger = ledger

    def __enter__(self) -> None:
        self._ledger.begin()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._ledger.commit()
        else:
            self._ledger.rollback()


@dataclass(slots=True)
class _User:
    id: int
    epoch: str
    seq: int
    read: int
    at: float
    """When it last changed, to the day."""
    changed: bool = False


class Ledger:
    """The tables, as the inbox's operations use them."""

    def __init__(self, connection: sqlite3.Connection, limits: Limits, now: Callable[[], float]) -> None:
        self._db = connection
        self._now = now
        self._limits = limits
        self._users: dict[str, _User] = {}
        self._changed: list[_User] = []

    def transaction(self) -> _Transaction:
        return _Transaction(self)

    def begin(self) -> None:
        if len(self._users) > _KNOWN_USERS:
            self._users.clear()
        self._db.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        try:
            self._save_users()
            self._db.execute("COMMIT")
        except BaseException:
            self.rollback()
            raise

    def rollback(self) -> None:
        # What is remembered of the users may be ahead of the tables now.
        self._users.clear()
        self._changed.clear()
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")

    def append(self, news: News, at: float) -> Stored | None:
        if news.id is not None and not self._is_new(news.id, news.redelivery, at):
            return None
        user = self._user(news.user)
        user.seq += 1
        self._heard_of(user, at)
        self._change(user)
        self._db.execute(
            "INSERT INTO message (user, seq, at, body) VALUES (?, ?, ?, ?)", (user.id, user.seq, at, news.body)
        )
        if user.seq % _TRIM_EVERY == 0:
            self._trim(user)
        return Stored(user.seq, user.epoch, news)

    def open(self, name: str, claim: Claim | None) -> Page:
        user = self._user(name)
        if self._heard_of(user, self._now()):
            self._change(user)
        if claim is None or claim.epoch != user.epoch or claim.seq > user.seq:
            return self.page(name, user.read, recovered=False)
        if claim.seq > user.read:
            user.read = claim.seq
            self._change(user)
        return self.page(name, claim.seq, recovered=claim.seq >= self._oldest(user) - 1)

    def page(self, name: str, after: int, *, recovered: bool) -> Page:
        user = self._user(name)
        if after >= user.seq:
            return Page(user.epoch, user.seq, recovered, [], more=False)
        rows = self._rows(user, after)
        messages = [Stored(seq, user.epoch, _news(body)) for seq, body in rows]
        more = bool(messages) and messages[-1].seq < user.seq
        return Page(user.epoch, user.seq, recovered, messages, more)

    def mark_read(self, marks: dict[str, int]) -> None:
        for name, seq in marks.items():
            user = self._user(name)
            if user.read < seq <= user.seq:
                user.read = seq
                self._change(user)

    def prune(self, now: float) -> bool:
        """Whether there is more to delete."""
        before = now - self._limits.seconds
        deleted = self._delete_oldest("message", before, full=self._bytes() > self._limits.bytes)
        seen = self._db.execute("SELECT COALESCE(MAX(id) - MIN(id), 0) FROM seen").fetchone()[0]
        deleted += self._delete_oldest("seen", before, full=seen >= self._limits.seen)
        deleted += self._forget_users(now - self._limits.user_seconds)
        return deleted > 0

    def revoke(self, token: str, at: float) -> None:
        self._db.execute("INSERT OR IGNORE INTO revoked (token, at) VALUES (?, ?)", (token, at))

    def revoked(self) -> list[str]:
        return [token for (token,) in self._db.execute("SELECT token FROM revoked")]

    def _forget_users(self, before: float) -> int:
        # What this transaction has noted of them must be in the table before it is judged by it.
        self._save_users()
        chosen = "SELECT id FROM user WHERE at < ? ORDER BY at LIMIT ?"
        forgotten = self._db.execute(f"DELETE FROM user WHERE id IN ({chosen})", (before, _PRUNE_ROWS)).rowcount  # noqa: S608
        if forgotten:
            self._users.clear()
        return forgotten

    def _is_new(self, notification: str, redelivery: int, at: float) -> bool:
        cursor = self._db.execute(
            "INSERT INTO seen (notification, redelivery, at) VALUES (?, ?, ?) ON CONFLICT (notification)"
            " DO UPDATE SET redelivery = excluded.redelivery WHERE excluded.redelivery > redelivery",
            (notification, redelivery, at),
        )
        return cursor.rowcount > 0

    def _user(self, name: str) -> _User:
        user = self._users.get(name)
        if user is None:
            user = self._users[name] = self._load(name) or self._create(name)
        return user

    def _load(self, name: str) -> _User | None:
        row = self._db.execute("SELECT id, epoch, seq, read, at FROM user WHERE name = ?", (name,)).fetchone()
        return None if row is None else _User(*row)

    def _create(self, name: str) -> _User:
        epoch, at = secrets.token_hex(6), self._now()
        at -= at % _DAY
        cursor = self._db.execute(
            "INSERT INTO user (name, epoch, seq, read, at) VALUES (?, ?, 0, 0, ?)", (name, epoch, at)
        )
        return _User(int(cursor.lastrowid or 0), epoch, 0, 0, at)

    def _heard_of(self, user: _User, at: float) -> bool:
        """Whether this is the first time today."""
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
        """The oldest seq kept; one past the newest when none is."""
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
        # Rows are numbered in the order of their arrival, so the oldest are the first. `table` is one of ours.
        due = self._db.execute(
            f"SELECT MAX(id) FROM (SELECT id, at FROM {table} ORDER BY id LIMIT ?) WHERE at < ? OR ?",  # noqa: S608
            (_PRUNE_ROWS, before, full),
        ).fetchone()[0]
        if due is None:
            return 0
        return self._db.execute(f"DELETE FROM {table} WHERE id <= ?", (due,)).rowcount  # noqa: S608


def _news(body: bytes) -> News:
    return read_news(orjson.loads(body), body)


def opened_store(path: Path | None) -> tuple[sqlite3.Connection, bool]:
    """The file, and whether it was created; None: in memory. StoreUnwritable, StoreCorrupt, SchemaTooNew."""
    created = path is not None and not path.exists()
    try:
        if path is not None and created:
            # SQLite would make it readable for others; nothing has the file open yet.
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
        connection = sqlite3.connect(MEMORY if path is None else path, isolation_level=None)
        _prepare(connection, path)
    except (OSError, sqlite3.OperationalError) as exc:
        raise StoreUnwritable(f"{path}: the hub's inbox cannot be opened ({exc})") from exc
    except sqlite3.DatabaseError as exc:
        raise StoreCorrupt(f"{path}: this is no inbox ({exc}); move it away and start again") from exc
    return connection, created


def _prepare(connection: sqlite3.Connection, path: Path | None) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > _VERSION:
        raise SchemaTooNew(f"{path}: the inbox was written by a newer version; update this program")
    if version == 0:
        connection.executescript(f"BEGIN;{_SCHEMA}PRAGMA user_version = {_VERSION};COMMIT;")
