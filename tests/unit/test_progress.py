"""Progress messages: not too many, and none remembered for ever."""

from typing import Any

import orjson

from tests.support.attempts import a_job
from worker.clock import Clock
from worker.progress import ProgressTeller


class _Told:
    """A teller on a clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 0.0
        self.bodies: list[bytes] = []
        self.teller = ProgressTeller(self.bodies.append, "socket-notification", Clock(monotonic=lambda: self.now))

    @property
    def percents(self) -> list[Any]:
        return [orjson.loads(body)[1]["payload"]["percent"] for body in self.bodies]


def test_a_job_speaks_at_most_every_quarter_of_a_second() -> None:
    told, job = _Told(), a_job()
    for step in range(11):
        told.now = step * 0.1
        told.teller(job, step * 10.0, "")
    assert told.percents == [0.0, 30.0, 60.0, 90.0]


def test_each_job_has_its_own_turn() -> None:
    told, first, second = _Told(), a_job(), a_job()
    told.teller(first, 1.0, "")
    told.teller(second, 2.0, "")
    told.teller(first, 3.0, "")
    assert told.percents == [1.0, 2.0]


def test_the_message_says_whose_it_is() -> None:
    told, job = _Told(), a_job("echo", user_id="สมชาย")
    told.teller(job, 40.0, "ครึ่งทาง")
    event, message, user = orjson.loads(told.bodies[0])
    assert (event, message["message"], user) == ("socket-notification", "Task Progress", {"userId": "สมชาย"})
    assert message["payload"] == {
        "jobId": job.id,
        "taskType": "echo",
        "status": "running",
        "percent": 40.0,
        "note": "ครึ่งทาง",
    }


def test_jobs_that_have_fallen_silent_are_forgotten() -> None:
    told = _Told()
    for step in range(5000):
        told.now = step * 0.01
        told.teller(a_job(), 1.0, "")
    assert len(told.bodies) == 5000
    assert len(told.teller._last) < 1100
