"""The running service against its own description: schemathesis asks it everything, sensible or not."""

import hashlib
import json
import random
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.ports import free_port
from tests.support.process import WorkerProcess

KEY = "a-key-that-only-this-test-knows"
USER = "ann"


def a_key(number: int, key: str, scope: str) -> list[str]:
    """The settings of an API key that is called as it is."""
    digest = hashlib.sha256(key.encode()).hexdigest()
    place = f"--Http:ApiKeys:{number}"
    return [f"{place}:Name={key}", f"{place}:Sha256={digest}", f"{place}:Scopes:0={scope}"]


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[WorkerProcess]:
    url = f"http://127.0.0.1:{free_port()}"
    running = WorkerProcess(
        tmp_path,
        [
            f"--Http:Url={url}",
            f"--WebSocket:Url={url}",
            f"--WebSocket:DefaultUserId={USER}",
            *a_key(0, KEY, "admin"),
            *a_key(1, "reader", "read"),
            *a_key(2, "producer", "enqueue"),
            *a_key(3, "bound", "admin"),
            f"--Http:ApiKeys:3:Users:0={USER}",
            "--Http:FailedLogins=100000",
        ],
    )
    await running.start()
    yield running
    assert await running.stop() == 0
    assert "unexpected" not in running.text().lower()


def url_of(service: WorkerProcess) -> str:
    return service.settings[0].partition("=")[2]


async def a_job(url: str) -> str:
    """A job that has ended, with its notification: something to look at."""
    body = {"taskType": "insignia_background_processing", "payload": {"round": 2569, "officers": []}}
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {KEY}"}) as session:
        async with session.post(f"{url}/api/v1/jobs", json=body) as response:
            job_id: str = (await response.json())["jobId"]
        async with session.get(f"{url}/api/v1/jobs/{job_id}?wait=60") as response:
            assert (await response.json())["status"] in ("succeeded", "failed")
    return job_id


def asked(service: WorkerProcess, seconds: int, key: str, *options: str) -> "subprocess.CompletedProcess[str]":
    """One run of schemathesis with this key; its seed stands in what it prints."""
    return subprocess.run(
        [
            str(Path(sys.executable).with_name("schemathesis")),
            "run",
            f"{url_of(service)}/openapi.json",
            "--header",
            f"Authorization: Bearer {key}",
            "--phases=examples,coverage,fuzzing",
            "--checks=all",
            # Not everything that fits a schema makes sense: a kind there is not, a cursor that was made up.
            "--exclude-checks=positive_data_acceptance",
            "--exclude-path=/api/v1/live",  # it ends when the caller goes
            "--continue-on-failure",
            "--no-color",
            # More threads may parse Python source at once, which fails now and then on Python 3.11 (SystemError: AST
            # constructor recursion depth mismatch).
            "--workers=1",
            "--request-timeout=120",
            f"--max-time={seconds}",
            f"--seed={random.randrange(2**32)}",
            *options,
        ],
        cwd=service.folder,
        capture_output=True,
        text=True,
        timeout=seconds + 240,
        check=False,
    )


def reported(run: "subprocess.CompletedProcess[str]") -> str:
    """What it found, and its seed."""
    found = re.search(r"^=+ (ERRORS|FAILURES) =+$.*?(?=^=+ (WARNINGS|SUMMARY))", run.stdout, re.M | re.S)
    return (found.group() if found else run.stdout)[:8000] + run.stdout[-300:] + run.stderr


def words_of(schema: Any) -> set[str]:
    """Every key in a description, at any depth."""
    if isinstance(schema, list):
        return set().union(*map(words_of, schema))
    if isinstance(schema, dict):
        return set(schema).union(*map(words_of, schema.values()))
    return set()


async def test_bounds_of_values_are_in_the_words_of_json_schema(service: WorkerProcess) -> None:
    async with aiohttp.ClientSession() as session, session.get(f"{url_of(service)}/openapi.json") as response:
        described = await response.json()
    attempts = described["components"]["schemas"]["JobRequest"]["properties"]["maxAttempts"]["anyOf"][0]
    assert (attempts["minimum"], attempts["maximum"]) == (1, 1000)
    assert not words_of(described) & {"ge", "le", "gt", "lt", "min_length", "max_length"}


async def test_generated_requests_are_answered_as_described(service: WorkerProcess) -> None:
    run = asked(service, 15, KEY)
    assert run.returncode == 0, reported(run)
    assert "Tested" in run.stdout


async def test_generated_requests_about_an_existing_job_and_of_an_end_user_are_answered_as_described(
    service: WorkerProcess,
) -> None:
    job_id = await a_job(url_of(service))
    (service.folder / "schemathesis.toml").write_text(
        f'[parameters]\n"path.id" = {json.dumps(job_id)}\n', encoding="utf-8"
    )
    token = _token(service)
    for key, options in ((KEY, ("--include-path-regex=/jobs/{id}",)), (token, ("--include-path-regex=/api/v1/me",))):
        run = asked(service, 4, key, *options)
        assert run.returncode == 0, reported(run)


# -- every route, every caller -----------------------------------------------------------------------------------

GRANTS = {
    "enqueue": {KEY, "producer", "bound"},
    "read": {KEY, "reader", "bound"},
    "admin": {KEY, "bound"},
    "user": {"token"},
    "any": {KEY, "reader", "producer", "bound", "token"},
}


async def test_every_route_accepts_exactly_the_callers_with_its_scope(service: WorkerProcess) -> None:
    url, token = url_of(service), _token(service)
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{url}/openapi.json") as response:
            document = await response.json()
        for path, method, operation in _operations(document):
            target = url + re.sub(r"{\w+}", "nothing", path)
            for caller in (None, KEY, "reader", "producer", "bound", "token"):
                key = token if caller == "token" else caller
                headers = {} if key is None else {"Authorization": f"Bearer {key}"}
                # The answer's head is enough; some answers have no end.
                async with session.request(method, target, headers=headers) as response:
                    assert _is_as_told(operation, caller, response.status), (method, path, caller, response.status)


def _is_as_told(operation: Any, caller: str | None, status: int) -> bool:
    scope = operation.get("x-scope")
    if scope is None:
        return status not in (403, 404) and (status != 401 or operation["operationId"] == "post_session")
    if caller is None:
        return status == 401
    welcome = caller in GRANTS[scope] and (operation["x-bound"] or caller != "bound")
    return (status not in (401, 403)) if welcome else status == 403


async def test_every_json_response_is_described(service: WorkerProcess) -> None:
    async with aiohttp.ClientSession() as session, session.get(f"{url_of(service)}/openapi.json") as response:
        document = await response.json()
    bare = [
        (method, path, status)
        for path, method, operation in _operations(document)
        for status, answer in operation["responses"].items()
        if answer.get("content", {}).get("application/json", {"schema": True})["schema"] == {}
    ]
    assert bare == [("get", "/openapi.json", "200")]


async def test_documentation_lists_exactly_the_described_routes(service: WorkerProcess) -> None:
    async with aiohttp.ClientSession() as session, session.get(f"{url_of(service)}/openapi.json") as response:
        document = await response.json()
    page = (Path(__file__).resolve().parents[2] / "docs" / "http.md").read_text(encoding="utf-8")
    reported = set(re.findall(r"\*\*`([A-Z]+ /[^`]*)`\*\*", page))
    assert reported == {f"{method.upper()} {path}" for path, method, _ in _operations(document)}


def _operations(document: Any) -> Iterator[tuple[str, str, Any]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def _token(service: WorkerProcess) -> str:
    made: Any = subprocess.run(
        [sys.executable, "-m", "worker", "token", "--user", USER, "--contentRoot", str(service.folder)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).resolve().parents[2],
        check=True,
        timeout=250,
    )
    return str(made.stdout).strip()
