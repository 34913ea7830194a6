"""A TypeScript program with types generated from openapi.json is compiled, and submits a job over HTTP."""

import asyncio
import json
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.acceptance.test_openapi import KEY, a_key
from tests.support.js import INTEROP, node_or_skip
from tests.support.ports import free_port
from tests.support.process import running_worker
from tests.support.repository import ROOT

PROGRAM = ROOT / "docs" / "examples" / "submit-job.ts"
OPTIONS = {
    "strict": True,
    "target": "es2022",
    "lib": ["es2022", "dom"],
    "module": "esnext",
    "moduleResolution": "bundler",
    "types": [],
}


@pytest.fixture
async def url(tmp_path: Path) -> AsyncIterator[str]:
    url = f"http://127.0.0.1:{free_port()}"
    settings = [f"--Http:Url={url}", f"--WebSocket:Url={url}", *a_key(0, KEY, "admin")]
    (tmp_path / "service").mkdir()
    async with running_worker(tmp_path / "service", "--Worker:Handlers:0=tests.support.jobs", *settings) as worker:
        yield url
        assert await worker.stop() == 0


async def run(folder: Path, *command: str) -> str:
    done = await asyncio.to_thread(
        subprocess.run, command, cwd=folder, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


async def test_program_with_generated_types_compiles_and_submits_a_job(tmp_path: Path, url: str) -> None:
    node, folder, programs = node_or_skip(), tmp_path / "client", INTEROP / "node_modules" / ".bin"
    folder.mkdir()
    (folder / "node_modules").symlink_to(INTEROP / "node_modules")
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "tsconfig.json").write_text(json.dumps({"compilerOptions": OPTIONS, "files": ["submit-job.ts"]}))
    shutil.copy(PROGRAM, folder)
    generate = [f"{url}/openapi.json", "--default-non-nullable", "false", "-o", "worker-api.d.ts"]
    await run(folder, str(programs / "openapi-typescript"), *generate)
    await run(folder, str(programs / "tsc"), "--project", ".")
    printed = json.loads(await run(folder, node, "submit-job.js", url, KEY, "somchai"))
    assert printed["id"] == printed["again"]
    assert (printed["status"], printed["user"]) == ("succeeded", "somchai")
    assert "no-such-kind" in printed["rejected"]
    wrong = PROGRAM.read_text(encoding="utf-8").replace("body: { taskType,", "body: { kind: taskType,")
    (folder / "submit-job.ts").write_text(wrong, encoding="utf-8")
    with pytest.raises(AssertionError, match="'kind' does not exist"):
        await run(folder, str(programs / "tsc"), "--project", ".")
