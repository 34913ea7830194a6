"""Settings of all tests, their time limits, and the lists of what failed and what was skipped."""

import faulthandler
import os
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TextIO

import hypothesis
import pytest

from tests.support.chosen_store import services_use, split_by_store
from tests.support.ports import free_port
from tests.support.postgres import PostgresPlace, place_for
from tests.support.postgres_server import PostgresServer, postgres_server
from worker.stores.postgres import find as find_in_postgres
from worker.stores.sqlite.search import find as find_in_sqlite

# An example that waits for the processor on a busy machine is not a fault of the code, neither where it is drawn nor
# where it is tried.
hypothesis.settings.register_profile(
    "project", deadline=None, print_blob=True, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("project")

LONGEST_FIRST = ("acceptance", "interop", "simulation", "fuzz", "browser", "contract", "integration", "unit", "lint")
"""The folders of tests by the time that one file of each takes."""

DEFAULT_LIMIT = 300.0
"""Seconds that a test may take where pyproject.toml is not read."""

GRACE = 60.0
"""Seconds after a test's own time limit, in which its fixtures may still end what the test began."""

LASTING_THREADS = ("asyncio_", "log")
"""Names of threads that live as long as their event loop, or as long as the process that writes a log."""

THREAD_LIMIT = 60.0
"""Seconds for the threads of a test to end after it; generous, for a machine that does much else."""

STDERR = pytest.StashKey[TextIO]()
"""Where the process began to write its errors, which the tests' own output does not reach."""


def pytest_configure(config: pytest.Config) -> None:
    config.stash[STDERR] = os.fdopen(os.dup(2), "w")


def pytest_unconfigure(config: pytest.Config) -> None:
    config.stash[STDERR].close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take minutes, so that no processor waits for the last of them at the end."""
    long = {item.path for item in items if _repeats(item)}
    order = {name: place for place, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: (item.path not in long, order.get(item.path.parent.name, 0)))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    split_by_store(metafunc)


@pytest.fixture(scope="session")
def own_postgres() -> Iterator[PostgresServer]:
    """One server for all services of this test process."""
    with postgres_server() as server:
        yield server


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[PostgresPlace]:
    """A schema of PostgreSQL for one test, which is removed with all that it has."""
    place = place_for(tmp_path)
    yield place
    await place.destroy()


@pytest.fixture(scope="module", autouse=True)
def store_provider(request: pytest.FixtureRequest) -> Iterator[str]:
    """Choose the store of the services that the test starts."""
    provider: str = getattr(request, "param", "sqlite")
    if provider == "sqlite":
        yield provider
        return
    with services_use(request.getfixturevalue("own_postgres")):
        yield provider


@pytest.fixture(autouse=True)
def processes_of_repetitions_are_not_measured(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure no coverage in what the long tests start: they repeat what other tests run, or are killed first."""
    if _repeats(request.node) and "COVERAGE_PROCESS_CONFIG" in os.environ:
        monkeypatch.delenv("COVERAGE_PROCESS_CONFIG")


@pytest.fixture(autouse=True)
def searches_have_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a search on a busy machine return whole pages; tests of short ones say how long a search may take."""
    for module in (find_in_sqlite, find_in_postgres):
        monkeypatch.setattr(module, "SEARCH_SECONDS", 60.0)


@pytest.fixture
def unused_tcp_port() -> int:
    """Return a port that no connection and no other server gets while the test expects nothing there."""
    return free_port()


@pytest.fixture(autouse=True)
def threads_end_with_their_test() -> Iterator[None]:
    """Fail a test that leaves a thread behind: a client that keeps connecting again disturbs the tests after it."""
    before = set(threading.enumerate())
    yield
    until = time.monotonic() + THREAD_LIMIT
    for thread in set(threading.enumerate()) - before:
        if not thread.name.startswith(LASTING_THREADS):
            thread.join(max(0.0, until - time.monotonic()))
            assert not thread.is_alive(), f"the thread {thread.name} is left, in\n{_stack_of(thread)}"


def _stack_of(thread: threading.Thread) -> str:
    frame = sys._current_frames().get(thread.ident or 0)
    return "".join(traceback.format_stack(frame)) if frame else "no Python code"


def _repeats(item: pytest.Item) -> bool:
    return item.get_closest_marker("kill") is not None or item.get_closest_marker("matrix") is not None


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """End the process of a test that does not return after its time limit: a run that hangs says nothing."""
    yield from _bounded(item)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """End the process of a test whose fixtures do not return; pytest-timeout interrupts once only."""
    yield from _bounded(item)


def _bounded(item: pytest.Item) -> Iterator[None]:
    marker = item.get_closest_marker("timeout")
    limit = float(marker.args[0] if marker else item.config.getini("timeout") or DEFAULT_LIMIT)
    faulthandler.dump_traceback_later(limit + GRACE, exit=True, file=item.config.stash[STDERR])
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Show a failure when it happens, so that a run that is ended before its summary still says what failed."""
    if report.failed and "PYTEST_XDIST_WORKER" not in os.environ:
        print(f"\nFAILED in {report.when}: {report.nodeid}\n{report.longreprtext}", flush=True)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print one line for each reason for which tests were skipped."""
    counts = Counter(_reason(report) for report in terminalreporter.stats.get("skipped", []))
    if not counts:
        return
    terminalreporter.section(f"{counts.total()} tests skipped", yellow=True)
    for reason, count in counts.most_common():
        terminalreporter.write_line(f"{count:>5}  {reason}")


def _reason(report: pytest.TestReport) -> str:
    if isinstance(report.longrepr, tuple):
        return report.longrepr[2].removeprefix("Skipped: ")
    return str(report.longrepr)
