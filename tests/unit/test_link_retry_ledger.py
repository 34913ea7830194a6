"""Which notification is sent alone, and when it is set aside."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.message_source import message
from worker.notifiers.socketio.retry_ledger import ResendPolicy, RetryLedger, SessionResult, sequence_of

POLICY = ResendPolicy(max_attempts=3, dead_after=100.0, first_delay=1.0, longest_delay=5.0)


def failed_alone(message_id: int) -> SessionResult:
    return SessionResult([message_id], (), (), progressed=False, alone=True)


def ledger_after_attempts(count: int, *, at: float = 10.0) -> RetryLedger:
    ledger = RetryLedger(POLICY)
    for _ in range(count):
        ledger.on_session_end(failed_alone(7), at)
    ledger.must_wait(message(7))
    return ledger


def test_session_without_progress_shrinks_the_next_window_to_one() -> None:
    ledger = RetryLedger(POLICY)
    ledger.on_session_end(SessionResult([1, 2], (), (), progressed=False, alone=False), 1.0)
    assert ledger.start_window == 1
    assert ledger.suspects == {}
    ledger.on_full_window()
    assert ledger.start_window is None


def test_session_with_progress_keeps_what_was_confirmed_above_a_gap() -> None:
    ledger = RetryLedger(POLICY)
    ledger.on_session_end(SessionResult([3, 9], {3}, [4, 5], progressed=True, alone=False), 1.0)
    assert (ledger.confirmed, set(ledger.suspects), ledger.start_window) == ({4, 5}, {3}, None)
    assert ledger.must_wait(message(3))
    assert ledger.must_wait(message(10)), "it is newer than a suspect of the same user"
    assert not ledger.must_wait(message(10, user="user-2"))


def test_attempt_counts_only_when_the_notification_was_alone() -> None:
    ledger = RetryLedger(POLICY)
    ledger.on_session_end(SessionResult([7], (), (), progressed=True, alone=False), 1.0)
    assert ledger.suspects == {}


def test_delay_between_attempts_doubles_up_to_the_longest() -> None:
    delays = [ledger_after_attempts(count).suspects[7].next_at - 10.0 for count in (1, 2, 3, 4, 5)]
    assert delays == [1.0, 2.0, 4.0, 5.0, 5.0]


def test_verdict_needs_all_attempts_and_another_confirmation_after_the_first() -> None:
    ledger = ledger_after_attempts(2)
    ledger.on_confirmed(8, 11.0)
    assert ledger.verdict(7, 11.0) is None, "attempts are left"
    ledger.on_session_end(failed_alone(7), 20.0)
    assert ledger.verdict(7, 20.0) == (
        "no confirmation of receipt in 3 attempts, each with this notification alone in flight, "
        "while others were confirmed"
    )


def test_verdict_spares_every_notification_of_a_server_that_confirms_none() -> None:
    ledger = RetryLedger(POLICY)
    ledger.on_confirmed(6, 5.0)
    for _ in range(20):
        ledger.on_session_end(failed_alone(7), 10.0)
    assert ledger.verdict(7, 109.0) is None
    assert ledger.verdict(7, 110.0) is not None, "the attempts span DeadAfter"


def test_newer_notifications_of_the_user_go_on_when_the_attempts_are_used_up() -> None:
    assert ledger_after_attempts(2).must_wait(message(8))
    assert not ledger_after_attempts(3).must_wait(message(8))


def test_confirmation_clears_a_suspect() -> None:
    ledger = ledger_after_attempts(2)
    ledger.on_confirmed(7, 11.0)
    ledger.on_watermark(7)
    assert ledger.is_empty


def test_twice_as_many_others_go_first_with_each_session_that_confirmed_nothing() -> None:
    ledger = RetryLedger(POLICY)
    assert ledger.others_first(256) == 256
    for expected in (512, 1024, 2048):
        ledger.on_session_end(failed_alone(7), 1.0)
        assert ledger.others_first(256) == expected
    ledger.on_session_end(SessionResult([7], (), (), progressed=True, alone=True), 2.0)
    assert ledger.others_first(256) == 256


_IDS, _USERS = st.integers(1, 6), st.sampled_from(["user-1", "user-2"])
_STEPS = st.one_of(
    st.tuples(st.just("alone"), _IDS),
    st.tuples(st.just("overtaken"), _IDS),
    st.tuples(st.just("confirmed"), _IDS),
    st.tuples(st.just("settled up to"), _IDS),
    st.tuples(st.just("set aside"), _IDS),
)


@given(users=st.lists(_USERS, min_size=6, max_size=6), steps=st.lists(_STEPS, max_size=12))
def test_notification_waits_exactly_for_older_suspects_of_its_user(
    users: list[str], steps: list[tuple[str, int]]
) -> None:
    ledger, messages = RetryLedger(POLICY), [message(number, user=user) for number, user in enumerate(users, start=1)]
    for step, number in steps:
        if step == "alone":
            ledger.on_session_end(failed_alone(number), 1.0)
        elif step == "overtaken":
            ledger.on_session_end(SessionResult([number, 9], {number}, (), progressed=True, alone=False), 1.0)
        elif step == "confirmed":
            ledger.on_confirmed(number, 1.0)
        elif step == "settled up to":
            ledger.on_watermark(number)
        else:
            ledger.set_aside(messages[number - 1])
        for one in messages:
            older = [ledger.suspects.get(other.id) for other in messages[: one.id - 1] if other.user_id == one.user_id]
            waits = any(suspect is not None and suspect.attempts < POLICY.max_attempts for suspect in older)
            assert ledger.must_wait(one) == (one.id in ledger.suspects or waits)


def test_skipped_number_is_announced_with_the_next_notification_until_that_is_confirmed() -> None:
    ledger = ledger_after_attempts(3)
    ledger.on_confirmed(8, 11.0)
    ledger.set_aside(message(7))
    other = ledger.announced(message(9, user="user-2"))
    assert b"skipped" not in other
    carrier = orjson.loads(ledger.announced(message(9)))
    assert carrier[1]["payload"]["skipped"] == [7]
    ledger.on_confirmed(5, 12.0)
    assert ledger.skipped == {"user-1": [7]}
    ledger.on_confirmed(9, 12.0)
    assert ledger.skipped == {}


@pytest.mark.parametrize("body", [b"", b"[]", b'["a",{}]', b'["a",{"payload":{"sequence":"x"}}]', b'["a"'])
def test_sequence_of_a_strange_body_is_none(body: bytes) -> None:
    assert sequence_of(body) is None
