"""The services and servers that a test has started, so that a fixture can judge what they did when it is over."""

import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

from tests.support.chosen_store import database_of, run_apart
from tests.support.history.events import Complete, Event, Listed, Received
from tests.support.history.judge import Verdict, judge
from tests.support.history.recorder import Recorder
from tests.support.history.store_reader import read_end, read_end_of_database


class ServiceRun(Protocol):
    """A service on a folder."""

    @property
    def history(self) -> Recorder: ...

    @property
    def state(self) -> Path: ...

    @property
    def is_running(self) -> bool: ...


class ServerRun(Protocol):
    """A server that received notifications."""

    @property
    def is_running(self) -> bool: ...

    def receptions(self) -> Iterable[Received]: ...


_services: list[ServiceRun] = []
_servers: list[ServerRun] = []


def note_service(service: ServiceRun) -> None:
    if service not in _services:
        _services.append(service)


def note_server(server: ServerRun) -> None:
    _servers.append(server)


def forget_ended() -> None:
    """Forget what tests left that no one judges, such as those of another folder in the same process."""
    _services[:] = [service for service in _services if service.is_running]
    _servers[:] = [server for server in _servers if server.is_running]


def judge_ended_services() -> list[Verdict]:
    """Judge the services that have ended since the last call, by what producers, servers and their stores know."""
    ended = [service for service in _services if not service.is_running]
    _services[:] = [service for service in _services if service.is_running]
    servers, _servers[:] = list(_servers), []
    folders = {service.state for service in ended}
    # A server that several services sent to cannot tell whose notification it was.
    received = [one for server in servers for one in server.receptions()] if len(folders) == 1 else []
    return [_judge(state, [service for service in ended if service.state == state], received) for state in folders]


def judge_complete(service: ServiceRun, received: Iterable[Received], *, max_attempts: int | None = None) -> Verdict:
    """Judge a service that has ended, after all its jobs had ended and their notifications were confirmed."""
    events = [*service.history.events, *received, *_read_end(service.state), Complete()]
    return judge(events, max_attempts=max_attempts)


def _judge(state: Path, services: Sequence[ServiceRun], received: Sequence[Received]) -> Verdict:
    events: list[Event] = [event for service in services for event in service.history.events]
    try:
        if (state / "queue.db").exists() or database_of(state.parent) is not None:
            events += [*_read_end(state), Listed()]
    except sqlite3.DatabaseError:
        pass  # the test has damaged it
    return judge([*events, *received])


def _read_end(state: Path) -> Iterable[Event]:
    url = database_of(state.parent)
    return read_end(state / "queue.db") if url is None else run_apart(lambda: read_end_of_database(url))
