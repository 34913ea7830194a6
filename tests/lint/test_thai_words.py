"""Texts for people in Thai use the words of the table in CONTRIBUTING.md.

Rosters are written by others: the modules that read them know many words for one thing, and are not texts.
"""

import re
from pathlib import Path

from tests.support.repository import ROOT, files, name_of

_TABLE = re.compile(r"<!-- Thai words -->(.*)<!-- /Thai words -->", re.DOTALL)
_READERS = ROOT / "worker/insignia/roster"


def replaced_words() -> list[str]:
    table = _TABLE.search((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    assert table is not None
    return re.findall(r"^\| `([^`]+)`", table[1], re.MULTILINE)


def texts() -> list[Path]:
    found = [path for suffix in (".py", ".js", ".html") for path in files(suffix, "worker")]
    return [path for path in found if not path.is_relative_to(_READERS)]


def test_thai_texts_have_one_word_for_one_thing() -> None:
    words = replaced_words()
    assert len(words) > 10
    found = [
        f"{name_of(path)}:{number}: {word}"
        for path in texts()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        for word in words
        if word in line
    ]
    assert not found, "\n".join(found)
