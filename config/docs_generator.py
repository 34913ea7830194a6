"""Generate from the settings models: the shipped appsettings.json, the tables of docs/settings.md and the list of the
keys that a reload changes in docs/operations.md.

`make docs` rewrites all three in a checkout; tests fail when they are stale.
"""

import json
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le, MinLen
from pydantic_core import PydanticUndefined

from config.reload import hot_keys
from config.schema import Key, LeafShape, ListOf, MapOf, SectionShape, shape_of
from config.settings import Settings
from config.types import TEN_YEARS

BEGIN, END = "<!-- settings: begin -->", "<!-- settings: end -->"
HOT_BEGIN, HOT_END = "<!-- hot: begin -->", "<!-- hot: end -->"
_WIDTH = 117
"""Columns of a comment, without its indent and its slashes."""
_HEADER = """\
// Every setting with its default. A file of your own needs only what differs; comments and trailing commas
// are welcome. What overrides what, and how, is in docs/settings.md. null means: not set.
"""


def settings_file() -> str:
    """The shipped appsettings.json: every key with a comment and its default, null where there is none."""
    return _HEADER + "{\n" + ",\n".join(_entries(shape_of(Settings), "  ")) + "\n}\n"


def _entries(section: SectionShape, indent: str) -> Iterator[str]:
    for key in section.keys.values():
        lines = textwrap.wrap(_comment(key), _WIDTH - len(indent), break_long_words=False, break_on_hyphens=False)
        comment = "".join(f"{indent}// {line}\n" for line in lines)
        if isinstance(key.shape, SectionShape):
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
    return ", ".join(_literal(found)) if isinstance(key.shape, LeafShape) else ""


def _literal(annotation: Any) -> tuple[str, ...]:
    if get_origin(annotation) is Annotated:
        return _literal(get_args(annotation)[0])
    return get_args(annotation) if get_origin(annotation) is Literal else ()


def _element(key: Key) -> str:
    """Return an example element of a list of sections."""
    if not (isinstance(key.shape, ListOf) and isinstance(key.shape.item, SectionShape)):
        return ""
    parts = (f'"{part.name}": {_example(part)}' for part in key.shape.item.keys.values())
    return f": {{ {', '.join(parts)} }}"


def _example(key: Key) -> str:
    return '"…"' if key.info.is_required() else default_text(key)


def default_text(key: Key) -> str:
    """Return the default as JSON; whole numbers have no decimal point."""
    value = key.info.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return "required"
    return json.dumps(int(value) if isinstance(value, float) and value.is_integer() else value, ensure_ascii=False)


def tables() -> str:
    """One Markdown table per section, in the order of the tree."""
    return "\n".join(_tables(shape_of(Settings), "", hot=False))


def _tables(section: SectionShape, prefix: str, *, hot: bool) -> Iterator[str]:
    keys = section.keys.values()
    rows = [_row(key, hot=hot or key.is_hot) for key in keys if not isinstance(key.shape, SectionShape)]
    if rows:
        yield "| Key | Type | Default | Changes on | Meaning |\n|---|---|---|---|---|\n" + "\n".join(rows) + "\n"
    for key in keys:
        inner = key.shape.item if isinstance(key.shape, ListOf) else key.shape
        if isinstance(inner, SectionShape):
            name = f"{prefix}{key.name}{':N' if isinstance(key.shape, ListOf) else ''}"
            yield f"### {name}\n\n{key.info.description}.\n"
            yield from _tables(inner, f"{name}:", hot=hot or key.is_hot)


def _row(key: Key, *, hot: bool) -> str:
    facts = ", ".join(fact for fact in (_type(key), _bounds(key)) if fact)
    text = default_text(key)
    default = {"null": "not set", "required": "required"}.get(text, f"`{text}`")
    meaning = (key.info.description or "").replace("|", "\\|")
    return f"| `{key.name}` | {facts} | {default} | {'reload' if hot else 'restart'} | {meaning} |"


def _type(key: Key) -> str:
    match key.shape:
        case ListOf(SectionShape()):
            return "list of sections, see below"
        case ListOf():
            return f"list of {_plain_type(get_args(key.info.annotation)[0])}"
        case MapOf(item):
            value = "secret text" if item.secret else _plain_type(get_args(key.info.annotation)[1])
            return f"dictionary of {value}"
        case LeafShape(secret=True):
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
    return key.shape.unit if isinstance(key.shape, LeafShape) else ""


def _bounds(key: Key) -> str:
    """`> 0`, `1 to 256`. The limit of ten years on every duration is stated once, in the text of the page."""
    low = high = ""
    for part in key.info.metadata:
        match part:
            case Gt(gt=bound):
                low = f"> {bound}"
            case Ge(ge=bound):
                low = f">= {bound}"
            case Le(le=int() | float() as bound) if bound < TEN_YEARS or not _unit(key).endswith("seconds"):
                high = str(bound)
            case MinLen():
                low = "not empty"
    return f"{low.removeprefix('>= ')} to {high}" if high else low


def page(text: str) -> str:
    """Return docs/settings.md with its tables generated again between the two markers."""
    return _between(text, BEGIN, END, f"\n{tables()}")


def hot_page(text: str) -> str:
    """Return docs/operations.md with its list of the keys that a reload changes, between the two markers."""
    names = " ".join(f"`{key}`" for key in hot_keys())
    lines = textwrap.wrap(names, _WIDTH, break_long_words=False, break_on_hyphens=False)
    return _between(text, HOT_BEGIN, HOT_END, "\n".join(lines))


def _between(text: str, begin: str, end: str, content: str) -> str:
    head, _, rest = text.partition(begin)
    _, _, tail = rest.partition(end)
    return f"{head}{begin}\n{content}\n{end}{tail}"


def write(root: Path) -> None:
    """Rewrite the shipped file and the two pages in a checkout."""
    (root / "config" / "appsettings.json").write_text(settings_file(), encoding="utf-8")
    for name, generate in (("settings.md", page), ("operations.md", hot_page)):
        document = root / "docs" / name
        document.write_text(generate(document.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    write(Path(__file__).parent.parent)
    sys.stdout.write("config/appsettings.json, docs/settings.md and docs/operations.md are written\n")
