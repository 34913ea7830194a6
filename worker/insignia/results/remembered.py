"""The meaning of headings that an owner has mapped before: a hidden file in the owner's folder of results."""

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

import orjson

from worker.insignia.roster.columns import IGNORE, ROSTER_FIELDS
from worker.insignia.roster.heading_keys import heading_key

_NAME = ".columns.json"
_MOST = 500
"""Headings that are remembered; the oldest are forgotten."""
_LONGEST = 1 << 18
"""Bytes of the file."""


def remembered_columns(owner: Path) -> dict[str, str]:
    """Return the fields by heading; nothing if there are none, or the file is damaged."""
    try:
        with (owner / _NAME).open("rb") as file:
            found = orjson.loads(file.read(_LONGEST))
    except (OSError, orjson.JSONDecodeError):
        return {}
    entries = found.items() if isinstance(found, dict) else ()
    known = {*ROSTER_FIELDS, IGNORE}
    return {heading: name for heading, name in entries if isinstance(name, str) and name in known}


def remember_columns(owner: Path, columns: Mapping[str, str]) -> None:
    """Add a mapping that led to a result; a later one for the same heading wins. The folder exists."""
    new = {heading: name for heading, name in columns.items() if name in (*ROSTER_FIELDS, IGNORE)}
    keys = {heading_key(heading) for heading in new}
    kept = {heading: name for heading, name in remembered_columns(owner).items() if heading_key(heading) not in keys}
    entries = list((kept | new).items())[-_MOST:]
    draft = owner / f"{_NAME}.{os.getpid()}"
    with contextlib.suppress(OSError):  # forgetting a mapping must not fail a job that has its results
        draft.write_bytes(orjson.dumps(dict(entries)))
        draft.replace(owner / _NAME)
