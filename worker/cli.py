"""The command line. Results go to stdout, everything else to stderr; errors are one line and an exit code."""

import asyncio
import contextlib
import gc
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote, urlencode

import orjson
import typer

from config.layers import Loaded, load
from config.problems import ConfigError
from worker import __version__
from worker.errors import Discard, Unavailable, WorkerError

if TYPE_CHECKING:
    from worker.client import Client

PROGRAM = "insignia-worker"
USAGE, INTERNAL, CONFIGURATION, INTERRUPTED = 64, 70, 78, 130
_HOST_OPTIONS = {"config": "config_file", "contentroot": "content_root", "environment": "environment"}
_HOST_SETTINGS = {"shutdowntimeoutseconds"}
"""Host keys of .NET that are settings of ours by another name."""


@dataclass(slots=True)
class Invocation:
    """What stands on the command line for every command: settings, and where settings come from."""

    settings: list[str] = field(default_factory=list)
    config_file: Path | None = None
    content_root: Path | None = None
    environment: str | None = None

    def load(self, defaults: Sequence[str] = (), environ: Mapping[str, str] | None = None) -> Loaded:
        """The settings; every warning is told. ConfigError names all faults.

        `defaults` are settings that those of the command line may still override; `environ` is added to ours.
        """
        loaded = self.read(defaults, environ)
        for warning in loaded.warnings:
            say(f"warning: {warning}")
        return loaded

    def read(self, defaults: Sequence[str] = (), environ: Mapping[str, str] | None = None) -> Loaded:
        """The same without telling of warnings: they travel in the result."""
        return load(
            [*defaults, *self.settings],
            environ={**os.environ, **(environ or {})},
            cwd=Path.cwd(),
            config_file=self.config_file,
            content_root=self.content_root,
            environment=self.environment,
        )


def say(text: str) -> None:
    """A line for people, on stderr."""
    print(f"{PROGRAM}: {text}" if not text.startswith(" ") else text, file=sys.stderr)


def put(value: Any) -> None:
    """One JSON line for machines, on stdout; Thai stays Thai."""
    sys.stdout.buffer.write(orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE))
    sys.stdout.buffer.flush()


def split(argv: Sequence[str]) -> tuple[list[str], Invocation]:
    """Settings in .NET's spelling may stand anywhere; the rest is the command with its own options."""
    rest: list[str] = []
    invocation = Invocation()
    words = iter(argv)
    for word in words:
        name, equals, value = word.partition("=")
        option = _host_option(name, spelled_out=bool(equals))
        if option is not None:
            chosen = value if equals else next(words, None)
            if chosen is None:
                raise typer.BadParameter(f"{name} needs a value")
            _set_host_option(invocation, option, chosen)
        elif _is_setting(word):
            invocation.settings.append(word)
            if not equals and name.startswith(("--", "/")) and (following := next(words, None)) is not None:
                invocation.settings.append(following)
        else:
            rest.append(word)
    return rest, invocation


def _host_option(name: str, *, spelled_out: bool) -> str | None:
    """`--environment X`, `/environment X`, `environment=X`: as .NET's host reads them, in any case."""
    bare = name.removeprefix("--").removeprefix("/").lower()
    return _HOST_OPTIONS.get(bare) if name.startswith(("--", "/")) or spelled_out else None


def _set_host_option(invocation: Invocation, name: str, value: str) -> None:
    setattr(invocation, name, value if name == "environment" else Path(value))


def _is_setting(word: str) -> bool:
    """`--Section:Key…` is ours whatever the section; `/Section:Key` and `Section:Key=` only for sections we know."""
    name = word.partition("=")[0]
    if name.removeprefix("--").removeprefix("/").lower() in _HOST_SETTINGS and name.startswith(("--", "/")):
        return True
    if ":" not in name or "://" in name:
        return False
    if name.startswith("--"):
        return True
    section = name.removeprefix("/").partition(":")[0].lower()
    return section in _sections() and (name.startswith("/") or "=" in word)


def _sections() -> set[str]:
    from config.settings import Settings

    return {name.replace("_", "") for name in Settings.model_fields}


app = typer.Typer(
    name=PROGRAM,
    help="Runs long jobs from a durable queue and tells their users, in the browser, when they end.",
    add_completion=False,
    rich_markup_mode=None,
    epilog="Settings may follow anywhere: --WebSocket:Url=… (appsettings.json < environment < command line).",
)
jobs_app = typer.Typer(help="Look at jobs, cancel and retry them.", rich_markup_mode=None)
notifications_app = typer.Typer(help="Look at notifications, send one again.", rich_markup_mode=None)
config_app = typer.Typer(help="Look at the settings and check them.", rich_markup_mode=None)
db_app = typer.Typer(help="Look after the store.", rich_markup_mode=None)
app.add_typer(jobs_app, name="jobs")
app.add_typer(notifications_app, name="notifications")
app.add_typer(config_app, name="config")
app.add_typer(db_app, name="db")
doctor_app = typer.Typer(help="Examine what the service depends on.", rich_markup_mode=None)
app.add_typer(doctor_app, name="doctor")


def run(argv: Sequence[str]) -> int:
    """The exit code of a whole command line."""
    try:
        with _clean_pipes():
            return _dispatch(argv)
    except typer.TyperException as exc:
        say(f"{exc.format_message()} (try --help)")
        return USAGE
    except ConfigError as exc:
        for warning in exc.warnings:
            say(f"warning: {warning}")
        for problem in exc.problems:
            say(str(problem))
        return CONFIGURATION
    except WorkerError as exc:
        say(str(exc))
        return exc.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except Exception as exc:
        if os.environ.get("INSIGNIA_WORKER_TRACE"):
            raise
        say(f"unexpected {type(exc).__name__}: {exc} (INSIGNIA_WORKER_TRACE=1 shows where)")
        return INTERNAL


def _dispatch(argv: Sequence[str]) -> int:
    rest, invocation = split(argv)
    outcome = app(rest, standalone_mode=False, obj=invocation, prog_name=PROGRAM)
    return outcome if isinstance(outcome, int) else 0


@contextlib.contextmanager
def _clean_pipes() -> Iterator[None]:
    """A reader that goes away (`| head`) ends us quietly; UTF-8 wherever the output goes."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(encoding="utf-8", errors="backslashreplace")
    try:
        yield
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


# -- the service -----------------------------------------------------------------------------------------------------


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and end.")] = False,
) -> None:
    if version:
        print(f"{PROGRAM} {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help(), file=sys.stderr)
        raise typer.Exit(USAGE)


@app.command("run")
def run_service(context: typer.Context) -> None:
    """Run the service: worker, HTTP door, and the hub when Hub:Enabled."""
    loaded = context.obj.load()
    from worker import service
    from worker.parts import Stopping
    from worker.renewal import Source

    logs = start_logs(loaded)

    def log_anew(renewed: Loaded) -> None:
        logs.info = start_logs(renewed).info

    source = Source(context.obj.read, log_anew)
    in_loop(service.serve_for_ever(loaded, logs, Stopping(hard=True), source))


@app.command()
def hub(context: typer.Context) -> None:
    """Run the org-socket server alone, at Http:Url."""
    loaded = context.obj.load()
    from worker import beside
    from worker.emitter import Emitter

    emit = Emitter(start_logs(loaded))
    in_loop(beside.serve_hub(loaded, emit))


@app.command()
def demo(
    context: typer.Context,
    once: Annotated[bool, typer.Option("--once", help="End when every notification has arrived.")] = False,
) -> None:
    """Everything on this machine with the sample roster: real jobs, live progress, the browser's notifications."""
    from worker import demo as demonstration

    raise typer.Exit(demonstration.run(context.obj.load, once=once))


def start_logs(loaded: Loaded) -> Any:
    """Logging as the settings want it; gives the listener for events."""
    from worker import assembly, logs
    from worker.console import LogOptions, enabled, start_logging
    from worker.redact import Redactor

    settings = loaded.settings.logging
    levels = dict(settings.log_level)
    options = LogOptions(
        formatter=settings.console.formatter_name,
        emoji=settings.emoji,
        levels=levels,
        environment=loaded.environment,
        version=__version__,
    )
    start_logging(options, Redactor.of(assembly.secrets_in(loaded.settings)))
    return logs.Logs(info=enabled("INFO", levels))


def in_loop(work: Awaitable[None]) -> None:
    """Run it to its end, on uvloop where there is one."""
    try:
        import uvloop
    except ImportError:
        factory = None
    else:
        factory = uvloop.new_event_loop

    async def body() -> None:
        await work
        await _leave()

    _spare_the_collector()
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(body())


def _spare_the_collector() -> None:
    """What is there now stays for good, and a job leaves no cycles: looking for some at every 700th new object took
    a fifteenth of the worker's time."""
    gc.freeze()
    gc.set_threshold(5_000, 10, 10)


async def _leave() -> None:
    """What was left behind may refuse to end; the loop's own close would wait for it for ever."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for straggler in left:
        straggler.cancel()
    if left and (await asyncio.wait(left, timeout=0.5))[1]:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


# -- jobs ------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def store_client(loaded: Loaded) -> Iterator["Client"]:
    """The service's socket, or our own for a moment."""
    from worker.beside import serve_commands
    from worker.client import connected

    def be_the_service(stop: asyncio.Event, ready: Callable[[], None]) -> Awaitable[None]:
        return serve_commands(loaded, stop, ready, lambda path: say(f"new store created at {path}"))

    with connected(loaded.state_dir, be_the_service) as client:
        yield client


@app.command()
def enqueue(
    context: typer.Context,
    kind: Annotated[str, typer.Argument(help="The task type, e.g. insignia_background_processing.")],
    user: Annotated[str | None, typer.Option("--user", help="Who is told; else WebSocket:DefaultUserId.")] = None,
    payload: Annotated[str | None, typer.Option("--payload", help="A JSON object, or @FILE.")] = None,
    key: Annotated[
        str | None, typer.Option("--id", help="Idempotency key: the same again answers with the first job.")
    ] = None,
    file: Annotated[
        list[str] | None,
        typer.Option("--file", help="FIELD=@PATH: send the file along, as roster=@r.csv. May be given again."),
    ] = None,
    priority: Annotated[
        int, typer.Option("--priority", min=-100, max=100, help="Of the jobs that are due, the highest go first.")
    ] = 0,
    stdin: Annotated[
        bool, typer.Option("--stdin", help="One {userId?, payload, id?} per line in, one job id per line out.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Stay until the job has ended; exit 1 when it failed.")] = False,
) -> None:
    """Put a job on disk; prints its id."""
    loaded = context.obj.load()
    if stdin and (payload is not None or key is not None or file or wait or priority):
        raise typer.BadParameter(
            "--stdin takes payloads and ids from its lines, no files and no priority, and cannot --wait"
        )
    files = dict(_file(text) for text in file or ())
    with store_client(loaded) as client:
        if stdin:
            _enqueue_lines(client, kind, user)
            return
        job = (
            {"taskType": kind, "payload": _payload(payload)}
            | ({"userId": user} if user else {})
            | ({"id": key} if key else {})
            | ({"priority": priority} if priority else {})
        )
        accepted = client.upload(job, files) if files else client.ask("POST", "/api/v1/jobs", job)
        print(accepted["jobId"], flush=True)
    if wait:
        raise typer.Exit(_wait_for(loaded, accepted["jobId"]))


def _file(text: str) -> tuple[str, Path]:
    field, sign, path = text.partition("=@")
    if not (field.isidentifier() and sign and path):
        raise typer.BadParameter(f"--file {text}: write FIELD=@PATH, as roster=@r.csv")
    if not Path(path).is_file():
        raise Discard(f"there is no file {path}")
    return field, Path(path)


def _payload(text: str | None) -> Any:
    if text is None:
        return {}
    where = "--payload"
    if text.startswith("@"):
        where = text[1:]
        try:
            text = sys.stdin.read() if where == "-" else Path(where).read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as exc:
            raise Discard(f"cannot read the payload file {where}: {getattr(exc, 'strerror', None) or exc}") from None
    return _json_object(text, where)


def _json_object(text: str | bytes, where: str) -> dict[str, Any]:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as exc:
        raise Discard(f"{where} is not valid JSON: {exc}") from None
    if not isinstance(value, dict):
        raise Discard(f"{where} must be a JSON object, not {type(value).__name__}")
    return value


_LINES_AT_ONCE = 1000


def _enqueue_lines(client: "Client", kind: str, user: str | None) -> None:
    """Each block is on disk before its ids are printed; a bad line stops there and says which."""
    block: list[dict[str, Any]] = []
    first = 1
    for number, line in enumerate(sys.stdin.buffer, 1):
        if not line.strip():
            continue
        try:
            block.append(_line_job(line, number, kind, user))
        except Discard:
            _send_block(client, block, first)
            raise
        if len(block) >= _LINES_AT_ONCE:
            _send_block(client, block, first)
            block, first = [], number + 1
    _send_block(client, block, first)


def _line_job(line: bytes, number: int, kind: str, user: str | None) -> dict[str, Any]:
    entry = _json_object(line, f"line {number}")
    unknown = entry.keys() - {"userId", "payload", "id"}
    if unknown:
        raise Discard(f"line {number}: unknown {', '.join(sorted(unknown))}; a line has userId, payload and id")
    return {"taskType": kind, "payload": {}} | ({"userId": user} if user else {}) | entry


def _send_block(client: "Client", block: list[dict[str, Any]], first: int) -> None:
    if not block:
        return
    try:
        answers = client.ask("POST", "/api/v1/jobs/batch", {"jobs": block})["jobs"]
    except WorkerError as exc:
        raise type(exc)(f"lines from {first} on: {exc}") from None
    for answer in answers:
        print(answer["jobId"] if answer["status"] != "conflict" else f"conflict {answer['jobId']}")
    sys.stdout.flush()


def _wait_for(loaded: Loaded, job_id: str) -> int:
    """Until the job has ended, across restarts of the service; 1 when it did not succeed."""
    from worker.client import Client
    from worker.door.app import SOCKET_NAME

    client = Client(loaded.state_dir / SOCKET_NAME)
    with _progress_bar() as show:
        told = False
        while True:
            try:
                job = client.ask("GET", f"/api/v1/jobs/{job_id}?wait={0.5 if show else 30}")
            except Unavailable:
                if not told:
                    say(f"no service runs yet; the job waits in the store (start one: {PROGRAM} run)")
                told = True
                time.sleep(0.3)
                continue
            if job["status"] in ("succeeded", "failed", "cancelled"):
                break
            if show:
                show(job)
    detail = f": {job['error']}" if job.get("error") else ""
    say(f"job {job_id} {job['status']}{detail}")
    return 0 if job["status"] == "succeeded" else 1


@contextlib.contextmanager
def _progress_bar() -> Iterator[Callable[[dict[str, Any]], None] | None]:
    """A bar where somebody looks at one; it is told of the job now and then."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(file=sys.stderr), transient=True) as bar:
        row = bar.add_task("queued", total=100)

        def show(job: dict[str, Any]) -> None:
            progress = job.get("progress", {"percent": 0, "note": ""})
            bar.update(row, completed=progress["percent"], description=progress["note"] or job["status"])

        yield show


@jobs_app.command("list")
def list_jobs(
    context: typer.Context,
    state: Annotated[str | None, typer.Option(help="queued, running, succeeded, failed or cancelled.")] = None,
    kind: Annotated[str | None, typer.Option(help="Task type.")] = None,
    user: Annotated[str | None, typer.Option(help="User id.")] = None,
    text: Annotated[str | None, typer.Option(help="Found anywhere in id, payload, error or result.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500)] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="JSON lines, as when piped.")] = False,
) -> None:
    """The newest jobs first."""
    asked = {"state": state, "taskType": kind, "userId": user, "text": text, "limit": str(limit)}
    target = "/api/v1/jobs?" + urlencode({name: value for name, value in asked.items() if value is not None})
    with store_client(context.obj.load()) as client:
        found = client.ask("GET", target)["jobs"]
    columns = ("jobId", "taskType", "userId", "status", "attempt", "createdAt", "duration", "error")
    _show_rows(found, columns, as_json=as_json)


def _show_rows(rows: list[dict[str, Any]], columns: Sequence[str], *, as_json: bool) -> None:
    if as_json or not sys.stdout.isatty():
        for row in rows:
            put(row)
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(*columns, box=None, header_style="bold")
    for row in rows:
        table.add_row(*("" if row.get(name) is None else str(row[name]) for name in columns))
    Console().print(table)


@jobs_app.command("show")
def show_job(context: typer.Context, job_id: str) -> None:
    """One job with payload, result and error, as JSON."""
    _ask_and_put(context, "GET", f"/api/v1/jobs/{quote(job_id, safe='')}")


@jobs_app.command("cancel")
def cancel_job(context: typer.Context, job_id: str) -> None:
    """Cancel a waiting job, or ask a running one to stop."""
    _ask_and_put(context, "POST", f"/api/v1/jobs/{quote(job_id, safe='')}/cancel")


@jobs_app.command("retry")
def retry_job(context: typer.Context, job_id: str) -> None:
    """Start the next run of a job that has ended."""
    _ask_and_put(context, "POST", f"/api/v1/jobs/{quote(job_id, safe='')}/retry")


@notifications_app.command("list")
def list_notifications(
    context: typer.Context,
    state: Annotated[str | None, typer.Option(help="pending, delivered or dead.")] = None,
    user: Annotated[str | None, typer.Option(help="User id.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500)] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="JSON lines, as when piped.")] = False,
) -> None:
    """The newest notifications first."""
    asked = {"state": state, "userId": user, "limit": str(limit)}
    target = "/api/v1/notifications?" + urlencode({name: value for name, value in asked.items() if value is not None})
    with store_client(context.obj.load()) as client:
        found = client.ask("GET", target)["notifications"]
    columns = ("notificationId", "jobId", "userId", "sequence", "status", "createdAt", "deliveredAt", "reason")
    _show_rows(found, columns, as_json=as_json)


@notifications_app.command("resend")
def resend_notification(context: typer.Context, notification_id: str) -> None:
    """Send a notification once more; receivers see it marked as a redelivery."""
    _ask_and_put(context, "POST", f"/api/v1/notifications/{quote(notification_id, safe='')}/resend")


def _ask_and_put(context: typer.Context, method: str, target: str) -> None:
    with store_client(context.obj.load()) as client:
        put(client.ask(method, target))


# -- the rules without the queue -------------------------------------------------------------------------------------


@app.command()
def evaluate(
    context: typer.Context,
    roster: Annotated[Path, typer.Argument(help="The officers: CSV or JSON.")],
    round_be: Annotated[int, typer.Option("--round", help="The round, a Buddhist year, e.g. 2569.")],
    history: Annotated[Path | None, typer.Option(help="person_id,decoration,received: CSV or JSON.")] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="FILE.json, FILE.csv or a folder; else JSON to stdout.")
    ] = None,
) -> None:
    """Evaluate a roster against the insignia rules, without the queue."""
    loaded = context.obj.load()
    from worker import evaluation

    evaluation.run(loaded, roster, round_be, history, output)


# -- receiving -------------------------------------------------------------------------------------------------------


@app.command()
def listen(
    context: typer.Context,
    user: Annotated[str, typer.Option("--user", help="Whose notifications.")],
    count: Annotated[int | None, typer.Option(min=1, help="End after so many.")] = None,
) -> None:
    """Receive like a browser, one JSON line per notification."""
    loaded = context.obj.load()
    from worker import beside

    async def receive() -> None:
        listener = beside.listener_for(loaded, user, say)
        left = count
        async with contextlib.aclosing(listener.messages()) as messages:
            async for received in messages:
                put({"event": received.event, "message": received.message, "user": received.user})
                left = None if left is None else left - 1
                if left == 0:
                    return

    in_loop(receive())


@app.command()
def token(
    context: typer.Context,
    user: Annotated[str, typer.Option("--user", help="Whom it speaks for.")],
    publish: Annotated[bool, typer.Option("--publish", help="May send notifications: for workers.")] = False,
    days: Annotated[float, typer.Option(min=0.001, max=3650, help="How long it is good.")] = 30.0,
) -> None:
    """Print a JWT for the hub."""
    loaded = context.obj.load()
    from worker import beside

    print(beside.token_for(loaded, user, publish=publish, days=days))


# -- settings and health ---------------------------------------------------------------------------------------------


@config_app.command("show")
def show_config(context: typer.Context, as_json: Annotated[bool, typer.Option("--json")] = False) -> None:
    """Every setting with its value and where it comes from; secrets are masked."""
    from config.show import rows

    loaded = context.obj.load()
    found = [{"key": row.key, "value": row.value, "origin": str(row.origin)} for row in rows(loaded)]
    _show_rows(found, ("key", "value", "origin"), as_json=as_json)


@config_app.command("check")
def check_config(context: typer.Context) -> None:
    """Say every fault of the settings; exit 78 when there is one."""
    loaded = context.obj.load()
    from worker import assembly

    assembly.registry_of(loaded.settings)
    files = ", ".join(str(path) for path in loaded.files) or "no file: defaults"
    say(f"the settings are valid ({loaded.environment}; {files})")


@db_app.command("check")
def check_store(context: typer.Context) -> None:
    """Read the whole store and say whether it is sound."""
    loaded = context.obj.load()
    from worker import beside

    asyncio.run(beside.check_store(loaded))
    say("the store is sound")


@doctor_app.command("ws")
def examine_hub(
    context: typer.Context,
    url: Annotated[str | None, typer.Argument(help="The server; else WebSocket:Url.")] = None,
    token: Annotated[str | None, typer.Option(help="Else WebSocket:Token or TokenFile, else one of our own.")] = None,
    user: Annotated[str | None, typer.Option(help="Who is sent the test notification; else the token's sub.")] = None,
    listener_token: Annotated[str | None, typer.Option(help="Of that user, to see whether it comes.")] = None,
    publish: Annotated[
        bool | None, typer.Option("--publish/--no-publish", help="Send a test notification; else if the token may.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Do not wait for the server's own ping.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object at the end.")] = False,
) -> None:
    """Test any org-socket server; exit 0, 69 when it cannot be reached, 65 when it does not do what it should."""
    loaded = context.obj.load()
    from worker import doctor

    try:
        address = doctor.reachable(url or loaded.settings.web_socket.url)
    except ValueError as exc:
        raise typer.BadParameter(str(exc)) from None
    chosen = {"user": user, "listener_token": listener_token, "publish": publish, "wait_for_ping": not quick}
    patient = doctor.patient_for(loaded, address, token, **chosen)
    checks = doctor.run(patient, (lambda _: None) if as_json else (lambda check: print(doctor.line_of(check))))
    if as_json:
        put({"url": address, "healthy": doctor.exit_code(checks) == 0, "checks": checks})
    raise typer.Exit(doctor.exit_code(checks))


@db_app.command("recover")
def recover_store(context: typer.Context) -> None:
    """Put what can be read of a damaged store into a new one; the damaged file is kept beside it."""
    loaded = context.obj.load()
    from worker import beside

    saved = beside.recover_store(loaded)
    say(
        f"{saved.jobs:,} jobs and {saved.notifications:,} notifications saved; the damaged file is kept as {saved.kept}"
    )
    if saved.unreadable:
        say(f"{saved.unreadable:,} places could not be read; what was there is lost")
    if saved.rewritten:
        say(f"{saved.rewritten:,} lost notifications were written again: {PROGRAM} notifications list --state dead")


@app.command()
def health(context: typer.Context) -> None:
    """Ask the running service; exit 0 when it is ready, 69 when it is not."""
    loaded = context.obj.load()
    from worker.client import Client
    from worker.door.app import SOCKET_NAME

    client = Client(loaded.state_dir / SOCKET_NAME)
    answer = client.ask("GET", "/health")
    put(answer)
    if answer["status"] == "Unhealthy":
        raise typer.Exit(Unavailable.exit_code)
