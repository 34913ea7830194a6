"""`/api/v1/audit`: the changes that callers requested."""

from collections.abc import Sequence

import orjson
from aiohttp import web

from worker.api.errors import json_response
from worker.api.request_values import Limit, Number, Query, Text, query_of
from worker.api.routing import Route
from worker.api.schemas import AuditEntryAnswer, AuditList
from worker.core.clock import rfc3339
from worker.core.store import AuditEntry, AuditQuery
from worker.runtime.operations import JobService


class TrailQuery(Query):
    """Whose changes, which, and from where to continue."""

    actor: Text | None = None
    action: Text | None = None
    cursor: Number | None = None
    limit: Limit = 50


class AuditRoutes:
    """The audit trail, newest first."""

    def __init__(self, jobs: JobService) -> None:
        self._jobs = jobs

    def routes(self) -> Sequence[Route]:
        answers, summary = {200: AuditList}, "Changes, and the caller who requested each"
        return (Route("GET", "/api/v1/audit", self.find, summary, "admin", TrailQuery, answers=answers),)

    async def find(self, request: web.Request) -> web.Response:
        query = query_of(request, TrailQuery)
        cursor = None if query.cursor is None else str(query.cursor)
        page = await self._jobs.audit_trail(AuditQuery(query.actor, query.action, cursor, query.limit))
        trail: AuditList = {"entries": [_entry(entry) for entry in page.entries], "cursor": page.cursor}
        return json_response(trail)


def _entry(entry: AuditEntry) -> AuditEntryAnswer:
    return {
        "at": rfc3339(entry.at),
        "actor": entry.actor,
        "action": entry.action,
        "target": entry.target,
        "detail": None if entry.detail is None else orjson.Fragment(entry.detail),
    }
