"""`python -m tests.fuzz SECONDS [TARGET...]`: fuzz the targets, one a processor at a time, each for so many seconds.

Prints one line for each target, and what was found. The exit code is 1 when something was.
"""

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tests.fuzz.targets import FOUND, TARGETS

_SLOW_START = 600
"""Seconds that a busy machine may take to load a target and to end it."""
_TRACEBACK = re.compile(r"=== Uncaught Python exception: ===.*?(?==+ *\d+ *==|\Z)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Run:
    """What came of fuzzing one target."""

    target: str
    exit_code: int
    output: str

    @property
    def line(self) -> str:
        verdict = "nothing found" if self.exit_code == 0 else f"FOUND SOMETHING (exit code {self.exit_code})"
        return (
            f"{self.target:16} {self._figure('number_of_executed_units'):>12} executions "
            f"{self._figure('new_units_added'):>8} new inputs {self._figure('peak_rss_mb'):>6} MB  {verdict}"
        )

    @property
    def finding(self) -> str:
        """Return the traceback, or the end of the output."""
        traceback = _TRACEBACK.search(self.output)
        return traceback[0] if traceback else self.output[-4000:]

    def _figure(self, name: str) -> str:
        found = re.search(rf"stat::{name}: +(\d+)", self.output)
        return f"{int(found[1]):,}" if found else "?"


def fuzz(name: str, seconds: int) -> Run:
    """Fuzz one target in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.one_target", name, str(seconds)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=seconds + _SLOW_START,
        check=False,
        # Measuring coverage as well would take most of the time.
        env={name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")},
    )
    return Run(name, done.returncode, done.stdout.decode("utf-8", "replace"))


def main() -> int:
    seconds, names = int(sys.argv[1]), sys.argv[2:] or list(TARGETS)
    at_once = os.cpu_count() or 1
    print(f"{len(names)} targets, {at_once} at once, {seconds} s each; findings are written to {FOUND}", flush=True)
    failed = []
    with ThreadPoolExecutor(at_once) as pool:
        for run in pool.map(lambda name: fuzz(name, seconds), names):
            print(run.line, flush=True)
            failed += [run] if run.exit_code else []
    for run in failed:
        print(f"\n{run.target}\n{run.finding}")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
