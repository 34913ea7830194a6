"""No secret of the settings can be read anywhere: a recognisable one stands in every setting that is called secret.

The servers and programs of these tests reveal all that they receive, in every spelling they can think of. The settings
are enumerated from their models, so that a new secret is looked for without a change here.
"""

import asyncio
import contextlib
import hashlib
import json
import re
import signal
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from config.merge import Path as KeyPath
from tests.support.canaries import Canaries, canary_for, nested, secret_paths
from tests.support.echoing_server import EchoingServer, echoing_server
from tests.support.eventually import eventually
from tests.support.ports import free_port
from tests.support.process import WorkerProcess, clean_environment, command, running_worker
from tests.support.processes import children_of
from tests.support.programs import script
from worker.core.secret_mask import MASK

ELSEWHERE = {"WebSocket:Proxy", "Queue:ConnectionString", "Hub:Redis"}
"""The settings that keep the service of the first test from reaching its servers; the second test has them."""
OPERATOR = "the-key-of-the-operator"
HANDLERS = '''
from pathlib import Path
from pydantic import BaseModel
from worker.handler import Context, handler

class Leak(BaseModel):
    file: str

@handler("leak")
async def leak(payload: Leak, context: Context) -> None:
    """Fails with an error that quotes the settings, as a library may."""
    raise RuntimeError(Path(payload.file).read_text())

@handler("leak-child", execution="process")
def leak_in_child(payload: Leak, context: Context) -> None:
    print(Path(payload.file).read_text())
    raise RuntimeError(Path(payload.file).read_text())
'''
PROGRAM = """
sys.path.insert(0, {root!r})
from tests.support.canaries import every_spelling
shown = every_spelling([os.environ["NAME"]])
for line in shown.splitlines():
    print(line)
    print(line, file=sys.stderr)
    print("progress: 50", line, flush=True)
mark({started!r}, "")
while not os.path.exists({go!r}):
    time.sleep(0.05)
sys.exit(int(sys.argv[1]))
"""


def base_settings(folder: Path, server: EchoingServer) -> dict[KeyPath, str]:
    """Return what the sections of the secrets require besides."""
    root = str(Path(__file__).parents[2])
    body = PROGRAM.format(root=root, started=str(folder / "started"), go=str(folder / "go"))
    program = ("Handlers", "Command", "Programs", 0)
    return {
        ("Http", "Url"): f"http://127.0.0.1:{free_port()}",
        ("Http", "ApiKeys", 0, "Name"): "application",
        ("Http", "ApiKeys", 1, "Name"): "operator",
        ("Http", "ApiKeys", 1, "Sha256"): hashlib.sha256(OPERATOR.encode()).hexdigest(),
        ("Http", "ApiKeys", 1, "Scopes", 0): "admin",
        ("Hub", "Enabled"): "true",
        ("Hub", "AdminUi", "Enabled"): "true",
        ("Hub", "Jwt", "Keys", 0, "Kid"): "next",
        ("Hub", "Jwt", "Keys", 0, "Algorithm"): "HS256",
        ("WebSocket", "Url"): server.url,
        ("WebSocket", "DefaultUserId"): "ann",
        ("WebSocket", "IncludeResult"): "true",
        ("WebSocket", "Progress"): "true",
        ("WebSocket", "SlowRetryDelay"): "10",
        ("WebSocket", "ReconnectionDelay"): "10",
        ("WebSocket", "MaxSendAttempts"): "1",
        ("Worker", "MaxAttempts"): "1",
        ("Worker", "Handlers", 0): "leaking_handlers",
        ("Handlers", "Http", "Allow", 0, "Url"): f"{server.url}/hooks/",
        ("Handlers", "Http", "Allow", 0, "Networks", 0): "127.0.0.0/8",
        (*program, "Name"): "reveal",
        (*program, "Path"): script(folder, body),
        (*program, "Patterns", 0): "[0-9]",
        ("Logging", "LogLevel", "Default"): "Trace",
    }


def canaries_for(base: Mapping[KeyPath, str]) -> Canaries:
    beside = {path: value for path, value in base.items() if path[0] != "Logging"}
    return Canaries(tuple(canary_for(path, beside) for path in secret_paths()))


def write_settings(folder: Path, leaves: Mapping[KeyPath, str]) -> None:
    file = folder / "appsettings.json"
    file.write_text(json.dumps(_with_lists(nested(leaves))), encoding="utf-8")
    file.chmod(0o600)


def _with_lists(node: Any) -> Any:
    if not isinstance(node, dict):
        return node
    values = {name: _with_lists(child) for name, child in node.items()}
    return list(values.values()) if values and all(name.isdigit() for name in values) else values


@pytest.mark.matrix
@pytest.mark.alters_store  # the other server takes notifications that it does not record, and repeats others
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("hub", ["own hub", "other server"])
async def test_no_secret_of_the_settings_can_be_read_anywhere(tmp_path: Path, hub: str) -> None:
    (tmp_path / "leaking_handlers.py").write_text(HANDLERS, encoding="utf-8")
    async with echoing_server() as server:
        base = base_settings(tmp_path, server) | {("Hub", "Enabled"): str(hub == "own hub").lower()}
        canaries = canaries_for(base)
        planted = {one.path: one.value for one in canaries.all if one.key not in ELSEWHERE}
        write_settings(tmp_path, base | planted)
        python_path = {"PYTHONPATH": f"{tmp_path}:{clean_environment()['PYTHONPATH']}"}
        async with running_worker(tmp_path, environ=python_path) as worker:
            await _run_jobs(worker, server, canaries)
            reached = ["Handlers:Http:Allow:0:Headers:NAME"]
            commands = ["health", "jobs list", "db check", "config show", "doctor", "doctor bundle own.zip"]
            if hub == "other server":
                async with asyncio.timeout(240):
                    await server.notified.wait()
                server.attempts = 0  # so that doctor is rejected and refused as well
                reached += ["WebSocket:Token", "WebSocket:Headers:NAME", "WebSocket:Query:NAME"]
                commands = ["notifications list", "config show --json", "doctor ws", "doctor ws --json"]
            await _look_at_routes(worker, base["Http", "Url"], canaries)
            await _look_at_commands(commands, tmp_path, canaries, python_path)
            await _reload_unusable(worker, base, planted, canaries)
            assert await worker.stop() == 0
        for frame in server.received:
            canaries.look(frame, "a notification")
        _look_at_files(worker, canaries)
        _look_at_bundles(tmp_path, canaries)
        seen = "\n".join(server.secrets)
        assert [one.key for one in canaries.all if one.key in reached and one.core not in seen] == []
    assert not canaries.leaks, "\n".join(canaries.leaks)


def _look_at_bundles(folder: Path, canaries: Canaries) -> None:
    for bundle in folder.glob("*.zip"):
        with zipfile.ZipFile(bundle) as archive:
            for name in archive.namelist():
                canaries.look(archive.read(name), f"the bundle's {name}")


async def _look_at_commands(lines: Iterable[str], folder: Path, canaries: Canaries, environ: Mapping[str, str]) -> None:
    async def look(line: str) -> None:
        done = await asyncio.to_thread(command, folder, *line.split(), **environ)
        assert done.stdout + done.stderr
        canaries.look(done.stdout + done.stderr, f"the output of `{line}`")

    await asyncio.gather(*map(look, lines))


async def _run_jobs(worker: WorkerProcess, server: EchoingServer, canaries: Canaries) -> None:
    settings = str(worker.folder / "appsettings.json")
    calls = [{"url": f"{server.url}/hooks/{how}"} for how in ("json", "text", "redirect", "error", "busy")]
    runs = [{"command": "reveal", "args": [code]} for code in ("0", "1")]
    jobs = [("http", payload) for payload in calls] + [("command", payload) for payload in runs]
    jobs += [("leak", {"file": settings}), ("leak-child", {"file": settings})]
    ids = []
    for kind, payload in jobs:
        answer = await _ask(worker, "POST", "/api/v1/jobs", {"taskType": kind, "payload": payload})
        ids.append(answer["jobId"])
    await eventually((worker.folder / "started").exists, timeout=240)
    for job_id in ids:
        canaries.look(json.dumps(await _ask(worker, "GET", f"/api/v1/jobs/{job_id}")), "a job while it runs")
    for arguments in _command_lines(worker.pid):
        canaries.look(arguments, "the arguments of a process")
    (worker.folder / "go").touch()
    ended = [await _ask(worker, "GET", f"/api/v1/jobs/{job_id}?wait=60") for job_id in ids]
    assert {job["status"] for job in ended} == {"succeeded", "failed"}
    for (kind, payload), job in zip(jobs, ended, strict=True):
        text = json.dumps(job, ensure_ascii=False)
        canaries.look(text, f"the job {kind} {payload}")
        assert kind != "command" or MASK in text, "the program did not reveal its secret"


def _command_lines(pid: int) -> Iterator[bytes]:
    """Yield the arguments of a process and of its descendants, some of which may end in the meantime."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        yield Path(f"/proc/{pid}/cmdline").read_bytes()
    for child in children_of(pid):
        yield from _command_lines(child)


async def _ask(worker: WorkerProcess, method: str, target: str, body: Any = None) -> Any:
    return await asyncio.to_thread(worker.client.request, method, target, body)


async def _look_at_routes(worker: WorkerProcess, url: str, canaries: Canaries) -> None:
    """Look at every page and every GET route, for each job, with the admin's key and with none."""
    jobs = [job["jobId"] for job in (await _ask(worker, "GET", "/api/v1/jobs"))["jobs"]]
    assert jobs, "routes of a job are looked at with the id of one"
    clear = {"Authorization": f"Bearer {OPERATOR}"}
    async with aiohttp.ClientSession(url) as session:
        async with session.get("/openapi.json", headers=clear) as response:
            description = await response.json()
        targets = [path for path, methods in description["paths"].items() if "get" in methods]
        targets += ["/", "/app/", "/openapi.json", "/metrics", "/health", "/health/websocket", "/livez", "/readyz"]
        for target in {re.sub(r"\{\w+\}", job_id, path) for path in targets for job_id in jobs}:
            for headers in (clear, {}):
                async with session.get(target, headers=headers) as response:
                    canaries.look(str(response.headers), f"the headers of {target}")
                    # The live stream has no end: its first messages have the state of everything.
                    body = (
                        await response.content.readany()
                        if "event-stream" in response.content_type
                        else await response.read()
                    )
                    canaries.look(body, f"the body of {target}")


async def _reload_unusable(
    worker: WorkerProcess, base: Mapping[KeyPath, str], planted: Mapping[KeyPath, str], canaries: Canaries
) -> None:
    """Reload with a fault at every secret: what is logged and shown names none of the values."""
    faults: dict[str, dict[KeyPath, str]] = {
        "values that cannot be": {path: f"{value}\n\x07" for path, value in planted.items()},
        "misspelt keys": {(*path[:-1], f"{path[-1]}x"): value for path, value in planted.items()},
        "sections as values": {(*path, "more"): value for path, value in planted.items()},
    }
    for fault, leaves in faults.items():
        kept = {path: one for path, one in base.items() if not any(path[: len(broken)] == broken for broken in leaves)}
        write_settings(worker.folder, kept | leaves)
        before = worker.text().count("settings not reloaded")
        assert worker.process is not None
        worker.process.send_signal(signal.SIGHUP)
        await eventually(lambda seen=before: worker.text().count("settings not reloaded") > seen)  # type: ignore[misc]  # mypy infers no default
        canaries.look(json.dumps(await worker.health()), f"/health after {fault}")
        done = await asyncio.to_thread(command, worker.folder, "config", "check")
        assert done.returncode == 78
        canaries.look(done.stdout + done.stderr, f"config check after {fault}")
    write_settings(worker.folder, {**base, **planted})


def _look_at_files(worker: WorkerProcess, canaries: Canaries) -> None:
    canaries.look(worker.text(), "the log")
    for file in worker.state.rglob("*"):
        if file.is_file():
            canaries.look(file.read_bytes(), f"the file {file.name}")


@pytest.mark.matrix
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("key", sorted(ELSEWHERE))
async def test_no_secret_can_be_read_while_its_server_is_out_of_reach(tmp_path: Path, key: str) -> None:
    (tmp_path / "leaking_handlers.py").write_text(HANDLERS, encoding="utf-8")
    async with echoing_server() as server:
        base = base_settings(tmp_path, server)
        canaries = canaries_for(base)
        [canary] = [one for one in canaries.all if one.key == key]
        planted = {one.path: one.value for one in canaries.all if one.key not in ELSEWHERE}
        planted[canary.path] = canary.value
        if key == "Queue:ConnectionString":
            planted[canary.path] = f"postgresql://user:{canary.core}@127.0.0.1:9/none"
            planted["Queue", "Provider"] = "postgres"
        write_settings(tmp_path, base | planted)
        environ = {"PYTHONPATH": f"{tmp_path}:{clean_environment()['PYTHONPATH']}"}
        commands = ["config check", "doctor ws" if key == "WebSocket:Proxy" else "db check"]
        await _look_at_commands(commands, tmp_path, canaries, environ)
        worker = WorkerProcess(tmp_path, environ=environ)
        try:
            if key == "Queue:ConnectionString":  # without its store, the service ends at once
                with pytest.raises(AssertionError):
                    await worker.start()
            else:
                await worker.start()
                job = {"taskType": "leak", "payload": {"file": str(tmp_path / "appsettings.json")}}
                answer = await _ask(worker, "POST", "/api/v1/jobs", job)
                await _ask(worker, "GET", f"/api/v1/jobs/{answer['jobId']}?wait=60")
                await _look_at_routes(worker, base["Http", "Url"], canaries)
            await eventually(lambda: re.search("127.0.0.1:9|refused|proxy", worker.text(), re.IGNORECASE) is not None)
        finally:
            if worker.process is not None and worker.process.poll() is None:
                worker.kill()
        _look_at_files(worker, canaries)
    assert not canaries.leaks, "\n".join(canaries.leaks)
