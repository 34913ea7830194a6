"""The long-service medal: exclusions, unmet conditions, and reviews."""

from typing import Any

import pytest

from tests.support.insignia import medal_of, officer

LONG = {"service_start": "2000-07-28"}


@pytest.mark.parametrize(
    ("level", "facts", "expected"),
    [
        ("K2", {"service_start": "2000-07-28"}, "CKM CKM-1"),
        ("K2", {"service_start": "2000-07-29"}, "SERVICE_TOO_SHORT"),
        ("M1", LONG, "CKM CKM-1"),
        ("K5", LONG, "CKM CKM-1"),
        ("PE-A", LONG, "GROUP_NOT_COVERED"),
        ("GE-1", LONG, "GROUP_NOT_COVERED"),
        ("GE-1", LONG | {"discipline": ("x",)}, "GROUP_NOT_COVERED"),
        ("GE-1", LONG | {"nationality": "XX"}, "NOT_THAI"),
        ("GE-1", {"service_start": None}, "GROUP_NOT_COVERED"),
        ("K2", LONG | {"employee_group": None}, "INCOMPLETE_DATA ?"),
        ("K2", {"service_start": None}, "INCOMPLETE_DATA ?"),
        ("K2", LONG | {"level_start": None, "salary": None}, "CKM CKM-1"),
        ("K2", LONG | {"decorations": None}, "INCOMPLETE_DATA ?"),
        ("K2", {"decorations": None}, "SERVICE_TOO_SHORT"),
        ("K2", LONG | {"nationality": "XX"}, "NOT_THAI"),
        ("K2", LONG | {"decoration_recalled": True}, "DECORATION_RECALLED"),
        ("K2", LONG | {"left_service": "2025-01-01"}, "NOT_IN_SERVICE_ON_CEREMONY"),
        ("K2", LONG | {"discipline": ("x",)}, "DISCIPLINE_REVIEW ?"),
        ("K2", LONG | {"imprisonment": True}, "IMPRISONMENT_REVIEW ?"),
        ("K2", LONG | {"on_leave": "study"}, "LEAVE_REVIEW ?"),
        ("K2", {"discipline": ("x",)}, "SERVICE_TOO_SHORT"),
        ("K2", {"service_start": "1990-01-01", "returned_to_service": "2001-01-01"}, "SERVICE_TOO_SHORT"),
        ("K2", {"service_start": "1990-01-01", "returned_to_service": "1999-01-01"}, "CKM CKM-1"),
    ],
)
def test_medal_gives_the_expected_decision(level: str, facts: dict[str, Any], expected: str) -> None:
    assert medal_of(officer(level, **facts)) == expected


def test_medal_is_given_only_once() -> None:
    assert medal_of(officer("K2", "CKM 2020", **LONG)) == "ALREADY_HELD"
    assert medal_of(officer("K2", "CKM 2027", **LONG)) == "ALREADY_HELD"
    assert medal_of(officer("K2", "CKM 2020", discipline=("x",), **LONG)) == "ALREADY_HELD"


def test_medal_with_only_the_last_decoration_known_is_incomplete() -> None:
    assert medal_of(officer("K2", "CT2 2020", last_only=True, **LONG)) == "INCOMPLETE_DATA ?"
    assert medal_of(officer("K2", "CKM 2020", last_only=True, **LONG)) == "ALREADY_HELD"
    assert medal_of(officer("K2", "CT2 2020", last_only=True)) == "SERVICE_TOO_SHORT"


def test_medal_does_not_depend_on_a_class_of_the_year_before() -> None:
    assert medal_of(officer("K2", "CT2 2024", **LONG)) == "CKM CKM-1"
