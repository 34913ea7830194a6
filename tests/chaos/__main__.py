"""`make chaos SEED=... MINUTES=... STORE=...`: a run of the real service under faults, judged by the promises.

With the store in PostgreSQL, four workers, two hubs, Redis and PostgreSQL run in a network namespace of their own.

Prints the seed first. Exits with 0 if every promise was kept, 1 if one was broken: then the history is kept, and the
seed is run again, because the same faults may have another effect at other moments.
"""

import argparse
import asyncio
import faulthandler
import secrets
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.cluster_faults import ClusterFaults
from tests.chaos.cluster_scene import running_cluster
from tests.chaos.fault_runner import FaultRunner
from tests.chaos.faults import Faults
from tests.chaos.plan import CLUSTER_FAULTS, CLUSTER_KILLS, FAULTS, KILLS, draw_strikes
from tests.chaos.scene import running_scene
from tests.chaos.worker_network import run_in_a_network_of_its_own
from tests.support.history.judge import Verdict
from tests.support.js import node_or_skip

_GROUPS = {
    "sqlite": {"all": FAULTS, "kills": KILLS, "outside-kills": ("kill-service", "kill-service-of-hub")},
    "postgres": {"all": CLUSTER_FAULTS, "kills": CLUSTER_KILLS, "outside-kills": ("kill-worker",)},
}
_END_SECONDS = 1200.0
"""After the time for faults; a run that takes longer hangs, and shows where."""
_AT_ONCE = 3
"""Faults that are under way at the same time."""


@dataclass(frozen=True, slots=True)
class Limits:
    """When a run ends: after `seconds`, or after so many kills."""

    seconds: float
    kills: int | None
    pause: float
    load: float
    store: str


async def run_once(folder: Path, seed: int, faults: tuple[str, ...], limits: Limits) -> bool:
    """Run one seed; print the verdicts and return whether they are clean."""
    if limits.store == "postgres":
        async with running_cluster(folder, seed, limits.load) as cluster:
            trouble: FaultRunner = ClusterFaults(cluster)
            await _strike_all(trouble, seed, faults, limits)
            verdicts = await cluster.finish()
    else:
        async with running_scene(folder, seed, limits.load) as scene:
            trouble = Faults(scene)
            await _strike_all(trouble, seed, faults, limits)
            verdicts = await scene.finish()
    _report(trouble, verdicts)
    return all(verdict.is_clean for verdict in verdicts)


async def _strike_all(trouble: FaultRunner, seed: int, faults: tuple[str, ...], limits: Limits) -> None:
    begun = time.monotonic()
    for strike in draw_strikes(seed, faults, pause=limits.pause):
        if time.monotonic() - begun > limits.seconds:
            break
        if limits.kills is not None and trouble.kills >= limits.kills:
            break
        await asyncio.sleep(strike.pause)
        trouble.strike(strike)
        await trouble.wait(_AT_ONCE - 1)
    await trouble.wait()
    if trouble.errors:
        raise trouble.errors[0]


def _report(trouble: FaultRunner, verdicts: list[Verdict]) -> None:
    print("struck: " + ", ".join(f"{count} {fault}" for fault, count in sorted(trouble.done.items()) if count))
    print("\n".join(str(verdict) for verdict in verdicts), flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000))
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--kills", type=int, help="end after so many kills")
    parser.add_argument("--campaigns", type=int, default=1, help="runs with seed, seed + 1, ...")
    parser.add_argument("--faults", choices=sorted(_GROUPS["sqlite"]), default="all")
    parser.add_argument("--store", choices=sorted(_GROUPS), default="sqlite")
    parser.add_argument("--pause", type=float, default=1.0, help="mean seconds between faults")
    parser.add_argument("--load", type=float, default=0.5, help="mean seconds between submissions of four jobs")
    parser.add_argument("--repeat", type=int, default=1, help="how often a broken seed is run again")
    options = parser.parse_args()
    node_or_skip()  # installs the packages, which cannot be done without a network
    if options.store == "postgres":
        run_in_a_network_of_its_own()
    limits = Limits(options.minutes * 60, options.kills, options.pause, options.load, options.store)
    faults = _GROUPS[options.store][options.faults]
    are_clean = [
        _campaign(options.seed + number, faults, limits, options.repeat) for number in range(options.campaigns)
    ]
    return 0 if all(are_clean) else 1


def _run(folder: Path, seed: int, faults: tuple[str, ...], limits: Limits) -> bool:
    if limits.kills is None:  # a number of kills takes any time
        faulthandler.dump_traceback_later(limits.seconds + _END_SECONDS, exit=True)
    try:
        return asyncio.run(run_once(folder, seed, faults, limits))
    finally:
        faulthandler.cancel_dump_traceback_later()


def _campaign(seed: int, faults: tuple[str, ...], limits: Limits, repeat: int) -> bool:
    print(f"seed {seed}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix=f"chaos-{seed}-"))
    is_clean = _run(folder / "first", seed, faults, limits)
    if is_clean:
        shutil.rmtree(folder)
        return True
    print(f"seed {seed} broke a promise; its histories are in {folder}", flush=True)
    for number in range(repeat):
        again = _run(folder / f"again-{number + 1}", seed, faults, limits)
        print(f"seed {seed} again: {'clean' if again else 'broken'}", flush=True)
    return False


if __name__ == "__main__":
    sys.exit(main())
