"""The figures as Prometheus reads them. Worked out when somebody asks; counts nothing itself and knows no HTTP.

Names and units by Prometheus' conventions; labels hold only what there are few of: kinds of jobs that have a handler,
states, outcomes, classes of errors up to a cap, close codes. Never users, jobs or addresses.
"""

import platform
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from worker import __version__
from worker.hub.stats import HubFigures
from worker.orgsocket.figures import LinkFigures
from worker.orgsocket.link import State
from worker.queue import Figures
from worker.tally import Histogram, Tally

if TYPE_CHECKING:  # a twentieth of a second that a start need not pay
    from prometheus_client.metrics_core import Metric

PREFIX: Final = "insignia_worker_"

_TOTALS: Final[Mapping[str, tuple[str, str]]] = {
    "released": ("jobs_released", "Jobs given back at shutdown"),
    "recovered": ("jobs_recovered", "Jobs found running at start, whose service had died"),
    "pruned": ("jobs_pruned", "Jobs deleted after Queue:Retention"),
    "ownership_lost": ("results_dropped", "Results dropped because the job had ended elsewhere"),
    "abandoned": ("handlers_abandoned", "Handlers left behind because they did not stop when told to"),
    "loop_failures": ("loop_failures", "Unexpected errors that a loop survived"),
    "loop_blocked": ("event_loop_blocked", "Times the event loop stood still for half a second or more"),
    "store_full": ("claiming_stops", "Times claiming stopped because the store was full"),
    "delivered": ("notifications_delivered", "Notifications proven received by the server"),
    "rejected": ("notifications_rejected", "Notifications the server refused"),
    "link_connects": ("link_connects", "Sessions with the org-socket server that came up"),
    "link_connect_errors": ("link_connect_errors", "Attempts to connect that failed"),
}
"""What the tally counts under one name: the metric's, without prefix and `_total`, and its help."""


@dataclass(frozen=True, slots=True)
class Reloads:
    """How reading the settings anew has gone since the start."""

    succeeded: int = 0
    failed: int = 0
    last_success: float | None = None
    """Wall clock."""
    last_failed: bool = False


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The service at one moment."""

    tally: Tally
    running: int
    concurrency: int
    processes: int
    quiet: bool
    link: LinkFigures
    reloads: Reloads
    viewers: int
    store: Figures | None
    """None: the store does not answer."""
    hub: HubFigures | None
    """None: there is no hub in this process."""
    paused: int = 0
    """Kinds that are paused."""


def expose(snapshot: Snapshot, accept: str = "") -> tuple[bytes, str]:
    """The page and its content type: Prometheus' text, or OpenMetrics for who accepts it."""
    from prometheus_client import GC_COLLECTOR, PROCESS_COLLECTOR, CollectorRegistry
    from prometheus_client.exposition import choose_encoder

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected(snapshot))
    for collector in (PROCESS_COLLECTOR, GC_COLLECTOR):
        registry.register(collector)
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


@dataclass(frozen=True, slots=True, eq=False)
class _Collected:
    snapshot: Snapshot

    def collect(self) -> "Iterable[Metric]":
        snapshot = self.snapshot
        yield from _build()
        yield from _jobs(snapshot.tally)
        yield from _worker(snapshot)
        yield from _store(snapshot.store)
        yield from _link(snapshot.link, snapshot.tally)
        if snapshot.hub is not None:
            yield from _hub(snapshot.hub)
        yield from _reloads(snapshot.reloads)
        for name, (metric, text) in _TOTALS.items():
            yield _counter(metric, text, snapshot.tally.totals[name])


def _build() -> "Iterator[Metric]":
    labels = {"version": __version__, "python": platform.python_version(), "sqlite": sqlite3.sqlite_version}
    yield _gauges("build_info", "Which build this is", tuple(labels), {tuple(labels.values()): 1})


def _jobs(tally: Tally) -> "Iterator[Metric]":
    yield _counters(
        "jobs_enqueued", "Jobs newly on disk", ("kind",), {(kind,): n for kind, n in tally.enqueued.items()}
    )
    finished = {key: histogram.count for key, histogram in tally.attempts.items()}
    for kind, count in tally.cancelled_waiting.items():
        finished[kind, "cancelled"] = finished.get((kind, "cancelled"), 0) + count
    help_text = "Attempts that ended, and jobs cancelled before they ran; retried is no end of a job"
    yield _counters("jobs_finished", help_text, ("kind", "outcome"), finished)
    yield _histograms("job_duration_seconds", "How long attempts took", ("kind", "outcome"), tally.attempts)
    yield _counters("job_errors", "Attempts that failed, by class of error", ("kind", "error_type"), tally.errors)
    yield _histograms("event_loop_lag_seconds", "How late the event loop was, ten times a second", (), {(): tally.lag})


def _worker(snapshot: Snapshot) -> "Iterator[Metric]":
    yield _gauge("jobs_running", "Attempts under way", snapshot.running)
    yield _gauge("concurrency_limit", "Attempts at once, at most", snapshot.concurrency)
    yield _gauge("processes_limit", "Child processes, at most", snapshot.processes)
    yield _gauge("quiet", "1 while no new job is started", snapshot.quiet)
    yield _gauge("kinds_paused", "Kinds of jobs that are paused", snapshot.paused)
    yield _gauge("live_viewers", "Pages that watch /api/v1/live", snapshot.viewers)


def _store(figures: Figures | None) -> "Iterator[Metric]":
    yield _gauge("store_up", "1 while the store answers", figures is not None)
    if figures is None:
        return
    states = {(state,): count for state, count in figures.jobs.items()}
    yield _gauges("queue_jobs", "Jobs in the store", ("state",), states)
    age = "Seconds since the oldest job that could run fell due; 0: none waits"
    yield _gauge("queue_oldest_job_age_seconds", age, figures.oldest_job_age or 0.0)
    yield _gauge("outbox_pending", "Notifications not yet proven received", figures.outbox_depth)
    yield _gauge("outbox_dead", "Notifications that were refused and not sent again", figures.outbox_dead)
    age = "Seconds since the oldest notification that waits was stored; 0: none waits"
    yield _gauge("outbox_oldest_age_seconds", age, figures.oldest_outbox_age or 0.0)
    yield _gauge("store_size_bytes", "Size of the store", figures.size_bytes)
    yield _gauge("store_max_bytes", "Queue:MaxBytes", figures.max_bytes)
    yield _gauge("store_full", "1 while new jobs are refused for want of room", figures.full)


def _link(figures: LinkFigures, tally: Tally) -> "Iterator[Metric]":
    states = {(state.value,): int(state is figures.state) for state in State}
    yield _gauge("link_connected", "1 while the org-socket server is connected", figures.state is State.CONNECTED)
    yield _gauges("link_state", "1 for the state the link is in", ("state",), states)
    codes = {(code,): count for code, count in tally.close_codes.items()}
    yield _counters("link_disconnects", "Sessions that ended, by close code", ("code",), codes)
    yield _counter("link_reconnect_attempts", "Attempts after a loss or a failure", figures.reconnect_attempts)
    yield _gauge("link_in_flight", "Notifications on the way without proof", figures.in_flight)
    quantiles = {("0.5",): figures.ack_ms_p50, ("0.99",): figures.ack_ms_p99}
    known = {labels: value / 1000 for labels, value in quantiles.items() if value is not None}
    text = "Seconds from sending to proof, over the last thousand notifications"
    yield _gauges("link_ack_seconds", text, ("quantile",), known)


def _hub(figures: HubFigures) -> "Iterator[Metric]":
    yield _gauge("hub_clients", "Clients connected to the hub", figures.connections_active)
    yield _gauge("hub_users", "Users with at least one client", figures.users)
    yield _gauge("hub_rooms", "Rooms with somebody in them", figures.rooms)
    for name, text, value in (
        ("hub_connections", "Clients that ever connected", figures.connections_total),
        ("hub_messages_in", "Messages from clients", figures.messages_in),
        ("hub_messages_out", "Messages to clients", figures.messages_out),
        ("hub_notifications", "Notifications stored in an inbox", figures.notifications),
        ("hub_repetitions", "Repeated notifications, dropped", figures.repetitions),
        ("hub_replayed", "Notifications given to clients that had missed them", figures.replayed),
        ("hub_shown", "Notifications that pages said they showed", figures.shown),
        ("hub_errors", "Messages and clients at fault, and failures of the inbox", figures.errors),
        ("hub_refused", "Clients turned away at the door", figures.refused),
    ):
        yield _counter(name, text, value)
    codes = {(str(code),): count for code, count in figures.close_codes.items()}
    yield _counters("hub_disconnects", "Clients that left, by close code", ("code",), codes)


def _reloads(reloads: Reloads) -> "Iterator[Metric]":
    counts = {("succeeded",): reloads.succeeded, ("failed",): reloads.failed}
    yield _counters("config_reloads", "How reading the settings anew went", ("outcome",), counts)
    yield _gauge("config_last_reload_failed", "1 when the last reload kept the old settings", reloads.last_failed)
    if reloads.last_success is not None:
        text = "When the settings were last read anew"
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
    """Upper bound in seconds, and how many lie at or below it."""
    below = 0
    for bound, count in zip((*histogram.bounds, float("inf")), histogram.counts, strict=True):
        below += count
        yield ("+Inf" if bound == float("inf") else repr(bound / 1000)), float(below)
