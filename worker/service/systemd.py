"""Reports state to systemd (sd_notify(3)); does nothing without systemd."""

import contextlib
import os
import socket
import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Systemd:
    """Sends datagrams to $NOTIFY_SOCKET."""

    address: str | None
    watchdog_seconds: float | None
    """Seconds between two WATCHDOG=1: half of what the unit allows; None: no watchdog for this process."""

    @classmethod
    def from_environment(cls, environ: dict[str, str] | None = None) -> "Systemd":
        env = os.environ if environ is None else environ
        pid, usec = env.get("WATCHDOG_PID"), env.get("WATCHDOG_USEC")
        ours = usec is not None and (pid is None or pid == str(os.getpid()))
        return cls(env.get("NOTIFY_SOCKET"), int(usec) / 2e6 if ours and usec else None)

    def ready(self, status: str) -> None:
        self._send(f"READY=1\nSTATUS={status}")

    def extend_start(self, status: str) -> None:
        """Ask for another 30 seconds to start."""
        self._send(f"EXTEND_TIMEOUT_USEC=30000000\nSTATUS={status}")

    def stopping(self, status: str) -> None:
        self._send(f"STOPPING=1\nSTATUS={status}")

    def reloading(self) -> None:
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def status(self, text: str) -> None:
        self._send(f"STATUS={text}")

    def watchdog(self) -> None:
        self._send("WATCHDOG=1")

    def _send(self, text: str) -> None:
        if not self.address:
            return
        # "@" stands for the NUL byte of an abstract socket name.
        address = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as s:
            s.sendto(text.encode(), address)
