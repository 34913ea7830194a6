"""The command line. Results go to stdout, everything else to stderr; an error is one line and an exit code."""

import contextlib
import io
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, ClassVar, TextIO, cast

import typer

from config.errors import ConfigError
from worker import __version__
from worker.cli.commands import controls, doctor, enqueue, evaluate, hub_clients, jobs, service, settings, store
from worker.cli.examples import add_examples
from worker.cli.invocation import split
from worker.cli.output import PROGRAM, print_error, print_warning
from worker.errors import WorkerError

USAGE, INTERNAL, CONFIGURATION, INTERRUPTED = 64, 70, 78, 130


class OutputLost(WorkerError):
    """Standard output cannot be written."""

    exit_code: ClassVar[int] = 74


_EPILOG = """\b
Settings may appear anywhere: --WebSocket:Url=https://hub.example, or --config FILE,
--contentRoot FOLDER, --environment NAME (appsettings.json < environment < command line).

\b
Exit codes: 0 success, 1 a job failed (enqueue --wait), 63 the stop was forced,
64 wrong command line, 65 wrong input, 69 something is unavailable, 70 internal error,
73 and 74 the store, 75 the store is in use, 78 wrong settings, 130 Ctrl-C.

\b
Examples:
  insignia-worker run --Http:Url=http://127.0.0.1:9000
  insignia-worker config show
  insignia-worker jobs list --state failed
"""

app = typer.Typer(
    name=PROGRAM,
    help="Runs long jobs from a durable queue and notifies their users, in the browser, when they end.",
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=_EPILOG,
)
for command in (
    service.run,
    service.hub,
    service.demo,
    enqueue.enqueue,
    evaluate.evaluate,
    hub_clients.listen,
    hub_clients.token,
    service.health,
    controls.stats,
    controls.audit,
):
    app.command()(command)
add_examples(app)
for name, group in {
    "jobs": jobs.jobs_app,
    "notifications": jobs.notifications_app,
    "kinds": controls.kinds_app,
    "workers": controls.workers_app,
    "config": settings.config_app,
    "db": store.db_app,
    "doctor": doctor.doctor_app,
}.items():
    add_examples(group, name)
    app.add_typer(group, name=name)


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


def run(argv: Sequence[str]) -> int:
    """Run a whole command line; return its exit code, also where its messages cannot be written."""
    try:
        return _run(argv)
    finally:
        for stream in (sys.stdout, sys.stderr):
            _discard_unless_writable(stream)


def _run(argv: Sequence[str]) -> int:
    try:
        with _clean_pipes():
            return _dispatch(argv)
    except typer.TyperException as exc:
        print_error(f"{exc.format_message()} (try --help)")
        return USAGE
    except ConfigError as exc:
        for warning in exc.warnings:
            print_warning(warning)
        for problem in exc.problems:
            print_error(problem)
        return CONFIGURATION
    except WorkerError as exc:
        print_error(exc)
        return exc.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except Exception as exc:
        if os.environ.get("INSIGNIA_WORKER_TRACE"):
            raise
        print_error(f"unexpected {type(exc).__name__}: {exc} (INSIGNIA_WORKER_TRACE=1 shows where)")
        return INTERNAL


def _dispatch(argv: Sequence[str]) -> int:
    rest, invocation = split(argv)
    outcome = app(rest, standalone_mode=False, obj=invocation, prog_name=PROGRAM)
    return outcome if isinstance(outcome, int) else 0


@contextlib.contextmanager
def _clean_pipes() -> Iterator[None]:
    """Write UTF-8 wherever the output goes; end quietly when its reader closes the pipe (`| head`).

    Raises OutputLost when the output cannot be written for another reason, such as a full disk.
    """
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(encoding="utf-8", errors="backslashreplace")
    original = sys.stdout
    direct = _DirectOutput.in_place_of(original)
    try:
        yield
        sys.stdout.flush()  # here its failure can still be reported
    except BrokenPipeError:
        _discard(sys.stdout)
    except SystemExit:  # what the command line's library makes of a closed pipe
        if direct is None or not isinstance(direct.error, BrokenPipeError):
            raise
        _discard(sys.stdout)
    except OSError as exc:
        if direct is None or direct.error is not exc:
            raise
        raise OutputLost(
            f"the output cannot be written: {exc.strerror}; free some space or send it elsewhere (what the command was "
            "to change may have been changed)"
        ) from exc
    finally:
        _discard_unless_writable(sys.stdout)
        sys.stdout = original


class _DirectOutput(io.FileIO):
    """The descriptor below standard output, which remembers its error.

    Nothing else tells an error of the output from one of another file: a buffer drops what it could not write.
    """

    error: OSError | None = None

    @classmethod
    def in_place_of(cls, stream: TextIO) -> "_DirectOutput | None":
        """Put one in the place of sys.stdout, with a buffer if that has one; None: the stream has no descriptor."""
        buffer = getattr(stream, "buffer", None)
        if not isinstance(stream, io.TextIOWrapper) or not isinstance(getattr(buffer, "raw", buffer), io.FileIO):
            return None
        direct = cls(stream.fileno(), "w", closefd=False)
        is_direct = isinstance(buffer, io.FileIO)  # PYTHONUNBUFFERED; Python itself puts a FileIO here
        sys.stdout = io.TextIOWrapper(
            cast("io.BufferedWriter", direct) if is_direct else io.BufferedWriter(direct),
            "utf-8",
            "backslashreplace",
            line_buffering=stream.line_buffering,
            write_through=is_direct,
        )
        return direct

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as exc:
            self.error = exc
            raise


def _discard_unless_writable(stream: TextIO) -> bool:
    """Discard what a stream cannot write, or Python would report it once more at the end; return whether it did."""
    try:
        stream.flush()
    except OSError:
        _discard(stream)
        return True
    return False


def _discard(stream: TextIO) -> None:
    with contextlib.suppress(OSError, ValueError):  # a stream without a descriptor writes to no disk
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
