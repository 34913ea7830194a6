"""Writes events to the log, by the table in `log_table`. Where the lines go is decided in `log_output`.

A listener of events: parts of the service emit what happened, and only this module turns it into lines. Kinds with
more than 100 jobs a second get one summary line a second instead of two lines per job.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from loguru import logger

from worker.core import events
from worker.core.outcome import Succeeded
from worker.errors import StoreAway, StoreFull
from worker.notifiers.socketio import events as link
from worker.observability import log_table
from worker.observability.log_line import LogLine
from worker.observability.troubles import Troubles, cause_of

_RATE = 100
"""Jobs of a kind per second above which one summary line a second replaces their own lines."""
_DELIVERY_DELAY = 0.2
"""Seconds for which confirmed notifications are counted before the line that reports them."""

_LINK_CAUSES = 20
"""Different causes of one outage of the link that are logged with their level."""


@dataclass(slots=True)
class _JobSummary:
    """Jobs of one kind that were not logged one by one."""

    kind: str
    succeeded: int = 0
    failed: int = 0
    retried: int = 0
    cancelled: int = 0
    milliseconds: float = 0.0

    @property
    def ended(self) -> int:
        return self.succeeded + self.failed + self.retried + self.cancelled

    @property
    def mean_ms(self) -> float:
        return self.milliseconds / max(1, self.ended)

    @property
    def level(self) -> str:
        """The level of the worst end among them."""
        return "ERROR" if self.failed else "WARNING" if self.retried else "INFO"


@dataclass(slots=True)
class Logs:
    """A listener for every event of the service."""

    info: bool = True
    """False: nothing below WARNING is written, so jobs that succeed cost nothing here."""
    monotonic: Callable[[], float] = time.monotonic
    _second: int = 0
    _counts: dict[tuple[str, str], int] = field(default_factory=dict)
    """Starts and ends of each kind in this second."""
    _before: dict[tuple[str, str], int] = field(default_factory=dict)
    """The same of the second before, so that a steady stream does not begin each second with single lines."""
    _summaries: dict[str, _JobSummary] = field(default_factory=dict)
    _delivered: int = 0
    _troubles: Troubles = field(default_factory=Troubles)
    _link_causes: set[str] = field(default_factory=set)
    """Why the link is away, as far as the log has it."""
    _delivery_timer: asyncio.TimerHandle | None = None
    _summary_timer: asyncio.TimerHandle | None = None

    def __call__(self, event: object) -> None:
        """Write the line or lines of an event; an event that is not in the table has none."""
        kind = type(event)
        write = _WRITERS.get(kind)
        if write is not None:
            write(self, event)
            return
        line = log_table.LINES.get(kind)
        if line is not None:
            _write(line if isinstance(line, LogLine) else line(event), event)

    # -- jobs ----------------------------------------------------------------------------------------------

    def _job_started(self, event: events.JobStarted) -> None:
        if self.info and not self._is_frequent(event.job.kind, "started"):
            _write(log_table.JOB_STARTED, event)

    def _job_settled(self, event: events.JobSettled) -> None:
        attempt, outcome = event.attempt, event.outcome
        if not self.info and isinstance(outcome, Succeeded):
            return
        if self._is_frequent(attempt.job.kind, "ended"):
            summary = self._summary_of(attempt.job.kind)
            name = _COUNTED_AS[outcome.__class__]
            setattr(summary, name, getattr(summary, name) + 1)
            summary.milliseconds += attempt.duration_ms
            return
        _write(log_table.JOB_ENDED[outcome.__class__], event)

    def _jobs_released(self, event: events.JobsReleased) -> None:
        for job in event.jobs:
            _write(log_table.JOB_RELEASED, job)

    def _is_frequent(self, kind: str, what: str) -> bool:
        """Count one start or end of this kind; return whether the summary reports it."""
        second = int(self.monotonic())
        if second != self._second:
            self._before = self._counts if second == self._second + 1 else {}
            self._counts, self._second = {}, second
        count = self._counts[kind, what] = self._counts.get((kind, what), 0) + 1
        return max(count, self._before.get((kind, what), 0)) > _RATE

    def _summary_of(self, kind: str) -> _JobSummary:
        if self._summary_timer is None:
            self._summary_timer = asyncio.get_running_loop().call_later(1.0, self._write_summaries)
        return self._summaries.setdefault(kind, _JobSummary(kind))

    def _write_summaries(self) -> None:
        self._summary_timer = None
        for summary in self._summaries.values():
            _write(replace(log_table.JOBS_SUMMARY, level=summary.level), summary)
        self._summaries.clear()

    # -- notifications -------------------------------------------------------------------------------------

    def _notifications_delivered(self, event: events.NotificationsDelivered) -> None:
        if not self.info:
            return
        self._delivered += event.count
        if self._delivery_timer is None:
            self._delivery_timer = asyncio.get_running_loop().call_later(_DELIVERY_DELAY, self._write_delivered)

    def _write_delivered(self) -> None:
        self._delivery_timer = None
        count, self._delivered = self._delivered, 0
        _write(log_table.NOTIFICATIONS_DELIVERED, count)

    # -- the service ---------------------------------------------------------------------------------------

    def _settings_reloaded(self, event: events.SettingsReloaded) -> None:
        _write(_line_of(event), event)
        if event.waiting:
            _write(log_table.RESTART_TO_APPLY, event)

    # -- troubles: one line when they begin, one when they are over ----------------------------------------------

    def _loop_failed(self, event: events.LoopFailed) -> None:
        begins = event.pause == 0.0 or self._troubles.begin(cause_of(event), event.where, event.pause, self.monotonic())
        if isinstance(event.error, StoreAway) or not begins:  # StoreLost reports the former
            _write(log_table.LOOP_FAILED_AGAIN, event)
        elif isinstance(event.error, StoreFull):
            _write(log_table.STORE_FULL, events.IntakeRefused(str(event.error)))
        else:
            _write(log_table.LOOP_FAILED, event)

    def _intake_refused(self, event: events.IntakeRefused) -> None:
        if self._troubles.begin(StoreFull.__name__, "claiming jobs", 0.0, self.monotonic()):
            _write(log_table.STORE_FULL, event)

    def _loop_recovered(self, event: events.LoopRecovered) -> None:
        for trouble in self._troubles.end(event.where, self.monotonic()):
            if trouble.cause != StoreAway.__name__:
                _write(log_table.TROUBLE_OVER, trouble)

    def _link_connected(self, event: link.Connect) -> None:
        self._link_causes.clear()
        _write(_line_of(event), event)

    def _link_failed(self, event: link.ConnectError) -> None:
        self._write_first(event, event.cause)

    def _link_attempted(self, event: link.ReconnectAttempt) -> None:
        self._write_first(event, "an attempt")

    def _link_round_failed(self, event: link.ReconnectFailed) -> None:
        self._write_first(event, "all attempts of a round")

    def _write_first(self, event: object, what: str) -> None:
        """Write the line with its level once until the link is connected again, then at DEBUG."""
        is_first = what not in self._link_causes and len(self._link_causes) < _LINK_CAUSES
        self._link_causes.add(what)
        _write(_line_of(event) if is_first else replace(_line_of(event), level="DEBUG"), event)

    # -- the end -------------------------------------------------------------------------------------------------

    def _service_stopped(self, event: events.ServiceStopped) -> None:
        self._write_pending()
        _write(_line_of(event), event)

    def _write_pending(self) -> None:
        """Write what waits for a timer: the loop ends before its timers do."""
        for timer, write in (
            (self._delivery_timer, self._write_delivered),
            (self._summary_timer, self._write_summaries),
        ):
            if timer is not None:
                timer.cancel()
                write()


_WRITERS: dict[type, Callable[[Logs, Any], None]] = {
    events.JobStarted: Logs._job_started,
    events.JobSettled: Logs._job_settled,
    events.JobsReleased: Logs._jobs_released,
    events.NotificationsDelivered: Logs._notifications_delivered,
    events.SettingsReloaded: Logs._settings_reloaded,
    events.ServiceStopped: Logs._service_stopped,
    events.LoopFailed: Logs._loop_failed,
    events.LoopRecovered: Logs._loop_recovered,
    events.IntakeRefused: Logs._intake_refused,
    link.Connect: Logs._link_connected,
    link.ConnectError: Logs._link_failed,
    link.ReconnectAttempt: Logs._link_attempted,
    link.ReconnectFailed: Logs._link_round_failed,
}
"""Events that are counted, or that have more than one line."""
_COUNTED_AS = {outcome: line.name.removeprefix("job_") for outcome, line in log_table.JOB_ENDED.items()}
"""The counter of a summary for each outcome: succeeded, retried, failed, cancelled."""


def _line_of(event: object) -> LogLine:
    line = log_table.LINES[type(event)]
    assert isinstance(line, LogLine)
    return line


def _write(line: LogLine, event: Any) -> None:
    # Formatted here, and without arguments for loguru: it would read braces in the text as placeholders.
    logger.bind(category="worker", emoji=line.emoji, event=line.name, **line.bound(event)).log(
        line.level, line.text(event)
    )
