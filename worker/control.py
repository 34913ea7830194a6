"""What people and programs may ask of the service: submit, look, cancel, retry, resend. Knows no HTTP.

One set of operations behind every door: the HTTP API, the UNIX socket, and the command line when no service runs.
"""

import asyncio
import contextlib
import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Annotated, Any

import orjson
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
)
from pydantic.alias_generators import to_camel

from worker.clock import Clock, rfc3339
from worker.errors import InvalidPayload, KeyConflict, MissingUser, NotFound, NotPossible, UnknownKind, WorkerError
from worker.events import Audited, Emit, JobsAccepted, WaitingJobCancelled, Warned
from worker.handler import Registry, explain
from worker.job import TERMINAL, AttemptRecord, JobRecord, JobState, NewJob, new_job_ids
from worker.notification import Wire, cancelled_before_run
from worker.queue import (
    Accepted,
    AuditEntry,
    AuditPage,
    AuditQuery,
    DeliveryRecord,
    Figures,
    JobPage,
    JobQuery,
    NotificationRecord,
    Store,
)

Name = Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)]


def _in_utc(value: datetime) -> datetime:
    """A time that lies outside the calendar once its offset is taken off could be stored, but never shown."""
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("must lie between the years 1 and 9999, in UTC") from None


def _written_out(value: Any) -> Any:
    """Seconds or milliseconds since 1970? A number could be either, so it is neither."""
    if isinstance(value, str) and not re.match(r"\d{4}-\d\d-\d\d[Tt ]", value, re.ASCII):
        raise ValueError("must be a time such as 2026-11-20T08:15:30Z")
    if not isinstance(value, str | datetime | None):
        raise ValueError("must be a text such as 2026-11-20T08:15:30Z")  # noqa: TRY004 -- pydantic words a ValueError
    return value


Moment = Annotated[AwareDatetime, BeforeValidator(_written_out), AfterValidator(_in_utc)]
"""A time with its offset, within the calendar."""


class JobRequest(BaseModel):
    """One job as a producer sends it."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True)

    task_type: Name
    user_id: Name | None = None
    payload: dict[str, Any] = Field(default_factory=dict)
    run_at: Moment | None = None
    max_attempts: Annotated[int, Field(ge=1, le=1000)] | None = None
    priority: Annotated[int, Field(strict=True, ge=-100, le=100)] = 0
    """Of the due jobs those with the highest go first."""
    id: Name | None = None
    """Idempotency key, where the transport has no header for it."""


def parse_request(data: bytes | str | dict[str, Any]) -> JobRequest:
    """InvalidPayload names every fault in one line."""
    try:
        return JobRequest.model_validate(orjson.loads(data) if isinstance(data, bytes | str) else data)
    except orjson.JSONDecodeError as exc:
        raise InvalidPayload(f"not valid JSON: {exc}") from None
    except ValidationError as exc:
        raise InvalidPayload(f"job: {explain(exc)}") from None


_REQUESTS = TypeAdapter(list[JobRequest])


def parse_requests(entries: list[Any]) -> list[JobRequest]:
    """A batch, checked at once; InvalidPayload says which entry is at fault, and what with."""
    try:
        return _REQUESTS.validate_python(entries)
    except ValidationError:
        return [_entry(number, entry) for number, entry in enumerate(entries)]


def _entry(number: int, entry: Any) -> JobRequest:
    try:
        return parse_request(entry)
    except InvalidPayload as exc:
        raise InvalidPayload(f"jobs[{number}]: {exc}") from None


@dataclass(slots=True)
class Control:
    """The operations. `interrupt` and `how_far` reach the running worker, if there is one in this process."""

    store: Store
    registry: Registry
    wire: Wire
    clock: Clock
    default_user: str | None
    max_attempts: int
    sections: Mapping[str, Any] = field(default_factory=dict)
    """The handlers' settings, by section: what they allow is asked before a job is taken in."""
    interrupt: Callable[[str], bool] = lambda _job_id: False
    how_far: Callable[[str], tuple[float, str] | None] = lambda _job_id: None
    """Percent and note of a job that runs here."""
    emit: Emit = lambda _event: None
    _waiters: dict[str, list["asyncio.Future[None]"]] = field(default_factory=dict)

    async def submit(self, request: JobRequest, *, scope: str = "", key: str | None = None) -> Accepted:
        """One job, durable on return. KeyConflict: the key is taken by another payload."""
        [accepted] = await self.submit_all([request], scope=scope, keys=[key])
        if accepted.state == "conflict":
            raise KeyConflict(f"the key {key or request.id!r} is taken by job {accepted.job_id}, whose payload differs")
        return accepted

    async def submit_all(
        self, requests: Sequence[JobRequest], *, scope: str = "", keys: Sequence[str | None] | None = None
    ) -> list[Accepted]:
        """All of them in one commit; nothing is stored when one is invalid."""
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

    async def submit_as(self, job_id: str, request: JobRequest, *, scope: str = "", key: str | None = None) -> Accepted:
        """The same under an id its files already lie under. A conflict is an answer: the files may be the same."""
        job = self._job(job_id, request, scope, key, self.clock.now())
        [answer] = await self.store.enqueue([job])
        if answer.state == "created":
            self.emit(JobsAccepted([job.kind]))
        return answer

    def _job(self, job_id: str, request: JobRequest, scope: str, key: str | None, now: float) -> NewJob:
        handler = self.registry.get(request.task_type)
        if handler is None:
            raise UnknownKind(f"unknown task type {request.task_type!r}; there are: {', '.join(sorted(self.registry))}")
        payload = _canonical(request)
        handler.admit(payload, self.sections.get(handler.section or ""))
        user = request.user_id or self.default_user
        if user is None:
            raise MissingUser("the job names no user (userId) and WebSocket:DefaultUserId is not set")
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
        )

    def view(self, record: JobRecord, *, brief: bool = False) -> dict[str, Any]:
        """A job as JSON, for every door; `brief` leaves out what may be long."""
        view = job_view(record)
        if brief:
            for name in ("payload", "result", "stackTrace"):
                view.pop(name, None)
        if record.state is JobState.RUNNING and (progress := self.how_far(record.id)) is not None:
            view["progress"] = {"percent": progress[0], "note": progress[1]}
        return view

    async def story(self, record: JobRecord) -> dict[str, Any]:
        """The view of a job together with what came before, and what became of its news."""
        attempts, deliveries = await asyncio.gather(self.store.attempts(record.id), self.store.deliveries(record.id))
        return self.view(record) | {
            "attempts": [attempt_view(attempt) for attempt in attempts],
            "deliveries": [delivery_view(delivery) for delivery in deliveries],
        }

    async def show(self, job_id: str) -> JobRecord:
        record = await self.store.get(job_id)
        if record is None:
            raise NotFound(f"there is no job {job_id}")
        return record

    async def find(self, query: JobQuery) -> JobPage:
        try:
            return await self.store.find(query)
        except ValueError as exc:  # a cursor that is none of the store's
            raise InvalidPayload(str(exc)) from None

    async def ids(self, query: JobQuery) -> tuple[list[str], str | None]:
        """Up to `limit` ids, and where to go on. A page of the store may be short and still not the last."""
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

    async def cancel(self, job_id: str) -> str:
        """`cancelled` when it waited, `requested` when it runs; NotPossible when it had ended."""
        while True:
            record = await self.show(job_id)
            news = cancelled_before_run(record, self.clock.now(), self.wire)
            answer = await self.store.cancel(job_id, record.run, news)
            if answer == "changed":
                continue
            if answer == "ended":
                raise NotPossible(f"job {job_id} has ended ({(await self.show(job_id)).state})")
            if answer == "unknown":
                raise NotFound(f"there is no job {job_id}")
            if answer == "requested":
                self.interrupt(job_id)
            else:
                self.ended(job_id)  # nothing will be settled, so nobody else wakes who waits for it
                self.emit(WaitingJobCancelled(job_id, record.kind, record.user_id))
            return answer

    async def retry(self, job_id: str) -> JobRecord:
        """Start the next run of a job that has ended."""
        answer = await self.store.retry(job_id)
        if answer == "unknown":
            raise NotFound(f"there is no job {job_id}")
        if answer == "active":
            raise NotPossible(f"job {job_id} has not ended, so there is nothing to retry")
        return await self.show(job_id)

    async def notifications(self, **filters: Any) -> list[NotificationRecord]:
        try:
            return await self.store.notifications(**filters)
        except ValueError as exc:  # a state there is not
            raise InvalidPayload(str(exc)) from None

    async def resend(self, notification_id: str) -> int:
        """Queue a notification once more; its place in the outbox."""
        message = await self.store.resend(notification_id)
        if message is None:
            raise NotFound(f"there is no notification {notification_id}")
        return message.id

    async def audit(self, actor: str, action: str, target: str, detail: Mapping[str, Any]) -> None:
        """Write down what somebody ordered: a line in the log, and a row in the store if that takes it."""
        self.emit(Audited(actor, action, target))
        entry = AuditEntry(self.clock.now(), actor, action, target, orjson.dumps(detail) if detail else None)
        try:
            await self.store.audit(entry)
        except WorkerError as exc:  # it is done all the same, and the log knows
            self.emit(Warned(f"{actor}'s order {action} {target} is in the log, but not in the audit trail: {exc}"))

    async def audit_trail(self, query: AuditQuery) -> AuditPage:
        try:
            return await self.store.audit_trail(query)
        except ValueError as exc:  # a cursor that is none of the store's
            raise InvalidPayload(str(exc)) from None

    async def figures(self) -> Figures:
        return await self.store.figures()

    async def wait(self, job_id: str, seconds: float) -> JobRecord:
        """The job when it has ended, or as it is after `seconds`."""
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

    def ended(self, job_id: str) -> None:
        """A run has ended: told by the service when one is settled."""
        for waiter in self._waiters.get(job_id, ()):
            if not waiter.done():
                waiter.set_result(None)

    def _forget(self, job_id: str, waiter: "asyncio.Future[None]") -> None:
        waiters = self._waiters.get(job_id, [])
        waiters.remove(waiter)
        if not waiters:
            self._waiters.pop(job_id, None)


def organization_of(payload: Mapping[str, Any]) -> str | None:
    """Whose job it is beside the user's: its payload's `organization`, where that is a text."""
    organization = payload.get("organization")
    return organization if isinstance(organization, str) else None


def _canonical(request: JobRequest) -> bytes:
    try:
        return orjson.dumps(request.payload, option=orjson.OPT_SORT_KEYS)
    except TypeError as exc:  # read with a thousand levels, written with 254
        raise InvalidPayload(f"payload of {request.task_type}: {exc}") from None


def _scoped(scope: str, kind: str, user: str, key: str | None) -> str | None:
    """Keys are the caller's own: the same word from another caller, kind or user is another key."""
    if key is None:
        return None
    # As JSON: whatever sign separated them could also stand in a name or a key. Not by orjson, which refuses
    # the surrogates that stand for a header's bytes that are no UTF-8.
    return hashlib.sha256(json.dumps([scope, kind, user, key]).encode()).hexdigest()


def job_view(record: JobRecord) -> dict[str, Any]:
    """Everything the store knows of a job."""
    view: dict[str, Any] = {
        "jobId": record.id,
        "taskType": record.kind,
        "userId": record.user_id,
        "organization": record.organization,
        "status": record.state.value,
        "priority": record.priority,
        "run": record.run,
        "attempt": record.attempt,
        "maxAttempts": record.max_attempts,
        "createdAt": rfc3339(record.created_at),
        "runAt": rfc3339(record.run_at),
        "startedAt": _moment(record.started_at),
        "completedAt": _moment(record.finished_at),
        "duration": record.duration_ms,
        "cancelRequested": record.cancel_requested,
        "payload": orjson.Fragment(record.payload),
    }
    return view | _ending(record)


def attempt_view(record: AttemptRecord) -> dict[str, Any]:
    """An attempt that was not its job's last word."""
    view: dict[str, Any] = {
        "run": record.run,
        "attempt": record.attempt,
        "ended": record.ended,
        "startedAt": _moment(record.started_at),
        "completedAt": _moment(record.finished_at),
        "duration": record.duration_ms,
    }
    return view | _ending(record)


def delivery_view(record: DeliveryRecord) -> dict[str, Any]:
    """What became of the notification of one run."""
    return {
        "notificationId": record.notification_id,
        "run": record.run,
        "sequence": record.sequence,
        "status": record.state,
        "storedAt": rfc3339(record.stored_at),
        "deliveredAt": _moment(record.delivered_at),
        "shownAt": _moment(record.shown_at),
        "shownCount": record.shown_count,
        "redelivery": record.redelivery,
        "reason": record.reason,
    }


def _ending(record: JobRecord | AttemptRecord) -> dict[str, Any]:
    """What an attempt came to, as far as it did."""
    ending: dict[str, Any] = {}
    if record.error is not None:
        ending |= {
            "errorType": record.error_type,
            "error": record.error,
            "errorId": record.error_id,
            "stackTrace": record.stack_trace,
        }
    if record.result is not None:
        ending["result"] = orjson.Fragment(record.result)
    return ending


def _moment(seconds: float | None) -> str | None:
    return None if seconds is None else rfc3339(seconds)


def accepted_view(accepted: Accepted) -> dict[str, Any]:
    """The answer to a submitted job."""
    base = f"/api/v1/jobs/{accepted.job_id}"
    return answered(accepted) | {"links": {"self": base, "cancel": f"{base}/cancel", "retry": f"{base}/retry"}}


def answered(accepted: Accepted) -> dict[str, Any]:
    """The answer to one job of a batch, where links would be most of it."""
    return {
        "jobId": accepted.job_id,
        "status": "conflict" if accepted.state == "conflict" else accepted.job_state.value,
        "created": accepted.state == "created",
    }


def notification_view(record: NotificationRecord) -> dict[str, Any]:
    """A notification as JSON, with the message as it is sent."""
    return {
        "id": record.id,
        "notificationId": record.notification_id,
        "jobId": record.job_id,
        "userId": record.user_id,
        "sequence": record.sequence,
        "status": record.state,
        "createdAt": rfc3339(record.created_at),
        "deliveredAt": None if record.delivered_at is None else rfc3339(record.delivered_at),
        "redelivery": record.redelivery,
        "reason": record.reason,
        "body": orjson.Fragment(record.body),
    }
