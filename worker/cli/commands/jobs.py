"""`jobs` and `notifications`: lists, single jobs, and what can be done by hand."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Final
from urllib.parse import quote, urlencode

import typer

from worker.cli.output import Column, duration_text, local_time, print_json, print_message, print_rows

jobs_app = typer.Typer(help="List, show, cancel and retry jobs.", rich_markup_mode=None)
notifications_app = typer.Typer(help="List notifications, send one again, set one aside.", rich_markup_mode=None)

Limit = Annotated[int, typer.Option(min=1, max=500, help="How many rows, at most.")]
JobId = Annotated[str, typer.Argument(help="The whole id, as `jobs list` shows it.")]
NotificationId = Annotated[str, typer.Argument(help="The whole id, as `notifications list` shows it.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON lines, as when piped.")]


class ListedState(StrEnum):
    """The states of jobs. Named here as well, because the module that has them takes time to import."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class ListedDelivery(StrEnum):
    """The states of notifications, as the API names them."""

    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"


JOB_COLUMNS: Final = (
    Column("jobId", "id"),
    Column("status", "state"),
    Column("createdAt", "created", local_time),
    Column("durationMs", "took", duration_text),
    Column("taskType", "kind", overflow="ellipsis"),
    Column("error", "error", overflow="ellipsis"),
    Column("userId", "user", overflow="ellipsis"),
    Column("attempt", "attempt", overflow="ellipsis"),
)
NOTIFICATION_COLUMNS: Final = (
    Column("notificationId", "id"),
    Column("status", "state"),
    Column("createdAt", "created", local_time),
    Column("deliveredAt", "delivered", local_time),
    Column("reason", "reason", overflow="ellipsis"),
    Column("userId", "user", overflow="ellipsis"),
    Column("sequence", "sequence", overflow="ellipsis"),
)


@jobs_app.command("list")
def list_jobs(
    context: typer.Context,
    state: Annotated[ListedState | None, typer.Option(help="Only jobs in this state.")] = None,
    kind: Annotated[str | None, typer.Option(help="Only jobs of this kind.")] = None,
    user: Annotated[str | None, typer.Option(help="Only jobs of this user.")] = None,
    text: Annotated[
        str | None, typer.Option(help="Only jobs with this text anywhere in id, user, payload, error or result.")
    ] = None,
    limit: Limit = 50,
    cursor: Annotated[
        str | None, typer.Option(help="Continue an earlier list: the cursor that it printed at its end.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List jobs, the newest first."""
    query = {"status": state, "taskType": kind, "userId": user, "text": text, "limit": str(limit), "cursor": cursor}
    found = get_page(context, "/api/v1/jobs", query)
    print_rows(found["jobs"], JOB_COLUMNS, as_json=as_json)
    if found.get("cursor"):
        print_message(f"there are more: --cursor {found['cursor']}")


@jobs_app.command("show")
def show_job(context: typer.Context, job_id: JobId) -> None:
    """Show a job with payload, result and error, as JSON."""
    _send_and_print(context, "GET", f"/api/v1/jobs/{quote(job_id, safe='')}")


@jobs_app.command("cancel")
def cancel_job(context: typer.Context, job_id: JobId) -> None:
    """Cancel a waiting job, or ask a running one to stop."""
    _send_and_print(context, "POST", f"/api/v1/jobs/{quote(job_id, safe='')}/cancel")


@jobs_app.command("retry")
def retry_job(context: typer.Context, job_id: JobId) -> None:
    """Start the next run of a job that has ended."""
    _send_and_print(context, "POST", f"/api/v1/jobs/{quote(job_id, safe='')}/retry")


@notifications_app.command("list")
def list_notifications(
    context: typer.Context,
    state: Annotated[ListedDelivery | None, typer.Option(help="Only notifications in this state.")] = None,
    user: Annotated[str | None, typer.Option(help="Only notifications of this user.")] = None,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """List notifications, the newest first."""
    query = {"status": state, "userId": user, "limit": str(limit)}
    found = get_page(context, "/api/v1/notifications", query)["notifications"]
    print_rows(found, NOTIFICATION_COLUMNS, as_json=as_json)


@notifications_app.command("resend")
def resend_notification(context: typer.Context, notification_id: NotificationId) -> None:
    """Send a notification once more; receivers see it marked as a redelivery."""
    _send_and_print(context, "POST", f"/api/v1/notifications/{quote(notification_id, safe='')}/resend")


@notifications_app.command("set-aside")
def set_aside_notification(context: typer.Context, notification_id: NotificationId) -> None:
    """Stop sending a waiting notification: it counts as dead, and can be sent again with resend."""
    _send_and_print(context, "POST", f"/api/v1/notifications/{quote(notification_id, safe='')}/set-aside")


def get_page(context: typer.Context, path: str, query: Mapping[str, str | None]) -> Any:
    """Return the answer to a list request; parameters that are None are left out."""
    from worker.cli.store_client import store_client

    target = f"{path}?{urlencode({name: value for name, value in query.items() if value is not None})}"
    with store_client(context.obj) as client:
        return client.request("GET", target)


def _send_and_print(context: typer.Context, method: str, target: str) -> None:
    from worker.cli.store_client import store_client

    with store_client(context.obj) as client:
        print_json(client.request(method, target))
