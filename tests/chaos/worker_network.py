"""A network namespace for a worker, with a line to the hubs and one to PostgreSQL, each of which can be cut.

A line that is cut loses all packets and answers nothing, as a broken switch does: neither end learns of it. The lines
end in the namespace of the run, which has no way out (`run_in_a_network_of_its_own`).
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

_MARK = "CHAOS_NETWORK"


def run_in_a_network_of_its_own() -> None:
    """Replace this process by itself in a network namespace that has nothing but loopback; return when in one."""
    if _MARK in os.environ:
        _ip("link", "set", "lo", "up")
        return
    os.environ[_MARK] = "1"
    command = ["unshare", "--net", sys.executable, *sys.orig_argv[1:]]
    os.execvp(command[0], command)


def _ip(*arguments: str, inside: list[str] | None = None) -> None:
    subprocess.run([*(inside or []), "ip", *arguments], check=True)


@dataclass(frozen=True, slots=True)
class WorkerNetwork:
    """Two lines from the namespace of process `holder`."""

    number: int
    holder: int

    @property
    def enter(self) -> list[str]:
        """The command that starts a program in the namespace; it becomes that program."""
        return ["nsenter", f"--net=/proc/{self.holder}/ns/net", "--"]

    @property
    def run_address(self) -> str:
        """Where the worker reaches what this process serves."""
        return f"10.77.{self.number}.1"

    @property
    def database_address(self) -> str:
        return f"10.78.{self.number}.1"

    def cut_database(self) -> None:
        _ip("link", "set", f"db{self.number}", "down")

    def join_database(self) -> None:
        _ip("link", "set", f"db{self.number}", "up")

    def create_lines(self) -> None:
        _ip("link", "set", "lo", "up", inside=self.enter)
        for kind, address in (("run", self.run_address), ("db", self.database_address)):
            near, far = f"{kind}{self.number}", f"far{kind}{self.number}"
            _ip("link", "add", near, "type", "veth", "peer", "name", far)
            _ip("link", "set", far, "netns", str(self.holder))
            _ip("addr", "add", f"{address}/30", "dev", near)
            _ip("link", "set", near, "up")
            _ip("addr", "add", f"{address[:-1]}2/30", "dev", far, inside=self.enter)
            _ip("link", "set", far, "up", inside=self.enter)


@contextlib.contextmanager
def worker_network(number: int) -> Iterator[WorkerNetwork]:
    """Create the namespace and its lines; they end with the block. The namespace of this process is left as it is."""
    holder = subprocess.Popen(["unshare", "--net", "sh", "-c", "echo; exec sleep 1000000"], stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None
        holder.stdout.readline()  # it is in its namespace
        network = WorkerNetwork(number, holder.pid)
        network.create_lines()
        yield network
    finally:
        holder.kill()
        holder.wait()
        assert holder.stdout is not None
        holder.stdout.close()
