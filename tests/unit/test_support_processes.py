"""What the tests know about processes."""

import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.support.processes import describe, is_running


@pytest.fixture
def before() -> float:
    """A moment before the process started; its start is known to a hundredth of a second."""
    return time.monotonic() - 0.1


@pytest.fixture
def process(before: float) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def test_process_counts_as_running_since_its_start_and_not_before(
    process: subprocess.Popen[bytes], before: float
) -> None:
    assert is_running(process.pid)
    assert is_running(process.pid, since=time.monotonic())
    assert not is_running(process.pid, since=before)


def test_ended_process_does_not_run(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    assert not is_running(process.pid)
    assert not is_running(process.pid, since=time.monotonic())
    assert describe(process.pid) == f"process {process.pid} has ended"


def test_description_of_a_process_shows_its_command_and_its_state(process: subprocess.Popen[bytes]) -> None:
    assert "input()" in describe(process.pid)
    assert "State:" in describe(process.pid)
