"""From leaves to the typed tree, and pydantic's faults in our words: key, value, origin, what is wrong.

Knows the shape of the tree, and neither files nor the rules between two settings.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from config.problems import DEFAULT, Origin, Problem, did_you_mean, suggestions
from config.settings import Settings
from config.shape import Leaf, ListOf, MapOf, Place, Section, Shape, locate, outside, shape_of
from config.tree import Path, Setting, key_text, same_key, unflatten

SECRET = "***"  # noqa: S105  (what is shown in place of one)
_USERINFO = re.compile(r"(?<=://)[^/?#\s]*@")
_LONGEST = 80
_BOUNDS = {"greater_than_equal": ("ge", ">="), "greater_than": ("gt", ">"), "less_than_equal": ("le", "<=")}
_PLAIN = {
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "missing": "is required",
    "string_too_short": "must not be empty",
    "string_unicode": "must be valid Unicode text",
}


def bind(settings: Sequence[Setting]) -> tuple[Settings, list[Problem]]:
    """The tree of these leaves, and a problem for each leaf that had to be left out of it."""
    problems: list[Problem] = []
    kept = list(settings)
    while True:
        try:
            return Settings(**unflatten((setting.path, setting.value) for setting in kept)), problems
        except ValidationError as exc:
            faults = [(outside(shape_of(Settings), error["loc"]), error) for error in exc.errors(include_url=False)]
        problems += [_problem(path, error, kept) for path, error in faults]
        kept = _without([path for path, _ in faults], kept)


def _without(paths: Sequence[Path], settings: Sequence[Setting]) -> list[Setting]:
    """Leave out what a fault names or lies around; a broken element takes its siblings along."""
    doomed = [path[:-1] if _is_element_key(path) else path for path in paths]
    kept = [setting for setting in settings if not any(_beneath(setting.path, path) for path in doomed)]
    return kept if len(kept) < len(settings) else []


def _is_element_key(path: Path) -> bool:
    return len(path) >= 2 and isinstance(path[-2], int)


def _beneath(path: Path, ancestor: Path) -> bool:
    return same_key(path[: len(ancestor)]) == same_key(ancestor)


def _problem(path: Path, error: ErrorDetails, settings: Sequence[Setting]) -> Problem:
    setting = _nearest(path, settings)
    origin = setting.origin if setting is not None else DEFAULT
    reason = _reason(path, error, setting)
    if setting is None or same_key(setting.path) != same_key(path):
        return Problem(f"{key_text(path)} (from {origin}): {reason}", origin, key_text(path))
    return Problem(f"{describe(path, setting.value, origin)}: {reason}", origin, key_text(path))


def _nearest(path: Path, settings: Sequence[Setting]) -> Setting | None:
    """The leaf itself, else one below it, else a sibling: what is missing was left out where they stand."""
    for ancestor in (path, path[:-1]):
        for setting in settings:
            if _beneath(setting.path, ancestor):
                return setting
    return None


def describe(path: Path, value: Any, origin: Origin) -> str:
    """`WebSocket:Url = http://hub (from appsettings.json:3)`, `... (default)`; secrets are not shown."""
    source = "default" if origin is DEFAULT else f"from {origin}"
    return f"{key_text(path)} = {shown(path, value)} ({source})"


def shown(path: Path, value: Any) -> str:
    """A value on one line, in quotes where it would otherwise be misread."""
    public = masked(path, value)
    if not isinstance(public, str):
        return json.dumps(public, ensure_ascii=False)
    text = public if len(public) <= _LONGEST else f"{public[:_LONGEST]}…"
    return text if re.fullmatch(r"[^\s\"']+", text) else json.dumps(text, ensure_ascii=False)


def masked(path: Path, value: Any) -> Any:
    """The value as it may be shown: secrets and passwords inside addresses are replaced."""
    if value is None:
        return None
    if is_secret(path):
        return SECRET
    return _USERINFO.sub(f"{SECRET}@", value) if isinstance(value, str) else value


def is_secret(path: Path) -> bool:
    place = locate(shape_of(Settings), path)
    return isinstance(place, Place) and isinstance(place.shape, Leaf) and place.shape.secret


def value_at(settings: Settings, path: Path) -> Any:
    """What the typed tree holds under a path that exists."""
    shape: Shape = shape_of(Settings)
    node: Any = settings
    for segment in path:
        match shape:
            case Section(keys):
                key = keys[str(segment).lower()]
                node, shape = getattr(node, key.field), key.shape
            case ListOf(item) | MapOf(item):
                node, shape = node[segment], item
            case _:
                raise KeyError(key_text(path))
    return node


def _reason(path: Path, error: ErrorDetails, setting: Setting | None) -> str:
    context: Mapping[str, Any] = error.get("ctx", {})
    match error["type"]:
        case "greater_than_equal" | "greater_than" | "less_than_equal" as kind:
            name, sign = _BOUNDS[kind]
            return f"must be {sign} {_number(context[name])}"
        case "literal_error":
            return _one_of(context["expected"], setting)
        case "value_error":
            return str(context["error"])
        case "int_parsing" | "int_type" | "int_from_float" | "int_parsing_size":
            return f"must be {_number_of(path, 'a whole number')}"
        case "float_parsing" | "float_type" | "finite_number":
            return f"must be {_number_of(path, 'a number')}"
        case kind:
            return _PLAIN.get(kind, error["msg"].lower())


def _number(bound: Any) -> str:
    return str(int(bound) if int(bound) == bound else bound)


def _one_of(expected: str, setting: Setting | None) -> str:
    words = re.findall(r"'([^']*)'", expected)
    meant = suggestions(str(setting.value), words) if setting is not None else []
    return f"must be {'one of ' if len(words) > 1 else ''}{', '.join(words)}{did_you_mean(meant[:1])}"


def _number_of(path: Path, number: str) -> str:
    place = locate(shape_of(Settings), path)
    unit = place.shape.unit if isinstance(place, Place) and isinstance(place.shape, Leaf) else ""
    span = ", or a time span such as 00:00:30" if unit in ("milliseconds", "seconds") else ""
    return f"{number}{f' of {unit}' if unit else ''}{span}"
