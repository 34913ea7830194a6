"""What the writer does to jobs. Each function takes the arguments of all callers at once and answers each in order.

Written for many callers: rows of all of them go into one statement. When that finds anything unusual it raises, and
the writer asks again with one caller at a time (`ledger.alone`), each in a savepoint.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, assert_never

from worker.failure import Failure
from worker.job import TERMINAL, Job, JobState, NewJob
from worker.notification import Notification
from worker.outcome import Cancelled, Failed, Outcome, Retry, Succeeded
from worker.queue import Accepted, CancelAnswer, Claimed, RetryAnswer, Settlement
from worker.queues.sqlite_ledger import Ledger
from worker.queues.sqlite_outbox import News, put
from worker.queues.sqlite_room import END_BYTES, ROW_BYTES
from worker.queues.sqlite_schema import BACKOFF, READY, RUNNING, SCHEDULED, RowStatement, json_list


class OneByOne(Exception):
    """The operations cannot be done together; nothing is wrong with most of them."""


# -- intake ------------------------------------------------------------------------------------------------

_INSERT = RowStatement(
    "INSERT INTO jobs (seq, id, lane, kind, user_id, max_attempts, run_at, created_at, key, state) "
    "SELECT *, 'queued' FROM {rows} WHERE column1 IS NOT NULL",
    width=9,
)
_INSERT_PAYLOADS = RowStatement(
    "INSERT INTO payloads (seq, payload) SELECT * FROM {rows} WHERE column1 IS NOT NULL", width=2
)


def enqueue(ledger: Ledger, calls: Sequence[Sequence[NewJob]]) -> list[list[Accepted]]:
    """Rows for all jobs whose key is new. StoreFull: for nobody."""
    jobs = list(chain.from_iterable(calls))
    taken = _taken_keys(ledger, jobs)
    fresh: list[NewJob] = []
    answers = [_accept(job, taken, fresh) for job in jobs]
    if fresh:
        _insert(ledger, fresh)
    return _split(answers, calls)


def _taken_keys(ledger: Ledger, jobs: Iterable[NewJob]) -> dict[str, tuple[str, bytes]]:
    keys = [job.key for job in jobs if job.key is not None]
    if not keys:
        return {}
    rows = ledger.connection.execute(
        "SELECT key, id, payload FROM jobs JOIN payloads USING (seq) WHERE key IN (SELECT value FROM json_each(?))",
        (json_list(keys),),
    )
    return {key: (job_id, payload) for key, job_id, payload in rows}


def _accept(job: NewJob, taken: dict[str, tuple[str, bytes]], fresh: list[NewJob]) -> Accepted:
    first = None if job.key is None else taken.get(job.key)
    if first is not None:
        job_id, payload = first
        return Accepted(job_id, "existing" if payload == job.payload else "conflict")
    if job.key is not None:
        taken[job.key] = (job.id, job.payload)
    fresh.append(job)
    return Accepted(job.id, "created")


def _insert(ledger: Ledger, jobs: Sequence[NewJob]) -> None:
    _require_room(ledger, jobs)
    now, first = ledger.clock.now(), ledger.counts.last_seq + 1
    _INSERT.run(ledger.connection, [_new_row(seq, job, now) for seq, job in enumerate(jobs, first)])
    _INSERT_PAYLOADS.run(ledger.connection, [(seq, job.payload) for seq, job in enumerate(jobs, first)])
    ledger.counts.last_seq += len(jobs)
    ledger.counts.jobs[JobState.QUEUED] += len(jobs)
    ledger.counts.work = True


def _require_room(ledger: Ledger, jobs: Sequence[NewJob]) -> None:
    """What is accepted must also be able to end, so the ends of all unfinished jobs count with it."""
    rows = sum(len(job.payload) for job in jobs) + ROW_BYTES * len(jobs)
    ledger.room.require(rows, kept=END_BYTES * (ledger.unfinished() + len(jobs)))


def _new_row(seq: int, job: NewJob, now: float) -> tuple[Any, ...]:
    # A job for "now" stays one, even if the clock is set back before it gets here.
    lane = READY if job.run_at <= max(now, job.created_at) else SCHEDULED
    return (seq, job.id, lane, job.kind, job.user_id, job.max_attempts, job.run_at, job.created_at, job.key)


# -- claiming ----------------------------------------------------------------------------------------------

_DUE = """
    SELECT seq, suspect FROM (
        SELECT * FROM (
            SELECT seq, run_at, suspect FROM jobs WHERE lane = :ready ORDER BY run_at, seq LIMIT :limit)
        UNION ALL SELECT * FROM (
            SELECT seq, run_at, suspect FROM jobs WHERE lane = :scheduled AND run_at <= :now
            ORDER BY run_at, seq LIMIT :limit)
        UNION ALL SELECT * FROM (
            SELECT seq, run_at, suspect FROM jobs WHERE lane = :backoff AND run_at <= :now
            ORDER BY run_at, seq LIMIT :limit)
    ) ORDER BY run_at, seq LIMIT :limit
"""
"""The oldest due jobs. Those in the ready lane are due whatever the clock says now."""

PAYLOAD = "(SELECT payload FROM payloads WHERE payloads.seq = jobs.seq)"

_CLAIM = f"""
    UPDATE jobs SET state = 'running', lane = {RUNNING}, attempt = attempt + 1, claims = claims + 1,
        owner = :owner, started_at = :now
    WHERE seq IN (SELECT seq FROM ({_DUE}))
    RETURNING run_at, seq, id, kind, user_id, {PAYLOAD}, run, attempt, max_attempts, created_at, owner, claims,
        suspect, cancel_requested
"""  # noqa: S608 -- put together from constants

_NEXT = f"""
    SELECT (SELECT min(run_at) FROM jobs WHERE lane = {READY}),
           (SELECT min(run_at) FROM jobs WHERE lane = {SCHEDULED}),
           (SELECT min(run_at) FROM jobs WHERE lane = {BACKOFF})
"""  # noqa: S608


def claim(ledger: Ledger, calls: Sequence[int]) -> list[Claimed]:
    """One statement for all who ask; the oldest go to whoever asked first."""
    ledger.room.require(0)
    ledger.follow_clock()
    now = ledger.clock.now()
    wanted = [max(limit, 0) for limit in calls]
    jobs, held_back = _take_due(ledger, sum(wanted), now)
    next_run_at = None if held_back else _next_run_at(ledger, now)
    rest = iter(jobs)
    return [Claimed(list(islice(rest, limit)), next_run_at) for limit in wanted]


def _take_due(ledger: Ledger, limit: int, now: float) -> tuple[list[Job], bool]:
    """The oldest due jobs, and whether a suspect holds others back."""
    due = {"ready": READY, "scheduled": SCHEDULED, "backoff": BACKOFF, "now": now, "limit": limit}
    allowed, held_back = _allowed(ledger, due)
    if allowed == 0 or not ledger.counts.jobs["queued"]:
        return [], held_back
    rows = ledger.connection.execute(_CLAIM, due | {"limit": allowed, "owner": ledger.owner}).fetchall()
    jobs = [_job(row) for row in sorted(rows)]  # RETURNING promises no order; run_at and seq come first
    _count_claimed(ledger, jobs)
    return jobs, held_back


def _allowed(ledger: Ledger, due: dict[str, Any]) -> tuple[int, bool]:
    """How many of the due jobs may go, in order; and whether a suspect holds the others back."""
    counts = ledger.counts
    if counts.suspect_held:
        return 0, True
    if not counts.suspects:
        return due["limit"], False
    suspects = [suspect for _, suspect in ledger.connection.execute(_DUE, due)]
    if not any(suspects):
        return due["limit"], False
    if suspects[0] and not counts.held:
        return 1, True
    return suspects.index(1), True


def _count_claimed(ledger: Ledger, jobs: Sequence[Job]) -> None:
    counts = ledger.counts
    ledger.move(JobState.QUEUED, JobState.RUNNING, len(jobs))
    counts.held += len(jobs)
    if jobs and jobs[0].suspect:
        counts.suspects -= 1
        counts.suspect_held = True


def _next_run_at(ledger: Ledger, now: float) -> float | None:
    if not ledger.counts.jobs[JobState.QUEUED]:
        return None
    ready, *later = ledger.connection.execute(_NEXT).fetchone()
    times = [run_at for run_at in later if run_at is not None]
    if ready is not None:
        times.append(min(ready, now))  # due even if the clock was set back behind its time
    return min(times, default=None)


def _job(row: tuple[Any, ...]) -> Job:
    return Job(*row[2:12], *map(bool, row[12:]))


ORPHANS = f"""
    SELECT run_at, seq, id, kind, user_id, {PAYLOAD}, run, attempt, max_attempts, created_at, owner, claims,
        suspect, cancel_requested
    FROM jobs WHERE lane = {RUNNING} AND owner <> ? ORDER BY run_at, seq
"""  # noqa: S608


def orphan(row: tuple[Any, ...]) -> Job:
    return _job(row)


# -- settling ----------------------------------------------------------------------------------------------

_SETTLE = RowStatement(
    "UPDATE jobs SET state = ended.column4, lane = ended.column5, run_at = coalesce(ended.column6, run_at), "
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
    for settlement in settlements:
        attempt, outcome = settlement.attempt, settlement.outcome
        if settlement.notification is not None:
            news.append((settlement.notification, attempt.job.run, attempt.finished_at))
        _count_settled(ledger, attempt.job, outcome)
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
            counts.jobs["queued"] += 1
            counts.suspects += outcome.suspect
            counts.work = True
    ledger.let_go(job.owner, suspect=job.suspect)


# -- giving back -------------------------------------------------------------------------------------------

_RELEASE = RowStatement(
    f"UPDATE jobs SET state = 'queued', lane = {READY}, attempt = max(attempt - 1, 0), "  # noqa: S608
    "suspect = max(suspect, released.column4), owner = NULL, started_at = NULL "
    "FROM {rows} AS released WHERE jobs.id = released.column1 AND jobs.owner = released.column2 "
    "AND jobs.claims = released.column3 AND jobs.state = 'running'",
    width=4,
)


@dataclass(frozen=True, slots=True)
class GivenBack:
    jobs: Sequence[Job]
    suspect: bool = False


def release(ledger: Ledger, calls: Sequence[GivenBack]) -> list[None]:
    """Back to the place they had: `run_at` stays, so they are the oldest again."""
    jobs = [(job, call.suspect) for call in calls for job in call.jobs]
    rows = [(job.id, job.owner, job.claim, int(suspect)) for job, suspect in jobs]
    if not ledger.alone:
        if _RELEASE.run(ledger.connection, rows) != len(rows):
            raise OneByOne
        released = jobs
    else:
        released = [job for job, row in zip(jobs, rows, strict=True) if _RELEASE.run(ledger.connection, [row])]
    for job, suspect in released:
        ledger.move(JobState.RUNNING, JobState.QUEUED)
        ledger.counts.suspects += job.suspect or suspect
        ledger.let_go(job.owner, suspect=job.suspect)
    ledger.counts.work = ledger.counts.work or bool(released)
    return [None for _ in calls]


# -- by hand -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cancellation:
    job_id: str
    run: int
    notification: Notification


def cancel(ledger: Ledger, calls: Sequence[Cancellation]) -> list[CancelAnswer]:
    return [_cancel(ledger, call) for call in calls]


def _cancel(ledger: Ledger, call: Cancellation) -> CancelAnswer:
    row = ledger.connection.execute("SELECT seq, state, run, suspect FROM jobs WHERE id = ?", (call.job_id,)).fetchone()
    if row is None:
        return "unknown"
    seq, state, run, suspect = row
    if run != call.run:
        return "changed"
    if state in TERMINAL:
        return "ended"
    if state == JobState.RUNNING:
        ledger.connection.execute("UPDATE jobs SET cancel_requested = 1 WHERE seq = ?", (seq,))
        return "requested"
    _end_waiting(ledger, seq, call)
    ledger.counts.suspects -= suspect
    return "cancelled"


def _end_waiting(ledger: Ledger, seq: int, call: Cancellation) -> None:
    now = ledger.clock.now()
    ledger.connection.execute(
        "UPDATE jobs SET state = 'cancelled', lane = NULL, suspect = 0, finished_at = ?, duration_ms = 0.0, "
        "error_type = 'Cancelled', error = 'Cancelled', error_id = NULL, stack_trace = NULL WHERE seq = ?",
        (now, seq),
    )
    put(ledger, [(call.notification, call.run, now)])
    ledger.move(JobState.QUEUED, JobState.CANCELLED)


def retry(ledger: Ledger, calls: Sequence[str]) -> list[RetryAnswer]:
    return [_retry(ledger, job_id) for job_id in calls]


def _retry(ledger: Ledger, job_id: str) -> RetryAnswer:
    row = ledger.connection.execute("SELECT seq, state FROM jobs WHERE id = ?", (job_id,)).fetchone()
    if row is None:
        return "unknown"
    seq, state = row
    if state not in TERMINAL:
        return "active"
    ledger.connection.execute(
        f"UPDATE jobs SET state = 'queued', lane = {READY}, run = run + 1, attempt = 0, cancel_requested = 0, "  # noqa: S608
        "suspect = 0, owner = NULL, run_at = ?, started_at = NULL, finished_at = NULL, duration_ms = NULL, "
        "error_type = NULL, error = NULL, error_id = NULL, stack_trace = NULL, result = NULL WHERE seq = ?",
        (ledger.clock.now(), seq),
    )
    ledger.move(state, JobState.QUEUED)
    ledger.counts.work = True
    return "queued"


# -- retention ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Pruning:
    before: float
    limit: int


@dataclass(frozen=True, slots=True)
class PrunedChunk:
    runs: int
    seconds: float
    """How long it took the writer."""


def prune(ledger: Ledger, calls: Sequence[Pruning]) -> list[PrunedChunk]:
    return [_prune(ledger, call) for call in calls]


def _prune(ledger: Ledger, call: Pruning) -> PrunedChunk:
    """Every run that ended has one message, so the old messages lead to the old runs."""
    started = ledger.clock.monotonic()
    messages = _old_messages(ledger, call)
    if messages:
        _delete_jobs(ledger, messages)
        _delete_messages(ledger, messages)
        ledger.counts.work = True  # a full store may have room again
    return PrunedChunk(len(messages), ledger.clock.monotonic() - started)


def _old_messages(ledger: Ledger, call: Pruning) -> list[int]:
    rows = ledger.connection.execute(
        "SELECT id FROM outbox WHERE created_at < ? AND (id <= ? OR dead IS NOT NULL) ORDER BY created_at LIMIT ?",
        (call.before, ledger.counts.delivered, call.limit),
    )
    return [message_id for (message_id,) in rows]


def _delete_jobs(ledger: Ledger, messages: list[int]) -> None:
    """A job that was retried since lives on: only the news of its earlier run goes."""
    rows = ledger.connection.execute(
        "DELETE FROM jobs WHERE seq IN ("
        "SELECT seq FROM outbox JOIN jobs ON jobs.id = outbox.job_id AND jobs.run = outbox.run AND jobs.lane IS NULL "
        "WHERE outbox.id IN (SELECT value FROM json_each(?))) RETURNING seq, state",
        (json_list(messages),),
    ).fetchall()
    ledger.connection.execute(
        "DELETE FROM payloads WHERE seq IN (SELECT value FROM json_each(?))", (json_list(seq for seq, _ in rows),)
    )
    for _, state in rows:
        ledger.counts.jobs[state] -= 1


def _delete_messages(ledger: Ledger, messages: list[int]) -> None:
    rows = ledger.connection.execute(
        "DELETE FROM outbox WHERE id IN (SELECT value FROM json_each(?)) RETURNING dead", (json_list(messages),)
    ).fetchall()
    ledger.counts.dead -= sum(1 for (dead,) in rows if dead)
    ledger.connection.execute(
        "DELETE FROM deliveries WHERE up_to < coalesce((SELECT min(id) FROM outbox), ?)", (ledger.counts.delivered,)
    )


def _split(answers: Sequence[Accepted], calls: Sequence[Sequence[NewJob]]) -> list[list[Accepted]]:
    rest = iter(answers)
    return [list(islice(rest, len(call))) for call in calls]
