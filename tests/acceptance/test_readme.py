"""The README's commands, typed literally in a copy of the checkout."""

import asyncio
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.ports import free_port
from tests.support.process import clean_environment
from worker.cli.api_client import ApiClient

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DEFAULT_URL = "http://127.0.0.1:8080"
_LIMIT_SECONDS = 200.0


def blocks(language: str) -> list[str]:
    """Return the fenced blocks of the README in this language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def console_commands() -> list[str]:
    """Return what follows each `$` of the console blocks, with its continuation lines."""
    lines = "".join(blocks("console"))
    return [command.strip() for command in re.split(r"^\$ ", lines, flags=re.MULTILINE) if command.strip()]


def sessions() -> list[tuple[str, list[str]]]:
    """Return each command that starts the service, with the commands typed while it runs."""
    found: list[tuple[str, list[str]]] = []
    for command in console_commands():
        if "insignia-worker run" in command:
            found.append((command, []))
        elif found:
            found[-1][1].append(command)
    return found


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what git tracks, with `.venv/bin/insignia-worker` as pip installs it, but for this copy."""
    folder = tmp_path_factory.mktemp("readme") / "checkout"
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in listed.splitlines():
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    entry = folder / ".venv" / "bin" / "insignia-worker"
    entry.parent.mkdir(parents=True)
    entry.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(folder)!r})\n"
        "from worker.__main__ import main\nmain()\n",
        encoding="utf-8",
    )
    entry.chmod(0o755)
    return folder


class Terminal:
    """Types commands in the checkout; the service listens on a free port instead of 8080."""

    def __init__(self, checkout: Path) -> None:
        self.checkout = checkout
        self.url = f"http://127.0.0.1:{free_port()}"
        settings = {"Http__Url": self.url, "WebSocket__Url": self.url}
        self.environ = {k: v for k, v in clean_environment(settings).items() if k != "PYTHONPATH"}

    def type(self, command: str) -> "subprocess.CompletedProcess[str]":
        """Run a command to its end."""
        return subprocess.run(
            ["bash", "-c", command.replace(DEFAULT_URL, self.url)],
            cwd=self.checkout,
            env=self.environ,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=_LIMIT_SECONDS,
        )

    @contextmanager
    def service(self, command: str) -> Iterator[None]:
        """Run a command that serves until it is stopped."""
        log = self.checkout / "service.log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                ["bash", "-c", f"exec env {command}"], cwd=self.checkout, env=self.environ, stdout=output, stderr=output
            )
        try:
            asyncio.run(self._ready(process, log))
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(_LIMIT_SECONDS) == 0, log.read_text(encoding="utf-8")

    async def _ready(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        client = ApiClient.in_folder(self.checkout / "state")
        async with asyncio.timeout(_LIMIT_SECONDS):
            while not client.answers():
                assert process.poll() is None, log.read_text(encoding="utf-8")
                await asyncio.sleep(0.05)


@pytest.mark.timeout(900)
def test_readme_console_commands_typed_in_order_succeed(checkout: Path) -> None:
    terminal = Terminal(checkout)
    [module] = blocks("python")
    (checkout / "greetings.py").write_text(module, encoding="utf-8")
    outputs: dict[str, str] = {}
    for service, commands in sessions():
        with terminal.service(service):
            for command in commands:
                done = terminal.type(command)
                assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
                outputs[command] = done.stdout + done.stderr
    text = "\n".join(outputs.values())
    assert '"message":"Task Finish"' in text
    assert "succeeded" in next(output for command, output in outputs.items() if " greet " in command)
    assert (checkout / "my-results" / "results.json").is_file()


def test_readme_make_targets_exist(checkout: Path) -> None:
    targets = [command for command in console_commands() if command.startswith("make ")]
    assert targets == ["make demo", "make test"]
    for command in targets:
        planned = subprocess.run([*command.split(), "-n"], cwd=checkout, capture_output=True, text=True)
        assert planned.returncode == 0, planned.stderr


def test_readme_files_it_names_exist() -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_readme_has_at_most_600_words_outside_code() -> None:
    prose = re.sub(r"^```.*?^```$", "", README, flags=re.MULTILINE | re.DOTALL)
    assert len(prose.split()) <= 600
