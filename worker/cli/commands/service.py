"""`run`, `hub`, `demo` and `health`: the service as a process."""

import functools
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from worker import __version__
from worker.cli.output import print_json

if TYPE_CHECKING:
    from config.loader import LoadedSettings
    from worker.core.events import Emit
    from worker.observability.log_messages import Logs
    from worker.observability.log_output import LineStream
    from worker.observability.log_writer import LogWriter
    from worker.runtime.guard import ShutdownGuard


def run(context: typer.Context) -> None:
    """Run the service: worker, HTTP API, and the hub when Hub:Enabled."""
    loaded = context.obj.load()
    from worker.cli.event_loop import run_to_end
    from worker.disk.private_file import keep_files_private
    from worker.runtime.guard import MARKER_FILE
    from worker.service.components import ShutdownSignal
    from worker.service.reload import SettingsSource
    from worker.service.run import serve_with_restarts

    keep_files_private()
    logs = start_logs(loaded, log_writer())

    def apply_log_settings(reloaded: "LoadedSettings") -> None:
        logs.info = start_logs(reloaded, log_writer()).info

    source = SettingsSource(context.obj.read, apply_log_settings)
    shutdown = ShutdownSignal(owns_process=True, guard=start_guard(loaded, logs, loaded.state_dir / MARKER_FILE))
    service = serve_with_restarts(loaded, logs, shutdown, source, lambda: log_writer().dropped)
    run_to_end(service, log_writer().drain)


def hub(context: typer.Context) -> None:
    """Run the org-socket server alone, at Http:Url."""
    loaded = context.obj.load()
    from worker.cli.event_loop import run_to_end
    from worker.core.event_bus import EventBus
    from worker.disk.private_file import keep_files_private
    from worker.service import standalone
    from worker.service.components import ShutdownSignal

    keep_files_private()
    logs = start_logs(loaded, log_writer())
    shutdown = ShutdownSignal(owns_process=True, guard=start_guard(loaded, logs, Path(os.devnull)))
    run_to_end(standalone.serve_hub(loaded, EventBus(logs), shutdown), log_writer().drain)


def demo(
    context: typer.Context,
    once: Annotated[bool, typer.Option("--once", help="End when every notification has arrived.")] = False,
) -> None:
    """Run real jobs on sample data on this machine; show their progress and the notifications a browser gets."""
    from worker.cli import demo

    raise typer.Exit(demo.run(context.obj.load, once=once))


def health(
    context: typer.Context,
    timeout: Annotated[float, typer.Option(min=0.1, max=60, help="How many seconds to wait for the answer.")] = 4.0,
) -> None:
    """Query the running service; exit 0 when it is ready, 69 when it is not or does not answer in time."""
    from worker.cli.store_client import service_client
    from worker.errors import Unavailable

    client = service_client(context.obj)
    client.timeout = timeout
    report = client.request("GET", "/health")
    print_json(report)
    if report["status"] == "Unhealthy":
        raise typer.Exit(Unavailable.exit_code)


@functools.cache
def log_writer() -> "LogWriter":
    """Return the one writer of this process's log, on stderr."""
    from worker.observability.log_output import report_dropped_lines
    from worker.observability.log_writer import LogWriter

    writer = LogWriter(sys.stderr.fileno())
    writer.on_dropped = report_dropped_lines
    return writer


def start_guard(loaded: "LoadedSettings", emit: "Emit", marker: Path) -> "ShutdownGuard | None":
    """Start the process that bounds a stop; without it, a handler that blocks can delay one."""
    from worker.core.events import Warned
    from worker.runtime.guard import UNBOUNDED, ShutdownGuard

    try:
        return ShutdownGuard(marker, loaded.settings.host_options.shutdown_timeout, emit)
    except OSError as exc:
        emit(Warned(f"{UNBOUNDED}: its guard process cannot start ({exc.strerror})"))
        return None


def start_logs(loaded: "LoadedSettings", stream: "LineStream | None" = None) -> "Logs":
    """Start logging as the settings say, to stderr or another stream; return the listener that writes events."""
    from worker.core.redact import Redactor
    from worker.observability import log_messages
    from worker.observability.log_output import LogOptions, enabled, start_logging
    from worker.service import factories

    settings = loaded.settings.logging
    levels = dict(settings.log_level)
    options = LogOptions(
        formatter=settings.console.formatter_name,
        emoji=settings.emoji,
        levels=levels,
        environment=loaded.environment,
        version=__version__,
    )
    start_logging(options, Redactor.of(factories.secrets_in(loaded.settings)), stream)
    return log_messages.Logs(info=enabled("INFO", levels))
