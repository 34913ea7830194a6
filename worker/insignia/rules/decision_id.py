"""The id of a decision: a hash of what was decided about and by which rules, so that it can be repeated later.

The normal form holds only what a decision can depend on, in one spelling; values at their defaults are left out, so
that fields added later do not change the ids of officers who lack them.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import fields
from datetime import date
from operator import attrgetter
from typing import Any

import orjson

from worker.insignia.roster.officer import ABOUT, Award, Officer
from worker.insignia.rules.ruleset import Rules

DIGITS = 24
"""96 bits: among a million officers, two with one id are not to be expected."""
_DEFAULTS = {field.name: field.default for field in fields(Officer) if field.name not in ABOUT}
_NAMES = tuple(name for name in _DEFAULTS if name not in ("person_id", "decorations"))
_VALUES = attrgetter(*_NAMES)
_PLAIN = tuple((name, _DEFAULTS[name]) for name in _NAMES)
_DATES = tuple(field.name for field in fields(Officer) if "date" in str(field.type))
_MONEY = ("salary", "salary_5y_ago", "position_allowance")


def normal_form(officer: Officer) -> bytes:
    """Return everything about an officer that a decision can depend on, as JSON; equal officers give equal bytes."""
    form: dict[str, Any] = {
        name: value
        for (name, default), value in zip(_PLAIN, _VALUES(officer), strict=True)
        if value is not default and value != default
    }
    form["person_id"] = officer.person_id
    for name in _MONEY:
        if name in form:
            form[name] = float(form[name])
    if officer.decorations is not None:
        form["decorations"] = awards_form(officer.decorations)
    return orjson.dumps(form, option=orjson.OPT_SORT_KEYS)


def awards_form(decorations: Iterable[Award]) -> list[tuple[str, str]]:
    """Return decorations as the normal form has them."""
    return sorted((award.code, award.received.isoformat() if award.received else "") for award in decorations)


def officer_of(form: bytes, about: Mapping[str, str] | None = None) -> Officer:
    """Return the officer of a normal form; `about` gives names, post and office."""
    values: dict[str, Any] = orjson.loads(form)
    for name in _DATES:
        if name in values:
            values[name] = date.fromisoformat(values[name])
    if "discipline" in values:
        values["discipline"] = tuple(values["discipline"])
    if "decorations" in values:
        values["decorations"] = tuple(
            Award(code, date.fromisoformat(day) if day else None) for code, day in values["decorations"]
        )
    return Officer(**values, **dict[str, Any](about or {}))


def decision_id(officer: Officer, rules: Rules) -> str:
    """Return the id of the decisions about an officer by these rules."""
    return decision_id_of(normal_form(officer), rules)


def decision_id_of(form: bytes, rules: Rules) -> str:
    """Return the same for an officer's normal form."""
    return hashlib.sha256(rules.basis.encode() + form).hexdigest()[:DIGITS]


def is_decision_id(text: str) -> bool:
    """Return whether a text has the form of such an id."""
    return len(text) == DIGITS and not set(text) - set("0123456789abcdef")
