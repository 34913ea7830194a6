"""What the writer does when attempts end: job row and outbox row together, if the job is still its owner's."""

from collections.abc import Sequence
from itertools import chain
from typing import Any, assert_never

from worker.failure import Failure
from worker.job import Job
from worker.outcome import Attempt, Cancelled, Failed, Outcome, Retry, Succeeded
from worker.queue import Settlement
from worker.queues.sqlite_history import keep_retried
from worker.queues.sqlite_ledger import Ledger, OneByOne
from worker.queues.sqlite_outbox import News, put
from worker.queues.sqlite_schema import BACKOFF, READY, RowStatement

_SETTLE = RowStatement(
    # A lane of 0 is the ready one, the only one with ranks of its own.
    "UPDATE jobs SET state = ended.column4, lane = ended.column5, "
    "rank = CASE ended.column5 WHEN 0 THEN -priority ELSE 0 END, run_at = coalesce(ended.column6, run_at), "
    "finished_at = ended.column7, duration_ms = ended.column8, error_type = ended.column9, error = ended.column10, "
    "error_id = ended.column11, stack_trace = ended.column12, result = ended.column13, suspect = ended.column14 "
    "FROM {rows} AS ended WHERE jobs.id = ended.column1 AND jobs.owner = ended.column2 "
    "AND jobs.claims = ended.column3 AND jobs.state = 'running'",
    width=14,
)


def settle(ledger: Ledger, calls: Sequence[Sequence[Settlement]]) -> list[list[bool]]:
    settlements = list(chain.from_iterable(calls))
    for settlement in settlements:
        _require_news(settlement)
    if not ledger.alone:
        _settle_all(ledger, settlements)
        return [[True] * len(call) for call in calls]
    return [[_settle_one(ledger, settlement) for settlement in call] for call in calls]


def _settle_all(ledger: Ledger, settlements: Sequence[Settlement]) -> None:
    now = ledger.clock.now()
    rows = [_settled_row(settlement, now) for settlement in settlements]
    if _SETTLE.run(ledger.connection, rows) != len(rows):
        raise OneByOne  # one of them is not its owner's any more: find out which
    _conclude(ledger, settlements)


def _settle_one(ledger: Ledger, settlement: Settlement) -> bool:
    if not _SETTLE.run(ledger.connection, [_settled_row(settlement, ledger.clock.now())]):
        return False
    _conclude(ledger, [settlement])
    return True


def _require_news(settlement: Settlement) -> None:
    if (settlement.notification is None) != isinstance(settlement.outcome, Retry):
        raise ValueError("a run that ends has exactly one notification, a retry has none")


_Row = tuple[Any, ...]


def _settled_row(settlement: Settlement, now: float) -> _Row:
    """What the attempt leaves behind, after the three columns that fence it."""
    attempt, outcome = settlement.attempt, settlement.outcome
    fence = (attempt.job.id, attempt.job.owner, attempt.job.claim)
    ended = (None, None, attempt.finished_at, attempt.duration_ms)
    match outcome:
        case Succeeded():
            return (*fence, "succeeded", *ended, None, None, None, None, outcome.result, 0)
        case Failed():
            return (*fence, "failed", *ended, *_columns(outcome.failure), None, 0)
        case Cancelled():
            return (*fence, "cancelled", *ended, *_columns(outcome.failure), None, 0)
        case Retry():
            lane = BACKOFF if outcome.run_at > now else READY
            again = (lane, outcome.run_at, None, attempt.duration_ms)
            return (*fence, "queued", *again, *_columns(outcome.failure), None, int(outcome.suspect))
        case _:
            assert_never(outcome)


def _columns(failure: Failure) -> tuple[str | None, ...]:
    texts = (failure.type, failure.message, failure.error_id, failure.stack_trace)
    return tuple(None if text is None else _writable(text) for text in texts)


def _writable(text: str) -> str:
    """Half a surrogate pair, as file names may bring along, must not keep a job from ending."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _conclude(ledger: Ledger, settlements: Sequence[Settlement]) -> None:
    """The news of what was settled, and the counts."""
    news: list[News] = []
    retried: list[Attempt] = []
    for settlement in settlements:
        attempt, outcome = settlement.attempt, settlement.outcome
        if settlement.notification is not None:
            news.append((settlement.notification, attempt.job.run, attempt.finished_at))
        else:
            retried.append(attempt)
        _count_settled(ledger, attempt.job, outcome)
    if retried:
        keep_retried(ledger, retried)
    put(ledger, news)


def _count_settled(ledger: Ledger, job: Job, outcome: Outcome) -> None:
    counts = ledger.counts
    counts.jobs["running"] -= 1
    match outcome:
        case Succeeded():
            counts.jobs["succeeded"] += 1
        case Failed():
            counts.jobs["failed"] += 1
        case Cancelled():
            counts.jobs["cancelled"] += 1
        case Retry():
            ledger.wait_until(outcome.run_at)
            counts.jobs["queued"] += 1
            counts.kinds[job.kind] += 1
            counts.suspects += outcome.suspect
            counts.work = True
    ledger.let_go(job.owner)
