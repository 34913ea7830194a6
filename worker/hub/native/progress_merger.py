"""Merges the progress messages of one native client. Knows no message."""

import asyncio
from dataclasses import dataclass, field
from typing import Final

from worker.hub.transports.connections import Connection
from worker.hub.transports.transport import SharedMessage

MERGE_SECONDS: Final = 0.1
"""Within this time only the newest progress of each job is kept."""


@dataclass(slots=True)
class ProgressMerger:
    """Sends the newest progress of each job, ten times a second at most."""

    connection: Connection
    _newest: dict[str | None, SharedMessage] = field(default_factory=dict)

    def put(self, job_id: str | None, message: SharedMessage) -> None:
        if not self._newest:
            asyncio.get_running_loop().call_later(MERGE_SECONDS, self._send)
        self._newest[job_id] = message

    def _send(self) -> None:
        messages, self._newest = self._newest, {}
        for message in messages.values():
            self.connection.transport.send_volatile(message)
