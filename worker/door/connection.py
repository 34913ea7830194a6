"""The link to the org-socket server, as people see it."""

from typing import Any

from worker.clock import rfc3339
from worker.orgsocket.history import Entry


def history_view(entry: Entry) -> dict[str, Any]:
    """One event of the link as JSON."""
    return {
        "at": rfc3339(entry.at),
        "event": entry.event,
        "code": entry.code,
        "reason": entry.reason,
        "detail": entry.detail,
    }
