"""Normal forms and ids of decisions for whole rosters: rules/decision_id.py says the same of one officer."""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import orjson
import polars as pl

from worker.insignia.columnar.frame import HELD, PLAIN, AwardList
from worker.insignia.roster.officer import ABOUT
from worker.insignia.rules.decision_id import DIGITS, awards_form
from worker.insignia.rules.ruleset import Rules

_PERSON, _DECORATIONS = "person_id", "decorations"
_MOST = 1e15
"""From about ten times this amount on, JSON has exponents."""
_FIELDS = sorted({*PLAIN, "discipline", _DECORATIONS} - {*ABOUT})


def normal_forms(frame: pl.DataFrame, lists: pl.Series) -> pl.Series:
    """Return the normal form of each officer; `lists` is what `list_forms` returns."""
    decorations = pl.lit(lists.gather(frame[HELD]))
    pieces = [decorations if name == _DECORATIONS else _piece(name, frame) for name in _FIELDS]
    frame = frame.select(piece.alias(str(place)) for place, piece in enumerate(pieces))
    return frame.select(pl.concat_str(pl.lit("{"), *frame.columns, pl.lit("}"))).to_series()


def list_forms(lists: Sequence[AwardList]) -> pl.Series:
    """Return each list of decorations as the normal form has it, with the comma that separates it from the id."""
    known: dict[int, tuple[str, str, str]] = {}
    texts = []
    for held in lists:
        if held is None:
            texts.append("")
            continue
        for award in held:
            if id(award) not in known:  # by identity: the lists keep each of them alive
                [form] = awards_form((award,))
                known[id(award)] = *form, _dumped(form)
        forms = sorted([known[id(award)] for award in held])
        texts.append(f'"{_DECORATIONS}":[{",".join([text for *_, text in forms])}],')
    return pl.Series(texts, dtype=pl.String)


def decision_ids(forms: Sequence[bytes], rules: Rules) -> list[str]:
    """Return the id of the decisions about each normal form."""
    start, ids = hashlib.sha256(rules.basis.encode()), []
    for form in forms:
        digest = start.copy()
        digest.update(form)
        ids.append(digest.hexdigest()[:DIGITS])
    return ids


def _piece(name: str, frame: pl.DataFrame) -> pl.Expr:
    """Return a field with the comma that separates it from the id, or nothing if it is at its default."""
    if name == _PERSON:
        return pl.concat_str(pl.lit(f'"{_PERSON}":'), quoted_json(frame, _PERSON))
    before, after = ("", ",") if name < _PERSON else (",", "")
    key = f'{before}"{name}":'
    column = pl.col(name)
    if name == "nationality":  # it is TH unless something else is stated
        texts = pl.when(column.is_null()).then(pl.lit("null")).otherwise(by_value(frame[name], _dumped))
        return pl.when(column == "TH").then(pl.lit("")).otherwise(pl.concat_str(pl.lit(key), texts, pl.lit(after)))
    match frame.schema[name]:
        case pl.Boolean:
            return pl.when(column).then(pl.lit(f"{key}true{after}")).otherwise(pl.lit(""))
        case pl.Date:
            value = pl.concat_str(pl.lit('"'), column.dt.to_string("%Y-%m-%d"), pl.lit('"'))
        case pl.Float64:
            value = _amounts(frame[name])
        case _:
            value = column if name == "discipline" else pl.lit(by_value(frame[name], _dumped))
    return pl.concat_str(pl.lit(key), value, pl.lit(after)).fill_null("")


def _amounts(column: pl.Series) -> pl.Expr:
    """Return amounts of money as JSON; whole ones, which most are, need no look at each different one."""
    if ((column.round() == column) & (column > 0) & (column < _MOST)).fill_null(True).all():
        return pl.concat_str(pl.col(column.name).cast(pl.Int64), pl.lit(".0"))
    return pl.lit(by_value(column, _dumped))


def _dumped(value: Any) -> str:
    return orjson.dumps(value).decode()


def by_value(column: pl.Series, text_of: Callable[[Any], str]) -> pl.Series:
    """Return a text for each cell, made once for each different value; null for null."""
    values = column.unique().drop_nulls()
    texts = pl.Series([text_of(value) for value in values.to_list()], dtype=pl.String)
    return column.replace_strict(values, texts, default=None, return_dtype=pl.String)


def quoted_json(frame: pl.DataFrame, name: str) -> pl.Expr:
    """Return the texts of a column as JSON."""
    column = frame[name]
    if column.str.contains(r'["\\\x00-\x1f]').any():
        return pl.lit(by_value(column, _dumped))
    return pl.concat_str(pl.lit('"'), pl.col(name), pl.lit('"'))
