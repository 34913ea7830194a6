"""Renders the statistics for Prometheus when they are requested.

Names and units follow Prometheus' conventions. Labels hold only values of which there are few: kinds with a handler,
states, outcomes, error classes up to a limit, close codes; never users, jobs or addresses.
"""

import copy
import platform
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from worker import __version__
from worker.core.store import StoreStats
from worker.hub.stats import HubStats
from worker.notifiers.socketio.state import State
from worker.notifiers.socketio.status import LinkStatus
from worker.observability.stats import Histogram, JobStats, Reloads

if TYPE_CHECKING:  # the import takes 50 ms
    from prometheus_client.metrics_core import Metric

PREFIX: Final = "insignia_worker_"

_TOTALS: Final[Mapping[str, tuple[str, str]]] = {
    "released": ("jobs_released", "Jobs released at a shutdown"),
    "recovered": ("jobs_recovered", "Jobs that were running when the service crashed, found at the start"),
    "pruned": ("jobs_pruned", "Jobs deleted after Queue:Retention"),
    "ownership_lost": ("results_dropped", "Results discarded because the job was settled elsewhere"),
    "abandoned": ("handlers_abandoned", "Handlers abandoned because they did not stop when asked"),
    "loop_failures": ("loop_failures", "Unexpected errors that a loop survived"),
    "listener_failures": ("listener_failures", "Exceptions that listeners of events raised"),
    "loop_blocked": ("event_loop_blocked", "Times the event loop was blocked for half a second or more"),
    "store_full": ("claiming_stops", "Times claiming stopped because the store was full"),
    "delivered": ("notifications_delivered", "Notifications that the server confirmed"),
    "rejected": ("notifications_rejected", "Notifications that the server rejected"),
    "link_connects": ("link_connects", "Sessions established with the org-socket server"),
    "link_connect_errors": ("link_connect_errors", "Attempts to connect that failed"),
}
"""The counters without labels: name of the metric without prefix and `_total`, and its help text."""


OLD_NAMES: Final[Mapping[str, str]] = {
    "live_subscribers": "live_viewers",
    "hub_notifications_shown": "hub_shown",
    "hub_rejected": "hub_refused",
}
"""Metrics that had another name; the old one is exposed as well until 1.0."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of the service at one moment."""

    stats: JobStats
    running: int
    concurrency: int
    processes: int
    quiet: bool
    link: LinkStatus
    reloads: Reloads
    subscribers: int
    store: StoreStats | None
    """None: the store does not answer."""
    hub: HubStats | None
    """None: there is no hub in this process."""
    paused: int = 0
    """Kinds that are paused."""
    dropped_log_lines: int = 0
    """Since the start of the process."""


def expose(snapshot: Snapshot, accept: str = "") -> tuple[bytes, str]:
    """Return the page and its content type: Prometheus' text format, or OpenMetrics when `accept` allows it."""
    from prometheus_client import GC_COLLECTOR, PROCESS_COLLECTOR, CollectorRegistry
    from prometheus_client.exposition import choose_encoder

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_SnapshotCollector(snapshot))
    for collector in (PROCESS_COLLECTOR, GC_COLLECTOR):
        registry.register(collector)
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


@dataclass(frozen=True, slots=True, eq=False)
class _SnapshotCollector:
    snapshot: Snapshot

    def collect(self) -> "Iterable[Metric]":
        for family in self._families():
            yield family
            old = OLD_NAMES.get(family.name.removeprefix(PREFIX))
            if old is not None:
                yield _renamed(family, PREFIX + old)

    def _families(self) -> "Iterator[Metric]":
        snapshot = self.snapshot
        yield from _build()
        yield from _jobs(snapshot.stats)
        yield from _worker(snapshot)
        yield from _store(snapshot.store)
        yield from _link(snapshot.link, snapshot.stats)
        if snapshot.hub is not None:
            yield from _hub(snapshot.hub)
        yield from _reloads(snapshot.reloads)
        for name, (metric, text) in _TOTALS.items():
            yield _counter(metric, text, snapshot.stats.totals[name])


def _renamed(family: "Metric", name: str) -> "Metric":
    renamed = copy.copy(family)
    renamed.name = name
    renamed.documentation = f"Old name of {family.name}, until 1.0"
    renamed.samples = [sample._replace(name=name + sample.name.removeprefix(family.name)) for sample in family.samples]
    return renamed


def _build() -> "Iterator[Metric]":
    labels = {"version": __version__, "python": platform.python_version(), "sqlite": sqlite3.sqlite_version}
    yield _gauges("build_info", "Which build this is", tuple(labels), {tuple(labels.values()): 1})


def _jobs(stats: JobStats) -> "Iterator[Metric]":
    yield _counters(
        "jobs_enqueued", "Jobs newly on disk", ("kind",), {(kind,): n for kind, n in stats.enqueued.items()}
    )
    finished = {key: histogram.count for key, histogram in stats.attempts.items()}
    for kind, count in stats.cancelled_waiting.items():
        finished[kind, "cancelled"] = finished.get((kind, "cancelled"), 0) + count
    help_text = "Attempts that ended, and jobs cancelled before they ran; retried does not end a job"
    yield _counters("jobs_finished", help_text, ("kind", "outcome"), finished)
    yield _histograms("job_duration_seconds", "How long attempts took", ("kind", "outcome"), stats.attempts)
    yield _counters("job_errors", "Attempts that failed, by class of error", ("kind", "error_type"), stats.errors)
    yield _histograms("event_loop_lag_seconds", "How late the event loop was, ten times a second", (), {(): stats.lag})


def _worker(snapshot: Snapshot) -> "Iterator[Metric]":
    yield _gauge("jobs_running", "Running attempts", snapshot.running)
    yield _gauge("concurrency_limit", "Most attempts that run at once", snapshot.concurrency)
    yield _gauge("processes_limit", "Most child processes", snapshot.processes)
    yield _gauge("quiet", "1 while no new job is started", snapshot.quiet)
    yield _gauge("kinds_paused", "Kinds of jobs that are paused", snapshot.paused)
    text = "Log lines that were dropped, because their reader had stalled or they could not be written"
    yield _counter("log_lines_dropped", text, snapshot.dropped_log_lines)
    yield _gauge("live_subscribers", "Subscribers of /api/v1/live", snapshot.subscribers)


def _store(figures: StoreStats | None) -> "Iterator[Metric]":
    yield _gauge("store_up", "1 while the store answers", figures is not None)
    if figures is None:
        return
    states = {(state,): count for state, count in figures.jobs.items()}
    yield _gauges("queue_jobs", "Jobs in the store", ("state",), states)
    age = "Seconds since the oldest waiting job fell due; 0: none waits"
    yield _gauge("queue_oldest_job_age_seconds", age, figures.oldest_job_age or 0.0)
    yield _gauge("outbox_pending", "Notifications that are not confirmed yet", figures.outbox_depth)
    yield _gauge("outbox_dead", "Notifications that were rejected and are not sent again", figures.outbox_dead)
    age = "Seconds since the oldest waiting notification was stored; 0: none waits"
    yield _gauge("outbox_oldest_age_seconds", age, figures.oldest_outbox_age or 0.0)
    yield _gauge("store_size_bytes", "Size of the store", figures.size_bytes)
    yield _gauge("store_max_bytes", "Queue:MaxBytes", figures.max_bytes)
    yield _gauge("store_log_bytes", "Size of the store's write-ahead log", figures.log_bytes)
    text = "1 while a reader keeps the write-ahead log from being emptied, so that it grows"
    yield _gauge("store_log_kept", text, bool(figures.log_kept))
    yield _gauge("store_full", "1 while new jobs are rejected because the store is full", figures.full)


def _link(figures: LinkStatus, stats: JobStats) -> "Iterator[Metric]":
    states = {(state.value,): int(state is figures.state) for state in State}
    yield _gauge("link_connected", "1 while the org-socket server is connected", figures.state is State.CONNECTED)
    yield _gauges("link_state", "1 for the state the link is in", ("state",), states)
    codes = {(code,): count for code, count in stats.close_codes.items()}
    yield _counters("link_disconnects", "Sessions that ended, by close code", ("code",), codes)
    yield _counter(
        "link_reconnect_attempts", "Attempts to connect after a loss or a failure", figures.reconnect_attempts
    )
    yield _gauge("link_in_flight", "Notifications sent but not confirmed yet", figures.in_flight)
    quantiles = {("0.5",): figures.ack_ms_p50, ("0.99",): figures.ack_ms_p99}
    known = {labels: value / 1000 for labels, value in quantiles.items() if value is not None}
    text = "Seconds from sending to confirmation, of the last thousand notifications"
    yield _gauges("link_ack_seconds", text, ("quantile",), known)


def _hub(figures: HubStats) -> "Iterator[Metric]":
    yield _gauge("hub_clients", "Clients connected to the hub", figures.connections_active)
    yield _gauge("hub_users", "Users with at least one client", figures.users)
    yield _gauge("hub_rooms", "Rooms with at least one client", figures.rooms)
    for name, text, value in (
        ("hub_connections", "Clients that ever connected", figures.connections_total),
        ("hub_messages_in", "Messages from clients", figures.messages_in),
        ("hub_messages_out", "Messages to clients", figures.messages_out),
        ("hub_notifications", "Notifications stored in an inbox", figures.notifications),
        ("hub_repetitions", "Repeated notifications, dropped", figures.repetitions),
        ("hub_replayed", "Notifications sent to clients that had missed them", figures.replayed),
        ("hub_notifications_shown", "Notifications that browsers reported as shown", figures.shown),
        ("hub_errors", "Invalid messages of clients, and failures of the inbox", figures.errors),
        ("hub_rejected", "Clients rejected before or during the handshake", figures.refused),
    ):
        yield _counter(name, text, value)
    codes = {(str(code),): count for code, count in figures.close_codes.items()}
    yield _counters("hub_disconnects", "Clients that disconnected, by close code", ("code",), codes)


def _reloads(reloads: Reloads) -> "Iterator[Metric]":
    counts = {("succeeded",): reloads.succeeded, ("failed",): reloads.failed}
    yield _counters("config_reloads", "Reloads of the settings, by outcome", ("outcome",), counts)
    yield _gauge("config_last_reload_failed", "1 when the last reload kept the old settings", reloads.last_failed)
    if reloads.last_success is not None:
        text = "When the settings were last reloaded"
        yield _gauge("config_last_reload_success_timestamp_seconds", text, reloads.last_success)


# -- families --------------------------------------------------------------------------------------------------------


def _gauge(name: str, text: str, value: float) -> "Metric":
    return _gauges(name, text, (), {(): value})


def _counter(name: str, text: str, value: float) -> "Metric":
    return _counters(name, text, (), {(): value})


def _gauges(name: str, text: str, labels: tuple[str, ...], values: Mapping[Any, float]) -> "Metric":
    from prometheus_client.metrics_core import GaugeMetricFamily

    family = GaugeMetricFamily(PREFIX + name, text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, float(value))
    return family


def _counters(name: str, text: str, labels: tuple[str, ...], values: Mapping[Any, float]) -> "Metric":
    from prometheus_client.metrics_core import CounterMetricFamily

    family = CounterMetricFamily(PREFIX + name, text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, float(value))
    return family


def _histograms(name: str, text: str, labels: tuple[str, ...], values: Mapping[Any, Histogram]) -> "Metric":
    from prometheus_client.metrics_core import HistogramMetricFamily

    family = HistogramMetricFamily(PREFIX + name, text, labels=labels)
    for key, histogram in values.items():
        family.add_metric(key, list(_buckets(histogram)), histogram.total / 1000)
    return family


def _buckets(histogram: Histogram) -> Iterator[tuple[str, float]]:
    """Yield each upper bound in seconds with the number of values at or below it."""
    below = 0
    for bound, count in zip((*histogram.bounds, float("inf")), histogram.counts, strict=True):
        below += count
        yield ("+Inf" if bound == float("inf") else repr(bound / 1000)), float(below)
