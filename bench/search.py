"""Lists, filters and searches over a store with a million finished jobs, and what the index for them costs.

    python -m bench.search [--jobs 1000000] [--runs 7] [--folder DIR] [--json FILE]

The store is filled by SQL, not by its own intake. Every look is made through the store's own methods, with one page of
50 rows, and measured `--runs` times; the median is shown with the slowest. "short" means that the page came back
unfinished because its time was over.
"""

import argparse
import asyncio
import json
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop

from worker.core.clock import Clock
from worker.core.job import JobState
from worker.core.store import AuditQuery, JobPage, JobQuery
from worker.stores.sqlite.connection import connect_writer, migrate
from worker.stores.sqlite.disk_space import search_bytes
from worker.stores.sqlite.store import SqliteStore, open_store

START = 1_800_000_000.0
"""The first job's moment; one follows each second."""

S = JobState

_WORDS = (
    "เครื่องราชอิสริยาภรณ์", "ช้างเผือก", "มงกุฎไทย", "ตริตาภรณ์", "ทวีติยาภรณ์", "ประถมาภรณ์", "ข้าราชการ", "กรมการปกครอง",
    "สำนักงานปลัดกระทรวง", "นายสมชาย ใจดี", "นางสาวสุดา รักไทย", "จังหวัดเชียงใหม่", "จังหวัดอุบลราชธานี", "ลูกจ้างประจำ",
)  # fmt: skip

_FILL = """
    WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < :jobs)
    INSERT INTO jobs (seq, id, state, kind, user_id, organization, attempt, max_attempts, claims, owner, run_at,
        created_at, started_at, finished_at, duration_ms, error_type, error, error_id, stack_trace, result)
    SELECT n,
        printf('%08x-%04x-7%s-%s-%s', (1800000000 + n) * 1000 >> 16, (1800000000 + n) * 1000 & 65535,
            lower(substr(hex(randomblob(2)), 2)), lower(hex(randomblob(2))), lower(hex(randomblob(6)))),
        CASE WHEN n % 20 = 0 THEN 'failed' WHEN n % 97 = 0 THEN 'cancelled' ELSE 'succeeded' END,
        CASE WHEN n % 1000 = 1 THEN 'rare' WHEN n % 3 = 0 THEN 'http' ELSE 'insignia_background_processing' END,
        'user-' || (n * 7919 % 10000), CASE WHEN n % 4 = 0 THEN 'กรม ' || (n % 200) END, 1, 3, 1, 'owner',
        :start + n, :start + n, :start + n, :start + n + 1, 1000.25,
        CASE WHEN n % 20 = 0 THEN 'InvalidPayload' END,
        CASE WHEN n % 20 = 0 THEN 'แถวที่ ' || (n % 5000) || ' ไม่มีเลขประจำตัว' END, CASE WHEN n % 20 = 0 THEN 'abc' END,
        CASE WHEN n % 20 = 0 THEN printf('Traceback %.600c', 'x') END,
        CASE WHEN n % 20 <> 0 THEN CAST(json_object('officers', n % 5000, 'nominate', n % 3000, 'output',
            printf('results/%d/2569/report.csv', n)) AS BLOB) END
    FROM numbers
"""

_PAYLOADS = """
    INSERT INTO payloads SELECT seq, CAST(json_object('history', NULL, 'note',
        (SELECT word FROM words WHERE number = seq % 14) || ' ' || (SELECT word FROM words WHERE number = seq / 14 % 14)
        || iif(seq % 250000 = 77, ' คำที่หายากมากจริงๆ', ''), 'organization', organization, 'roster',
        printf('uploads/%d/roster.csv', seq * 31 % 1000003), 'round', 2560 + seq % 10) AS BLOB) FROM jobs
"""

_REST = (
    """
    INSERT INTO outbox (id, notification_id, job_id, run, user_id, sequence, dead, created_at, reason, body)
    SELECT seq, printf('%s-5%s', substr(id, 1, 13), lower(hex(randomblob(10)))), id, 1, user_id, seq,
        iif(seq % 5000 = 9, 1, NULL), finished_at, iif(seq % 5000 = 9, 'no', NULL),
        CAST(printf('["socket-notification",{"payload":{"stackTrace":"%.300c"}},{}]', 'x') AS BLOB)
    FROM jobs
    """,
    "INSERT INTO sequences SELECT user_id, max(sequence) FROM outbox GROUP BY user_id",
    "INSERT INTO deliveries SELECT id, created_at FROM outbox WHERE id % 100 = 0",
    "UPDATE tally SET succeeded = (SELECT count(*) FROM jobs WHERE state = 'succeeded'), "
    "failed = (SELECT count(*) FROM jobs WHERE state = 'failed'), "
    "cancelled = (SELECT count(*) FROM jobs WHERE state = 'cancelled'), "
    "dead = (SELECT count(*) FROM outbox WHERE dead = 1), delivered = (SELECT max(id) FROM outbox)",
    "INSERT INTO audit (at, actor, action, target) SELECT created_at, 'key-' || (seq % 7), "
    "iif(seq % 3, 'cancel', 'retry'), id FROM jobs WHERE seq <= 100000",
)


def fill(path: Path, jobs: int) -> None:
    path.touch(0o600)
    connection = connect_writer(path, 4000)
    migrate(connection, path)
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("BEGIN")
    connection.execute("CREATE TEMP TABLE words (number INTEGER PRIMARY KEY, word TEXT)")
    connection.executemany("INSERT INTO words VALUES (?, ?)", enumerate(_WORDS))
    connection.execute(_FILL, {"jobs": jobs, "start": START})
    for statement in (_PAYLOADS, *_REST):
        connection.execute(statement)
    connection.execute("COMMIT")
    connection.close()


# -- what is looked for ------------------------------------------------------------------------------------

Look = Callable[[SqliteStore], Awaitable[object]]


def jobs(**query: Any) -> Look:
    async def look(store: SqliteStore) -> JobPage:
        return await store.find(JobQuery(**query))

    return look


def looks(count: int, job_id: str, notification_id: str) -> dict[str, Look]:
    """Return every measured call, by its label."""
    return _pages(count) | _texts(count, job_id) | _records(count, job_id, notification_id)


def _pages(count: int) -> dict[str, Look]:
    middle = str(count // 2)
    return {
        "first page": jobs(),
        "a page in the middle": jobs(cursor=middle),
        "state succeeded": jobs(states=[S.SUCCEEDED]),
        "state failed": jobs(states=[S.FAILED]),
        "state failed, in the middle": jobs(states=[S.FAILED], cursor=middle),
        "states failed and cancelled": jobs(states=[S.FAILED, S.CANCELLED]),
        "state running": jobs(states=[S.RUNNING]),
        "state queued": jobs(states=[S.QUEUED]),
        "kind, frequent": jobs(kind="http"),
        "kind, one in a thousand": jobs(kind="rare"),
        "kind that there is not": jobs(kind="nothing"),
        "user, 100 jobs": jobs(user_ids=["user-77"]),
        "20 users": jobs(user_ids=[f"user-{n}" for n in range(20)]),
        "organisation, one in two hundred": jobs(organizations=["กรม 8"]),
        "state + kind + user": jobs(states=[S.FAILED], kind="rare", user_ids=["user-7919"]),
        "state + kind, never together": jobs(states=[S.FAILED], kind="rare"),
        "an hour a year ago": jobs(since=START + 3600, until=START + 7200),
    }


def _texts(count: int, job_id: str) -> dict[str, Look]:
    middle, late = str(count // 2), START + count
    return {
        "an hour + state + text": jobs(since=late - 90000, until=late - 86400, states=[S.FAILED], text="เลขประจำตัว"),
        "text in every job": jobs(text="roster.csv"),
        "text in one of seven: ราชอิสริ": jobs(text="ราชอิสริ"),
        "text: ราช (inside phrases)": jobs(text="ราช"),
        "text in four jobs": jobs(text="หายากมาก"),
        "text in four jobs, in the middle": jobs(text="หายากมาก", cursor=middle),
        "text in no job": jobs(text="ไม่มีที่ไหนเลย"),
        "text in no job, of frequent parts": jobs(text="ตริตาภรณ์ ช้างเผือกxyz"),
        "text across two values, rare": jobs(text='มงกุฎไทย ลูกจ้างประจำ","org'),
        "text of 2 characters, frequent": jobs(text="มง"),
        "text of 2 characters, in four jobs": jobs(text="ๆ"),
        "text of 2 characters, in no job": jobs(text="zq"),
        "text: %_": jobs(text="%_"),
        "text: a job's id": jobs(text=job_id),
        "text: a piece of an id": jobs(text=job_id[24:]),
        "text + state": jobs(text="ราช", states=[S.FAILED]),
        "text + state, never together": jobs(text="InvalidPayloadx", states=[S.FAILED]),
        "text + kind + organisation": jobs(text="ช้างเผือก", kind="http", organizations=["กรม 8"]),
        "text + user": jobs(text="ราช", user_ids=["user-77"]),
        "10,000 ids of a frequent text": lambda store: store.find_ids(JobQuery(text="ราช", limit=10_000)),
    }


def _records(count: int, job_id: str, notification_id: str) -> dict[str, Look]:
    return {
        "one job": lambda store: store.get(job_id),
        "a job's deliveries": lambda store: store.deliveries(job_id),
        "a job's attempts": lambda store: store.attempts(job_id),
        "notifications": lambda store: store.notifications(),
        "notifications of a user": lambda store: store.notifications(user_id="user-77"),
        "notifications of a job": lambda store: store.notifications(job_id=job_id),
        "notifications, dead": lambda store: store.notifications(state="dead"),
        "notifications, dead, of a user": lambda store: store.notifications(state="dead", user_id="user-77"),
        "notifications, pending, of a user": lambda store: store.notifications(state="pending", user_id="user-77"),
        "notifications, in the middle": lambda store: store.notifications(before=count // 2),
        "resend (looks for the id)": lambda store: store.resend(notification_id),
        "figures": lambda store: store.stats(),
        "counts by kind": lambda store: store.counts_by_kind(),
        "audit trail, an actor's": lambda store: store.audit_trail(AuditQuery(actor="key-3", action="cancel")),
    }


# -- the run -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Timed:
    median: float
    slowest: float
    """Milliseconds."""
    found: int
    short: bool


async def timed(store: SqliteStore, look: Look, runs: int) -> Timed:
    times: list[float] = []
    answer: object = None
    for _ in range(runs):
        started = time.perf_counter()
        answer = await look(store)
        times.append((time.perf_counter() - started) * 1000)
    page = answer if isinstance(answer, JobPage) else None
    found = len(page.jobs) if page else len(answer) if isinstance(answer, list) else 1
    return Timed(
        statistics.median(times), max(times), found, page is not None and page.cursor is not None and found < 50
    )


async def built(store: SqliteStore) -> tuple[int, float]:
    """Messages indexed, and the seconds of CPU it took; nothing else runs at the time."""
    done, started = 0, time.process_time()
    while True:
        piece = await store.index()
        done += piece.done
        if not piece.left:
            return done, time.process_time() - started


async def run(folder: Path, count: int, runs: int) -> dict[str, object]:
    path = folder / "queue.db"
    fill(path, count)
    store = await open_store(path, owner="bench", max_bytes=100 << 30, clock=Clock())
    before = await timed(store, jobs(text="หายากมาก"), 1)
    done, seconds = await built(store)
    reader = sqlite3.connect(path)
    job_id, notification_id = reader.execute(
        "SELECT job_id, notification_id FROM outbox WHERE id = ?", (count // 3,)
    ).fetchone()
    reader.close()
    print(f"{count:,} jobs, {path.stat().st_size / count:,.0f} bytes each; without index: {before}")
    print(f"index: {seconds / done * 1e6:.1f} µs of processor time and {search_bytes(path) / count:,.0f} bytes a job")
    print(f"{'one page of 50':42} {'median ms':>10} {'slowest':>9} {'found':>6}")
    figures: dict[str, object] = {"indexMicroseconds": seconds / done * 1e6, "indexBytes": search_bytes(path) / count}
    for name, look in looks(count, job_id, notification_id).items():
        one = await timed(store, look, runs)
        print(f"{name:42} {one.median:10.1f} {one.slowest:9.1f} {one.found:6}{' short' if one.short else ''}")
        figures[name] = {"medianMs": one.median, "slowestMs": one.slowest, "found": one.found, "short": one.short}
    await store.close()
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--folder", type=Path, help="where the store is made (a disk, not memory)")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(dir=arguments.folder) as folder,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        figures = runner.run(run(Path(folder), arguments.jobs, arguments.runs))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
