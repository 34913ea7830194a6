"""A connection to PostgreSQL that is lost at a commit."""

from typing import Any

import asyncpg


class LossyConnection:
    """The real connection, which commits but loses the answer, or is lost before the commit."""

    def __init__(self, connection: Any, *, committed: bool, transaction_id: str | None = None) -> None:
        self._connection = connection
        self._committed = committed
        self._transaction_id = transaction_id
        """What the server says is the transaction's id; None: its id."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    async def fetchval(self, statement: str, *arguments: Any) -> Any:
        value = await self._connection.fetchval(statement, *arguments)
        return self._transaction_id or value if "xact_id_if_assigned" in statement else value

    async def execute(self, statement: str, *arguments: Any) -> Any:
        if statement != "COMMIT":
            return await self._connection.execute(statement, *arguments)
        if self._committed:
            await self._connection.execute(statement)
        raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")
