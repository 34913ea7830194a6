"""`doctor`: each fault of the machine is found, with what to do about it."""

import itertools
import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from config.installed_unit import unit_settings
from config.loader import LoadedSettings
from tests.support.certificates import valid_between
from tests.support.needs import need_root
from tests.support.process import create_store
from tests.support.repository import ROOT
from tests.support.site import Site
from worker.cli import doctor_machine
from worker.cli.doctor import Check
from worker.cli.doctor_machine import examine, exit_code


@pytest.fixture
def loaded(tmp_path: Path) -> LoadedSettings:
    create_store(tmp_path)
    (tmp_path / "state").chmod(0o700)
    return replace(Site(tmp_path / "site").load(), state_dir=tmp_path / "state")


def found(loaded: LoadedSettings, name: str, unit: dict[str, str] | None = None) -> Check:
    [check] = [check for check in examine(loaded, lambda _: None, unit or {}) if check.name == name]
    assert check.verdict == "ok" or check.remedy, "a finding has a remedy"
    return check


def changed(loaded: LoadedSettings, **sections: object) -> LoadedSettings:
    settings = loaded.settings
    for name, values in sections.items():
        settings = settings.model_copy(update={name: getattr(settings, name).model_copy(update=values)})
    return replace(loaded, settings=settings)


def test_sound_machine_has_no_failure(loaded: LoadedSettings) -> None:
    checks = examine(loaded, lambda _: None, {})
    assert [check for check in checks if check.verdict == "failed"] == []
    assert exit_code(checks) == 0
    assert "service" in [check.name for check in checks if check.verdict == "warning"], "none runs"


def test_store_of_a_newer_program_is_found(loaded: LoadedSettings) -> None:
    with closing(sqlite3.connect(loaded.state_dir / "queue.db")) as database:
        database.execute("PRAGMA user_version = 99")
    check = found(loaded, "schema")
    assert (check.verdict, "schema 99" in check.text) == ("failed", True)
    assert exit_code([check]) == 74


def test_damaged_store_is_found(loaded: LoadedSettings) -> None:
    (loaded.state_dir / "queue.db").write_bytes(b"not a database" * 999)
    check = found(loaded, "schema")
    assert (check.verdict, "db recover" in check.remedy) == ("failed", True)


def test_nearly_full_store_is_found(loaded: LoadedSettings) -> None:
    check = found(changed(loaded, queue={"max_bytes": 1}), "store")
    assert (check.verdict, "Queue:MaxBytes" in check.remedy) == ("warning", True)


def test_key_that_others_can_read_is_found(loaded: LoadedSettings) -> None:
    (loaded.state_dir / "hub.key").touch(mode=0o644)
    (loaded.state_dir / "hub.key").chmod(0o644)
    assert found(loaded, "files").verdict == "ok", "no other user can enter the folder"
    loaded.state_dir.chmod(0o755)
    check = found(loaded, "files")
    assert (check.verdict, check.remedy) == ("failed", f"chmod 600 {loaded.state_dir}/hub.key")


def test_file_of_another_user_is_found(loaded: LoadedSettings) -> None:
    need_root("to give a folder to another user")
    os.chown(loaded.state_dir, 12345, 12345)
    check = found(loaded, "files")
    assert (check.verdict, check.remedy) == ("failed", f"chown -R 12345 {loaded.state_dir}")


@pytest.mark.parametrize(("free", "verdict"), [(1 << 40, "ok"), (1 << 29, "warning"), (1 << 20, "failed")])
def test_disk_without_space_is_found(
    loaded: LoadedSettings, monkeypatch: pytest.MonkeyPatch, free: int, verdict: str
) -> None:
    space = SimpleNamespace(free=free, total=1 << 41, used=0)
    monkeypatch.setattr("worker.cli.doctor_machine.shutil", SimpleNamespace(disk_usage=lambda _folder: space))
    assert found(loaded, "disk").verdict == verdict


def test_slow_disk_is_found(loaded: LoadedSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = itertools.count()
    slow = SimpleNamespace(perf_counter=lambda: float(next(ticks)), monotonic=time.monotonic, time=time.time)
    monkeypatch.setattr("worker.cli.doctor_machine.time", slow)
    assert found(loaded, "fsync").verdict == "warning"


def test_clock_that_was_set_back_is_found(loaded: LoadedSettings) -> None:
    ahead = time.time() + 7200
    os.utime(loaded.state_dir / "queue.db", (ahead, ahead))
    check = found(loaded, "clock")
    assert (check.verdict, "was set back" in check.text) == ("warning", True)


@pytest.mark.parametrize(("days", "verdict"), [(90, "ok"), (3, "warning"), (-1, "failed")])
def test_certificate_that_ends_soon_is_found(loaded: LoadedSettings, tmp_path: Path, days: int, verdict: str) -> None:
    file = valid_between("worker", tmp_path, -100, days)
    check = found(changed(loaded, web_socket={"certificate_file": str(file)}), "tls")
    assert check.verdict == verdict


def test_too_few_open_files_are_found(loaded: LoadedSettings) -> None:
    check = found(changed(loaded, hub={"max_connections": 10**9}), "limits")
    assert (check.verdict, "LimitNOFILE=" in check.remedy) == ("warning", True)


def test_shipped_unit_is_good_and_a_changed_one_is_not(loaded: LoadedSettings, tmp_path: Path) -> None:
    folder = tmp_path / "units"
    (folder / "insignia-worker.service.d").mkdir(parents=True)
    text = (ROOT / "deploy" / "insignia-worker.service").read_text(encoding="utf-8")
    (folder / "insignia-worker.service").write_text(text, encoding="utf-8")
    assert found(loaded, "unit", unit_settings([folder])).verdict == "ok"

    (folder / "insignia-worker.service.d" / "x.conf").write_text("[Service]\nTimeoutStopSec=10s\n", encoding="utf-8")
    check = found(loaded, "unit", unit_settings([folder]))
    assert (check.verdict, "TimeoutStopSec=40" in check.remedy) == ("failed", True)

    (folder / "insignia-worker.service.d" / "x.conf").write_text("[Service]\nType=simple\n", encoding="utf-8")
    check = found(loaded, "unit", unit_settings([folder]))
    assert (check.verdict, "Type=notify" in check.text) == ("warning", True)


@pytest.mark.parametrize(
    ("text", "seconds"), [("40", 40.0), ("40s", 40.0), ("1min 30s", 90.0), ("500ms", 0.5), ("infinity", None)]
)
def test_time_span_of_systemd_is_understood(text: str, seconds: float | None) -> None:
    read: Callable[[str], float | None] = doctor_machine._seconds
    assert read(text) == seconds
