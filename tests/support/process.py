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

from worker.client import Client
from worker.door.app import SOCKET_NAME

START_SECONDS = 30.0


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Nothing of the machine's settings reaches the process under test."""
    kept = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV", "SYSTEMROOT")
    return {
        **{name: os.environ[name] for name in kept if name in os.environ},
        "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
        "PYTHONUNBUFFERED": "1",
        **(extra or {}),
    }


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class WorkerProcess:
    """`insignia-worker run` on a folder; READY is told by sd_notify, as to systemd."""

    folder: Path
    settings: list[str] = field(default_factory=list)
    environ: dict[str, str] = field(default_factory=dict)
    command: str = "run"
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def log(self) -> Path:
        return self.folder / "worker.log"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def client(self) -> Client:
        return Client(self.state / SOCKET_NAME)

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def arguments(self) -> list[str]:
        return [sys.executable, "-m", "worker", self.command, "--contentRoot", str(self.folder), *self.settings]

    async def start(self) -> None:
        """Until READY=1; an AssertionError with the log when it ends before."""
        loop = asyncio.get_running_loop()
        with _notify_socket() as (address, receiver):
            with self.log.open("ab") as log:
                self.process = subprocess.Popen(
                    self.arguments(),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=clean_environment({**self.environ, "NOTIFY_SOCKET": address}),
                    cwd=self.folder,
                )
            async with asyncio.timeout(START_SECONDS):
                while True:
                    heard = asyncio.ensure_future(loop.sock_recv(receiver, 4096))
                    done, _ = await asyncio.wait([heard], timeout=0.05)
                    if done and b"READY=1" in heard.result():
                        return
                    heard.cancel()
                    await asyncio.gather(heard, return_exceptions=True)
                    assert self.process.poll() is None, f"ended with {self.process.returncode}:\n{self.text()}"

    def kill(self) -> None:
        """kill -9, and wait for the kernel to have taken it away."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    async def stop(self, number: signal.Signals = signal.SIGTERM, seconds: float = 60.0) -> int:
        """The exit code after a polite signal."""
        assert self.process is not None
        self.process.send_signal(number)
        return await asyncio.to_thread(self.process.wait, seconds)

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
    folder: Path, *arguments: str, stdin: str | None = None, **environ: str
) -> "subprocess.CompletedProcess[str]":
    """One command of the command line on that folder."""
    return subprocess.run(
        [sys.executable, "-m", "worker", *arguments, "--contentRoot", str(folder)],
        input="" if stdin is None else stdin,
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=clean_environment(environ),
        cwd=folder,
        timeout=120,
    )
