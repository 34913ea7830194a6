"""Words what happened: one emoji per kind of event, ids bound, never payloads or secrets.

The flow emits events; only this module puts them into words. Where the lines go is console.py's.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import singledispatchmethod
from typing import Any

from loguru import logger

from worker import events
from worker.hub import events as hub
from worker.orgsocket import link
from worker.outcome import Cancelled, Failed, Retry, Succeeded

_RATE = 100
"""Jobs of a kind per second above which they are summed up in one line a second."""


@dataclass(slots=True)
class _Second:
    started: int = 0
    succeeded: int = 0
    failed: int = 0
    retried: int = 0
    cancelled: int = 0
    milliseconds: float = 0.0


@dataclass(slots=True)
class Logs:
    """A listener: give it every event."""

    info: bool = True
    """False: nothing below WARNING is written, so jobs that go well cost nothing here."""
    monotonic: Callable[[], float] = time.monotonic
    _second: int = 0
    _counts: dict[tuple[str, str], int] = field(default_factory=dict)
    """Starts and ends of each kind, in this second."""
    _before: dict[tuple[str, str], int] = field(default_factory=dict)
    """The same of the second before: a steady stream shall not begin each second with single lines."""
    _summed: dict[str, _Second] = field(default_factory=dict)
    _delivered: int = 0
    _timer: asyncio.TimerHandle | None = None
    _flusher: asyncio.TimerHandle | None = None

    def __call__(self, event: object) -> None:
        if not self.info and isinstance(event, _QUIET):
            return
        # The descriptor would wrap a method afresh for every event, which costs more than most lines do.
        _WORDINGS.dispatch(type(event))(self, event)

    @singledispatchmethod
    def tell(self, event: object) -> None:
        """Events without a wording are for others."""

    # -- life ----------------------------------------------------------------------------------------------

    @tell.register
    def _(self, event: events.ServiceStarted) -> None:
        _line(
            "INFO",
            "🚀",
            "service_started",
            "insignia-worker {} started ({}); store {}; door {}; kinds: {}",
            event.version,
            event.environment,
            event.store,
            event.url or "none",
            ", ".join(event.kinds),
        )

    @tell.register
    def _(self, event: events.StoreCreated) -> None:
        _line("INFO", "🚀", "store_created", "new store created at {}", event.path)

    @tell.register
    def _(self, event: events.Announced) -> None:
        _line("INFO", "🚀", "announced", "{}", event.text)

    @tell.register
    def _(self, event: events.Warned) -> None:
        _line("WARNING", "⚠️", "warned", "{}", event.text)

    @tell.register
    def _(self, event: events.Audited) -> None:
        _line(
            "INFO",
            "🔑",
            "audited",
            "{} ordered {}{}",
            event.actor,
            event.action,
            f" {event.target}" if event.target else "",
            actor=event.actor,
            action=event.action,
            target=event.target,
        )

    @tell.register
    def _(self, event: events.ServiceStopping) -> None:
        _line(
            "INFO",
            "🛑",
            "service_stopping",
            "stopping ({}): {} jobs under way, {:g} s left",
            event.reason,
            event.running,
            event.seconds,
        )

    @tell.register
    def _(self, event: events.ServiceStopped) -> None:
        self._tell_rest()
        _line(
            "INFO",
            "🛑",
            "service_stopped",
            "stopped: {} jobs given back, {} notifications wait for the next start",
            event.given_back,
            event.outbox_depth,
        )

    @tell.register
    def _(self, event: events.SettingsReloaded) -> None:
        applied = ", ".join(event.applied) or "nothing has changed"
        _line("INFO", "⚙️", "settings_reloaded", "settings read anew: {}", applied)
        if event.waiting:
            waiting = ", ".join(event.waiting)
            _line("WARNING", "⚠️", "restart_to_apply", "restart to apply: {}; until then the old values hold", waiting)

    @tell.register
    def _(self, event: events.ReloadFailed) -> None:
        text = "the settings were not reloaded, those from before hold: {}"
        _line("ERROR", "❌", "reload_failed", text, event.reason)

    # -- jobs ----------------------------------------------------------------------------------------------

    @tell.register
    def _(self, event: events.JobStarted) -> None:
        job = event.job
        if self.info and not self._summing(job.kind):
            _line(
                "INFO",
                "⚙️",
                "job_started",
                "processing {} job {} (attempt {})",
                job.kind,
                job.id,
                job.attempt,
                **_ids(job),
            )

    @tell.register
    def _(self, event: events.JobSettled) -> None:
        job, outcome = event.attempt.job, event.outcome
        if isinstance(outcome, Succeeded):
            if not self.info or self._sum(job.kind, "succeeded", event.attempt.duration_ms):
                return
            _line(
                "SUCCESS",
                "✅",
                "job_succeeded",
                "{} job {} succeeded in {:.2f} ms",
                job.kind,
                job.id,
                event.attempt.duration_ms,
                elapsed_ms=event.attempt.duration_ms,
                **_ids(job),
            )
            return
        self._tell_unhappy(event, outcome)

    def _tell_unhappy(self, event: events.JobSettled, outcome: Retry | Failed | Cancelled) -> None:
        job, failure = event.attempt.job, outcome.failure
        match outcome:
            case Retry():
                if not self._sum(job.kind, "retried", event.attempt.duration_ms):
                    delay = max(0.0, outcome.run_at - event.attempt.finished_at)
                    _line(
                        "WARNING",
                        "⚠️",
                        "job_retried",
                        "{} job {} failed (attempt {} of {}), again in {:.1f} s: {}",
                        job.kind,
                        job.id,
                        job.attempt,
                        job.max_attempts,
                        delay,
                        failure.message,
                        **_failure_ids(event),
                    )
            case Failed():
                if not self._sum(job.kind, "failed", event.attempt.duration_ms):
                    _line(
                        "ERROR",
                        "❌",
                        "job_failed",
                        "{} job {} failed for good after attempt {}: {} [error {}]",
                        job.kind,
                        job.id,
                        job.attempt,
                        failure.message,
                        failure.error_id,
                        **_failure_ids(event),
                    )
            case Cancelled():
                if not self._sum(job.kind, "cancelled", event.attempt.duration_ms):
                    _line("INFO", "🛑", "job_cancelled", "{} job {} cancelled", job.kind, job.id, **_failure_ids(event))

    @tell.register
    def _(self, event: events.JobsReleased) -> None:
        for job in event.jobs:
            _line(
                "INFO",
                "🛑",
                "job_released",
                "{} job {} given back; its attempt is not counted",
                job.kind,
                job.id,
                **_ids(job),
            )

    @tell.register
    def _(self, event: events.JobRecovered) -> None:
        job = event.verdict.job
        fate = "waits to run alone" if event.verdict.charged is None else f"is charged with attempt {job.attempt}"
        _line(
            "WARNING",
            "⚠️",
            "job_recovered",
            "{} job {} was running when the service died; it {}",
            job.kind,
            job.id,
            fate,
            **_ids(job),
        )

    @tell.register
    def _(self, event: events.OwnershipLost) -> None:
        _line(
            "WARNING",
            "⚠️",
            "ownership_lost",
            "{} job {} had ended elsewhere; this result is dropped",
            event.job.kind,
            event.job.id,
            **_ids(event.job),
        )

    @tell.register
    def _(self, event: events.HandlerAbandoned) -> None:
        _line(
            "ERROR",
            "🐢",
            "handler_abandoned",
            "the handler of {} job {} did not stop when told to and was left behind",
            event.job.kind,
            event.job.id,
            **_ids(event.job),
        )

    @tell.register
    def _(self, event: events.LoopFailed) -> None:
        _line(
            "ERROR",
            "⚠️",
            "loop_failed",
            "error while {}, again in {:g} s: {}: {}",
            event.where,
            event.pause,
            type(event.error).__name__,
            str(event.error),
        )

    @tell.register
    def _(self, event: events.IntakeRefused) -> None:
        _line("ERROR", "⚠️", "store_full", "intake and claiming stand still until there is room: {}", event.reason)

    @tell.register
    def _(self, event: events.LoopBlocked) -> None:
        _line(
            "WARNING",
            "🐢",
            "loop_blocked",
            "the event loop stood still for {:.1f} s at:\n{}",
            event.seconds,
            event.stack,
        )

    @tell.register
    def _(self, event: events.Pruned) -> None:
        _line("INFO", "⚙️", "pruned", "{} jobs older than the retention deleted", event.jobs)

    # -- notifications and the link ------------------------------------------------------------------------

    @tell.register
    def _(self, event: events.NotificationsDelivered) -> None:
        if not self.info:
            return
        self._delivered += event.count
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(0.2, self._tell_delivered)

    def _tell_delivered(self) -> None:
        self._timer = None
        count, self._delivered = self._delivered, 0
        _line(
            "INFO",
            "📡",
            "notifications_delivered",
            "{} notification{} confirmed by the server",
            count,
            "" if count == 1 else "s",
            count=count,
        )

    @tell.register
    def _(self, event: events.NotificationRejected) -> None:
        _line(
            "ERROR",
            "❌",
            "notification_rejected",
            "the server refused notification {} of job {}: {}",
            event.notification_id,
            event.job_id,
            event.reason,
        )

    @tell.register
    def _(self, event: link.Connect) -> None:
        _line(
            "SUCCESS",
            "📡",
            "link_connect",
            "connected to {} (session {}, receipt by {})",
            event.url,
            event.session,
            event.mode,
        )

    @tell.register
    def _(self, event: link.Disconnect) -> None:
        if event.ours:
            _line("INFO", "📡", "link_disconnect", "connection closed after {:.0f} s: {}", event.uptime, event.reason)
            return
        _line(
            "WARNING",
            "🔄",
            "link_disconnect",
            "connection lost after {:.0f} s: {}{}; {} notifications will be sent again",
            event.uptime,
            event.reason,
            f" (code {event.code})" if event.code else "",
            event.unproven,
            close_code=event.code,
        )

    @tell.register
    def _(self, event: link.Error) -> None:
        _line("ERROR" if event.alarm else "WARNING", "⚠️", "link_error", "{}: {}", event.where, event.detail)

    @tell.register
    def _(self, event: link.ConnectError) -> None:
        _line("WARNING", "🔄", "link_connect_error", "connecting failed (attempt {}): {}", event.attempt, event.cause)

    @tell.register
    def _(self, event: link.ReconnectAttempt) -> None:
        limit = f" of {event.of}" if event.of else ""
        _line("INFO", "🔄", "link_reconnect_attempt", "reconnecting, attempt {}{}", event.attempt, limit)

    @tell.register
    def _(self, event: link.Reconnect) -> None:
        _line("SUCCESS", "🔄", "link_reconnect", "reconnected at attempt {}", event.attempt)

    @tell.register
    def _(self, event: link.ReconnectError) -> None:
        _line("DEBUG", "🔄", "link_reconnect_error", "reconnecting failed (attempt {}): {}", event.attempt, event.cause)

    @tell.register
    def _(self, event: link.ReconnectFailed) -> None:
        _line(
            "ERROR",
            "❌",
            "link_reconnect_failed",
            "no connection after {} attempts; jobs go on, notifications wait; again in {:g} s",
            event.attempts,
            event.pause,
        )

    # -- the hub -------------------------------------------------------------------------------------------

    @tell.register
    def _(self, event: hub.KeyCreated) -> None:
        _line("INFO", "🚀", "hub_key_created", "signing key for the hub made at {} (keep it secret)", event.path)

    @tell.register
    def _(self, event: hub.HubStarted) -> None:
        _line("INFO", "🚀", "hub_started", "hub open at {}; inbox {}", event.path, event.inbox)

    @tell.register
    def _(self, event: hub.HubStopped) -> None:
        _line("INFO", "🛑", "hub_stopped", "hub closed with {} clients in {:.2f} s", event.clients, event.seconds)

    @tell.register
    def _(self, event: hub.ClientConnected) -> None:
        who = event.user_id or "the worker of this process"
        _line(
            "INFO",
            "📡",
            "client_connected",
            "{} connected by {} from {} ({} replayed)",
            who,
            event.door,
            event.address,
            event.replayed,
            client_id=event.client_id,
            user_id=event.user_id,
        )

    @tell.register
    def _(self, event: hub.ClientDisconnected) -> None:
        who = event.user_id or "the worker of this process"
        _line(
            "INFO",
            "📡",
            "client_disconnected",
            "{} left after {:.0f} s: {} (code {})",
            who,
            event.seconds,
            event.reason,
            event.code,
            client_id=event.client_id,
            user_id=event.user_id,
            close_code=event.code,
        )

    @tell.register
    def _(self, event: hub.ClientRefused) -> None:
        _line(
            "WARNING",
            "⚠️",
            "client_refused",
            "a client from {} was refused at {}: {}",
            event.address,
            event.door,
            event.reason,
        )

    @tell.register
    def _(self, event: hub.MessageRefused) -> None:
        _line(
            "WARNING",
            "⚠️",
            "message_refused",
            "a message of {} was refused: {}",
            event.user_id or event.client_id,
            event.reason,
            client_id=event.client_id,
            user_id=event.user_id,
        )

    @tell.register
    def _(self, event: hub.NewsShown) -> None:
        _line(
            "DEBUG",
            "📡",
            "news_shown",
            "notification {} was shown to {}",
            event.notification_id,
            event.user_id,
            client_id=event.client_id,
            user_id=event.user_id,
        )

    @tell.register
    def _(self, event: hub.SharedInboxLost) -> None:
        _line(
            "WARNING",
            "🔌",
            "shared_inbox_lost",
            "the hubs' Redis {} is away ({}); nothing is accepted until it is back",
            event.where,
            str(event.error) or type(event.error).__name__,
        )

    @tell.register
    def _(self, event: hub.SharedInboxBack) -> None:
        _line(
            "INFO",
            "✅",
            "shared_inbox_back",
            "the hubs' Redis {} is back after {:.1f} s; {} users were asked for",
            event.where,
            event.seconds,
            event.users,
        )

    @tell.register
    def _(self, event: hub.InboxForgetful) -> None:
        _line("WARNING", "⚠️", "inbox_forgetful", "the hubs' Redis {} is no record: {}", event.where, event.reason)

    @tell.register
    def _(self, event: hub.InboxFailed) -> None:
        _line(
            "ERROR",
            "❌",
            "inbox_failed",
            "the hub's inbox cannot be written: {}: {}",
            type(event.error).__name__,
            str(event.error),
        )

    # -- many jobs a second --------------------------------------------------------------------------------

    def _summing(self, kind: str) -> bool:
        """Above the rate, single lines give way to one summary a second."""
        if not self._is_many(kind, "started"):
            return False
        self._total(kind).started += 1
        return True

    def _is_many(self, kind: str, what: str) -> bool:
        second = int(self.monotonic())
        if second != self._second:
            self._before = self._counts if second == self._second + 1 else {}
            self._counts, self._second = {}, second
        count = self._counts[kind, what] = self._counts.get((kind, what), 0) + 1
        return max(count, self._before.get((kind, what), 0)) > _RATE

    def _sum(self, kind: str, what: str, milliseconds: float) -> bool:
        """Whether the line is left to the summary."""
        if not self._is_many(kind, "ended"):
            return False
        total = self._total(kind)
        setattr(total, what, getattr(total, what) + 1)
        total.milliseconds += milliseconds
        return True

    def _tell_rest(self) -> None:
        """What was to be told in a moment is told now: the loop ends before its timers."""
        for timer, tell in ((self._timer, self._tell_delivered), (self._flusher, self._flush)):
            if timer is not None:
                timer.cancel()
                tell()

    def _total(self, kind: str) -> _Second:
        if self._flusher is None:
            self._flusher = asyncio.get_running_loop().call_later(1.0, self._flush)
        return self._summed.setdefault(kind, _Second())

    def _flush(self) -> None:
        self._flusher = None
        for kind, total in self._summed.items():
            ended = total.succeeded + total.failed + total.retried + total.cancelled
            _line(
                "ERROR" if total.failed else "WARNING" if total.retried else "INFO",
                "⚙️",
                "jobs_summary",
                "{}: {} jobs in a second: {} succeeded, {} failed, {} to retry, {} cancelled; {:.2f} ms on average",
                kind,
                ended,
                total.succeeded,
                total.failed,
                total.retried,
                total.cancelled,
                total.milliseconds / max(1, ended),
                kind=kind,
            )
        self._summed.clear()


_WORDINGS = vars(Logs)["tell"].dispatcher
_QUIET = (events.JobStarted, events.NotificationsDelivered)
"""What is told at Information only, and so often that even asking costs."""


def _ids(job: Any) -> dict[str, Any]:
    return {"job_id": job.id, "kind": job.kind, "user_id": job.user_id, "attempt": job.attempt}


def _failure_ids(event: events.JobSettled) -> dict[str, Any]:
    failure = event.attempt.failure
    bound = _ids(event.attempt.job) | {"elapsed_ms": event.attempt.duration_ms}
    return bound if failure is None else bound | {"error_type": failure.type, "error_id": failure.error_id}


def _line(level: str, emoji: str, event: str, text: str, *values: object, **bound: Any) -> None:
    """Values are arguments, never part of the format: a brace in a user's text must stay a brace."""
    logger.bind(category="worker", emoji=emoji, event=event, **bound).log(level, text, *values)
