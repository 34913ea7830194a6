"""`make simulate SEEDS=100000`: runs seeds of the simulation on all processors, and names the broken ones."""

import argparse
import os
import sys
from concurrent.futures import ProcessPoolExecutor

from tests.simulation.run import STEPS, run_seed


def _outcome(seed: int, steps: int) -> str:
    """Return what is wrong with a seed; an empty text if nothing is."""
    try:
        verdict = run_seed(seed, steps).verdict
    except Exception as exc:  # an error of the simulated service is a finding like any other
        return f"{type(exc).__name__}: {exc}"
    return "" if verdict.is_clean else str(verdict)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seeds", type=int, default=100_000)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--until", metavar="RULE", help="end at the first seed that breaks this rule, such as P4 gap")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args(argv)
    seeds = range(options.first, options.first + options.seeds)
    broken = 0
    with ProcessPoolExecutor(options.processes) as pool:
        outcomes = pool.map(_outcome, seeds, [options.steps] * len(seeds), chunksize=4)
        for seed, outcome in zip(seeds, outcomes, strict=True):
            if outcome:
                broken += 1
                print(f"seed {seed}: {outcome}", flush=True)
                if options.until and options.until in outcome:
                    pool.shutdown(cancel_futures=True)
                    break
            elif seed % 1000 == 999:
                print(f"{seed + 1 - options.first} seeds, {broken} broken", flush=True)
    print(f"{seed + 1 - options.first} seeds of {options.steps} steps, {broken} broken", flush=True)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
