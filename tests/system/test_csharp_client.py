"""The client for C# that the documentation offers is compiled, and submits jobs to a service."""

import asyncio
import json
import subprocess
from pathlib import Path

import pytest

from tests.support.needs import needed_program
from tests.support.ports import free_port
from tests.support.process import running_worker
from tests.support.repository import ROOT
from worker.insignia import write_sample

_REMEDY = "apt install mono-mcs mono-runtime libmono-system-net-http4.0-cil"
_SOURCES = (ROOT / "docs/examples/InsigniaWorkerClient.cs", ROOT / "tests/support/csharp_producer.cs")


def _run(*command: str | Path) -> str:
    """Run a program and return what it printed."""
    return subprocess.run(command, stdout=subprocess.PIPE, encoding="utf-8", timeout=200, check=True).stdout


@pytest.mark.timeout(900)
async def test_client_for_csharp_submits_jobs_and_files_once(tmp_path: Path) -> None:
    compiler, mono = needed_program("mcs", _REMEDY), needed_program("mono", _REMEDY)
    program, roster = tmp_path / "producer.exe", tmp_path / "บัญชีรายชื่อ.csv"
    await asyncio.to_thread(_run, compiler, "-r:System.Net.Http.dll", f"-out:{program}", *_SOURCES)
    write_sample(roster, count=40)
    url = f"http://127.0.0.1:{free_port()}"
    settings = [f"--Http:Url={url}", f"--WebSocket:Url={url}", "--Worker:Handlers:0=tests.support.jobs"]
    async with running_worker(tmp_path, *settings) as worker:
        key = (worker.state / "admin.key").read_text(encoding="utf-8").strip()
        printed = await asyncio.to_thread(_run, mono, program, url, key, "สมชาย", roster)
        first, again, accepted, repeated, ended, refused = map(json.loads, printed.splitlines())
        assert (first["created"], again["created"], first["jobId"]) == (True, False, again["jobId"])
        assert (accepted["created"], repeated["created"], accepted["jobId"]) == (True, False, repeated["jobId"])
        assert (ended["status"], ended["userId"]) == ("succeeded", "สมชาย")
        assert refused == "HTTP 422"
        files = await asyncio.to_thread(worker.client.request, "GET", f"/api/v1/jobs/{accepted['jobId']}/files")
        assert [file["shown"] for file in files["files"] if "field" in file] == [roster.name]
        assert await worker.stop() == 0
