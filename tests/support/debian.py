"""A Debian for tests of the whole system: made once by debootstrap, and each test changes a copy of its own."""

import contextlib
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.support.needs import need_root, needed_program, skip_without
from tests.support.repository import ROOT

SUITE = "bookworm"
"""Debian 12: systemd 252, the oldest that the unit supports."""


def debian() -> Path:
    """Return the folder of a Debian with systemd, made by debootstrap at the first call on this machine."""
    need_root("for debootstrap and systemd-nspawn")
    needed_program("debootstrap")
    made = subprocess.run(
        [str(ROOT / "tools" / "debian.sh"), "--booted", SUITE], capture_output=True, text=True, timeout=1800
    )
    assert made.returncode == 0, made.stderr
    return Path(made.stdout.strip())


def pip_environment() -> dict[str, str]:
    """Return what pip in another system needs to know of this one: proxies, certificates, the index."""
    names = re.compile(r"PIP_[A-Z_]+|https?_proxy|no_proxy", re.IGNORECASE)
    return {name: value for name, value in os.environ.items() if names.fullmatch(name)}


def copy_sources(to: Path) -> None:
    """Copy the files of the project, as they are in this work tree."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True).stdout
    present = b"\0".join(name for name in names.split(b"\0") if name and (ROOT / os.fsdecode(name)).exists())
    to.mkdir(parents=True)
    packed = subprocess.run(
        ["tar", "-c", "--null", "-T", "-"], cwd=ROOT, input=present, check=True, capture_output=True
    ).stdout
    subprocess.run(["tar", "-x", "--no-same-owner", "-C", str(to)], input=packed, check=True)


def commands_of(page: str, heading: str) -> list[str]:
    """Return the commands of the first shell block below a heading of a page in docs/."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    found = re.search(rf"^#+ {re.escape(heading)}\n.*?^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert found, f"docs/{page} has no shell block below {heading!r}"
    return found[1].replace("\\\n", " ").splitlines()


@contextlib.contextmanager
def overlay(lower: Path, folder: Path) -> Iterator[Path]:
    """Yield a file system that begins as `lower` and keeps what changes in `folder`; it is removed at the end."""
    upper, work, merged = (folder / name for name in ("upper", "work", "merged"))
    for each in (upper, work, merged):
        each.mkdir(parents=True)
    options = f"lowerdir={lower},upperdir={upper},workdir={work}"
    mounted = subprocess.run(
        ["mount", "-t", "overlay", "overlay", "-o", options, str(merged)], capture_output=True, text=True
    )
    if mounted.returncode != 0:
        skip_without("overlayfs", f"use a file system below {folder} that overlayfs accepts ({mounted.stderr.strip()})")
    try:
        yield merged
    finally:
        subprocess.run(["umount", "--recursive", str(merged)], check=True)
        subprocess.run(["rm", "-rf", str(folder)], check=True)
