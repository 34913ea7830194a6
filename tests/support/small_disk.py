"""Runs a script on a file system of its own that is small, so that it becomes full."""

import os
import subprocess
import sys
from pathlib import Path

from tests.support.needs import need_namespaces
from tests.support.process import clean_environment

_MOUNT = 'mount -t tmpfs -o "size=$1" none "$2" && exec "$3" -c "$4" "$2"'


def run_on_small_disk(folder: Path, size: str, script: str) -> str:
    """Mount a disk of this size, such as `1200k`, on the folder for a script in Python; return what it printed.

    `sys.argv[1]` is the folder. The test is skipped where nothing can be mounted.
    """
    need_namespaces("--mount")
    finished = subprocess.run(
        ["unshare", "--mount", "sh", "-c", _MOUNT, "sh", size, str(folder), sys.executable, script],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=clean_environment(),
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def fill(folder: Path, left: int) -> Path:
    """Write a file that leaves this many bytes of the disk; return it."""
    ballast = folder / "ballast"
    disk = os.statvfs(folder)
    ballast.write_bytes(b"\0" * max(0, disk.f_bavail * disk.f_frsize - left))
    return ballast
