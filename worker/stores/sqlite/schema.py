"""The tables, as a list of migrations."""

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
    # Separate: SQLite rewrites a row when any column changes, and each job's row changes at least twice.
    "CREATE TABLE payloads (seq INTEGER PRIMARY KEY, payload BLOB NOT NULL) STRICT",
    # Only unfinished jobs: the cost of a claim does not grow with the history.
    "CREATE INDEX jobs_unfinished ON jobs (lane, run_at) WHERE lane IS NOT NULL",
    "CREATE UNIQUE INDEX jobs_key ON jobs (key) WHERE key IS NOT NULL",
    "CREATE INDEX jobs_user ON jobs (user_id)",
    "CREATE INDEX jobs_unlucky ON jobs (state) WHERE state IN ('failed', 'cancelled')",
    # AUTOINCREMENT: an id that was delivered must never be used for a later message.
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
    # It grows at its end only. An index on notification_id alone would change a random page for each message, which
    # costs a third of the throughput; a resend by hand scans this one instead.
    "CREATE INDEX outbox_age ON outbox (created_at, notification_id)",
    "CREATE INDEX outbox_dead ON outbox (dead) WHERE dead IS NOT NULL",
    # When the watermark moved: one row for many messages; a mark on each message would rewrite all of them.
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
    # Attempts that were followed by another attempt or run. A job that succeeds at once has none.
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
    # AUTOINCREMENT: the number is in the rows of paused jobs, and must never mean another kind.
    """
    CREATE TABLE pauses (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        kind TEXT NOT NULL UNIQUE,
        at REAL NOT NULL
    ) STRICT
    """,
    # In the row that every commit writes.
    "ALTER TABLE tally ADD COLUMN kinds TEXT NOT NULL DEFAULT '{}'",
    """
    UPDATE tally SET kinds = (SELECT json_group_object(kind, waiting) FROM (
        SELECT kind, count(*) AS waiting FROM jobs WHERE lane IN (0, 1, 2) GROUP BY kind))
    """,
    # Identifies the store that a search index belongs to: a recovered store is a different one.
    "ALTER TABLE tally ADD COLUMN store TEXT NOT NULL DEFAULT ''",
    "UPDATE tally SET store = lower(hex(randomblob(16)))",
    # By id, because clients report nothing else; few notifications are ever shown.
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

_VERSION_3 = (
    # What the jobs of one priority, organisation, user, kind and API key share; they take turns with the others.
    "ALTER TABLE jobs ADD COLUMN line INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE jobs ADD COLUMN submitter TEXT",
    "ALTER TABLE jobs ADD COLUMN crashes INTEGER NOT NULL DEFAULT 0",
    # Jobs of paused kinds are ready too: their lines have no turn.
    "UPDATE jobs SET lane = 0 WHERE lane = 4",
    "UPDATE jobs SET rank = -priority, line = line_id(-priority, organization, user_id, kind, submitter) "
    "WHERE lane IS NOT NULL",
    "DROP INDEX jobs_unfinished",
    # Each unfinished job is in one of the two.
    "CREATE INDEX jobs_ready ON jobs (line, run_at) WHERE lane = 0",
    "CREATE INDEX jobs_unfinished ON jobs (lane, run_at) WHERE lane > 0",
)

_VERSION_4 = (
    # Elapsed time, which no wall clock can change; it starts with the last wall clock that the store saw.
    "ALTER TABLE tally ADD COLUMN elapsed REAL NOT NULL DEFAULT 0.0",
    "ALTER TABLE tally ADD COLUMN monotonic REAL NOT NULL DEFAULT 0.0",
    "ALTER TABLE tally ADD COLUMN boot TEXT NOT NULL DEFAULT ''",
    "UPDATE tally SET elapsed = clock",
    # At an elapsed time, all ids up to these existed: so they are at least as old.
    """
    CREATE TABLE ages (
        at REAL PRIMARY KEY,
        message INTEGER NOT NULL,
        audit INTEGER NOT NULL,
        shown INTEGER NOT NULL
    ) STRICT
    """,
    # One mark for each day of the history, no older than any message up to it.
    """
    INSERT OR IGNORE INTO ages
    SELECT max(latest) OVER (ORDER BY message), message, 0, 0 FROM (
        SELECT max(created_at) AS latest, max(id) AS message FROM outbox GROUP BY CAST(created_at / 86400 AS INTEGER))
    """,
)

# How often the row was written; it grows with every commit that changes a job or a notification.
_VERSION_5 = ("ALTER TABLE tally ADD COLUMN commits INTEGER NOT NULL DEFAULT 0",)

# All due jobs are in memory. New jobs are added at the end of a lane, so few pages change.
_VERSION_6 = (
    "DROP INDEX jobs_ready",
    "DROP INDEX jobs_unfinished",
    "CREATE INDEX jobs_unfinished ON jobs (lane, run_at) WHERE lane IS NOT NULL",
)

MIGRATIONS: tuple[Sequence[str], ...] = (_VERSION_1, _VERSION_2, _VERSION_3, _VERSION_4, _VERSION_5, _VERSION_6)
"""Each upgrades the schema by one version. A released migration is never edited: add another one."""
