"""One machine for all tests of the unit: booting takes a while. Each test finds the unit stopped and as shipped."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.machine import Machine, Unit, booted_machine
from tests.support.repository import ROOT

HERE = Path(__file__).parent
HANDLERS = ROOT / "tests" / "support" / "unit_handlers.py"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything in this folder."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.system)


@pytest.fixture(scope="session")
def machine() -> Iterator[Machine]:
    with booted_machine() as running:
        site = running.ask("/opt/insignia-worker/bin/python", "-c", "import worker; print(worker.__path__[0])")
        running.write(f"{site}/../unit_handlers.py", HANDLERS.read_text(encoding="utf-8"))
        yield running


@pytest.fixture
def unit(machine: Machine) -> Unit:
    found = Unit(machine)
    found.reset()
    return found
