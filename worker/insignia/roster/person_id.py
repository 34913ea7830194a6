"""Person ids: one normal form for citizen ids, whatever program the roster went through."""

import re
from operator import mul
from typing import NamedTuple

from worker.insignia.roster.cells import Unreadable, normalize

_DIGITS = 13
_AS_FORMULA = re.compile(r'^="(.*)"$')
"""The way in which some programs mark an id as text for spreadsheets."""
_SCIENTIFIC = re.compile(r"\d+(?:[.,]\d+)?[eE]\+?\d+")
_DECIMALS = re.compile(r"(\d[\d -]*)[.,]0+")
_NEARLY, _MOST_MARKS = range(11, 16), 12
"""Numbers of digits that make a text with at most so many other characters a citizen id with something added."""
_QUOTES = "'\"`’‘“”′´ʼ＇"
_WEIGHTS = range(13, 1, -1)


class PersonId(NamedTuple):
    """An id, and the code of the repair that was needed; empty if none was."""

    text: str
    repair: str = ""


def read_person_id(text: str) -> PersonId:
    """Return a citizen id as 13 digits, and any other id without outer spaces. Raises Unreadable.

    A text that is almost a citizen id is accepted only if nothing but decimals, quotes, spaces and dashes has to be
    removed, or if the check digit confirms the result.
    """
    if len(text) == _DIGITS and text.isascii() and text.isdigit():
        return PersonId(text)
    plain = _AS_FORMULA.sub(r"\1", normalize(text)).strip(_QUOTES + " ")
    if not plain:
        raise Unreadable("id_missing")
    if _SCIENTIFIC.fullmatch(plain):
        raise Unreadable("id_rounded")
    if len(plain) > 100 or not plain.isprintable():
        raise Unreadable("id_too_long")
    repair = ""
    if match := _DECIMALS.fullmatch(plain):
        plain, repair = match[1], "id_decimal"
    digits = plain.replace("-", "").replace(" ", "")
    if digits.isascii() and digits.isdigit():
        return _of_digits(digits, plain, repair)
    return _among_marks(plain)


def _of_digits(digits: str, plain: str, repair: str) -> PersonId:
    if len(digits) == _DIGITS:
        return PersonId(digits, repair)
    if len(digits) == _DIGITS - 1 and check_digit(f"0{digits[:-1]}") == int(digits[-1]):
        return PersonId(f"0{digits}", "id_zero_restored")
    if len(digits) > 9:
        raise Unreadable("id_wrong_length", digits=len(digits))
    return PersonId(plain, repair)


def _among_marks(plain: str) -> PersonId:
    """Return an id with other characters in it: another kind of id, or a citizen id with marks around it."""
    digits = "".join(filter(str.isdigit, plain))
    if len(digits) not in _NEARLY or len(plain) - len(digits) > _MOST_MARKS:
        return PersonId(plain)
    if len(digits) == _DIGITS and check_digit(digits[:12]) == int(digits[12]):
        return PersonId(digits, "id_marks_removed")
    raise Unreadable("id_foreign_marks")


def parse_person_id(text: str) -> str:
    """Return the id of `read_person_id` without the repair."""
    return read_person_id(text).text


def is_citizen_id(person_id: str) -> bool:
    """Return whether the id has the form of a citizen id; the check digit may be wrong."""
    return len(person_id) == _DIGITS and person_id.isascii() and person_id.isdigit()


def has_valid_check_digit(person_id: str) -> bool:
    """Return whether the last of 13 digits fits the others (weights 13 to 2, modulo 11); true for other ids."""
    return not is_citizen_id(person_id) or check_digit(person_id[:12]) == int(person_id[12])


def check_digit(twelve: str) -> int:
    """Return the check digit of twelve digits."""
    codes: int = sum(map(mul, twelve.encode("ascii"), _WEIGHTS))
    return (11 - (codes - ord("0") * sum(_WEIGHTS)) % 11) % 10
