"""What is delivered: the wheel with its data, the systemd unit, the Dockerfile."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

from tests.support.debian import commands_of
from tests.support.needs import needed_program

ROOT = Path(__file__).parents[2]


def test_wheel_contains_settings_rules_and_sample(tmp_path: Path) -> None:
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
        "worker/insignia/criteria/criteria.json",
        "worker/insignia/sample/sample_data/roster.csv",
        "worker/insignia/sample/sample_data/history.csv",
        "worker/py.typed",
    } <= names
    assert not [name for name in names if name.startswith(("tests/", "bench/"))]


def test_unit_is_valid_and_hardened(tmp_path: Path) -> None:
    analyze = needed_program("systemd-analyze", "apt install systemd")
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


def test_unit_names_the_commands_that_the_page_on_operations_names() -> None:
    text = (ROOT / "deploy" / "insignia-worker.service").read_text()
    named = [part for line in re.findall(r"^#   (.*)$", text, re.MULTILINE) for part in line.split(" && ")]
    assert named == [one for one in commands_of("operations.md", "With systemd") if "systemctl status" not in one]


def test_stop_timeout_of_the_unit_is_longer_than_that_of_the_service() -> None:
    text = (ROOT / "deploy" / "insignia-worker.service").read_text()
    [stop] = re.findall(r"^TimeoutStopSec=(\d+)$", text, re.MULTILINE)
    from config.settings import Settings

    assert int(stop) >= Settings().host_options.shutdown_timeout + 5


def test_image_runs_as_an_unprivileged_user_with_a_health_check() -> None:
    text = (ROOT / "Dockerfile").read_text()
    last = text.split("\nFROM ")[-1]
    assert "USER 10001:10001" in last
    assert '"insignia-worker", "health"' in last
    assert "--require-hashes" in text
