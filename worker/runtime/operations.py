"""The operations on jobs and notifications: submit, show, find, cancel, retry, resend. Independent of HTTP.

The HTTP API, the UNIX socket, and the command line without a running service all use them.
"""

import asyncio
import contextlib
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

import orjson

from config.link_settings import WebSocketSettings
from config.settings import WorkerSettings
from worker.core.clock import Clock
from worker.core.events import Audited, Emit, JobsAccepted, NotificationRejected, WaitingJobCancelled, Warned
from worker.core.job import TERMINAL, AttemptRecord, JobRecord, NewJob, new_job_ids
from worker.core.notification import NotificationFormat, cancelled_before_run
from worker.core.outcome import Outcome, Retry
from worker.core.store import (
    AuditEntry,
    AuditPage,
    AuditQuery,
    DeliveryRecord,
    EnqueueResult,
    JobPage,
    JobQuery,
    NotificationRecord,
    OutboxMessage,
    Store,
    StoreStats,
)
from worker.errors import InvalidPayload, KeyConflict, MissingUser, NotFound, NotPossible, UnknownKind, WorkerError
from worker.handler import Registry
from worker.runtime.from_settings import notification_format
from worker.runtime.job_request import JobRequest, canonical_payload, organization_of

SET_ASIDE: Final = "set aside by an operator"
_PAGE: Final = 512
"""Waiting notifications read at once."""


@dataclass(slots=True)
class JobService:
    """The operations. `interrupt` and `progress_of` reach the worker, if there is one in this process."""

    store: Store
    registry: Registry
    notification_format: NotificationFormat
    clock: Clock
    default_user: str | None
    max_attempts: int
    sections: Mapping[str, Any] = field(default_factory=dict)
    """The handlers' settings by section; a handler may reject a job that they do not allow."""
    interrupt: Callable[[str], bool] = lambda _job_id: False
    progress_of: Callable[[str], tuple[float, str] | None] = lambda _job_id: None
    """Returns percent and note of a job that runs here."""
    emit: Emit = lambda _event: None
    on_set_aside: Callable[[OutboxMessage], None] = lambda _message: None
    """Called with a notification that an operator has set aside."""
    _waiters: dict[str, list["asyncio.Future[None]"]] = field(default_factory=dict)

    @classmethod
    def from_settings(
        cls,
        settings: WorkerSettings,
        web_socket: WebSocketSettings,
        *,
        store: Store,
        registry: Registry,
        sections: Mapping[str, Any],
        clock: Clock,
    ) -> "JobService":
        """Return the operations on a store, without a worker in this process."""
        return cls(
            store=store,
            registry=registry,
            notification_format=notification_format(web_socket),
            clock=clock,
            default_user=web_socket.default_user_id,
            max_attempts=settings.max_attempts,
            sections=sections,
        )

    def attach(
        self,
        *,
        emit: Emit,
        interrupt: Callable[[str], bool],
        progress_of: Callable[[str], tuple[float, str] | None],
    ) -> None:
        """Connect the worker of this process."""
        self.emit, self.interrupt, self.progress_of = emit, interrupt, progress_of

    def apply(self, settings: WorkerSettings, web_socket: WebSocketSettings, sections: Mapping[str, Any]) -> None:
        """Use other settings for requests from now on."""
        self.notification_format = notification_format(web_socket)
        self.default_user = web_socket.default_user_id
        self.max_attempts = settings.max_attempts
        self.sections = sections

    async def submit(self, request: JobRequest, *, scope: str = "", key: str | None = None) -> EnqueueResult:
        """Store one job; it is durable on return. Raises KeyConflict when the key belongs to another payload."""
        [accepted] = await self.submit_all([request], scope=scope, keys=[key])
        if accepted.state == "conflict":
            raise KeyConflict(f"the key {key or request.id!r} is taken by job {accepted.job_id}, whose payload differs")
        return accepted

    async def submit_all(
        self, requests: Sequence[JobRequest], *, scope: str = "", keys: Sequence[str | None] | None = None
    ) -> list[EnqueueResult]:
        """Store all jobs in one commit; when one is invalid, none is stored."""
        chosen = keys or [None] * len(requests)
        now = self.clock.now()
        ids = new_job_ids(now, len(requests))
        jobs = [
            self._job(job_id, request, scope, key, now)
            for job_id, request, key in zip(ids, requests, chosen, strict=True)
        ]
        answers = await self.store.enqueue(jobs)
        kinds = [job.kind for job, answer in zip(jobs, answers, strict=True) if answer.state == "created"]
        if kinds:
            self.emit(JobsAccepted(kinds))
        return answers

    async def submit_as(self, job_id: str, request: JobRequest, *, scope: str = "") -> EnqueueResult:
        """Store one job under the id that its files already have; a conflict is returned, not raised."""
        job = self._job(job_id, request, scope, None, self.clock.now())
        [answer] = await self.store.enqueue([job])
        if answer.state == "created":
            self.emit(JobsAccepted([job.kind]))
        return answer

    def user_of(self, request: JobRequest) -> str:
        """Return the user that the job will belong to. Raises MissingUser if it names none and there is no default."""
        user = request.user_id or self.default_user
        if user is None:
            raise MissingUser("the job names no user (userId) and WebSocket:DefaultUserId is not set")
        return user

    def _job(self, job_id: str, request: JobRequest, scope: str, key: str | None, now: float) -> NewJob:
        handler = self.registry.get(request.task_type)
        if handler is None:
            raise UnknownKind(f"unknown task type {request.task_type!r}; there are: {', '.join(sorted(self.registry))}")
        payload = canonical_payload(request)
        handler.admit(payload, self.sections.get(handler.section or ""))
        user = self.user_of(request)
        return NewJob(
            id=job_id,
            kind=request.task_type,
            user_id=user,
            payload=payload,
            created_at=now,
            run_at=request.run_at.timestamp() if request.run_at else now,
            max_attempts=request.max_attempts or self.max_attempts,
            key=_scoped(scope, request.task_type, user, key or request.id),
            priority=request.priority,
            organization=organization_of(request.payload),
            submitter=scope or None,
        )

    async def history(self, job_id: str) -> tuple[list[AttemptRecord], list[DeliveryRecord]]:
        """Return the attempts of a job, and the deliveries of its notifications."""
        attempts, deliveries = await asyncio.gather(self.store.attempts(job_id), self.store.deliveries(job_id))
        return attempts, deliveries

    async def show(self, job_id: str) -> JobRecord:
        record = await self.store.get(job_id)
        if record is None:
            raise NotFound(f"there is no job {job_id}")
        return record

    async def find(self, query: JobQuery) -> JobPage:
        try:
            return await self.store.find(query)
        except ValueError as exc:  # a cursor that is not one of the store's
            raise InvalidPayload(str(exc)) from None

    async def ids(self, query: JobQuery) -> tuple[list[str], str | None]:
        """Return up to `limit` ids and the next cursor. A page of the store may be short without being the last."""
        ids: list[str] = []
        cursor, limit = query.cursor, query.limit
        while True:
            try:
                page = await self.store.find_ids(replace(query, cursor=cursor, limit=limit - len(ids)))
            except ValueError as exc:
                raise InvalidPayload(str(exc)) from None
            ids += page.ids
            cursor = page.cursor
            if cursor is None or len(ids) >= limit:
                return ids, cursor

    async def cancel(self, job_id: str) -> Literal["cancelled", "requested"]:
        """Cancel a job; return `cancelled` when it waited, `requested` when it runs.

        Raises NotFound, and NotPossible when it has ended.
        """
        while True:
            record = await self.show(job_id)
            notification = cancelled_before_run(record, self.clock.now(), self.notification_format)
            answer = await self.store.cancel(job_id, record.run, notification)
            if answer == "changed":
                continue
            if answer == "ended":
                raise NotPossible(f"job {job_id} has ended ({(await self.show(job_id)).state})")
            if answer == "unknown":
                raise NotFound(f"there is no job {job_id}")
            if answer == "requested":
                self.interrupt(job_id)
                return "requested"
            self._wake_waiters(job_id)  # a job that never ran is not settled by the worker
            self.emit(WaitingJobCancelled(job_id, record.kind, record.user_id))
            return "cancelled"

    async def retry(self, job_id: str) -> JobRecord:
        """Start the next run of a job that has ended. Raises NotFound, and NotPossible when it has not ended."""
        answer = await self.store.retry(job_id)
        if answer == "unknown":
            raise NotFound(f"there is no job {job_id}")
        if answer == "active":
            raise NotPossible(f"job {job_id} has not ended, so there is nothing to retry")
        return await self.show(job_id)

    async def notifications(self, **filters: Any) -> list[NotificationRecord]:
        try:
            return await self.store.notifications(**filters)
        except ValueError as exc:  # an unknown state
            raise InvalidPayload(str(exc)) from None

    async def resend(self, notification_id: str) -> int:
        """Queue a notification again; return its id in the outbox. Raises NotFound."""
        message = await self.store.resend(notification_id)
        if message is None:
            raise NotFound(f"there is no notification {notification_id}")
        return message.id

    async def set_aside(self, notification_id: str) -> int:
        """Mark a waiting notification as dead, so that it is not sent; return its id in the outbox.

        Raises NotFound when no notification with this id waits to be sent.
        """
        message = await self._waiting(notification_id)
        if message is None:
            raise NotFound(f"there is no notification {notification_id} that waits to be sent")
        await self.store.dead(message.id, SET_ASIDE)
        self.on_set_aside(message)
        self.emit(NotificationRejected(message.notification_id, message.job_id, SET_ASIDE))
        return message.id

    async def _waiting(self, notification_id: str) -> OutboxMessage | None:
        after = 0
        while found := await self.store.pending(after, _PAGE):
            for message in found:
                if message.notification_id == notification_id:
                    return message
            after = found[-1].id
        return None

    async def audit(self, actor: str, action: str, target: str, detail: Mapping[str, Any]) -> None:
        """Record an operation: a line in the log, and a row in the store if it accepts one."""
        self.emit(Audited(actor, action, target))
        entry = AuditEntry(self.clock.now(), actor, action, target, orjson.dumps(detail) if detail else None)
        try:
            await self.store.audit(entry)
        except WorkerError as exc:  # the operation was carried out, and the log has it
            self.emit(Warned(f"{action} {target} by {actor} is in the log, but not in the audit log: {exc}"))

    async def audit_trail(self, query: AuditQuery) -> AuditPage:
        try:
            return await self.store.audit_trail(query)
        except ValueError as exc:  # a cursor that is not one of the store's
            raise InvalidPayload(str(exc)) from None

    async def stats(self) -> StoreStats:
        return await self.store.stats()

    async def wait(self, job_id: str, seconds: float) -> JobRecord:
        """Return the job when it has ended, or its state after `seconds`. Raises NotFound."""
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(job_id, []).append(ended)
        try:
            record = await self.show(job_id)
            if record.state not in TERMINAL:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        await ended
                record = await self.show(job_id)
            return record
        finally:
            self._forget(job_id, ended)

    def on_settled(self, job_id: str, outcome: Outcome) -> None:
        """Wake the callers of `wait` when the outcome ends the job's run."""
        if self._waiters and not isinstance(outcome, Retry):
            self._wake_waiters(job_id)

    def _wake_waiters(self, job_id: str) -> None:
        for waiter in self._waiters.get(job_id, ()):
            if not waiter.done():
                waiter.set_result(None)

    def _forget(self, job_id: str, waiter: "asyncio.Future[None]") -> None:
        waiters = self._waiters.get(job_id, [])
        waiters.remove(waiter)
        if not waiters:
            self._waiters.pop(job_id, None)


def _scoped(scope: str, kind: str, user: str, key: str | None) -> str | None:
    """Return the key within its scope: the same key of another caller, kind or user is a different one."""
    if key is None:
        return None
    # As JSON, because any separator could also be part of a name or a key. Not by orjson, which rejects the
    # surrogates that represent bytes of a header that are not UTF-8.
    return hashlib.sha256(json.dumps([scope, kind, user, key]).encode()).hexdigest()
