"""The whole of it on one machine: a service, three real jobs, and a browser-like client that hears of them.

Notifications go to stdout, one JSON line each; everything else goes to stderr.
"""

import asyncio
import contextlib
import shutil
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TextIO

import orjson
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn

from config.layers import Loaded
from worker import assembly, beside, logs, service
from worker.assembly import ADMIN_KEY_FILE
from worker.console import LogOptions, start_logging
from worker.control import JobRequest
from worker.emitter import Emitter
from worker.insignia.sample import copy_sample, write_sample
from worker.job import JobRecord
from worker.listen import Listener, Received
from worker.notification import TASK_PROGRESS
from worker.parts import Stopping
from worker.queues.lock import StoreLock
from worker.redact import Redactor

USER = "hr-officer-1"
ROUND = 2569
KIND = "insignia_background_processing"
_LARGE = 50_000
_LIMIT = 300.0
"""Seconds after which a demo that was to end by itself gives up."""
_OWN = (
    "--Http:Url=http://127.0.0.1:0",
    "--Hub:Enabled=true",
    "--WebSocket:Progress=true",
    f"--WebSocket:DefaultUserId={USER}",
)
"""A free port, so that the demo never meets a service that runs already; who opens the dashboard is the demo's user."""
_BROKEN = "PK\x03\x04 this is a spreadsheet, whatever its name says\n"


@dataclass(frozen=True, slots=True)
class Job:
    """One of the demo's jobs: what it shows, and how it must end."""

    title: str
    payload: dict[str, Any]
    succeeds: bool


JOBS = (
    Job("2,000 officers, a good roster", {"round": ROUND, "roster": "roster.csv", "history": "history.csv"}, True),
    Job("a spreadsheet with a CSV name", {"round": ROUND, "roster": "broken.csv", "organization": "broken"}, False),
    Job(
        f"{_LARGE:,} officers",
        {"round": ROUND, "roster": "large.csv", "history": "large-history.csv", "organization": "large"},
        True,
    ),
)


@dataclass(slots=True)
class Show:
    """What the onlooker sees."""

    bars: Progress
    rows: dict[str, TaskID] = field(default_factory=dict)
    titles: dict[str, Job] = field(default_factory=dict)
    results: dict[str, dict[str, Any]] = field(default_factory=dict)

    def submitted(self, job_id: str, job: Job) -> None:
        self.titles[job_id] = job
        self.rows[job_id] = self.bars.add_task(job.title, total=100, note="queued")

    def received(self, received: Received) -> bool:
        """Whether it was the news of an end, and not progress on the way."""
        message = received.message
        payload = message["payload"]
        row = self.rows.get(payload["jobId"])
        if message["message"] == TASK_PROGRESS:
            if row is not None:
                self.bars.update(row, completed=payload["percent"], note=payload["note"])
            return False
        good = "✅" if message["success"] else "❌"
        if row is not None:
            self.bars.update(
                row, completed=100, note=f"{good} {message['message']} after {payload['duration']:,.0f} ms"
            )
        self._print({"event": received.event, "message": message, "user": received.user})
        self.results[payload["jobId"]] = message
        return True

    def _print(self, line: dict[str, Any]) -> None:
        """To stdout; on a terminal above the bars, which are drawn on the same one."""
        if sys.stdout.isatty():
            self.bars.console.print(orjson.dumps(line).decode(), markup=False, highlight=False, soft_wrap=True)
            return
        sys.stdout.buffer.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
        sys.stdout.buffer.flush()

    @property
    def complete(self) -> bool:
        return len(self.results) == len(JOBS) == len(self.titles)

    @property
    def as_expected(self) -> bool:
        return self.complete and all(
            message["success"] == self.titles[job_id].succeeds for job_id, message in self.results.items()
        )


class LoadSettings(Protocol):
    """The command line's settings, over these defaults and with these variables."""

    def __call__(self, defaults: Sequence[str] = (), environ: Mapping[str, str] | None = None) -> Loaded: ...


def run(load: LoadSettings, *, once: bool) -> int:
    """The exit code: 0 when every notification arrived and said what it should."""
    console = Console(file=sys.stderr, highlight=False, width=None if sys.stderr.isatty() else 120)
    usual = load()
    environ = {"STATE_DIRECTORY": str(usual.state_dir / "demo")}
    if usual.environment == "Production":  # nobody has said otherwise: on this machine the page asks for no key
        environ["DOTNET_ENVIRONMENT"] = "Development"
    loaded = load(_OWN, environ)
    folder = loaded.state_dir
    folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = StoreLock.acquire(folder.with_suffix(".lock"))  # two demos would wipe each other's folder
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        with (folder / "demo.log").open("w", encoding="utf-8") as log:
            _log_to(log, loaded)
            return asyncio.run(_perform(loaded, console, once=once))
    finally:
        lock.release()


def _log_to(stream: TextIO, loaded: Loaded) -> None:
    """Lines go to a file: the terminal is for the show."""
    options = LogOptions(formatter="Simple", environment=loaded.environment)
    start_logging(options, Redactor.of(assembly.secrets_in(loaded.settings)), stream)


def _write_rosters(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    copy_sample(folder)
    (folder / "broken.csv").write_text(_BROKEN, encoding="utf-8")
    write_sample(folder / "large.csv", count=_LARGE, history=folder / "large-history.csv")


async def _perform(loaded: Loaded, console: Console, *, once: bool) -> int:
    with console.status("writing rosters of made-up officers"):
        folder = loaded.resolve_state(loaded.settings.insignia.data_directory)
        await asyncio.to_thread(_write_rosters, folder)
    async with _running(loaded) as running:
        console.print(f"🚀 the service is up at {running.url}; its log: {loaded.state_dir / 'demo.log'}")
        key = "" if loaded.development else f" (sign in with the key in {loaded.state_dir / ADMIN_KEY_FILE})"
        console.print(f"📊 the dashboard is at {running.url}/{key}")
        with Progress(*_columns(), console=console) as bars:
            show = Show(bars)
            await _watch(loaded, running, show)
        await _tell(console, loaded, running, show, stays=not once)
        if not once and not running.parts.stopping.event.is_set():
            console.print("\nThe service stays up for you to look around; Ctrl-C ends it.")
            await running.parts.stopping.event.wait()
    return 0 if show.as_expected else 1


def _columns() -> tuple[ProgressColumn, ...]:
    return (
        TextColumn("{task.description:<32}"),
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
    )


@contextlib.asynccontextmanager
async def _running(loaded: Loaded) -> AsyncIterator[service.Running]:
    """The real service, in this process."""
    stopping = Stopping()
    ready: asyncio.Future[service.Running] = asyncio.get_running_loop().create_future()
    emit = Emitter(logs.Logs())
    life = asyncio.ensure_future(service.serve(loaded, emit, stopping=stopping, on_ready=ready.set_result))
    first: list[asyncio.Future[Any]] = [life, ready]
    await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
    if not ready.done():
        await life  # raises what kept it from starting
    try:
        yield ready.result()
    finally:
        if not life.done():
            stopping.ask("the demo is over")
        await life


async def _watch(loaded: Loaded, running: service.Running, show: Show) -> None:
    """Submit the jobs once the listener is there, and follow them to the last notification."""
    listener = beside.listener_for(loaded, USER, lambda _text: None)
    listener.url = running.url
    hearing = asyncio.ensure_future(_hear(listener, show))
    stopped = asyncio.ensure_future(running.parts.stopping.event.wait())
    try:
        async with asyncio.timeout(_LIMIT):
            await listener.connected.wait()
            for job in JOBS:
                request = JobRequest.model_validate({"taskType": KIND, "userId": USER, "payload": job.payload})
                accepted = await running.parts.control.submit(request)
                show.submitted(accepted.job_id, job)
            either: list[asyncio.Future[Any]] = [hearing, stopped]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    except TimeoutError:
        show.bars.console.print(f"⚠️ not every notification arrived within {_LIMIT:g} s")
    finally:
        for waiting in (hearing, stopped):
            waiting.cancel()
        await asyncio.gather(hearing, stopped, return_exceptions=True)


async def _hear(listener: Listener, show: Show) -> None:
    async with contextlib.aclosing(listener.messages()) as messages:
        async for received in messages:
            if show.received(received) and show.complete:
                return


async def _tell(console: Console, loaded: Loaded, running: service.Running, show: Show, *, stays: bool) -> None:
    """What came of it, where everything lies, and what to try next."""

    def line(text: str) -> None:
        console.print(text, markup=False, soft_wrap=True)

    line(f"\n📡 {len(show.results)} of {len(JOBS)} notifications received, as a browser gets them (stdout)")
    for job_id, message in show.results.items():
        record = await running.parts.control.show(job_id)
        sign = "✅" if message["success"] else "❌"
        line(f"   {sign} {show.titles[job_id].title}: {_came_to(record, message['payload'])}")
    line(f"📂 results: {loaded.resolve_state(loaded.settings.insignia.output_directory)}")
    line("\nTry next:")
    prefix = f"STATE_DIRECTORY={loaded.state_dir} {sys.argv[0]}"
    for command in ("jobs list", "notifications list"):
        line(f"   {prefix} {command}")
    if stays:
        line(f"   open {running.url}/ in a browser, and drop a roster on it: {_sample(loaded, 'roster.csv')}")
        line(f"   {prefix} listen --user {USER} --WebSocket:Url={running.url}")
    line(f"   {sys.argv[0]} evaluate {_sample(loaded, 'roster.csv')} --round {ROUND} \\")
    line(f"       --history {_sample(loaded, 'history.csv')} -o my-results/")


def _sample(loaded: Loaded, name: str) -> Path:
    return loaded.resolve_state(loaded.settings.insignia.data_directory) / name


def _came_to(record: JobRecord, payload: dict[str, Any]) -> str:
    if record.result is None:
        return str(payload.get("error", ""))
    result = orjson.loads(record.result)
    counts = f"{result['nominate']:,} to nominate, {result['notEligible']:,} not eligible"
    return f"{counts}, {result['manualReview']:,} to look at by hand; {result['badRows']:,} rows could not be read"
