"""Where the store lies: the connection string, the schema, and the names of PgQueuer's objects in it.

asyncpg and PgQueuer are optional (the extra `postgres`), so that nothing here is imported before the provider is used.
"""

import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

try:
    import asyncpg
    from pgqueuer.adapters.persistence.qb import QueryBuilderEnvironment, QueryQueueBuilder
    from pgqueuer.domain.settings import DBSettings, Durability
except ImportError as exc:  # pragma: no cover -- covered by a test in a process without them
    from worker.errors import Unavailable

    raise Unavailable(
        f"Queue:Provider postgres needs the extra packages ({exc.name} is missing): "
        "pip install 'insignia-worker[postgres]'"
    ) from exc

from worker.errors import StoreUnwritable

Connection = Any
"""An asyncpg connection, or one of a pool: asyncpg carries no type information."""

DEFAULT_SCHEMA = "insignia"
APPLICATION = "insignia-worker"
"""The name of the store's sessions in pg_stat_activity."""
_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,40}")


@dataclass(frozen=True, slots=True)
class DatabaseTarget:
    """A database server's address and the schema of one store in it."""

    dsn: str
    schema: str = DEFAULT_SCHEMA
    shown: str = ""
    """The address without its password, for messages."""

    @classmethod
    def parse(cls, connection_string: str) -> "DatabaseTarget":
        """Return the target of a URL such as postgresql://user@host/database?schema=insignia.

        Raises StoreUnwritable when it is not such a URL. All parameters but `schema` go to the driver.
        """
        parts = urlsplit(connection_string)
        if parts.scheme not in ("postgresql", "postgres"):
            raise StoreUnwritable("Queue:ConnectionString must begin with postgresql://")
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        schema = query.pop("schema", DEFAULT_SCHEMA)
        if not _SCHEMA.fullmatch(schema):
            raise StoreUnwritable(
                "schema in Queue:ConnectionString must be lower-case letters, digits and _, at most 41 of them"
            )
        dsn = urlunsplit(parts._replace(query=urlencode(query)))
        if schema.startswith("pg_") or schema == "information_schema":
            raise StoreUnwritable(f"schema {schema} in Queue:ConnectionString belongs to PostgreSQL: use another name")
        host = parts.netloc.rpartition("@")[2] or "localhost"
        return cls(dsn, schema, f"postgresql://{host}{parts.path}?schema={schema}")

    @property
    def events(self) -> str:
        """The channel on which stores wake each other."""
        return f"{self.schema}_events"

    def pgqueuer(self) -> DBSettings:
        """Return the names of PgQueuer's objects; none of them comes from the environment."""
        return DBSettings(
            prefix="",
            db_schema=self.schema,
            channel=f"{self.schema}_queue",
            function="fn_pgqueuer_changed",
            statistics_table="pgqueuer_statistics",
            queue_status_type="pgqueuer_status",
            queue_table="pgqueuer",
            queue_table_log="pgqueuer_log",
            trigger="tg_pgqueuer_changed",
            schedules_table="pgqueuer_schedules",
            durability=Durability.balanced,
            widen_id=True,
        )

    async def connect(self, **options: Any) -> Connection:
        """Open a connection in the store's schema; raises what asyncpg raises."""
        return await asyncpg.connect(self.dsn, **self.options(), **options)

    async def create_pool(self, size: int) -> Any:
        """Open up to `size` connections for reading, each when it is needed."""
        return await asyncpg.create_pool(self.dsn, min_size=0, max_size=size, **self.options())

    def options(self) -> dict[str, Any]:
        """Return the settings that every connection of the store is opened with."""
        return {
            "timeout": 10.0,
            "target_session_attrs": "read-write",  # of several hosts, the one that is not a replica
            "command_timeout": 60.0,
            "statement_cache_size": 256,
            "server_settings": {
                "search_path": f"{self.schema}, public",
                "application_name": APPLICATION,
                "default_transaction_isolation": "read committed",
                "jit": "off",  # compiling a statement takes longer than any of ours
                # A process that is suspended or cut off in a transaction holds locks that all others wait for. The
                # server ends it before its lease is over; when it comes back, it repeats the transaction.
                "idle_in_transaction_session_timeout": "5000",
            },
        }


@dataclass(slots=True)
class Tickets:
    """PgQueuer's own statements on its queue, whose rows are the tickets of jobs that are due or running."""

    target: DatabaseTarget
    finish: str = field(init=False)
    """Delete tickets and log why: ids, states, tracebacks."""
    beat: str = field(init=False)
    """Renew the heartbeat of tickets: ids."""

    def __post_init__(self) -> None:
        queue = QueryQueueBuilder(self.target.pgqueuer())
        self.finish = queue.build_log_job_query()
        self.beat = queue.build_update_heartbeat_query()


def install_statements(target: DatabaseTarget) -> str:
    """Return the statements that create PgQueuer's objects in the store's schema, which exists."""
    return QueryBuilderEnvironment(target.pgqueuer()).build_install_query(create_schema=False)
