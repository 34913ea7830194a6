"""The judge of histories finds every planted fault, and blames no history that keeps the promises."""

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.support.history.__main__ import main
from tests.support.history.clean import clean_history
from tests.support.history.events import (
    Accepted,
    Away,
    Began,
    Complete,
    Event,
    JobAtEnd,
    Killed,
    Listed,
    NotificationAtEnd,
    Outage,
    Received,
    Rejected,
    Sent,
    Stopped,
    Unanswered,
    Used,
    decode,
    encode,
    read_events,
)
from tests.support.history.judge import RULES, judge
from tests.support.history.recorder import Recorder

SEEDS = range(20)
MAX_ATTEMPTS = 3
Plant = Callable[[list[Event], random.Random], None]


def _pick(events: list[Event], chance: random.Random, kind: type[Event], **fields: Any) -> int:
    found = [
        place
        for place, event in enumerate(events)
        if isinstance(event, kind) and all(getattr(event, name) == value for name, value in fields.items())
    ]
    return chance.choice(found)


def _change(events: list[Event], place: int, **fields: Any) -> None:
    events[place] = replace(events[place], **fields)


def _payload(event: Event) -> dict[str, Any]:
    assert isinstance(event, Received)
    payload: dict[str, Any] = orjson.loads(event.body)[1]["payload"]
    return payload


def _edited(event: Event, *, user: str | None = None, **payload: Any) -> Received:
    assert isinstance(event, Received)
    body = orjson.loads(event.body)
    body[1]["payload"].update(payload)
    if user is not None:
        body[2]["userId"] = user
    return replace(event, body=orjson.dumps(body).decode())


def _job_disappears(events: list[Event], chance: random.Random) -> None:
    del events[_pick(events, chance, JobAtEnd)]


def _job_appears(events: list[Event], chance: random.Random) -> None:
    events.append(JobAtEnd("ghost", "user-0", "succeeded"))


def _notification_of_no_job(events: list[Event], chance: random.Random) -> None:
    place = _pick(events, chance, Received, receiver="server")
    events.append(replace(_edited(events[place], jobId="ghost", notificationId="ghost"), connection="9"))


def _rejected_job_appears(events: list[Event], chance: random.Random) -> None:
    events.extend((Rejected("no"), JobAtEnd("ghost", "user-0", "queued", tag="no")))


def _request_makes_two_jobs(events: list[Event], chance: random.Random) -> None:
    events.extend((Unanswered("tag-5"), JobAtEnd("again", "user-2", "succeeded", tag="tag-5")))


def _job_hangs(events: list[Event], chance: random.Random) -> None:
    _change(events, _pick(events, chance, JobAtEnd), state="running")


def _job_listed_twice(events: list[Event], chance: random.Random) -> None:
    events.append(events[_pick(events, chance, JobAtEnd)])


def _attempts_overlap(events: list[Event], chance: random.Random) -> None:
    place = _pick(events, chance, Began, process=7)
    begun = events[place]
    assert isinstance(begun, Began)
    events.append(Began(begun.job, 2, 8, begun.at + 0.1))
    events.append(Killed(8, begun.at + 0.2))


def _garbage(events: list[Event], chance: random.Random) -> None:
    events.append(Received("server", "[1"))


def _not_received(events: list[Event], chance: random.Random) -> None:
    identity = _payload(events[_pick(events, chance, Received)])["notificationId"]
    events[:] = [one for one in events if not isinstance(one, Received) or _payload(one)["notificationId"] != identity]


def _not_delivered(events: list[Event], chance: random.Random) -> None:
    _change(events, _pick(events, chance, NotificationAtEnd), state="pending")


def _notification_disappears(events: list[Event], chance: random.Random) -> None:
    del events[_pick(events, chance, NotificationAtEnd)]


def _second_id(events: list[Event], chance: random.Random) -> None:
    place = _pick(events, chance, Received, receiver="server")
    events.insert(place + 1, _edited(events[place], notificationId="other"))


def _second_row(events: list[Event], chance: random.Random) -> None:
    stored = events[_pick(events, chance, NotificationAtEnd)]
    assert isinstance(stored, NotificationAtEnd)
    events.append(replace(stored, id="other"))


def _id_of_another_job(events: list[Event], chance: random.Random) -> None:
    place = _pick(events, chance, Received, receiver="server")
    other = "note-1" if _payload(events[place])["notificationId"] == "note-0" else "note-0"
    events[place] = _edited(events[place], notificationId=other)


def _other_body(events: list[Event], chance: random.Random) -> None:
    place = _pick(events, chance, Received, receiver="server")
    events.append(replace(_edited(events[place], duration=9.0), connection="9"))


def _job_says_otherwise(events: list[Event], chance: random.Random) -> None:
    _change(events, _pick(events, chance, JobAtEnd), state="failed")


def _cancelled_without_a_word(events: list[Event], chance: random.Random) -> None:
    place = _pick(events, chance, JobAtEnd)
    _change(events, place, state="cancelled")


def _browser_misses_one(events: list[Event], chance: random.Random) -> None:
    places = [
        place
        for place, event in enumerate(events)
        if isinstance(event, Received) and event.user is not None and _payload(event)["sequence"] < 15
    ]
    del events[chance.choice(places)]


def _two_change_places(events: list[Event], chance: random.Random) -> None:
    mine = [
        place
        for place, event in enumerate(events)
        if isinstance(event, Received) and event.receiver == "browser-user-1"
    ]
    first = chance.randrange(len(mine) - 1)
    events[mine[first]], events[mine[first + 1]] = events[mine[first + 1]], events[mine[first]]


def _shown_again(events: list[Event], chance: random.Random) -> None:
    seen = events[_pick(events, chance, Received, user="user-1")]
    assert isinstance(seen, Received)
    events.append(replace(seen, connection="9"))


def _number_used_again(events: list[Event], chance: random.Random) -> None:
    places = [
        place
        for place, event in enumerate(events)
        if isinstance(event, Received) and event.user is None and _payload(event)["sequence"] > 2
    ]
    place = chance.choice(places)
    events[place] = _edited(events[place], sequence=_payload(events[place])["sequence"] - 1)


def _sent_after_the_lease(events: list[Event], chance: random.Random) -> None:
    since = chance.uniform(1.0, 40.0)
    events.extend((Away(7, since, since + 9.0, lease=6.0), Sent(7, "note-1", since + 6.5)))


def _charged_too_often(events: list[Event], chance: random.Random) -> None:
    _change(events, _pick(events, chance, JobAtEnd), attempt=MAX_ATTEMPTS + 1)


def _innocent_fails(events: list[Event], chance: random.Random) -> None:
    _change(events, _pick(events, chance, JobAtEnd), state="failed", error="The service ended")


def _outage_holds_jobs_up(events: list[Event], chance: random.Random) -> None:
    job = f"job-{chance.randrange(10, 20)}"
    events[:] = [event for event in events if not isinstance(event, Began) or event.job != job]


def _memory_grows(events: list[Event], chance: random.Random) -> None:
    _change(events, _pick(events, chance, Used), amount=400e6)


def _negative_duration(events: list[Event], chance: random.Random) -> None:
    place = _pick(events, chance, Received, receiver="server")
    events[place] = _edited(events[place], duration=-3_600_000.0)


def _duration_of_a_clock_jump(events: list[Event], chance: random.Random) -> None:
    place = _pick(events, chance, Received, receiver="server")
    events[place] = _edited(events[place], duration=3_600_000.0)


def _stop_hangs(events: list[Event], chance: random.Random) -> None:
    _change(events, _pick(events, chance, Stopped), seconds=30.0)


def _another_browser(events: list[Event], chance: random.Random) -> None:
    seen = events[_pick(events, chance, Received, receiver="browser-user-1")]
    assert isinstance(seen, Received)
    events.append(replace(seen, receiver="browser-user-2", user="user-2", partial=True, connection="9"))


def _another_address(events: list[Event], chance: random.Random) -> None:
    place = _pick(events, chance, Received, receiver="server")
    events[place] = _edited(events[place], user="user-9")


PLANTS: list[tuple[Plant, str]] = [
    (_job_disappears, "P1 lost"),
    (_job_appears, "P1 invented"),
    (_notification_of_no_job, "P1 invented"),
    (_rejected_job_appears, "P1 rejected-exists"),
    (_request_makes_two_jobs, "P1 accepted-twice"),
    (_job_hangs, "P2 unfinished"),
    (_job_listed_twice, "P2 ended-twice"),
    (_attempts_overlap, "P3 overlap"),
    (_garbage, "P4 unreadable"),
    (_not_received, "P4 missing"),
    (_not_delivered, "P4 missing"),
    (_notification_disappears, "P4 missing"),
    (_second_id, "P4 several-ids"),
    (_second_row, "P4 several-ids"),
    (_id_of_another_job, "P4 shared-id"),
    (_other_body, "P4 changed"),
    (_job_says_otherwise, "P4 contradiction"),
    (_cancelled_without_a_word, "P4 contradiction"),
    (_browser_misses_one, "P4 gap"),
    (_two_change_places, "P4 out-of-order"),
    (_shown_again, "P4 repeated"),
    (_number_used_again, "P4 number-used-twice"),
    (_sent_after_the_lease, "P4 sent-without-lease"),
    (_charged_too_often, "P5 overcharged"),
    (_innocent_fails, "P5 wrong-end"),
    (_outage_holds_jobs_up, "P6 held-up"),
    (_memory_grows, "P7 unbounded"),
    (_negative_duration, "P8 wrong-duration"),
    (_duration_of_a_clock_jump, "P8 wrong-duration"),
    (_stop_hangs, "P9 endless-stop"),
    (_another_browser, "P10 another-user"),
    (_another_address, "P10 another-user"),
]


@pytest.mark.parametrize("seed", SEEDS)
def test_history_that_keeps_the_promises_is_clean(seed: int) -> None:
    verdict = judge(clean_history(random.Random(seed)), max_attempts=MAX_ATTEMPTS)
    assert verdict.violations == {}
    assert verdict.figures["accepted"] == verdict.figures["jobs"] == 60


@pytest.mark.parametrize(("plant", "rule"), PLANTS, ids=[plant.__name__.strip("_") for plant, _ in PLANTS])
def test_planted_fault_is_found_by_its_rule(plant: Plant, rule: str) -> None:
    for seed in SEEDS:
        chance = random.Random(seed)
        events = clean_history(chance)
        plant(events, chance)
        assert rule in judge(events, max_attempts=MAX_ATTEMPTS).violations, seed


def test_every_rule_has_a_planted_fault() -> None:
    assert {f"{rule.promise} {rule.name}" for rule in RULES} == {rule for _, rule in PLANTS}
    assert {rule.promise for rule in RULES} == {f"P{number}" for number in range(1, 11)}


def test_numbers_of_dead_and_resent_notifications_leave_gaps_that_are_allowed() -> None:
    chance = random.Random(1)
    events = clean_history(chance)
    place = _pick(events, chance, NotificationAtEnd, sequence=5, user="user-1")
    stored = events[place]
    assert isinstance(stored, NotificationAtEnd)
    events[place] = replace(stored, state="dead")
    events = [
        event for event in events if not isinstance(event, Received) or _payload(event)["notificationId"] != stored.id
    ]
    assert judge(events).violations == {}


def test_history_without_an_end_is_judged_by_what_was_seen() -> None:
    events: list[Event] = []
    events += [event for event in clean_history(random.Random(2)) if not isinstance(event, Complete | JobAtEnd)]
    assert judge(events).violations == {}
    del events[_pick(events, random.Random(3), Received, receiver="browser-user-0", body=_first_body(events))]
    assert set(judge(events).violations) == {"P4 gap"}


def _first_body(events: list[Event]) -> str:
    return next(event.body for event in events if isinstance(event, Received) and event.user == "user-0")


def test_job_that_still_waits_is_lost_only_if_it_is_not_listed() -> None:
    events: list[Event] = [Accepted("a", "u"), Accepted("b", "u"), JobAtEnd("a", "u", "queued", attempt=0), Listed()]
    assert judge(events).violations == {"P1 lost": ["job b (tag None) was accepted and does not exist"]}


def test_service_that_was_away_for_long_may_run_what_another_runs_again() -> None:
    chance = random.Random(5)
    events = clean_history(chance)
    _attempts_overlap(events, chance)
    [begun] = [one for one in events if isinstance(one, Began) and one.process == 8]
    assert "P3 overlap" in judge([*events, Away(7, begun.at - 2.0, begun.at + 2.0)]).violations
    assert judge([*events, Away(7, begun.at - 20.0, begun.at + 2.0)]).violations == {}


def test_service_that_is_cut_off_may_send_while_its_lease_lasts_and_when_it_is_back() -> None:
    events = clean_history(random.Random(6))
    events += [Away(7, 20.0, 30.0, lease=6.0), *(Sent(7, "note-1", at) for at in (25.9, 30.1)), Sent(8, "note-1", 28.0)]
    assert judge(events).violations == {}


def test_history_survives_being_written_and_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    events = clean_history(random.Random(4))
    events += [Unanswered("x"), Outage(1.0, 2.0)]
    assert [decode(encode(event)) for event in events] == events
    recorded = tmp_path / "history.jsonl"
    Recorder(recorded).add(*events)
    with recorded.open("ab") as file:
        file.write(b'{"event":"Acc')  # the writer was killed
    assert list(read_events([tmp_path / "history.jsonl"])) == events
    assert _command(recorded) == 0
    assert "clean: 60 accepted, 60 jobs" in capsys.readouterr().out


def test_command_says_what_is_broken_or_not_readable(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = Recorder(tmp_path / "broken.jsonl")
    broken.add(Accepted("a", "u"), Listed())
    assert _command(broken.file) == 1
    assert "P1 lost: 1" in capsys.readouterr().out
    (tmp_path / "garbage.jsonl").write_bytes(b"{}\n")
    assert _command(tmp_path / "garbage.jsonl") == 2
    assert "line 1" in capsys.readouterr().err


def _command(file: Path | None) -> int:
    return main([str(file)])
