"""A history that keeps every promise, to plant faults into."""

import random
from collections import Counter
from collections.abc import Iterator
from itertools import chain

import orjson

from tests.support.history.events import (
    Accepted,
    Began,
    Complete,
    Event,
    JobAtEnd,
    Killed,
    Left,
    NotificationAtEnd,
    Outage,
    Received,
    Stopped,
    Used,
)

JOBS = 60
USERS = 3


def clean_history(chance: random.Random) -> list[Event]:
    """Return 60 jobs of three users that reach a server and a browser of each user; one crash, one outage."""
    sequences: Counter[str] = Counter()
    events: list[Event] = list(chain.from_iterable(_job(number, sequences, chance) for number in range(JOBS)))
    events += [JobAtEnd(f"job-{n}", f"user-{n % USERS}", "succeeded", tag=f"tag-{n}") for n in range(JOBS)]
    events += [Outage(10.0, 50.0), Stopped(7, 2.0, 8.0), Used("memory", 100e6, 300e6), Complete()]
    return events


def _job(number: int, sequences: "Counter[str]", chance: random.Random) -> Iterator[Event]:
    user, job = f"user-{number % USERS}", f"job-{number}"
    sequences[user] += 1
    yield Accepted(job, user, f"tag-{number}", "succeeded", at=float(number))
    if number == JOBS // 2:  # interrupted by a crash, and done again
        yield Began(job, 1, 6, number + 0.1)
        yield Killed(6, number + 0.3)
    yield Began(job, 1, 7, number + 0.4)
    yield Left(job, 1, 7, number + 0.9)
    body = _body(job, number, sequences[user], user)
    yield Received("server", body, connection=str(number // 20))
    if number % 20 == 19 and chance.random() < 0.5:  # a session ended before the confirmation
        yield Received("server", body, connection=str(number // 20 + 1))
    yield Received(f"browser-{user}", body, user, drops_repeats=True)
    yield NotificationAtEnd(job, f"note-{number}", user, sequences[user], "delivered")


def _body(job: str, number: int, sequence: int, user: str) -> str:
    payload = {
        "status": "success",
        "jobId": job,
        "notificationId": f"note-{number}",
        "attempt": 1,
        "sequence": sequence,
        "duration": 500.0,
    }
    message = {"success": True, "message": "Task Finish", "payload": payload}
    return orjson.dumps(["socket-notification", message, {"userId": user}]).decode()
