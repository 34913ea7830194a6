"""Checks the health of the service, for probes and pages."""

import asyncio
from collections.abc import Mapping

from worker.api.routes.health import HealthCheck, HealthReport
from worker.api.routes.hub import hub_figures
from worker.core.loop_failures import LoopFailures
from worker.core.store import StoreStats
from worker.errors import WorkerError
from worker.notifiers.socketio.state import State
from worker.runtime.maintenance import sleep_or_stop
from worker.service.components import ServiceComponents
from worker.service.health_history import PartReporter
from worker.service.monitoring import link_view

_STALE_BEAT = 5.0
"""Seconds without a heartbeat of the event loop after which the service does not count as alive."""

_SAMPLE_SECONDS = 5.0

_NO_STORE = "the store cannot be used"
_FULL = "the store is full"
_LOG_KEPT = "another program keeps the store's write-ahead log from being emptied"
_NO_HANDLER = "jobs wait for a program that has a handler for them"

_UNREPORTED = frozenset((_LOG_KEPT, _NO_HANDLER))
"""Reasons that no event reports when they begin."""


async def check_health(components: ServiceComponents) -> HealthReport:
    """Return the health: alive by the loop's heartbeat, ready by store and claiming. The hub never decides either."""
    host = components.host
    loop = _loop_entry(components)
    entries: dict[str, HealthCheck] = {"loop": loop, **await _store_entries(components)}
    entries["settings"] = _settings_entry(components)
    shortage = components.jobs.worker.shortage.current
    entries["resources"] = HealthCheck(
        "Degraded" if shortage else "Healthy",
        f"no more {shortage}" if shortage else "",
        reason="a resource of the system is exhausted" if shortage else "",
    )
    link = link_view(components.delivery.notifier, components.jobs.worker.executor.redact)
    entries["link"] = HealthCheck("Healthy" if link["state"] == State.CONNECTED else "Degraded", data=link)
    if components.delivery.hub is not None:
        entries["hub"] = HealthCheck("Healthy", data=hub_figures(components.delivery.hub))
    alive, started = loop.status == "Healthy", host.started.is_set()
    is_draining = host.shutdown.event.is_set()
    ready = entries["queue"].status != "Unhealthy" and alive and not is_draining and started
    report = HealthReport(alive=alive, ready=ready, started=started, entries=entries)
    return components.health.noted(report, host.clock.now())


async def sample_health(components: ServiceComponents, stop: asyncio.Event) -> None:
    """Check the health every few seconds, so that it is known since when a part is not healthy."""
    host = components.host
    failures, parts = LoopFailures("sampling the health", host.emit), PartReporter(host.emit, _UNREPORTED)
    while not stop.is_set():
        try:
            parts.observe(await check_health(components), host.clock.now())
            failures.succeeded()
        except Exception as exc:  # noqa: BLE001 -- a sample must not take the service down
            failures.failed(exc, _SAMPLE_SECONDS)
        await sleep_or_stop(stop, _SAMPLE_SECONDS)


def _loop_entry(components: ServiceComponents) -> HealthCheck:
    watchdog = components.maintenance.watchdog
    age = components.host.clock.monotonic() - watchdog.last_beat
    alive = watchdog.last_beat == 0.0 or age < _STALE_BEAT
    return HealthCheck("Healthy" if alive else "Unhealthy", data=_in_seconds("beatAge", round(age, 3)))


def _in_seconds(name: str, value: float | None) -> dict[str, float | None]:
    """Return the figure under its name with the unit, and under the former one without (docs/http.md)."""
    return {f"{name}Seconds": value, name: value}


async def _unserved(components: ServiceComponents) -> Mapping[str, int]:
    """Return how many jobs wait for a handler, by kind."""
    waiting, registry = await components.jobs.store.counts_by_kind(), components.jobs.service.registry
    return {kind: jobs for kind, jobs in sorted(waiting.items()) if jobs and kind not in registry}


async def _store_entries(components: ServiceComponents) -> Mapping[str, HealthCheck]:
    worker = components.jobs.worker
    try:
        figures, unserved = await components.jobs.store.stats(), await _unserved(components)
    except WorkerError as exc:
        return {"queue": HealthCheck("Unhealthy", str(exc), reason=_NO_STORE)}
    unwritable = components.maintenance.store_monitor.problem
    kinds = ", ".join(f"{jobs:,} of {kind}" for kind, jobs in unserved.items())
    problems = [
        (reason, text)
        for is_found, reason, text in (
            (unwritable, _NO_STORE, unwritable),
            (figures.full, _FULL, _FULL),
            (unserved, _NO_HANDLER, f"{_NO_HANDLER}: {kinds}"),
        )
        if is_found
    ]
    queue = HealthCheck(
        "Unhealthy" if unwritable else "Degraded" if problems else "Healthy",
        "; ".join(text for _, text in problems),
        {
            "jobs": dict(figures.jobs),
            **_in_seconds("oldestJobAge", figures.oldest_job_age),
            "unserved": dict(unserved),
            "running": worker.running,
            "concurrency": worker.concurrency,
            "sizeBytes": figures.size_bytes,
            "maxBytes": figures.max_bytes,
        },
        problems[0][0] if problems else "",
    )
    log = HealthCheck(
        "Degraded" if figures.log_kept else "Healthy",
        figures.log_kept,
        {"sizeBytes": figures.log_bytes},
        _LOG_KEPT if figures.log_kept else "",
    )
    return {"queue": queue, "outbox": _outbox_entry(figures), "storeLog": log}


def _outbox_entry(figures: StoreStats) -> HealthCheck:
    data = {
        "depth": figures.outbox_depth,
        "dead": figures.outbox_dead,
        **_in_seconds("oldestAge", figures.oldest_outbox_age),
    }
    reason = "some notifications could not be delivered" if figures.outbox_dead else ""
    return HealthCheck("Degraded" if figures.outbox_dead else "Healthy", reason=reason, data=data)


def _settings_entry(components: ServiceComponents) -> HealthCheck:
    problem, reloads = components.reloader.problem, components.reloader.outcome
    return HealthCheck(
        "Degraded" if problem else "Healthy",
        f"reload failed: {problem}" if problem else "",
        {"reloads": reloads.succeeded, "failedReloads": reloads.failed},
        "the settings could not be reloaded" if problem else "",
    )
