"""Processes of a job are found by the tag of the service, also those that a child process of the service starts."""

import os
import subprocess
import sys

from worker.core.process_tag import SERVICE_TAG, SERVICE_VARIABLE, next_tag


def test_tag_of_a_process_that_a_job_started_begins_with_the_tag_of_the_job() -> None:
    tag = next_tag()
    name, _, value = tag.partition("=")
    code = "from worker.core.process_tag import next_tag; print(next_tag())"
    environ = {**os.environ, name: value, "PYTHONPATH": os.pathsep.join(sys.path)}
    started = [
        subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert name == SERVICE_VARIABLE
    assert all(text.startswith(tag) and text.startswith(SERVICE_TAG) for text in started)
    assert started[0] != started[1]
