"""The rows of the results files for whole rosters, many at a time: results/ has the same for one row after another."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from io import BytesIO
from typing import Any

import orjson
import polars as pl

from worker.insignia.columnar.evaluator import PAIR, DecidedColumns
from worker.insignia.columnar.forms import by_value, decision_ids, list_forms, normal_forms, quoted_json
from worker.insignia.evaluation import is_uncertain
from worker.insignia.progress import CSV_FILE, IDS, INDEX_FILE, JSON_FILE, Phase, ProgressReporter
from worker.insignia.results.csv_cells import LINE_END, csv_cell
from worker.insignia.results.table import csv_ids, decision_row, missing_fields, shared_cells
from worker.insignia.roster.officer import ABOUT
from worker.insignia.roster.thai import search_form
from worker.insignia.rules.decision import Decision

_CHUNK = 10_000
"""Rows that are written together, which bounds the memory for their texts."""
_ID = "decision_id"
_SPECIAL = r'^[=+\-@\t\r\n＝＋－＠]|[",\r\n]'
"""What makes a text another text in a CSV file."""
_COMMA = pl.lit(",")


@dataclass
class ResultRows:
    """The rows of all results files, in roster order."""

    decided: DecidedColumns
    reporter: ProgressReporter = field(default_factory=ProgressReporter)
    keeps_forms: bool = False
    """Whether the normal forms of the officers are needed as well."""

    @property
    def ids(self) -> pl.Series:
        return self._identified[0]

    @cached_property
    def _identified(self) -> tuple[pl.Series, pl.Series]:
        ids, forms = [pl.Series(dtype=pl.String)], [pl.Series(dtype=pl.Binary)]
        officers = self.decided.officers
        lists = list_forms(officers.lists)
        for start in self._starts(IDS):
            form = normal_forms(officers.frame.slice(start, _CHUNK), lists).cast(pl.Binary)
            ids.append(pl.Series(decision_ids(form.to_list(), self.decided.rules), dtype=pl.String))
            forms += [form] if self.keeps_forms else []
        return pl.concat(ids), pl.concat(forms)

    @cached_property
    def _frame(self) -> pl.DataFrame:
        """Return what is written about each officer."""
        about = self.decided.officers.frame.select("person_id", *ABOUT)
        return about.hstack(self.decided.decided).hstack([self.ids.alias(_ID)])

    def _starts(self, phase: Phase) -> Iterator[int]:
        for start in range(0, len(self.decided), _CHUNK):
            phase.report(self.reporter, start, len(self.decided))
            yield start

    def _parts(self, phase: Phase) -> Iterator[tuple[int, pl.DataFrame]]:
        return ((start, self._frame.slice(start, _CHUNK)) for start in self._starts(phase))

    # -- results.json

    def json_parts(self) -> Iterator[bytes]:
        """Yield the rows of the JSON file, many at a time, with a comma and a line end between two rows."""
        before, after = zip(*(_json_of(*pair) for pair in self.decided.pairs), strict=True)
        criteria = orjson.dumps(self.decided.rules.criteria.short).decode()
        for _, part in self._parts(JSON_FILE):
            when = pl.concat_str(pl.lit('"next_round":'), "next_round", _COMMA).fill_null("")
            pieces = (
                pl.lit('{"person_id":'),
                quoted_json(part, "person_id"),
                _of_pair(part, before),
                *(_about_json(part, name, after=",") for name in ABOUT),
                _of_pair(part, after),
                when,
                pl.concat_str(pl.lit('"decision_id":"'), _ID, pl.lit(f'","criteria":{criteria}}}')),
            )
            yield _written(part.select(pl.concat_str(pieces)), ",\n").removesuffix(b",\n")

    # -- results.csv

    def csv_parts(self) -> Iterator[bytes]:
        """Yield the lines of the CSV file, many at a time."""
        rules = self.decided.rules
        cells = [shared_cells(*pair, rules) for pair in self.decided.pairs]
        criteria = csv_cell(rules.criteria.short)
        for start, part in self._parts(CSV_FILE):
            shown, person_id = _csv_ids(part)
            columns = (
                pl.int_range(start + 1, start + part.height + 1),
                shown,
                *(_csv_text(part, name) for name in ABOUT),
                _of_pair(part, [one.before_csv for one in cells]),
                pl.col("next_round"),
                _csv_text(part, "conditions"),
                _of_pair(part, [one.after_csv for one in cells]),
                pl.col(_ID),
                pl.lit(criteria),
                person_id,
                _of_pair(part, [one.codes_csv for one in cells]),
            )
            yield _written(part.select(column.alias(str(place)) for place, column in enumerate(columns)), LINE_END)

    # -- the index

    def decisions(self) -> tuple[list[Decision], list[tuple[int, int, bool]]]:
        """Return the different decisions, and for each pair the numbers of its decisions (from 1), and its doubt."""
        known: dict[int, int] = {}
        found: list[Decision] = []
        numbers = []
        for pair in self.decided.pairs:
            for decision in pair:
                if id(decision) not in known:  # by identity: the pairs keep each of them alive
                    found.append(decision)
                    known[id(decision)] = len(found)
            numbers.append((known[id(pair[0])], known[id(pair[1])], is_uncertain(*pair)))
        return found, numbers

    def index_rows(self) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of the index."""
        _, numbers = self.decisions()
        for start, part in self._parts(INDEX_FILE):
            inner = pl.concat_str(*(_about_json(part, name, after=",") for name in ABOUT))
            about = pl.concat_str(pl.lit("{"), inner.str.strip_suffix(","), pl.lit("}"))
            words = [_search_words(part, name) for name in ABOUT]
            columns = part.select(
                about=about, search=pl.concat_str(_lower(part, "person_id"), *words, pl.lit(" "), pl.col(_ID))
            )
            classes, medals, doubts = zip(*map(numbers.__getitem__, part[PAIR].to_list()), strict=True)
            listed = (
                range(start + 1, start + part.height + 1),
                part["person_id"].to_list(),
                classes,
                medals,
                doubts,
                part[_ID].to_list(),
                part["next_round"].to_list(),
                columns["about"].to_list(),
                self._identified[1].slice(start, _CHUNK).to_list(),
                columns["search"].to_list(),
            )
            yield from zip(*listed, strict=True)


def _json_of(class_: Decision, medal: Decision) -> tuple[str, str]:
    """Return what all officers with the same decisions share: the part before their names, and the one after."""
    decisions = (orjson.dumps(decision_row(one)).decode() for one in (class_, medal))
    missing = list(missing_fields(class_, medal))
    after = f'"missing":{orjson.dumps(missing).decode()},' if missing else ""
    return ',"class":{},"medal":{},'.format(*decisions), after


def _of_pair(part: pl.DataFrame, texts: Sequence[str]) -> pl.Expr:
    return pl.lit(pl.Series(texts, dtype=pl.String).gather(part[PAIR]))


def _about_json(part: pl.DataFrame, name: str, *, after: str) -> pl.Expr:
    text = pl.concat_str(pl.lit(f'"{name}":'), quoted_json(part, name), pl.lit(after))
    return pl.when(pl.col(name) == "").then(pl.lit("")).otherwise(text)


def _csv_ids(part: pl.DataFrame) -> tuple[pl.Expr, pl.Expr]:
    """Return the cells of the ids for people, and those for programs."""
    column, name = part["person_id"], pl.col("person_id")
    if column.str.contains(r"^[0-9]{13}$").all():
        pieces = (name.str.slice(first, count) for first, count in ((0, 1), (1, 4), (5, 5), (10, 2), (12, 1)))
        return pl.concat_str(*pieces, separator="-"), name
    return (
        pl.lit(by_value(column, lambda text: csv_ids(text)[0])),
        pl.lit(by_value(column, lambda text: csv_ids(text)[1])),
    )


def _csv_text(part: pl.DataFrame, name: str) -> pl.Expr:
    """Return the texts of a column as cells."""
    is_special = part[name].str.contains(_SPECIAL)
    if not is_special.any():
        return pl.col(name)
    special = by_value(pl.select(pl.when(is_special).then(part[name])).to_series(), csv_cell)
    return pl.lit(special.fill_null(part[name]))


def _search_words(part: pl.DataFrame, name: str) -> pl.Expr:
    texts = by_value(part[name], lambda text: f" {search_form(text)}" if text else "")
    return pl.lit(texts)


def _lower(part: pl.DataFrame, name: str) -> pl.Expr:
    if part[name].str.contains(r"^[0-9]*$").all():
        return pl.col(name)
    return pl.lit(by_value(part[name], str.lower))


def _written(lines: pl.DataFrame, line_end: str) -> bytes:
    """Return the columns as they are, with commas between them; null is empty."""
    file = BytesIO()
    lines.write_csv(file, include_header=False, quote_style="never", line_terminator=line_end)
    return file.getvalue()
