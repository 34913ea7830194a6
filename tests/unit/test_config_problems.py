"""What was probably meant, and how faults are told."""

import pickle

from hypothesis import given
from hypothesis import strategies as st

from config.problems import ConfigError, Origin, Problem, did_you_mean, distance, suggestions

WORDS = st.text(alphabet="abc", max_size=6)


def test_a_swap_of_neighbours_is_one_edit() -> None:
    assert distance("WebSokcet", "WebSocket") == 1
    assert distance("kitten", "sitting") == 3


@given(WORDS, WORDS)
def test_distance_does_not_depend_on_the_direction(left: str, right: str) -> None:
    assert distance(left, right) == distance(right, left)


@given(WORDS, WORDS)
def test_distance_is_nought_for_equal_words_only(left: str, right: str) -> None:
    assert (distance(left, right) == 0) == (left == right)


@given(WORDS, st.integers(0, 6), st.sampled_from("abc"))
def test_one_inserted_letter_is_one_edit(word: str, at: int, letter: str) -> None:
    assert distance(word, word[:at] + letter + word[at:]) == 1


def test_the_nearest_name_comes_first() -> None:
    assert suggestions("Tokens", ["TokenFile", "Token", "Timeout"]) == ["Token"]
    assert suggestions("pat", ["Url", "Path"]) == ["Path"]


def test_a_left_out_word_is_found_by_likeness() -> None:
    assert suggestions("ReconnectDelay", ["Timeout", "ReconnectionDelay", "Url"]) == ["ReconnectionDelay"]


def test_nothing_is_suggested_for_something_else() -> None:
    assert suggestions("Colour", ["Url", "Path", "Window"]) == []
    assert did_you_mean([]) == ""


def test_two_candidates_are_both_offered() -> None:
    assert did_you_mean(["A", "B"]) == "; did you mean 'A' or 'B'?"


def test_a_problem_stays_on_one_line_whatever_it_quotes() -> None:
    assert str(Problem("environment variable WebSocket__\x1b[2J\nforged: ก")) == (
        "environment variable WebSocket__\\x1b[2J\\nforged: ก"
    )


def test_origins_read_as_places() -> None:
    assert str(Origin("file", "appsettings.json", 12)) == "appsettings.json:12"
    assert str(Origin("environment", "Hub__Enabled")) == "environment variable Hub__Enabled"
    assert str(Origin("credential", "/run/secrets/X")) == "credential file /run/secrets/X"
    assert str(Origin("command line", "--X")) == "command line --X"
    assert str(Origin("default")) == "default"


def test_the_error_tells_every_problem_and_survives_pickling() -> None:
    error = ConfigError([Problem("one"), Problem("two")], [Problem("three")])
    assert str(error) == "one\ntwo"
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.problems, copy.warnings) == (error.problems, error.warnings)
