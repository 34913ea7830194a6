"""Percentiles of a few thousand measurements."""

from collections.abc import Iterable


def percentile(values: Iterable[float], share: float) -> float | None:
    """Return the value below which `share` (0 to 1) of the values lie, by nearest rank; None if there are no values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None
