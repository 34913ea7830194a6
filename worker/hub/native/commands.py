"""The commands of native clients: those of all clients, and what is an event of its own in Socket.IO."""

from collections.abc import Callable
from typing import Any, Final

from worker.hub.client import Client
from worker.hub.commands import ClientCommands
from worker.hub.handshake import renewed_identity
from worker.hub.hub import Hub
from worker.hub.native.messages import NativeConnection
from worker.hub.tokens import TokenService

READ: Final = "read"
SHOWN: Final = "shown"
REPORTS: Final = frozenset({READ, SHOWN})
"""What a client reports about the messages it was sent, as often as it is sent one."""

_WITHOUT_ANSWER: Final = frozenset({"broadcast-sent", "published"})
"""Answers that only Socket.IO's acknowledgements carry: native publishers receive what they send to their own rooms."""


class NativeCommands:
    """Executes commands by their type."""

    def __init__(self, hub: Hub, tokens: TokenService, commands: ClientCommands) -> None:
        self._hub = hub
        self._tokens = tokens
        self._commands = commands
        self._by_type: dict[str, Callable[[NativeConnection, Client, Any], None]] = {
            SHOWN: self._shown,
            READ: self._read,
            "auth": self._refresh,
        }

    def execute(self, connection: NativeConnection, client: Client, kind: str, data: Any) -> None:
        """Execute one command. MalformedPacket: it is unknown, not valid or not allowed."""
        command = self._by_type.get(kind)
        if command is None:
            self._commands.execute(client, kind, data, lambda answer, content: _answer(connection, answer, content))
        else:
            command(connection, client, data)

    def _read(self, connection: NativeConnection, client: Client, data: Any) -> None:
        if self._hub.on_read(client, data):
            connection.return_token()

    def _shown(self, connection: NativeConnection, client: Client, data: Any) -> None:
        if self._hub.on_shown(client, data):
            connection.return_token()

    def _refresh(self, connection: NativeConnection, client: Client, data: Any) -> None:
        token = data.get("token") if isinstance(data, dict) else None
        client.identity = renewed_identity(self._tokens, client.identity, token)
        connection.send_message("auth", {"ok": True})


def _answer(connection: NativeConnection, kind: str, data: Any) -> None:
    if kind == "echo" and connection.flat and isinstance(data, dict):
        connection.send_message(kind, {**data, "original": {"type": kind, **data}})
    elif kind not in _WITHOUT_ANSWER:
        connection.send_message(kind, data)
