"""The SQL function for producers accepts and rejects what the other ways of submitting a job do."""

import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import asyncpg
import pytest

from config.user_id import is_user_id
from tests.support.postgres import PostgresPlace, connected
from worker.core.clock import Clock
from worker.stores.postgres.enqueue_function import INVISIBLE
from worker.stores.postgres.opening import migrate_target

_VALID: Final[Mapping[str, Any]] = {"task_type": "noop", "user_id": "สมชาย"}
_NOW = datetime.now(UTC)


async def _prepared(place: PostgresPlace) -> None:
    await (await place.open("one", 1 << 30, Clock())).close()


async def _submit(place: PostgresPlace, arguments: Mapping[str, Any]) -> str:
    named = ", ".join(f"{name} => ${number}" for number, name in enumerate(arguments, start=1))
    async with connected(place.target.dsn) as connection:
        statement = f"SELECT {place.target.schema}.insignia_enqueue({named})"
        job_id: str = await connection.fetchval(statement, *arguments.values())
        return job_id


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"task_type": ""}, "task_type must be 1 to 200 characters"),
        ({"task_type": None}, "task_type must be 1 to 200 characters"),
        ({"task_type": "k" * 201}, "task_type must be 1 to 200 characters"),
        ({"task_type": "noop\n"}, "without white space at its ends"),
        ({"user_id": ""}, "user_id must be 1 to 256 printable characters"),
        ({"user_id": None}, "user_id must be 1 to 256 printable characters"),
        ({"user_id": "ก" * 257}, "user_id must be 1 to 256 printable characters"),
        ({"user_id": " ann"}, "user_id must be 1 to 256 printable characters"),
        ({"user_id": "ann\N{ZERO WIDTH SPACE}"}, "user_id must be 1 to 256 printable characters"),
        ({"user_id": "a\N{RIGHT-TO-LEFT OVERRIDE}n"}, "user_id must be 1 to 256 printable characters"),
        ({"user_id": "a\tn"}, "user_id must be 1 to 256 printable characters"),
        ({"key": ""}, "key must be 1 to 200 characters"),
        ({"key": "k" * 201}, "key must be 1 to 200 characters"),
        ({"key": "k "}, "key must be 1 to 200 characters"),
        ({"payload": "[1]"}, "payload must be a JSON object"),
        ({"payload": None}, "payload must be a JSON object"),
        ({"run_at": datetime(2569, 11, 20, tzinfo=UTC)}, "2569 looks like a Buddhist year: .* 2026"),
        ({"run_at": _NOW + timedelta(days=3660)}, "run_at must be within ten years"),
        ({"run_at": _NOW - timedelta(days=3660)}, "run_at must be within ten years"),
        ({"run_at": datetime(1, 1, 1, tzinfo=UTC)}, "run_at must be within ten years"),
        ({"priority": 101}, "priority must be between -100 and 100"),
        ({"priority": None}, "priority must be between -100 and 100"),
        ({"max_attempts": 0}, "max_attempts between 1 and 1000"),
        ({"max_attempts": None}, "max_attempts between 1 and 1000"),
    ],
)
async def test_wrong_value_is_rejected_with_the_reason(
    place: PostgresPlace, changed: Mapping[str, Any], reason: str
) -> None:
    await _prepared(place)
    with pytest.raises(asyncpg.InvalidParameterValueError, match=reason):
        await _submit(place, {**_VALID, **changed})


async def test_time_without_end_is_rejected(place: PostgresPlace) -> None:
    await _prepared(place)
    async with connected(place.target.dsn) as connection:
        call = f"SELECT {place.target.schema}.insignia_enqueue('noop', 'ann', run_at => $1::text::timestamptz)"
        for moment in ("infinity", "-infinity"):
            with pytest.raises(asyncpg.InvalidParameterValueError, match="within ten years"):
                await connection.fetchval(call, moment)


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"task_type": "k" * 200, "user_id": "ก" * 256, "key": "ค" * 200},
        {"user_id": "คุณ สมชาย 👩"},
        {"run_at": _NOW + timedelta(days=3600), "priority": -100, "max_attempts": 1000},
        {"run_at": _NOW - timedelta(days=3600)},
    ],
)
async def test_job_at_the_limits_is_accepted(place: PostgresPlace, changed: Mapping[str, Any]) -> None:
    await _prepared(place)
    job_id = await _submit(place, {**_VALID, **changed})
    store = await place.open("two", 1 << 30, Clock())
    try:
        assert (record := await store.get(job_id)) is not None
        assert record.user_id == {**_VALID, **changed}["user_id"]
        assert await store.examine() == []
    finally:
        await store.close()


async def test_invisible_characters_are_those_that_the_hub_rejects(place: PostgresPlace) -> None:
    """Every assigned character; which are assigned depends on the version of Unicode."""
    assigned = [chr(code) for code in range(1, 0x110000) if unicodedata.category(chr(code)) not in ("Cn", "Cs")]
    async with connected(place.target.dsn) as connection:
        found = await connection.fetch(
            "SELECT character FROM unnest($1::text[]) AS character WHERE character ~ $2", assigned, INVISIBLE
        )
    assert {character for (character,) in found} == {character for character in assigned if not is_user_id(character)}


async def test_schema_that_goes_back_checks_as_it_did_before(place: PostgresPlace) -> None:
    await _prepared(place)
    while (await migrate_target(place.target, back=True))[1] > 5:
        pass
    assert await _submit(place, {**_VALID, "key": "k" * 300})
    await migrate_target(place.target)
    with pytest.raises(asyncpg.InvalidParameterValueError, match="key must be"):
        await _submit(place, {**_VALID, "key": "k" * 300})
