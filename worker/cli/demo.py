"""`demo`: a service, three real jobs, and a client that receives their notifications as a browser does.

Notifications go to stdout, one JSON line each; everything else goes to stderr.
"""

import asyncio
import contextlib
import shutil
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TextIO

import orjson
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn

from config.loader import LoadedSettings
from worker.cli.listener import Listener, Received, listener_for
from worker.core.event_bus import EventBus
from worker.core.job import JobRecord, JobState
from worker.core.notification import TASK_PROGRESS
from worker.core.redact import Redactor
from worker.disk.file_lock import FileLock
from worker.disk.room import shortage_in, write_error
from worker.errors import StoreFull
from worker.insignia.sample.roster_writer import copy_sample, write_sample
from worker.observability import log_messages
from worker.observability.log_output import LogOptions, start_logging
from worker.runtime.job_request import JobRequest
from worker.service import factories
from worker.service.components import ShutdownSignal
from worker.service.factories import ADMIN_KEY_FILE
from worker.service.run import ServiceInfo, serve

USER = "hr-officer-1"
ROUND = 2569
KIND = "insignia_background_processing"
_LARGE = 50_000
_LIMIT_SECONDS = 300.0
"""How long to wait for all notifications."""
_SETTINGS = (
    "--Http:Url=http://127.0.0.1:0",
    "--Hub:Enabled=true",
    "--WebSocket:Progress=true",
    f"--WebSocket:DefaultUserId={USER}",
)
"""A free port, so that a running service is left alone; the dashboard is opened as the user of the demo."""
_BROKEN = "PK\x03\x04 this is a spreadsheet with a wrong name\n"


@dataclass(frozen=True, slots=True)
class DemoJob:
    """A job of the demo, and whether it must succeed."""

    title: str
    payload: dict[str, Any]
    succeeds: bool


JOBS = (
    DemoJob("2,000 officers, a good roster", {"round": ROUND, "roster": "roster.csv", "history": "history.csv"}, True),
    DemoJob("a spreadsheet with a CSV name", {"round": ROUND, "roster": "broken.csv", "organization": "broken"}, False),
    DemoJob(
        f"{_LARGE:,} officers",
        {"round": ROUND, "roster": "large.csv", "history": "large-history.csv", "organization": "large"},
        True,
    ),
)


@dataclass(slots=True)
class DemoScreen:
    """Draws the jobs of the demo, and keeps their notifications."""

    bars: Progress
    rows: dict[str, TaskID] = field(default_factory=dict)
    titles: dict[str, DemoJob] = field(default_factory=dict)
    results: dict[str, dict[str, Any]] = field(default_factory=dict)

    def submitted(self, job_id: str, job: DemoJob) -> None:
        self.titles[job_id] = job
        self.rows[job_id] = self.bars.add_task(job.title, total=100, note="queued")

    def received(self, received: Received) -> bool:
        """Show a notification; return whether it was a final one, and not progress."""
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
        """Print a line on stdout; on a terminal above the progress bars."""
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
    """Loads the settings of the command line, which override these defaults, with these additional variables."""

    def __call__(self, defaults: Sequence[str] = (), environ: Mapping[str, str] | None = None) -> LoadedSettings: ...


def run(load: LoadSettings, *, once: bool) -> int:
    """Run the demo; return 0 when every notification arrived with the expected outcome, else 1."""
    console = Console(file=sys.stderr, highlight=False, width=None if sys.stderr.isatty() else 120)
    configured = load()
    environ = {"STATE_DIRECTORY": str(configured.state_dir / "demo")}
    if configured.environment == "Production":  # the default: on this machine the dashboard needs no key
        environ["DOTNET_ENVIRONMENT"] = "Development"
    loaded = load(_SETTINGS, environ)
    folder = loaded.state_dir
    with _write_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = FileLock.acquire(folder.with_suffix(".lock"))  # two demos would delete each other's folder
    try:
        with _write_errors(folder):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(mode=0o700)
            log = (folder / "demo.log").open("w", encoding="utf-8")
        with log:
            _log_to(log, loaded)
            return asyncio.run(_perform(loaded, console, once=once))
    finally:
        lock.release()


@contextlib.contextmanager
def _write_errors(folder: Path) -> Iterator[None]:
    """Raise the errors of the disk as StoreFull and StoreUnwritable."""
    try:
        yield
    except OSError as exc:
        remedy = "give this user the right to it, or name another state directory (STATE_DIRECTORY)"
        raise write_error(exc, Path(exc.filename or folder), remedy) from None


def _log_to(stream: TextIO, loaded: LoadedSettings) -> None:
    """Write the log to a file, as the terminal shows the jobs."""
    options = LogOptions(formatter="Simple", environment=loaded.environment)
    start_logging(options, Redactor.of(factories.secrets_in(loaded.settings)), stream)


def _write_rosters(folder: Path) -> None:
    with _write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        copy_sample(folder)
        (folder / "broken.csv").write_text(_BROKEN, encoding="utf-8")
        write_sample(folder / "large.csv", count=_LARGE, history=folder / "large-history.csv")
    if (lack := shortage_in(folder)) is not None:
        raise StoreFull(lack)  # the service would wait for room, and say so in its log alone


async def _perform(loaded: LoadedSettings, console: Console, *, once: bool) -> int:
    with console.status("writing rosters of made-up officers"):
        folder = loaded.resolve_state(loaded.settings.insignia.data_directory)
        await asyncio.to_thread(_write_rosters, folder)
    async with _running(loaded) as running:
        console.print(f"🚀 the service is up at {running.url}; its log: {loaded.state_dir / 'demo.log'}")
        key = "" if loaded.development else f" (sign in with the key in {loaded.state_dir / ADMIN_KEY_FILE})"
        console.print(f"📊 the dashboard is at {running.url}/{key}")
        with Progress(*_columns(), console=console) as bars:
            show = DemoScreen(bars)
            await _watch(loaded, running, show)
        await _print_summary(console, loaded, running, show, stays=not once)
        if not once and not running.components.host.shutdown.event.is_set():
            console.print("\nThe service stays up until you press Ctrl-C.")
            await running.components.host.shutdown.event.wait()
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
async def _running(loaded: LoadedSettings) -> AsyncIterator[ServiceInfo]:
    """Run the real service in this process."""
    stopping = ShutdownSignal()
    ready: asyncio.Future[ServiceInfo] = asyncio.get_running_loop().create_future()
    emit = EventBus(log_messages.Logs())
    life = asyncio.ensure_future(serve(loaded, emit, shutdown=stopping, on_ready=ready.set_result))
    first: list[asyncio.Future[Any]] = [life, ready]
    await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
    if not ready.done():
        await life  # raises what prevented the start
    try:
        yield ready.result()
    finally:
        if not life.done():
            stopping.request("the demo is over")
        await life


async def _watch(loaded: LoadedSettings, running: ServiceInfo, show: DemoScreen) -> None:
    """Submit the jobs once the listener is connected, and follow them to the last notification."""
    listener = listener_for(loaded, USER, lambda _text: None)
    listener.url = running.url
    receiving = asyncio.ensure_future(_receive(listener, show))
    stopped = asyncio.ensure_future(running.components.host.shutdown.event.wait())
    try:
        async with asyncio.timeout(_LIMIT_SECONDS):
            await listener.connected.wait()
            for job in JOBS:
                request = JobRequest.model_validate({"taskType": KIND, "userId": USER, "payload": job.payload})
                accepted = await running.components.jobs.service.submit(request)
                show.submitted(accepted.job_id, job)
            either: list[asyncio.Future[Any]] = [receiving, stopped]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    except TimeoutError:
        show.bars.console.print(f"⚠️ not every notification arrived within {_LIMIT_SECONDS:g} s")
    finally:
        for waiting in (receiving, stopped):
            waiting.cancel()
        await asyncio.gather(receiving, stopped, return_exceptions=True)


async def _receive(listener: Listener, show: DemoScreen) -> None:
    async with contextlib.aclosing(listener.messages()) as messages:
        async for received in messages:
            if show.received(received) and show.complete:
                return


async def _print_summary(
    console: Console, loaded: LoadedSettings, running: ServiceInfo, show: DemoScreen, *, stays: bool
) -> None:
    """Print the outcomes, where the files are, and what to try next."""

    def line(text: str) -> None:
        console.print(text, markup=False, soft_wrap=True)

    line(f"\n📡 {len(show.results)} of {len(JOBS)} notifications received, as a browser gets them (stdout)")
    for job_id, message in show.results.items():
        record = await running.components.jobs.service.show(job_id)
        sign = "✅" if message["success"] else "❌"
        line(f"   {sign} {show.titles[job_id].title}: {_outcome_text(record, message['payload'])}")
    line(f"📂 results: {loaded.resolve_state(loaded.settings.insignia.output_directory)}")
    line("\nTry next:")
    program = _this_program()
    prefix = f"STATE_DIRECTORY={loaded.state_dir} {program}"
    for command in ("jobs list", "notifications list"):
        line(f"   {prefix} {command}")
    if stays:
        line(f"   open {running.url}/ in a browser, and drop a roster on it: {_sample(loaded, 'roster.csv')}")
        line(f"   {prefix} listen --user {USER} --WebSocket:Url={running.url}")
    line(f"   {program} evaluate {_sample(loaded, 'roster.csv')} --round {ROUND} \\")
    line(f"       --history {_sample(loaded, 'history.csv')} -o my-results/")


def _this_program() -> str:
    """Return how the shell starts this program again: `python -m worker` runs a file that is not executable."""
    if Path(sys.argv[0]).name == "__main__.py":
        return f"{sys.executable} -m worker"
    return sys.argv[0]


def _sample(loaded: LoadedSettings, name: str) -> Path:
    return loaded.resolve_state(loaded.settings.insignia.data_directory) / name


def _outcome_text(record: JobRecord, payload: dict[str, Any]) -> str:
    if record.state is not JobState.SUCCEEDED or record.result is None:
        return str(payload.get("error", ""))
    result = orjson.loads(record.result)
    counts = f"{result['nominate']:,} to nominate, {result['notEligible']:,} not eligible"
    return f"{counts}, {result['manualReview']:,} to review by hand; {result['badRows']:,} rows could not be read"
