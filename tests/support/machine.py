"""A Debian that systemd has booted in a container of systemd-nspawn, with the service installed as the docs say."""

import contextlib
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from tests.support.debian import commands_of, copy_sources, debian, overlay, pip_environment
from tests.support.needs import needed_program
from tests.support.processes import children_of

PATIENCE = 240.0
"""Seconds for anything that a machine does, such as booting."""
_ENVIRON = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8"}


@dataclass(slots=True)
class Machine:
    """A running system: `root` is its file system as this one sees it."""

    root: Path
    nspawn: "subprocess.Popen[bytes] | None" = None

    def chroot(self, script: str) -> None:
        """Run a shell script in the file system, which need not be booted."""
        done = subprocess.run(
            ["chroot", str(self.root), "sh", "-ec", script],
            env={**_ENVIRON, **pip_environment()},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=900,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"

    def boot(self) -> None:
        """Boot, and wait until systemd has started everything."""
        nspawn = needed_program("systemd-nspawn", "apt install systemd-container")
        options = ["--register=no", "--keep-unit", "--private-network", "--console=pipe", "--quiet"]
        with (self.root.parent / "console").open("wb") as console:
            self.nspawn = subprocess.Popen(
                [nspawn, "-b", "-D", str(self.root), "--machine=insignia-test", *options],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
            )
        self.until(self._is_booted, "systemd has booted")

    def _is_booted(self) -> bool:
        assert self.nspawn is not None
        assert self.nspawn.poll() is None, (self.root.parent / "console").read_text(errors="replace")
        try:
            state = self.ask("systemctl", "is-system-running")
        except LookupError:
            return False
        return state in ("running", "degraded")

    def power_off(self) -> None:
        """Shut the system down; kill it if that takes too long."""
        if self.nspawn is None:
            return
        self.nspawn.send_signal(signal.SIGTERM)
        try:
            self.nspawn.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.nspawn.kill()
            self.nspawn.wait()

    def run(self, *argv: str, **environ: str) -> "subprocess.CompletedProcess[str]":
        """Run a command as root in the booted system, as from a login. Raises LookupError before there is one."""
        spaces = ["nsenter", "-t", str(self._leader()), "-m", "-u", "-i", "-n", "-p", "--"]
        return subprocess.run(
            [*spaces, *argv],
            env={**_ENVIRON, **environ},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
        )

    def ask(self, *argv: str) -> str:
        """Return what a command prints, whatever its exit code is."""
        return self.run(*argv).stdout.strip()

    def must(self, *argv: str) -> str:
        """Return what a command prints. Raises AssertionError when it fails."""
        done = self.run(*argv)
        assert done.returncode == 0, f"{shlex.join(argv)}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def _leader(self) -> int:
        """Return the process id that the system's PID 1 has here."""
        assert self.nspawn is not None
        children = children_of(self.nspawn.pid)
        if not children:
            raise LookupError("systemd-nspawn has not started the system yet")
        return children[0]

    def write(self, path: str, text: str) -> None:
        """Write a file of the system in one step, readable by all, with its folders."""
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_name(file.name + ".part")
        part.write_text(text, encoding="utf-8")
        part.chmod(0o644)
        part.replace(file)

    def until(self, holds: Callable[[], object], what: str) -> None:
        """Wait until a function returns something true. Raises AssertionError after a long time."""
        end = time.monotonic() + PATIENCE
        while not holds():
            assert time.monotonic() < end, f"not within {PATIENCE:g} s: {what}"
            time.sleep(0.1)


def install(machine: Machine) -> None:
    """Install the service with the commands of docs/operations.md, up to those that talk to systemd."""
    copy_sources(machine.root / "src")
    commands = commands_of("operations.md", "With systemd")
    script = "\n".join(command for command in commands if not command.startswith("systemctl"))
    cache = Path(os.environ.get("TMPDIR", "/var/tmp")) / "insignia-worker-debian" / "pip-cache"
    cache.mkdir(exist_ok=True)
    inside = machine.root / "root" / ".cache" / "pip"
    inside.mkdir(parents=True)
    subprocess.run(["mount", "--bind", str(cache), str(inside)], check=True)
    try:
        machine.chroot(f"cd /src\n{script}")
    finally:
        subprocess.run(["umount", str(inside)], check=True)


@contextlib.contextmanager
def booted_machine() -> Iterator[Machine]:
    """Yield a machine with the service installed, which is not started; the machine is shut down at the end."""
    needed_program("systemd-nspawn", "apt install systemd-container")
    lower = debian()
    with overlay(lower, lower.parent / f"run-{os.getpid()}") as root:
        machine = Machine(root)
        install(machine)
        try:
            machine.boot()
            yield machine
        finally:
            machine.power_off()


@dataclass(slots=True)
class Unit:
    """The unit of the service on a machine."""

    machine: Machine
    name: str = "insignia-worker.service"

    @property
    def state(self) -> Path:
        """The state directory of a unit with DynamicUser=, as this system sees it."""
        return self.machine.root / "var/lib/private/insignia-worker"

    def reset(self) -> None:
        """Stop it and forget its state, its settings, its changes and its log."""
        ask = self.machine.ask
        ask("systemctl", "stop", self.name)
        ask("systemctl", "reset-failed", self.name)
        ask("systemctl", "clean", "--what=state", self.name)
        self.change("")
        ask("journalctl", "--rotate")
        ask("journalctl", "--vacuum-time=1s")
        self.settings({})

    def change(self, lines: str) -> None:
        """Replace the drop-in that changes the shipped unit; it applies to the next start."""
        self.machine.write(f"/etc/systemd/system/{self.name}.d/test.conf", f"[Service]\n{lines}")
        self.machine.must("systemctl", "daemon-reload")

    def settings(self, sections: dict[str, Any]) -> None:
        """Replace the settings file. The handlers of tests/support/unit_handlers.py are always there."""
        worker = {"Handlers": ["unit_handlers"], **sections.get("Worker", {})}
        text = orjson.dumps({**sections, "Worker": worker}).decode()
        self.machine.write("/etc/insignia-worker/appsettings.json", text)

    def properties(self) -> dict[str, str]:
        """Return what systemd knows of the unit."""
        lines = self.machine.must("systemctl", "show", self.name).splitlines()
        return dict(line.partition("=")[::2] for line in lines)

    def is_at(self, **wanted: str) -> bool:
        """Return whether properties of the unit have these values."""
        found = self.properties()
        return all(found[name] == value for name, value in wanted.items())

    def until(self, **wanted: str) -> None:
        """Wait until properties of the unit have these values."""
        try:
            self.machine.until(lambda: self.is_at(**wanted), str(wanted))
        except AssertionError as exc:
            raise AssertionError(f"{exc}: {self.machine.ask('systemctl', 'status', self.name)}") from None

    def start(self) -> None:
        """Start it, and wait until it is ready, as systemctl does."""
        done = self.machine.run("systemctl", "start", self.name)
        assert done.returncode == 0, self.log()

    def log(self, *options: str) -> str:
        """Return the lines of the service's own processes."""
        return self.machine.ask("journalctl", "-u", self.name, "-o", "cat", *options)

    def until_logged(self, text: str, *options: str) -> None:
        """Wait until those lines have the text: they pass through a thread of the service, and through the journal."""
        self.machine.until(lambda: text in self.log(*options), f"the log has {text!r}")

    def command(self, *argv: str) -> Any:
        """Return the JSON that a command prints, as the operator types it on the machine."""
        return orjson.loads(self.machine.must("insignia-worker", *argv))

    def enqueue(self, kind: str, **payload: Any) -> str:
        """Submit a job; return its id."""
        text = orjson.dumps(payload).decode()
        printed = self.machine.must("insignia-worker", "enqueue", kind, "--user", "somchai", "--payload", text)
        return printed.split()[0]

    def until_job(self, job: str, status: str) -> None:
        """Wait until a job has ended in this state."""
        self.machine.until(lambda: self.command("jobs", "show", job)["status"] == status, f"job {job} has {status}")

    def mark(self, name: str) -> Path:
        """Return a file in the state directory by which handlers and tests signal each other."""
        return self.state / name
