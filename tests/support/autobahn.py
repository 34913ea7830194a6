"""Run Autobahn|Testsuite (RFC 6455) against the hub's WebSocket layer and against the link's: `make conformance`.

The suite needs Python 2.7, which is looked for in PYTHON27, among the versions of pyenv, and on the PATH. It is
installed into a folder of the virtual environment at first use. Exit code 1: a case failed; 2: there is no Python 2.7.
"""

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

from tests.support.ports import free_port
from tests.support.raw_echo import raw_echo
from worker.notifiers.socketio.websocket import ClientWebSocket, WebSocketEnd, open_websocket

CASES = ("1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.*", "10.*")
"""All but compression (12 and 13), which neither end offers."""
PASSED = frozenset({"OK", "NON-STRICT", "INFORMATIONAL"})
LIBRARY = Path(sys.prefix) / "autobahn"
RUN = """
import site, sys
site.addsitedir(sys.argv.pop(1))
from autobahntestsuite.wstest import run
run()
"""
Results = dict[str, dict[str, str]]
_CASE_SECONDS = 120.0
_END_SECONDS = 1.0
_LARGEST_MESSAGE = 64 * 1024 * 1024


def python27() -> str:
    """The interpreter that the suite needs."""
    found = os.environ.get("PYTHON27") or _python27_of_pyenv() or shutil.which("python2.7")
    if found is None:
        print("Autobahn|Testsuite needs Python 2.7: put python2.7 on the PATH, or set PYTHON27", file=sys.stderr)
        sys.exit(2)
    return found


def _python27_of_pyenv() -> str | None:
    """The interpreter itself: what pyenv puts on the PATH refuses to run a version that is not chosen."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    return next(map(str, sorted(root.glob("versions/2.7*/bin/python2.7"))), None)


def install(python: str) -> None:
    """Install the suite once."""
    if not (LIBRARY / "autobahntestsuite").exists():
        command = [python, "-m", "pip", "--disable-pip-version-check", "-q", "install", "--target", str(LIBRARY)]
        subprocess.run([*command, "autobahntestsuite"], check=True)


async def start_suite(python: str, mode: str, settings: dict[str, Any], folder: Path) -> asyncio.subprocess.Process:
    """Start the suite; it writes its reports into the folder."""
    spec = {"outdir": str(folder), "exclude-cases": [], "exclude-agent-cases": {}, **settings}
    (folder / "spec.json").write_text(json.dumps(spec))
    command = [python, "-c", RUN, str(LIBRARY), "-m", mode, "-w", "0", "-s", str(folder / "spec.json")]
    return await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)


async def run_against_hub(python: str, cases: list[str], folder: Path) -> Results:
    """Let the suite connect to the hub's WebSocket layer; return each case's results."""
    async with raw_echo() as port:
        settings = {"servers": [{"agent": "hub", "url": f"ws://127.0.0.1:{port}"}], "cases": cases}
        process = await start_suite(python, "fuzzingclient", settings, folder)
        if await process.wait():
            sys.exit(f"the test suite ended with code {process.returncode}")
    return results_of(folder, "hub")


async def run_against_link(python: str, cases: list[str], folder: Path) -> Results:
    """Connect to the suite with the link's WebSocket, once for each case; return each case's results."""
    url = f"http://127.0.0.1:{free_port()}"
    process = await start_suite(python, "fuzzingserver", {"url": url.replace("http", "ws"), "cases": cases}, folder)
    try:
        async with aiohttp.ClientSession() as http:
            count = int(await until_listening(http, f"{url}/getCaseCount", process))
            for case in range(1, count + 1):
                async with echo(http, f"{url}/runCase?case={case}&agent=link") as agent:
                    await agent.until_over()
            async with echo(http, f"{url}/updateReports?agent=link") as agent:
                await agent.until_over()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
    return results_of(folder, "link")


def results_of(folder: Path, agent: str) -> Results:
    results: Results = json.loads((folder / "index.json").read_text())[agent]
    return results


class EchoAgent:
    """Sends every message back over the link's WebSocket."""

    def __init__(self, websocket: ClientWebSocket) -> None:
        self.websocket = websocket
        self.texts: list[str] = []
        self._over = asyncio.Event()

    def on_text(self, text: str) -> None:
        self.texts.append(text[:20])
        self.websocket.write_text(text.encode())

    def on_binary(self, data: bytes) -> None:
        self.websocket.write_binary(data)

    def on_pong(self, payload: bytes) -> None: ...

    def on_end(self, end: WebSocketEnd) -> None:
        self._over.set()

    async def until_over(self) -> None:
        """Wait for the end, and for that of the TCP connection, which the server is to end first."""
        async with asyncio.timeout(_CASE_SECONDS):
            await self._over.wait()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_END_SECONDS):
                await self.websocket.wait_lost()


@contextlib.asynccontextmanager
async def echo(http: aiohttp.ClientSession, url: str) -> AsyncIterator[EchoAgent]:
    """Open a WebSocket that sends every message back."""
    websocket = await open_websocket(http, url, {}, max_message_bytes=_LARGEST_MESSAGE)
    assert isinstance(websocket, ClientWebSocket), websocket.status
    agent = EchoAgent(websocket)
    websocket.start(agent)
    try:
        yield agent
    finally:
        await websocket.abort()


async def until_listening(http: aiohttp.ClientSession, url: str, process: asyncio.subprocess.Process) -> str:
    """Wait until the suite listens; return its first message."""
    while True:
        if process.returncode is not None:
            sys.exit(f"the test suite ended with code {process.returncode}")
        with contextlib.suppress(aiohttp.ClientConnectionError):
            async with echo(http, url) as agent:
                await agent.until_over()
                return agent.texts[0]
        await asyncio.sleep(0.1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", default=CASES, help="patterns such as 6.* (all but compression)")
    parser.add_argument("--only", choices=("hub", "link"), help="test this end only")
    options = parser.parse_args()
    python = python27()
    install(python)
    failed = False
    for agent, run in (("hub", run_against_hub), ("link", run_against_link)):
        if options.only in (None, agent):
            with tempfile.TemporaryDirectory() as folder:
                results = asyncio.run(run(python, list(options.cases), Path(folder)))
            failed |= report(agent, results)
    return 1 if failed else 0


def report(agent: str, results: Results) -> bool:
    """Print the figures and the cases that failed; return whether any did."""
    failed = {
        case: f"{result['behavior']}, close {result['behaviorClose']}"
        for case, result in results.items()
        if not {result["behavior"], result["behaviorClose"]} <= PASSED
    }
    print(f"{agent}: {len(results)} cases:", dict(Counter(result["behavior"] for result in results.values())))
    print("  non-strict:", ", ".join(case for case in results if results[case]["behavior"] == "NON-STRICT") or "none")
    for case, behavior in failed.items():
        print(f"  {case}: {behavior}")
    return bool(failed) or not results


if __name__ == "__main__":
    sys.exit(main())
