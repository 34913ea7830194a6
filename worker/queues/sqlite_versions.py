"""The tables, and how they came to be."""

from collections.abc import Sequence

_VERSION_1 = (
    # `seq` is the order of acceptance.
    """
    CREATE TABLE jobs (
        seq INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        state TEXT NOT NULL,
        lane INTEGER,
        kind TEXT NOT NULL,
        user_id TEXT NOT NULL,
        run INTEGER NOT NULL DEFAULT 1,
        attempt INTEGER NOT NULL DEFAULT 0,
        max_attempts INTEGER NOT NULL,
        claims INTEGER NOT NULL DEFAULT 0,
        owner TEXT,
        suspect INTEGER NOT NULL DEFAULT 0,
        cancel_requested INTEGER NOT NULL DEFAULT 0,
        run_at REAL NOT NULL,
        created_at REAL NOT NULL,
        started_at REAL,
        finished_at REAL,
        duration_ms REAL,
        error_type TEXT,
        error TEXT,
        error_id TEXT,
        stack_trace TEXT,
        key TEXT,
        result BLOB
    ) STRICT
    """,
    # Apart: SQLite writes a row anew when any of it changes, and each job's row changes at least twice.
    "CREATE TABLE payloads (seq INTEGER PRIMARY KEY, payload BLOB NOT NULL) STRICT",
    # Only unfinished jobs: a claim costs the same however long the history grows.
    "CREATE INDEX jobs_unfinished ON jobs (lane, run_at) WHERE lane IS NOT NULL",
    "CREATE UNIQUE INDEX jobs_key ON jobs (key) WHERE key IS NOT NULL",
    "CREATE INDEX jobs_user ON jobs (user_id)",
    "CREATE INDEX jobs_unlucky ON jobs (state) WHERE state IN ('failed', 'cancelled')",
    # AUTOINCREMENT: an id that was once delivered must never be given to a later message.
    """
    CREATE TABLE outbox (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        notification_id TEXT NOT NULL,
        job_id TEXT NOT NULL,
        run INTEGER NOT NULL,
        user_id TEXT NOT NULL,
        sequence INTEGER NOT NULL,
        dead INTEGER,
        redelivery INTEGER NOT NULL DEFAULT 0,
        created_at REAL NOT NULL,
        reason TEXT,
        body BLOB NOT NULL
    ) STRICT
    """,
    # Grows at its end only. An index on notification_id alone would dirty a random page for each message,
    # a third of the throughput; resending by hand may scan this one instead.
    "CREATE INDEX outbox_age ON outbox (created_at, notification_id)",
    "CREATE INDEX outbox_dead ON outbox (dead) WHERE dead IS NOT NULL",
    # When the watermark moved: one row for many messages, where a mark on each would rewrite them all.
    "CREATE TABLE deliveries (up_to INTEGER PRIMARY KEY, at REAL NOT NULL) STRICT",
    "CREATE TABLE sequences (user_id TEXT PRIMARY KEY, sequence INTEGER NOT NULL) STRICT, WITHOUT ROWID",
    # One row: what is counted, the outbox watermark, and the last wall-clock time the store saw.
    """
    CREATE TABLE tally (
        queued INTEGER NOT NULL,
        running INTEGER NOT NULL,
        succeeded INTEGER NOT NULL,
        failed INTEGER NOT NULL,
        cancelled INTEGER NOT NULL,
        suspects INTEGER NOT NULL,
        pending INTEGER NOT NULL,
        dead INTEGER NOT NULL,
        delivered INTEGER NOT NULL,
        clock REAL NOT NULL
    ) STRICT
    """,
    "INSERT INTO tally VALUES (0, 0, 0, 0, 0, 0, 0, 0, 0, 0.0)",
)

_VERSION_2 = (
    "ALTER TABLE jobs ADD COLUMN priority INTEGER NOT NULL DEFAULT 0",
    # The order of a lane before `run_at` comes into it. Ready: minus the priority; paused: the number of its kind's
    # pause; else 0, so that those whose time has come lie together whatever their priority.
    "ALTER TABLE jobs ADD COLUMN rank INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE jobs ADD COLUMN organization TEXT",
    "DROP INDEX jobs_unfinished",
    "CREATE INDEX jobs_unfinished ON jobs (lane, rank, run_at) WHERE lane IS NOT NULL",
    "CREATE INDEX jobs_organization ON jobs (organization) WHERE organization IS NOT NULL",
    # Attempts that were not their job's last word. A job that succeeds at once has none.
    """
    CREATE TABLE attempts (
        id INTEGER PRIMARY KEY,
        seq INTEGER NOT NULL,
        run INTEGER NOT NULL,
        attempt INTEGER NOT NULL,
        ended TEXT NOT NULL,
        started_at REAL,
        finished_at REAL,
        duration_ms REAL,
        error_type TEXT,
        error TEXT,
        error_id TEXT,
        stack_trace TEXT,
        result BLOB
    ) STRICT
    """,
    "CREATE INDEX attempts_job ON attempts (seq)",
    # AUTOINCREMENT: the number stands in the jobs that were set aside, and must never mean another kind.
    """
    CREATE TABLE pauses (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        kind TEXT NOT NULL UNIQUE,
        at REAL NOT NULL
    ) STRICT
    """,
    # In the row that every commit writes anyway.
    "ALTER TABLE tally ADD COLUMN kinds TEXT NOT NULL DEFAULT '{}'",
    """
    UPDATE tally SET kinds = (SELECT json_group_object(kind, waiting) FROM (
        SELECT kind, count(*) AS waiting FROM jobs WHERE lane IN (0, 1, 2) GROUP BY kind))
    """,
    # Whose the search index beside it is: a store that was recovered is another.
    "ALTER TABLE tally ADD COLUMN store TEXT NOT NULL DEFAULT ''",
    "UPDATE tally SET store = lower(hex(randomblob(16)))",
    # By id, because a browser names nothing else; few notifications are ever looked at.
    """
    CREATE TABLE shown (
        place INTEGER PRIMARY KEY,
        notification_id TEXT NOT NULL UNIQUE,
        at REAL NOT NULL,
        times INTEGER NOT NULL DEFAULT 1
    ) STRICT
    """,
    """
    CREATE TABLE audit (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        at REAL NOT NULL,
        actor TEXT NOT NULL,
        action TEXT NOT NULL,
        target TEXT NOT NULL,
        detail BLOB
    ) STRICT
    """,
    "CREATE INDEX audit_actor ON audit (actor)",
    "CREATE INDEX audit_action ON audit (action)",
)

MIGRATIONS: tuple[Sequence[str], ...] = (_VERSION_1, _VERSION_2)
"""Each brings the schema one version further. What was released is never edited, only followed."""
