"""Read the values of a request: its query as a model, and its idempotency key, by the same rules in every route."""

import types
import typing
from typing import Annotated, Any, TypeVar

from aiohttp import web
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from worker.core.plain_numbers import LARGEST_INTEGER, plain_integer, plain_number
from worker.errors import WorkerError
from worker.handler import fault_text
from worker.runtime.job_request import Name

QUERY = web.RequestKey("query", BaseModel)
"""Where a request keeps its query, as the route's model."""
LONGEST_PAGE = 500
_Model = TypeVar("_Model", bound=BaseModel)


class Query(BaseModel):
    """The parameters of a route: camelCase, no unknown names, each given once unless its type is a tuple."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True, hide_input_in_errors=True)


class NoQuery(Query):
    """A route without parameters."""


class InvalidQuery(WorkerError):
    """A query or a header that does not fit the route. `parameter` is the first that is wrong."""

    exit_code = 65

    def __init__(self, parameter: str, text: str) -> None:
        super().__init__(text)
        self.parameter = parameter


# -- queries ---------------------------------------------------------------------------------------------------------


def query_of(request: web.Request, model: type[_Model]) -> _Model:
    """Return the request's query as the route's model."""
    query = request[QUERY]
    assert isinstance(query, model), f"the route of {request.path} has another model for its query"
    return query


def checked_query(model: type[_Model], request: web.Request) -> _Model:
    """Return the query as this model. Raises InvalidQuery when a parameter is unknown, repeated or not valid."""
    repeatable = _repeatable(model)
    values: dict[str, Any] = {}
    for name in request.query:
        sent = request.query.getall(name)
        if len(sent) > 1 and name not in repeatable:
            raise InvalidQuery(_printable(name), f"{_printable(name)} is given {len(sent)} times; send it once")
        values[name] = sent if name in repeatable else sent[0]
    try:
        return model.model_validate(values)
    except ValidationError as exc:
        fault = exc.errors(include_url=False, include_input=False)[0]
        if not fault["loc"]:
            raise InvalidQuery(fault.get("ctx", {}).get("parameter", "query"), fault_text(fault["msg"])) from None
        name = _printable(str(fault["loc"][0]))
        raise InvalidQuery(name, f"{name}: {_message(fault['type'], fault['msg'], model)}") from None


def _message(kind: str, message: str, model: type[BaseModel]) -> str:
    if kind != "extra_forbidden":
        return fault_text(message)
    names = [info.alias or name for name, info in model.model_fields.items() if not _is_deprecated(info)]
    return f"unknown parameter; known are: {', '.join(names)}" if names else "this route takes no parameters"


def _printable(name: str) -> str:
    return name[:60].encode("utf-8", "backslashreplace").decode()


def _repeatable(model: type[BaseModel]) -> frozenset[str]:
    return frozenset(info.alias or name for name, info in model.model_fields.items() if _is_tuple(info.annotation))


def _is_tuple(annotation: Any) -> bool:
    origin = typing.get_origin(annotation)
    if origin in (types.UnionType, typing.Union):
        return any(_is_tuple(part) for part in typing.get_args(annotation))
    return origin is tuple


# -- headers ---------------------------------------------------------------------------------------------------------

IDEMPOTENCY_KEY = "Idempotency-Key"
_KEY: TypeAdapter[str] = TypeAdapter(Name)
KEY_SCHEMA = _KEY.json_schema()


def idempotency_key(request: web.Request) -> str | None:
    """Return the key in the header, None without one. Raises InvalidQuery for what the field `id` does not accept."""
    sent = request.headers.getall(IDEMPOTENCY_KEY, [])
    if len(sent) > 1:
        raise InvalidQuery(IDEMPOTENCY_KEY, f"{IDEMPOTENCY_KEY} is given {len(sent)} times; send it once")
    try:
        return _KEY.validate_python(sent[0]) if sent else None
    except ValidationError as exc:
        fault = exc.errors(include_url=False, include_context=False, include_input=False)[0]
        raise InvalidQuery(IDEMPOTENCY_KEY, f"{IDEMPOTENCY_KEY}: {fault_text(fault['msg'])}") from None


def only_key(header: str | None, field: str | None) -> str | None:
    """Return the key of a job, which the header or the field `id` names. Raises InvalidQuery for two different ones."""
    if header is not None and field is not None and header != field:
        raise InvalidQuery(IDEMPOTENCY_KEY, f"{IDEMPOTENCY_KEY} and the field id are different keys: give one of them")
    return field if header is None else header


def reject_key_of_batch(request: web.Request) -> None:
    """Raise InvalidQuery for a key in the header of a batch: its jobs would be stored again with the next request."""
    if IDEMPOTENCY_KEY in request.headers:
        raise InvalidQuery(
            IDEMPOTENCY_KEY, f"{IDEMPOTENCY_KEY} is for one job: in a batch, give each job its key in its field id"
        )


# -- deprecated names ------------------------------------------------------------------------------------------------


def old_name(replacement: str) -> Any:
    """Mark a field that is accepted until 1.0; `replacement` is the new name."""
    return Field(description=f"Deprecated until 1.0: use {replacement}.", json_schema_extra={"deprecated": True})


def reject_both(newer: object, older: object, name: str, old: str) -> None:
    """Raise an error that names the field when it is given by its new and by its deprecated name."""
    if newer is not None and older is not None:
        text = f"{name} and {old} mean the same: give one of them"
        raise PydanticCustomError("two_names", "{text}", {"text": text, "parameter": old})


def _is_deprecated(info: FieldInfo) -> bool:
    return isinstance(info.json_schema_extra, dict) and bool(info.json_schema_extra.get("deprecated"))


# -- rules of a body for its description ------------------------------------------------------------------------------


def given(name: str, **others: Any) -> dict[str, Any]:
    """Return the JSON schema of an object that has a value for `name`; `others` are the schemas of further fields."""
    return {"required": [name], "properties": {name: {"not": {"type": "null"}}, **others}}


# -- types of values -------------------------------------------------------------------------------------------------


def _storable(text: str) -> str:
    """Reject bytes that are not UTF-8: they arrive as surrogates, which no store can hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("is not UTF-8") from None
    if "\0" in text:
        raise ValueError("must not contain the character NUL")
    return text


Number = Annotated[int, Field(ge=0, le=LARGEST_INTEGER), BeforeValidator(plain_integer)]
"""A whole number, not negative, of 18 digits at most."""
Seconds = Annotated[float, Field(allow_inf_nan=False), BeforeValidator(plain_number)]
# The bounds come before the check of the text: what pydantic finds behind it, the JSON schema does not show.
Limit = Annotated[
    int,
    Field(ge=0, le=LARGEST_INTEGER),
    BeforeValidator(plain_integer),
    AfterValidator(lambda number: max(1, min(LONGEST_PAGE, number))),
]
"""The number of entries on a page; more than 500 means 500."""
Cursor = Annotated[str, Field(min_length=1, max_length=500)]
"""The cursor of a previous response."""
Text = Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(_storable)]
"""Any text that can be stored."""
