"""The image, built by buildah from the Dockerfile on Debian's Python instead of Docker Hub's, and run by podman."""

import contextlib
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from tests.support.debian import debian
from tests.support.needs import needed_program
from tests.support.repository import ROOT

IMAGE = "localhost/insignia-worker:test"
_BASE = "localhost/python:test"
PATIENCE = 120.0
"""Seconds for anything that a container does."""
_LENT = ("/etc/pip.conf", "/etc/ssl/certs/ca-certificates.crt")
"""What pip in the build needs to know of this machine."""
HARDENED = ("--read-only", "--tmpfs", "/tmp", "--cap-drop=ALL", "--security-opt", "no-new-privileges")


def _storage() -> list[str]:
    folder = debian().parent / "images"
    return ["--root", str(folder / "store"), "--runroot", str(folder / "run"), "--storage-driver", "overlay"]


def build() -> None:
    """Build the image from this work tree. Layers are kept for the next time."""
    buildah, podman = needed_program("buildah"), needed_program("podman")
    needed_program("runc", also_in="/usr/sbin")
    storage = _storage()
    if subprocess.run([podman, *storage, "image", "exists", _BASE]).returncode != 0:
        packed = ["tar", "-C", str(debian()), "--exclude=./var/cache", "--exclude=./var/lib/apt", "-c", "."]
        with subprocess.Popen(packed, stdout=subprocess.PIPE) as tar:
            subprocess.run([podman, *storage, "import", "-q", "-", _BASE], stdin=tar.stdout, check=True)
    # Without chroot isolation, the build would need cgroups; OCI images would lose the HEALTHCHECK.
    options = ["--layers", "--isolation", "chroot", "--network", "host", "--pull-never", "--format", "docker"]
    lent = [word for file in _LENT if Path(file).exists() for word in ("-v", f"{file}:{file}:ro")]
    command = [buildah, *storage, "build", *options, *lent, "--build-arg", f"PYTHON={_BASE}", "-t", IMAGE, str(ROOT)]
    built = subprocess.run(command, capture_output=True, text=True, timeout=1200)
    assert built.returncode == 0, built.stdout[-2000:] + built.stderr[-2000:]


@dataclass(slots=True)
class Container:
    """A container of the image."""

    options: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    """After the image: replaces the image's CMD."""
    name: str = field(default_factory=lambda: f"insignia-{uuid.uuid4().hex[:12]}")

    def podman(self, *argv: str) -> "subprocess.CompletedProcess[str]":
        """Run podman. Its complaints that this machine has no systemd for the timer of the health check are noise."""
        command = ["podman", *_storage(), "--runtime", "runc", "--cgroup-manager", "cgroupfs", *argv]
        return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300)

    def must(self, *argv: str) -> str:
        """Return what podman prints. Raises AssertionError when it fails."""
        done = self.podman(*argv)
        assert done.returncode == 0, f"podman {' '.join(argv)}: {done.stderr}"
        return done.stdout.strip()

    def create(self) -> None:
        """Create it, with no network but loopback."""
        # A sandbox may not raise the limits to podman's defaults. The health check is run by the tests.
        limits = ["--ulimit", "nofile=4096:4096", "--ulimit", "nproc=4096:4096", "--health-interval=disable"]
        self.must("create", "--name", self.name, "--network", "none", *limits, *self.options, IMAGE, *self.arguments)

    def start(self) -> None:
        """Start it, and wait until the service is ready."""
        before = self.starts
        self.must("start", self.name)
        self.until(lambda: self.starts > before, "the service is ready")

    def run(self, *argv: str) -> "subprocess.CompletedProcess[str]":
        """Run a command in the container."""
        return self.podman("exec", self.name, *argv)

    def command(self, *argv: str) -> Any:
        """Return the JSON that a command of the service prints."""
        return orjson.loads(self.must("exec", self.name, "insignia-worker", *argv))

    def enqueue(self, kind: str, **payload: Any) -> str:
        """Submit a job; return its id."""
        text = orjson.dumps(payload).decode()
        argv = ("insignia-worker", "enqueue", kind, "--user", "somchai", "--payload", text)
        return self.must("exec", self.name, *argv).split()[0]

    def until_job(self, job: str, status: str) -> dict[str, Any]:
        """Wait until a job has this state; return it."""
        self.until(lambda: self.command("jobs", "show", job)["status"] == status, f"job {job} has {status}")
        found: dict[str, Any] = self.command("jobs", "show", job)
        return found

    @property
    def log(self) -> str:
        done = self.podman("logs", self.name)
        return done.stdout + done.stderr

    @property
    def starts(self) -> int:
        """How often the service became ready."""
        return self.log.count(" started (Production)")

    def inspect(self, template: str) -> str:
        return self.must("inspect", "--format", template, self.name)

    @property
    def exit_code(self) -> int | None:
        """None: it runs."""
        status, code = self.inspect("{{.State.Status}} {{.State.ExitCode}}").split()
        return int(code) if status in ("exited", "stopped") else None

    def until(self, holds: Callable[[], object], what: str) -> None:
        """Wait until a function returns something true. Raises AssertionError with the log after a long time."""
        end = time.monotonic() + PATIENCE
        while not holds():
            assert time.monotonic() < end, f"not within {PATIENCE:g} s: {what}\n{self.log[-2000:]}"
            time.sleep(0.1)


@contextlib.contextmanager
def container(*options: str, arguments: tuple[str, ...] = ()) -> Iterator[Container]:
    """Yield a container that was created, not started; it is removed at the end, with its volume."""
    made = Container(options, arguments)
    made.create()
    try:
        yield made
    finally:
        made.podman("rm", "--force", "--volumes", "--time", "0", made.name)
