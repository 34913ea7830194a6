"""Records the ends of attempts: job row and outbox row together, if the job still belongs to its owner."""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, assert_never

from worker.core.failure import Failure, localized_form
from worker.core.job import TRANSITIONS, Job, JobAction
from worker.core.outcome import Attempt, CancelledOutcome, Failed, Outcome, Retry, Succeeded
from worker.core.store import Settlement
from worker.disk.row_statement import RowStatement
from worker.stores.sqlite.attempts import keep_retried
from worker.stores.sqlite.outbox import RunNotification, add_messages
from worker.stores.sqlite.statements import BACKOFF, READY, becomes, can
from worker.stores.sqlite.transaction import BatchConflict, WriteTransaction

_OURS = (
    "FROM {rows} AS ended WHERE jobs.id = ended.column1 AND jobs.owner = ended.column2 "
    f"AND jobs.claims = ended.column3 AND {can(JobAction.SUCCEED)}"
)
"""The jobs that still belong to their owner."""

_SETTLE = RowStatement(
    "UPDATE jobs SET state = ended.column4, lane = ended.column5, "
    "run_at = coalesce(ended.column6, run_at), "
    "finished_at = ended.column7, duration_ms = ended.column8, error_type = ended.column9, error = ended.column10, "
    "error_id = ended.column11, stack_trace = ended.column12, result = ended.column13, suspect = ended.column14 "
    + _OURS,
    width=14,
)

_SUCCEED = RowStatement(
    f"UPDATE jobs SET {becomes(JobAction.SUCCEED)}, lane = NULL, finished_at = ended.column4, "
    "duration_ms = ended.column5, error_type = NULL, error = NULL, error_id = NULL, stack_trace = NULL, "
    "result = ended.column6, suspect = 0 " + _OURS,
    width=6,
)
"""What `_SETTLE` does to a job that succeeded, as most do; with fewer columns it takes a fifth less time."""


ACTIONS: Mapping[type[Outcome], JobAction] = {
    Succeeded: JobAction.SUCCEED,
    Failed: JobAction.FAIL,
    CancelledOutcome: JobAction.END_CANCELLED,
    Retry: JobAction.RETRY,
}
"""What each outcome does to its job. All of them are possible in the same states."""

_STATES = {outcome: TRANSITIONS[action].target.value for outcome, action in ACTIONS.items()}


def settle(transaction: WriteTransaction, calls: Sequence[Sequence[Settlement]]) -> list[list[bool]]:
    """Record the settlements; return for each whether the job still belonged to its owner."""
    settlements = list(chain.from_iterable(calls))
    for settlement in settlements:
        _require_notification(settlement)
    if not transaction.one_by_one:
        _settle_all(transaction, settlements)
        return [[True] * len(call) for call in calls]
    return [[_settle_one(transaction, settlement) for settlement in call] for call in calls]


def _settle_all(transaction: WriteTransaction, settlements: Sequence[Settlement]) -> None:
    now = transaction.clock.now()
    if _update_rows(transaction, settlements, now) != len(settlements):
        raise BatchConflict  # one of them no longer belongs to its owner: find out which
    _write_ends(transaction, settlements, now)


def _settle_one(transaction: WriteTransaction, settlement: Settlement) -> bool:
    now = transaction.clock.now()
    if not _update_rows(transaction, [settlement], now):
        return False
    _write_ends(transaction, [settlement], now)
    return True


def _update_rows(transaction: WriteTransaction, settlements: Sequence[Settlement], now: float) -> int:
    """Update the jobs that still belong to their owner; return how many."""
    succeeded: list[_Row] = []
    others: list[_Row] = []
    for settlement in settlements:
        attempt, outcome = settlement.attempt, settlement.outcome
        fence = (attempt.job.id, attempt.job.owner, attempt.job.claim)
        if isinstance(outcome, Succeeded):
            succeeded.append((*fence, attempt.finished_at, attempt.duration_ms, outcome.result))
        else:
            others.append((*fence, *_columns_after(attempt, outcome, now)))
    return _SUCCEED.run(transaction.connection, succeeded) + _SETTLE.run(transaction.connection, others)


def _require_notification(settlement: Settlement) -> None:
    if (settlement.notification is None) != isinstance(settlement.outcome, Retry):
        raise ValueError("a run that ends has exactly one notification, a retry has none")


_Row = tuple[Any, ...]


def _columns_after(attempt: Attempt, outcome: Failed | CancelledOutcome | Retry, now: float) -> _Row:
    """Return the job's new columns in the order of `_SETTLE`."""
    state = _STATES[outcome.__class__]
    ended = (state, None, None, attempt.finished_at, attempt.duration_ms)
    match outcome:
        case Failed():
            return (*ended, *_columns(outcome.failure), localized_form(outcome.failure), 0)
        case CancelledOutcome():
            return (*ended, *_columns(outcome.failure), None, 0)
        case Retry():
            run_at = outcome.run_at_from(now)
            lane = BACKOFF if run_at > now else READY
            again = (state, lane, run_at, None, attempt.duration_ms)
            return (*again, *_columns(outcome.failure), None, int(outcome.suspect))
        case _:
            assert_never(outcome)


def _columns(failure: Failure) -> tuple[str | None, ...]:
    texts = (failure.type, failure.message, failure.error_id, failure.stack_trace)
    return tuple(None if text is None else _writable(text) for text in texts)


def _writable(text: str) -> str:
    """Escape lone surrogates, as in file names that are not UTF-8: SQLite would reject the text."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _write_ends(transaction: WriteTransaction, settlements: Sequence[Settlement], now: float) -> None:
    """Write the notifications and earlier attempts of settled jobs, and count them."""
    notifications: list[RunNotification] = []
    retried: list[Attempt] = []
    for settlement in settlements:
        attempt, outcome = settlement.attempt, settlement.outcome
        if settlement.notification is not None:
            notifications.append((settlement.notification, attempt.job.run, attempt.finished_at))
        else:
            retried.append(attempt)
        _count_settled(transaction, attempt.job, outcome, now)
    if transaction.waiting.end([settlement.attempt.job.id for settlement in settlements]):
        transaction.counts.work = True
    if retried:
        keep_retried(transaction, retried)
        transaction.queue_again([attempt.job.id for attempt in retried])
    add_messages(transaction, notifications)


def _count_settled(transaction: WriteTransaction, job: Job, outcome: Outcome, now: float) -> None:
    counts = transaction.counts
    transaction.count(ACTIONS[outcome.__class__])
    if isinstance(outcome, Retry):
        transaction.waits_until(outcome.run_at_from(now))
        counts.kinds[job.kind] += 1
        counts.suspects += outcome.suspect
        counts.work = True
    transaction.claim_ended(job)
