"""What the writer does when jobs are claimed and released. The row in PgQueuer's queue is a running job's ticket."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from worker.core.claim_rules import ClaimRules
from worker.core.job import Job, JobAction
from worker.core.store import ClaimResult
from worker.stores.postgres.limits import read_usage
from worker.stores.postgres.liveness import FRESH_SECONDS, show_life
from worker.stores.postgres.texts import from_database, to_database
from worker.stores.postgres.transaction import WriteTransaction
from worker.stores.postgres.turns import LOCK, Chosen, Excluded, candidates, follow_owners, note_turns
from worker.stores.postgres.waiting import issue_tickets

_LOOK = """
    SELECT (SELECT min(wait_at) FROM jobs WHERE wait_at IS NOT NULL),
        EXISTS (SELECT FROM jobs WHERE suspect AND state = 'queued'),
        ARRAY(SELECT kind FROM pauses),
        EXISTS (SELECT FROM workers WHERE owner = $1 AND seen_at > now() - make_interval(secs => $2))
"""
_AGAIN_SECONDS = 1.0
"""After which a worker that others have forgotten claims again: it enters itself with its next sign of life."""

SEQ = "convert_from(pgqueuer.payload, 'UTF8')::bigint"
"""The job of a ticket."""

_MOST_PORTIONS = 4
"""Portions of new owners that a claim reads while it finds no job that may go: about a second, in which others wait."""

JOB = (
    "jobs.id, jobs.kind, jobs.user_id, jobs.payload, run, attempt, max_attempts, created_at, owner, claims, suspect, "
    "cancel_requested, crashes"
)

# What PgQueuer's dequeue does to a ticket, for tickets that were chosen by turns instead of by age.
_CLAIM = f"""
    WITH picked AS MATERIALIZED (
        SELECT * FROM unnest($1::bigint[], $2::bigint[]) WITH ORDINALITY AS picked(seq, ticket, place)
    ), taken AS (
        DELETE FROM ready USING picked WHERE ready.seq = picked.seq
    ), tickets AS (
        UPDATE pgqueuer SET status = 'picked', updated = now(), heartbeat = now(), queue_manager_id = $5::text::uuid
        FROM picked WHERE pgqueuer.id = picked.ticket
    )
    UPDATE jobs SET state = 'running', attempt = attempt + 1, claims = claims + 1, owner = $3, started_at = $4,
        ticket = picked.ticket
    FROM picked WHERE jobs.seq = picked.seq AND state = 'queued' RETURNING place, {JOB}
"""


async def claim(transaction: WriteTransaction, calls: Sequence[int]) -> list[ClaimResult]:
    """Claim for all callers at once; the first jobs go to the first caller."""
    await transaction.budget.require(transaction.connection, 0)
    wanted = [max(limit, 0) for limit in calls]
    jobs, next_run_at = await _take_due(transaction, sum(wanted))
    rest = iter(jobs)
    return [ClaimResult(list(islice(rest, limit)), next_run_at) for limit in wanted]


async def _take_due(transaction: WriteTransaction, limit: int) -> tuple[list[Job], float | None]:
    counts, connection = transaction.counts, transaction.connection
    if counts.suspect_held:
        return [], None
    now = transaction.clock.now()
    await connection.execute(LOCK)
    look = await connection.fetchrow(_LOOK, transaction.owner, FRESH_SECONDS)
    later, counts.suspects_wait, paused, is_fresh = look
    # This worker was suspended, or cut off: without a sign of life, others would take its new jobs for a dead one's.
    if not is_fresh and not await show_life(connection, transaction.owner):
        return [], now + _AGAIN_SECONDS
    if later is not None and later <= now:
        await issue_tickets(transaction, now)
        later = await connection.fetchval("SELECT min(wait_at) FROM jobs WHERE wait_at IS NOT NULL")
    unread = await follow_owners(transaction)
    usage = await read_usage(connection, transaction.rules, now)
    excluded = Excluded.of(transaction.rules, paused, usage)
    jobs: list[Job] = []
    more, portions = True, 1
    while more or (unread and not jobs and portions < _MOST_PORTIONS):
        if not more:
            unread = await follow_owners(transaction)
            portions += 1
        # One more than may go: it tells whether others wait.
        missing = limit - len(jobs) + 1
        found, more = await candidates(transaction, excluded, usage, missing)
        going, held_back = _allowed(transaction, found[: missing - 1])
        if going:
            await note_turns(transaction, found[:going], usage)
            jobs += await _claim_jobs(transaction, found[:going], now)
        if held_back:
            return jobs, None
        if len(found) >= missing:
            # Its time to the millisecond, as the ticket has it; due even if the clock was set back behind it.
            return jobs, min((found[going].ticket >> 20) / 1000, now)
    times = [None if later is None else max(later, now), usage.reopens_at() if excluded.is_held_by_limits else None]
    times.append(now if unread else None)
    return jobs, min((time for time in times if time is not None), default=None)


def _allowed(transaction: WriteTransaction, found: Sequence[Chosen]) -> tuple[int, bool]:
    """Return how many of the jobs may be claimed, in order, and whether a suspect holds the others back."""
    first = next((place for place, one in enumerate(found) if one.suspect), None)
    if first is None:
        return len(found), False
    return (1 if first == 0 and not transaction.counts.held else first), True


async def _claim_jobs(transaction: WriteTransaction, chosen: Sequence[Chosen], now: float) -> list[Job]:
    rows = await transaction.connection.fetch(
        _CLAIM,
        [one.seq for one in chosen],
        [one.ticket for one in chosen],
        transaction.owner,
        now,
        transaction.manager,
    )
    jobs = []
    for row in sorted(rows, key=lambda row: row[0]):
        transaction.count(row["kind"], JobAction.CLAIM)
        jobs.append(job_of(row, 1))
    transaction.counts.held += len(jobs)
    transaction.counts.suspect_held = bool(jobs and jobs[0].suspect)
    return jobs


def job_of(row: Any, first: int = 0) -> Job:
    """Return the job of a row whose columns are JOB, from column `first` on."""
    job_id, kind, user_id, payload, *rest = tuple(row)[first:]
    return Job(from_database(job_id), from_database(kind), from_database(user_id), payload.encode(), *rest)


async def use_rules(transaction: WriteTransaction, calls: Sequence[ClaimRules]) -> list[None]:
    """Claim and accept by other rules from now on."""
    transaction.rules = calls[-1]
    kinds = transaction.rules.kinds
    await transaction.connection.execute(
        "UPDATE workers SET kinds = $2 WHERE owner = $1",
        transaction.owner,
        None if kinds is None else sorted(map(to_database, kinds)),
    )
    transaction.counts.work = True
    return [None for _ in calls]


# -- releasing ---------------------------------------------------------------------------------------------

_RELEASE = """
    WITH released AS (
        UPDATE jobs SET state = 'queued', attempt = greatest(attempt - 1, 0), suspect = jobs.suspect OR given.suspect,
            crashes = crashes + given.crashed::int, owner = NULL, started_at = NULL
        FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bool[], $5::bool[]) WITH ORDINALITY
            AS given(id, owner, claim, suspect, crashed, place)
        WHERE jobs.id = given.id AND jobs.owner = given.owner AND jobs.claims = given.claim AND state = 'running'
        RETURNING place, jobs.seq, kind, user_id, priority, organization, submitter, ticket
    ), tickets AS (
        UPDATE pgqueuer SET status = 'queued', queue_manager_id = NULL, slot = NULL, updated = now()
        FROM released WHERE pgqueuer.id = released.ticket
    ), ready_again AS (
        INSERT INTO ready (seq, rank, organization, user_id, ticket, kind, submitter)
        SELECT seq, -priority, coalesce('=' || organization, ''), '=' || user_id, ticket, kind, submitter
        FROM released
    )
    SELECT place, kind FROM released
"""


@dataclass(frozen=True, slots=True)
class Release:
    """A request to release jobs."""

    jobs: Sequence[Job]
    suspect: bool = False
    crashed: bool = False


async def release(transaction: WriteTransaction, calls: Sequence[Release]) -> list[None]:
    """Release jobs to the place they had: their tickets stay, so they are the oldest again."""
    jobs = [(job, call) for call in calls for job in call.jobs]
    rows = await transaction.connection.fetch(
        _RELEASE,
        [to_database(job.id) for job, _ in jobs],
        [job.owner for job, _ in jobs],
        [job.claim for job, _ in jobs],
        [call.suspect for _, call in jobs],
        [call.crashed for _, call in jobs],
    )
    for place, kind in rows:
        job, _ = jobs[place - 1]
        transaction.count(kind, JobAction.RELEASE)
        transaction.let_go(job.owner)
    if rows:
        transaction.wake()
    return [None for _ in calls]
