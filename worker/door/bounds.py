"""What a caller bound to users or organisations sees and submits: his own, as if there were nothing else."""

from collections.abc import Collection
from dataclasses import replace

from aiohttp import web

from worker.control import JobRequest, organization_of
from worker.door.access import Caller
from worker.errors import NotFound
from worker.job import JobRecord
from worker.queue import JobQuery


def seen_by(caller: Caller, record: JobRecord) -> JobRecord:
    """The job; NotFound when it is another's, in the very words for one that is not there."""
    if not caller.owns(record.user_id, record.organization):
        raise NotFound(f"there is no job {record.id}")
    return record


def admitted(caller: Caller, job: JobRequest) -> JobRequest:
    """The job as this caller may submit it: of his only user where it names none. HTTPForbidden: it is another's."""
    if not caller.is_bound:
        return job
    if job.user_id is None and caller.users is not None and len(caller.users) == 1:
        job = job.model_copy(update={"user_id": next(iter(caller.users))})
    if caller.users is not None and job.user_id not in caller.users:
        raise web.HTTPForbidden(text="this key is bound to users, and userId names none of them")
    if caller.organizations is not None and organization_of(job.payload) not in caller.organizations:
        raise web.HTTPForbidden(text="this key is bound to organisations, and payload.organization names none of them")
    return job


def narrowed(caller: Caller, query: JobQuery) -> JobQuery:
    """The query over the caller's own jobs alone."""
    return replace(
        query,
        user_ids=_both(query.user_ids, caller.users),
        organizations=_both(query.organizations, caller.organizations),
    )


def _both(asked: Collection[str] | None, own: Collection[str] | None) -> Collection[str] | None:
    if asked is None or own is None:
        return own if asked is None else asked
    return tuple(name for name in asked if name in own)
