"""`doctor bundle`: one file with what a supporter needs to know, without secrets and without people's data."""

import os
import platform
import shutil
import sqlite3
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, Final

import orjson

from config import show
from config.installed_unit import UNIT_NAME
from config.loader import LoadedSettings
from config.paths import OWN_FILES
from worker import __version__
from worker.cli.api_client import ApiClient
from worker.cli.doctor import Check
from worker.core.redact import Redactor
from worker.core.secret_mask import mask_for
from worker.disk.private_file import open_new
from worker.errors import StoreUnwritable, WorkerError

_ROUTES: Final = {
    "health": "/health",
    "stats": "/api/v1/stats",
    "connection": "/api/v1/connection",
    "task-types": "/api/v1/task-types",
}
"""None of them names users, jobs or payloads."""
_LOG_LINES: Final = 5000


def write_bundle(loaded: LoadedSettings, checks: list[Check], secrets: set[str], to: Path) -> list[str]:
    """Write the file, readable by its owner only; return the names of its parts. Every part is redacted.

    Raises FileExistsError, and StoreUnwritable if the file cannot be written; none is left then.
    """
    redact = Redactor.of(secrets | set(_keys(loaded.state_dir)))
    hide = mask_for(redact.secrets)  # a secret may extend over several lines
    texts = dict(_parts(loaded, checks))
    parts = {name: "\n".join(map(redact, hide(text).splitlines())) + "\n" for name, text in texts.items()}
    created = False
    try:
        with os.fdopen(open_new(to), "wb") as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            created = True
            for name, text in parts.items():
                archive.writestr(name, text)
    except FileExistsError:
        raise
    except OSError as exc:
        if created:
            to.unlink(missing_ok=True)
        raise StoreUnwritable(f"{to} cannot be written: {exc.strerror}; name a file elsewhere") from exc
    return list(parts)


def _keys(state_dir: Path) -> Iterator[str]:
    for name in (name for name in OWN_FILES if name.endswith(".key")):
        try:
            yield (state_dir / name).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            continue


def _parts(loaded: LoadedSettings, checks: list[Check]) -> Iterator[tuple[str, str]]:
    yield "doctor.json", _json(checks)
    rows = [{"key": row.key, "value": row.value, "origin": str(row.origin)} for row in show.rows(loaded)]
    yield "settings.json", _json({"settings": rows, "warnings": [str(warning) for warning in loaded.warnings]})
    yield "versions.json", _json(_versions())
    yield "files.txt", "\n".join(_listing(loaded.state_dir))
    client = ApiClient.in_folder(loaded.state_dir)
    for name, route in _ROUTES.items():
        try:
            yield f"{name}.json", _json(client.request("GET", route))
        except WorkerError as exc:
            yield f"{name}.txt", str(exc)
    for name, command in _commands().items():
        yield name, command


def _json(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()


def _versions() -> dict[str, Any]:
    packages = {one.metadata["Name"]: one.version for one in distributions()}
    return {
        "insignia-worker": __version__,
        "python": sys.version,
        "platform": platform.platform(),
        "sqlite": sqlite3.sqlite_version,
        "packages": dict(sorted(packages.items())),
    }


def _listing(folder: Path) -> Iterator[str]:
    """Yield mode, owner, size and name of the files directly in the state directory; names below it may name people."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as exc:
        yield str(exc)
        return
    for entry in entries:
        found = entry.stat(follow_symlinks=False)
        yield f"{found.st_mode:o} {found.st_uid}:{found.st_gid} {found.st_size:>12} {entry.name}"


def _commands() -> dict[str, str]:
    """Return what systemd says about the unit, and its warnings; empty without systemd. Other lines name users."""
    if shutil.which("systemctl") is None or not Path("/run/systemd/system").exists():
        return {}
    lines = ["journalctl", "-u", UNIT_NAME, "-n", str(_LOG_LINES), "-p", "warning", "-o", "short-iso", "--no-pager"]
    return {
        "unit.txt": _output(["systemctl", "cat", UNIT_NAME, "--no-pager"]),
        "status.txt": _output(["systemctl", "show", UNIT_NAME, "--no-pager"]),
        "log.txt": _output(lines),
    }


def _output(argv: list[str]) -> str:
    # The commands above, which take nothing from outside.
    done = subprocess.run(  # noqa: S603 -- see above
        argv, capture_output=True, text=True, errors="replace", timeout=60, check=False
    )
    return done.stdout + done.stderr
