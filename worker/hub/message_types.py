"""Writes worker/api/static/hub-messages.d.ts: the messages of the hub as TypeScript types, from the AsyncAPI document.

`python -m worker.hub.message_types` rewrites the file in a checkout; a test fails when that was forgotten.
"""

import json
import sys
from pathlib import Path
from typing import Any, Final

from worker.hub.asyncapi import asyncapi

FILE: Final = Path(__file__).parents[1] / "api" / "static" / "hub-messages.d.ts"
_HEAD: Final = """/**
 * The messages of the hub, generated from its description (/asyncapi.json) by `make docs`.
 * `FromHub` and `ToHub` are those of /ws; `EventsFromHub` and `EventsToHub` the arguments of Socket.IO's events.
 * @module
 */
"""
_PLAIN: Final = {"string": "string", "integer": "number", "number": "number", "boolean": "boolean", "null": "null"}


def typescript() -> str:
    """Return the file."""
    document = asyncapi("/api/v1/org-socket", "socket-notification")
    native, events = (document["channels"][name]["messages"] for name in ("native", "socketIo"))
    parts = [_HEAD]
    parts += [_named(name, schema) for name, schema in sorted(document["components"]["schemas"].items())]
    parts += [_union(title, native, direction) for title, direction in (("FromHub", "send"), ("ToHub", "receive"))]
    pairs = (("EventsFromHub", "send"), ("EventsToHub", "receive"))
    parts += [_event_map(title, events, direction) for title, direction in pairs]
    return "\n".join(parts)


def _named(name: str, schema: dict[str, Any]) -> str:
    comment = f"/** {' '.join(schema['description'].split())} */\n" if "description" in schema else ""
    if schema.get("type") == "object" and schema.get("properties"):
        return f"{comment}export interface {name} {_fields(schema, '')}\n"
    return f"{comment}export type {name} = {_type(schema)};\n"


def _union(title: str, messages: dict[str, Any], direction: str) -> str:
    those = [body["payload"] for key, body in messages.items() if key.startswith(f"{direction}.")]
    return f"export type {title} =\n" + "\n".join(f"  | {_fields(one, '  ')}" for one in those) + ";\n"


def _event_map(title: str, messages: dict[str, Any], direction: str) -> str:
    """Socket.IO's own types take a map from an event's name to the type of its listener."""
    lines = []
    for key, body in messages.items():
        if key.startswith(f"{direction}."):
            names = ("data", "user")
            items = body["payload"]["items"][1:]
            arguments = [f"{name}: {_type(schema)}" for name, schema in zip(names, items, strict=False)]
            if "x-acknowledgement" in body:
                arguments.append("acknowledge?: (answer: Acknowledgement) => void")
            lines.append(f"  {json.dumps(body['name'])}: ({', '.join(arguments)}) => void;")
    return f"export interface {title} {{\n" + "\n".join(lines) + "\n}\n"


def _fields(schema: dict[str, Any], indent: str) -> str:
    required = schema.get("required", [])
    lines = ["{"]
    for name, field in schema["properties"].items():
        if "description" in field:
            lines.append(f"{indent}  /** {' '.join(field['description'].split())} */")
        lines.append(f"{indent}  {name}{'' if name in required else '?'}: {_type(field)};")
    return "\n".join([*lines, indent + "}"])


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "const" in schema:
        return json.dumps(schema["const"])
    if "anyOf" in schema:
        return " | ".join(_type(one) for one in schema["anyOf"])
    kind = schema.get("type")
    if kind == "array":
        return f"{_type(schema.get('items', {}))}[]"
    if kind == "object":
        return "Record<string, unknown>"
    return _PLAIN.get(str(kind), "unknown")


if __name__ == "__main__":
    FILE.write_text(typescript(), encoding="utf-8")
    sys.stdout.write("worker/api/static/hub-messages.d.ts is written\n")
