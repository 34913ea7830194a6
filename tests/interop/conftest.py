"""Everything here needs Node and the packages of package-lock.json; the first test installs them."""

import pytest

from tests.support.js import node_or_skip


@pytest.fixture(autouse=True)
def node() -> str:
    """Skips with a clear message where there is no Node; in CI that is a failure."""
    return node_or_skip()
