"""The Makefile's environment: one clear line when Python does not suit, and a second try that works."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

_PYTHON = """#!/bin/sh
# Answers probes with a real interpreter under the conditions of `sitecustomize`, and fakes venv.
case "$1" in
    -c) PYTHONPATH='{folder}' exec '{real}' "$@" ;;
esac
mkdir -p "$3/bin"
echo {name} >> '{log}'
touch "$3/pyvenv.cfg"
[ ! -e '{folder}/venv-fails' ] || {{ echo "venv: no space left on device" >&2; exit 1; }}
cp '{inner}' "$3/bin/python"
ln -sf python "$3/bin/insignia-worker"
"""

_INNER = """#!/bin/sh
# The interpreter of a faked environment: pip fails while `pip-fails` exists.
case "$1" in
    -c) PYTHONPATH='{folder}' exec '{real}' "$@" ;;
    -m) [ ! -e '{folder}/pip-fails' ] || {{ echo "pip: no matching distribution" >&2; exit 1; }} ;;
    demo) echo "the demo of {name}" ;;
esac
"""


@dataclass
class Checkout:
    """A copy of what the Makefile needs, and a folder with fake interpreters that comes first on PATH."""

    folder: Path

    @property
    def programs(self) -> Path:
        return self.folder / "programs"

    def has_python(self, name: str, conditions: str = "") -> Path:
        """An interpreter that runs `conditions` first; the folder of its switches."""
        switches = self.folder / f"switches-{name}"
        switches.mkdir(parents=True)
        (switches / "sitecustomize.py").write_text(conditions)
        inner = switches / "inner"
        values = {"folder": switches, "real": sys.executable, "name": name, "inner": inner, "log": self.log}
        for path, text in ((inner, _INNER), (self.programs / name, _PYTHON)):
            path.write_text(text.format(**values))
            path.chmod(0o755)
        return switches

    @property
    def log(self) -> Path:
        """The name of each interpreter that has built an environment, one per line."""
        return self.folder / "built.log"

    @property
    def built(self) -> list[str]:
        return self.log.read_text().split() if self.log.exists() else []

    def make(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        environ = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR") if name in os.environ}
        environ["PATH"] = f"{self.programs}:/usr/bin:/bin"
        return subprocess.run(
            ["make", *arguments], cwd=self.folder / "checkout", env=environ, capture_output=True, text=True, timeout=250
        )


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    (tmp_path / "programs").mkdir()
    copy = tmp_path / "checkout"
    (copy / "tools").mkdir(parents=True)
    for name in ("Makefile", "tools/venv.sh", "pyproject.toml", "requirements.lock", "requirements-dev.lock"):
        shutil.copy2(ROOT / name, copy / name)
    return Checkout(tmp_path)


def errors(result: "subprocess.CompletedProcess[str]") -> list[str]:
    return [line for line in result.stderr.splitlines() if line.startswith("error: ")]


def test_demo_builds_the_environment_once(checkout: Checkout) -> None:
    checkout.has_python("python3")
    for _ in range(2):
        result = checkout.make("demo")
        assert (result.returncode, result.stdout) == (0, "the demo of python3\n"), result.stderr
    assert checkout.built == ["python3"]


def test_demo_with_an_old_python_names_version_and_remedy_and_then_works_with_a_newer_one(checkout: Checkout) -> None:
    checkout.has_python(
        "python3", "import sys\nsys.version_info = (3, 10, 13, 'final', 0)\nsys.version = '3.10.13 x'\n"
    )
    checkout.has_python("python3.12")
    refused = checkout.make("demo")
    assert refused.returncode == 2
    assert errors(refused) == [
        "error: python3 is Python 3.10.13, and 3.11 or newer is needed: install one and name it: make PYTHON=python3.12"
    ]
    assert not (checkout.folder / "checkout" / ".venv").exists()
    assert checkout.make("demo", "PYTHON=python3.12").stdout == "the demo of python3.12\n"
    assert checkout.make("demo").stdout == "the demo of python3.12\n", "the environment is kept"


def test_demo_without_ensurepip_names_the_package_and_then_works_when_it_is_there(checkout: Checkout) -> None:
    switches = checkout.has_python("python3", "import sys\nsys.modules['ensurepip'] = None\n")
    refused = checkout.make("demo")
    assert refused.returncode == 2
    assert errors(refused) == [
        "error: python3 has no ensurepip, so it cannot create a virtual environment: apt install python3-venv"
    ]
    (switches / "sitecustomize.py").write_text("")
    assert checkout.make("demo").stdout == "the demo of python3\n"


def test_demo_without_any_python_says_so(checkout: Checkout) -> None:
    refused = checkout.make("demo", "PYTHON=python3.99")
    assert errors(refused) == [
        "error: python3.99 is not installed: install Python 3.11 or newer, or name it: make PYTHON=/path/to/python3"
    ]


@pytest.mark.parametrize("step", ["venv-fails", "pip-fails"])
def test_demo_after_a_build_that_failed_builds_the_environment_again(checkout: Checkout, step: str) -> None:
    switches = checkout.has_python("python3")
    (switches / step).touch()
    assert checkout.make("demo").returncode == 2
    assert (checkout.folder / "checkout" / ".venv").exists()
    (switches / step).unlink()
    assert checkout.make("demo").stdout == "the demo of python3\n"
    assert checkout.built == ["python3", "python3"]


def test_demo_with_another_python_builds_the_environment_again(checkout: Checkout) -> None:
    checkout.has_python("python3")
    checkout.has_python("python3.12", "import sys\nsys.version_info = (3, 99, 0, 'final', 0)\n")
    checkout.make("demo")
    assert checkout.make("demo", "PYTHON=python3.12").stdout == "the demo of python3.12\n"
    assert checkout.make("demo", "PYTHON=python3.12").returncode == 0
    assert checkout.built == ["python3", "python3.12"]


def test_demo_whose_python_was_uninstalled_builds_the_environment_again(checkout: Checkout) -> None:
    checkout.has_python("python3")
    checkout.make("demo")
    (checkout.folder / "checkout" / ".venv" / "bin" / "python").unlink()
    assert checkout.make("demo").stdout == "the demo of python3\n"


def test_demo_never_removes_a_folder_that_is_not_an_environment(checkout: Checkout) -> None:
    checkout.has_python("python3")
    kept = checkout.folder / "checkout" / "mine" / "letter.txt"
    kept.parent.mkdir()
    kept.write_text("dear")
    refused = checkout.make("demo", "VENV=mine")
    assert errors(refused) == ["error: mine exists and is not a virtual environment: choose another folder with VENV=…"]
    assert kept.read_text() == "dear"


def test_pytest_lists_each_reason_for_skipped_tests_once(tmp_path: Path) -> None:
    shutil.copy2(ROOT / "tests" / "conftest.py", tmp_path / "conftest.py")
    (tmp_path / "test_it.py").write_text(
        "import pytest\n"
        "@pytest.mark.parametrize('n', range(3))\n"
        "def test_a(n): pytest.skip('gears is needed: apt install gears')\n"
        "@pytest.mark.skipif(True, reason='root is needed')\n"
        "def test_b(): pass\n"
    )
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", ".", "."]
    output = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=250).stdout
    assert "= 4 tests skipped =" in output
    assert "    3  gears is needed: apt install gears\n    1  root is needed\n" in output
