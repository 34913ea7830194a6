"""What `make docs` generates is up to date."""

import re
from collections.abc import Callable

import pytest

from config import docs_generator
from tests.support.repository import ROOT
from worker.core import job_docs
from worker.hub import message_types
from worker.notifiers.socketio.state import TABLE
from worker.observability import log_docs


@pytest.mark.parametrize(
    ("name", "markers", "generate"),
    [
        ("settings.md", [docs_generator.BEGIN, docs_generator.END], docs_generator.page),
        ("operations.md", [docs_generator.HOT_BEGIN, docs_generator.HOT_END], docs_generator.hot_page),
        ("operations.md", [log_docs.BEGIN, log_docs.END], log_docs.page),
        ("architecture.md", [job_docs.BEGIN, job_docs.END], job_docs.page),
    ],
)
def test_page_equals_what_make_docs_generates(name: str, markers: list[str], generate: Callable[[str], str]) -> None:
    text = (ROOT / "docs" / name).read_text(encoding="utf-8")

    assert [text.count(marker) for marker in markers] == [1, 1]
    assert generate(text) == text, "run `make docs`"


def test_shipped_settings_file_equals_what_make_docs_generates() -> None:
    text = (ROOT / "config" / "appsettings.json").read_text(encoding="utf-8")

    assert text == docs_generator.settings_file(), "run `make docs`"


def test_types_of_the_hubs_messages_equal_what_make_docs_generates() -> None:
    assert message_types.FILE.read_text(encoding="utf-8") == message_types.typescript(), "run `make docs`"


def test_diagram_of_the_link_equals_its_table() -> None:
    text = (ROOT / "docs" / "link.md").read_text(encoding="utf-8")
    drawn = set(re.findall(r"^ +(\w+) --> (\w+): (\w+)$", text, re.MULTILINE))

    assert drawn == {(before.value, after.value, change.value) for (before, change), after in TABLE.items()}
