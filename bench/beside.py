"""Two trees of the service at the same time: CPU and rate of each, from end to end, and the ratios.

    python -m bench.beside FOLDER [--pairs 9] [--jobs 20000]

`FOLDER` is a work tree of another commit, as `git worktree add FOLDER COMMIT` makes it. Both run the measurement of
`bench.end_to_end` with concurrency 100 and the hub in a process of its own. On a machine that others use too, two runs
one after the other differ by a fifth. Two runs at once share every disturbance, so that their ratio scatters far less.
The rates are those of half a machine.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

CONCURRENCY = 100
HERE = Path(__file__).resolve().parents[1]
_RUN = """
import asyncio, json, sys, tempfile
from pathlib import Path
from bench.end_to_end import one_run
with tempfile.TemporaryDirectory(prefix="bench-") as folder:
    print(json.dumps(asyncio.run(one_run(Path(folder), int(sys.argv[1]), int(sys.argv[2])))))
"""
FIGURES = {"worker_cpu_us": "worker, CPU µs a job", "hub_cpu_us": "hub, CPU µs a job", "end_to_end": "jobs per second"}
"""What both trees measure, and its name in the table."""


def pair(trees: list[Path], jobs: int) -> list[dict[str, float]]:
    """Return the figures of each tree, measured at the same time."""
    command = [sys.executable, "-c", _RUN, str(jobs), str(CONCURRENCY)]
    running = [
        subprocess.Popen(command, cwd=tree, env={**os.environ, "PYTHONPATH": str(tree)}, stdout=subprocess.PIPE)
        for tree in trees
    ]
    outputs = [process.communicate()[0] for process in running]
    if failed := [str(tree) for tree, process in zip(trees, running, strict=True) if process.returncode]:
        raise SystemExit(f"the run of {', '.join(failed)} failed")
    return [json.loads(output) for output in outputs]


def table(pairs: list[list[dict[str, float]]]) -> str:
    """Return the medians of both trees, and the median and the range of the ratios."""
    lines = [f"{'median of ' + str(len(pairs)) + ' pairs':24}{'there':>10}{'here':>10}{'ratio':>8}   least to most"]
    for name, title in FIGURES.items():
        there, here = [one[0][name] for one in pairs], [one[1][name] for one in pairs]
        ratios = [new / old for old, new in zip(there, here, strict=True)]
        medians = "".join(f"{statistics.median(values):>10,.0f}" for values in (there, here))
        lines.append(f"{title:24}{medians}{statistics.median(ratios):>8.2f}   {min(ratios):.2f} to {max(ratios):.2f}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--jobs", type=int, default=20_000)
    options = parser.parse_args()
    trees = [options.folder.absolute(), HERE]
    print(table([pair(trees, options.jobs) for _ in range(options.pairs)]))


if __name__ == "__main__":
    main()
