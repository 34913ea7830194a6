"""The JavaScript that needs no browser: node's own test runner, no packages."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.parametrize(("script", "count"), [("parts.test.mjs", 67), ("dashboard.test.mjs", 11)])
def test_the_modules_hold_in_node(script, count):
    node = shutil.which("node")
    if node is None:
        reason = f"Node 20 is needed for tests/browser/{script}"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    done = subprocess.run(
        [node, "--test", "--test-reporter=spec", str(HERE / script)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    # A file that runs no test at all succeeds, too.
    assert f"pass {count}" in done.stdout
