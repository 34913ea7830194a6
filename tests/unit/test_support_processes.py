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
    """It runs its program: directly after its start the system knows no command line yet."""
    program = [sys.executable, "-c", "input('ready')"]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.read(5) == b"ready"
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
    assert "input('ready')" in describe(process.pid)
    assert "State:" in describe(process.pid)
