"""Every service that an acceptance test has run is judged by the promises."""

from collections.abc import Iterator

import pytest

from tests.support.history.runs import forget_ended, judge_ended_services


@pytest.fixture(autouse=True)
def judged_history(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail the test if a promise was broken, unless it is marked `alters_store`."""
    forget_ended()
    yield
    verdicts = judge_ended_services()
    if request.node.get_closest_marker("alters_store") is None:
        broken = [str(verdict) for verdict in verdicts if not verdict.is_clean]
        assert not broken, "\n".join(broken)
