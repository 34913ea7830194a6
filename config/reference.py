"""Writes down the settings from the models: the shipped appsettings.json and the tables of docs/settings.md.

`python -m config.reference` rewrites both in a checkout; a test says when that was forgotten.
"""

import json
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le, MinLen
from pydantic_core import PydanticUndefined

from config.settings import Settings
from config.shape import Key, Leaf, ListOf, MapOf, Section, shape_of

BEGIN, END = "<!-- settings: begin -->", "<!-- settings: end -->"
_WIDTH = 117
"""Columns of a comment, without its indent and its slashes."""
_HEADER = """\
// Every setting with its default. A file of your own needs only what differs; comments and trailing commas
// are welcome. What overrides what, and how, is in docs/settings.md. null means: not set.
"""


def settings_file() -> str:
    """The shipped appsettings.json: every key with a comment and its default, null where there is none."""
    return _HEADER + "{\n" + ",\n".join(_entries(shape_of(Settings), "  ")) + "\n}\n"


def _entries(section: Section, indent: str) -> Iterator[str]:
    for key in section.keys.values():
        lines = textwrap.wrap(_comment(key), _WIDTH - len(indent), break_long_words=False, break_on_hyphens=False)
        comment = "".join(f"{indent}// {line}\n" for line in lines)
        if isinstance(key.shape, Section):
            inner = ",\n".join(_entries(key.shape, f"{indent}  "))
            yield f'{comment}{indent}"{key.name}": {{\n{inner}\n{indent}}}'
        else:
            yield f'{comment}{indent}"{key.name}": {default_text(key)}'


def _comment(key: Key) -> str:
    facts = ", ".join(fact for fact in (_unit(key), _words(key), _bounds(key)) if fact)
    return f"{key.info.description}{f' ({facts})' if facts else ''}{_element(key)}"


def _words(key: Key) -> str:
    annotation = key.info.annotation
    found = annotation if get_origin(annotation) is Literal else next(iter(get_args(annotation)), None)
    return ", ".join(_literal(found)) if isinstance(key.shape, Leaf) else ""


def _literal(annotation: Any) -> tuple[str, ...]:
    if get_origin(annotation) is Annotated:
        return _literal(get_args(annotation)[0])
    return get_args(annotation) if get_origin(annotation) is Literal else ()


def _element(key: Key) -> str:
    """What an element of a list of sections looks like."""
    if not (isinstance(key.shape, ListOf) and isinstance(key.shape.item, Section)):
        return ""
    parts = (f'"{part.name}": {_example(part)}' for part in key.shape.item.keys.values())
    return f": {{ {', '.join(parts)} }}"


def _example(key: Key) -> str:
    return '"…"' if key.info.is_required() else default_text(key)


def default_text(key: Key) -> str:
    """The default as JSON; a whole number stays one."""
    value = key.info.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return "required"
    return json.dumps(int(value) if isinstance(value, float) and value.is_integer() else value, ensure_ascii=False)


def tables() -> str:
    """One Markdown table per section, in the order of the tree."""
    return "\n".join(_tables(shape_of(Settings), ""))


def _tables(section: Section, prefix: str) -> Iterator[str]:
    keys = section.keys.values()
    rows = [_row(key) for key in keys if not isinstance(key.shape, Section)]
    if rows:
        yield "| Key | Type | Default | Meaning |\n|---|---|---|---|\n" + "\n".join(rows) + "\n"
    for key in keys:
        inner = key.shape.item if isinstance(key.shape, ListOf) else key.shape
        if isinstance(inner, Section):
            name = f"{prefix}{key.name}{':N' if isinstance(key.shape, ListOf) else ''}"
            yield f"### {name}\n\n{key.info.description}.\n"
            yield from _tables(inner, f"{name}:")


def _row(key: Key) -> str:
    facts = ", ".join(fact for fact in (_type(key), _bounds(key)) if fact)
    text = default_text(key)
    default = {"null": "not set", "required": "required"}.get(text, f"`{text}`")
    meaning = (key.info.description or "").replace("|", "\\|")
    return f"| `{key.name}` | {facts} | {default} | {meaning} |"


def _type(key: Key) -> str:
    match key.shape:
        case ListOf(Section()):
            return "list of sections, see below"
        case ListOf():
            return f"list of {_plain_type(get_args(key.info.annotation)[0])}"
        case MapOf(item):
            value = "secret text" if item.secret else _plain_type(get_args(key.info.annotation)[1])
            return f"dictionary of {value}"
        case Leaf(secret=True):
            return "secret text"
        case _:
            return _unit(key) or _plain_type(key.info.annotation)


def _plain_type(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{word}`" for word in get_args(annotation))
    if get_origin(annotation) is Annotated or get_args(annotation):
        return _plain_type(get_args(annotation)[0])
    names = {bool: "true or false", int: "whole number", float: "number", str: "text"}
    return names.get(annotation, "text")


def _unit(key: Key) -> str:
    return key.shape.unit if isinstance(key.shape, Leaf) else ""


def _bounds(key: Key) -> str:
    """`> 0`, `1 to 256`. The cap of ten years on every duration is told once, in the text."""
    low = high = ""
    for part in key.info.metadata:
        match part:
            case Gt(gt=bound):
                low = f"> {bound}"
            case Ge(ge=bound):
                low = f">= {bound}"
            case Le(le=bound) if not _unit(key).endswith("seconds"):
                high = str(bound)
            case MinLen():
                low = "not empty"
    return f"{low.removeprefix('>= ')} to {high}" if high else low


def page(text: str) -> str:
    """The page with its tables written anew between the two markers."""
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n\n{tables()}\n{END}{tail}"


def write(root: Path) -> None:
    """Rewrite the shipped file and the page in a checkout."""
    (root / "config" / "appsettings.json").write_text(settings_file(), encoding="utf-8")
    document = root / "docs" / "settings.md"
    document.write_text(page(document.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    write(Path(__file__).parent.parent)
    sys.stdout.write("config/appsettings.json and docs/settings.md are written\n")
