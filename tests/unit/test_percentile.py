"""Percentiles by nearest rank."""

import pytest

from worker.core.percentile import percentile


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [([], 0.5, None), ([3.0], 0.99, 3.0), ([3.0, 1.0, 2.0], 0.5, 2.0), (range(100), 0.99, 99), ([1.0, 2.0], 1.0, 2.0)],
)
def test_percentile_returns_the_nearest_rank(values: list[float], share: float, expected: float | None) -> None:
    assert percentile(values, share) == expected
