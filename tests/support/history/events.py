"""What a run records: one frozen value per observation, in the order of the observations; one JSON line each."""

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson


@dataclass(frozen=True, slots=True)
class Accepted:
    """A producer was promised the job: 202, or the command ended with 0."""

    job: str
    user: str | None = None
    tag: str | None = None
    """The producer's own name for the job; the service stores it as well."""
    expected: str | None = None
    """succeeded or failed, if only that is right."""
    at: float | None = None
    """Monotonic seconds."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A producer was refused for good: the job must not exist."""

    tag: str


@dataclass(frozen=True, slots=True)
class Unanswered:
    """A producer got no answer: the job may exist, once."""

    tag: str


@dataclass(frozen=True, slots=True)
class Received:
    """A receiver got a notification. `body` is JSON: [event, message, user]."""

    receiver: str
    body: str
    user: str | None = None
    """The user as whom the receiver is connected; None: a server, which gets everything."""
    connection: str = ""
    drops_repeats: bool = False
    """The receiver promises to show each notification once."""
    partial: bool = False
    """The receiver gets what other devices of its user have not got: gaps are right."""


@dataclass(frozen=True, slots=True)
class Began:
    """A handler began an attempt in this process. `at`: monotonic seconds of the machine."""

    job: str
    attempt: int
    process: int
    at: float
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Left:
    """The handler's code was left."""

    job: str
    attempt: int
    process: int
    at: float


@dataclass(frozen=True, slots=True)
class Killed:
    """The process was gone at that time."""

    process: int
    at: float


@dataclass(frozen=True, slots=True)
class JobAtEnd:
    """A job as the service shows it after the run."""

    job: str
    user: str
    state: str
    run: int = 1
    attempt: int = 1
    tag: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class NotificationAtEnd:
    """A notification as the service shows it after the run."""

    job: str
    id: str
    user: str
    sequence: int
    state: str
    """pending, delivered or dead."""


@dataclass(frozen=True, slots=True)
class Complete:
    """The history has every request and all jobs, and the service had the time to end and to deliver everything."""


@dataclass(frozen=True, slots=True)
class Listed:
    """The jobs at the end are all there are; some may still be waiting, and others may have submitted some."""


@dataclass(frozen=True, slots=True)
class Outage:
    """The server of the notifications could not be reached; jobs had to go on."""

    since: float
    until: float
    patience: float = 30.0
    """Seconds within which a job that was accepted during the outage has to begin."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A service wrote a notification to its connection with a hub."""

    process: int
    id: str
    at: float


@dataclass(frozen=True, slots=True)
class Away:
    """One of several services on a store was suspended, or could not reach the store, for so long."""

    process: int
    since: float
    until: float
    lease: float | None = None
    """Seconds of the lease for sending, if the service ran all the time: when they are over it may not send."""


@dataclass(frozen=True, slots=True)
class Stopped:
    """A stop was requested, and took this long."""

    process: int
    seconds: float
    limit: float


@dataclass(frozen=True, slots=True)
class Used:
    """How much of something that is bounded was used."""

    what: str
    amount: float
    limit: float


Event = (
    Accepted
    | Rejected
    | Unanswered
    | Received
    | Began
    | Left
    | Killed
    | JobAtEnd
    | NotificationAtEnd
    | Complete
    | Listed
    | Outage
    | Sent
    | Away
    | Stopped
    | Used
)

_KINDS: dict[str, type[Event]] = {
    kind.__name__: kind
    for kind in (
        *(Accepted, Rejected, Unanswered, Received, Began, Left, Killed),
        *(JobAtEnd, NotificationAtEnd, Complete, Listed, Outage, Sent, Away, Stopped, Used),
    )
}


def encode(event: Event) -> bytes:
    """Return the event as a JSON line; values that are the default are omitted."""
    fields = {
        field.name: getattr(event, field.name)
        for field in dataclasses.fields(event)
        if getattr(event, field.name) != field.default
    }
    return orjson.dumps({"event": type(event).__name__, **fields}) + b"\n"


def decode(line: bytes) -> Event:
    """Return the event of a line. Raises ValueError if it is not one."""
    try:
        fields: dict[str, Any] = orjson.loads(line)
        return _KINDS[fields.pop("event")](**fields)
    except (KeyError, TypeError, AttributeError) as exc:
        raise ValueError(f"not an event: {line[:100]!r} ({exc!r})") from None


def read_events(paths: Iterable[Path]) -> Iterator[Event]:
    """Read histories; a file that does not exist is empty.

    The last line of a writer that was killed may be torn: it is not an event.
    """
    for path in filter(Path.exists, paths):
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.endswith(b"\n"):
                    try:
                        yield decode(line)
                    except ValueError as exc:
                        raise ValueError(f"{path}, line {number}: {exc}") from None
