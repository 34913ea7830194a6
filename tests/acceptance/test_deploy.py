"""What is shipped: the wheel with its data, the unit, the image's recipe."""

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_the_wheel_carries_settings_rules_and_sample(tmp_path: Path) -> None:
    built = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    [wheel] = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {
        "config/appsettings.json",
        "worker/insignia/criteria.json",
        "worker/insignia/sample_data/roster.csv",
        "worker/insignia/sample_data/history.csv",
        "worker/py.typed",
    } <= names
    assert not [name for name in names if name.startswith(("tests/", "bench/"))]


def test_the_unit_is_valid_and_hardened(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed, so the unit file is not checked here")
    unit = tmp_path / "insignia-worker.service"
    text = (ROOT / "deploy" / "insignia-worker.service").read_text()
    # `verify` wants the program to exist; everything else is the shipped file.
    unit.write_text(text.replace("/opt/insignia-worker/bin/insignia-worker", sys.executable))
    verified = subprocess.run([analyze, "verify", str(unit)], capture_output=True, text=True)
    assert verified.returncode == 0, verified.stderr
    judged = subprocess.run(
        [analyze, "security", "--offline=true", "--threshold=20", str(unit)], capture_output=True, text=True
    )
    assert judged.returncode == 0, judged.stdout[-300:]


def test_deadlines_of_unit_and_service_follow_each_other() -> None:
    text = (ROOT / "deploy" / "insignia-worker.service").read_text()
    [stop] = re.findall(r"^TimeoutStopSec=(\d+)$", text, re.MULTILINE)
    from config.settings import Settings

    assert int(stop) >= Settings().host_options.shutdown_timeout + 5


def test_the_image_runs_as_nobody_special_and_asks_our_own_command_for_its_health() -> None:
    text = (ROOT / "Dockerfile").read_text()
    last = text.split("\nFROM ")[-1]
    assert "USER 10001:10001" in last
    assert '"insignia-worker", "health"' in last
    assert "--require-hashes" in text
