"""Who hears which event."""

from worker.emitter import Emitter
from worker.events import Announced, Warned


def test_a_listener_hears_everything_or_the_kinds_it_named() -> None:
    everything: list[object] = []
    warnings: list[object] = []
    emit = Emitter(everything.append)
    emit(Announced("before"))
    emit.add(warnings.append, Warned)
    for event in (Announced("a"), Warned("b")):
        emit(event)
    assert everything == [Announced("before"), Announced("a"), Warned("b")]
    assert warnings == [Warned("b")]


def test_a_listener_that_was_removed_hears_nothing_more() -> None:
    heard: list[object] = []
    emit = Emitter()
    remove = emit.add(heard.append, Warned)
    emit(Warned("a"))
    remove()
    emit(Warned("b"))
    assert heard == [Warned("a")]


def test_a_listener_that_fails_is_left_out_of_it() -> None:
    heard: list[object] = []

    def fail(_event: object) -> None:
        raise ValueError("not today")

    emit = Emitter(fail)
    emit.add(heard.append)
    emit(Warned("a"))
    assert heard == [Warned("a")]
