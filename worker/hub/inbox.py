"""The users' inboxes: what they are to get, what they got, durable in a SQLite file of its own.

One thread owns the connection. Everything goes through one FIFO, and the answers come back to the event
loop in the same order: what was asked for before a message was stored does not see it, what was asked for
after it does. That is what lets a client go from its backlog to live without a gap and without a repetition.
Group commit: whatever waits is written in one transaction; no waiting for more.
Knows no socket and no protocol.
"""

import asyncio
import fcntl
import functools
import os
import queue
import secrets
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, Protocol

import orjson

from worker.clock import Clock
from worker.errors import SchemaTooNew, StoreCorrupt, StoreLocked, StoreUnwritable
from worker.hub.keeping import Answer, Claim, Page
from worker.hub.news import News, Stored, read_news

MEMORY: Final = ":memory:"
_VERSION: Final = 1
_BATCH: Final = 2048
_BACKLOG_BYTES: Final = 8 * 1024 * 1024
"""Unwritten bytes from which publishers are made to wait."""
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


@dataclass(frozen=True, slots=True)
class Limits:
    """What is kept."""

    messages: int = 10_000
    """Per user."""
    seconds: float = 7 * 86400
    user_seconds: float = 90 * 86400
    """A user of whom nothing was heard for so long is forgotten, with his epoch."""
    seen: int = 1_000_000
    """Notification ids remembered for dropping repetitions."""
    bytes: int = 4 * 1024**3
    """The file; beyond it the oldest messages go."""


class _Operation(Protocol):
    done: Answer | None

    def apply(self, ledger: "_Ledger") -> Any: ...


@dataclass(slots=True)
class _Append:
    news: News
    at: float
    done: Answer | None

    def apply(self, ledger: "_Ledger") -> Stored | None:
        return ledger.append(self.news, self.at)


@dataclass(slots=True)
class _Open:
    user: str
    claim: Claim | None
    done: Answer | None

    def apply(self, ledger: "_Ledger") -> Page:
        return ledger.open(self.user, self.claim)


@dataclass(slots=True)
class _Read:
    user: str
    after: int
    done: Answer | None

    def apply(self, ledger: "_Ledger") -> Page:
        return ledger.page(self.user, self.after, recovered=True)


@dataclass(slots=True)
class _MarkRead:
    marks: dict[str, int]
    done: Answer | None = None

    def apply(self, ledger: "_Ledger") -> None:
        ledger.mark_read(self.marks)


@dataclass(slots=True)
class _Revoke:
    token: str
    at: float
    done: Answer | None

    def apply(self, ledger: "_Ledger") -> None:
        ledger.revoke(self.token, self.at)


@dataclass(slots=True)
class _Revoked:
    done: Answer | None

    def apply(self, ledger: "_Ledger") -> list[str]:
        return ledger.revoked()


@dataclass(slots=True)
class _Prune:
    now: float
    done: Answer | None

    def apply(self, ledger: "_Ledger") -> bool:
        return ledger.prune(self.now)


class Inbox:
    """All users' inboxes. Every method is for the event loop's thread."""

    shared = False

    def __init__(self, path: Path | None, clock: Clock, limits: Limits | None = None) -> None:
        """`path` None: in memory only."""
        self._path = path
        self._clock = clock
        self._limits = limits or Limits()
        self._operations: queue.SimpleQueue[_Operation | None] = queue.SimpleQueue()
        self._marks: dict[str, int] = {}
        self._unwritten = 0
        self._room = asyncio.Event()
        self._room.set()
        self._thread: threading.Thread | None = None
        self._lock: IO[bytes] | None = None

    @property
    def where(self) -> str:
        return MEMORY if self._path is None else str(self._path)

    async def start(self) -> bool:
        """Open or create the store; whether it was created.

        StoreLocked, StoreUnwritable, StoreCorrupt, SchemaTooNew.
        """
        if self._path is not None:
            self._lock = _locked(self._path)
        loop = asyncio.get_running_loop()
        opened: asyncio.Future[bool] = loop.create_future()
        self._thread = threading.Thread(target=self._serve, args=(loop, opened), name="hub-inbox", daemon=True)
        self._thread.start()
        try:
            return await opened
        except BaseException:
            self._unlock()
            raise

    async def close(self) -> None:
        """Write what waits, then close."""
        if self._thread is None:
            return
        self.flush()
        self._operations.put(None)
        thread, self._thread = self._thread, None
        await asyncio.to_thread(thread.join)
        self._unlock()

    def append(self, news: News, done: Answer) -> None:
        """Put it into its user's inbox. `done` gets the Stored once it is on disk, None for a repetition."""
        self._unwritten += len(news.body)
        if self._unwritten > _BACKLOG_BYTES:
            self._room.clear()
        self._operations.put(_Append(news, self._clock.now(), done))

    async def room(self) -> None:
        """Wait while too much is unwritten: publishers are read no faster than the disk writes."""
        await self._room.wait()

    def open(self, user: str, claim: Claim | None, done: Answer) -> None:
        """The first Page of what the user is to be given: after the claim when it is good, else what no
        socket of the user has ever read."""
        self.flush()
        self._operations.put(_Open(user, claim, done))

    def read(self, user: str, after: int, done: Answer) -> None:
        """The next Page."""
        self._operations.put(_Read(user, after, done))

    def was_read(self, user: str, seq: int) -> None:
        """Up to `seq` has been read by a socket of the user. Rides on the next commit."""
        if seq > self._marks.get(user, 0):
            self._marks[user] = seq

    def forget(self, user: str) -> None:
        """Nothing is held for users who are not there."""

    async def revoke(self, token: str) -> None:
        """Remember that this token id is refused; on disk when this returns."""
        await self._ask(lambda done: _Revoke(token, self._clock.now(), done))

    async def revoked(self) -> list[str]:
        """The token ids that were revoked."""
        answer: list[str] = await self._ask(_Revoked)
        return answer

    def flush(self) -> None:
        """Put down the marks, so that what is asked from now on knows them."""
        if self._marks:
            marks, self._marks = self._marks, {}
            self._operations.put(_MarkRead(marks))

    async def prune(self) -> None:
        """Delete what is too old or too much, in small steps between other work."""
        while self._thread is not None:
            if not await self._ask(lambda done: _Prune(self._clock.now(), done)):
                return

    async def _ask(self, operation: Callable[[Answer], _Operation]) -> Any:
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._operations.put(operation(functools.partial(_resolve, answer)))
        return await answer

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _serve(self, loop: asyncio.AbstractEventLoop, opened: "asyncio.Future[bool]") -> None:
        try:
            connection, created = _connect(self._path)
        except BaseException as exc:  # noqa: BLE001 -- whoever waits for the start must hear of it
            loop.call_soon_threadsafe(_resolve, opened, exc)
            return
        ledger = _Ledger(connection, self._limits, self._clock.now)
        loop.call_soon_threadsafe(_resolve, opened, created)
        try:
            while batch := self._next_batch():
                answers = _carry_out(ledger, batch)
                loop.call_soon_threadsafe(self._answer, answers)
        finally:
            connection.close()

    def _next_batch(self) -> list[_Operation]:
        """What waits, at least one; empty when it is time to end."""
        batch: list[_Operation] = []
        operation = self._operations.get()
        while operation is not None:
            batch.append(operation)
            if len(batch) == _BATCH:
                return batch
            try:
                operation = self._operations.get_nowait()
            except queue.Empty:
                return batch
        if batch:
            self._operations.put(None)
        return batch

    def _answer(self, answers: list[tuple[_Operation, Any]]) -> None:
        for operation, result in answers:
            if isinstance(operation, _Append):
                self._unwritten -= len(operation.news.body)
            if operation.done is not None:
                operation.done(result)
        if self._unwritten <= _BACKLOG_BYTES // 2:
            self._room.set()


def _resolve(future: "asyncio.Future[Any]", result: Any) -> None:
    if future.done():
        return
    if isinstance(result, BaseException):
        future.set_exception(result)
    else:
        future.set_result(result)


def _carry_out(ledger: "_Ledger", batch: list[_Operation]) -> list[tuple[_Operation, Any]]:
    """All in one transaction; if one of them fails, each in its own, so that only the guilty one does."""
    try:
        with ledger.transaction():
            return [(operation, operation.apply(ledger)) for operation in batch]
    except Exception as exc:  # noqa: BLE001 -- every waiter gets the error as its answer
        if len(batch) == 1:
            return [(batch[0], exc)]
    return [answer for operation in batch for answer in _carry_out(ledger, [operation])]


class _Transaction:
    def __init__(self, ledger: "_Ledger") -> None:
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


class _Ledger:
    """The tables. For the inbox's own thread alone."""

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
        user.at = max(user.at, at - at % _DAY)
        self._change(user)
        self._db.execute(
            "INSERT INTO message (user, seq, at, body) VALUES (?, ?, ?, ?)", (user.id, user.seq, at, news.body)
        )
        if user.seq % _TRIM_EVERY == 0:
            self._trim(user)
        return Stored(user.seq, user.epoch, news)

    def open(self, name: str, claim: Claim | None) -> Page:
        user = self._user(name)
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


def _locked(path: Path) -> IO[bytes]:
    """The lock beside the file: two hubs on one inbox would number its messages twice."""
    beside = path.with_name(path.name + ".lock")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.fdopen(os.open(beside, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+b")
    except OSError as exc:
        raise StoreUnwritable(f"{beside}: the hub's inbox cannot be locked ({exc.strerror})") from exc
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        handle.close()
        raise StoreLocked(f"{path}: another hub uses this inbox; stop it or set Hub:InboxPath") from None
    return handle


def _connect(path: Path | None) -> tuple[sqlite3.Connection, bool]:
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
