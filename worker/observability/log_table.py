"""The table of log lines: for each type of event its level, emoji, name and text.

A text is a format string. `{event.path}` is a field of the event; any other name comes from the line's `values`.
Values are substituted once, so a brace in a user's text stays a brace. Ids are bound to the record beside the text;
payloads, results and secrets are never part of a line.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from worker.core import events
from worker.core.outcome import CancelledOutcome, Failed, Outcome, Retry, Succeeded
from worker.hub import events as hub
from worker.notifiers.socketio import events as link
from worker.observability.log_line import (
    LogLine,
    attempt_ids,
    client_ids,
    client_ids_and_code,
    error_of,
    ids_of_job,
    job_ids,
    loop_error,
    recovery,
    retry_delay,
    started,
    user_of,
)

Choice = Callable[[Any], LogLine]
"""Picks the line for an event that has several."""


# -- lines that are chosen or counted by the logger ----------------------------------------------------------------

JOB_STARTED: Final = LogLine(
    "INFO",
    "⚙️",
    "job_started",
    "processing {event.job.kind} job {event.job.id} (attempt {event.job.attempt})",
    bound=ids_of_job,
)
_JOB: Final = "{event.attempt.job.kind} job {event.attempt.job.id} "
JOB_ENDED: Final[Mapping[type[Outcome], LogLine]] = {
    Succeeded: LogLine(
        "SUCCESS", "✅", "job_succeeded", _JOB + "succeeded in {event.attempt.duration_ms:.2f} ms", bound=attempt_ids
    ),
    Retry: LogLine(
        "WARNING",
        "⚠️",
        "job_retried",
        _JOB + "failed (attempt {event.attempt.job.attempt} of {event.attempt.job.max_attempts}), "
        "next attempt in {delay:.1f} s: {event.outcome.failure.message}",
        values=retry_delay,
        bound=attempt_ids,
    ),
    Failed: LogLine(
        "ERROR",
        "❌",
        "job_failed",
        _JOB + "failed permanently after attempt {event.attempt.job.attempt}: "
        "{event.outcome.failure.message} [error {event.outcome.failure.error_id}]",
        bound=attempt_ids,
    ),
    CancelledOutcome: LogLine("INFO", "🛑", "job_cancelled", _JOB + "cancelled", bound=attempt_ids),
}
JOB_RELEASED: Final = LogLine(
    "INFO", "🛑", "job_released", "{event.kind} job {event.id} released; the attempt is not counted", bound=job_ids
)
JOBS_SUMMARY: Final = LogLine(
    "INFO",
    "⚙️",
    "jobs_summary",
    "{event.kind}: {event.ended} jobs in one second: {event.succeeded} succeeded, {event.failed} failed, "
    "{event.retried} to retry, {event.cancelled} cancelled; {event.mean_ms:.2f} ms on average",
    bound=lambda event: {"kind": event.kind},
)
"""Written with the level of the worst end among them."""
NOTIFICATIONS_DELIVERED: Final = LogLine(
    "INFO",
    "📡",
    "notifications_delivered",
    "{notifications} confirmed by the server",
    values=lambda count: {"notifications": f"{count} notification{'' if count == 1 else 's'}"},
    bound=lambda count: {"count": count},
)
RESTART_TO_APPLY: Final = LogLine(
    "WARNING",
    "⚠️",
    "restart_to_apply",
    "restart to apply: {waiting}; the old values stay in effect until then",
    values=lambda event: {"waiting": ", ".join(event.waiting)},
)


LOOP_FAILED: Final = LogLine(
    "ERROR", "⚠️", "loop_failed", "error while {event.where}{pause}: {error}", values=loop_error
)
LOOP_FAILED_AGAIN: Final = replace(LOOP_FAILED, level="DEBUG")
"""While the same trouble lasts."""
TROUBLE_OVER: Final = LogLine(
    "INFO",
    "✅",
    "loop_recovered",
    "{event.where} works again after {event.seconds:.1f} s and {event.failures} failures",
)
STORE_FULL: Final = LogLine(
    "ERROR", "⚠️", "store_full", "no jobs are accepted or claimed until there is room: {event.reason}"
)


# -- one table for each part of the service ------------------------------------------------------------------------

_LISTENER_FIRST_FAILED: Final = LogLine(
    "ERROR",
    "⚠️",
    "listener_failed",
    "{event.listener} raised an exception and missed an event: {error}; its later failures are only counted",
    values=error_of,
)
_LISTENER_FAILED: Final = LogLine(
    "DEBUG", "⚠️", "listener_failed", "{event.listener} raised an exception again: {error}", values=error_of
)

_STORE_LOST: Final = LogLine(
    "WARNING", "🔌", "store_lost", "{event.location} cannot be reached ({event.reason}): jobs wait until it is back"
)
_NO_SIGNS_OF_LIFE: Final = LogLine(
    "WARNING",
    "🔌",
    "store_lost",
    "signs of life do not reach {event.location} ({event.reason}): if this lasts, other workers run this worker's jobs "
    "as well",
)

_SERVICE: Final[Mapping[type, LogLine | Choice]] = {
    events.ServiceStarted: LogLine(
        "INFO",
        "🚀",
        "service_started",
        "insignia-worker {event.version} started ({event.environment}); store {event.store}; listening at {url}; "
        "kinds: {kinds}",
        values=started,
    ),
    events.StoreCreated: LogLine("INFO", "🚀", "store_created", "created a new store at {event.path}"),
    events.Announced: LogLine("INFO", "🚀", "announced", "{event.text}"),
    events.Warned: LogLine("WARNING", "⚠️", "warned", "{event.text}"),
    events.Audited: LogLine(
        "INFO",
        "🔑",
        "audited",
        "{event.actor} requested {event.action}{target}",
        values=lambda event: {"target": f" {event.target}" if event.target else ""},
        bound=lambda event: {"actor": event.actor, "action": event.action, "target": event.target},
    ),
    events.ServiceStopping: LogLine(
        "INFO",
        "🛑",
        "service_stopping",
        "stopping ({event.reason}): {event.running} jobs are running, {event.seconds:g} s left",
    ),
    events.ServiceStopped: LogLine(
        "INFO",
        "🛑",
        "service_stopped",
        "stopped: {event.given_back} jobs released, {event.outbox_depth} notifications wait for the next start",
    ),
    events.SettingsReloaded: LogLine(
        "INFO",
        "⚙️",
        "settings_reloaded",
        "settings reloaded: {applied}",
        values=lambda event: {"applied": ", ".join(event.applied) or "nothing has changed"},
    ),
    events.ReloadFailed: LogLine(
        "ERROR", "❌", "reload_failed", "settings not reloaded, the previous ones stay in effect: {event.reason}"
    ),
    events.StoreLost: lambda event: _STORE_LOST if event.jobs_wait else _NO_SIGNS_OF_LIFE,
    events.StoreBack: LogLine(
        "INFO", "✅", "store_back", "{event.location} is back after {event.seconds:.1f} s: jobs go on"
    ),
    events.PartDegraded: LogLine(
        "WARNING", "⚠️", "part_degraded", "{event.part} is not healthy: {event.description}. {event.remedy}"
    ),
    events.PartRecovered: LogLine(
        "INFO", "✅", "part_recovered", "{event.part} is healthy again after {event.seconds:.0f} s"
    ),
    events.ClockSet: LogLine(
        "WARNING",
        "⚠️",
        "clock_set",
        "the wall clock was set {direction} by {size:.0f} s; durations do not change, and jobs that are due stay due",
        values=lambda event: {"direction": "forward" if event.seconds > 0 else "back", "size": abs(event.seconds)},
    ),
    events.ListenerFailed: lambda event: _LISTENER_FIRST_FAILED if event.first else _LISTENER_FAILED,
    events.LoopBlocked: LogLine(
        "WARNING", "🐢", "loop_blocked", "the event loop was blocked for {event.seconds:.1f} s at:\n{event.stack}"
    ),
}

_JOBS: Final[Mapping[type, LogLine | Choice]] = {
    events.JobRecovered: LogLine(
        "WARNING",
        "⚠️",
        "job_recovered",
        "{job.kind} job {job.id} was running when the service died; it {consequence}",
        values=recovery,
        bound=lambda event: job_ids(event.decision.job),
    ),
    events.OwnershipLost: LogLine(
        "WARNING",
        "⚠️",
        "ownership_lost",
        "{event.job.kind} job {event.job.id} was settled elsewhere; this result is discarded",
        bound=ids_of_job,
    ),
    events.HandlerAbandoned: LogLine(
        "ERROR",
        "🐢",
        "handler_abandoned",
        "the handler of {event.job.kind} job {event.job.id} did not stop when asked and was abandoned",
        bound=ids_of_job,
    ),
    events.ResourcesShort: LogLine(
        "ERROR", "⚠️", "resources_short", "{event.job.kind} job {event.job.id} could not start: no more {event.limit}"
    ),
    events.ResourcesSuffice: LogLine(
        "INFO", "✅", "resources_suffice", "jobs can start again; the shortage lasted {event.seconds:.0f} s"
    ),
    events.HandlerBlocks: LogLine(
        "WARNING",
        "🐢",
        "handler_blocks",
        "the handler of {event.kind} blocks the event loop: run it in a thread (def, or Worker:Execution:{event.kind})",
        bound=lambda event: {"kind": event.kind},
    ),
    events.Pruned: LogLine("INFO", "⚙️", "pruned", "deleted {event.jobs} jobs older than the retention"),
    events.NotificationRejected: LogLine(
        "ERROR",
        "❌",
        "notification_rejected",
        "the server rejected notification {event.notification_id} of job {event.job_id}: {event.reason}",
    ),
}

_CLOSED: Final = LogLine(
    "INFO", "📡", "link_disconnect", "connection closed after {event.uptime:.0f} s: {event.reason}"
)
_LOST: Final = LogLine(
    "WARNING",
    "🔄",
    "link_disconnect",
    "connection lost after {event.uptime:.0f} s: {event.reason}{code}; "
    "{event.unconfirmed} notifications will be sent again",
    values=lambda event: {"code": f" (code {event.code})" if event.code else ""},
    bound=lambda event: {"close_code": event.code},
)
_LINK_ERROR: Final = LogLine("WARNING", "⚠️", "link_error", "{event.where}: {event.detail}")
_LINK_ALARM: Final = LogLine("ERROR", "⚠️", "link_error", "{event.where}: {event.detail}")

_LINK: Final[Mapping[type, LogLine | Choice]] = {
    link.Connect: LogLine(
        "SUCCESS",
        "📡",
        "link_connect",
        "connected to {event.url} (session {event.session}{dialect}, confirmation by {event.mode})",
        values=lambda event: {"dialect": f", {event.dialect}" if event.dialect else ""},
    ),
    link.Disconnect: lambda event: _CLOSED if event.ours else _LOST,
    link.ServerError: lambda event: _LINK_ALARM if event.alarm else _LINK_ERROR,
    link.ConnectError: LogLine(
        "WARNING",
        "🔄",
        "link_connect_error",
        "connecting failed (attempt {event.attempt}): {event.cause}; notifications wait",
    ),
    link.ReconnectAttempt: LogLine(
        "INFO",
        "🔄",
        "link_reconnect_attempt",
        "reconnecting, attempt {event.attempt}{limit}",
        values=lambda event: {"limit": f" of {event.of}" if event.of else ""},
    ),
    link.Reconnect: LogLine("SUCCESS", "🔄", "link_reconnect", "reconnected at attempt {event.attempt}"),
    link.ReconnectError: LogLine(
        "DEBUG", "🔄", "link_reconnect_error", "reconnecting failed (attempt {event.attempt}): {event.cause}"
    ),
    link.ReconnectFailed: LogLine(
        "ERROR",
        "❌",
        "link_reconnect_failed",
        "no connection after {event.attempts} attempts; jobs go on, notifications wait; "
        "next attempt in {event.pause:g} s",
    ),
}

_HUB: Final[Mapping[type, LogLine | Choice]] = {
    hub.KeyCreated: LogLine(
        "INFO", "🚀", "hub_key_created", "created the hub's signing key at {event.path} (keep it secret)"
    ),
    hub.HubStarted: LogLine("INFO", "🚀", "hub_started", "hub listening at {event.path}; inbox {event.inbox}"),
    hub.HubStopped: LogLine(
        "INFO", "🛑", "hub_stopped", "hub closed with {event.clients} clients in {event.seconds:.2f} s"
    ),
    hub.ClientConnected: LogLine(
        "INFO",
        "📡",
        "client_connected",
        "{user} connected by {event.endpoint} from {event.address} ({event.replayed} replayed)",
        values=user_of,
        bound=client_ids,
    ),
    hub.ClientDisconnected: LogLine(
        "INFO",
        "📡",
        "client_disconnected",
        "{user} disconnected after {event.seconds:.0f} s: {event.reason} (code {event.code})",
        values=user_of,
        bound=client_ids_and_code,
    ),
    hub.ClientRejected: LogLine(
        "WARNING", "⚠️", "client_rejected", "rejected a client from {event.address} at {event.endpoint}: {event.reason}"
    ),
    hub.MessageRejected: LogLine(
        "WARNING",
        "⚠️",
        "message_rejected",
        "rejected a message of {sender}: {event.reason}",
        values=lambda event: {"sender": event.user_id or event.client_id},
        bound=client_ids,
    ),
    hub.NotificationShown: LogLine(
        "DEBUG",
        "📡",
        "notification_shown",
        "notification {event.notification_id} was shown to {event.user_id}",
        bound=client_ids,
    ),
    hub.SharedInboxLost: LogLine(
        "WARNING",
        "🔌",
        "shared_inbox_lost",
        "the hubs' Redis {event.where} is unavailable ({error}); no notification is accepted until it is back",
        values=lambda event: {"error": str(event.error) or type(event.error).__name__},
    ),
    hub.SharedInboxRestored: LogLine(
        "INFO",
        "✅",
        "shared_inbox_restored",
        "the hubs' Redis {event.where} is available again after {event.seconds:.1f} s; "
        "fetched what {event.users} users had missed",
    ),
    hub.InboxDamaged: LogLine(
        "ERROR",
        "❌",
        "inbox_damaged",
        "the inbox of {event.user_id} in the hubs' Redis {event.where} is damaged ({event.reason}): new notifications "
        "are rejected until the key {event.key} is deleted; then send them again. Those that were accepted before are "
        "lost with it, and are taken for repetitions under the same id",
    ),
    hub.RevocationsUnreadable: LogLine(
        "ERROR",
        "❌",
        "revocations_unreadable",
        "which tokens are revoked cannot be read from the key {event.key} in the hubs' Redis {event.where} "
        "({event.reason}): tokens that can be revoked are rejected until it can; restore the key from a backup or "
        "delete it: the running hubs then write back the revocations that they know, others are lost",
    ),
    hub.RevocationsRead: LogLine(
        "INFO",
        "✅",
        "revocations_read",
        "which tokens are revoked can be read from the hubs' Redis {event.where} again: tokens are accepted",
    ),
    hub.InboxNotDurable: LogLine(
        "WARNING",
        "⚠️",
        "inbox_not_durable",
        "the hubs' Redis {event.where} may lose accepted notifications: {event.reason}",
    ),
    hub.InboxFailed: LogLine(
        "ERROR", "❌", "inbox_failed", "the hub's inbox cannot be read or written: {error}", values=error_of
    ),
    hub.InboxRestored: LogLine("INFO", "✅", "inbox_restored", "the hub's inbox accepts notifications again"),
}

LINES: Final[Mapping[type, LogLine | Choice]] = {**_SERVICE, **_JOBS, **_LINK, **_HUB}


def all_lines() -> Iterator[LogLine]:
    """Yield every line that the service can write, in the order of the table."""
    counted = (JOB_STARTED, *JOB_ENDED.values(), JOB_RELEASED, JOBS_SUMMARY, NOTIFICATIONS_DELIVERED, RESTART_TO_APPLY)
    counted = (*counted, LOOP_FAILED, LOOP_FAILED_AGAIN, TROUBLE_OVER, STORE_FULL)
    store, listener = (_STORE_LOST, _NO_SIGNS_OF_LIFE), (_LISTENER_FIRST_FAILED, _LISTENER_FAILED)
    chosen = (*store, _CLOSED, _LOST, _LINK_ERROR, _LINK_ALARM, *listener)
    yield from (line for line in (*LINES.values(), *counted, *chosen) if isinstance(line, LogLine))
