"""The writer of log lines: it never blocks its caller, and counts what it drops."""

import contextlib
import fcntl
import os
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from worker.observability.log_writer import LogWriter


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """The two ends of a pipe that holds 4 KiB."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    yield reader, writer
    for end in (reader, writer):
        try:
            os.close(end)
        except OSError:
            continue


def _read_until(reader: int, last: bytes) -> list[bytes]:
    data = b""
    while not data.endswith(last):
        data += os.read(reader, 65536)
    return data.splitlines()


def test_lines_are_written_in_order(pipe: tuple[int, int]) -> None:
    writer = LogWriter(pipe[1])
    for number in range(20):
        writer.write(f"{number}\n")
    assert writer.drain(60)
    assert _read_until(pipe[0], b"19\n") == [b"%d" % number for number in range(20)]


def test_write_to_a_stalled_reader_drops_lines_and_reports_their_number_later(pipe: tuple[int, int]) -> None:
    writer = LogWriter(pipe[1], max_bytes=64 * 1024)

    def report(count: int) -> None:
        writer.write(f"dropped {count}\n")

    writer.on_dropped = report
    line = "x" * 99 + "\n"
    for _ in range(2000):
        writer.write(line)
    assert not writer.drain(0.05)
    dropped = writer.dropped
    assert dropped > 0
    lines = _read_until(pipe[0], b"dropped %d\n" % dropped)
    assert len(lines) - 1 + dropped == 2000
    assert writer.dropped == dropped


class _SlowReader(threading.Condition):
    """Reads one piece each time that its writer begins to wait for it, and lets it wait as long as it needs."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        os.set_blocking(descriptor, False)
        self.descriptor, self.data = descriptor, b""

    def wait_for(self, predicate: Callable[[], Any], timeout: float | None = None) -> Any:
        if timeout is not None:
            with contextlib.suppress(BlockingIOError):
                self.data += os.read(self.descriptor, 4096)
        return super().wait_for(predicate, None if timeout is None else 60)


def test_drain_waits_for_a_reader_that_is_slow(pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """The last lines say why the process ends."""
    writer, reader = LogWriter(pipe[1]), _SlowReader(pipe[0])
    monkeypatch.setattr(writer, "_changed", reader)
    for number in range(20):
        writer.write(f"{number} {'x' * 2000}\n")
    writer.write("the end\n")
    assert writer.drain()
    with contextlib.suppress(BlockingIOError):
        while True:
            reader.data += os.read(pipe[0], 4096)
    assert len(reader.data.splitlines()) == 21
    assert reader.data.endswith(b"the end\n")


def test_number_of_dropped_lines_is_never_dropped_itself(pipe: tuple[int, int]) -> None:
    """The reader takes some lines, and the room is full again before their number is written."""
    writer = LogWriter(pipe[1], max_bytes=8 * 1024)

    def report(count: int) -> None:
        if count == writer.dropped:  # the first report: others fill the room before it is written
            while writer.dropped == count:
                other = threading.Thread(target=writer.write, args=("y" * 63 + "\n",))
                other.start()
                other.join()
        writer.write(f"dropped {count}\n")

    writer.on_dropped = report
    for _ in range(200):
        writer.write("x" * 63 + "\n")
    data = b""
    while len(counts := re.findall(rb"dropped (\d+)\n", data)) < 2:
        data += os.read(pipe[0], 65536)
    assert sum(map(int, counts)) == writer.dropped


@pytest.mark.parametrize("path", ["/dev/full", "closed", "no reader"])
def test_write_to_a_stream_that_fails_raises_nothing_and_counts(path: str, pipe: tuple[int, int]) -> None:
    descriptor = pipe[1]
    if path == "no reader":
        os.close(pipe[0])
    elif path == "closed":
        os.close(pipe[1])
    else:
        descriptor = os.open(path, os.O_WRONLY)
    reported = threading.Event()
    writer = LogWriter(descriptor)
    writer.on_dropped = lambda _count: reported.set()
    writer.write("lost\n")
    assert writer.drain(60)
    assert writer.dropped == 1
    assert not reported.is_set()


def test_non_blocking_pipe_is_waited_for(pipe: tuple[int, int]) -> None:
    os.set_blocking(pipe[1], False)
    writer = LogWriter(pipe[1])
    for number in range(1000):
        writer.write(f"{number:09}\n")
    assert _read_until(pipe[0], b"999\n") == [b"%09d" % number for number in range(1000)]
    assert writer.dropped == 0
