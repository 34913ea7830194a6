"""Every text for people about rosters and rounds has a code, and words in Thai and English."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from string import Formatter

import pytest

import worker.insignia
from worker.insignia import errors
from worker.insignia.criteria.labels import CONFIDENCE, DECISIONS, LEVELS_OF_CONFIDENCE, REASONS, SEQUENCES
from worker.insignia.messages import CATALOGUE, message
from worker.insignia.rules.explain_words import FIGURES_TH, RULES_TH, WORDS

ROOT = Path(worker.insignia.__file__).parent
THAI = re.compile("[\u0e00-\u0e7f]")
LATIN = re.compile(r"[A-Za-z][A-Za-z_]{2,}")
NAMES = re.compile(
    r"XLSX|CSV|UTF-8|JSON|Excel|Insignia:\w+|zip|XML|MB|code|received|abbr_th|highest_satisfied|strict_next|K3|O2|D1|M1|M2"
)
"""What keeps its Latin name in a Thai sentence: formats, settings, fields and levels."""
INSIGNIA_ERRORS = {
    name for name, one in vars(errors).items() if isinstance(one, type) and issubclass(one, errors.InsigniaError)
}


def placeholders(text: str) -> set[str]:
    return {name.removesuffix("_th") for _, name, _, _ in Formatter().parse(text) if name}


@pytest.mark.parametrize("code", CATALOGUE)
def test_message_has_words_in_both_languages(code: str) -> None:
    english, thai = CATALOGUE[code]
    assert english
    assert not THAI.search(english.replace("บ.ม.", ""))
    assert THAI.search(thai)
    assert placeholders(thai) <= placeholders(english)
    words = NAMES.sub(" ", re.sub(r"{[^{}]*}", " ", thai.replace("{{", "").replace("}}", "")))
    assert LATIN.findall(words) == []


def raised() -> Iterator[tuple[str, ast.Call]]:
    """Yield each place that raises or makes an error of this package."""
    for path in sorted(ROOT.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in INSIGNIA_ERRORS:
                yield f"{path.name}:{node.lineno}", node


def test_every_refusal_is_made_from_the_catalogue() -> None:
    """An f-string or a literal would have no Thai words. A variable holds a text of the catalogue, by its type."""
    found = list(raised())
    assert len(found) > 40
    assert [place for place, call in found if isinstance(call.args[0], ast.Constant | ast.JoinedStr)] == []


def test_codes_in_the_program_are_those_of_the_catalogue() -> None:
    used = set()
    for path in [*ROOT.rglob("*.py"), ROOT.parent / "handlers/insignia/handler.py"]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "message":
                used |= {leaf.value for leaf in ast.walk(node.args[0]) if isinstance(leaf, ast.Constant)}
    assert {code for code in used if isinstance(code, str)} - CATALOGUE.keys() == set()


def test_message_about_a_list_of_objects_names_it_in_thai() -> None:
    text = message("empty_list", name="the list of officers")
    assert text.en.startswith("the list of officers")
    assert text.th.startswith("รายการ officers")


def test_words_of_decisions_and_explanations_exist_in_thai() -> None:
    for labels in (DECISIONS, CONFIDENCE, LEVELS_OF_CONFIDENCE, REASONS, SEQUENCES):
        assert all(THAI.search(label["th"]) and not THAI.search(label["en"]) for label in labels.values())
    assert WORDS["en"].keys() <= WORDS["th"].keys()
    assert all(THAI.search(text) for text in (*RULES_TH.values(), *FIGURES_TH.values()))


@pytest.mark.parametrize("language", ["th", "en"])
def test_page_and_results_word_a_reason_alike(language: str) -> None:
    words = (ROOT.parent / f"api/static/dashboard/i18n/words-{language}.js").read_text("utf-8")
    shown = dict(re.findall(r'"reason\.(\w+)": "([^"]*)"', words))
    assert shown == {code: label[language][0].upper() + label[language][1:] for code, label in REASONS.items()}
