"""What of an officer's record counts in a round, as columns: rules/eligibility.py says the same of one officer."""

from collections.abc import Iterable
from datetime import date, timedelta

import polars as pl

from worker.insignia.columnar.frame import HELD
from worker.insignia.retirement import RETIRES_AT, YOUNGEST
from worker.insignia.rules.ruleset import Rules

Frame = pl.LazyFrame
_ENDS = ("left_service", "resigned")
_LEFT, _RETURNED = pl.max_horizontal(_ENDS), pl.col("returned_to_service")


def add_record(frame: Frame, lists: Frame, codes: Iterable[str], rules: Rules) -> Frame:
    """Return the officers with the columns of their service record.

    `lists` is what `held_record` returns; `codes` are the classes that conditions name.
    """
    return (
        frame.join(lists, on=HELD, how="left", maintain_order="left")
        .with_columns(_history_gap().alias("history_gap"))
        .with_columns(**_service(rules), **_level())
        .with_columns(**_last(rules))
        .with_columns(rank=pl.when(pl.col("history_gap").is_null()).then("top").otherwise(0).fill_null(0))
        .with_columns(**_classes(codes, rules), has_medal=pl.col("has_medal").fill_null(False))
    )


def held(code: str) -> tuple[pl.Expr, pl.Expr, pl.Expr]:
    """Return whether a class is held, and the earliest and the latest day on which it was first received."""
    return pl.col(f"held.{code}"), pl.col(f"earliest.{code}"), pl.col(f"latest.{code}")


def held_record(lists: Frame, awards: Frame, codes: tuple[str, ...], rules: Rules) -> Frame:
    """Return for each list of decorations when the classes were received."""
    is_class, is_dated = pl.col("rank").is_not_null(), pl.col("received").is_not_null()
    by_code = [
        expression
        for code in codes
        for expression in (
            pl.when(pl.col("code") == code).then("earliest").min().alias(f"earliest.{code}"),
            pl.when(pl.col("code") == code).then("latest").min().alias(f"latest.{code}"),
            (pl.col("code") == code).any().alias(f"held.{code}"),
        )
    ]
    received = awards.group_by(HELD).agg(
        pl.col("rank").max().alias("top"),
        pl.when(is_dated).then("rank").max().alias("top_dated"),
        pl.when(is_class).then("earliest").max().alias("last_earliest"),
        pl.when(is_class).then("latest").max().alias("last_latest"),
        (is_class & (pl.col("received") > rules.ceremony)).any().alias("is_newer"),
        (pl.col("code") == rules.medal.code).any().alias("has_medal"),
        *by_code,
    )
    return lists.join(received, on=HELD, how="left")


def _history_gap() -> pl.Expr:
    return (
        pl.when(~pl.col("has_list") | (pl.col("last_only") & pl.col("has_entries") & pl.col("top").is_null()))
        .then(pl.lit("decorations"))
        .when(pl.col("is_newer"))
        .then(pl.lit("decorations at the ceremony"))
    )


def _service(rules: Rules) -> dict[str, pl.Expr]:
    start = pl.col("service_start")
    later = pl.max_horizontal(start, _RETURNED)
    is_late = (later.dt.year() > rules.ceremony.year).fill_null(False)
    return {
        "serving_earliest": pl.when(is_late).then(date.min).otherwise(later.fill_null(date.min)),
        "serving_latest": pl.when(start.is_null() | is_late).then(date.max).otherwise(later),
    }


def _level() -> dict[str, pl.Expr]:
    start = pl.col("level_start")
    ends = map(pl.col, _ENDS)
    left = pl.max_horizontal(pl.when(end <= _RETURNED).then(end) for end in ends)
    begun = pl.when(start >= left).then(_RETURNED).otherwise(start + (_RETURNED - left))
    is_whole = _RETURNED.is_null() | (start >= _RETURNED)
    return {
        "level_earliest": pl.when(start.is_null())
        .then(date.min)
        .when(is_whole | left.is_null())
        .then(start)
        .otherwise(begun),
        "level_latest": pl.when(start.is_null())
        .then(date.max)
        .when(is_whole)
        .then(start)
        .when(left.is_null())
        .then(_RETURNED)
        .otherwise(begun),
    }


def _last(rules: Rules) -> dict[str, pl.Expr]:
    """Return when the latest class was received; without a date of the highest, at any time up to the ceremony."""
    is_undated = pl.col("top_dated").fill_null(0) < pl.col("top")
    is_known = pl.col("history_gap").is_null()
    earliest = pl.when(is_undated).then(pl.col("last_earliest").fill_null(date.min)).otherwise("last_earliest")
    latest = pl.when(is_undated).then(rules.ceremony).otherwise("last_latest")
    return {
        "last_earliest": pl.when(is_known).then(earliest),
        "last_latest": pl.when(is_known).then(latest),
    }


def _classes(codes: Iterable[str], rules: Rules) -> dict[str, pl.Expr]:
    columns: dict[str, pl.Expr] = {}
    for code in codes:
        is_held, earliest, latest = held(code)
        columns[f"held.{code}"] = is_held.fill_null(False) & pl.col("history_gap").is_null()
        columns[f"earliest.{code}"] = earliest.fill_null(date.min)
        columns[f"latest.{code}"] = latest.fill_null(pl.col("last_latest")).fill_null(rules.ceremony)
    return columns


def in_service(day: date) -> pl.Expr:
    """Return whether the officer is in service on that day; the day of leaving is the first day out of service."""
    left = _left_by(day)
    is_late = left.is_null() & (_LEFT.is_not_null() | (_RETURNED.dt.year() > day.year))
    is_back = (left <= _RETURNED).fill_null(False)
    return pl.when(day < _RETURNED).then(is_late).otherwise(left.is_null() | is_back)


def _left_by(day: date) -> pl.Expr:
    """Return the last day of leaving up to that day, or null."""
    return pl.max_horizontal(pl.when(pl.col(name) <= day).then(pl.col(name)) for name in _ENDS)


def retires(last_day: date) -> pl.Expr:
    """Return whether the officer retires on that day and has not left before; null if the birth date decides."""
    left = _left_by(last_day - timedelta(days=1))
    is_back = (left <= _RETURNED).fill_null(False)
    retires_then = pl.when(_is_born(last_day.year)).then(retirement_year() == last_day.year)
    return pl.when(left.is_not_null() & ~is_back).then(False).otherwise(retires_then)


def is_past_retirement(year: int) -> pl.Expr:
    """Return whether the officer should have retired before that year, and no day of leaving is known."""
    is_there = _LEFT.is_null() | (_RETURNED >= _LEFT).fill_null(False)
    began = pl.col("service_start").fill_null(pl.col("level_start")).dt.year()
    ends = pl.when(_is_born(year)).then(retirement_year()).otherwise(began - YOUNGEST + RETIRES_AT)
    return is_there & (ends < year).fill_null(False)


def _is_born(year: int) -> pl.Expr:
    """Return whether an officer born then can be in service in that year."""
    return (pl.col("birth_date").dt.year() <= year - YOUNGEST).fill_null(False)


def retirement_year() -> pl.Expr:
    """Return the year in which the officer retires on 30 September; null if the birth date is unknown."""
    birth = pl.col("birth_date").dt
    return birth.year() + RETIRES_AT + (birth.month() >= 10).cast(pl.Int32)


def received_last_round(rules: Rules) -> pl.Expr:
    """Return whether the latest class was received in this round's year or the year before; null if unknown."""
    before = rules.ceremony.year - 1
    earliest, latest = pl.col("last_earliest"), pl.col("last_latest")
    return (
        pl.when(latest.is_null())
        .then(pl.when(pl.col("history_gap").is_null()).then(False))
        .when(earliest.dt.year() >= before)
        .then(True)
        .when(latest.dt.year() < before)
        .then(False)
    )
