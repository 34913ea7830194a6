"""Uploads, rows of a round and programs: what the files of jobs cost, compared with the machine itself, in one run.

    python -m bench.files [--runs 5] [--officers 100000] [--megabytes 100]

Medians over the runs. Of an upload: MB per second into the folder, synced, compared with a plain write and sync of the
same bytes, and how long the event loop was held up during it. Of the rows: milliseconds per page, count included, and
what the row index adds to writing the results. Of programs: runs per second of /bin/true, compared with starting it
directly.
"""

import argparse
import asyncio
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import uvloop

from config.handler_settings import CommandHandlerSettings, HandlersSettings, ProgramSettings
from worker.handlers.command.handler import CommandPayload, run_program
from worker.insignia import ROW_INDEX, RowQuery, evaluate_roster, owner_folder, read_rows, write_results, write_sample
from worker.runtime.uploads import Uploads

QUERIES = {
    "all rows": RowQuery(),
    "to review": RowQuery(show="review"),
    "nominated, in the middle": RowQuery(show="nominate", after=50_000),
    "a part of an id": RowQuery(text="2569"),
    "to review, of an id that is not there": RowQuery(show="review", text="zzz"),
    "one class": RowQuery(award="CT5"),
}


@dataclass
class Context:
    """What a handler asks of its job."""

    settings: HandlersSettings
    job_id: str = "bench"
    user_id: str = "bench"
    attempt: int = 1
    cancelled: bool = False

    def progress(self, percent: float, note: str = "") -> None: ...


def timed(work: Callable[[], object], runs: int) -> float:
    """Seconds, the median."""
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def rows(folder: Path, officers: int, runs: int) -> None:
    write_sample(folder / "r.csv", count=officers)
    started = time.perf_counter()
    evaluation = evaluate_roster(folder / "r.csv", 2569, bad_row_limit=100)
    print(f"{officers:,} officers: evaluated in {time.perf_counter() - started:.1f} s")

    def write(*, row_index: bool) -> None:
        shutil.rmtree(folder / "out", ignore_errors=True)
        write_results(evaluation, folder / "out", row_index=row_index)

    plain, more = timed(lambda: write(row_index=False), runs), timed(lambda: write(row_index=True), runs)
    size = (folder / "out" / ROW_INDEX).stat().st_size
    print(f"  results written in {plain:.2f} s, with the register {more:.2f} s; it has {size / 1e6:.1f} MB")
    for name, query in QUERIES.items():
        seconds = timed(partial(read_rows, folder / "out" / ROW_INDEX, query), runs)
        print(f"  {name}: {seconds * 1000:.1f} ms")


async def upload(folder: Path, piece: bytes, count: int) -> tuple[float, float]:
    """Seconds, and the 99th percentile of the loop's delays in seconds."""
    uploads = Uploads(folder, max_bytes=1 << 40, total_bytes=1 << 40, owner_folder=owner_folder)

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(count):
            yield piece

    delays: list[float] = []

    async def watch() -> None:
        while True:
            started = time.perf_counter()
            await asyncio.sleep(0.005)
            delays.append(time.perf_counter() - started - 0.005)

    watching = asyncio.ensure_future(watch())
    started = time.perf_counter()
    async with uploads.draft() as draft:
        await draft.receive("roster", "r.csv", pieces())
        await draft.keep("job", ("user-1", None), "")
    seconds = time.perf_counter() - started
    watching.cancel()
    return seconds, statistics.quantiles(delays, n=100)[98]


def plain_write(path: Path, piece: bytes, count: int) -> None:
    with path.open("wb") as file:
        for _ in range(count):
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())


def uploading(folder: Path, megabytes: int, runs: int) -> None:
    piece = "1101700203451,ข้าราชการ,K2,2533-03-03\n".encode() * 1300
    count = megabytes * 1_000_000 // len(piece)
    ours, raw = [], []
    for number in range(runs):
        raw.append(timed(lambda: plain_write(folder / "plain", piece, count), 1))
        ours.append(uvloop.run(upload(folder / str(number), piece, count)))
        shutil.rmtree(folder / str(number))
    seconds, delay = (statistics.median(figures) for figures in zip(*ours, strict=True))
    plain = statistics.median(raw)
    print(f"upload of {megabytes} MB: {megabytes / seconds:.0f} MB/s, x{plain / seconds:.2f} of a plain write")
    print(f"  the loop's delays during it, p99: {delay * 1000:.1f} ms")


async def programs(count: int, at_once: int) -> float:
    program = ProgramSettings(name="true", path="/bin/true")
    context = Context(HandlersSettings(command=CommandHandlerSettings(programs=(program,))))

    async def some() -> None:
        for _ in range(count // at_once):
            await run_program.run(CommandPayload(command="true"), context)

    started = time.perf_counter()
    await asyncio.gather(*(some() for _ in range(at_once)))
    return count / (time.perf_counter() - started)


def running(runs: int) -> None:
    direct = 1 / timed(lambda: subprocess.run(["/bin/true"], check=True), 20)
    for at_once in (1, 10):
        rate = statistics.median(uvloop.run(programs(50, at_once)) for _ in range(runs))
        print(f"programs, {at_once} at a time: {rate:.0f}/s; started directly one by one: {direct:.0f}/s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--officers", type=int, default=100_000)
    parser.add_argument("--megabytes", type=int, default=100)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        rows(Path(name), options.officers, options.runs)
        uploading(Path(name), options.megabytes, options.runs)
    running(options.runs)


if __name__ == "__main__":
    main()
