"""What the writer does for intake: a row for each job whose key is new, and a ticket for each that is due."""

from collections.abc import Iterable, Sequence
from itertools import chain, islice

from worker.core.job import JobState, NewJob
from worker.core.store import EnqueueResult
from worker.stores.postgres.budget import ROW_BYTES
from worker.stores.postgres.limits import require_places
from worker.stores.postgres.texts import from_database, optional_to_database, to_database
from worker.stores.postgres.transaction import WriteTransaction

TICKETS = """
    tickets AS (
        INSERT INTO pgqueuer (id, priority, entrypoint, payload, status, execute_after)
        SELECT ticket_of(run_at, seq), priority, kind, convert_to(seq::text, 'UTF8'), 'queued', 'epoch'
        FROM {jobs} ON CONFLICT (id) DO NOTHING RETURNING id, convert_from(payload, 'UTF8')::bigint AS seq),
    ready_now AS (
        INSERT INTO ready (seq, rank, organization, user_id, ticket, kind, submitter)
        SELECT seq, -priority, coalesce('=' || organization, ''), '=' || user_id, tickets.id, kind, submitter
        FROM tickets JOIN {jobs} USING (seq))
"""
"""Issues tickets for rows of `jobs`. A ticket's id is taken when a million jobs fall due in one millisecond; such a job
waits for the next claim."""

_INSERT = f"""
    WITH input AS MATERIALIZED (
        SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::int[], $6::float8[], $7::float8[],
            $8::text[], $9::int[], $10::text[], $11::text[],
            $12::bool[]) WITH ORDINALITY
            AS t(id, kind, user_id, payload, max_attempts, run_at, created_at, key, priority, organization, submitter,
                due, place)
    ), accepted AS (
        INSERT INTO jobs (id, kind, user_id, payload, max_attempts, run_at, created_at, key, priority, organization,
            submitter, wait_at, bytes)
        SELECT id, kind, user_id, payload, max_attempts, run_at, created_at, key, priority, organization,
            submitter, CASE WHEN due THEN NULL ELSE run_at END, {ROW_BYTES} + octet_length(payload)
        FROM input ORDER BY place
        ON CONFLICT (key) WHERE key IS NOT NULL DO NOTHING
        RETURNING seq, id, kind, user_id, priority, organization, submitter, run_at, wait_at
    ), due AS (SELECT * FROM accepted WHERE wait_at IS NULL),
    {TICKETS.format(jobs="due")}
    SELECT accepted.id, accepted.seq, accepted.wait_at IS NOT NULL OR tickets.id IS NOT NULL
    FROM accepted LEFT JOIN tickets USING (seq)
"""

_TAKEN = "SELECT key, id, payload, state FROM jobs WHERE key = ANY($1::text[])"

_Taken = dict[str, tuple[str, str, JobState]]


async def enqueue(transaction: WriteTransaction, calls: Sequence[Sequence[NewJob]]) -> list[list[EnqueueResult]]:
    """Store all jobs whose key is new. Raises StoreFull, and then stores none."""
    jobs = list(chain.from_iterable(calls))
    taken = await _taken_keys(transaction, jobs)
    fresh: list[NewJob] = []
    answers = [_accept(job, taken, fresh) for job in jobs]
    if fresh:
        lost = await _insert(transaction, fresh)
        if lost:  # another store has just accepted a job with the same key
            taken = await _taken_keys(transaction, lost)
            ids = {job.id for job in lost}
            answers = [
                _known(job, taken) if answer.job_id in ids else answer
                for job, answer in zip(jobs, answers, strict=True)
            ]
    rest = iter(answers)
    return [list(islice(rest, len(call))) for call in calls]


async def _taken_keys(transaction: WriteTransaction, jobs: Iterable[NewJob]) -> _Taken:
    keys = [to_database(job.key) for job in jobs if job.key is not None]
    if not keys:
        return {}
    rows = await transaction.connection.fetch(_TAKEN, keys)
    return {from_database(key): (job_id, payload, JobState(state)) for key, job_id, payload, state in rows}


def _known(job: NewJob, taken: _Taken) -> EnqueueResult:
    assert job.key is not None
    job_id, payload, state = taken[job.key]
    return EnqueueResult(job_id, "existing" if payload == job.payload.decode() else "conflict", state)


def _accept(job: NewJob, taken: _Taken, fresh: list[NewJob]) -> EnqueueResult:
    if job.key is not None and job.key in taken:
        return _known(job, taken)
    if job.key is not None:
        taken[job.key] = (job.id, job.payload.decode(), JobState.QUEUED)
    fresh.append(job)
    return EnqueueResult(job.id, "created")


async def _insert(transaction: WriteTransaction, jobs: Sequence[NewJob]) -> list[NewJob]:
    """Return the jobs whose key was taken in the meantime."""
    sizes = [ROW_BYTES + len(job.payload) for job in jobs]
    await transaction.budget.require(transaction.connection, sum(sizes), len(jobs))
    await require_places(transaction, jobs)
    now = transaction.clock.now()
    # positional: the parameters of a statement
    rows = await transaction.connection.fetch(
        _INSERT,
        [to_database(job.id) for job in jobs],
        [to_database(job.kind) for job in jobs],
        [to_database(job.user_id) for job in jobs],
        [job.payload.decode() for job in jobs],
        [job.max_attempts for job in jobs],
        [job.run_at for job in jobs],
        [job.created_at for job in jobs],
        [optional_to_database(job.key) for job in jobs],
        [job.priority for job in jobs],
        [optional_to_database(job.organization) for job in jobs],
        [optional_to_database(job.submitter) for job in jobs],
        # A job for "now" stays one, even if the clock is set back before it gets here.
        [job.run_at <= max(now, job.created_at) for job in jobs],
    )
    without_ticket = [seq for _, seq, ticketed in rows if not ticketed]
    if without_ticket:
        await transaction.connection.execute(
            "UPDATE jobs SET wait_at = '-infinity' WHERE seq = ANY($1::bigint[])", without_ticket
        )
    accepted = {job_id for job_id, _, _ in rows}
    for job, size in zip(jobs, sizes, strict=True):
        if to_database(job.id) in accepted:
            transaction.counts.changes[to_database(job.kind), "queued"] += 1
            transaction.counts.changes[to_database(job.kind), "bytes"] += size
    transaction.counts.work = True
    transaction.counts.notify = transaction.counts.notify or any(job.run_at > now for job in jobs)
    return [job for job in jobs if to_database(job.id) not in accepted]
