"""Suggestions for misspelt names, and the text of faults."""

import pickle

from hypothesis import given
from hypothesis import strategies as st

from config.errors import ConfigError, Origin, SettingsProblem, did_you_mean, distance, suggestions

WORDS = st.text(alphabet="abc", max_size=6)


def test_distance_of_a_swap_of_neighbours_is_one() -> None:
    assert distance("WebSokcet", "WebSocket") == 1
    assert distance("kitten", "sitting") == 3


@given(WORDS, WORDS)
def test_distance_is_symmetric(left: str, right: str) -> None:
    assert distance(left, right) == distance(right, left)


@given(WORDS, WORDS)
def test_distance_is_zero_for_equal_words_only(left: str, right: str) -> None:
    assert (distance(left, right) == 0) == (left == right)


@given(WORDS, st.integers(0, 6), st.sampled_from("abc"))
def test_distance_of_an_inserted_letter_is_one(word: str, at: int, letter: str) -> None:
    assert distance(word, word[:at] + letter + word[at:]) == 1


def test_suggestions_begin_with_the_nearest_name() -> None:
    assert suggestions("Tokens", ["TokenFile", "Token", "Timeout"]) == ["Token"]
    assert suggestions("pat", ["Url", "Path"]) == ["Path"]


def test_suggestions_for_an_omitted_word_use_similarity() -> None:
    assert suggestions("ReconnectDelay", ["Timeout", "ReconnectionDelay", "Url"]) == ["ReconnectionDelay"]


def test_suggestions_for_an_unrelated_name_are_empty() -> None:
    assert suggestions("Colour", ["Url", "Path", "Window"]) == []
    assert did_you_mean([]) == ""


def test_did_you_mean_with_two_candidates_names_both() -> None:
    assert did_you_mean(["A", "B"]) == "; did you mean 'A' or 'B'?"


def test_problem_text_is_one_line_with_any_quoted_text() -> None:
    assert str(SettingsProblem("environment variable WebSocket__\x1b[2J\nforged: ก")) == (
        "environment variable WebSocket__\\x1b[2J\\nforged: ก"
    )


def test_origin_text_names_file_line_variable_or_argument() -> None:
    assert str(Origin("file", "appsettings.json", 12)) == "appsettings.json:12"
    assert str(Origin("environment", "Hub__Enabled")) == "environment variable Hub__Enabled"
    assert str(Origin("credential", "/run/secrets/X")) == "credential file /run/secrets/X"
    assert str(Origin("command line", "--X")) == "command line --X"
    assert str(Origin("default")) == "default"


def test_config_error_contains_every_problem_and_can_be_pickled() -> None:
    error = ConfigError([SettingsProblem("one"), SettingsProblem("two")], [SettingsProblem("three")])
    assert str(error) == "one\ntwo"
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.problems, copy.warnings) == (error.problems, error.warnings)
