"""What Prometheus reads: valid by its own parser, true to the figures, and enough for the alerts we ship."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from tests.support.attempts import a_claimed_job
from worker.core import events
from worker.core.failure import Failure
from worker.core.outcome import Attempt, Failed, Outcome, Succeeded
from worker.core.store import StoreStats
from worker.hub.stats import HubStats
from worker.notifiers.socketio import events as link
from worker.notifiers.socketio.state import State
from worker.notifiers.socketio.status import LinkStatus
from worker.observability.prometheus import OLD_NAMES, PREFIX, Snapshot, expose
from worker.observability.stats import JobStats, Reloads

ROOT = Path(__file__).parents[2]
LINK = LinkStatus(State.CONNECTED, "ack", 3, 40, 2, None, 1006, 1.0, 5, 1.5, 12.0, "connected", "เชื่อมต่อแล้ว")
STORE = StoreStats({"queued": 4, "running": 1}, 6, 2, 1.5, 7.25, 4096, 1_000_000, full=True)
HUB = HubStats(9, 3, 10, 20, 7, 1, 2, 4, 5, 6, rooms=3, users=2, close_codes={1000: 4, 4408: 1})


def a_snapshot(**changed: Any) -> Snapshot:
    stats = JobStats({"echo", "slow"})
    snapshot = Snapshot(stats, 2, 10, 1, False, LINK, Reloads(), 1, STORE, HUB)
    return replace(snapshot, **changed)


def ended(kind: str, milliseconds: float, failure: Failure | None = None) -> events.JobSettled:
    outcome: Outcome = Succeeded(None) if failure is None else Failed(failure)
    return events.JobSettled(Attempt(a_claimed_job(kind), 0.0, 1.0, milliseconds, failure=failure), outcome)


def samples(snapshot: Snapshot) -> Mapping[tuple[str, frozenset[tuple[str, str]]], float]:
    text = expose(snapshot)[0].decode()
    return {
        (sample.name.removeprefix(PREFIX), frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(snapshot: Snapshot, name: str, **labels: str) -> float:
    return samples(snapshot)[name, frozenset(labels.items())]


def test_attempts_become_counters_and_a_histogram() -> None:
    snapshot = a_snapshot()
    settled = snapshot.stats.on_settled
    for milliseconds in (4.0, 60.0, 7_000_000.0):
        settled(ended("echo", milliseconds))
    settled(ended("slow", 5.0, Failure("ValueError", "broken", None, "id")))
    snapshot.stats.enqueued.update(["echo", "echo"])
    snapshot.stats.cancelled_waiting.update(["slow"])
    assert value(snapshot, "jobs_finished_total", kind="echo", outcome="succeeded") == 3
    assert value(snapshot, "jobs_finished_total", kind="slow", outcome="cancelled") == 1
    assert value(snapshot, "jobs_enqueued_total", kind="echo") == 2
    assert value(snapshot, "job_errors_total", kind="slow", error_type="ValueError") == 1
    labels = {"kind": "echo", "outcome": "succeeded"}
    found = {le: value(snapshot, "job_duration_seconds_bucket", **labels, le=le) for le in ("0.005", "0.1", "3600.0")}
    assert found == {"0.005": 1, "0.1": 2, "3600.0": 2}
    assert value(snapshot, "job_duration_seconds_bucket", **labels, le="+Inf") == 3
    assert value(snapshot, "job_duration_seconds_count", **labels) == 3
    assert value(snapshot, "job_duration_seconds_sum", **labels) == pytest.approx(7000.064)


def test_metrics_show_store_link_and_hub() -> None:
    snapshot = a_snapshot(quiet=True, reloads=Reloads(2, 1, 1_700_000_000.5, last_failed=True))
    listeners = snapshot.stats.listeners()
    listeners[link.Disconnect](link.Disconnect("lost", 1006, 1.0, 0))
    for name, labels, expected in (
        ("queue_jobs", {"state": "queued"}, 4),
        ("queue_oldest_job_age_seconds", {}, 1.5),
        ("outbox_pending", {}, 6),
        ("outbox_oldest_age_seconds", {}, 7.25),
        ("store_full", {}, 1),
        ("store_up", {}, 1),
        ("jobs_running", {}, 2),
        ("concurrency_limit", {}, 10),
        ("quiet", {}, 1),
        ("link_connected", {}, 1),
        ("link_state", {"state": "connected"}, 1),
        ("link_state", {"state": "failed"}, 0),
        ("link_disconnects_total", {"code": "1006"}, 1),
        ("link_ack_seconds", {"quantile": "0.99"}, 0.012),
        ("hub_clients", {}, 3),
        ("hub_disconnects_total", {"code": "4408"}, 1),
        ("config_reloads_total", {"outcome": "failed"}, 1),
        ("config_last_reload_failed", {}, 1),
        ("config_last_reload_success_timestamp_seconds", {}, 1_700_000_000.5),
    ):
        assert value(snapshot, name, **labels) == expected, name


def test_metrics_without_an_answering_store_omit_its_figures() -> None:
    found = samples(a_snapshot(store=None, hub=None))
    assert found["store_up", frozenset()] == 0
    assert not [name for name, _ in found if name.startswith(("queue_", "outbox_", "hub_"))]


def test_metrics_include_the_process() -> None:
    found = {name for name, _ in samples(a_snapshot())}
    assert {"process_cpu_seconds_total", "process_resident_memory_bytes", "python_gc_collections_total"} <= found


def test_metrics_are_open_metrics_when_accepted() -> None:
    body, content_type = expose(a_snapshot(), "application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    families = openmetrics(body.decode())  # type: ignore[no-untyped-call]  # prometheus
    assert {family.name for family in families} >= {PREFIX + "jobs_enqueued", PREFIX + "build_info"}


def test_metric_names_follow_the_conventions() -> None:
    text = expose(a_snapshot())[0].decode()
    for family in text_string_to_metric_families(text):
        assert family.documentation, family.name
        assert re.fullmatch(r"(insignia_worker|process|python)_[a-z_]+", family.name), family.name
        assert not re.search(r"(_ms|_milliseconds|_minutes|_kb)$", family.name), family.name


def test_renamed_metrics_are_exposed_under_both_names() -> None:
    found = {name: value for (name, _), value in samples(a_snapshot()).items()}
    for new, old in OLD_NAMES.items():
        [suffix] = {name.removeprefix(new) for name in found if name in (new, f"{new}_total")}
        assert found[old + suffix] == found[new + suffix]


def test_shipped_alerts_use_existing_metrics() -> None:
    rules = (ROOT / "deploy" / "prometheus-alerts.yml").read_text(encoding="utf-8")
    expressions = re.findall(r"^ +expr: (.+)$", rules, re.MULTILINE)
    asked = {name for line in expressions for name in re.findall(PREFIX + "[a-z_]+", line)}
    snapshot = a_snapshot(reloads=Reloads(1, 0, 1.0))
    snapshot.stats.on_settled(ended("echo", 1.0, Failure("ValueError", "broken", None, "id")))
    there = {PREFIX + name for name, _ in samples(snapshot)}
    assert len(expressions) >= 8
    assert asked <= there, asked - there


def test_documentation_lists_every_metric() -> None:
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    snapshot = a_snapshot(reloads=Reloads(1, 0, 1.0))
    families = text_string_to_metric_families(expose(snapshot)[0].decode())
    names = [family.name.removeprefix(PREFIX) for family in families if family.name.startswith(PREFIX)]
    missing = [name for name in names if f"`{name}" not in page and not name.startswith("hub_")]
    assert missing == []


def test_dropped_log_lines_are_counted() -> None:
    assert value(a_snapshot(), "log_lines_dropped_total") == 0
    assert value(a_snapshot(dropped_log_lines=12), "log_lines_dropped_total") == 12
