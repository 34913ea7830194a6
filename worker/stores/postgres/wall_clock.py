"""Follows a wall clock that is set back: jobs in backoff wait for a duration, not until a time."""

from worker.core.clock import SET_SECONDS
from worker.stores.postgres.database import Connection

_SET_BACK = """
    UPDATE jobs SET run_at = run_at + $1, wait_at = run_at + $1 WHERE wait_at IS NOT NULL AND backs_off
"""

_OTHERS = "SELECT EXISTS (SELECT FROM workers WHERE owner <> $1 AND seen_at > now() - interval '1 minute')"


async def set_back(connection: Connection, owner: str, seconds: float, now: float) -> bool:
    """Move jobs in backoff by `seconds` if that is back; `now` is the wall clock.

    Returns False if other stores seem to be open, whose clocks may be right: then nothing is moved, and the caller has
    to try again, because one that was killed seems to be open for a minute. Jobs that were due are claimed without a
    look at the clock, and those that were scheduled keep their time.
    """
    if seconds >= -SET_SECONDS:
        return True
    if await connection.fetchval(_OTHERS, owner):
        return False
    await connection.execute(_SET_BACK, seconds)
    await connection.execute("UPDATE meta SET clock = $1", now)
    return True


async def remember(connection: Connection, now: float) -> None:
    """Note the wall clock, so that the next store notices if it is set back until then.

    At least whenever a job begins to wait: then no job waits longer than its backoff after a crash. Once a second is
    enough, so that workers do not wait for each other.
    """
    await connection.execute("UPDATE meta SET clock = $1 WHERE clock < $1 - $2::float8", now, SET_SECONDS)
