"""Run a command on a machine that seems to pause: its processes are suspended at random, for a moment each.

    python -m tests.support.pauses [--every 2.0] [--longest 2.5] [--seed 1] make test

What only holds on a machine that is quick at every moment fails under it. Processes that are suspended already are left
alone, and so are the children of `runuser`, which suspends itself with its child and is not resumed with it.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from tests.support.processes import children_of


def _state_and_name(pid: int) -> tuple[str, str]:
    """Return the letter of the process's state, and the name of its program; empty if it has ended."""
    try:
        name, _, rest = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")
    except (FileNotFoundError, ProcessLookupError):
        return "", ""
    return rest.split()[0], name.partition("(")[2]


def _descendants(root: int) -> list[int]:
    """Return the processes below this one that may be suspended."""
    found, left = [], [root]
    while left:
        parent = left.pop()
        if _state_and_name(parent)[1] == "runuser":
            continue
        children = children_of(parent)
        found += [child for child in children if _state_and_name(child)[0] in {"R", "S", "D"}]
        left += children
    return found


def _pause(pid: int, seconds: float) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
        try:
            time.sleep(seconds)
        finally:
            os.kill(pid, signal.SIGCONT)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=float, default=2.0, help="mean seconds between two pauses")
    parser.add_argument("--longest", type=float, default=2.5, help="seconds of the longest pause")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    print(f"pauses: seed {options.seed}", file=sys.stderr, flush=True)
    chance, count = random.Random(options.seed), 0
    with subprocess.Popen(options.command) as process:
        while process.poll() is None:
            time.sleep(chance.expovariate(1 / options.every))
            if below := _descendants(process.pid):
                _pause(chance.choice(below), chance.uniform(0.2, options.longest))
                count += 1
    print(f"pauses: {count}", file=sys.stderr)
    return process.returncode


if __name__ == "__main__":
    sys.exit(main())
