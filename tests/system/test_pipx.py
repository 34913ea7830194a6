"""Installed from a wheel with pipx, backed up and restored, by the very commands of docs/operations.md."""

import asyncio
import contextlib
import os
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.debian import commands_of, copy_sources
from tests.support.needs import needed_program
from tests.support.ports import free_port
from tests.support.repository import ROOT

JOB = """insignia-worker enqueue insignia_background_processing --user somchai --payload '{"round": 2569}' """
SAMPLE = "worker/insignia/sample/sample_data"
ROSTER = f"--file roster=@{SAMPLE}/roster.csv --file history=@{SAMPLE}/history.csv --wait"


@dataclass
class Host:
    """A user's shell on a machine: a home, a checkout, and nothing of the environment of the tests."""

    folder: Path

    @property
    def environ(self) -> dict[str, str]:
        home = self.folder / "home"
        kept = {name: os.environ[name] for name in os.environ if name.startswith(("PIP_", "SSL_"))}
        path = f"{home}/.local/bin:{os.environ['PATH']}"
        url = f"http://127.0.0.1:{self.port}"
        return kept | {"HOME": str(home), "PATH": path, "Http__Url": url, "WebSocket__Url": url}

    def __post_init__(self) -> None:
        self.port = free_port()
        (self.folder / "home").mkdir()
        (self.folder / "backups").mkdir()
        copy_sources(self.folder / "checkout")
        (self.folder / "checkout/.venv").symlink_to(ROOT / ".venv")

    def run(self, *commands: str) -> str:
        """Run commands of the documentation, with the backups in a folder of the test; return what they printed."""
        script = "\n".join(commands).replace("/var/backups", str(self.folder / "backups"))
        done = subprocess.run(
            ["sh", "-e"],
            input=script,
            cwd=self.folder / "checkout",
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            timeout=600,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}"
        return done.stdout

    @contextlib.asynccontextmanager
    async def service(self) -> AsyncIterator[None]:
        """The installed service, from when it is ready until it has stopped."""
        with (self.folder / "log").open("ab") as log:
            running = subprocess.Popen(
                ["insignia-worker", "run"], cwd=self.folder / "checkout", env=self.environ, stdout=log, stderr=log
            )
        try:
            async with asyncio.timeout(300):
                while "Healthy" not in await asyncio.to_thread(self.run, "insignia-worker health || true"):
                    assert running.poll() is None, (self.folder / "log").read_text(encoding="utf-8")
            yield
        finally:
            running.terminate()
            assert await asyncio.to_thread(running.wait, 240) == 0


@pytest.mark.timeout(900)
async def test_commands_for_wheel_backup_and_restore_work_as_written(tmp_path: Path) -> None:
    needed_program("pipx")
    host = Host(tmp_path)
    printed = await asyncio.to_thread(host.run, *commands_of("operations.md", "From a wheel, with pipx"))
    assert "installed package insignia-worker" in printed
    async with host.service():
        await asyncio.to_thread(host.run, JOB + ROSTER)
        await asyncio.to_thread(host.run, *commands_of("operations.md", "Back up and restore"))
        await asyncio.to_thread(host.run, JOB.replace("somchai", "somying") + ROSTER)
    await asyncio.to_thread(host.run, *commands_of("operations.md", "Restore on the same machine"))
    async with host.service():
        listed = await asyncio.to_thread(host.run, "insignia-worker jobs list")
        assert ("somchai" in listed, "somying" in listed) == (True, False)
