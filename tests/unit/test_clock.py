"""The text of times in JSON."""

import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.clock import rfc3339


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "1970-01-01T00:00:00.000Z"),
        (-0.001, "1969-12-31T23:59:59.999Z"),
        (-62_135_596_800.0, "0001-01-01T00:00:00.000Z"),
        (253_402_300_799.0, "9999-12-31T23:59:59.000Z"),
        (1_795_162_530.123, "2026-11-20T08:15:30.123Z"),
        (1_795_162_530.0, "2026-11-20T08:15:30.000Z"),
        (1_795_162_530.9999, "2026-11-20T08:15:30.999Z"),
    ],
)
def test_rfc3339_is_utc_with_milliseconds(seconds: float, text: str) -> None:
    assert rfc3339(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (math.inf, "9999-12-31T23:59:59.999Z"),
        (1e15, "9999-12-31T23:59:59.999Z"),
        (253_402_300_799.9999, "9999-12-31T23:59:59.999Z"),
        (-1e15, "0001-01-01T00:00:00.000Z"),
        (-math.inf, "0001-01-01T00:00:00.000Z"),
    ],
)
def test_rfc3339_of_a_time_outside_the_calendar_is_its_end(seconds: float, text: str) -> None:
    """A list with such a job, which SQL can submit, is shown like any other."""
    assert rfc3339(seconds) == text


def test_rfc3339_does_not_round_up_to_the_next_second() -> None:
    """Seconds and milliseconds must be rounded together, or 29.9999999 becomes 30.999."""
    assert rfc3339(1_795_162_529.9999998) == "2026-11-20T08:15:30.000Z"


@given(st.floats(min_value=0, max_value=253_402_300_798))
def test_rfc3339_is_read_back_within_a_millisecond(seconds: float) -> None:
    read = datetime.fromisoformat(rfc3339(seconds)).astimezone(UTC).timestamp()
    assert -0.0011 < read - seconds < 0.0001
