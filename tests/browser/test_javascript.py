"""The JavaScript that needs no browser: node's own test runner, no packages."""

import subprocess
from pathlib import Path

import pytest

from tests.support.needs import needed_program

HERE = Path(__file__).parent


@pytest.mark.parametrize(
    ("script", "count"), [("parts.test.mjs", 75), ("compat.test.mjs", 23), ("dashboard.test.mjs", 15)]
)
def test_javascript_modules_pass_their_tests_in_node(script, count):
    node = needed_program("node", "install Node 20 or newer with npm")
    done = subprocess.run(
        [node, "--test", "--test-reporter=spec", str(HERE / script)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    # A file that runs no test at all succeeds, too.
    assert f"pass {count}" in done.stdout
