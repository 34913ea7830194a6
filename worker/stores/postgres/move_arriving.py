"""Tables next to those of a store in PostgreSQL, for rows on their way there: they stay when a move is interrupted.

Not logged: after a crash of the server they are empty, and the move begins with them again.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from worker.stores.postgres.database import Connection


@dataclass(frozen=True, slots=True)
class MovedTable:
    """A table, how it is read from the file, and its columns in PostgreSQL in the order of the first one."""

    name: str
    columns: str
    select: str = ""
    booleans: tuple[int, ...] = ()
    json: tuple[int, ...] = ()
    """Columns with JSON text, which has no NUL and is stored as it is."""
    grows: bool = True
    """Rows are added with increasing keys, so that an interrupted copy continues behind the last one."""

    @property
    def names(self) -> list[str]:
        return [name.strip() for name in self.columns.split(",")]

    @property
    def key(self) -> str:
        return self.names[0]

    @property
    def order(self) -> str:
        """What PostgreSQL orders by, so that the order is that of the file."""
        return self.key if self.grows else f'{self.key} COLLATE "C"'

    @property
    def statement(self) -> str:
        return self.select or f"SELECT {self.columns} FROM {self.name} ORDER BY {self.key}"


class Arriving:
    """The tables for the rows that have arrived. The connection's role has to be the owner of the schema."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def has_rows(self, tables: Iterable[MovedTable]) -> bool:
        """Return whether an interrupted move has left rows."""
        for table in tables:
            name = _name(table)
            if await self._columns(name) and await self._connection.fetchval(f"SELECT EXISTS (SELECT FROM {name})"):
                return True
        return False

    async def prepare(self, table: MovedTable) -> tuple[int, Any]:
        """Make a table ready for rows; return how many it has, and the key of the last one: None if it has none."""
        name = _name(table)
        if await self._columns(name) != table.names:  # of another version, or none
            await self._connection.execute(f"DROP TABLE IF EXISTS {name}")
        await self._connection.execute(
            f"CREATE UNLOGGED TABLE IF NOT EXISTS {name} AS SELECT {table.columns} FROM {table.name} WITH NO DATA"
        )
        if not table.grows:
            await self._connection.execute(f"TRUNCATE {name}")
            return 0, None
        done, last = await self._connection.fetchrow(f"SELECT count(*), max({table.key}) FROM {name}")
        return done, last

    async def add(self, table: MovedTable, records: Sequence[tuple[Any, ...]]) -> None:
        """Add rows."""
        await self._connection.copy_records_to_table(_name(table), records=records, columns=table.names)

    async def put_in_place(self, table: MovedTable) -> int:
        """Insert all rows into the store's table; return how many there are."""
        status: str = await self._connection.execute(
            f"INSERT INTO {table.name} ({table.columns}) SELECT {table.columns} FROM {_name(table)} "
            f"ORDER BY {table.order}"
        )
        return int(status.split()[-1])

    async def drop(self, tables: Iterable[MovedTable]) -> None:
        """Remove the tables."""
        await self._connection.execute(f"DROP TABLE IF EXISTS {', '.join(map(_name, tables))}")

    async def _columns(self, name: str) -> list[str]:
        rows = await self._connection.fetch(
            "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped "
            "ORDER BY attnum",
            name,
        )
        return [row["attname"] for row in rows]


def _name(table: MovedTable) -> str:
    return f"arriving_{table.name}"
