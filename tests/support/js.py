"""Node for the tests: the real JavaScript Socket.IO server, and whatever else lies in tests/interop.

The packages are installed into tests/interop/node_modules at first use, from the committed lock.
"""

import asyncio
import contextlib
import fcntl
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

INTEROP = Path(__file__).parents[1] / "interop"


def node_or_skip() -> str:
    """Node's path, with the packages installed. Without Node the test is skipped, in CI it fails."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        _without("Node 20 and npm are needed for the interop tests: install them, or leave these tests to CI")
    assert node is not None
    assert npm is not None
    with (INTEROP / "package.json").open() as lock:
        # Tests run in several processes: one installs, the others wait for it.
        fcntl.flock(lock, fcntl.LOCK_EX)
        _install(npm)
    return node


def _install(npm: str) -> None:
    done_mark = INTEROP / "node_modules" / ".package-lock.json"  # npm writes it last
    if done_mark.exists() and done_mark.stat().st_mtime >= (INTEROP / "package-lock.json").stat().st_mtime:
        return
    command = [npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
    done = subprocess.run(command, cwd=INTEROP, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        _without(f"npm ci failed in tests/interop: {done.stderr.strip()[-300:]}")


def _without(reason: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@dataclass
class NodeProcess:
    """A script that says one JSON object per line, and hears one per line."""

    process: asyncio.subprocess.Process
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def next(self, at: str, seconds: float = 20.0) -> dict[str, Any]:
        """The next line of this kind; others before it are dropped."""
        assert self.process.stdout is not None
        async with asyncio.timeout(seconds):
            while line := await self.process.stdout.readline():
                said: dict[str, Any] = json.loads(line)
                if said.get("at") == at:
                    return said
        raise AssertionError(f"node ended before it said {at!r}")

    def tell(self, **command: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(command).encode() + b"\n")

    async def report(self) -> dict[str, Any]:
        """What a server has received so far."""
        self.tell(do="report")
        return await self.next("report")

    async def kill(self) -> None:
        """SIGKILL, as a crash would."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()


@contextlib.asynccontextmanager
async def node(script: str, levers: dict[str, Any]) -> AsyncIterator[NodeProcess]:
    """A script of tests/interop; killed at the end."""
    process = await asyncio.create_subprocess_exec(
        node_or_skip(),
        str(INTEROP / script),
        json.dumps(levers),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=64 * 1024 * 1024,
    )
    started = NodeProcess(process)
    try:
        yield started
    finally:
        await started.kill()
        # Closing the pipes is left to the loop otherwise, and it says so as a warning after the test.
        process._transport.close()  # type: ignore[attr-defined]


@contextlib.asynccontextmanager
async def js_server(**levers: Any) -> AsyncIterator[NodeProcess]:
    async with node("server.js", levers) as started:
        started.port = (await started.next("listening"))["port"]
        yield started
