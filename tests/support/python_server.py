"""Servers of other versions of python-socketio, in environments that are made once from pinned requirements."""

import contextlib
import fcntl
import json
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

from tests.support.js import INTEROP, NodeProcess, json_process
from tests.support.needs import skip_without
from tests.support.ports import free_port


def python_of(requirements: str) -> str:
    """Return the interpreter of an environment with these requirements. Where they cannot be installed the test is
    skipped, in CI it fails."""
    listed = INTEROP / f"{requirements}.txt"
    folder = INTEROP.parents[1] / ".venv" / "interop" / requirements
    with listed.open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one process installs, the others wait for it
        mark = folder / "installed"
        if not mark.exists() or mark.read_text() != listed.read_text():
            shutil.rmtree(folder, ignore_errors=True)
            _install(folder / "bin" / "python", ["-q", "-r", str(listed)], str(folder))
            mark.write_text(listed.read_text())
    return str(folder / "bin" / "python")


def _install(python: Any, arguments: list[str], folder: str) -> None:
    subprocess.run([sys.executable, "-m", "venv", folder], check=True, timeout=600)
    done = subprocess.run(
        [str(python), "-m", "pip", "install", *arguments], capture_output=True, text=True, timeout=600, check=False
    )
    if done.returncode:
        remedy = f"pip failed: {done.stderr.strip()[-300:]}"
        skip_without(f"what pip installs into {folder}", remedy)


@contextlib.asynccontextmanager
async def python_server(requirements: str | None, **levers: Any) -> AsyncIterator[NodeProcess]:
    """Run python_server.py with these requirements; None: with those of the tests."""
    python = sys.executable if requirements is None else python_of(requirements)
    levers = {"port": free_port(), **levers}
    async with json_process(python, str(INTEROP / "python_server.py"), json.dumps(levers)) as started:
        started.port = (await started.next("listening"))["port"]
        yield started
