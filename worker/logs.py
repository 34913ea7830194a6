"""Words what happened: one emoji per kind of event, ids bound, never payloads or secrets.

The flow emits events; only this module knows loguru, levels and wording.
"""

import asyncio
import logging
import os
import re
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import singledispatchmethod
from typing import IO, TYPE_CHECKING, Any

import orjson
from loguru import logger

from worker import events
from worker.hub import events as hub
from worker.orgsocket import link
from worker.outcome import Cancelled, Failed, Retry, Succeeded
from worker.redact import Redactor

if TYPE_CHECKING:
    from loguru import Message, Record

LEVELS: Mapping[str, str] = {
    "Trace": "TRACE",
    "Debug": "DEBUG",
    "Information": "INFO",
    "Warning": "WARNING",
    "Error": "ERROR",
    "Critical": "CRITICAL",
    "None": "OFF",
}
"""The names of Microsoft.Extensions.Logging and loguru's."""

_SYSLOG = {"TRACE": 7, "DEBUG": 7, "INFO": 6, "SUCCESS": 5, "WARNING": 4, "ERROR": 3, "CRITICAL": 2}
_LONGEST_LINE = 32 * 1024
"""Bytes; journald splits lines over 48 KB."""
_LONGEST_VALUE = 2048
_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """One safe line: control characters, escapes, direction marks and lone surrogates are spelled out, long values cut.

    A surrogate is a byte of a file's name that is no UTF-8; the stream would refuse the whole line for it.
    """
    if len(text) > _LONGEST_VALUE:
        text = text[:_LONGEST_VALUE] + "…"
    return _FORBIDDEN.sub(_spell, text)


def _spell(match: re.Match[str]) -> str:
    return {"\n": "\\n", "\r": "\\r", "\t": " "}.get(match[0], f"\\u{ord(match[0]):04x}")


@dataclass(frozen=True, slots=True)
class LogOptions:
    """How lines look and which are written."""

    formatter: str = "auto"
    """Simple, Json, Systemd; auto: Systemd when the stream is the journal, else Simple."""
    emoji: bool = True
    levels: Mapping[str, str] = field(default_factory=dict)
    """Category prefix → .NET level name; the longest prefix wins, Default for the rest."""
    environment: str = "Production"
    service: str = "insignia-worker"
    version: str = ""


def start_logging(options: LogOptions, redact: Redactor, stream: IO[str] | None = None) -> None:
    """Send every line of this process to one stream (stderr), also those of the libraries."""
    target = stream or sys.stderr
    formatter = options.formatter
    if formatter == "auto":
        formatter = "Systemd" if _is_journal(target) else "Simple"
    sink = _Sink(target, formatter, options, redact)
    logger.remove()
    # diagnose and backtrace print the values of variables, which may be secrets or people's data.
    logger.add(sink.write, level=0, filter=_Levels(options.levels), format="{message}", diagnose=False, backtrace=False)
    logging.basicConfig(handlers=[_Intercept()], level=logging.INFO, force=True)
    for noisy in ("socketio", "engineio", "aiohttp.access", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)  # they log payloads at INFO


def enabled(level: str, levels: Mapping[str, str], category: str = "worker") -> bool:
    """Whether lines of `level` (loguru's name) in `category` are written at all."""
    threshold = _Levels(levels).threshold(category)
    return threshold is not None and logger.level(level).no >= threshold


class _Levels:
    """A filter with .NET's rule: the longest category prefix decides."""

    def __init__(self, levels: Mapping[str, str]) -> None:
        names = {"default": "Information", **{key.lower(): value for key, value in levels.items()}}
        self._thresholds = {key: self._number(name) for key, name in names.items()}
        self._known: dict[str, int | None] = {}

    @staticmethod
    def _number(name: str) -> int | None:
        level = LEVELS[name]
        return None if level == "OFF" else logger.level(level).no

    def threshold(self, category: str) -> int | None:
        if category not in self._known:
            parts = category.lower().split(".")
            prefixes = [".".join(parts[:size]) for size in range(len(parts), 0, -1)]
            found = next((prefix for prefix in prefixes if prefix in self._thresholds), "default")
            self._known[category] = self._thresholds[found]
        return self._known[category]

    def __call__(self, record: "Record") -> bool:
        threshold = self.threshold(record["extra"].get("category") or record["name"] or "worker")
        return threshold is not None and record["level"].no >= threshold


class _Intercept(logging.Handler):
    """Lines of the standard library's logging go the same way."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            level: str | int = logger.level(record.levelname).name
        except ValueError:
            level = record.levelno
        text = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            text += f" ({type(record.exc_info[1]).__name__}: {record.exc_info[1]})"
        logger.bind(category=record.name, event="library").log(level, "{}", text)


@dataclass(slots=True)
class _Sink:
    """Writes one line per record in the chosen form."""

    stream: IO[str]
    formatter: str
    options: LogOptions
    redact: Redactor
    colour: bool = False

    def __post_init__(self) -> None:
        self.colour = self.formatter == "Simple" and self.stream.isatty() and "NO_COLOR" not in os.environ

    def write(self, message: "Message") -> None:
        record = message.record
        text = self._clean(record["message"])
        emoji = record["extra"].get("emoji", "")
        match self.formatter:
            case "Json":
                line = self._json(record, text, emoji)
            case "Systemd":
                line = f"<{_SYSLOG.get(record['level'].name, 6)}>{self._with_emoji(emoji, text)}"
            case _:
                line = self._simple(record, self._with_emoji(emoji, text))
        try:
            self.stream.write(line.encode()[:_LONGEST_LINE].decode(errors="ignore") + "\n")
            self.stream.flush()
        except (BrokenPipeError, ValueError):
            pass  # nobody reads our log any more: the jobs go on

    def _clean(self, text: str) -> str:
        """Redacted before it is cut, or half a secret could stay behind at the edge."""
        return printable(self.redact(text))

    def _with_emoji(self, emoji: str, text: str) -> str:
        return f"{emoji} {text}" if emoji and self.options.emoji else text

    def _simple(self, record: "Record", text: str) -> str:
        stamp = record["time"].strftime("%H:%M:%S.%f")[:-3]
        level = record["level"].name
        if not self.colour:
            return f"{stamp} {level:<8} {text}"
        shade = {"WARNING": "33", "ERROR": "31", "CRITICAL": "1;31", "SUCCESS": "32"}.get(level, "0")
        return f"\x1b[2m{stamp}\x1b[0m \x1b[{shade}m{text}\x1b[0m"

    def _json(self, record: "Record", text: str, emoji: str) -> str:
        extra = {key: value for key, value in record["extra"].items() if key not in ("emoji", "category")}
        safe = {key: self._clean(value) if isinstance(value, str) else value for key, value in extra.items()}
        moment = datetime.fromtimestamp(record["time"].timestamp(), UTC)
        flat: dict[str, Any] = {
            "ts": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record["level"].name,
            "event": safe.pop("event", "log"),
            "emoji": emoji if self.options.emoji else "",
            "msg": text,
            "service": self.options.service,
            "version": self.options.version,
            "env": self.options.environment,
            "logger": record["extra"].get("category") or record["name"],
            "pid": record["process"].id,
            **safe,
        }
        return orjson.dumps(flat, default=str).decode()


def _is_journal(stream: IO[str]) -> bool:
    """systemd names the journal's socket as device:inode; any other stderr is a terminal, file or pipe."""
    try:
        stat = os.fstat(stream.fileno())
    except (OSError, ValueError, AttributeError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{stat.st_dev}:{stat.st_ino}"


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
