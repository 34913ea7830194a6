"""Limit callers that are bound to users or organisations to their own jobs."""

from collections.abc import Collection
from dataclasses import replace

from worker.api.auth.authenticator import Caller
from worker.core.job import JobRecord
from worker.core.store import JobQuery
from worker.errors import NotFound


def own_job(caller: Caller, record: JobRecord) -> JobRecord:
    """Return the job. Raises NotFound when it is another owner's, with the message for a job that does not exist."""
    if not caller.owns(record.user_id, record.organization):
        raise NotFound(f"there is no job {record.id}")
    return record


def narrowed(caller: Caller, query: JobQuery) -> JobQuery:
    """Return the query limited to the caller's own jobs."""
    return replace(
        query,
        user_ids=_both(query.user_ids, caller.users),
        organizations=_both(query.organizations, caller.organizations),
    )


def _both(requested: Collection[str] | None, own: Collection[str] | None) -> Collection[str] | None:
    if requested is None or own is None:
        return own if requested is None else requested
    return tuple(name for name in requested if name in own)
