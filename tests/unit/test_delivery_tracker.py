"""What counts as confirmation of receipt, mode by mode; no socket, no clock."""

import pytest

from worker.notifiers.socketio.acknowledgement import rejection
from worker.notifiers.socketio.confirmation import (
    WINDOW_BYTES,
    Confirmation,
    ConfirmationConfig,
    DeliveryTracker,
    Window,
)
from worker.notifiers.socketio.server_capabilities import ServerCapabilities


def tracker_for(
    confirmation: Confirmation, server: ServerCapabilities | None = None, *, window: int = 4
) -> DeliveryTracker:
    return DeliveryTracker(
        ConfirmationConfig(confirmation, window, ack_timeout=10.0, ping_interval=25.0, ping_timeout=20.0),
        server or ServerCapabilities(),
    )


def sent(tracker: DeliveryTracker, count: int, now: float = 0.0) -> None:
    """Messages with the ids 101, 102 …."""
    for _ in range(count):
        tracker.on_sent(101 + tracker.window.sent, 100, now)


# -- the window --------------------------------------------------------------------------------------------------------


def test_watermark_moves_only_without_a_gap() -> None:
    window = Window()
    for message_id in (11, 15, 17):
        window.add(message_id, 10, 0.0)
    window.settle(2)
    assert (window.confirmed, len(window), window.size) == (0, 3, 30)
    window.settle(1)
    assert (window.confirmed, len(window), window.size) == (15, 1, 10)
    window.settle(3)
    assert (window.confirmed, len(window), window.size) == (17, 0, 0)


@pytest.mark.parametrize("number", [0, -1, 3, 99])
def test_settle_ignores_a_number_that_was_never_sent(number: int) -> None:
    window = Window()
    window.add(11, 10, 0.0)
    window.add(12, 10, 0.0)
    assert window.settle(number) is None
    assert len(window) == 2


def test_settle_counts_a_message_once() -> None:
    window = Window()
    window.add(11, 10, 5.0)
    window.add(12, 10, 6.0)
    assert window.settle(2) == 6.0
    assert window.settle(2) is None
    assert window.settle(1) == 5.0
    assert window.settle(1) is None


# -- ack ---------------------------------------------------------------------------------------------------------------


def test_room_is_the_window_less_what_is_in_flight() -> None:
    tracker = tracker_for("ack")
    sent(tracker, 3)
    assert tracker.room == 1
    tracker.on_ack(1, 1.0)
    assert tracker.room == 2


def test_check_times_out_for_an_unacknowledged_message() -> None:
    tracker = tracker_for("ack")
    sent(tracker, 1)
    assert tracker.check(10.0) == "ok"
    assert tracker.check(10.1) == "timed out"


def test_check_passes_while_the_watermark_moves() -> None:
    tracker = tracker_for("ack")
    sent(tracker, 3)
    tracker.on_ack(1, 8.0)
    tracker.on_ack(2, 16.0)
    assert tracker.check(25.0) == "ok"
    assert tracker.check(26.1) == "timed out"


def test_check_times_out_for_a_gap_below_acknowledged_messages() -> None:
    tracker = tracker_for("ack", window=100)
    sent(tracker, 30)
    for number in range(2, 31):
        tracker.on_ack(number, 9.0)
    assert tracker.check(10.1) == "timed out"


def test_check_passes_while_nothing_is_in_flight() -> None:
    tracker = tracker_for("ack")
    sent(tracker, 1)
    tracker.on_ack(1, 0.1)
    assert tracker.check(1e6) == "ok"
    sent(tracker, 1, now=1e6)
    assert tracker.check(1e6 + 9) == "ok"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([False], "the server answered false"),
        ([False, "no such user"], "no such user"),
        (["error"], "the server answered error"),
        (["error", {"message": "full"}], "full"),
        ([{"ok": False}], "the server answered not ok"),
        ([{"success": False, "message": "bad"}], "bad"),
        ([{"status": "error", "reason": "late"}], "late"),
        ([{"error": "no room"}], "no room"),
        ([{"ok": True, "error": {"code": 7}}], "7"),
    ],
)
def test_rejection_gives_the_servers_reason(arguments: list[object], reason: str) -> None:
    assert rejection(arguments) == reason


@pytest.mark.parametrize(
    "arguments",
    [[], [None], [True], ["ok"], [{"ok": True}], [{}], [0], [""], [{"error": None}], [{"error": ""}], [None, "x"],
     ["errors: none"], [[False]], [{"status": "ok"}]],
)  # fmt: skip
def test_rejection_is_none_for_everything_else(arguments: list[object]) -> None:
    assert rejection(arguments) is None


# -- fence -------------------------------------------------------------------------------------------------------------


def test_fence_confirms_with_the_second_pong_only() -> None:
    tracker = tracker_for("fence")
    sent(tracker, 2)
    first = tracker.on_ping_sent(2, 0.1)
    tracker.on_pong(first, 0.2)
    assert tracker.window.confirmed == 0
    second = tracker.on_ping_sent(2, 0.3)
    tracker.on_pong(second, 0.4)
    assert tracker.window.confirmed == 102


def test_fence_counts_two_pings_sent_together_as_one() -> None:
    tracker = tracker_for("fence")
    sent(tracker, 1)
    first, second = tracker.on_ping_sent(1, 0.1), tracker.on_ping_sent(1, 0.1)
    tracker.on_pong(first, 0.2)
    tracker.on_pong(second, 0.2)
    assert tracker.window.confirmed == 0


def test_fence_does_not_confirm_what_was_written_after_the_ping() -> None:
    tracker = tracker_for("fence")
    sent(tracker, 1)
    first = tracker.on_ping_sent(1, 0.1)
    sent(tracker, 1)
    tracker.on_pong(first, 0.2)
    tracker.on_pong(tracker.on_ping_sent(2, 0.3), 0.4)
    assert tracker.window.confirmed == 101
    tracker.on_pong(tracker.on_ping_sent(2, 0.5), 0.6)
    assert tracker.window.confirmed == 102


def test_fence_counts_pongs_cumulatively() -> None:
    tracker = tracker_for("fence")
    sent(tracker, 1)
    tracker.on_pong(tracker.on_ping_sent(1, 0.1), 0.2)
    tracker.on_ping_sent(1, 0.3)
    last = tracker.on_ping_sent(1, 0.4)
    tracker.on_pong(last, 0.5)
    assert tracker.window.confirmed == 101
    assert tracker.unanswered_since() is None


@pytest.mark.parametrize("payload", [b"", b"7", b"0", b"x", b"-1", b"9" * 100, "๑".encode()])
def test_unsolicited_pong_confirms_nothing(payload: bytes) -> None:
    tracker = tracker_for("fence")
    sent(tracker, 1)
    tracker.on_ping_sent(1, 0.1)
    tracker.on_pong(payload, 0.2)
    assert tracker.unanswered_since() == 0.1


def test_fence_needs_pings_until_everything_is_confirmed() -> None:
    tracker = tracker_for("fence")
    assert not tracker.needs_ping()
    sent(tracker, 1)
    assert tracker.needs_ping()
    ping = tracker.on_ping_sent(1, 0.1)
    assert not tracker.needs_ping()
    tracker.on_pong(ping, 0.2)
    assert tracker.needs_ping()
    tracker.on_pong(tracker.on_ping_sent(1, 0.3), 0.4)
    assert not tracker.needs_ping()


def test_check_times_out_when_a_fence_does_not_pass() -> None:
    tracker = tracker_for("fence")
    sent(tracker, 1)
    tracker.on_ping_sent(1, 0.0)
    assert tracker.check(10.1) == "timed out"


# -- heartbeat ---------------------------------------------------------------------------------------------------------


def test_heartbeat_confirms_what_was_sent_before_the_previous_answer() -> None:
    tracker = tracker_for("heartbeat")
    sent(tracker, 2)
    tracker.on_heartbeat(25.0)
    tracker.on_heartbeat_answered(2, 25.0)
    sent(tracker, 1)
    assert tracker.window.confirmed == 0
    tracker.on_heartbeat(50.0)
    tracker.on_heartbeat_answered(3, 50.0)
    assert tracker.window.confirmed == 102
    tracker.on_heartbeat(75.0)
    assert tracker.window.confirmed == 103


def test_heartbeat_before_the_ping_timeout_confirms_nothing() -> None:
    tracker = tracker_for("heartbeat")
    sent(tracker, 1)
    tracker.on_heartbeat(25.0)
    tracker.on_heartbeat_answered(1, 25.0)
    tracker.on_heartbeat(44.9)
    assert tracker.window.confirmed == 0
    tracker.on_heartbeat_answered(1, 44.9)
    tracker.on_heartbeat(45.0)
    assert tracker.window.confirmed == 101


def test_heartbeat_delayed_on_its_way_confirms_nothing() -> None:
    """Sent with the first one's interval, read much later: it may be older than our answer to the first."""
    tracker = DeliveryTracker(
        ConfirmationConfig("heartbeat", 4, ack_timeout=10.0, ping_interval=10.0, ping_timeout=20.0),
        ServerCapabilities(),
    )
    sent(tracker, 1)
    tracker.on_heartbeat(10.0)
    tracker.on_heartbeat_answered(1, 10.0)
    tracker.on_heartbeat(35.0)
    assert tracker.window.confirmed == 0
    tracker.on_heartbeat(36.0)
    assert tracker.window.confirmed == 101


def test_heartbeat_window_is_counted_in_bytes() -> None:
    tracker = tracker_for("heartbeat", window=1)
    sent(tracker, 50)
    assert tracker.room > 0
    tracker.on_sent(999, WINDOW_BYTES, 0.0)
    assert tracker.room == 0


@pytest.mark.parametrize("mode", ["ack", "fence", "heartbeat", "none"])
def test_window_is_full_when_its_bytes_are_whatever_their_number(mode: Confirmation) -> None:
    tracker = tracker_for(mode, window=100)
    assert tracker.fits(2 * WINDOW_BYTES)  # nothing is in flight
    tracker.on_sent(1, WINDOW_BYTES - 10, 0.0)
    assert (tracker.fits(10), tracker.fits(11)) == (True, False)
    assert tracker.room > 0
    tracker.on_sent(2, 10, 0.0)
    assert (tracker.room, tracker.fits(0)) == (0, True)
    tracker.window.settle_up_to(1)
    assert tracker.room > 0


def test_heartbeat_check_times_out_after_two_ping_periods() -> None:
    tracker = tracker_for("heartbeat")
    sent(tracker, 1)
    assert tracker.check(85.0) == "ok"
    assert tracker.check(90.1) == "timed out"


# -- none --------------------------------------------------------------------------------------------------------------


def test_none_confirms_what_is_written() -> None:
    tracker = tracker_for("none")
    sent(tracker, 2)
    tracker.on_written(2, 0.1)
    assert tracker.window.confirmed == 102
    assert not tracker.requests_acks


# -- auto --------------------------------------------------------------------------------------------------------------


def pass_fences(tracker: DeliveryTracker, now: float) -> None:
    for _ in range(2):
        tracker.on_pong(tracker.on_ping_sent(tracker.window.sent, now), now)


def test_auto_begins_with_ack() -> None:
    tracker = tracker_for("auto")
    assert (tracker.mode, tracker.requests_acks) == ("ack", True)


def test_auto_probes_a_server_that_never_acknowledged() -> None:
    tracker = tracker_for("auto")
    sent(tracker, 1)
    assert not tracker.needs_probe(4.9)
    assert tracker.needs_probe(5.1)


def test_auto_falls_back_to_fence_for_a_server_that_never_acknowledged() -> None:
    server = ServerCapabilities()
    tracker = tracker_for("auto", server)
    sent(tracker, 2)
    pass_fences(tracker, 6.0)
    assert tracker.window.confirmed == 0
    assert tracker.check(10.1) == "downgraded"
    assert (tracker.mode, tracker.window.confirmed, server.never_acks) == ("fence", 102, True)
    assert tracker_for("auto", server).mode == "fence"


def test_auto_does_not_fall_back_when_no_fence_passes() -> None:
    tracker = tracker_for("auto")
    sent(tracker, 1)
    tracker.on_ping_sent(1, 6.0)
    assert tracker.check(10.1) == "timed out"


def test_auto_does_not_fall_back_for_a_server_that_has_acknowledged() -> None:
    tracker = tracker_for("auto", ServerCapabilities(acks=True))
    sent(tracker, 1)
    assert not tracker.needs_probe(6.0)
    pass_fences(tracker, 6.0)
    assert tracker.check(10.1) == "timed out"


def test_ack_never_falls_back() -> None:
    tracker = tracker_for("ack")
    sent(tracker, 1)
    pass_fences(tracker, 6.0)
    assert tracker.check(10.1) == "timed out"


def test_acknowledgement_restores_ack_mode() -> None:
    server = ServerCapabilities(never_acks=True)
    tracker = tracker_for("auto", server)
    assert tracker.mode == "fence"
    sent(tracker, 2)
    assert tracker.on_ack(1, 1.0) is True
    assert (tracker.mode, server.acks) == ("ack", True)
    pass_fences(tracker, 2.0)
    assert tracker.window.confirmed == 101
    assert tracker.on_ack(2, 3.0) is False
    assert tracker_for("auto", server).mode == "ack"


def test_acknowledgement_of_a_confirmed_message_restores_ack_mode() -> None:
    tracker = tracker_for("auto", ServerCapabilities(never_acks=True))
    sent(tracker, 1)
    pass_fences(tracker, 1.0)
    assert tracker.window.confirmed == 101
    assert tracker.on_ack(1, 2.0) is True
