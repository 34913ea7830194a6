"""What a test needs of the machine: without it the test is skipped, and where CI=true it fails."""

import os
import shutil
import subprocess
from typing import NoReturn

import pytest


def skip_without(what: str, remedy: str) -> NoReturn:
    """Skip this test, or fail it in CI. The summary lists `what` once with the number of tests and the remedy."""
    reason = f"{what} is needed: {remedy}"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def needed_program(name: str, remedy: str | None = None, *, also_in: str = "") -> str:
    """The path of a program on PATH, or in the folders `also_in`."""
    found = shutil.which(name) or shutil.which(name, path=also_in)
    return found or skip_without(name, remedy or f"apt install {name}")


def need_root(purpose: str) -> None:
    """Skip this test unless it runs as root."""
    if os.geteuid() != 0:
        skip_without("root", f"run the tests as root, {purpose}")


def need_namespaces(*options: str) -> None:
    """Skip this test unless a program can be started in namespaces of its own, as `unshare` makes them."""
    unshare = needed_program("unshare", "apt install util-linux")
    done = subprocess.run([unshare, *options, "true"], capture_output=True, text=True, timeout=60, check=False)
    if done.returncode != 0:
        remedy = f"run the tests as root, or allow it to users ({done.stderr.strip()})"
        skip_without(f"unshare {' '.join(options)}", remedy)
