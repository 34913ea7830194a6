"""sd_notify over a real datagram socket."""

import os
import re
import secrets
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from worker.service.systemd import Systemd


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """$NOTIFY_SOCKET and its other end."""
    if request.param == "abstract" and sys.platform != "linux":
        pytest.skip("abstract names are Linux's")
    name = f"insignia-{secrets.token_hex(8)}"
    address = f"@{name}" if request.param == "abstract" else f"{tmp_path}/notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(f"\0{name}" if request.param == "abstract" else address)
        receiver.settimeout(5)
        yield address, receiver


def test_each_notification_to_systemd_is_one_datagram(manager: tuple[str, socket.socket]) -> None:
    address, receiver = manager
    systemd = Systemd.from_environment({"NOTIFY_SOCKET": address})
    systemd.ready("พร้อม")
    systemd.status("12 jobs")
    systemd.watchdog()
    systemd.stopping("draining")
    received = [receiver.recv(4096).decode() for _ in range(4)]
    assert received == ["READY=1\nSTATUS=พร้อม", "STATUS=12 jobs", "WATCHDOG=1", "STOPPING=1\nSTATUS=draining"]


def test_reloading_includes_the_monotonic_time(manager: tuple[str, socket.socket]) -> None:
    address, receiver = manager
    before = time.monotonic_ns() // 1000
    Systemd.from_environment({"NOTIFY_SOCKET": address}).reloading()
    match = re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=(\d+)", receiver.recv(4096).decode())
    assert match is not None
    assert before <= int(match[1]) <= time.monotonic_ns() // 1000


def test_without_systemd_nothing_is_sent() -> None:
    systemd = Systemd.from_environment({})
    assert systemd == Systemd(None, None)
    systemd.ready("no receiver")


def test_missing_systemd_socket_raises_nothing(tmp_path: Path) -> None:
    Systemd(f"{tmp_path}/gone", None).ready("no receiver")


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
    ],
)
def test_watchdog_interval_is_half_the_limit_and_only_for_this_process(
    environ: dict[str, str], seconds: float | None
) -> None:
    assert Systemd.from_environment(environ).watchdog_seconds == seconds
