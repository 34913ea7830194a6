"""A directive that silences a rule says why."""

import re

from tests.support.repository import files, name_of

_WITHOUT_REASON = re.compile(r"#\s*(?:noqa: [A-Z0-9, ]+|type: ignore\[[a-z, -]+\])$", re.MULTILINE)


def test_every_silenced_rule_has_its_reason() -> None:
    found = [
        f"{name_of(path)}:{text.count(chr(10), 0, match.start()) + 1}: add a reason to {match[0]}"
        for path in files(".py", "worker", "config", "tests", "bench", "tools")
        for text in [path.read_text(encoding="utf-8")]
        for match in _WITHOUT_REASON.finditer(text)
    ]
    assert found == []
