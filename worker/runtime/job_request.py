"""A job as callers send it: its fields, and what is wrong with a job that is invalid."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import orjson
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
)
from pydantic.alias_generators import to_camel

from config.json_text import json_text
from config.user_id import MAX_USER_ID, checked_user_id
from worker.core.plain_numbers import json_integer, plain_integer
from worker.errors import InvalidPayload
from worker.handler import explain

Name = Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)]


_BUDDHIST_YEARS = range(2400, 2701)
_BUDDHIST_OFFSET = 543
_LONGEST_WAIT = timedelta(days=3653)


def _in_utc(value: datetime) -> datetime:
    """Return the time in UTC. Raises ValueError for one outside the calendar, or in a year of the Buddhist era."""
    if value.year in _BUDDHIST_YEARS:
        raise ValueError(
            f"{value.year} looks like a Buddhist year: give the common-era year, {value.year - _BUDDHIST_OFFSET}"
        )
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("must lie between the years 1 and 9999, in UTC") from None


def _written_out(value: Any) -> Any:
    """Accept only texts: a number could be seconds or milliseconds since 1970."""
    if isinstance(value, str) and not re.match(r"\d{4}-\d\d-\d\d[Tt ]", value, re.ASCII):
        raise ValueError("must be a time such as 2026-11-20T08:15:30Z")
    if not isinstance(value, str | datetime | None):
        raise ValueError("must be a text such as 2026-11-20T08:15:30Z")  # noqa: TRY004 -- pydantic words a ValueError
    return value


Moment = Annotated[AwareDatetime, BeforeValidator(_written_out), AfterValidator(_in_utc)]
"""A time with its offset, within the calendar."""


def _near(value: datetime) -> datetime:
    """Raise ValueError for a time that no job can mean: it would wait indefinitely, or was due long ago."""
    if abs(value - datetime.now(UTC)) > _LONGEST_WAIT:
        raise ValueError("must be within ten years")
    return value


StartTime = Annotated[Moment, AfterValidator(_near)]
"""When a job is due."""
UserId = Annotated[
    str,
    StringConstraints(min_length=1, max_length=MAX_USER_ID, strip_whitespace=True),
    AfterValidator(checked_user_id),
]
"""A user that the hub accepts: otherwise the job's notification would be rejected for good."""


class JobRequest(BaseModel):
    """One job as a producer sends it."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True)

    task_type: Name
    user_id: UserId | None = None
    payload: dict[str, Any] = Field(default_factory=dict)
    run_at: StartTime | None = None
    max_attempts: Annotated[int, Field(ge=1, le=1000), BeforeValidator(plain_integer)] | None = None
    priority: Annotated[int, Field(strict=True, ge=-100, le=100), BeforeValidator(json_integer)] = 0
    """Of the jobs that are due, those with the highest priority run first."""
    id: Name | None = None
    """Idempotency key, where the transport has no header for it."""


def parse_request(data: Any) -> JobRequest:
    """Return the job: of bytes, or of a value that was read from JSON.

    Raises InvalidPayload, which names every fault in one line. A text is not read as JSON once more: what it holds was
    not counted when its bytes were.
    """
    try:
        value = orjson.loads(json_text(data)) if isinstance(data, bytes) else data
    except (orjson.JSONDecodeError, UnicodeDecodeError) as exc:
        raise InvalidPayload(f"not valid JSON: {exc}") from None
    if not isinstance(value, dict):
        hint = ", not as a text that holds one" if isinstance(value, str) else ""
        raise InvalidPayload(f"job: send it as a JSON object{hint}")
    try:
        return JobRequest.model_validate(value)
    except ValidationError as exc:
        raise InvalidPayload(f"job: {explain(exc)}") from None


_REQUESTS = TypeAdapter(list[JobRequest])


def parse_requests(entries: list[Any]) -> list[JobRequest]:
    """Return a batch of jobs. Raises InvalidPayload, which names the invalid entry and its faults."""
    try:
        return _REQUESTS.validate_python(entries)
    except ValidationError:
        return [_entry(number, entry) for number, entry in enumerate(entries)]


def _entry(number: int, entry: Any) -> JobRequest:
    try:
        return parse_request(entry)
    except InvalidPayload as exc:
        raise InvalidPayload(f"jobs[{number}]: {exc}") from None


def organization_of(payload: Mapping[str, Any]) -> str | None:
    """Return the organization that a job belongs to: its payload's `organization`, if that is a text."""
    organization = payload.get("organization")
    return organization if isinstance(organization, str) else None


def canonical_payload(request: JobRequest) -> bytes:
    """Return the payload as JSON with sorted keys: equal payloads are equal bytes. Raises InvalidPayload."""
    try:
        return orjson.dumps(request.payload, option=orjson.OPT_SORT_KEYS)
    except TypeError as exc:  # orjson reads 1,000 levels but writes only 254
        raise InvalidPayload(f"payload of {request.task_type}: {exc}") from None
