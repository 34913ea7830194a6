"""The description of the hub's two endpoints (AsyncAPI 3), generated from the types of their messages."""

from collections.abc import Iterable
from typing import Any, Final

from pydantic import TypeAdapter

from worker import __version__
from worker.hub.wire_types import NATIVE, Acknowledgement, SignedEnvelope, WireMessage, socket_io_messages

_SCHEMAS: Final = "#/components/schemas/"


def asyncapi(socket_io_path: str, event: str, path_base: str = "") -> dict[str, Any]:
    """Return the document; `event` is the event that carries notifications, `path_base` precedes all paths."""
    schemas, schema_of = _schemas([*NATIVE, *socket_io_messages(event)])
    native = {_key(one): _native_message(one, schema_of) for one in NATIVE}
    events = {_key(one): _event(one, schema_of) for one in socket_io_messages(event)}
    signed = {"signed": {"summary": "Signed on request", "payload": {"$ref": _SCHEMAS + "SignedEnvelope"}}}
    job = {"jobId": {"description": "The job's id"}}
    channels = {
        "native": _channel(path_base + "/ws", "All messages of a user", native | signed),
        "nativeJob": _channel(f"{path_base}/ws/tasks/{{jobId}}", "The messages of one job", native | signed)
        | {"parameters": job},
        "socketIo": _channel(
            path_base + socket_io_path, "Socket.IO 5 (Engine.IO 4), any namespace of Hub:Namespaces", events
        ),
    }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "insignia-worker hub",
            "version": __version__,
            "description": "Notifications to users. Names of actions are the hub's: `receive` comes from a client.",
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": {
            f"{channel}.{direction}": _operation(channel, direction, body["messages"])
            for channel, body in channels.items()
            for direction in ("receive", "send")
        },
        "components": {
            "schemas": schemas,
            "securitySchemes": {"hubToken": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


def _schemas(messages: Iterable[WireMessage]) -> tuple[dict[str, Any], dict[int, Any]]:
    """Return the schemas by name, and the schema of each type by the type's identity."""
    types = {id(kind): kind for one in messages for kind in (one.data, one.more) if kind is not None}
    types |= {id(kind): kind for kind in (Acknowledgement, SignedEnvelope)}
    adapters = [(key, "validation", TypeAdapter(kind)) for key, kind in types.items()]
    found, definitions = TypeAdapter.json_schemas(adapters, ref_template=_SCHEMAS + "{model}")  # type: ignore[arg-type]  # a list is invariant
    schemas: dict[str, Any] = definitions["$defs"]
    schema_of = {key: schema for (key, _), schema in found.items()}
    schemas["Acknowledgement"] = schema_of[id(Acknowledgement)]
    return schemas, schema_of


def _key(message: WireMessage) -> str:
    return f"{message.direction}.{message.name.replace(':', '.')}"


def _native_message(message: WireMessage, schema_of: dict[int, Any]) -> dict[str, Any]:
    required = ["type"] if message.direction == "receive" else ["type", "timestamp", "data"]
    properties = {
        "type": {"const": message.name},
        "timestamp": {"type": "string", "format": "date-time"},
        "data": schema_of[id(message.data)],
    }
    payload = {"type": "object", "properties": properties, "required": required}
    return {"name": message.name, "summary": message.summary, "payload": payload}


def _event(message: WireMessage, schema_of: dict[int, Any]) -> dict[str, Any]:
    """An event is the array of its name and its arguments."""
    kinds = [kind for kind in (message.data, message.more) if kind is not None]
    items = [{"const": message.name}, *(schema_of[id(kind)] for kind in kinds)]
    payload = {"type": "array", "items": items, "additionalItems": False}
    described = {"name": message.name, "summary": message.summary, "payload": payload}
    return described | ({"x-acknowledgement": {"$ref": _SCHEMAS + "Acknowledgement"}} if message.acknowledged else {})


def _channel(address: str, summary: str, messages: dict[str, Any]) -> dict[str, Any]:
    return {"address": address, "summary": summary, "messages": messages, "bindings": {"ws": {"method": "GET"}}}


def _operation(channel: str, direction: str, messages: Iterable[str]) -> dict[str, Any]:
    names = [
        name for name in messages if name.startswith(f"{direction}.") or (name == "signed" and direction == "send")
    ]
    path = f"#/channels/{channel}"
    return {
        "action": direction,
        "channel": {"$ref": path},
        "messages": [{"$ref": f"{path}/messages/{name}"} for name in names],
    }
