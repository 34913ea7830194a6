"""Moves jobs that have become due into the ready lane, and pauses kinds.

No job is moved when its time comes: the next claim does it, a bounded number at a time, so that the cost does not grow
with the number of waiting jobs. Pausing a kind moves nothing: the lines of its jobs have no turn.
"""

import math
from collections.abc import Sequence

import orjson

from worker.core.claim_rules import ClaimRules
from worker.stores.sqlite.statements import BACKOFF, READY, SCHEDULED
from worker.stores.sqlite.transaction import WriteTransaction

_MOST = 1000
"""Jobs moved by one statement; about 5 ms."""

_LATER = f"""
    SELECT (SELECT min(run_at) FROM jobs WHERE lane = {SCHEDULED}),
           (SELECT min(run_at) FROM jobs WHERE lane = {BACKOFF})
"""

_DUE = f"""
    SELECT json_group_array(seq), json_group_array(json_array(line, format('%!.17g', run_at), seq)) FROM (
        SELECT seq, line, run_at FROM jobs WHERE lane = ? AND run_at <= ? ORDER BY run_at LIMIT {_MOST})
"""

_MOVE = f"UPDATE jobs SET lane = {READY}, rank = -priority WHERE seq IN (SELECT value FROM json_each(?))"


def later(transaction: WriteTransaction) -> float | None:
    """Return when the first job outside the ready lane becomes due (wall clock); None if no job waits for a time."""
    counts = transaction.counts
    if counts.later == -math.inf:
        times = [run_at for run_at in transaction.connection.execute(_LATER).fetchone() if run_at is not None]
        counts.later = min(times, default=math.inf)
    return None if counts.later == math.inf else counts.later


def move_due(transaction: WriteTransaction, now: float) -> None:
    """Move jobs whose time has come into the ready lane."""
    first = later(transaction)
    if first is None or first > now:
        return
    for lane in (SCHEDULED, BACKOFF):
        seqs, heads = transaction.connection.execute(_DUE, (lane, now)).fetchone()
        transaction.connection.execute(_MOVE, (seqs,))
        lines = transaction.waiting.by_id
        transaction.waiting.become_due(
            [(lines[line], (float(run_at), seq)) for line, run_at, seq in orjson.loads(heads)]
        )
    transaction.counts.later = -math.inf


def pause(transaction: WriteTransaction, calls: Sequence[str]) -> list[None]:
    kinds = set(calls) - transaction.counts.pauses
    for kind in kinds:
        transaction.connection.execute("INSERT INTO pauses (kind, at) VALUES (?, ?)", (kind, transaction.clock.now()))
    transaction.use_pauses(transaction.counts.pauses | kinds)
    return [None for _ in calls]


def resume(transaction: WriteTransaction, calls: Sequence[str]) -> list[None]:
    kinds = transaction.counts.pauses & set(calls)
    for kind in kinds:
        transaction.connection.execute("DELETE FROM pauses WHERE kind = ?", (kind,))
        transaction.counts.work = True
    transaction.use_pauses(transaction.counts.pauses - kinds)
    return [None for _ in calls]


def use_rules(transaction: WriteTransaction, calls: Sequence[ClaimRules]) -> list[None]:
    transaction.waiting.use(calls[-1], transaction.counts.pauses)
    transaction.recount_bytes()
    transaction.counts.work = True
    return [None for _ in calls]
