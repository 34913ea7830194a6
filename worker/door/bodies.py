"""A request's JSON body as a model."""

from typing import TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError

from worker.errors import InvalidPayload
from worker.handler import explain

_Model = TypeVar("_Model", bound=BaseModel)


async def body_of(request: web.Request, model: type[_Model]) -> _Model:
    """InvalidPayload names every field that does not fit; JSON that is none is said to be none."""
    body = await request.read()
    try:
        return model.model_validate_json(body)
    except ValidationError as exc:
        # What is wrong with the whole has no field to be named by; `explain` calls that the payload.
        words = explain(exc).replace("payload: Value error, ", "")
        raise InvalidPayload(f"body: {words}") from None
