"""Progress messages are throttled, and forgotten when their job ends."""

from typing import Any

import orjson

from tests.support.attempts import a_claimed_job
from worker.core.clock import Clock
from worker.runtime.progress import ProgressThrottle


class _Reported:
    """A teller on a clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 0.0
        self.bodies: list[bytes] = []
        self.teller = ProgressThrottle(self.bodies.append, "socket-notification", Clock(monotonic=lambda: self.now))

    @property
    def percents(self) -> list[Any]:
        return [orjson.loads(body)[1]["payload"]["percent"] for body in self.bodies]


def test_progress_of_a_job_is_sent_at_most_every_250_ms() -> None:
    reported, job = _Reported(), a_claimed_job()
    for step in range(11):
        reported.now = step * 0.1
        reported.teller(job, step * 10.0, "")
    assert reported.percents == [0.0, 30.0, 60.0, 90.0]


def test_progress_of_each_job_is_throttled_separately() -> None:
    reported, first, second = _Reported(), a_claimed_job(), a_claimed_job()
    reported.teller(first, 1.0, "")
    reported.teller(second, 2.0, "")
    reported.teller(first, 3.0, "")
    assert reported.percents == [1.0, 2.0]


def test_progress_message_names_job_and_user() -> None:
    reported, job = _Reported(), a_claimed_job("echo", user_id="สมชาย")
    reported.teller(job, 40.0, "ครึ่งทาง")
    event, message, user = orjson.loads(reported.bodies[0])
    assert (event, message["message"], user) == ("socket-notification", "Task Progress", {"userId": "สมชาย"})
    assert message["payload"] == {
        "jobId": job.id,
        "taskType": "echo",
        "status": "running",
        "percent": 40.0,
        "note": "ครึ่งทาง",
    }


def test_silent_jobs_are_removed_from_the_throttle() -> None:
    reported = _Reported()
    for step in range(5000):
        reported.now = step * 0.01
        reported.teller(a_claimed_job(), 1.0, "")
    assert len(reported.bodies) == 5000
    assert len(reported.teller._last) < 1100
