"""What claims cost in the PostgreSQL store by the number of owners that wait, and what the operations cost with few.

    python -m bench.postgres_claims URL [--jobs 20000] [--claims 40] [--aged 0]

URL names a database in which schemas may be created. One store, so one connection that writes. A claim is timed from
the call to the answer, its commit included. `--aged` is a number of claims of 100 jobs that are made first, so that
their dead rows are in the tables. Compare two versions by alternating runs. CPU, which others disturb less, is that
of this process and of the server's process for the connection that writes; so the server must be on this machine.
"""

import argparse
import statistics
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

import uvloop

from bench.postgres import PAYLOAD, WIRE, drop, opened
from worker.core.job import Job, NewJob, new_job_id
from worker.core.notification import notification_for
from worker.core.outcome import Attempt, Succeeded
from worker.core.store import Settlement
from worker.stores.postgres.store import PostgresStore

_OWNERS = (1, 100, 10_000)
_CLAIMS = (1, 10, 100)
_BATCH = 500

Times = dict[str, list[float]]
"""Milliseconds by the name of an operation."""


def _jobs(count: int, owners: int, first: int = 0) -> list[NewJob]:
    now = time.time()
    return [
        NewJob(new_job_id(now), "nothing", f"user-{number % owners}", PAYLOAD, now, now, 3)
        for number in range(first, first + count)
    ]


def _settlement(job: Job) -> Settlement:
    attempt = Attempt(job, time.time(), time.time(), 0.1)
    outcome = Succeeded(None)
    return Settlement(attempt, outcome, notification_for(attempt, outcome, WIRE))


async def _fill(store: PostgresStore, jobs: int, owners: int) -> None:
    for start in range(0, jobs, _BATCH):
        await store.enqueue(_jobs(min(_BATCH, jobs - start), owners, start))
    await store.claim(0)  # finds the new owners


async def _age(store: PostgresStore, claims: int, owners: int) -> None:
    """Claim and settle 100 jobs at a time, and put as many in, so that as many as before wait."""
    for number in range(claims):
        await store.settle([_settlement(job) for job in (await store.claim(100)).jobs])
        await store.enqueue(_jobs(100, owners, number * 100))


async def claim_times(url: str, owners: int, jobs: int, claims: int, aged: int) -> Times:
    """Return how long claims took while this many owners waited."""
    times: Times = defaultdict(list)
    name = f"bench_{uuid4().hex[:12]}"
    store = await opened(f"{url}{'&' if '?' in url else '?'}schema={name}")
    await _fill(store, jobs, owners)
    await _age(store, aged, owners)
    for number in range(claims):
        for limit in _CLAIMS:
            started = time.perf_counter()
            found = (await store.claim(limit)).jobs
            times[f"claim({limit})"].append((time.perf_counter() - started) * 1e3)
            assert len(found) == limit
            await store.settle([_settlement(job) for job in found])
        await store.enqueue(_jobs(sum(_CLAIMS), owners, number * sum(_CLAIMS)))
    await store.close()
    await drop(url, name)
    return times


def _cpu(server: Path) -> float:
    """Return the milliseconds of CPU that both processes have used so far."""
    return time.process_time() * 1e3 + int(server.read_text(encoding="ascii").split()[0]) / 1e6


async def operation_costs(url: str, owners: int, rounds: int) -> Times:
    """Return the CPU of each operation, for one job and for 100 jobs of few owners."""
    costs: Times = defaultdict(list)
    name = f"bench_{uuid4().hex[:12]}"
    store = await opened(f"{url}{'&' if '?' in url else '?'}schema={name}")
    server = Path(f"/proc/{store._writer.transaction.connection.get_server_pid()}/schedstat")
    for _ in range(rounds):
        for size in (1, 100):
            jobs = _jobs(size, owners)
            started = _cpu(server)
            await store.enqueue(jobs)
            enqueued = _cpu(server)
            found = (await store.claim(size)).jobs
            claimed = _cpu(server)
            ends = [_settlement(job) for job in found]
            begun = _cpu(server)
            await store.settle(ends)
            costs[f"enqueue({size})"].append(enqueued - started)
            costs[f"claim({size}) of as many"].append(claimed - enqueued)
            costs[f"settle({size})"].append(_cpu(server) - begun)
    await store.close()
    await drop(url, name)
    return costs


def _report(title: str, times: Times) -> None:
    print(f"{title:44} {'median':>9} {'95 %':>9} ms")
    for name, figures in sorted(times.items()):
        print(f"  {name:42} {statistics.median(figures):9.2f} {_at_95(figures):9.2f}")


def _at_95(figures: Sequence[float]) -> float:
    return statistics.quantiles(figures, n=20)[-1]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--jobs", type=int, default=20_000)
    parser.add_argument("--claims", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--aged", type=int, default=0)
    parser.add_argument("--owners", type=int, nargs="*", default=list(_OWNERS))
    options = parser.parse_args()
    if options.rounds:
        _report("20 owners, CPU", uvloop.run(operation_costs(options.url, 20, options.rounds)))
    for owners in options.owners:
        times = uvloop.run(claim_times(options.url, owners, options.jobs, options.claims, options.aged))
        _report(f"{owners:,} waiting owners", times)


if __name__ == "__main__":
    main()
