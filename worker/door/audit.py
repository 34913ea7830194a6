"""`/api/v1/audit`: who ordered what."""

from collections.abc import Sequence
from typing import Any

import orjson
from aiohttp import web

from worker.clock import rfc3339
from worker.control import Control
from worker.door.answers import AuditList
from worker.door.problems import json_response
from worker.door.routes import Limit, Number, Query, Route, Text, query_of
from worker.queue import AuditEntry, AuditQuery


class TrailQuery(Query):
    """Whose orders, which, and where to go on."""

    actor: Text | None = None
    action: Text | None = None
    cursor: Number | None = None
    limit: Limit = 50


class AuditRoutes:
    """The trail, newest first."""

    def __init__(self, control: Control) -> None:
        self._control = control

    def routes(self) -> Sequence[Route]:
        answers = {200: AuditList}
        return (Route("GET", "/api/v1/audit", self.find, "Who ordered what", "admin", TrailQuery, answers=answers),)

    async def find(self, request: web.Request) -> web.Response:
        query = query_of(request, TrailQuery)
        cursor = None if query.cursor is None else str(query.cursor)
        page = await self._control.audit_trail(AuditQuery(query.actor, query.action, cursor, query.limit))
        return json_response({"entries": [_view(entry) for entry in page.entries], "cursor": page.cursor})


def _view(entry: AuditEntry) -> dict[str, Any]:
    return {
        "at": rfc3339(entry.at),
        "actor": entry.actor,
        "action": entry.action,
        "target": entry.target,
        "detail": None if entry.detail is None else orjson.Fragment(entry.detail),
    }
