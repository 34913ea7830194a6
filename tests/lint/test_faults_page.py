"""docs/faults.md has a row for each fault, and the tests that it names exist."""

import re

from tests.support.repository import ROOT

PAGE = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (\d+) \|(.*)$", PAGE, re.MULTILINE)


def test_every_fault_has_a_row_with_a_test() -> None:
    assert [int(number) for number, _ in ROWS] == list(range(1, 31))
    assert [number for number, text in ROWS if "`tests/" not in text] == []


def test_tests_that_the_page_names_exist() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)
    missing = [
        f"{file}::{name}"
        for file, name in named
        if not re.search(rf"^(async )?def {name}\(", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert named
    assert missing == []
