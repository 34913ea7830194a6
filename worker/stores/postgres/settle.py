"""What the writer does when attempts end: job row and outbox row together, if the owner still holds the job."""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from worker.core.failure import Failure, localized_form
from worker.core.job import TRANSITIONS, JobAction
from worker.core.outcome import CancelledOutcome, Failed, Outcome, Retry, Succeeded
from worker.core.store import Settlement
from worker.stores.postgres.attempts import keep_retried
from worker.stores.postgres.budget import MESSAGE_BYTES
from worker.stores.postgres.outbox import RunNotification, add_messages
from worker.stores.postgres.texts import to_database, writable
from worker.stores.postgres.transaction import WriteTransaction
from worker.stores.postgres.wall_clock import remember

_SETTLE = """
    UPDATE jobs SET state = ended.state, run_at = coalesce(ended.run_at, jobs.run_at), wait_at = ended.wait_at,
        backs_off = coalesce(ended.wait_at > '-infinity', false), finished_at = ended.finished_at,
        duration_ms = ended.duration_ms, error_type = ended.error_type, error = ended.error, error_id = ended.error_id,
        stack_trace = ended.stack_trace, result = ended.result, suspect = ended.suspect,
        unlucky = CASE WHEN ended.state IN ('failed', 'cancelled') THEN ended.state END,
        bytes = jobs.bytes + ended.bytes
    FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::float8[], $6::float8[], $7::float8[],
        $8::float8[], $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::bool[], $15::bigint[])
        WITH ORDINALITY AS ended(id, owner, claim, state, run_at, wait_at, finished_at, duration_ms, error_type, error,
            error_id, stack_trace, result, suspect, bytes, place)
    WHERE jobs.id = ended.id AND jobs.owner = ended.owner AND jobs.claims = ended.claim AND jobs.state = 'running'
    RETURNING place, seq, kind, ticket
"""
"""The row is locked by the UPDATE, and the fence (owner, claim) checked on what it then is."""

_UNTIL_DUE = float("-inf")

ACTIONS: Mapping[type[Outcome], JobAction] = {
    Succeeded: JobAction.SUCCEED,
    Failed: JobAction.FAIL,
    CancelledOutcome: JobAction.END_CANCELLED,
    Retry: JobAction.RETRY,
}
"""What each outcome does to its job. All of them are possible in the same states."""

_STATES = {outcome: TRANSITIONS[action].target.value for outcome, action in ACTIONS.items()}
_LOGGED = {Succeeded: "successful", Failed: "exception", CancelledOutcome: "canceled", Retry: "exception"}
"""How PgQueuer's log names the outcomes."""


async def settle(transaction: WriteTransaction, calls: Sequence[Sequence[Settlement]]) -> list[list[bool]]:
    """Record outcomes and notifications; return for each settlement whether the job was still its owner's."""
    settlements = list(chain.from_iterable(calls))
    for settlement in settlements:
        _require_notification(settlement)
    answers: list[bool] = []
    for group in _without_repetitions(settlements):
        answers += await _settle_all(transaction, group)
    rest = iter(answers)
    return [[next(rest) for _ in call] for call in calls]


def _require_notification(settlement: Settlement) -> None:
    if (settlement.notification is None) != isinstance(settlement.outcome, Retry):
        raise ValueError("a run that ends has exactly one notification, a retry has none")


def _without_repetitions(settlements: Sequence[Settlement]) -> list[list[Settlement]]:
    """Split the settlements so that no statement is about a job twice: the first to settle it wins."""
    groups: list[list[Settlement]] = [[]]
    seen: set[str] = set()
    for settlement in settlements:
        if settlement.attempt.job.id in seen:
            groups.append([])
            seen.clear()
        seen.add(settlement.attempt.job.id)
        groups[-1].append(settlement)
    return groups


async def _settle_all(transaction: WriteTransaction, settlements: Sequence[Settlement]) -> list[bool]:
    if not settlements:
        return []
    now = transaction.clock.now()
    columns = list(zip(*(_row(settlement, now) for settlement in settlements), strict=True))
    rows = sorted(await transaction.connection.fetch(_SETTLE, *map(list, columns)))
    if rows:
        await _conclude(transaction, [settlements[row["place"] - 1] for row in rows], rows)
    ours = {row["place"] for row in rows}
    return [place in ours for place in range(1, len(settlements) + 1)]


def _row(settlement: Settlement, now: float) -> tuple[Any, ...]:
    attempt, outcome = settlement.attempt, settlement.outcome
    job = attempt.job
    fence = (to_database(job.id), job.owner, job.claim, _STATES[outcome.__class__])
    failure: Failure | None = None if isinstance(outcome, Succeeded) else outcome.failure
    result = outcome.result if isinstance(outcome, Succeeded) else None
    if isinstance(outcome, Failed):
        result = localized_form(outcome.failure)
    texts = _texts(failure)
    size = sum(len(text) for text in texts if text) + len(result or b"")
    result_text = None if result is None else result.decode()
    if isinstance(outcome, Retry):
        run_at = outcome.run_at_from(now)
        wait_at = run_at if run_at > now else _UNTIL_DUE
        times = (run_at, wait_at, None, attempt.duration_ms)
        return (*fence, *times, *texts, result_text, outcome.suspect, size)
    assert settlement.notification is not None
    size += MESSAGE_BYTES + len(settlement.notification.head)
    return (*fence, None, None, attempt.finished_at, attempt.duration_ms, *texts, result_text, False, size)


def _texts(failure: Failure | None) -> tuple[str | None, ...]:
    if failure is None:
        return (None, None, None, None)
    return tuple(map(writable, (failure.type, failure.message, failure.error_id, failure.stack_trace)))


async def _conclude(transaction: WriteTransaction, settlements: Sequence[Settlement], rows: Sequence[Any]) -> None:
    """Write the notifications of what was settled, take the tickets back, and count."""
    news: list[RunNotification] = []
    retried: list[tuple[int, float]] = []
    now = transaction.clock.now()
    for settlement, row in zip(settlements, rows, strict=True):
        attempt, outcome = settlement.attempt, settlement.outcome
        if settlement.notification is not None:
            news.append((settlement.notification, attempt.job.run, attempt.finished_at))
        else:
            retried.append((row["seq"], attempt.finished_at))
        transaction.count(row["kind"], ACTIONS[outcome.__class__])
        transaction.counts.changes[row["kind"], "bytes"] += _row(settlement, now)[-1]
        transaction.let_go(attempt.job.owner)
    tickets = [row["ticket"] for row in rows]
    logged = [_LOGGED[settlement.outcome.__class__] for settlement in settlements]
    await transaction.connection.execute(transaction.tickets.finish, tickets, logged, [None] * len(tickets))
    if retried:
        await keep_retried(transaction, retried)
        await remember(transaction.connection, now)
        transaction.wake()
    await add_messages(transaction, news)
