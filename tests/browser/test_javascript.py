"""The JavaScript that needs no browser: node's own test runner, no packages."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def test_the_parts_and_the_state_machine_hold_in_node():
    node = shutil.which("node")
    if node is None:
        reason = "Node 20 is needed for tests/browser/parts.test.mjs"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    done = subprocess.run(
        [node, "--test", "--test-reporter=spec", str(HERE / "parts.test.mjs")],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    # A file that runs no test at all succeeds, too.
    assert "pass 54" in done.stdout
