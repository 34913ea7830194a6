"""What open dashboard streams cost the worker: end to end as in bench.end_to_end, with and without them.

Each viewer is a process of its own that reads /api/v1/live as fast as it comes. The runs alternate, so that a busy
machine is busy for both; CPU microseconds per job are steadier than the clock.

    python -m bench.watched [--jobs 20000] [--runs 5] [--concurrency 100] [--viewers 2] [--json FILE]
"""

import argparse
import asyncio
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.end_to_end import one_run
from tests.support.process import WorkerProcess
from worker.net.unix_socket import SOCKET_NAME

_VIEWER = """
import socket, sys
from pathlib import Path
from worker.net.unix_socket import socket_address
with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
    with socket_address(Path(sys.argv[1])) as address:
        line.connect(address)
    line.sendall(b"GET /api/v1/live HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n")
    while data := line.recv(1 << 16):
        sys.stdout.write(f"{len(data)}\\n")
        sys.stdout.flush()
"""


@contextlib.contextmanager
def watched(worker: WorkerProcess, viewers: int) -> Iterator[list[int]]:
    """That many pages watch; gives how many bytes each has read, at the end."""
    read: list[int] = []
    arguments = [sys.executable, "-c", _VIEWER, str(worker.state / SOCKET_NAME)]
    watching = [subprocess.Popen(arguments, stdout=subprocess.PIPE) for _ in range(viewers)]
    try:
        for viewer in watching:
            assert viewer.stdout is not None
            assert viewer.stdout.readline(), "the stream did not open"
        yield read
    finally:
        for viewer in watching:
            viewer.kill()
            out, _ = viewer.communicate()
            read.append(sum(map(int, out.split())))


def run(jobs: int, runs: int, concurrency: int, viewers: int) -> dict[str, Any]:
    """Return the figures without and with streams, and the ratio: medians, and the best of each, which noise affects
    least."""
    alone: list[dict[str, float]] = []
    seen: list[dict[str, float]] = []
    read: list[int] = []
    for number in range(2 * runs):
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            if number % 2:
                found = asyncio.run(one_run(Path(folder), jobs, concurrency, lambda w: _reading(w, viewers, read)))
                seen.append(found)
            else:
                alone.append(asyncio.run(one_run(Path(folder), jobs, concurrency)))
    result: dict[str, Any] = {"jobs": jobs, "runs": runs, "concurrency": concurrency, "viewers": viewers}
    for name, best in (("worker_cpu_us", min), ("end_to_end", max)):
        for way, pick in (("median", statistics.median), ("best", best)):
            unwatched, watched_value = (pick([one[name] for one in group]) for group in (alone, seen))
            figures = {
                "unwatched": round(unwatched),
                "watched": round(watched_value),
                "ratio": round(watched_value / unwatched, 3),
            }
            result[f"{name}_{way}"] = figures
    return result | {"bytes_per_viewer": round(statistics.median(read))}


@contextlib.contextmanager
def _reading(worker: WorkerProcess, viewers: int, into: list[int]) -> Iterator[None]:
    with watched(worker, viewers) as read:
        yield
    into.extend(read)


def main() -> None:
    parser = argparse.ArgumentParser(description="What open dashboard streams cost the worker.")
    parser.add_argument("--jobs", type=int, default=20_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--concurrency", type=int, default=100)
    parser.add_argument("--viewers", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = run(options.jobs, options.runs, options.concurrency, options.viewers)
    text = json.dumps(found, indent=2)
    print(text)
    if options.json:
        options.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
