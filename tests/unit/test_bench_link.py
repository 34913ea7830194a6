"""The link's benchmark sends what the worker sends: a hub drops a repeated notification id without storing anything."""

import orjson

from bench.link import USERS, body_of, note


def test_body_of_equals_the_encoded_notification() -> None:
    for number in (1, 7, 123, 45_678):
        assert orjson.loads(body_of(number)) == ["socket-notification", *note(number)]


def test_body_of_has_ids_of_its_own_and_many_users() -> None:
    payloads = [orjson.loads(body_of(number)) for number in range(1, 1001)]
    assert len({event[1]["payload"]["notificationId"] for event in payloads}) == 1000
    assert len({event[1]["payload"]["jobId"] for event in payloads}) == 1000
    assert len({event[2]["userId"] for event in payloads}) == USERS
