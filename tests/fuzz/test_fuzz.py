"""The fuzz targets read their corpus as they should, and coverage-guided fuzzing for a short time finds nothing."""

import importlib.util
import subprocess
import sys

import pytest

from tests.fuzz.targets import CORPUS, TARGETS
from tests.support.needs import skip_without

ROSTERS = [name for name in TARGETS if name.startswith("roster") or name == "upload_check"]
"""What only users with an account can send."""
PROTOCOLS = [name for name in TARGETS if name not in ROSTERS]


@pytest.mark.parametrize("name", TARGETS)
def test_target_accepts_or_rejects_its_corpus(name: str) -> None:
    run = TARGETS[name].load()
    seeds = sorted((CORPUS / name).iterdir())
    assert seeds
    for seed in seeds:
        run(seed.read_bytes())
    run(b"")


def test_corpus_has_no_folder_without_a_target() -> None:
    assert {folder.name for folder in CORPUS.iterdir()} == set(TARGETS)


@pytest.mark.matrix
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("seconds", "targets"), [(20, PROTOCOLS), (5, ROSTERS)], ids=["protocols", "rosters"])
def test_fuzzing_finds_nothing(seconds: int, targets: list[str]) -> None:
    if importlib.util.find_spec("atheris") is None:
        skip_without(
            "atheris", "there is none for this machine or Python; use Linux on x86-64 with Python 3.11 to 3.14"
        )
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", str(seconds), *targets], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
