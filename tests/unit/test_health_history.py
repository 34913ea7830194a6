"""Since when a part is not healthy, and what to do about it."""

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.support.event_collector import EventCollector
from worker.api.routes.health import HealthCheck, HealthReport
from worker.api.schemas import Grade
from worker.core.clock import Clock
from worker.core.events import LoopFailed, LoopRecovered, PartDegraded, PartRecovered
from worker.service import health
from worker.service.health_history import REMEDIES, HealthHistory, PartReporter


def report(**grades: Grade) -> HealthReport:
    entries = {name: HealthCheck(grade, "what") for name, grade in grades.items()}
    return HealthReport(alive=True, ready=True, started=True, entries=entries)


def test_time_is_that_of_the_first_report_until_the_part_is_healthy_again() -> None:
    history = HealthHistory()
    assert history.noted(report(link="Healthy"), 1.0).entries["link"].since is None
    assert history.noted(report(link="Degraded"), 2.0).entries["link"].since == 2.0
    assert history.noted(report(link="Unhealthy"), 3.0).entries["link"].since == 2.0
    assert history.noted(report(link="Healthy"), 4.0).entries["link"].since is None
    assert history.noted(report(link="Degraded"), 5.0).entries["link"].since == 5.0


def test_parts_that_are_not_healthy_have_a_remedy() -> None:
    noted = HealthHistory().noted(report(settings="Degraded", queue="Healthy"), 1.0)
    assert noted.entries["settings"] == replace(HealthCheck("Degraded", "what"), since=1.0, remedy=REMEDIES["settings"])
    assert noted.entries["queue"] == HealthCheck("Healthy", "what")


async def test_sample_that_fails_is_logged_and_the_next_one_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    collector, stop, samples = EventCollector(), asyncio.Event(), 0

    async def check(_components: Any) -> HealthReport:
        nonlocal samples
        samples += 1
        if samples == 2:
            stop.set()
            return report(link="Healthy")
        raise RuntimeError("broken")

    monkeypatch.setattr(health, "check_health", check)
    monkeypatch.setattr(health, "_SAMPLE_SECONDS", 0.001)
    host = SimpleNamespace(emit=collector, clock=Clock())
    await health.sample_health(cast("Any", SimpleNamespace(host=host)), stop)
    assert [event.where for event in collector.of(LoopFailed)] == ["sampling the health"]
    assert [event.where for event in collector.of(LoopRecovered)] == ["sampling the health"]
    assert samples == 2


def test_part_is_reported_once_when_it_fails_for_a_reason_that_nothing_else_reports() -> None:
    collector = EventCollector()
    reporter = PartReporter(collector, frozenset(["kept"]))
    kept = HealthReport(
        alive=True, ready=True, started=True, entries={"storeLog": HealthCheck("Degraded", "9 bytes", reason="kept")}
    )
    for moment, seen in enumerate((report(storeLog="Healthy"), kept, kept, report(storeLog="Degraded"), kept)):
        reporter.observe(seen, float(moment))
    degraded = PartDegraded("storeLog", "9 bytes", "")
    assert collector.events == [degraded, PartRecovered("storeLog", 2.0), degraded]
