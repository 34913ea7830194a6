"""Turn the store's records into responses."""

from typing import cast

import orjson

from worker.api.schemas import (
    AcceptedInBatch,
    AcceptedJob,
    AttemptAnswer,
    DeliveryAnswer,
    JobAnswer,
    JobInList,
    JobList,
    NotificationAnswer,
)
from worker.core.clock import rfc3339
from worker.core.failure import LocalizedError, localized_of
from worker.core.job import AttemptRecord, JobRecord, JobState
from worker.core.store import DeliveryRecord, EnqueueResult, JobPage, NotificationRecord
from worker.runtime.operations import JobService


def job_summary(record: JobRecord, jobs: JobService) -> JobInList:
    """Return a job as one row of a list: without payload, result and stack trace, which may be long."""
    summary: JobInList = {
        "jobId": record.id,
        "taskType": record.kind,
        "userId": record.user_id,
        "organization": record.organization,
        "status": record.state,
        "priority": record.priority,
        "run": record.run,
        "attempt": record.attempt,
        "maxAttempts": record.max_attempts,
        "createdAt": rfc3339(record.created_at),
        "runAt": rfc3339(record.run_at),
        "startedAt": timestamp(record.started_at),
        "completedAt": timestamp(record.finished_at),
        "durationMs": record.duration_ms,
        "duration": record.duration_ms,
        "cancelRequested": record.cancel_requested,
    }
    if record.error is not None:
        summary["errorType"] = record.error_type
        summary["error"] = record.error
        summary["errorId"] = record.error_id
        if localized := _localized(record.state is JobState.FAILED, record.result):
            summary["errorCode"], summary["errorTh"] = localized.code, localized.text_th
    if record.state is JobState.RUNNING and (progress := jobs.progress_of(record.id)) is not None:
        summary["progress"] = {"percent": progress[0], "note": progress[1]}
    return summary


def job_list(page: JobPage, jobs: JobService) -> JobList:
    """Return one page of jobs."""
    return {"jobs": [job_summary(record, jobs) for record in page.jobs], "cursor": page.cursor}


async def job_details(record: JobRecord, jobs: JobService) -> JobAnswer:
    """Return a job with its payload, result, earlier attempts and the deliveries of its notifications."""
    attempts, deliveries = await jobs.history(record.id)
    details = cast(JobAnswer, job_summary(record, jobs))
    details["payload"] = orjson.Fragment(record.payload)
    details["attempts"] = [attempt_view(attempt) for attempt in attempts]
    details["deliveries"] = [delivery_view(delivery) for delivery in deliveries]
    if record.error is not None:
        details["stackTrace"] = record.stack_trace
    localized = _localized(record.state is JobState.FAILED, record.result)
    if localized is not None and localized.details is not None:
        details["errorDetails"] = localized.details
    if record.result is not None and record.state is not JobState.FAILED:
        details["result"] = orjson.Fragment(record.result)
    return details


def _localized(is_failed: bool, result: bytes | None) -> LocalizedError | None:
    """Return code and Thai text of a failure, which are stored in the place of a result."""
    return localized_of(result) if is_failed else None


def attempt_view(record: AttemptRecord) -> AttemptAnswer:
    """Return an earlier attempt of a job."""
    view: AttemptAnswer = {
        "run": record.run,
        "attempt": record.attempt,
        "ended": record.ended,
        "startedAt": timestamp(record.started_at),
        "completedAt": timestamp(record.finished_at),
        "durationMs": record.duration_ms,
        "duration": record.duration_ms,
    }
    if record.error is not None:
        view["errorType"] = record.error_type
        view["error"] = record.error
        view["errorId"] = record.error_id
        view["stackTrace"] = record.stack_trace
    if localized := _localized(record.ended == "failed", record.result):
        view["errorCode"], view["errorTh"] = localized.code, localized.text_th
    elif record.result is not None and record.ended != "failed":
        view["result"] = orjson.Fragment(record.result)
    return view


def delivery_view(record: DeliveryRecord) -> DeliveryAnswer:
    """Return the delivery of one run's notification."""
    return {
        "notificationId": record.notification_id,
        "run": record.run,
        "sequence": record.sequence,
        "status": record.state,
        "storedAt": rfc3339(record.stored_at),
        "deliveredAt": timestamp(record.delivered_at),
        "shownAt": timestamp(record.shown_at),
        "shownCount": record.shown_count,
        "redelivery": record.redelivery,
        "reason": record.reason,
    }


def timestamp(seconds: float | None) -> str | None:
    """Return a wall clock time as text; None stays None."""
    return None if seconds is None else rfc3339(seconds)


def accepted_job(result: EnqueueResult, path: str) -> AcceptedJob:
    """Return the response to one submitted job; `path` is that of the jobs, as the client has to call it."""
    base = f"{path}/{result.job_id}"
    return {**accepted_in_batch(result), "links": {"self": base, "cancel": f"{base}/cancel", "retry": f"{base}/retry"}}


def accepted_in_batch(result: EnqueueResult) -> AcceptedInBatch:
    """Return the response to one job of a batch, where links would be most of the response."""
    return {
        "jobId": result.job_id,
        "status": "conflict" if result.state == "conflict" else result.job_state.value,
        "created": result.state == "created",
    }


def notification_view(record: NotificationRecord) -> NotificationAnswer:
    """Return a notification with the message as it is sent."""
    return {
        "id": record.id,
        "notificationId": record.notification_id,
        "jobId": record.job_id,
        "userId": record.user_id,
        "sequence": record.sequence,
        "status": record.state,
        "createdAt": rfc3339(record.created_at),
        "deliveredAt": timestamp(record.delivered_at),
        "redelivery": record.redelivery,
        "reason": record.reason,
        "body": orjson.Fragment(record.body),
    }
