"""The message on the wire: its shape, its size, its id. Section 1 of the contract."""

import re
import uuid
from pathlib import Path
from typing import Any

import orjson
import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

import worker
from tests.support.attempts import a_claimed_job
from worker.core.failure import Failure
from worker.core.job import Job, JobRecord, JobState
from worker.core.notification import (
    NAMESPACE,
    Notification,
    NotificationFormat,
    cancelled_before_run,
    notification_for,
    notification_id,
    progress,
    redelivered,
    refit,
)
from worker.core.outcome import Attempt, CancelledOutcome, Failed, Outcome, Retry, Succeeded

NOON = 1_795_162_530.1234
FRAME = len("42") + len("9999999999")
"""Bytes around the body on the wire: packet types and a long ack id."""


def notification_of(
    outcome: Outcome, wire: NotificationFormat | None = None, job: Job | None = None, duration_ms: float = 1234.56
) -> Notification | None:
    attempt = Attempt(job or a_claimed_job("insignia_background_processing"), NOON - 1, NOON, duration_ms)
    return notification_for(attempt, outcome, wire or NotificationFormat())


def body(notification: Notification | None, sequence: int = 42) -> bytes:
    assert notification is not None
    return notification.body(sequence)


def payload(encoded: bytes) -> dict[str, Any]:
    [_, message, _] = orjson.loads(encoded)
    found: dict[str, Any] = message["payload"]
    return found


def a_failure(message: str = "ValueError: no luck", trace: str | None = "Traceback: ...") -> Failure:
    return Failure("ValueError", message, trace, "0123456789ab")


# -- shape ---------------------------------------------------------------------------------------------------


def test_notification_of_a_success_has_exactly_the_fields_of_the_contract() -> None:
    job = a_claimed_job("insignia_background_processing", user_id="4064c2b2-0414-464a-97c6-4a47c325b9a3", attempt=2)
    assert orjson.loads(body(notification_of(Succeeded(b'{"a":1}'), job=job))) == [
        "socket-notification",
        {
            "success": True,
            "message": "Task Finish",
            "payload": {
                "completedAt": "2026-11-20T08:15:30.123Z",
                "taskType": "insignia_background_processing",
                "duration": 1234.56,
                "status": "success",
                "jobId": job.id,
                "notificationId": str(uuid.uuid5(NAMESPACE, f"{job.id}:1")),
                "attempt": 2,
                "sequence": 42,
            },
        },
        {"userId": "4064c2b2-0414-464a-97c6-4a47c325b9a3"},
    ]


def test_notification_of_a_failure_has_exactly_the_fields_of_the_contract() -> None:
    job = a_claimed_job(attempt=3)
    assert orjson.loads(body(notification_of(Failed(a_failure()), job=job))) == [
        "socket-notification",
        {
            "success": False,
            "message": "Task Failed",
            "payload": {
                "completedAt": "2026-11-20T08:15:30.123Z",
                "taskType": "echo",
                "duration": 1234.56,
                "status": "failed",
                "error": "ValueError: no luck",
                "stackTrace": "Traceback: ...",
                "jobId": job.id,
                "notificationId": notification_id(job.id, 1),
                "attempt": 3,
                "errorId": "0123456789ab",
                "sequence": 42,
            },
        },
        {"userId": "user-1"},
    ]


def test_notification_of_a_cancelled_job_says_failed() -> None:
    failure = Failure("Cancelled", "Cancelled", None, "0123456789ab", retryable=False, cancelled=True)
    [_, message, _] = orjson.loads(body(notification_of(CancelledOutcome(failure))))
    assert (message["success"], message["message"]) == (False, "Task Failed")
    assert (message["payload"]["status"], message["payload"]["error"]) == ("failed", "Cancelled")
    assert "stackTrace" not in message["payload"]


def a_record(**fields: Any) -> JobRecord:
    known: dict[str, Any] = dict.fromkeys(JobRecord.__slots__) | {
        "id": "0199a1b2-0000-7000-8000-000000000001",
        "kind": "echo",
        "user_id": "user-1",
        "state": JobState.QUEUED,
        "run": 1,
        "attempt": 0,
    }
    return JobRecord(**known | fields)


def test_notification_of_a_job_cancelled_before_its_first_attempt_has_attempt_and_duration_0() -> None:
    shown = payload(body(cancelled_before_run(a_record(), NOON, NotificationFormat())))
    assert (shown["attempt"], shown["duration"], shown["error"]) == (0, 0.0, "Cancelled")
    assert "stackTrace" not in shown


def test_notification_of_a_job_cancelled_between_attempts_has_the_last_attempt() -> None:
    shown = payload(body(cancelled_before_run(a_record(attempt=2, duration_ms=12.5), NOON, NotificationFormat())))
    assert (shown["attempt"], shown["duration"], shown["error"]) == (2, 12.5, "Cancelled")


def test_notification_for_a_retry_is_none() -> None:
    assert notification_of(Retry(a_failure(), run_at=NOON)) is None


@pytest.mark.parametrize("include", [True, False])
def test_result_is_included_if_the_settings_say_so(include: bool) -> None:
    shown = payload(
        body(notification_of(Succeeded(b'{"byClass":{"x":1}}'), NotificationFormat(include_result=include)))
    )
    assert shown.get("result") == ({"byClass": {"x": 1}} if include else None)


def test_result_is_left_out_if_the_handler_has_none() -> None:
    assert "result" not in payload(body(notification_of(Succeeded(None), NotificationFormat(include_result=True))))


def test_stack_trace_is_left_out_if_the_settings_say_so() -> None:
    shown = payload(body(notification_of(Failed(a_failure()), NotificationFormat(include_stack_trace=False))))
    assert "stackTrace" not in shown
    assert shown["error"] == "ValueError: no luck"


def test_event_has_the_name_from_the_settings() -> None:
    assert orjson.loads(body(notification_of(Succeeded(None), NotificationFormat(event="งานเสร็จ"))))[0] == "งานเสร็จ"


@pytest.mark.parametrize(("exact", "shown"), [(0.004, 0.0), (0.005001, 0.01), (1234.5678, 1234.57), (2.0, 2.0)])
def test_duration_has_two_decimals(exact: float, shown: float) -> None:
    assert payload(body(notification_of(Succeeded(None), duration_ms=exact)))["duration"] == shown


def test_thai_is_sent_as_utf_8() -> None:
    encoded = body(notification_of(Failed(a_failure("ไม่พบแฟ้ม")), job=a_claimed_job(user_id="สมชาย")))
    assert "ไม่พบแฟ้ม".encode() in encoded
    assert "สมชาย".encode() in encoded
    assert b"\\u" not in encoded


@given(st.integers(min_value=1, max_value=2**63 - 1))
def test_any_sequence_number_makes_valid_json(sequence: int) -> None:
    assert payload(body(notification_of(Succeeded(None)), sequence))["sequence"] == sequence


# -- the id --------------------------------------------------------------------------------------------------


def test_notification_id_is_the_same_for_every_outcome_of_a_run() -> None:
    job = a_claimed_job(run=2, attempt=1)
    ends = [
        notification_of(Succeeded(None), job=job),
        notification_of(Failed(a_failure()), job=job),
        notification_of(CancelledOutcome(a_failure()), job=job),
    ]
    waiting = cancelled_before_run(a_record(id=job.id, run=2), NOON, NotificationFormat())
    assert {notification.id for notification in ends if notification} | {waiting.id} == {notification_id(job.id, 2)}
    assert payload(body(ends[0]))["notificationId"] == notification_id(job.id, 2)


def test_notification_id_equals_the_published_example() -> None:
    """Receivers remember it across our releases."""
    assert str(NAMESPACE) == "6f0c3a52-95f4-5d0b-9f4e-0f9f1d1c7f11"
    assert notification_id("0199a1b2-0000-7000-8000-000000000001", 1) == "08f743cc-36ae-5076-9676-baa4d6cf2c63"


def test_notification_id_of_the_next_run_differs() -> None:
    assert notification_id("a", 1) != notification_id("a", 2)


# -- size ----------------------------------------------------------------------------------------------------

THAI = "ที่นี่กำลังทดสอบน้ำตก" * 400
EMOJI = "👩🏽‍🚀🇹🇭e\u0301" * 400


def test_notification_within_the_limit_is_not_truncated() -> None:
    assert "truncated" not in payload(body(notification_of(Failed(a_failure(THAI, EMOJI)))))


def test_notification_over_the_limit_truncates_the_stack_trace_first() -> None:
    shown = payload(body(notification_of(Failed(a_failure("ข้อผิดพลาด", THAI)), NotificationFormat(max_payload=2048))))
    assert shown["truncated"] is True
    assert shown["error"] == "ข้อผิดพลาด"
    assert 0 < len(shown["stackTrace"]) < len(THAI)
    assert THAI.startswith(shown["stackTrace"])


def test_notification_over_the_limit_truncates_the_error_after_the_stack_trace() -> None:
    shown = payload(body(notification_of(Failed(a_failure(THAI, THAI)), NotificationFormat(max_payload=2048))))
    assert shown["stackTrace"] == ""
    assert 0 < len(shown["error"]) < len(THAI)
    assert shown["errorId"] == "0123456789ab"


def test_result_over_the_limit_is_cut_if_it_is_text_and_left_out_otherwise() -> None:
    wire = NotificationFormat(max_payload=2048, include_result=True)
    text = payload(body(notification_of(Succeeded(orjson.dumps(THAI)), wire)))
    table = payload(body(notification_of(Succeeded(orjson.dumps({"names": [THAI]})), wire)))
    assert (text["truncated"], table["truncated"]) == (True, True)
    assert 0 < len(text["result"]) < len(THAI)
    assert table["result"] is None


@pytest.mark.parametrize("text", [THAI, EMOJI])
@pytest.mark.parametrize("limit", range(1500, 1540))
def test_text_over_the_limit_is_cut_between_graphemes(text: str, limit: int) -> None:
    shown = payload(body(notification_of(Failed(a_failure("x", text)), NotificationFormat(max_payload=limit))))[
        "stackTrace"
    ]
    graphemes = regex.findall(r"\X", text)
    assert "".join(graphemes[: len(regex.findall(r"\X", shown))]) == shown


characters = st.one_of(st.sampled_from('กิ์ำ้"\\\n\x00\u2028👩🏽\u200d🚀🇹🇭'), st.characters(exclude_categories=["Cs"]))
texts = st.builds(str.__mul__, st.text(characters, max_size=200), st.sampled_from([1, 20, 100]))


@given(texts, texts, st.integers(min_value=1024, max_value=8192), st.integers(min_value=1, max_value=2**63 - 1))
@settings(max_examples=150, deadline=None)
def test_frame_is_never_larger_than_the_limit(error: str, trace: str, limit: int, sequence: int) -> None:
    notification = notification_of(Failed(a_failure(error, trace)), NotificationFormat(max_payload=limit))
    encoded = body(notification, sequence)
    assert len(encoded) + FRAME <= limit
    shown = payload(encoded)
    whole = (shown["error"], shown["stackTrace"]) == (error, trace)
    assert whole or shown["truncated"] is True
    assert error.startswith(shown["error"])
    assert trace.startswith(shown["stackTrace"])
    # Sent again by hand, and to the same peer, it need not be cut a second time.
    again = redelivered(encoded, 999)
    assert len(again) + FRAME <= limit
    assert refit(again, limit) == again


@given(texts, texts, st.integers(min_value=1024, max_value=8192))
@settings(max_examples=100, deadline=None)
def test_refit_truncates_a_stored_body_for_a_smaller_limit(error: str, trace: str, limit: int) -> None:
    stored = body(notification_of(Failed(a_failure(error, trace))))
    fitted = refit(stored, limit)
    assert len(fitted) + FRAME <= limit
    assert payload(fitted)["notificationId"] == payload(stored)["notificationId"]
    assert payload(fitted)["sequence"] == 42
    if len(stored) + 64 <= limit:
        assert fitted is stored


def test_redelivered_adds_the_number_of_redeliveries() -> None:
    stored = body(notification_of(Succeeded(None)))
    assert payload(redelivered(stored, 2)) == payload(stored) | {"redelivery": 2}
    assert payload(redelivered(redelivered(stored, 1), 2)) == payload(stored) | {"redelivery": 2}


def test_notification_of_the_same_run_has_the_same_bytes() -> None:
    job = a_claimed_job()
    assert body(notification_of(Failed(a_failure()), job=job)) == body(notification_of(Failed(a_failure()), job=job))


# -- progress ------------------------------------------------------------------------------------------------


def test_progress_has_exactly_the_fields_of_the_contract() -> None:
    assert orjson.loads(progress("job-1", "echo", "user-1", 40.0, "ครึ่งทาง", "socket-notification")) == [
        "socket-notification",
        {
            "success": True,
            "message": "Task Progress",
            "payload": {
                "jobId": "job-1",
                "taskType": "echo",
                "status": "running",
                "percent": 40.0,
                "note": "ครึ่งทาง",
            },
        },
        {"userId": "user-1"},
    ]


def test_wire_messages_are_spelled_in_one_file_only() -> None:
    names = re.compile(r"Task (Finish|Failed|Progress)")
    sources = Path(worker.__file__).parent.rglob("*.py")
    assert {path.name for path in sources if names.search(path.read_text(encoding="utf-8"))} == {"notification.py"}
