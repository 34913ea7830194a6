"""`doctor`: examines what the service needs of this machine, and the service itself if it runs."""

import ctypes
import os
import resource
import shutil
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from config.errors import ConfigError
from config.installed_unit import unit_settings
from config.loader import LoadedSettings
from config.paths import OWN_FILES
from config.presence import exists, is_folder
from worker.cli.api_client import ApiClient
from worker.cli.doctor import Check
from worker.cli.doctor_connection import CheckResult, Verdict
from worker.errors import Unavailable, WorkerError

_FSYNCS: Final = 20
_SLOW_FSYNC_MS: Final = 50.0
"""A commit waits for one; slower disks are felt by every caller."""
_LITTLE_SPACE: Final = 1 << 30
_NO_SPACE: Final = 64 << 20
_CERTIFICATE_DAYS: Final = 14
_CLOCK_SLACK: Final = 60.0
_NOT_SYNCHRONISED: Final = 5
"""TIME_ERROR of adjtimex(2)."""
_FORCED_STOP_SECONDS: Final = 5.0

CONFIGURATION, STORE, UNAVAILABLE = 78, 74, 69


def exit_code(checks: list[Check]) -> int:
    """Return 0 when nothing failed, 78 for settings, 74 for the store, 69 for anything else."""
    failed = {check.name for check in checks if check.verdict == "failed"}
    if not failed:
        return 0
    return CONFIGURATION if "settings" in failed else STORE if failed & {"store", "schema"} else UNAVAILABLE


def examine(
    loaded: LoadedSettings, on_check: Callable[[Check], None], unit: dict[str, str] | None = None
) -> list[Check]:
    """Make all checks; `on_check` receives each as it is made. `unit`: None means the installed one."""
    checks: list[Check] = []
    table: dict[str, Callable[[], str]] = {
        "settings": partial(_settings, loaded),
        "files": partial(_files, loaded),
        "store": partial(_store, loaded),
        "schema": partial(_schema, loaded),
        "disk": partial(_disk, loaded),
        "fsync": partial(_fsync, loaded),
        "clock": partial(_clock, loaded),
        "tls": partial(_certificates, loaded),
        "proxy": partial(_proxy, loaded),
        "limits": partial(_limits, loaded),
        "unit": partial(_unit, loaded, unit_settings() if unit is None else unit),
        "service": partial(_service, loaded),
    }
    for name, make in table.items():
        checks.append(_made(name, make))
        on_check(checks[-1])
    return checks


def faulty_settings(error: ConfigError) -> Check:
    """Return the finding where the settings cannot be loaded; nothing else can be examined then."""
    first, *others = map(str, error.problems)
    more = f" (and {len(others)} more)" if others else ""
    return Check("settings", "failed", f"{first}{more}", 0.0, "correct it; `config check` lists all faults")


def _made(name: str, make: Callable[[], str]) -> Check:
    began = time.monotonic()
    verdict: Verdict = "ok"
    remedy = ""
    try:
        text = make()
    except CheckResult as found:
        verdict, text, remedy = found.verdict, str(found), found.remedy
    except (OSError, WorkerError, ValueError) as exc:
        verdict, text, remedy = (
            "failed",
            str(exc) or type(exc).__name__,
            "run the command as root or as the service's user",
        )
    return Check(name, verdict, text, round(time.monotonic() - began, 4), remedy)


def _settings(loaded: LoadedSettings) -> str:
    files = ", ".join(map(str, loaded.files)) or "no file: defaults"
    if loaded.warnings:
        more = f" (and {len(loaded.warnings) - 1} more)" if len(loaded.warnings) > 1 else ""
        raise CheckResult("warning", f"{loaded.warnings[0]}{more}", "correct what the warning names")
    return f"valid ({loaded.environment}; {files})"


def _files(loaded: LoadedSettings) -> str:
    folder = loaded.state_dir
    if not is_folder(folder):
        raise CheckResult("warning", f"{folder} does not exist yet", "start the service, which creates it")
    open_files = [name for name in OWN_FILES if exists(folder / name) and (folder / name).stat().st_mode & 0o077]
    if open_files and folder.stat().st_mode & 0o077:
        names = " ".join(str(folder / name) for name in open_files)
        raise CheckResult("failed", f"other users can read {', '.join(open_files)} in {folder}", f"chmod 600 {names}")
    owner = folder.stat().st_uid
    foreign = [name for name in OWN_FILES if exists(folder / name) and (folder / name).stat().st_uid != owner]
    if foreign:
        text = f"{', '.join(foreign)} in {folder} do not belong to the folder's user {owner}"
        raise CheckResult("failed", text, f"chown -R {owner} {folder}")
    return f"{folder} is private"


def _store(loaded: LoadedSettings) -> str:
    from worker.stores.sqlite.disk_space import longest_log, wal_bytes, wal_of
    from worker.stores.sqlite.log_readers import why_log_is_kept

    queue = loaded.settings.queue
    if queue.provider != "sqlite":
        return "PostgreSQL: `db check` examines it"
    path = loaded.resolve_state(queue.path)
    if not exists(path):
        raise CheckResult("warning", f"there is no store at {path} yet", "start the service, which creates it")
    size = path.stat().st_size
    waiting = wal_bytes(wal_of(path))
    if size > 0.9 * queue.max_bytes:
        text = f"{size:,} of Queue:MaxBytes = {queue.max_bytes:,} bytes are used"
        raise CheckResult("warning", text, "raise Queue:MaxBytes or lower Queue:Retention")
    if waiting > longest_log(queue.max_bytes):
        raise CheckResult("warning", why_log_is_kept(path, waiting), f"end the program that reads it (lsof {path})")
    return f"{path}: {size:,} bytes, write-ahead log {waiting:,} bytes"


def _schema(loaded: LoadedSettings) -> str:
    from worker.stores.sqlite.connection import connect_reader
    from worker.stores.sqlite.schema import MIGRATIONS

    path = loaded.resolve_state(loaded.settings.queue.path)
    if loaded.settings.queue.provider != "sqlite" or not exists(path):
        return f"this program writes schema {len(MIGRATIONS)}"
    try:
        with closing(connect_reader(path)) as connection:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
    except sqlite3.Error as exc:
        raise CheckResult(
            "failed", f"{path}: {exc}", "stop the service and run `db check`, then `db recover`"
        ) from None
    if version > len(MIGRATIONS):
        text = f"the store has schema {version}, this program knows {len(MIGRATIONS)}"
        raise CheckResult("failed", text, "install the version that wrote it, or restore a backup")
    return f"schema {version}" if version == len(MIGRATIONS) else f"schema {version}; the next start upgrades it"


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if path.is_dir())


def _disk(loaded: LoadedSettings) -> str:
    folder = _existing(loaded.state_dir)
    space = shutil.disk_usage(folder)
    inodes = os.statvfs(folder)
    text = f"{space.free:,} bytes are free of {space.total:,} at {folder}"
    remedy = "free space, or move the state directory to a larger disk"
    if inodes.f_files and inodes.f_favail == 0:
        raise CheckResult("failed", f"{text}, but no more files can be created", "delete files")
    if space.free < _NO_SPACE:
        raise CheckResult("failed", text, remedy)
    if space.free < _LITTLE_SPACE:
        raise CheckResult("warning", text, remedy)
    return text


def _fsync(loaded: LoadedSettings) -> str:
    folder = _existing(loaded.state_dir)
    took = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(_FSYNCS):
            began = time.perf_counter()
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
            took.append((time.perf_counter() - began) * 1000)
    text = f"{statistics.median(took):.1f} ms to write 4 KB for good (longest {max(took):.1f} ms)"
    if statistics.median(took) > _SLOW_FSYNC_MS:
        raise CheckResult("warning", text, "each job waits for such a write: use a local disk, best an SSD")
    return text


def _clock(loaded: LoadedSettings) -> str:
    path = loaded.resolve_state(loaded.settings.queue.path)
    ahead = path.stat().st_mtime - time.time() if exists(path) else 0.0
    if ahead > _CLOCK_SLACK:
        text = f"the store was written {ahead:.0f} s in the future: the clock was set back"
        raise CheckResult("warning", text, "set the clock, and synchronise it (timedatectl set-ntp true)")
    state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512))
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if state == _NOT_SYNCHRONISED:
        raise CheckResult("warning", f"{now}; the clock is not synchronised", "timedatectl set-ntp true")
    return f"{now}, synchronised"


def _certificates(loaded: LoadedSettings) -> str:
    from cryptography import x509

    link = loaded.settings.web_socket
    found = []
    for key, name in (("CertificateFile", link.certificate_file), ("CaFile", link.ca_file)):
        if name is None:
            continue
        certificates = x509.load_pem_x509_certificates(loaded.resolve_content(name).read_bytes())
        days = (min(one.not_valid_after_utc for one in certificates) - datetime.now(UTC)).total_seconds() / 86400
        text = f"WebSocket:{key} is good for {days:.0f} days"
        if days < _CERTIFICATE_DAYS:
            raise CheckResult("failed" if days < 0 else "warning", text, f"renew {name}")
        found.append(text)
    if not found:
        return "no certificate of our own is set; `doctor ws` examines the server's"
    return "; ".join(found)


def _proxy(loaded: LoadedSettings) -> str:
    http = loaded.settings.http
    if http.public_url is not None:
        if not ApiClient.in_folder(loaded.state_dir).answers():
            return f"{http.public_url} is examined when the service runs"
        from worker.cli.doctor_proxy import way_through_proxy

        return way_through_proxy(loaded)
    if not http.trusted_proxies:
        return f"listens at {http.url} without a proxy; X-Forwarded-For is ignored"
    names = ", ".join(http.trusted_proxies)
    return f"X-Forwarded-For is believed from {names}; with Http:PublicUrl the way through it is examined"


def _limits(loaded: LoadedSettings) -> str:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    used, whose = 0, "of this shell"
    client = ApiClient.in_folder(loaded.state_dir)
    if client.answers():
        pid = client.request("GET", "/api/v1/workers")["workers"][0]["pid"]
        try:
            used = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
            soft, whose = _soft_limit(Path(f"/proc/{pid}/limits").read_text(encoding="utf-8")), f"of process {pid}"
        except PermissionError:
            raise CheckResult("warning", f"the limits of process {pid} cannot be read", "run it as root") from None
    needed = loaded.settings.hub.max_connections + loaded.settings.worker.concurrency + 100
    remedy = f"LimitNOFILE={needed} in the unit (or ulimit -n {needed}), or lower Hub:MaxConnections"
    if used > 0.8 * soft:
        raise CheckResult("failed", f"{used:,} of {soft:,} open files {whose} are in use", remedy)
    if loaded.settings.hub.enabled != "false" and soft < needed:
        text = (
            f"{soft:,} open files {whose} are fewer than Hub:MaxConnections = {loaded.settings.hub.max_connections:,}"
        )
        raise CheckResult("warning", text, remedy)
    return f"{used:,} of {soft:,} open files {whose} are in use" if used else f"{soft:,} open files {whose}"


def _soft_limit(limits: str) -> int:
    value = next(line.split()[3] for line in limits.splitlines() if line.startswith("Max open files"))
    return 1 << 30 if value == "unlimited" else int(value)


def _unit(loaded: LoadedSettings, unit: dict[str, str]) -> str:
    if not unit:
        return "no unit of systemd is installed"
    needed = loaded.settings.host_options.shutdown_timeout + _FORCED_STOP_SECONDS
    stop = _seconds(unit.get("TimeoutStopSec", "90"))
    if stop is not None and stop < needed:
        text = f"systemd kills the service {stop:g} s after a stop; HostOptions:ShutdownTimeout needs {needed:g} s"
        raise CheckResult("failed", text, f"TimeoutStopSec={needed + 5:g} in the unit, or a shorter ShutdownTimeout")
    missing = list(_missing_lines(unit))
    if missing:
        raise CheckResult(
            "warning", f"the unit lacks {', '.join(missing)}", "compare it with deploy/insignia-worker.service"
        )
    return f"TimeoutStopSec is {unit.get('TimeoutStopSec', '90')} s, {needed:g} s are needed"


def _missing_lines(unit: dict[str, str]) -> Iterator[str]:
    for name, value in (("Type", "notify"), ("WatchdogSec", ""), ("RestartPreventExitStatus", "78")):
        if value not in unit.get(name, "") or name not in unit:
            yield f"{name}={value}"


def _seconds(text: str) -> float | None:
    """Return a time span of systemd in seconds, such as `40`, `40s` or `1min 30s`; None: it is not understood."""
    units = {"": 1.0, "s": 1.0, "sec": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0, "ms": 0.001}
    total = 0.0
    for word in text.split():
        number = word.rstrip("abcdefghijklmnopqrstuvwxyz")
        try:
            total += float(number) * units[word[len(number) :]]
        except (ValueError, KeyError):
            return None
    return total


def _service(loaded: LoadedSettings) -> str:
    client = ApiClient.in_folder(loaded.state_dir)
    try:
        report: dict[str, Any] = client.request("GET", "/health")
    except Unavailable as exc:
        raise CheckResult(
            "warning", str(exc), "start it: insignia-worker run, or systemctl start insignia-worker"
        ) from None
    bad = {name: entry for name, entry in report["entries"].items() if entry["status"] != "Healthy"}
    if not bad:
        return "it runs and is healthy"
    text = "; ".join(f"{name} is {entry['status']} {entry['description']}".strip() for name, entry in bad.items())
    remedy = "docs/operations.md, Alerts; the log has the line that began it"
    raise CheckResult("failed" if report["status"] == "Unhealthy" else "warning", text, remedy)
