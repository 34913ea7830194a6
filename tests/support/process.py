"""The real service in a process of its own, through its doors: started, asked, stopped, killed."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.chosen_store import store_environment
from tests.support.eventually import eventually
from tests.support.history.recorder import Recorder
from tests.support.history.runs import note_service
from worker.cli.api_client import ApiClient
from worker.core.clock import Clock
from worker.errors import Unavailable, WorkerError
from worker.net.unix_socket import SOCKET_NAME
from worker.stores.postgres.database import DatabaseTarget
from worker.stores.postgres.opening import migrate_target
from worker.stores.sqlite.store import open_store

START_SECONDS = 240.0
"""A guard against a hang; on a busy machine a start takes long."""


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return an environment without the settings of this machine."""
    kept = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV", "SYSTEMROOT", "COVERAGE_PROCESS_CONFIG")
    return {
        **{name: os.environ[name] for name in kept if name in os.environ},
        "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
        "PYTHONUNBUFFERED": "1",
        **(extra or {}),
    }


@dataclass(slots=True)
class RecordingClient(ApiClient):
    """An API client that records which jobs it was promised."""

    history: Recorder = field(default_factory=Recorder)

    def request(self, method: str, target: str, body: Any = None, headers: dict[str, str] | None = None) -> Any:
        jobs = _jobs_in(method, target, body)
        try:
            answer = ApiClient.request(self, method, target, body, headers)
        except WorkerError as exc:
            self.history.fail(jobs, exc)
            raise
        if jobs:
            self.history.accept(jobs, answer["jobs"] if target.endswith("/batch") else [answer])
        return answer


def _jobs_in(method: str, target: str, body: Any) -> list[dict[str, Any]]:
    """Return the jobs that a request submits."""
    if method == "POST" and isinstance(body, dict):
        if target == "/api/v1/jobs/batch":
            return list(body["jobs"])
        if target == "/api/v1/jobs":
            return [body]
    return []


@dataclass
class WorkerProcess:
    """`insignia-worker run` on a folder; it reports READY by sd_notify, as to systemd."""

    folder: Path
    settings: list[str] = field(default_factory=list)
    environ: dict[str, str] = field(default_factory=dict)
    command: str = "run"
    prefix: list[str] = field(default_factory=list)
    """A program, with its arguments, that starts the service."""
    stderr: int | None = None
    """A descriptor for the log; None: the file `log`."""
    process: "subprocess.Popen[bytes] | None" = None
    history: Recorder = field(default_factory=Recorder)
    """The jobs that `client` was promised."""

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def log(self) -> Path:
        return self.folder / "worker.log"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def client(self) -> ApiClient:
        return RecordingClient(self.state / SOCKET_NAME, history=self.history)

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def arguments(self) -> list[str]:
        return [
            *self.prefix,
            sys.executable,
            "-m",
            "worker",
            self.command,
            "--contentRoot",
            str(self.folder),
            *self.settings,
        ]

    async def start(self) -> None:
        """Start and wait for READY=1. Raises AssertionError with the log when the process ends before."""
        loop = asyncio.get_running_loop()
        note_service(self)
        with _notify_socket() as (address, receiver):
            with self.log.open("ab") as log:
                self.process = subprocess.Popen(
                    self.arguments(),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log if self.stderr is None else self.stderr,
                    env=clean_environment({**self._store(), **self.environ, "NOTIFY_SOCKET": address}),
                    cwd=self.folder,
                )
            async with asyncio.timeout(START_SECONDS):
                while True:
                    received = asyncio.ensure_future(loop.sock_recv(receiver, 4096))
                    done, _ = await asyncio.wait([received], timeout=0.05)
                    if done and b"READY=1" in received.result():
                        return
                    received.cancel()
                    await asyncio.gather(received, return_exceptions=True)
                    assert self.process.poll() is None, f"ended with {self.process.returncode}:\n{self.text()}"

    def _store(self) -> dict[str, str]:
        return {} if self.command == "hub" else store_environment(self.folder)

    def kill(self) -> None:
        """kill -9, and wait for the kernel to have taken it away."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    async def stop(self, number: signal.Signals = signal.SIGTERM, seconds: float = 120.0) -> int:
        """The exit code after a polite signal."""
        assert self.process is not None
        self.process.send_signal(number)
        return await asyncio.to_thread(self.process.wait, seconds)

    async def health(self) -> dict[str, Any]:
        """Return the parts that /health lists.

        It answers 503 where the event loop has just had no heartbeat for seconds, as on a busy machine.
        """
        async with asyncio.timeout(120):
            while True:
                try:
                    entries: dict[str, Any] = (await asyncio.to_thread(self.client.request, "GET", "/health"))[
                        "entries"
                    ]
                except Unavailable:
                    assert self.is_running, f"ended:\n{self.text()}"
                    await asyncio.sleep(0.05)
                else:
                    return entries

    async def until_idle(self, seconds: float = 240.0) -> None:
        """Wait until every job has ended and every notification is confirmed."""
        async with asyncio.timeout(seconds):
            while True:
                entries = await self.health()
                jobs = entries["queue"]["data"]["jobs"]
                if not (jobs.get("queued") or jobs.get("running") or entries["outbox"]["data"]["depth"]):
                    return
                await asyncio.sleep(0.05)

    async def until_logged(self, text: str, count: int = 1) -> None:
        """Wait until the log has the text so many times: the service writes its lines in a thread of its own."""
        await eventually(lambda: self.text().count(text) >= count)

    def text(self) -> str:
        return self.log.read_text(encoding="utf-8") if self.log.exists() else ""


@contextlib.contextmanager
def _notify_socket() -> Iterator[tuple[str, socket.socket]]:
    with tempfile.TemporaryDirectory(prefix="iw-") as folder:
        address = f"{folder}/notify"
        receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        receiver.bind(address)
        receiver.setblocking(False)
        try:
            yield address, receiver
        finally:
            receiver.close()


@contextlib.asynccontextmanager
async def running_worker(folder: Path, *settings: str, **options: Any) -> AsyncIterator[WorkerProcess]:
    """Started; killed at the end if the test has not ended it."""
    worker = WorkerProcess(folder, list(settings), **options)
    try:
        await worker.start()
        yield worker
    finally:
        if worker.process is not None and worker.process.poll() is None:
            worker.kill()


def command(
    folder: Path, *arguments: str, stdin: str | bytes = "", **environ: str
) -> "subprocess.CompletedProcess[str]":
    """One command of the command line on that folder."""
    done = subprocess.run(
        [sys.executable, "-m", "worker", *arguments, "--contentRoot", str(folder)],
        input=stdin.encode() if isinstance(stdin, str) else stdin,
        capture_output=True,
        env=clean_environment({**store_environment(folder), **environ}),
        cwd=folder,
        timeout=300,
    )
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def create_store(folder: Path) -> None:
    """Create an empty store, as `run` does, for commands that need one. Not for tests inside an event loop."""

    async def create() -> None:
        url = store_environment(folder).get("Queue__ConnectionString")
        if url is not None:
            await migrate_target(DatabaseTarget.parse(url))
            return
        path = folder / "state" / "queue.db"
        await (await open_store(path, owner="test", max_bytes=1 << 30, clock=Clock())).close()

    asyncio.run(create())
