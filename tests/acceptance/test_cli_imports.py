"""Short commands stay fast: what they import is listed here, as imports are most of their time."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.ports import free_port
from tests.support.process import clean_environment, command, running_worker

_REPORT = """
import json, sys
before = set(sys.modules)
from worker.__main__ import main
sys.argv = ["insignia-worker", *sys.argv[1:]]
try:
    main()
except SystemExit as ended:
    assert not ended.code, ended.code
print(json.dumps(sorted(set(sys.modules) - before)), file=sys.stderr)
"""
HELP_MODULES = {
    "config",
    "config.json_text",
    "config.errors",
    "config.installed_unit",
    "config.paths",
    "config.presence",
    "worker",
    "worker.__main__",
    "worker.cli",
    "worker.cli.app",
    "worker.cli.commands",
    "worker.cli.commands.controls",
    "worker.cli.commands.doctor",
    "worker.cli.commands.enqueue",
    "worker.cli.commands.evaluate",
    "worker.cli.commands.hub_clients",
    "worker.cli.commands.jobs",
    "worker.cli.commands.service",
    "worker.cli.commands.settings",
    "worker.cli.commands.store",
    "worker.cli.examples",
    "worker.cli.invocation",
    "worker.cli.output",
    "worker.errors",
    "worker.observability",
    "worker.observability.journal",
}
"""Modules of ours that `--help` imports: what declares the commands, and nothing of what they do."""
CLIENT_MODULES = HELP_MODULES | {
    "worker.cli.api_client",
    "worker.cli.store_client",
    "worker.net",
    "worker.net.unix_socket",
}
"""Modules of ours that a command imports while a service runs: also the client, but no settings and no server."""
PACKAGES = {"annotated_doc", "orjson", "shellingham", "typer"}
"""Third-party packages that `--help` imports; the first and third are typer's own."""
CLIENT_PACKAGES = PACKAGES | {"annotated_types", "pydantic", "pydantic_core", "typing_extensions", "typing_inspection"}
"""Also what typer imports to convert the arguments of a command."""
SLOW_STANDARD_MODULES = {"asyncio", "multiprocessing", "sqlite3"}


def imported(folder: Path, *arguments: str) -> set[str]:
    """Run a command line that must succeed; return the names of all modules it imported."""
    done = subprocess.run(
        [sys.executable, "-c", _REPORT, *arguments, "--contentRoot", str(folder)],
        capture_output=True,
        text=True,
        env=clean_environment(),
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stderr))


def check(modules: set[str], own: set[str], allowed: set[str]) -> None:
    standard = {name for name in modules if name.startswith("_sysconfigdata")} | set(sys.stdlib_module_names)
    packages = {name.partition(".")[0] for name in modules} - standard - {"worker", "config"}
    assert {name for name in modules if name.partition(".")[0] in ("worker", "config")} == own
    assert packages <= allowed
    assert modules.isdisjoint(SLOW_STANDARD_MODULES)


def test_help_imports_only_what_declares_the_commands(tmp_path: Path) -> None:
    check(imported(tmp_path, "--help"), HELP_MODULES, PACKAGES)


async def test_commands_with_a_running_service_import_only_the_client(tmp_path: Path) -> None:
    enqueue = ("enqueue", "noop", "--user", "u", "--payload", '{"text": "a=b", "number": 1}')
    async with running_worker(
        tmp_path, "--Worker:Handlers:0=tests.support.jobs", f"--Http:Url=http://127.0.0.1:{free_port()}"
    ):
        for arguments in (("jobs", "list"), enqueue, ("health", "--timeout", "60")):
            check(imported(tmp_path, *arguments), CLIENT_MODULES, CLIENT_PACKAGES)


@pytest.mark.parametrize(
    ("given", "code", "fault"),
    [
        (["--WebSokcet:Url=http://h"], 78, "WebSocket"),
        (["--environment", "no such/name"], 78, "environment"),
    ],
)
async def test_settings_on_the_command_line_are_checked_also_while_a_service_runs(
    tmp_path: Path, given: list[str], code: int, fault: str
) -> None:
    async with running_worker(tmp_path, f"--Http:Url=http://127.0.0.1:{free_port()}"):
        done = command(tmp_path, "jobs", "list", *given)
    assert done.returncode == code
    assert fault in done.stderr
