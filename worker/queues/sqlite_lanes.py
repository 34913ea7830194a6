"""What the writer does before a claim: bring into the ready lane what belongs there, and out of it what is paused.

Nothing is moved when its time comes, or when somebody pauses a kind: the next claim does it, a bounded number at a
time, so that neither costs the writer more the more jobs wait.
"""

import math
from collections.abc import Sequence

from worker.queues.sqlite_ledger import Ledger
from worker.queues.sqlite_schema import BACKOFF, PAUSED, READY, SCHEDULED, json_list

_MOST = 1000
"""Jobs moved in one go, about 5 ms."""

_ROUNDS = 4
"""How often one claim looks for jobs of paused kinds before it leaves the rest to the next."""


def fill_ready(ledger: Ledger, now: float, limit: int) -> int:
    """Make the ready lane what a claim of `limit` jobs may take from; how many it may take of them."""
    _bring_due(ledger, now)
    if ledger.counts.resumed:
        _bring_back(ledger)
    return _set_aside(ledger, limit) if ledger.counts.pauses else limit


# -- jobs whose time has come --------------------------------------------------------------------------------

_LATER = f"""
    SELECT (SELECT min(run_at) FROM jobs WHERE lane = {SCHEDULED} AND rank = 0),
           (SELECT min(run_at) FROM jobs WHERE lane = {BACKOFF} AND rank = 0)
"""  # noqa: S608 -- put together from constants

_BRING_DUE = f"""
    UPDATE jobs SET lane = {READY}, rank = -priority WHERE seq IN (
        SELECT seq FROM jobs WHERE lane = ? AND rank = 0 AND run_at <= ? ORDER BY run_at LIMIT {_MOST})
"""  # noqa: S608


def later(ledger: Ledger) -> float | None:
    """When the first job falls due that is not in the ready lane yet; None: no job waits for a time."""
    counts = ledger.counts
    if counts.later == -math.inf:
        times = [run_at for run_at in ledger.connection.execute(_LATER).fetchone() if run_at is not None]
        counts.later = min(times, default=math.inf)
    return None if counts.later == math.inf else counts.later


def _bring_due(ledger: Ledger, now: float) -> None:
    first = later(ledger)
    if first is not None and first <= now:
        for lane in (SCHEDULED, BACKOFF):
            ledger.connection.execute(_BRING_DUE, (lane, now))
        ledger.counts.later = -math.inf


# -- kinds that are paused -----------------------------------------------------------------------------------

_HEAD = f"SELECT seq, kind FROM jobs WHERE lane = {READY} ORDER BY rank, run_at, seq LIMIT ?"  # noqa: S608

_BRING_BACK = f"""
    UPDATE jobs SET lane = {READY}, rank = -priority WHERE seq IN (
        SELECT seq FROM jobs WHERE lane = {PAUSED} AND rank = ? ORDER BY run_at LIMIT {_MOST})
"""  # noqa: S608


def _set_aside(ledger: Ledger, limit: int) -> int:
    look = limit
    for _ in range(_ROUNDS):
        by_pause: dict[int, list[int]] = {}
        for seq, kind in ledger.connection.execute(_HEAD, (look,)):
            if (number := ledger.counts.pauses.get(kind)) is not None:
                by_pause.setdefault(number, []).append(seq)
        if not by_pause:
            return limit
        for number, seqs in by_pause.items():
            ledger.connection.execute(
                f"UPDATE jobs SET lane = {PAUSED}, rank = ? "  # noqa: S608
                "WHERE seq IN (SELECT value FROM json_each(?))",
                (number, json_list(seqs)),
            )
        look = max(limit, _MOST)
    return 0  # there are more: the next claim, which comes at once, goes on


def _bring_back(ledger: Ledger) -> None:
    """Jobs of kinds that were resumed."""
    counts = ledger.counts
    for number in counts.resumed:
        if ledger.connection.execute(_BRING_BACK, (number,)).rowcount < _MOST:
            counts.resumed = counts.resumed - {number}


def pause(ledger: Ledger, calls: Sequence[str]) -> list[None]:
    for kind in calls:
        if kind not in ledger.counts.pauses:
            (number,) = ledger.connection.execute(
                "INSERT INTO pauses (kind, at) VALUES (?, ?) RETURNING number", (kind, ledger.clock.now())
            ).fetchone()
            ledger.counts.pauses = {**ledger.counts.pauses, kind: number}
    return [None for _ in calls]


def resume(ledger: Ledger, calls: Sequence[str]) -> list[None]:
    counts = ledger.counts
    for kind in calls:
        if (number := counts.pauses.get(kind)) is not None:
            ledger.connection.execute("DELETE FROM pauses WHERE number = ?", (number,))
            counts.pauses = {other: its for other, its in counts.pauses.items() if other != kind}
            counts.resumed = counts.resumed | {number}
            counts.work = True
    return [None for _ in calls]
