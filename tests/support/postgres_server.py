"""A PostgreSQL server of its own, for tests that stop it and for `make demo STORE=postgres`: it ends with its command.

    python -m tests.support.postgres_server COMMAND...

runs the command with Queue:Provider and Queue:ConnectionString of the environment naming a new, empty server.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.needs import skip_without
from tests.support.ports import free_port
from tests.support.processes import children_of, is_running

_SECONDS = "240"
"""How long the server may take to start or to stop; a guard against a hang, as a busy machine takes its time."""
_USER = "postgres"
"""Who runs the server where the tests run as root, which PostgreSQL does not allow."""


def find_programs() -> Path | None:
    """Return the folder of the newest PostgreSQL server that is installed."""
    found = shutil.which("pg_ctl")
    if found is not None:
        return Path(found).parent
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"), key=lambda path: int(path.parts[-3]))
    return installed[-1].parent if installed else None


def _give(path: Path) -> None:
    """Let the server, which does not run as root, own a file or folder."""
    if os.geteuid() == 0:
        shutil.chown(path, _USER)


@dataclass
class PostgresServer:
    """A server on a port of its own, with its data in a folder of its own."""

    programs: Path
    folder: Path
    port: int
    options: str = ""
    """Further options of the server."""

    @property
    def url(self) -> str:
        return f"postgresql://{_USER}@127.0.0.1:{self.port}/postgres"

    def create(self) -> None:
        _give(self.folder)
        self._run("initdb", "-U", _USER, "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "-N", "-D", self._data)

    def require_tls(self, certificate: Path) -> None:
        """Use TLS from the next start on, and reject connections without it. The file holds certificate and key."""
        own = self.folder / "server.pem"
        shutil.copy(certificate, own)
        own.chmod(0o600)
        _give(own)
        rules = self.folder / "data" / "pg_hba.conf"
        rules.write_text("hostssl all all 127.0.0.1/32 trust\n")
        self.options = f"-c ssl=on -c ssl_cert_file={own} -c ssl_key_file={own}"

    def listen_everywhere(self) -> None:
        """Serve all networks from the next start on: for tests in a network namespace of their own."""
        with (self.folder / "data" / "pg_hba.conf").open("a", encoding="ascii") as rules:
            rules.write("host all all 10.0.0.0/8 trust\n")
        self.options = "-h 0.0.0.0"

    def processes(self) -> list[int]:
        """Return the server's processes, the first of which starts the others; none if it does not run."""
        file = Path(self._data, "postmaster.pid")
        if not file.exists():
            return []
        first = int(file.read_text(encoding="ascii").split()[0])
        return [first, *children_of(first)] if is_running(first) else []

    def kill(self) -> None:
        """End it as kill -9 does; return when all of its processes have ended."""
        processes, now = self.processes(), time.monotonic()
        for process in processes[:1]:
            os.kill(process, signal.SIGKILL)
        while any(is_running(process, since=now) for process in processes):
            time.sleep(0.01)
        # The next start would take a process that has ended, but was not reaped yet, for a server that runs; or one
        # that has been given its id since.
        for lock in (Path(self._data, "postmaster.pid"), self.folder / f".s.PGSQL.{self.port}.lock"):
            lock.unlink(missing_ok=True)

    def start(self) -> None:
        options = f"-p {self.port} -h 127.0.0.1 -k {self.folder} {self.options}"
        log = str(self.folder / "log")
        self._run("pg_ctl", "-w", "-t", _SECONDS, "-D", self._data, "-l", log, "-o", options, "start")

    def stop(self, mode: str = "immediate") -> None:
        """Stop it; `immediate` as a crash would, `fast` in order."""
        self._run("pg_ctl", "-w", "-t", _SECONDS, "-D", self._data, "-m", mode, "stop")

    @property
    def _data(self) -> str:
        return str(self.folder / "data")

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self.programs / program), *arguments]
        if os.geteuid() == 0:
            command = ["runuser", "-u", _USER, "--", *command]
        # Not into a pipe: it would not end before everything that has inherited it does.
        with tempfile.TemporaryFile() as errors:
            done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=errors, check=False, cwd="/")
            errors.seek(0)
            if done.returncode:
                raise RuntimeError(f"{program} failed: {errors.read().decode(errors='replace').strip()[-300:]}")


@contextlib.contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Start a server; stop and remove it at the end. Skips the test where no PostgreSQL is installed; fails in CI."""
    programs = find_programs()
    if programs is None:
        skip_without("a PostgreSQL server", "install PostgreSQL 15")
    assert programs is not None
    with tempfile.TemporaryDirectory(prefix="iw-pg-") as folder:
        server = PostgresServer(programs, Path(folder), free_port())
        server.create()
        server.start()
        try:
            yield server
        finally:
            with contextlib.suppress(RuntimeError):  # a test may have stopped it
                server.stop()


def main() -> int:
    """Run a command with a server of its own; return its exit code."""
    with postgres_server() as server:
        settings = {"Queue__Provider": "postgres", "Queue__ConnectionString": server.url}
        return subprocess.run(sys.argv[1:], env={**os.environ, **settings}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
