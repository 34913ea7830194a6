"""Opens the files of a roster or history, whatever their format, as sheets of rows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from worker.insignia.errors import RosterUnreadable
from worker.insignia.messages import message
from worker.insignia.roster.csv_sheet import csv_sheet
from worker.insignia.roster.file_format import format_of
from worker.insignia.roster.markup import markup_sheets
from worker.insignia.roster.table import Sheet, objects_sheet
from worker.insignia.roster.text_encoding import decode
from worker.insignia.roster.workbook import workbook_sheets

MAX_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class RosterFile:
    """A file, and what messages call it."""

    path: Path
    name: str
    """The name its owner gave it, without a folder."""


_HEAD = 65536
_HISTORY = "history"
"""The name of the list of decorations in JSON."""


def open_file(file: Path | RosterFile, list_name: str, count_headings: Callable[[Sequence[str]], int]) -> list[Sheet]:
    """Return the sheets of a file. Raises RosterUnreadable, at once or while the rows are read.

    JSON may be a list of objects, one object with the list as `list_name`, or one object on each line.
    `count_headings` counts the known headings in a record.
    """
    path, name = (file.path, file.name) if isinstance(file, RosterFile) else (file, file.name)
    data = _read_bytes(path, name)
    kind = format_of(name, data[:_HEAD])
    if kind in ("zip", "ole"):
        return workbook_sheets(name, data)
    if kind == "markup":
        return markup_sheets(name, data)
    text = decode(name, data)
    if kind == "json":
        return _json_sheets(name, text, list_name, count_headings)
    return [csv_sheet(name, text, count_headings)]


def count_lines(source: object) -> int:
    """Return how many lines a file has; 0 for anything that is not one file, or that cannot be read."""
    if not isinstance(source, Path | str | RosterFile):
        return 0
    path = source.path if isinstance(source, RosterFile) else Path(source)
    try:
        return path.read_bytes().count(b"\n") if path.stat().st_size <= MAX_BYTES else 0
    except OSError:
        return 0


def _read_bytes(path: Path, name: str) -> bytes:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise RosterUnreadable(message("too_large", name=name, limit=MAX_BYTES >> 20))
        return path.read_bytes()
    except IsADirectoryError:
        raise RosterUnreadable(message("is_folder", name=name)) from None
    except FileNotFoundError:
        raise RosterUnreadable(message("no_file", name=name)) from None
    except OSError as exc:
        why = exc.strerror or type(exc).__name__
        raise RosterUnreadable(message("not_readable", name=name, why=why)) from exc


def _json_sheets(name: str, text: str, list_name: str, count_headings: Callable[[Sequence[str]], int]) -> list[Sheet]:
    """Return the list of objects, and the list of their decorations if the file has both."""
    loaded = _json(name, text)
    objects = loaded.get(list_name) if isinstance(loaded, dict) else loaded
    if objects is None and count_headings(list(loaded)) > 1:
        objects = [loaded]  # one object on one line
    if not isinstance(objects, list):
        raise RosterUnreadable(message("json_not_a_list", name=name, list=list_name))
    sheets = [objects_sheet(name, objects, file=name)]
    history = loaded.get(_HISTORY) if isinstance(loaded, dict) and objects != [loaded] else None
    if list_name != _HISTORY and isinstance(history, list) and history:
        sheets.append(replace(objects_sheet(name, history, file=name), name=_HISTORY))
    return sheets


def _json(name: str, text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as exc:
        lines = [line for line in text.split("\n") if line.strip()]
        if len(lines) < 2 or not lines[0].lstrip().startswith("{"):
            raise RosterUnreadable(message("bad_json", name=name, line=exc.lineno, column=exc.colno)) from None
    objects = []
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                objects.append(orjson.loads(line))
            except orjson.JSONDecodeError as exc:
                raise RosterUnreadable(message("bad_json", name=name, line=number, column=exc.colno)) from None
    return objects
