"""A server's own words in what it refuses with, whatever shape it gives them."""

from typing import Any, Final

import orjson

_NO_WORDS: Final = "no reason given"
_FIELDS: Final = ("message", "error", "reason", "description", "data")
"""Where servers put their words, the best first."""
_EMPTY: Final[tuple[object, ...]] = (None, "", [], {})


def words_of(said: object) -> str:
    """Return what a person can read of it: a text, the first field of an object that is a text, or all of it as JSON.

    It may be as long as the server's message: the caller masks it and then makes it short.
    """
    fields = [said.get(name) for name in _FIELDS] if isinstance(said, dict) else [said]
    text = next((field for field in fields if isinstance(field, str) and field.strip()), None)
    if text is not None:
        return text
    if said in _EMPTY:
        return _NO_WORDS
    try:
        return orjson.dumps(said).decode()
    except orjson.JSONEncodeError:  # JSON may be read that is nested deeper than it may be written
        return "it is nested too deep to be shown"


def refusal_of(encoded: str) -> tuple[Any, str]:
    """Return the value in the body of a refusal, and its words. A body that is not JSON is its own words, and None."""
    try:
        data = orjson.loads(encoded or "null")
    except orjson.JSONDecodeError:
        return None, encoded
    return data, words_of(data)
