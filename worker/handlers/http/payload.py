"""The payload of the kind `http`: the request to send and the response to expect."""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CREDENTIALS = frozenset({"authorization", "cookie", "proxy-authorization", "x-api-key"})
_HOP = {"connection", "expect", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}
_SET_BY_WORKER = frozenset(_HOP | {"accept-encoding", "content-length", "host", "idempotency-key", "user-agent"})


def _header_name(name: str) -> str:
    if not _TOKEN.fullmatch(name):
        raise ValueError("is not a name of an HTTP header")
    if name.lower() in _CREDENTIALS:
        raise ValueError("credentials belong in Handlers:Http:Allow:N:Headers, not in a payload")
    if name.lower() in _SET_BY_WORKER:
        raise ValueError("is set by the worker")
    return name


def _header_value(value: str) -> str:
    if any(ord(char) < 32 or ord(char) == 127 for char in value):
        raise ValueError("must not contain line breaks or control characters")
    return value


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


class Expect(BaseModel):
    """What the response has to be, where a status of 2xx is not enough."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    status: list[Annotated[int, Field(ge=200, le=599)]] | None = Field(None, min_length=1, max_length=50)
    contains: str | None = Field(None, min_length=1, max_length=1000)
    """Text that the part of the body that is kept has to contain."""


class HttpPayload(BaseModel):
    """The payload: one request."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", hide_input_in_errors=True)

    url: str = Field(min_length=1, max_length=8000)
    method: Annotated[Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"], BeforeValidator(_upper)] | None = None
    """Default: POST with a body, GET without."""
    headers: dict[
        Annotated[str, AfterValidator(_header_name)],
        Annotated[str, Field(max_length=4000), AfterValidator(_header_value)],
    ] = Field(default_factory=dict, max_length=50)
    body: str | None = None
    json_: Any = Field(None, alias="json")
    timeout_ms: int | None = Field(None, ge=1, strict=True)
    """Milliseconds; at most Handlers:Http:Timeout counts."""
    expect: Expect = Expect()

    @model_validator(mode="after")
    def _has_one_body(self) -> Self:
        if self.body is not None and "json_" in self.model_fields_set:
            raise ValueError("give either body (text) or json, not both")
        return self
