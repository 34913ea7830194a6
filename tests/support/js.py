"""Node for the tests: the real JavaScript Socket.IO server, and whatever else lies in tests/interop.

The packages are installed into tests/interop/node_modules at first use, from the committed lock.
"""

import asyncio
import contextlib
import fcntl
import json
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.needs import needed_program, skip_without

INTEROP = Path(__file__).parents[1] / "interop"


def node_or_skip() -> str:
    """Node's path, with the packages installed. Without Node the test is skipped, in CI it fails."""
    node = needed_program("node", "install Node 20 or newer with npm")
    npm = needed_program("npm", "install Node 20 or newer with npm")
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
        skip_without("the npm packages of tests/interop", f"npm ci failed: {done.stderr.strip()[-300:]}")


@dataclass
class NodeProcess:
    """A script that prints one JSON object per line, and reads one per line."""

    process: asyncio.subprocess.Process
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def next(self, at: str, seconds: float = 120.0) -> dict[str, Any]:
        """The next line of this kind; others before it are dropped."""
        assert self.process.stdout is not None
        async with asyncio.timeout(seconds):
            while line := await self.process.stdout.readline():
                said: dict[str, Any] = json.loads(line)
                if said.get("at") == at:
                    return said
        raise AssertionError(f"node ended before it said {at!r}")

    def send(self, **command: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(command).encode() + b"\n")

    async def report(self) -> dict[str, Any]:
        """What a server has received so far."""
        self.send(do="report")
        return await self.next("report")

    async def kill(self) -> None:
        """SIGKILL, as a crash would."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()


@contextlib.asynccontextmanager
async def node(script: str, levers: dict[str, Any]) -> AsyncIterator[NodeProcess]:
    """A script of tests/interop; killed at the end."""
    async with json_process(node_or_skip(), str(INTEROP / script), json.dumps(levers)) as started:
        yield started


@contextlib.asynccontextmanager
async def json_process(*command: str) -> AsyncIterator[NodeProcess]:
    """A program that speaks JSON lines; killed at the end."""
    process = await asyncio.create_subprocess_exec(
        *command,
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
        process._transport.close()  # type: ignore[attr-defined]  # asyncio has no public way


@contextlib.asynccontextmanager
async def js_server(**levers: Any) -> AsyncIterator[NodeProcess]:
    async with node("server.js", levers) as started:
        started.port = (await started.next("listening"))["port"]
        yield started
