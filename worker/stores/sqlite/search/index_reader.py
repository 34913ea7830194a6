"""Reads the search index: which jobs may match, which messages belong to a job or user."""

import contextlib
import sqlite3
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from worker.stores.sqlite.connection import BUSY_SECONDS, Connection
from worker.stores.sqlite.errors import is_temporary
from worker.stores.sqlite.search.index_file import BLOCK, FORMAT, MARK, SHELF, USER, search_of

_Answer = TypeVar("_Answer")

_MOST_WEIGHED = 32
"""Trigrams of a text, spread over it, of which the rarest are searched for."""

_MOST_TRIGRAMS = 6

_SAMPLE = 32
"""Jobs by which it is estimated how rare a trigram is."""

_MOST_PREFIXED = 300
"""Most trigrams that begin with a text of one or two characters; with more, the index is not used for the text."""


class SearchBroken(Exception):
    """The index cannot be read; the store can still be searched without it."""

    def __init__(self, cause: sqlite3.Error) -> None:
        super().__init__(str(cause))
        self.lasting = not is_temporary(cause)
        """Whether the index cannot be used any more."""


@dataclass(frozen=True, slots=True)
class IndexSnapshot:
    """The index as it was when a read transaction began."""

    connection: Connection
    store: str
    """Identifies the store that the index belongs to."""
    up_to: int
    """The id of the last message that is indexed."""

    def _ask(self, statement: str, parameters: Sequence[Any] = ()) -> list[Any]:
        try:
            return self.connection.execute(statement, parameters).fetchall()
        except sqlite3.DatabaseError as exc:
            raise SearchBroken(exc) from exc

    def shelves(self, first: int, below: int) -> list[int]:
        """Return the shelves with jobs whose `seq` is in [first, below), the newest first."""
        rows = self._ask(
            "SELECT number FROM shelves WHERE number BETWEEN ? AND ? ORDER BY number DESC",
            (first // SHELF, (below - 1) // SHELF),
        )
        return [number for (number,) in rows]

    def candidates(self, shelf: int, match: str, first: int, below: int, limit: int) -> list[int]:
        """Return `seq` of matching jobs in [first, below), the highest first."""
        rows = self._ask(
            f"SELECT rowid FROM shelf_{shelf:d} WHERE shelf_{shelf:d} MATCH ? AND rowid >= ? AND rowid < ? "
            "ORDER BY rowid DESC LIMIT ?",
            (match, first, below, limit),
        )
        return [seq for (seq,) in rows]

    def marks(self, field: int, names: Collection[str]) -> str:
        """Return the query for jobs that have one of the names in the field."""
        rows = self._ask(
            f"SELECT {MARK.format(field='field', number='number')} FROM names "
            f"WHERE field = ? AND name IN ({', '.join('?' * len(names))})",
            (field, *names),
        )
        return _any_of([_quoted(mark) for (mark,) in rows] or [_NOWHERE])

    def words(self, shelf: int, variants: Collection[str]) -> str | None:
        """Return the query for jobs that may contain one of the texts; None if the index cannot narrow it."""
        request = [
            self._trigrams(shelf, text) if len(text) > 2 else self._prefix_terms(shelf, text) for text in variants
        ]
        known = [terms for terms in request if terms is not None]
        return _any_of(known) if len(known) == len(request) else None

    def _trigrams(self, shelf: int, text: str) -> str:
        """Return the query for the rarest trigrams of a text: each costs time, and the store confirms the text."""
        starts = range(len(text) - 2)
        step = -(-len(starts) // _MOST_WEIGHED)
        trigrams = dict.fromkeys(text[start : start + 3] for start in (*starts[::step], starts[-1]))
        weighed = sorted((self._weight(shelf, trigram), trigram) for trigram in trigrams)
        if weighed[0][0] == 0:
            return _NOWHERE
        return f"({' AND '.join(_quoted(trigram) for _, trigram in weighed[:_MOST_TRIGRAMS])})"

    def _weight(self, shelf: int, trigram: str) -> float:
        """Return the share of jobs that have the trigram, estimated from the newest ones; 0 if none has it."""
        seqs = self.candidates(shelf, _quoted(trigram), 0, (shelf + 1) * SHELF, _SAMPLE)
        return len(seqs) / (SHELF if len(seqs) < _SAMPLE else seqs[0] - seqs[-1] + 1)

    def _prefix_terms(self, shelf: int, text: str) -> str | None:
        """Return the query for all trigrams that begin with a short text; None if there are too many."""
        if any(not letter.isascii() and letter.lower() != letter.upper() for letter in text):
            return None  # the index folds the case of more letters than LIKE does
        begun = text.lower()
        self._ask(
            f"CREATE VIRTUAL TABLE IF NOT EXISTS temp.terms_{shelf:d} USING fts5vocab(main, shelf_{shelf:d}, row)"
        )
        rows = self._ask(
            f"SELECT term FROM temp.terms_{shelf:d} WHERE term >= ? AND term < ? LIMIT ?",
            (begun, begun + "\U0010ffff", _MOST_PREFIXED + 1),
        )
        if len(rows) > _MOST_PREFIXED:
            return None
        return _any_of([_quoted(term) for (term,) in rows] or [_NOWHERE])

    def created_between(self, since: float | None, until: float | None) -> tuple[int, int]:
        """Return where jobs created in this time can be, as `seq` in [first, below)."""
        first, last = self._ask(
            "SELECT min(number), max(number) FROM blocks WHERE latest >= ? AND earliest < ?",
            (float("-inf") if since is None else since, float("inf") if until is None else until),
        )[0]
        return (0, 0) if first is None else (first * BLOCK, (last + 1) * BLOCK)

    def messages_of_job(self, seq: int, below: int, limit: int) -> list[int]:
        """Return message ids below `below`, the highest first."""
        rows = self._ask(
            "SELECT message FROM told WHERE seq = ? AND message < ? ORDER BY message DESC LIMIT ?", (seq, below, limit)
        )
        return [message for (message,) in rows]

    def messages_of_user(self, user_id: str, below: int, limit: int) -> list[int]:
        """Return message ids below `below`, the highest first."""
        rows = self._ask(
            "SELECT message FROM received WHERE user = (SELECT number FROM names WHERE field = ? AND name = ?) "
            "AND message < ? ORDER BY message DESC LIMIT ?",
            (USER, user_id, below, limit),
        )
        return [message for (message,) in rows]


class SearchFile:
    """The index of a store, for one reading thread. Without an index, or with a broken one, there is no snapshot."""

    def __init__(self, path: Path) -> None:
        """`path` is the store's."""
        self._path = search_of(path)
        self._connection: Connection | None = None
        self._identity: tuple[int, int] | None = None
        self.broken = False
        """The index is not read any more; to be reset when there is a new one."""

    def with_snapshot(self, store: Connection, answer: Callable[[IndexSnapshot | None], _Answer]) -> _Answer:
        """Return the answer from a snapshot of the index and a read transaction of the store, which begins later, so
        that the store is never behind the index. If the index is broken, return the answer without it."""
        try:
            with self.snapshot() as snapshot, _read_transaction(store):
                return answer(snapshot)
        except SearchBroken as exc:
            self.broken = exc.lasting
            self.close()
            with _read_transaction(store):
                return answer(None)

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[IndexSnapshot | None]:
        """Provide a snapshot; None if there is no index."""
        try:
            connection = None if self.broken else self._connected()
            snapshot = None if connection is None else _begin(connection)
        except sqlite3.DatabaseError:
            self.close()
            snapshot = None
        try:
            yield snapshot
        finally:
            if snapshot is not None and snapshot.connection.in_transaction:
                with contextlib.suppress(sqlite3.Error):
                    snapshot.connection.execute("ROLLBACK")

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = self._identity = None

    def _connected(self) -> Connection | None:
        try:
            state = self._path.stat()
        except OSError:
            self.close()
            return None
        if self._identity != (state.st_dev, state.st_ino):  # it was deleted and created again
            self.close()
            self._connection = sqlite3.connect(
                f"{self._path.as_uri()}?mode=ro", uri=True, isolation_level=None, timeout=BUSY_SECONDS
            )
            self._identity = (state.st_dev, state.st_ino)
        return self._connection


def _begin(connection: Connection) -> IndexSnapshot | None:
    connection.execute("BEGIN")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    row = connection.execute("SELECT store, up_to FROM about").fetchone() if version == FORMAT else None
    if row is None:
        connection.execute("ROLLBACK")
        return None
    return IndexSnapshot(connection, *row)


@contextlib.contextmanager
def _read_transaction(store: Connection) -> Iterator[None]:
    store.execute("BEGIN")
    try:
        yield
    finally:
        store.execute("COMMIT")


def _quoted(term: str) -> str:
    """Return the term as a string of the query language, in which only the quote has a meaning."""
    return '"{}"'.format(term.replace('"', '""'))


def _any_of(terms: Collection[str]) -> str:
    return f"({' OR '.join(terms)})"


_NOWHERE = _quoted("\U000fffff" * 3)
"""A query that no job matches."""
