"""Commands for what the HTTP API can do: kinds, workers, figures, the audit log, jobs that start later."""

import asyncio
import json
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import typer
from typer.core import TyperCommand, TyperGroup

from tests.support.ports import free_port
from tests.support.process import clean_environment, command, running_worker
from worker.cli.app import app
from worker.cli.invocation import split

pytestmark = pytest.mark.both_stores


HANDLERS = "--Worker:Handlers:0=tests.support.jobs"
GROUPS = [[], ["jobs"], ["notifications"], ["kinds"], ["workers"], ["config"], ["db"], ["doctor"]]


async def test_orders_of_the_api_have_commands(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    async with running_worker(tmp_path, HANDLERS, f"--Http:Url={url}", f"--WebSocket:Url={url}"):

        async def run(*arguments: str) -> list[Any]:
            done = await asyncio.to_thread(command, tmp_path, *arguments)
            assert done.returncode == 0, done.stderr
            return [json.loads(line) for line in done.stdout.splitlines()]

        assert "noop" in [kind["taskType"] for kind in await run("kinds", "list")]
        assert await run("kinds", "pause", "noop") == [{"taskType": "noop", "paused": True}]
        assert [kind["taskType"] for kind in await run("kinds", "list") if kind["paused"]] == ["noop"]
        assert await run("kinds", "resume", "noop") == [{"taskType": "noop", "paused": False}]

        [changed] = await run("workers", "set", "--concurrency", "3", "--quiet")
        assert (changed["workers"][0]["concurrency"], changed["workers"][0]["quiet"]) == (3, True)
        await run("workers", "set", "--no-quiet")
        [worker] = await run("workers", "show", "--json")
        assert (worker["concurrency"], worker["quiet"]) == (3, False)

        done = await asyncio.to_thread(
            command,
            tmp_path,
            *("enqueue", "noop", "--user", "u", "--run-at", "2030-01-01T08:00:00+07:00", "--max-attempts", "7"),
        )
        [later] = await run("jobs", "show", done.stdout.strip())
        assert (later["status"], later["runAt"], later["maxAttempts"]) == ("queued", "2030-01-01T01:00:00.000Z", 7)
        [figures] = await run("stats")
        assert figures["jobs"]["queued"] == 1
        actions = [entry["action"] for entry in await run("audit")]
        assert {"kinds.pause", "kinds.resume"} <= set(actions)
        assert [entry["action"] for entry in await run("audit", "--action", "kinds.pause")] == ["kinds.pause"]


async def test_list_goes_on_where_it_ended(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    lines = "".join('{"userId": "u"}\n' for _ in range(5))
    async with running_worker(tmp_path, HANDLERS, f"--Http:Url={url}", f"--WebSocket:Url={url}"):
        submitted = await asyncio.to_thread(command, tmp_path, "enqueue", "noop", "--stdin", stdin=lines)
        found: list[str] = []
        more: list[str] = []
        while True:
            page = await asyncio.to_thread(command, tmp_path, "jobs", "list", "--limit", "2", *more)
            found += [json.loads(line)["jobId"] for line in page.stdout.splitlines()]
            if "--cursor " not in page.stderr:
                break
            more = ["--cursor", page.stderr.split("--cursor ")[1].strip()]
    assert sorted(found) == sorted(submitted.stdout.split())


@pytest.mark.sqlite_only("no store")
@pytest.mark.parametrize("group", GROUPS, ids=lambda group: " ".join(group) or "program")
def test_short_option_for_help_is_known_everywhere(tmp_path: Path, group: list[str]) -> None:
    done = command(tmp_path, *group, "-h")
    assert done.returncode == 0
    assert "Usage: insignia-worker" in done.stdout


@pytest.mark.sqlite_only("no store")
def test_help_has_examples_and_exit_codes(tmp_path: Path) -> None:
    text = command(tmp_path, "--help").stdout
    assert "Exit codes: 0 success, 1 a job failed" in text
    assert "--contentRoot FOLDER" in text
    assert "Example:\n    insignia-worker enqueue greet" in command(tmp_path, "enqueue", "--help").stdout


def leaves(group: TyperGroup, words: str = "") -> Iterator[tuple[str, TyperCommand]]:
    """Yield each command with the words that call it."""
    for name, one in group.commands.items():
        path = f"{words} {name}".strip()
        if isinstance(one, TyperGroup):
            yield from leaves(one, path)
        else:
            assert isinstance(one, TyperCommand)
            yield path, one


LEAVES = dict(leaves(cast(TyperGroup, typer.main.get_command(app))))


@pytest.mark.sqlite_only("no store")
@pytest.mark.parametrize("words", LEAVES)
def test_help_of_a_command_has_an_example_that_can_be_parsed(words: str) -> None:
    epilog = LEAVES[words].epilog or ""
    examples = [line.strip() for line in epilog.splitlines() if "insignia-worker " in line]
    assert examples
    for example in examples:
        arguments, _ = split(shlex.split(example.removeprefix(f"insignia-worker {words}")))
        LEAVES[words].make_context(words, list(arguments))


@pytest.mark.sqlite_only("no store")
@pytest.mark.parametrize("words", LEAVES)
def test_help_of_a_command_explains_each_argument_and_option(words: str) -> None:
    assert [one.name for one in LEAVES[words].params if not getattr(one, "help", None)] == []


@pytest.mark.sqlite_only("no store")
@pytest.mark.parametrize("group", GROUPS, ids=lambda group: " ".join(group) or "program")
def test_list_of_commands_cuts_no_sentence(tmp_path: Path, group: list[str]) -> None:
    assert "..." not in command(tmp_path, *group, "-h").stdout.split("Commands:")[1]


@pytest.mark.sqlite_only("no store")
def test_shell_completes_commands(tmp_path: Path) -> None:
    words = {"_INSIGNIA_WORKER_COMPLETE": "complete_bash", "COMP_WORDS": "insignia-worker jobs re", "COMP_CWORD": "2"}
    program = Path(sys.executable).with_name("insignia-worker")
    done = subprocess.run([program], capture_output=True, text=True, env={**clean_environment(), **words})
    assert done.stdout.split() == ["retry"]
