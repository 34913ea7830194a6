"""What several tests of functions and classes by themselves need."""

import sqlite3
from collections.abc import Iterator

import pytest


@pytest.fixture
def memory() -> Iterator[sqlite3.Connection]:
    """A database in memory."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    yield connection
    connection.close()
