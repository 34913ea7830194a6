"""One normal form for text: look-alike spellings of Thai, digits of any script, dashes, invisible characters."""

import re
import unicodedata
from functools import lru_cache

CACHE = 1 << 16
"""Entries of each cache: rosters repeat the same words, dates and amounts in thousands of rows."""

_INVISIBLE = "\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u2060\u2066\u2067\u2068\u2069\ufeff\u00ad"
_DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d"
_TIDIER: dict[int, str | None] = dict.fromkeys(map(ord, _INVISIBLE), None)
_TIDIER |= dict.fromkeys(map(ord, _DASHES), "-")
_TONES, _VOWELS = "\u0e48-\u0e4c", "\u0e31\u0e34-\u0e3a\u0e47"
_SLIPS = (
    (re.compile("เเ"), "แ"),
    (re.compile(f"([{_TONES}]?)\u0e4d([{_TONES}]?)\u0e32"), "\\1\\2\u0e33"),  # nikhahit and sara aa: sara am
    (re.compile(f"\u0e33([{_TONES}])"), "\\1\u0e33"),
    (re.compile(f"([{_TONES}])([{_VOWELS}])"), r"\2\1"),  # a tone mark follows its vowel
    (re.compile(f"([{_TONES}{_VOWELS}\u0e33])\\1+"), r"\1"),
)
_ANY_SLIP = re.compile(
    f"เเ|\u0e4d[{_TONES}]?\u0e32|\u0e33[{_TONES}]|[{_TONES}][{_VOWELS}]|([{_TONES}{_VOWELS}\u0e33])\\1"
)
_OTHER_DIGIT = re.compile(r"[^\D0-9]")


@lru_cache(CACHE)
def canonical(text: str) -> str:
    """Return the text with one spelling for what looks alike, digits as 0-9, single spaces, no outer spaces."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text.translate(_TIDIER)).translate(_TIDIER)
        if _ANY_SLIP.search(text):
            for slip, right in _SLIPS:
                text = slip.sub(right, text)
        if _OTHER_DIGIT.search(text):
            text = _OTHER_DIGIT.sub(_digit, text)
    return " ".join(text.split())


def search_form(text: str) -> str:
    """Return the form in which texts are compared: one Thai spelling, one case."""
    return canonical(text).lower()


def _digit(found: re.Match[str]) -> str:
    return str(unicodedata.decimal(found[0]))
