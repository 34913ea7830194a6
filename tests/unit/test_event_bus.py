"""Distributing events to listeners, and what happens when one of them raises."""

import pytest

from worker.core.event_bus import EventBus
from worker.core.events import Announced, ListenerFailed, Warned


def failing(_event: object) -> None:
    raise ValueError("not today")


def test_listener_receives_every_event_or_only_its_classes() -> None:
    everything: list[object] = []
    warnings: list[object] = []
    emit = EventBus(everything.append)
    emit(Announced("before"))
    emit.add(warnings.append, Warned)
    for event in (Announced("a"), Warned("b")):
        emit(event)
    assert everything == [Announced("before"), Announced("a"), Warned("b")]
    assert warnings == [Warned("b")]


def test_removed_listener_receives_nothing_more() -> None:
    received: list[object] = []
    emit = EventBus()
    remove = emit.add(received.append, Warned)
    emit(Warned("a"))
    remove()
    emit(Warned("b"))
    assert received == [Warned("a")]


def test_listener_that_raises_stops_no_other_listener() -> None:
    received: list[object] = []
    emit = EventBus(failing)
    emit.add(received.append, Warned)
    emit(Warned("a"))
    assert received == [Warned("a")]


def test_listener_that_raises_is_counted_each_time_and_reported_as_first_once() -> None:
    reports: list[ListenerFailed] = []
    emit = EventBus(failing)
    emit.add(reports.append, ListenerFailed)
    for text in ("a", "b", "c"):
        emit(Warned(text))
    name = f"{__name__}.failing"
    # The failing listener receives the reports too, and raises again on each: six times in all.
    assert emit.failures[name] == 6
    assert [(report.listener, str(report.error), report.first) for report in reports] == [
        (name, "not today", True), (name, "not today", False), (name, "not today", False)
    ]  # fmt: skip


def test_failure_while_a_failure_is_reported_is_written_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    EventBus(failing)(Warned("a"))
    assert "ValueError: not today" in capsys.readouterr().err


def test_object_that_raises_is_named_by_its_class() -> None:
    class Deaf:
        def __call__(self, _event: object) -> None:
            raise ValueError("no")

    emit = EventBus()
    emit.add(Deaf(), Warned)
    emit(Warned("a"))
    assert list(emit.failures) == [f"{__name__}.{Deaf.__qualname__}"]
