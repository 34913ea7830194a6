"""What turns cost in the SQLite store: CPU of each operation on a job, and how long a claim takes with many owners.

Part of `python -m bench.store`. CPU is that of the whole process, so other programs disturb it little; compare two
versions by ratios of alternating runs. A claim is timed from the call to the answer, its commit included.
"""

import asyncio
import gc
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import uvloop

from worker.core.job import Job, NewJob
from worker.core.store import Settlement
from worker.stores.sqlite.store import SqliteStore

_CALL = 100
OWNERS = 10_000
_CLAIMS = (1, 10, 100)


@dataclass(frozen=True, slots=True)
class Workload:
    """How to make a store, jobs and settlements."""

    open: Callable[[Path], Awaitable[SqliteStore]]
    jobs: Callable[[int, int], list[NewJob]]
    settlement: Callable[[Job], Settlement]


async def cpu_per_job(workload: Workload, folder: Path, total: int, users: int) -> dict[str, float]:
    """Return µs of CPU per job for each operation, with 100 jobs a call."""
    store = await workload.open(folder)
    calls = [workload.jobs(_CALL, users) for _ in range(total // _CALL)]
    spent = dict.fromkeys(("enqueue", "claim", "settle"), 0.0)
    _spare_what_exists()
    for call in calls:
        started = time.process_time()
        await store.enqueue(call)
        spent["enqueue"] += time.process_time() - started
    for _ in calls:
        started = time.process_time()
        claimed = (await store.claim(_CALL)).jobs
        spent["claim"] += time.process_time() - started
        ends = [workload.settlement(job) for job in claimed]
        started = time.process_time()
        assert all(await store.settle(ends))
        spent["settle"] += time.process_time() - started
    await store.close()
    return {name: seconds * 1e6 / (len(calls) * _CALL) for name, seconds in spent.items()}


async def claim_times(workload: Workload, folder: Path, jobs_each: int) -> dict[int, list[tuple[float, float]]]:
    """Return, by the number of jobs claimed, how long each claim took: ms by the clock, ms of CPU."""
    store = await workload.open(folder)
    for _ in range(jobs_each):
        jobs = workload.jobs(OWNERS, OWNERS)
        for start in range(0, OWNERS, 1000):
            await store.enqueue(jobs[start : start + 1000])
    _spare_what_exists()
    taken: dict[int, list[tuple[float, float]]] = {limit: [] for limit in _CLAIMS}
    for _ in range(OWNERS * jobs_each // 2 // sum(_CLAIMS)):
        for limit in _CLAIMS:
            started, cpu = time.perf_counter(), time.process_time()
            claimed = (await store.claim(limit)).jobs
            taken[limit].append(((time.perf_counter() - started) * 1e3, (time.process_time() - cpu) * 1e3))
            assert len({job.user_id for job in claimed}) == limit
            await store.settle([workload.settlement(job) for job in claimed])
    await store.close()
    return taken


def _spare_what_exists() -> None:
    """Collect as seldom as the service does."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 10, 10)


def report(workload: Workload, folder: Path | None, total: int, users: int, runs: int) -> str:
    """Measure both; return the tables."""
    cpu: list[dict[str, float]] = []
    taken: dict[int, list[tuple[float, float]]] = {limit: [] for limit in _CLAIMS}
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for _ in range(runs):
            with tempfile.TemporaryDirectory(dir=folder) as place:
                cpu.append(runner.run(cpu_per_job(workload, Path(place), total, users)))
            with tempfile.TemporaryDirectory(dir=folder) as place:
                for limit, times in runner.run(claim_times(workload, Path(place), max(total // OWNERS, 1))).items():
                    taken[limit] += times
    lines = [f"{f'CPU, µs per job ({_CALL} a call)':44} {'median':>9} {'min':>9}"]
    by_name = {name: [one[name] for one in cpu] for name in cpu[0]}
    lines += [f"{name:44} {statistics.median(each):9.1f} {min(each):9.1f}" for name, each in by_name.items()]
    lines.append(
        f"{f'claim with {OWNERS:,} waiting owners, ms':44} {'median':>9} {'95 %':>9} {'CPU':>9} {'CPU 95 %':>9}"
    )
    for limit, times in taken.items():
        figures = [figure for column in zip(*times, strict=True) for figure in _middle_and_95(column)]
        lines.append(f"{f'claim({limit})':44} " + " ".join(f"{figure:9.2f}" for figure in figures))
    return "\n".join(lines)


def _middle_and_95(figures: Sequence[float]) -> tuple[float, float]:
    return statistics.median(figures), statistics.quantiles(figures, n=20)[-1]
