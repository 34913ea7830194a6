"""When the interval of the keep-alive is shortened."""

import pytest

from worker.notifiers.socketio.keep_alive import KeepAlive
from worker.notifiers.socketio.server_capabilities import ServerCapabilities


def test_two_cuts_after_the_same_silence_shorten_the_interval_and_say_so() -> None:
    server = ServerCapabilities()
    assert KeepAlive(10.0, server).on_cut(5.1) is None
    keep_alive = KeepAlive(10.0, server)
    detail = keep_alive.on_cut(5.0)
    assert (keep_alive.interval, keep_alive.patience) == (2.5, 10.0)
    assert detail is not None
    assert "cut after 5.0 s of silence" in detail
    assert "pinged every 2.5 s" in detail
    assert KeepAlive(1.0, server).interval == 1.0, "a shorter setting applies"


@pytest.mark.parametrize("cuts", [(5.0, 9.0), (0.1, 0.1), (5.0,), (60.0, 60.0)])
def test_other_cuts_change_nothing(cuts: tuple[float, ...]) -> None:
    keep_alive = KeepAlive(10.0, ServerCapabilities())
    assert [keep_alive.on_cut(silence) for silence in cuts] == [None] * len(cuts)
    assert keep_alive.interval == 10.0


def test_end_for_another_reason_begins_the_count_again() -> None:
    keep_alive = KeepAlive(10.0, ServerCapabilities())
    keep_alive.on_cut(5.0)
    keep_alive.on_other_end()
    assert keep_alive.on_cut(5.0) is None


def test_interval_shortens_further_when_it_was_not_enough() -> None:
    keep_alive = KeepAlive(10.0, ServerCapabilities(keep_alive=4.0))
    for _ in range(2):
        keep_alive.on_cut(3.0)
    assert keep_alive.interval == 1.5


def test_interval_is_kept_between_starts() -> None:
    assert ServerCapabilities.from_json(ServerCapabilities(keep_alive=2.5).as_json()).keep_alive == 2.5
    assert ServerCapabilities.from_json({"keepAlive": "soon"}).keep_alive is None
