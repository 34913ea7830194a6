"""Rosters with a history, from CSV to written results: this tree, other trees, and a program written by hand in Polars.

    python -m bench.insignia [--officers 10000 100000] [--runs 3] [--against FOLDER ...]

Each run is a process of its own, and the programs take turns. Medians of CPU seconds (user and system, all threads),
microseconds an officer and peak memory, and ratios to the first program of the size. FOLDER is a checkout of another
commit. The programs by hand are bench/insignia_columns.py; they need Polars, and one of them writes less.
"""

import argparse
import importlib.util
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from worker.insignia import write_sample

HERE = Path(__file__).parents[1]
_PRODUCT = """
import inspect, pathlib, sys
from worker.insignia import evaluate_roster, write_results
roster, history, folder = map(pathlib.Path, sys.argv[1:])
index = "row_index" if "row_index" in inspect.signature(write_results).parameters else "register"  # its earlier name
write_results(evaluate_roster(roster, 2569, history=history), folder, **{index: True})
"""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one run took."""

    cpu: float
    """Seconds."""
    memory: float
    """Peak, in MB."""


def run(command: Sequence[str], tree: Path) -> Cost:
    environment = os.environ | {"PYTHONPATH": str(tree)}
    child = subprocess.Popen([sys.executable, *command], cwd=tree, env=environment)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit(f"{command[0]} in {tree} failed")
    return Cost(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000)


def compare(officers: int, programs: Mapping[str, tuple[Sequence[str], Path]], runs: int) -> None:
    """Print one line for each program."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        roster, history = folder / "roster.csv", folder / "history.csv"
        write_sample(roster, officers, history=history)
        costs: dict[str, list[Cost]] = {program: [] for program in programs}
        for number in range(runs):
            for program, (command, tree) in programs.items():
                out = folder / f"out-{number}"
                costs[program].append(run([*command, str(roster), str(history), str(out)], tree))
                shutil.rmtree(out)
    print(f"{officers:,} officers, medians of {runs}")
    first: Cost | None = None
    for program, found in costs.items():
        cpu, memory = (
            statistics.median(values) for values in zip(*((one.cpu, one.memory) for one in found), strict=True)
        )
        first = first or Cost(cpu, memory)
        each = 1e6 * cpu / officers
        ratios = f"x{cpu / first.cpu:.2f} CPU, x{memory / first.memory:.2f} memory"
        print(f"  {program}: {cpu:.2f} s of CPU, {each:.0f} µs an officer, {memory:.0f} MB; {ratios}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--officers", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--against", type=Path, nargs="*", default=[])
    options = parser.parse_args()
    product = ["-c", _PRODUCT]
    programs: dict[str, tuple[Sequence[str], Path]] = {"this tree": (product, HERE)}
    programs |= {str(tree): (product, tree.absolute()) for tree in options.against}
    if importlib.util.find_spec("polars") is not None:
        programs["by hand in Polars"] = (["-m", "bench.insignia_columns"], HERE)
        programs["by hand in Polars, same results"] = (["-m", "bench.insignia_columns", "--same"], HERE)
    for officers in options.officers:
        compare(officers, programs, options.runs)


if __name__ == "__main__":
    main()
