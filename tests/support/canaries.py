"""A secret that can be recognised, for every setting that is called secret, and the spellings to look for."""

import base64
import hashlib
import html
import json
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import quote

from config.binding import bind
from config.errors import Origin
from config.merge import Path, Setting, key_text
from config.schema import LeafShape, ListOf, MapOf, SectionShape, Shape, shape_of
from config.settings import Settings

NAME = "NAME"
"""The entry of a dictionary, such as the name of a header."""


def secret_paths(shape: Shape | None = None, path: Path = ()) -> Iterator[Path]:
    """Yield the path of every single value that the settings call secret, in the first element of each list."""
    match shape or shape_of(Settings):
        case SectionShape(keys):
            for key in keys.values():
                yield from secret_paths(key.shape, (*path, key.name))
        case ListOf(item):
            yield from secret_paths(item, (*path, 0))
        case MapOf(item):
            yield from secret_paths(item, (*path, NAME))
        case LeafShape(secret=True):
            yield path


@dataclass(frozen=True)
class Canary:
    """The secret of one setting."""

    path: Path
    core: str
    """The part that no form of the value changes: letters and digits."""
    value: str

    @property
    def key(self) -> str:
        return key_text(self.path)

    @cached_property
    def spellings(self) -> tuple[str, ...]:
        """Return every spelling of the core that is looked for, in lower case."""
        data = self.core.encode()
        found = [
            self.core,
            data.hex(),
            "".join(f"\\u{char:04x}" for char in data),
            "".join(f"%{char:02x}" for char in data),
            "".join(f"&#{char};" for char in data),
        ]
        return tuple(text.lower() for text in found)

    @cached_property
    def codes(self) -> tuple[str, ...]:
        """Return the core in Base64 at each offset, without the characters that depend on what stands beside it."""
        return tuple(
            base64.b64encode(b"\0" * offset + self.core.encode()).decode()[-(-offset * 4 // 3) : -4]
            for offset in range(3)
        )

    def is_in(self, text: str) -> bool:
        low = text.lower()
        return any(spelling in low for spelling in self.spellings) or any(code in text for code in self.codes)


def canary_for(path: Path, beside: Mapping[Path, str]) -> Canary:
    """Return a secret that the setting accepts; `beside` are the settings that its section requires.

    Raises AssertionError if none is accepted: a setting of a new kind needs a form of its own here.
    """
    core = f"Canary{secrets.token_hex(8)}"
    long = f'{core}/+"={core}~{"x" * 32}'
    forms = (
        long,
        f"whsec_{base64.b64encode(core.encode() * 2).decode()}",
        f"redis://:{core}@127.0.0.1:9/0",
        f"http://user:{core}@127.0.0.1:9",
        f"postgresql://user:{core}@127.0.0.1:9/none",
        hashlib.sha256(core.encode()).hexdigest(),
    )
    for form in forms:
        leaves = {**beside, path: form}
        _, problems = bind([Setting(one, value, Origin("file", "test", 1)) for one, value in leaves.items()])
        if not any(problem.key == key_text(path) for problem in problems):
            return Canary(path, core if core in form else form, form)
    raise AssertionError(f"no form of a secret is accepted by {key_text(path)}: add one")


@dataclass(frozen=True)
class Canaries:
    """All secrets, and where they were found although they must not be."""

    all: tuple[Canary, ...]
    leaks: list[str] = field(default_factory=list)

    def look(self, text: str | bytes, where: str) -> None:
        """Look for every secret in a text that someone can read."""
        shown = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
        self.leaks.extend(
            f"{canary.key} in {where}: {_around(shown, canary)}" for canary in self.all if canary.is_in(shown)
        )


def _around(text: str, canary: Canary) -> str:
    at = next((text.lower().find(one) for one in canary.spellings if one in text.lower()), -1)
    at = at if at >= 0 else next(text.find(one) for one in canary.codes if one in text)
    return text[max(0, at - 80) : at + 80].replace("\n", "⏎")


def every_spelling(values: Iterable[str]) -> str:
    """Return the values as a server or a program may echo them."""
    lines = []
    for value in values:
        data = value.encode()
        lines += [
            value,
            json.dumps(value).replace("/", "\\/"),
            json.dumps(json.dumps(value)),
            "".join(f"\\u{ord(char):04X}" for char in value),
            quote(value, safe=""),
            "".join(f"%{byte:02X}" for byte in data),
            html.escape(value),
            "".join(f"&#{ord(char)};" for char in value),
            data.hex(),
            *(base64.b64encode(b"." * offset + data).decode() for offset in range(3)),
            base64.urlsafe_b64encode(data).decode(),
        ]
    return "\n".join(lines)


def nested(leaves: Mapping[Path, Any]) -> dict[str, Any]:
    """Return the settings as a file has them."""
    tree: dict[str, Any] = {}
    for path, value in leaves.items():
        node = tree
        for segment in path[:-1]:
            node = node.setdefault(str(segment), {})
        node[str(path[-1])] = value
    return tree
