"""The words of the project: phrases that CONTRIBUTING.md lists as unclear do not occur in prose.

Prose is every Markdown page outside its code; in Python the comments, docstrings, texts and names of functions and
classes; in other files every line. A text without a space is data, such as a key of JSON or the name of a user.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.repository import ROOT, files, name_of, pages

GUIDE = ROOT / "CONTRIBUTING.md"
BEGIN, END = "<!-- unclear phrases -->", "<!-- /unclear phrases -->"
_PYTHON = ("worker", "config", "bench", "tests")
_OTHER_FILES = (".js", ".mjs", ".ts", ".css", ".html", ".sh", ".service", ".conf", ".yml")
_SCRIPTS = ("worker", "bench", "tests", "deploy", "tools")


class Phrase(NamedTuple):
    """A phrase that is not to be used."""

    pattern: re.Pattern[str]
    instead: str


def phrases() -> list[Phrase]:
    """Return the phrases of the table in CONTRIBUTING.md. Words in italics next to a phrase make it acceptable."""
    table = GUIDE.read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0]
    found = []
    for line in table.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if len(cells) != 2:
            continue
        allowed = re.findall(r"\*([^*]+)\*", cells[0])
        for phrase in re.findall(r"`([^`]+)`", cells[0]):
            found.append(Phrase(_pattern(phrase, allowed), cells[1]))
    return found


def _pattern(phrase: str, allowed: list[str]) -> re.Pattern[str]:
    """Return a pattern of the phrase that does not match within one of the allowed texts, such as `there is no`."""
    before = [text.removesuffix(phrase) for text in allowed if text.endswith(phrase)]
    after = [text.removeprefix(phrase) for text in allowed if text.startswith(phrase)]
    behind = "".join(rf"(?<!{re.escape(text)})" for text in before)
    ahead = "".join(rf"(?!{re.escape(text)}\b)" for text in after)
    return re.compile(rf"(?<![\w-]){behind}{re.escape(phrase)}(?![\w-]){ahead}", re.IGNORECASE)


PHRASES = phrases()


def test_prose_has_no_phrase_that_the_guide_lists_as_unclear() -> None:
    found: list[str] = []
    for path in pages():
        found += faults(name_of(path), _of_markdown(path.read_text(encoding="utf-8")))
    for path in files(".py", *_PYTHON):
        if path != Path(__file__):  # it names some
            found += faults(name_of(path), _of_python(path.read_text(encoding="utf-8")))
    for suffix in _OTHER_FILES:
        for path in files(suffix, *_SCRIPTS):
            found += faults(name_of(path), enumerate(path.read_text(encoding="utf-8").splitlines(), 1))

    assert not found, "\n".join(found)


def test_guide_lists_phrases() -> None:
    assert len(PHRASES) > 20


@pytest.mark.parametrize("line", ["the job is run anew", "WHOEVER asks", "an id that is no id"])
def test_listed_phrase_is_found_in_any_case(line: str) -> None:
    assert len(faults("page.md", [(1, line)])) == 1


@pytest.mark.parametrize("line", ["there is no job", "it is no longer known", "a canew one"])
def test_allowed_text_is_not_reported(line: str) -> None:
    assert faults("page.md", [(1, line)]) == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("# runs anew\n", 1),
        ("def run_anew(): ...\n", 1),
        ('"""Run it anew."""\n', 1),
        ('x = f"{y} runs anew"\n', 1),
        ('x = "anew"\n', 0),
        ("anew = 1\n", 0),
    ],
)
def test_comments_names_and_texts_are_prose_in_python(source: str, found: int) -> None:
    ast.parse(source)

    assert len(faults("module.py", _of_python(source))) == found


def faults(name: str, prose: Iterable[tuple[int, str]]) -> list[str]:
    """Return a line for each unclear phrase in prose, which is given as pairs of line number and text."""
    return [
        f"{name}:{number}: {found[0]!r}: write {phrase.instead}"
        for number, line in prose
        for phrase in PHRASES
        if (found := phrase.pattern.search(line))
    ]


def _of_markdown(text: str) -> Iterator[tuple[int, str]]:
    fenced = listed = False
    for number, line in enumerate(text.splitlines(), 1):
        fenced ^= line.lstrip().startswith("```")
        listed = (listed or BEGIN in line) and END not in line
        if not fenced and not listed:
            yield number, re.sub(r"`[^`]*`", "``", line)


def _of_python(text: str) -> Iterator[tuple[int, str]]:
    previous = ""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if previous in ("def", "class"):
            yield token.start[0], token.string.strip("_").replace("_", " ")
        previous = token.string
        name = tokenize.tok_name[token.type]
        if name in ("COMMENT", "FSTRING_MIDDLE") or (name == "STRING" and " " in token.string):
            for offset, line in enumerate(token.string.splitlines()):
                yield token.start[0] + offset, line
