"""Binds leaves to the typed settings, and translates pydantic's errors: key, value, origin, what is wrong."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from config.errors import DEFAULT, Origin, SettingsProblem, did_you_mean, suggestions
from config.merge import Path, Setting, Value, key_text, same_key, unflatten
from config.schema import KnownKey, LeafShape, ListOf, MapOf, SectionShape, Shape, locate, shape_of, to_key_path
from config.settings import Settings
from config.value_text import is_number

SECRET = "***"  # noqa: S105  (shown instead of a secret)
_CREDENTIALS = re.compile(r"(?<=://)[^/?#\s]*@|^[^/?#\s:@]+:[^/?#\s@]+@")
"""User and password in an address, also in one without its scheme."""
_QUERY = re.compile(r"(?<=://)([^\s?#]*\?)[^\s#]+")
"""The parameters of an address, which often are keys."""
_MAX_SHOWN = 80
_BOUNDS = {"greater_than_equal": ("ge", ">="), "greater_than": ("gt", ">"), "less_than_equal": ("le", "<=")}
_TIMES = ("milliseconds", "seconds")
"""Units in which a time span may be written instead of a number."""
_PLAIN = {
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "missing": "is required",
    "string_too_short": "must not be empty",
    "string_unicode": "must be valid Unicode text",
}


def bind(settings: Sequence[Setting]) -> tuple[Settings, list[SettingsProblem]]:
    """Return the settings of these leaves, and a problem for each leaf that had to be left out."""
    problems: list[SettingsProblem] = []
    kept = list(settings)
    while True:
        try:
            return Settings(**unflatten((setting.path, _readable(setting)) for setting in kept)), problems
        except ValidationError as exc:
            faults = [(to_key_path(shape_of(Settings), error["loc"]), error) for error in exc.errors(include_url=False)]
        problems += [_problem(path, error, kept) for path, error in faults]
        kept = _without([path for path, _ in faults], kept)


def _readable(setting: Setting) -> Value:
    """Return the value; an empty text for a number that pydantic would read, and .NET would not."""
    place, text = locate(shape_of(Settings), setting.path), setting.value
    if not (isinstance(text, str) and isinstance(place, KnownKey) and isinstance(place.shape, LeafShape)):
        return text
    is_time = place.shape.unit in _TIMES and ":" in text
    return text if not place.shape.is_number or is_time or is_number(text) else ""


def _without(paths: Sequence[Path], settings: Sequence[Setting]) -> list[Setting]:
    """Leave out the leaves that a fault names; a faulty list element is left out as a whole."""
    removed = [path[:-1] if _is_element_key(path) else path for path in paths]
    kept = [setting for setting in settings if not any(_is_below(setting.path, path) for path in removed)]
    return kept if len(kept) < len(settings) else []


def _is_element_key(path: Path) -> bool:
    return len(path) >= 2 and isinstance(path[-2], int)


def _is_below(path: Path, ancestor: Path) -> bool:
    return same_key(path[: len(ancestor)]) == same_key(ancestor)


def _problem(path: Path, error: ErrorDetails, settings: Sequence[Setting]) -> SettingsProblem:
    setting = _nearest(path, settings)
    origin = setting.origin if setting is not None else DEFAULT
    reason = _reason(path, error, setting)
    if setting is None or same_key(setting.path) != same_key(path):
        return SettingsProblem(f"{key_text(path)} (from {origin}): {reason}", origin, key_text(path))
    return SettingsProblem(f"{describe(path, setting.value, origin)}: {reason}", origin, key_text(path))


def _nearest(path: Path, settings: Sequence[Setting]) -> Setting | None:
    """Return the leaf itself, else one below it, else a sibling, whose origin shows where a missing key belongs."""
    for ancestor in (path, path[:-1]):
        for setting in settings:
            if _is_below(setting.path, ancestor):
                return setting
    return None


def describe(path: Path, value: Any, origin: Origin) -> str:
    """Return `WebSocket:Url = http://hub (from appsettings.json:3)` or `... (default)`; secrets are masked."""
    source = "default" if origin is DEFAULT else f"from {origin}"
    return f"{key_text(path)} = {shown(path, value)} ({source})"


def shown(path: Path, value: Any) -> str:
    """Return a value on one line, in quotes where it would otherwise be misread."""
    public = masked(path, value)
    if not isinstance(public, str):
        return json.dumps(public, ensure_ascii=False)
    text = public if len(public) <= _MAX_SHOWN else f"{public[:_MAX_SHOWN]}…"
    return text if re.fullmatch(r"[^\s\"']+", text) else json.dumps(text, ensure_ascii=False)


def masked(path: Path, value: Any) -> Any:
    """Return the value as it may be shown: secrets, and passwords and parameters in addresses are replaced."""
    if value is None:
        return None
    if is_secret(path):
        return SECRET
    return _QUERY.sub(rf"\1{SECRET}", _CREDENTIALS.sub(f"{SECRET}@", value)) if isinstance(value, str) else value


def is_secret(path: Path) -> bool:
    place = locate(shape_of(Settings), path)
    return isinstance(place, KnownKey) and isinstance(place.shape, LeafShape) and place.shape.secret


def value_at(settings: Settings, path: Path) -> Any:
    """Return the value in the typed settings under a path that exists."""
    shape: Shape = shape_of(Settings)
    node: Any = settings
    for segment in path:
        match shape:
            case SectionShape(keys):
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
    unit = place.shape.unit if isinstance(place, KnownKey) and isinstance(place.shape, LeafShape) else ""
    span = ", or a time span such as 00:00:30" if unit in _TIMES else ""
    return f"{number}{f' of {unit}' if unit else ''}{span}"
