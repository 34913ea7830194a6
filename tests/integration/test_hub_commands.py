"""Commands of Socket.IO clients: the same as those of native clients, answered by acknowledgements."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from config.hub_settings import HubSettings
from tests.support.hub import EVENT, Raw, RunningHub, event_of, message, progress, running_hub
from worker.errors import NotFound, NotPossible
from worker.hub.tokens import Identity


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[RunningHub]:
    async with running_hub(tmp_path) as hub:
        yield hub


@pytest.mark.parametrize(("command", "answer"), [("ping", "pong"), ("heartbeat", "pong"), ("echo", "echo")])
@pytest.mark.parametrize("data", ["hello", {"a": [1]}, None, 7])
async def test_ping_and_echo_are_answered_with_the_same_data(
    running: RunningHub, command: str, answer: str, data: Any
) -> None:
    ann = await running.browser("ann")
    assert await ann.call(command, data) == {"ok": True, "type": answer, "data": data}


async def test_client_in_a_job_room_receives_progress_and_notification_of_its_job(running: RunningHub) -> None:
    ann, publisher = await running.browser("ann", lastSeq=None), await running.publisher()
    await ann.next()  # its welcome
    admin = await running.browser(token=running.token("root", admin=True))
    assert (await admin.call("join-room", {"room": "task:job-1"}))["type"] == "room-joined"
    await publisher.publish(progress("job-1", 30))
    await publisher.publish(message(1))
    assert [(await admin.next())[1]["message"] for _ in range(2)] == ["Task Progress", "Task Finish"]
    assert (await admin.call("leave-room", "task:job-1"))["type"] == "room-left"
    await publisher.publish(message(1, status="again", notificationId="news-2"))
    assert await admin.received_so_far() == []
    assert len(await ann.received_so_far()) == 3


async def test_client_that_joins_late_gets_the_latest_message_of_the_job(running: RunningHub) -> None:
    publisher = await running.publisher()
    await publisher.publish(progress("job-1", 60), "ann")
    ann = await running.browser("ann")
    assert await ann.call("subscribe", {"jobId": "job-1"}) == {
        "ok": True,
        "type": "subscribed",
        "data": {"jobId": "job-1"},
    }
    assert (await ann.next())[1] == progress("job-1", 60)


@pytest.mark.parametrize(
    ("enter", "leave", "entered", "left"),
    [
        ("join-room", "leave-room", ("room-joined", {"room": "user:ann"}), ("room-left", {"room": "user:ann"})),
        ("subscribe", "unsubscribe", ("subscribed", {"userId": "ann"}), ("unsubscribed", {"userId": "ann"})),
    ],
)
async def test_own_users_room_can_be_left_without_effect(
    running: RunningHub, enter: str, leave: str, entered: tuple[str, Any], left: tuple[str, Any]
) -> None:
    ann, publisher = await running.browser("ann"), await running.publisher()
    for command, (kind, data) in ((enter, entered), (leave, left), (leave, left)):
        assert await ann.call(command, data) == {"ok": True, "type": kind, "data": data}
    await publisher.publish(message(1))
    assert (await ann.next())[1] == message(1)


@pytest.mark.parametrize("command", ["publish", "broadcast"])
async def test_publishers_message_to_a_job_room_reaches_only_who_may_see_the_job(
    running: RunningHub, command: str
) -> None:
    """Eve entered the room before the hub knew whose the job is."""
    publisher = await running.browser(token=running.token("app", publish=True))
    root = await running.browser(token=running.token("root", admin=True))
    ann, eve = await running.browser("ann"), await running.browser("eve")
    for client in (ann, eve, root):
        assert (await client.call("subscribe", {"jobId": "job-1"}))["ok"]
    event = {"type": "remark", "room": "task:job-1", "data": {"text": "private"}}
    assert (await publisher.call(command, event))["data"]["receivers"] == 1
    await publisher.publish(progress("job-1", 10))
    assert (await publisher.call(command, event))["data"]["receivers"] == 2
    name = "remark" if command == "publish" else "broadcast"
    assert [said[0] for said in await ann.received_so_far()] == [EVENT, name]
    assert [said[0] for said in await root.received_so_far()] == [name, EVENT, name]
    assert await eve.received_so_far() == []


@pytest.mark.parametrize(
    ("command", "data", "error"),
    [
        ("join-room", {"room": "user:bob"}, "forbidden: another user's room"),
        ("subscribe", {"userId": "bob"}, "forbidden: another user's room"),
        ("join-room", {"room": "task:job-9"}, "forbidden: another user's job"),
        ("subscribe", {"jobId": "job-9"}, "forbidden: another user's job"),
        ("join-room", {"room": ""}, "malformed: not a name"),
        ("leave-room", {"room": "lobby"}, "not in this room"),
        ("subscribe", {}, "malformed: not a name"),
        ("broadcast", {"a": 1}, "forbidden: the token lacks the scope publish"),
        ("publish", {"type": "alarm"}, "forbidden: the token lacks the scope publish"),
        ("cancel", {"jobId": "x"}, "unsupported: this hub has no queue"),
    ],
)
async def test_command_without_the_right_is_rejected(running: RunningHub, command: str, data: Any, error: str) -> None:
    publisher = await running.publisher()
    await publisher.publish(message(9), "bob")
    ann = await running.browser("ann")
    assert await ann.call(command, data) == {"ok": False, "error": error}


async def test_own_user_may_be_subscribed_to(running: RunningHub) -> None:
    ann = await running.browser("ann")
    assert (await ann.call("subscribe", {"userId": "ann"}))["ok"] is True


async def test_types_decide_what_a_client_receives(running: RunningHub) -> None:
    ann, publisher = await running.browser("ann"), await running.publisher()
    assert await ann.call("unsubscribe", {"type": "progress"}) == {
        "ok": True,
        "type": "unsubscribed",
        "data": {"type": "progress"},
    }
    await publisher.publish(progress("job-1", 10))
    await publisher.publish(message(1))
    assert [event[1]["message"] for event in await ann.received_so_far()] == ["Task Finish"]
    await ann.call("unsubscribe", "*")
    await publisher.publish(message(2))
    assert await ann.received_so_far() == []
    await ann.call("subscribe", "*")
    await publisher.publish(message(3))
    assert (await ann.next())[1] == message(3)


async def test_broadcast_reaches_the_clients_of_both_endpoints_in_the_room(running: RunningHub) -> None:
    token = running.token("boss", publish=True)
    boss, ann, native = await running.browser(token=token), await running.browser("ann"), await running.native("bob")
    outside = await running.browser("eve")
    await ann.call("join-room", {"room": "lobby"})
    await native.send_native("join-room", {"room": "lobby"})
    await native.next_native("room-joined")
    answer = await boss.call("broadcast", {"room": "lobby", "text": "ชื่อ"})
    assert answer == {"ok": True, "type": "broadcast-sent", "data": {"receivers": 2}}
    sent = {"room": "lobby", "text": "ชื่อ", "from": boss.client.get_sid()}
    assert await ann.next() == ("broadcast", sent)
    assert (await native.next_native("broadcast"))["data"] == sent
    assert await outside.received_so_far() == []


async def test_publisher_sends_types_of_its_own_from_either_endpoint(running: RunningHub) -> None:
    token = running.token("boss", publish=True)
    boss, native_boss = await running.browser(token=token), await running.native(token=token)
    ann, native = await running.browser("ann"), await running.native("bob")
    await native.send_native("unsubscribe", "*")
    await native.send_native("subscribe", "alarm")
    assert (await boss.call("publish", {"type": "alarm", "data": {"level": 3}}))["ok"] is True
    assert await ann.next() == ("alarm", {"level": 3})
    assert (await native.next_native("alarm"))["data"] == {"level": 3}
    await native_boss.send_native("publish", {"type": "production_data", "data": [1, 2]})
    assert await ann.next() == ("production_data", [1, 2])
    assert await native.received_so_far() == []


@pytest.mark.parametrize("kind", [EVENT, "notification", "progress", "welcome", "connect_error", "org-socket:closing"])
async def test_publisher_cannot_imitate_the_types_of_the_hub(running: RunningHub, kind: str) -> None:
    boss = await running.browser(token=running.token("boss", publish=True))
    assert await boss.call("publish", {"type": kind}) == {"ok": False, "error": "forbidden: the type is the hub's own"}


async def test_user_cancels_a_job_and_learns_the_status(tmp_path: Path) -> None:
    asked: list[tuple[str, str | None]] = []
    refusals = {"broken": OSError(), "unknown": NotFound("the job is unknown"), "old": NotPossible("job old has ended")}

    async def cancel(job_id: str, identity: Identity) -> str:
        asked.append((job_id, identity.user))
        if job_id in refusals:
            raise refusals[job_id]
        return "requested"

    async with running_hub(tmp_path, cancel_job=cancel) as running:
        ann = await running.browser("ann")
        assert await ann.call("cancel", {"jobId": "job-1"}) == {
            "ok": True,
            "type": "cancel",
            "data": {"jobId": "job-1", "status": "requested"},
        }
        assert await ann.call("cancel", "broken") == {"ok": False, "error": "the job could not be cancelled"}
        assert await ann.call("cancel", "unknown") == {"ok": False, "error": "the job is unknown"}
        native = await running.native("ann")
        await native.send_native("cancel", {"jobId": "old"})
        data = (await native.next_native("error"))["data"]
        assert (data["code"], data["message"]) == ("not-possible", "job old has ended")
    assert asked == [(job_id, "ann") for job_id in ("job-1", "broken", "unknown", "old")]


async def test_client_joins_a_configured_namespace(tmp_path: Path) -> None:
    async with running_hub(tmp_path, settings=HubSettings(namespaces=["/", "/hr"])) as running:
        publisher = await running.publisher()
        raw: Raw = await running.raw()
        await raw.next()
        await raw.send(f'40/hr,{{"token":"{running.token("ann")}"}}')
        assert str(await raw.next()).startswith('40/hr,{"sid"')
        await publisher.publish(message(1))
        packet = str(await raw.next())
        assert packet.startswith("42/hr,")
        assert event_of(packet.replace("/hr,", "", 1)) == [EVENT, message(1), {"userId": "ann"}]


async def test_user_with_the_longest_id_may_name_its_own_room(running: RunningHub) -> None:
    longest = "ก" * 256
    ann = await running.browser(token=running.token(longest))
    assert await ann.call("join-room", {"room": f"user:{longest}"}) == {
        "ok": True,
        "type": "room-joined",
        "data": {"room": f"user:{longest}"},
    }
    assert (await ann.call("subscribe", {"userId": longest}))["ok"] is True
    assert await ann.call("join-room", {"room": "x" * 262}) == {"ok": False, "error": "malformed: not a name"}


async def test_longest_job_id_of_a_publisher_may_be_followed(running: RunningHub) -> None:
    job_id = "j" * 200
    publisher, ann = await running.publisher(), await running.browser("ann")
    await publisher.publish(progress(job_id, 60), "ann")
    assert (await ann.call("subscribe", {"jobId": job_id}))["ok"] is True
