"""The description of the hub's endpoints: valid AsyncAPI 3, with the commands that exist, and true to the hub."""

import asyncio
import json
from pathlib import Path
from typing import Any

import jsonschema_rs  # comes with schemathesis
import orjson
import pytest
from aiohttp import ClientSession

from tests.support.hub import EVENT, PATH, RunningHub, message, progress, running_hub
from tests.support.js import INTEROP, node_or_skip
from worker.core.clock import Clock
from worker.hub.asyncapi import asyncapi
from worker.hub.commands import ClientCommands
from worker.hub.hub import Hub
from worker.hub.room_commands import RoomCommands
from worker.hub.tokens import Identity
from worker.hub.wire_types import COMMANDS

DOCUMENT = asyncapi(PATH + "/", EVENT)


def validator(channel: str, key: str) -> Any:
    """Checks one message of the document; further fields are allowed."""
    payload = DOCUMENT["channels"][channel]["messages"][key]["payload"]
    return jsonschema_rs.Draft7Validator({**payload, "components": DOCUMENT["components"]})


def check(channel: str, key: str, body: Any) -> None:
    validator(channel, key).validate(body)


async def test_document_is_valid_asyncapi_3() -> None:
    await asyncio.to_thread(node_or_skip)
    schema = json.loads((INTEROP / "node_modules/@asyncapi/specs/schemas/3.0.0.json").read_text(encoding="utf-8"))
    errors = [f"{list(error.instance_path)}: {error.message}" for error in jsonschema_rs.iter_errors(schema, DOCUMENT)]
    assert errors == []


def test_references_lead_somewhere() -> None:
    def references(value: Any) -> list[str]:
        if isinstance(value, dict):
            found = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
            return found + [one for item in value.values() for one in references(item)]
        return [one for item in value for one in references(item)] if isinstance(value, list) else []

    found = references(DOCUMENT)
    assert len(found) > 50
    for reference in found:
        place: Any = DOCUMENT
        for name in reference.removeprefix("#/").split("/"):
            place = place[name]


def test_described_commands_are_those_that_exist() -> None:
    hub = Hub(Clock(), lambda _event: None)
    commands = ClientCommands(hub, RoomCommands(hub, open_rooms=True, event=EVENT), None)
    assert {one.name for one in COMMANDS} == set(commands._by_name)


async def test_messages_of_the_native_endpoint_are_as_described(tmp_path: Path) -> None:
    async def cancel(_job_id: str, _identity: Identity) -> str:
        return "requested"

    orders: list[tuple[str, Any]] = [
        ("ping", {"n": 1}),
        ("heartbeat", None),
        ("echo", [1]),
        ("join-room", {"room": "r"}),
        ("subscribe", {"type": "alarm"}),
        ("subscribe", {"jobId": "job-7"}),
        ("unsubscribe", {"type": "alarm"}),
        ("cancel", {"jobId": "job-1"}),
        ("broadcast", {"room": "r", "text": "x"}),
        ("publish", {"type": "alarm", "data": 1, "room": "nowhere"}),
        ("leave-room", {"room": "r"}),
        ("nothing", 1),
    ]
    async with running_hub(tmp_path, cancel_job=cancel) as running:
        token = running.token(publish=True)
        ann = await running.native(token=token)
        check("native", "send.welcome", ann.welcome)
        for kind, data in [*orders, ("auth", {"token": token})]:
            if kind != "nothing":
                check("native", f"receive.{kind}", {"type": kind, "data": data})
            await ann.send_native(kind, data)
        publisher = await running.publisher()
        await publisher.publish(progress("job-7", 30.0))
        await publisher.publish(message(7))
        seen = await all_until(ann, {"cancel", "progress", "notification", "auth"})
        for kind, bodies in seen.items():
            for body in bodies:
                check("native", f"send.{kind}", body)
        expected = {"pong", "echo", "room-joined", "room-left", "subscribed", "unsubscribed", "cancel", "broadcast"}
        assert seen.keys() >= expected | {"notification", "progress", "auth", "error"}


async def all_until(client: Any, wanted: set[str]) -> dict[str, list[Any]]:
    """What the client receives until it has something of each of these types."""
    seen: dict[str, list[Any]] = {}
    while not seen.keys() >= wanted:
        body = await client.next_native()
        seen.setdefault(body["type"], []).append(body)
    return seen


@pytest.mark.parametrize("kind", ["send.welcome", "send.error", "send.notification", "receive.join-room"])
def test_message_of_another_shape_does_not_fit_the_description(kind: str) -> None:
    body = {"type": kind.partition(".")[2], "timestamp": "2026-01-01T00:00:00Z", "data": {"room": 7}}
    assert not validator("native", kind).is_valid(body)


async def test_events_of_socket_io_are_as_described(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as running:
        ann = await running.raw()
        await ann.connect_with({"token": running.token(), "lastSeq": None})
        publisher = await running.publisher()
        check("socketIo", "receive.socket-notification", [EVENT, message(1), {"userId": "ann"}])
        assert await acknowledged(publisher, EVENT, message(1), {"userId": "ann"})
        assert await acknowledged(publisher, "broadcast", {"text": "x"})
        assert await acknowledged(publisher, "join-room", {"room": "r"})
        assert not await acknowledged(publisher, "leave-room", {"room": "nowhere"})
        await close_all(running)
        names: list[str] = []
        while not names or names[-1] != "org-socket:closing":
            packet = await ann.next()
            assert isinstance(packet, str)
            body = orjson.loads(packet[2:])
            names.append(body[0])
            check("socketIo", f"send.{body[0].replace(':', '.')}", body)
        assert names == ["org-socket:welcome", EVENT, "broadcast", "org-socket:closing"]


async def acknowledged(publisher: Any, event: str, *arguments: Any) -> bool:
    """Send an event as described; return whether it was accepted, by an acknowledgement as described."""
    check("socketIo", f"receive.{event}", [event, *arguments])
    answer = await publisher.call(event, *arguments)
    schema = {"$ref": "#/components/schemas/Acknowledgement", "components": DOCUMENT["components"]}
    jsonschema_rs.Draft7Validator(schema).validate(answer)
    return bool(answer["ok"])


async def close_all(running: RunningHub) -> None:
    for client in tuple(running.hub.hub.clients.values()):
        client.close(1001, "closing")


async def test_hub_serves_its_description_with_its_own_path_and_builds_it_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[str] = []

    def build(path: str, event: str, path_base: str) -> dict[str, Any]:
        built.append(path)
        return asyncapi(path, event, path_base)

    monkeypatch.setattr("worker.hub.asyncapi.asyncapi", build)
    async with running_hub(tmp_path) as running, ClientSession() as session:
        for _ in range(3):
            async with session.get(f"{running.url}/asyncapi.json") as response:
                assert await response.json() == DOCUMENT
    assert built == [PATH + "/"]


@pytest.mark.parametrize(
    ("data", "named"),
    [
        ("alarm", {"type": "alarm"}),
        ("task:j", {"type": "task:j"}),
        ({"type": "user:ann", "more": 1}, {"type": "user:ann"}),
        ({"jobId": "j", "userId": "ann"}, {"jobId": "j"}),
        ({"userId": "ann", "type": None}, {"userId": "ann"}),
    ],
)
async def test_answer_names_what_was_subscribed_to_and_nothing_else(tmp_path: Path, data: Any, named: Any) -> None:
    async with running_hub(tmp_path) as running:
        client, native = await running.browser("ann"), await running.native("ann")
        for command, kind in (("subscribe", "subscribed"), ("unsubscribe", "unsubscribed")):
            assert await client.call(command, data) == {"ok": True, "type": kind, "data": named}
            await native.send_native(command, data)
            answer = await native.next_native(kind)
            assert answer["data"] == named
            check("native", f"send.{kind}", answer)


@pytest.mark.parametrize("data", ["r", {"room": "r"}, "", {"room": ""}, {"room": "r" * 262}, {}, 7, None])
async def test_room_is_named_as_described(tmp_path: Path, data: Any) -> None:
    async with running_hub(tmp_path) as running:
        ann = await running.browser("ann")
        answer = await ann.call("join-room", data)
    assert answer["ok"] is validator("socketIo", "receive.join-room").is_valid(["join-room", data])
    assert answer["ok"] is validator("native", "receive.join-room").is_valid({"type": "join-room", "data": data})


@pytest.mark.parametrize(
    ("payload", "user"),
    [
        ({}, "ann"),
        ({"notificationId": ""}, "ann"),
        ({"notificationId": "n" * 200}, "ann"),
        ({"notificationId": "n" * 201}, "ann"),
        ({"redelivery": -1}, "ann"),
        ({"redelivery": 1.0}, "ann"),
        ({"redelivery": 1.5}, "ann"),
        ({"redelivery": True}, "ann"),
        ({"redelivery": 2**31}, "ann"),
        ({}, ""),
        ({}, "u" * 256),
        ({}, "u" * 257),
    ],
)
async def test_notification_is_accepted_as_described(tmp_path: Path, payload: dict[str, Any], user: str) -> None:
    news = {"success": True, "message": "Task Finish", "payload": payload}
    async with running_hub(tmp_path) as running:
        publisher = await running.publisher()
        answer = await publisher.call(EVENT, news, {"userId": user})
    described = validator("socketIo", f"receive.{EVENT}").is_valid([EVENT, news, {"userId": user}])
    assert answer["ok"] is described
