"""Asks the search index: which jobs may be meant, which messages are whose. Reads, and believes nothing it reads."""

import contextlib
import sqlite3
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from worker.queues.sqlite_errors import passing
from worker.queues.sqlite_schema import BUSY_SECONDS, Connection
from worker.queues.sqlite_search import BLOCK, FORMAT, MARK, SHELF, USER, search_of

_Answer = TypeVar("_Answer")

_MOST_WEIGHED = 32
"""Trigrams of a text, spread over it, of which the rarest are asked for."""

_MOST_ASKED = 6

_SAMPLE = 32
"""Places by which it is estimated how rare a trigram is."""

_MOST_BEGUN = 300
"""Trigrams that begin with a text of one or two characters; where there are more, every job is looked at."""


class SearchBroken(Exception):
    """The index cannot be read; the store can."""

    def __init__(self, cause: sqlite3.Error) -> None:
        super().__init__(str(cause))
        self.lasting = not passing(cause)
        """It is of no use any more."""


@dataclass(frozen=True, slots=True)
class Look:
    """The index at one moment."""

    connection: Connection
    store: str
    """Whose index it is."""
    up_to: int
    """The last message of which it knows."""

    def _ask(self, statement: str, parameters: Sequence[Any] = ()) -> list[Any]:
        try:
            return self.connection.execute(statement, parameters).fetchall()
        except sqlite3.DatabaseError as exc:
            raise SearchBroken(exc) from exc

    def shelves(self, first: int, below: int) -> list[int]:
        """Those with jobs of which `seq` lies in [first, below), the newest first."""
        rows = self._ask(
            "SELECT number FROM shelves WHERE number BETWEEN ? AND ? ORDER BY number DESC",
            (first // SHELF, (below - 1) // SHELF),
        )
        return [number for (number,) in rows]

    def candidates(self, shelf: int, match: str, first: int, below: int, limit: int) -> list[int]:
        """`seq` in [first, below), falling."""
        rows = self._ask(
            f"SELECT rowid FROM shelf_{shelf:d} WHERE shelf_{shelf:d} MATCH ? AND rowid >= ? AND rowid < ? "  # noqa: S608
            "ORDER BY rowid DESC LIMIT ?",
            (match, first, below, limit),
        )
        return [seq for (seq,) in rows]

    def marks(self, field: int, names: Collection[str]) -> str:
        """What asks for jobs that have one of the names."""
        rows = self._ask(
            f"SELECT {MARK.format(field='field', number='number')} FROM names "  # noqa: S608
            f"WHERE field = ? AND name IN ({', '.join('?' * len(names))})",
            (field, *names),
        )
        return _any_of([_quoted(mark) for (mark,) in rows] or [_NOWHERE])

    def words(self, shelf: int, variants: Collection[str]) -> str | None:
        """What asks a shelf for jobs that may hold one of the texts; None: it cannot tell which."""
        asked = [self._trigrams(shelf, text) if len(text) > 2 else self._begun(shelf, text) for text in variants]
        known = [terms for terms in asked if terms is not None]
        return _any_of(known) if len(known) == len(asked) else None

    def _trigrams(self, shelf: int, text: str) -> str:
        """The rarest of them: each further one costs a look at every place, and the store has the last word anyway."""
        starts = range(len(text) - 2)
        step = -(-len(starts) // _MOST_WEIGHED)
        trigrams = dict.fromkeys(text[start : start + 3] for start in (*starts[::step], starts[-1]))
        weighed = sorted((self._weight(shelf, trigram), trigram) for trigram in trigrams)
        if weighed[0][0] == 0:
            return _NOWHERE
        return f"({' AND '.join(_quoted(trigram) for _, trigram in weighed[:_MOST_ASKED])})"

    def _weight(self, shelf: int, trigram: str) -> float:
        """The share of the places that have it, by the newest of those that do; 0: none has."""
        seqs = self.candidates(shelf, _quoted(trigram), 0, (shelf + 1) * SHELF, _SAMPLE)
        return len(seqs) / (SHELF if len(seqs) < _SAMPLE else seqs[0] - seqs[-1] + 1)

    def _begun(self, shelf: int, text: str) -> str | None:
        """Trigrams that begin with a short text; the index has a row for each."""
        if any(not letter.isascii() and letter.lower() != letter.upper() for letter in text):
            return None  # the index folds more letters than LIKE does, and in a way of its own
        begun = text.lower()
        self._ask(
            f"CREATE VIRTUAL TABLE IF NOT EXISTS temp.terms_{shelf:d} USING fts5vocab(main, shelf_{shelf:d}, row)"
        )
        rows = self._ask(
            f"SELECT term FROM temp.terms_{shelf:d} WHERE term >= ? AND term < ? LIMIT ?",  # noqa: S608
            (begun, begun + "\U0010ffff", _MOST_BEGUN + 1),
        )
        if len(rows) > _MOST_BEGUN:
            return None
        return _any_of([_quoted(term) for (term,) in rows] or [_NOWHERE])

    def created_between(self, since: float | None, until: float | None) -> tuple[int, int]:
        """Where such jobs can lie, as `seq` in [first, below)."""
        first, last = self._ask(
            "SELECT min(number), max(number) FROM blocks WHERE latest >= ? AND earliest < ?",
            (float("-inf") if since is None else since, float("inf") if until is None else until),
        )[0]
        return (0, 0) if first is None else (first * BLOCK, (last + 1) * BLOCK)

    def messages_of_job(self, seq: int, below: int, limit: int) -> list[int]:
        """Message ids below `below`, falling."""
        rows = self._ask(
            "SELECT message FROM told WHERE seq = ? AND message < ? ORDER BY message DESC LIMIT ?", (seq, below, limit)
        )
        return [message for (message,) in rows]

    def messages_of_user(self, user_id: str, below: int, limit: int) -> list[int]:
        """Message ids below `below`, falling."""
        rows = self._ask(
            "SELECT message FROM received WHERE user = (SELECT number FROM names WHERE field = ? AND name = ?) "
            "AND message < ? ORDER BY message DESC LIMIT ?",
            (USER, user_id, below, limit),
        )
        return [message for (message,) in rows]


class SearchFile:
    """The index of a store, for one reading thread. Where there is none, or it is broken, there is nothing to see."""

    def __init__(self, path: Path) -> None:
        """`path` is the store's."""
        self._path = search_of(path)
        self._connection: Connection | None = None
        self._identity: tuple[int, int] | None = None
        self.broken = False
        """It is not looked at any more; set it back when there is another one."""

    def beside(self, store: Connection, answer: Callable[[Look | None], _Answer]) -> _Answer:
        """The answer from one moment of the index and one of the store, that of the index first: so the store is never
        behind. Without the index, where that is broken."""
        try:
            with self.look() as look, _moment(store):
                return answer(look)
        except SearchBroken as exc:
            self.broken = exc.lasting
            self.close()
            with _moment(store):
                return answer(None)

    @contextlib.contextmanager
    def look(self) -> Iterator[Look | None]:
        """None: there is no index."""
        try:
            connection = None if self.broken else self._opened()
            look = None if connection is None else _begin(connection)
        except sqlite3.DatabaseError:
            self.close()
            look = None
        try:
            yield look
        finally:
            if look is not None and look.connection.in_transaction:
                with contextlib.suppress(sqlite3.Error):
                    look.connection.execute("ROLLBACK")

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = self._identity = None

    def _opened(self) -> Connection | None:
        try:
            state = self._path.stat()
        except OSError:
            self.close()
            return None
        if self._identity != (state.st_dev, state.st_ino):  # it was thrown away and begun anew
            self.close()
            self._connection = sqlite3.connect(
                f"{self._path.as_uri()}?mode=ro", uri=True, isolation_level=None, timeout=BUSY_SECONDS
            )
            self._identity = (state.st_dev, state.st_ino)
        return self._connection


def _begin(connection: Connection) -> Look | None:
    connection.execute("BEGIN")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    row = connection.execute("SELECT store, up_to FROM about").fetchone() if version == FORMAT else None
    if row is None:
        connection.execute("ROLLBACK")
        return None
    return Look(connection, *row)


@contextlib.contextmanager
def _moment(store: Connection) -> Iterator[None]:
    store.execute("BEGIN")
    try:
        yield
    finally:
        store.execute("COMMIT")


def _quoted(term: str) -> str:
    """As a string of the query language, in which no character has a meaning but the quote itself."""
    return '"{}"'.format(term.replace('"', '""'))


def _any_of(terms: Collection[str]) -> str:
    return f"({' OR '.join(terms)})"


_NOWHERE = _quoted("\U000fffff" * 3)
"""Asks for what no job has."""
