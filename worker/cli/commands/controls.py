"""`kinds`, `workers`, `stats` and `audit`: what the running service does, and how much of it."""

from collections.abc import Mapping
from typing import Annotated, Any, Final
from urllib.parse import quote

import typer

from worker.cli.commands.jobs import AsJson, get_page
from worker.cli.output import Column, local_time, print_json, print_rows

Kind = Annotated[str, typer.Argument(help="The kind of job, as `kinds list` shows it.")]

kinds_app = typer.Typer(help="List kinds of jobs; pause and resume one.", rich_markup_mode=None)
workers_app = typer.Typer(help="Show what runs; change the number of slots.", rich_markup_mode=None)

_KINDS: Final = "/api/v1/task-types"

_KIND_COLUMNS: Final = (
    Column("taskType", "kind"),
    Column("execution", "runs in"),
    Column("paused", "paused", lambda paused: "yes" if paused else ""),
    Column("queued", "waiting"),
)
_RUNNING_COLUMNS: Final = (
    Column("jobId", "id"),
    Column("startedAt", "started", local_time),
    Column("percent", "progress", lambda percent: f"{percent:.0f} %"),
    Column("taskType", "kind", overflow="ellipsis"),
    Column("userId", "user", overflow="ellipsis"),
    Column("note", "note", overflow="ellipsis"),
)
_AUDIT_COLUMNS: Final = (
    Column("at", "when", local_time),
    Column("actor", "who"),
    Column("action", "what"),
    Column("target", "target", overflow="ellipsis"),
)


@kinds_app.command("list")
def list_kinds(context: typer.Context, as_json: AsJson = False) -> None:
    """List the kinds of jobs that the service runs."""
    print_rows(_request(context, "GET", _KINDS)["taskTypes"], _KIND_COLUMNS, as_json=as_json)


@kinds_app.command("pause")
def pause_kind(context: typer.Context, kind: Kind) -> None:
    """Start no more jobs of this kind, not even after a restart; running ones continue."""
    print_json(_request(context, "POST", f"{_KINDS}/{quote(kind, safe='')}/pause"))


@kinds_app.command("resume")
def resume_kind(context: typer.Context, kind: Kind) -> None:
    """Start jobs of this kind again."""
    print_json(_request(context, "POST", f"{_KINDS}/{quote(kind, safe='')}/resume"))


@workers_app.command("show")
def show_workers(context: typer.Context, as_json: AsJson = False) -> None:
    """List the jobs that run now; with --json the whole worker."""
    [worker] = _request(context, "GET", "/api/v1/workers")["workers"]
    if as_json:
        print_json(worker)
        return
    print_rows(worker["running"], _RUNNING_COLUMNS, as_json=False)


@workers_app.command("set")
def set_workers(
    context: typer.Context,
    concurrency: Annotated[int | None, typer.Option(min=1, max=10_000, help="How many jobs run at once.")] = None,
    quiet: Annotated[
        bool | None, typer.Option("--quiet/--no-quiet", help="Finish what runs and start nothing new.")
    ] = None,
) -> None:
    """Change the number of slots, or stop taking new jobs; holds until the next start."""
    change = {name: value for name, value in (("concurrency", concurrency), ("quiet", quiet)) if value is not None}
    if not change:
        raise typer.BadParameter("name at least one of --concurrency, --quiet and --no-quiet")
    print_json(_request(context, "PATCH", "/api/v1/workers", change))


def stats(context: typer.Context) -> None:
    """Print the figures of the whole service as JSON: jobs by state, ages, rates, durations."""
    print_json(_request(context, "GET", "/api/v1/stats"))


def audit(
    context: typer.Context,
    actor: Annotated[
        str | None, typer.Option(help="Only changes by this caller: the name of an API key, or local for this machine.")
    ] = None,
    action: Annotated[str | None, typer.Option(help="Only changes of this sort, such as jobs.cancel.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many entries, at most.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List who changed what, the newest first."""
    found = get_page(context, "/api/v1/audit", {"actor": actor, "action": action, "limit": str(limit)})
    print_rows(found["entries"], _AUDIT_COLUMNS, as_json=as_json)


def _request(context: typer.Context, method: str, target: str, body: Mapping[str, Any] | None = None) -> Any:
    """Ask the running service. Raises Unavailable where none runs: only it knows the answer."""
    from worker.cli.store_client import service_client

    return service_client(context.obj).request(method, target, None if body is None else dict(body))
