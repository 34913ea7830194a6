"""The files for Compose and Kubernetes follow their schemas, and their deadlines that of the service."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from config.settings import Settings
from tests.support.python_server import python_of
from tests.support.repository import ROOT

DEPLOY = ROOT / "deploy"


def validate(module: str, *argv: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([python_of("manifests"), "-m", module, *argv], capture_output=True, text=True)


def kubernetes(file: Path) -> "subprocess.CompletedProcess[str]":
    return validate("kubernetes_validate", "--strict", str(file))


def compose(file: Path) -> "subprocess.CompletedProcess[str]":
    return validate("check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(file))


@pytest.mark.parametrize(
    ("check", "file", "typo"),
    [
        (
            kubernetes,
            DEPLOY / "kubernetes" / "insignia-worker.yaml",
            ("readOnlyRootFilesystem", "readonlyRootFilesystem"),
        ),
        (compose, DEPLOY / "compose.yaml", ("cap_drop", "cap_drops")),
    ],
    ids=["kubernetes", "compose"],
)
def test_manifest_follows_its_schema(
    check: Callable[[Path], "subprocess.CompletedProcess[str]"], file: Path, typo: tuple[str, str], tmp_path: Path
) -> None:
    good = check(file)
    assert good.returncode == 0, good.stdout + good.stderr

    bad = tmp_path / file.name
    bad.write_text(file.read_text().replace(*typo))
    assert check(bad).returncode != 0, "the schema is strict"


def test_manifests_leave_the_service_time_to_stop() -> None:
    [grace] = re.findall(r"stop_grace_period: (\d+)s", (DEPLOY / "compose.yaml").read_text())
    text = (DEPLOY / "kubernetes" / "insignia-worker.yaml").read_text()
    [period] = re.findall(r"terminationGracePeriodSeconds: (\d+)", text)

    assert min(int(grace), int(period)) >= Settings().host_options.shutdown_timeout + 10
