"""Since when each part of the service has not been healthy, what to do about it, and what the log gets of it."""

from collections.abc import Mapping, Set
from dataclasses import dataclass, field, replace
from typing import Final

from worker.api.routes.health import HealthReport
from worker.core.events import Emit, PartDegraded, PartRecovered

REMEDIES: Final[Mapping[str, str]] = {
    "loop": "the log names what blocks the event loop (handler_blocks): run it in a thread or process",
    "queue": "run `insignia-worker doctor`: it examines store, disk and files; for jobs that wait, `kinds list`",
    "storeLog": "end the program that is named, or what `lsof` lists for queue.db; the log then empties by itself",
    "outbox": "`insignia-worker notifications list --state dead` has the reasons; send them again with resend",
    "settings": "`insignia-worker config check` lists the errors; the file is read again when it changes",
    "resources": "raise the limit of the system that the description names, or lower Worker:Concurrency",
    "link": "run `insignia-worker doctor ws`: it names the step that fails; notifications wait until then",
}
"""By part."""


@dataclass(slots=True)
class HealthHistory:
    """Remembers when a part became unhealthy; a sampler asks every few seconds, whether others do or not."""

    _since: dict[str, float] = field(default_factory=dict)

    def noted(self, report: HealthReport, now: float) -> HealthReport:
        """Return the report with times and remedies of the parts that are not healthy. `now`: wall clock."""
        bad = {name for name, entry in report.entries.items() if entry.status != "Healthy"}
        self._since = {name: self._since.get(name, now) for name in bad}
        entries = {
            name: replace(entry, since=self._since[name], remedy=REMEDIES.get(name, "")) if name in bad else entry
            for name, entry in report.entries.items()
        }
        return replace(report, entries=entries)


@dataclass(slots=True)
class PartReporter:
    """Reports once that a part is not healthy, and once that it is again, for reasons that nothing else reports."""

    emit: Emit
    reasons: Set[str]
    _began: dict[str, float] = field(default_factory=dict)

    def observe(self, report: HealthReport, now: float) -> None:
        """Report what has changed since the last call. `now`: wall clock."""
        for part, entry in report.entries.items():
            is_bad = entry.reason in self.reasons
            if is_bad and part not in self._began:
                self._began[part] = now
                self.emit(PartDegraded(part, entry.description, entry.remedy))
            elif not is_bad and part in self._began:
                self.emit(PartRecovered(part, now - self._began.pop(part)))
