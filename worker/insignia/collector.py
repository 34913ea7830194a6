"""Keeps the garbage collector from searching a roster's values for cycles again and again.

A roster makes millions of values that live until the results are written and form no cycles. Each full collection would
visit all of them, which took a fifth of the time of reading.
"""

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_RARELY = (100_000, 50, 1000)
_lock = threading.Lock()
_inside: list[tuple[int, int, int]] = []
"""For each evaluation that is running, the thresholds before the first of them."""


@contextmanager
def rare_collections() -> Iterator[None]:
    """Raise the thresholds of the collector while at least one evaluation is inside."""
    with _lock:
        _inside.append(_inside[0] if _inside else gc.get_threshold())
        gc.set_threshold(*_RARELY)
    try:
        yield
    finally:
        with _lock:
            before = _inside.pop()
            if not _inside:
                gc.set_threshold(*before)
