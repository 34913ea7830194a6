"""What counts as proof of receipt, mode by mode; no socket, no clock."""

import pytest

from worker.orgsocket.frames import refusal
from worker.orgsocket.proof import HEARTBEAT_BYTES, Confirmation, Peer, Proof, Rules
from worker.orgsocket.window import Window


def proof_of(confirmation: Confirmation, peer: Peer | None = None, *, window: int = 4) -> Proof:
    return Proof(Rules(confirmation, window, ack_timeout=10.0, ping_interval=25.0, ping_timeout=20.0), peer or Peer())


def sent(proof: Proof, count: int, now: float = 0.0) -> None:
    """Messages with the ids 101, 102 …."""
    for _ in range(count):
        proof.sent(101 + proof.window.sent, 100, now)


# -- the window --------------------------------------------------------------------------------------------------------


def test_the_watermark_moves_only_over_what_is_settled_without_a_gap() -> None:
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
def test_a_number_that_was_never_sent_settles_nothing(number: int) -> None:
    window = Window()
    window.add(11, 10, 0.0)
    window.add(12, 10, 0.0)
    assert window.settle(number) is None
    assert len(window) == 2


def test_settling_twice_counts_once() -> None:
    window = Window()
    window.add(11, 10, 5.0)
    window.add(12, 10, 6.0)
    assert window.settle(2) == 6.0
    assert window.settle(2) is None
    assert window.settle(1) == 5.0
    assert window.settle(1) is None


# -- ack ---------------------------------------------------------------------------------------------------------------


def test_room_is_the_window_less_what_is_under_way() -> None:
    proof = proof_of("ack")
    sent(proof, 3)
    assert proof.room == 1
    proof.acked(1, 1.0)
    assert proof.room == 2


def test_an_unacknowledged_message_is_a_doubt_after_the_timeout() -> None:
    proof = proof_of("ack")
    sent(proof, 1)
    assert proof.judge(10.0) == "fine"
    assert proof.judge(10.1) == "doubt"


def test_a_watermark_that_moves_is_no_doubt_however_old_the_oldest_message() -> None:
    proof = proof_of("ack")
    sent(proof, 3)
    proof.acked(1, 8.0)
    proof.acked(2, 16.0)
    assert proof.judge(25.0) == "fine"
    assert proof.judge(26.1) == "doubt"


def test_acknowledgements_behind_a_gap_do_not_hide_the_gap() -> None:
    proof = proof_of("ack", window=100)
    sent(proof, 30)
    for number in range(2, 31):
        proof.acked(number, 9.0)
    assert proof.judge(10.1) == "doubt"


def test_an_idle_link_is_never_in_doubt() -> None:
    proof = proof_of("ack")
    sent(proof, 1)
    proof.acked(1, 0.1)
    assert proof.judge(1e6) == "fine"
    sent(proof, 1, now=1e6)
    assert proof.judge(1e6 + 9) == "fine"


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
def test_an_acknowledgement_says_no_explicitly(arguments: list[object], reason: str) -> None:
    assert refusal(arguments) == reason


@pytest.mark.parametrize(
    "arguments",
    [[], [None], [True], ["ok"], [{"ok": True}], [{}], [0], [""], [{"error": None}], [{"error": ""}], [None, "x"],
     ["errors: none"], [[False]], [{"status": "ok"}]],
)  # fmt: skip
def test_everything_else_says_yes(arguments: list[object]) -> None:
    assert refusal(arguments) is None


# -- fence -------------------------------------------------------------------------------------------------------------


def test_a_fence_proves_with_the_second_pong_only() -> None:
    proof = proof_of("fence")
    sent(proof, 2)
    first = proof.pinged(2, 0.1)
    proof.ponged(first, 0.2)
    assert proof.window.confirmed == 0
    second = proof.pinged(2, 0.3)
    proof.ponged(second, 0.4)
    assert proof.window.confirmed == 102


def test_two_pings_sent_together_are_one_fence() -> None:
    proof = proof_of("fence")
    sent(proof, 1)
    first, second = proof.pinged(1, 0.1), proof.pinged(1, 0.1)
    proof.ponged(first, 0.2)
    proof.ponged(second, 0.2)
    assert proof.window.confirmed == 0


def test_what_was_written_after_the_ping_waits_for_later_pongs() -> None:
    proof = proof_of("fence")
    sent(proof, 1)
    first = proof.pinged(1, 0.1)
    sent(proof, 1)
    proof.ponged(first, 0.2)
    proof.ponged(proof.pinged(2, 0.3), 0.4)
    assert proof.window.confirmed == 101
    proof.ponged(proof.pinged(2, 0.5), 0.6)
    assert proof.window.confirmed == 102


def test_pongs_are_cumulative() -> None:
    proof = proof_of("fence")
    sent(proof, 1)
    proof.ponged(proof.pinged(1, 0.1), 0.2)
    proof.pinged(1, 0.3)
    last = proof.pinged(1, 0.4)
    proof.ponged(last, 0.5)
    assert proof.window.confirmed == 101
    assert proof.unanswered_since() is None


@pytest.mark.parametrize("payload", [b"", b"7", b"0", b"x", b"-1", b"9" * 100, "๑".encode()])
def test_a_pong_that_nobody_asked_for_proves_nothing(payload: bytes) -> None:
    proof = proof_of("fence")
    sent(proof, 1)
    proof.pinged(1, 0.1)
    proof.ponged(payload, 0.2)
    assert proof.unanswered_since() == 0.1


def test_a_fence_goes_on_until_everything_is_proven() -> None:
    proof = proof_of("fence")
    assert not proof.wants_ping()
    sent(proof, 1)
    assert proof.wants_ping()
    ping = proof.pinged(1, 0.1)
    assert not proof.wants_ping()
    proof.ponged(ping, 0.2)
    assert proof.wants_ping()
    proof.ponged(proof.pinged(1, 0.3), 0.4)
    assert not proof.wants_ping()


def test_a_fence_that_does_not_pass_is_a_doubt() -> None:
    proof = proof_of("fence")
    sent(proof, 1)
    proof.pinged(1, 0.0)
    assert proof.judge(10.1) == "doubt"


# -- heartbeat ---------------------------------------------------------------------------------------------------------


def test_a_later_heartbeat_proves_what_was_sent_before_our_answer_to_an_earlier_one() -> None:
    proof = proof_of("heartbeat")
    sent(proof, 2)
    proof.heartbeat(25.0)
    proof.heartbeat_answered(2, 25.0)
    sent(proof, 1)
    assert proof.window.confirmed == 0
    proof.heartbeat(50.0)
    proof.heartbeat_answered(3, 50.0)
    assert proof.window.confirmed == 102
    proof.heartbeat(75.0)
    assert proof.window.confirmed == 103


def test_a_heartbeat_that_comes_too_early_proves_nothing_yet() -> None:
    proof = proof_of("heartbeat")
    sent(proof, 1)
    proof.heartbeat(25.0)
    proof.heartbeat_answered(1, 25.0)
    proof.heartbeat(44.9)
    assert proof.window.confirmed == 0
    proof.heartbeat_answered(1, 44.9)
    proof.heartbeat(45.0)
    assert proof.window.confirmed == 101


def test_a_heartbeat_that_was_held_up_on_its_way_proves_nothing() -> None:
    """Sent with the first one's interval, read much later: it may be older than our answer to the first."""
    proof = Proof(Rules("heartbeat", 4, ack_timeout=10.0, ping_interval=10.0, ping_timeout=20.0), Peer())
    sent(proof, 1)
    proof.heartbeat(10.0)
    proof.heartbeat_answered(1, 10.0)
    proof.heartbeat(35.0)
    assert proof.window.confirmed == 0
    proof.heartbeat(36.0)
    assert proof.window.confirmed == 101


def test_the_window_of_heartbeat_mode_is_counted_in_bytes() -> None:
    proof = proof_of("heartbeat", window=1)
    sent(proof, 50)
    assert proof.room > 0
    proof.sent(999, HEARTBEAT_BYTES, 0.0)
    assert proof.room == 0


def test_heartbeat_mode_waits_for_the_ping_interval_before_it_doubts() -> None:
    proof = proof_of("heartbeat")
    sent(proof, 1)
    assert proof.judge(85.0) == "fine"
    assert proof.judge(90.1) == "doubt"


# -- none --------------------------------------------------------------------------------------------------------------


def test_without_confirmation_writing_is_proof() -> None:
    proof = proof_of("none")
    sent(proof, 2)
    proof.written(2, 0.1)
    assert proof.window.confirmed == 102
    assert not proof.wants_acks


# -- auto --------------------------------------------------------------------------------------------------------------


def pass_fences(proof: Proof, now: float) -> None:
    for _ in range(2):
        proof.ponged(proof.pinged(proof.window.sent, now), now)


def test_auto_begins_with_acknowledgements() -> None:
    proof = proof_of("auto")
    assert (proof.mode, proof.wants_acks) == ("ack", True)


def test_auto_probes_a_server_that_never_acked_before_it_gives_up() -> None:
    proof = proof_of("auto")
    sent(proof, 1)
    assert not proof.wants_probe(4.9)
    assert proof.wants_probe(5.1)


def test_auto_falls_back_to_fences_for_a_server_that_never_acked() -> None:
    peer = Peer()
    proof = proof_of("auto", peer)
    sent(proof, 2)
    pass_fences(proof, 6.0)
    assert proof.window.confirmed == 0
    assert proof.judge(10.1) == "downgraded"
    assert (proof.mode, proof.window.confirmed, peer.silent) == ("fence", 102, True)
    assert proof_of("auto", peer).mode == "fence"


def test_auto_does_not_fall_back_when_no_fence_passes() -> None:
    proof = proof_of("auto")
    sent(proof, 1)
    proof.pinged(1, 6.0)
    assert proof.judge(10.1) == "doubt"


def test_auto_does_not_fall_back_for_a_server_that_has_ever_acked() -> None:
    proof = proof_of("auto", Peer(acks=True))
    sent(proof, 1)
    assert not proof.wants_probe(6.0)
    pass_fences(proof, 6.0)
    assert proof.judge(10.1) == "doubt"


def test_explicit_ack_never_falls_back() -> None:
    proof = proof_of("ack")
    sent(proof, 1)
    pass_fences(proof, 6.0)
    assert proof.judge(10.1) == "doubt"


def test_any_acknowledgement_restores_ack() -> None:
    peer = Peer(silent=True)
    proof = proof_of("auto", peer)
    assert proof.mode == "fence"
    sent(proof, 2)
    assert proof.acked(1, 1.0) is True
    assert (proof.mode, peer.acks) == ("ack", True)
    pass_fences(proof, 2.0)
    assert proof.window.confirmed == 101
    assert proof.acked(2, 3.0) is False
    assert proof_of("auto", peer).mode == "ack"


def test_an_acknowledgement_of_what_a_fence_has_proven_still_restores_ack() -> None:
    proof = proof_of("auto", Peer(silent=True))
    sent(proof, 1)
    pass_fences(proof, 1.0)
    assert proof.window.confirmed == 101
    assert proof.acked(1, 2.0) is True
