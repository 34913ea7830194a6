"""A minute of chaos with several workers on a store in PostgreSQL, judged by the promises."""

import subprocess
import sys

import pytest

from tests.support.js import node_or_skip
from tests.support.needs import need_namespaces, need_root, skip_without
from tests.support.postgres_server import find_programs
from tests.support.process import clean_environment
from tests.support.redis_server import redis_or_skip
from tests.support.repository import ROOT

SEED = 12
"""Its first fault cuts the worker that sends off from PostgreSQL."""


@pytest.mark.kill
@pytest.mark.timeout(1500)
def test_workers_on_one_store_keep_the_promises_in_a_minute_of_chaos() -> None:
    need_root("to create network namespaces")
    need_namespaces("--net")
    node_or_skip()
    redis_or_skip()
    if find_programs() is None:
        skip_without("a PostgreSQL server", "install PostgreSQL 15")
    command = [sys.executable, "-m", "tests.chaos", "--store", "postgres", "--seed", str(SEED), "--minutes", "1"]
    done = subprocess.run(
        [*command, "--repeat", "0"], capture_output=True, text=True, check=False, cwd=ROOT, env=clean_environment()
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-12000:]
    assert "cut-off-relay" in done.stdout
