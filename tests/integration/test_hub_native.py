"""The native endpoint: every message type, rooms, connections for one job, and what is rejected."""

import asyncio
from typing import Any

import orjson
import pytest
from aiohttp import ClientSession

from config.hub_settings import HubSettings
from tests.support.eventually import eventually
from tests.support.hub import EVENT, event_of, message, progress, running_hub
from worker.api.routes.hub import hub_figures
from worker.core.events import LoopFailed
from worker.hub.engineio.session import Timing
from worker.hub.events import ClientConnected, ClientDisconnected, ClientRejected, MessageRejected, NotificationShown


@pytest.fixture
async def running(tmp_path):
    async with running_hub(tmp_path) as hub:
        yield hub


async def test_auth_is_answered_by_a_welcome_with_id_and_position(running):
    ann = await running.native("ann")
    assert ann.welcome["type"] == "welcome"
    data = ann.welcome["data"]
    assert (data["userId"], data["seq"], data["recovered"]) == ("ann", 0, False)
    assert data["clientId"] in running.hub.hub.clients
    assert ann.welcome["timestamp"].endswith("Z")


async def test_both_endpoints_deliver_the_same_notification(running):
    ann, page = await running.native("ann"), await running.browser("ann")
    publisher = await running.publisher()
    await publisher.publish(message(1))
    assert await page.next() == (EVENT, message(1), {"userId": "ann"})
    said = await ann.next_native()
    assert said["type"] == "notification"
    assert said["data"] == message(1) | {"userId": "ann", "epoch": ann.welcome["data"]["epoch"], "seq": 1}


async def test_missed_notifications_are_replayed_after_the_welcome(running):
    ann, publisher = await running.native("ann"), await running.publisher()
    for number in (1, 2, 3):
        await publisher.publish(message(number))
    received = [await ann.next_native() for _ in range(3)]
    back = await running.native("ann", epoch=ann.welcome["data"]["epoch"], lastSeq=received[0]["data"]["seq"])
    assert back.welcome["data"]["recovered"] is True
    assert [said["data"]["seq"] for said in await back.received_so_far()] == [2, 3]


async def test_token_in_a_header_authenticates(running):
    publisher = await running.publisher()
    await publisher.publish(message(1))
    raw = await running.raw("/ws?epoch=x&lastSeq=7", headers={"Authorization": f"Bearer {running.token('ann')}"})
    assert (await raw.next_native())["type"] == "welcome"
    assert (await raw.next_native())["type"] == "notification"


@pytest.mark.parametrize("auth", [None, {}, {"token": "x"}, {"token": 3}, "text", ["x"]])
async def test_wrong_token_closes_the_connection(running, auth):
    raw = await running.raw("/ws")
    await raw.send_native("auth", auth)
    said = await raw.next_native()
    assert said["data"] == {"code": "unauthorized", "message": "unauthorized"}
    assert await raw.wait_for_close_code() == 4401
    await running.wait_for_event(ClientRejected)


async def test_wrong_token_in_a_header_closes_the_connection(running):
    raw = await running.raw("/ws", headers={"Authorization": "Bearer x"})
    assert await raw.wait_for_close_code() == 4401


async def test_message_before_auth_is_rejected(running):
    raw = await running.raw("/ws")
    await raw.send_native("echo", 1)
    assert (await raw.next_native())["data"]["code"] == "unauthorized"
    await raw.send_native("auth", {"token": running.token()})
    assert (await raw.next_native())["type"] == "welcome"


async def test_connection_without_auth_is_closed_in_time(tmp_path):
    async with running_hub(tmp_path, timing=Timing(authentication=0.2)) as running:
        raw = await running.raw("/ws")
        assert await raw.wait_for_close_code() == 4401


async def test_ping_and_echo_are_answered_with_their_data(running):
    ann = await running.native("ann")
    await ann.send_native("ping", {"n": 1})
    await ann.send_native("echo", [1, "สวัสดี"])
    assert [((said := await ann.next_native())["type"], said["data"]) for _ in range(2)] == [
        ("pong", {"n": 1}),
        ("echo", [1, "สวัสดี"]),
    ]
    assert running.hub.stats().clients[0].last_pong is not None


@pytest.mark.parametrize(
    "frame",
    [
        "x",
        "",
        "[]",
        "null",
        "7",
        "{}",
        '{"type":7}',
        '{"type":"nothing"}',
        '{"type":"join-room"}',
        '{"type":"join-room","data":{"room":""}}',
        '{"type":"leave-room","data":"nowhere"}',
        '{"type":"subscribe","data":{}}',
        '{"type":"broadcast","data":{}}',
        '{"type":"auth","data":{"token":"x"}}',
        '{"type":"cancel","data":{"jobId":"j"}}',
        "[" * 5000,
        '{"type":"echo","data":' + "[" * 60 + "]" * 60 + "}",
    ],
)
async def test_rejected_message_is_answered_by_an_error_with_the_original(running, frame):
    ann = await running.native("ann")
    await ann.send(frame)
    said = await ann.next_native()
    assert said["type"] == "error"
    assert said["data"]["original"] == frame[:2048]
    await running.wait_for_event(MessageRejected)
    assert await ann.received_so_far() == []


async def test_binary_message_is_answered_by_an_error(running):
    ann = await running.native("ann")
    await ann.socket.send_bytes(b"\xff\x00")
    assert (await ann.next_native())["data"]["code"] == "malformed"


async def test_shown_of_a_sent_notification_is_reported(running):
    publisher = await running.publisher()
    await publisher.publish(message(1))
    ann, page = await running.native("ann"), await running.browser("ann")
    await publisher.publish(message(2))
    first, second = [(await ann.next_native("notification"))["data"]["payload"]["notificationId"] for _ in range(2)]
    await page.next()
    await ann.send_native("shown", {"notificationId": first})
    assert await page.call("org-socket:shown", {"notificationId": second}) == {"ok": True}
    assert (await page.call("org-socket:shown", {}))["ok"] is False
    assert await ann.received_so_far() == []
    assert (await running.wait_for_event(NotificationShown)).notification_id == first
    assert running.hub.stats().shown == 2


async def test_shown_of_a_notification_that_was_not_sent_is_ignored(running):
    publisher, ann, bob = await running.publisher(), await running.native("ann"), await running.native("bob")
    await publisher.publish(message(1))
    given = (await ann.next_native("notification"))["data"]["payload"]["notificationId"]
    await bob.send_native("shown", {"notificationId": given})
    await ann.send_native("shown", {"notificationId": "made-up"})
    assert await bob.received_so_far() == await ann.received_so_far() == []
    assert running.hub.stats().shown == 0


async def test_internal_error_closes_the_connection_with_1011(running, monkeypatch):
    ann = await running.native("ann")

    def broken(*_):
        raise ZeroDivisionError

    monkeypatch.setitem(running.hub._native._commands._by_type, "ping", broken)
    await ann.send_native("ping")
    assert await ann.wait_for_close_code() == 1011
    assert isinstance((await running.wait_for_event(LoopFailed)).error, ZeroDivisionError)


async def test_cancel_is_unsupported_without_a_queue(running):
    ann = await running.native("ann")
    await ann.send_native("cancel", {"jobId": "j"})
    assert (await ann.next_native())["data"]["code"] == "unsupported"


async def test_cancel_is_passed_to_the_queue_with_the_user(tmp_path):
    asked = []

    async def cancel(job_id, identity):
        asked.append((job_id, identity.user, identity.is_admin))
        if job_id == "broken":
            raise OSError("store away")
        return "requested"

    async with running_hub(tmp_path, cancel_job=cancel) as running:
        ann = await running.native("ann")
        await ann.send_native("cancel", {"jobId": "job-1"})
        assert (await ann.next_native("cancel"))["data"] == {"jobId": "job-1", "status": "requested"}
        await ann.send_native("cancel", "broken")
        assert (await ann.next_native("error"))["data"]["code"] == "failed"
        assert asked == [("job-1", "ann", False), ("broken", "ann", False)]


async def test_broadcast_to_an_open_room_reaches_its_members(running):
    ann, bob, eve = [await running.native(user) for user in ("ann", "bob", "eve")]
    speaker = await running.native(token=running.token("speaker", publish=True))
    for client in (ann, bob):
        await client.send_native("join-room", {"room": "lobby"})
        assert (await client.next_native())["type"] == "room-joined"
    await bob.send_native("leave-room", {"room": "lobby"})
    assert (await bob.next_native())["type"] == "room-left"
    await speaker.send_native("broadcast", {"room": "lobby", "text": "hello"})
    said = await ann.next_native("broadcast")
    assert said["data"] == {"room": "lobby", "text": "hello", "from": speaker.welcome["data"]["clientId"]}
    assert await bob.received_so_far() == []
    assert await eve.received_so_far() == []


async def test_broadcast_without_a_room_reaches_all_native_clients(running):
    ann = await running.native("ann")
    speaker = await running.native(token=running.hub.worker_token())
    await speaker.send_native("broadcast", {"text": "hello"})
    assert (await ann.next_native("broadcast"))["data"]["text"] == "hello"
    assert (await speaker.next_native("broadcast"))["data"]["text"] == "hello"


async def test_open_rooms_can_be_switched_off(tmp_path):
    async with running_hub(tmp_path, settings=HubSettings(open_rooms=False)) as running:
        ann = await running.native("ann")
        await ann.send_native("join-room", {"room": "lobby"})
        assert (await ann.next_native())["data"]["code"] == "forbidden"


async def test_rooms_per_client_are_limited(running):
    ann = await running.native("ann")
    for number in range(51):
        await ann.send_native("join-room", f"room-{number}")
    received = await ann.received_so_far()
    assert [said["type"] for said in received] == ["room-joined"] * 50 + ["error"]


async def test_subscribe_and_unsubscribe_select_message_types(running):
    ann, publisher = await running.native("ann"), await running.publisher()
    await ann.send_native("unsubscribe", "*")
    await ann.send_native("subscribe", {"type": "notification"})
    await ann.received_so_far()
    await publisher.publish(progress("job-1", 5.0))
    await publisher.publish(message(1))
    assert [said["type"] for said in await _after_a_batch(ann)] == ["notification"]
    await ann.send_native("read", {"seq": 1})
    await ann.send_native("subscribe", "*")
    await ann.send_native("unsubscribe", "notification")
    await ann.received_so_far()
    await publisher.publish(message(2))
    assert await ann.received_so_far() == []
    # No client took it, so the next one gets it.
    page = await running.browser("ann")
    assert (await page.next())[1] == message(2)


async def _after_a_batch(client):
    received = [await client.next_native("notification")]
    await asyncio.sleep(0.15)
    return received + await client.received_so_far()


async def test_progress_is_merged_to_the_newest_of_each_job(running):
    ann, publisher = await running.native("ann"), await running.publisher()
    for percent in range(1, 101):
        for job in ("job-1", "job-2"):
            await publisher.client.emit(EVENT, (progress(job, float(percent)), {"userId": "ann"}))
    received: dict[str, list[float]] = {"job-1": [], "job-2": []}
    while not all(percents[-1:] == [100.0] for percents in received.values()):
        said = (await ann.next_native("progress"))["data"]
        received[said["jobId"]].append(said["percent"])
    for percents in received.values():
        assert percents == sorted(percents)
        assert len(percents) < 100


async def test_job_connection_starts_with_the_jobs_latest_message(running):
    publisher = await running.publisher()
    await publisher.publish(progress("job-1", 40.0))
    ann = await running.native("ann", "/ws/tasks/job-1")
    assert ann.welcome["data"]["userId"] == "ann"
    assert (await ann.next_native())["data"]["percent"] == 40.0
    await publisher.publish(message(1))
    await publisher.publish(message(2))
    assert (await ann.next_native())["data"]["payload"]["jobId"] == "job-1"
    assert await ann.received_so_far() == []


async def test_latest_messages_of_the_most_recent_jobs_are_kept(running):
    publisher = await running.publisher()
    await publisher.publish(progress("job-0", 1.0))
    for number in range(1, 1025):
        await publisher.client.emit(EVENT, (progress(f"job-{number}", 1.0), {"userId": "ann"}))
        if number == 500:
            await publisher.publish(progress("job-0", 2.0))
    await publisher.publish(progress("job-1024", 3.0))
    kept = await running.native("ann", "/ws/tasks/job-0")
    assert [said["data"]["percent"] for said in await kept.received_so_far()] == [2.0]
    forgotten = await running.native("ann", "/ws/tasks/job-1")
    assert await forgotten.received_so_far() == []


async def test_join_of_a_job_room_returns_the_latest_message(running):
    publisher = await running.publisher()
    ann = await running.native("ann", "/ws/tasks/job-7")
    await ann.send_native("join-room", {"room": "task:job-1"})
    assert (await ann.next_native())["type"] == "room-joined"
    await publisher.publish(message(1))
    assert (await ann.next_native())["data"]["payload"]["jobId"] == "job-1"


async def test_watched_job_does_not_overtake_the_replay(running):
    """A page that took the live message's number as its position would drop the rest of its replay as old."""
    publisher = await running.publisher()
    for number in range(400):
        await publisher.client.emit(EVENT, (message(number, note="x" * 40_000), {"userId": "ann"}))
    await publisher.publish(message(400))
    ann = await running.native("ann")
    # It does not read, so its replay stops while it joins and the job ends.
    await ann.send_native("join-room", {"room": "task:job-401"})
    await eventually(lambda: running.hub.hub.rooms.members("task:job-401"))
    await publisher.publish(message(401))
    numbers: list[int] = []
    while len(numbers) < 402:
        frame = await ann.next_native("notification")
        numbers.append(frame["data"]["seq"])
    assert numbers == list(range(1, 403))
    assert [said["type"] for said in await ann.received_so_far() if said["type"] != "room-joined"] == []


async def test_watcher_of_another_users_job_gets_no_numbers_of_that_inbox(running):
    root = await running.native(token=running.token("root", admin=True))
    channel = await running.native("ann", "/ws/tasks/job-1")
    await root.send_native("join-room", {"room": "task:job-1"})
    await root.next_native("room-joined")
    await (await running.publisher()).publish(message(1))
    for client in (root, channel):
        said = await client.next_native("notification")
        assert said["data"] == message(1) | {"userId": "ann"}


async def test_message_above_the_limit_closes_the_connection_with_1009(running):
    ann = await running.native("ann")
    await ann.send('{"type":"echo","data":"' + "x" * 65536 + '"}')
    assert await ann.wait_for_close_code() == 1009


async def test_newer_token_keeps_the_connection_open(running):
    ann = await running.native("ann")
    await ann.send_native("auth", {"token": running.token("ann", days=90)})
    assert (await ann.next_native())["data"] == {"ok": True}
    await ann.send_native("auth", {"token": running.token("bob")})
    assert (await ann.next_native())["data"]["code"] == "unauthorized"


async def test_expired_token_closes_the_connection(running):
    ann = await running.native(token=running.token("ann", days=1))
    running.let_tokens_expire()
    assert (await ann.next_native("error"))["data"] == {"code": 4401, "message": "the token has expired"}
    assert await ann.wait_for_close_code() == 4401


async def test_revoked_token_closes_its_connections_on_both_endpoints(running):
    token = running.token("ann", token_id="lost")
    native, page = await running.native(token=token), await running.raw()
    await page.connect_with({"token": token})
    other = await running.native("ann")
    assert len(running.hub.hub.clients_of("ann")) == 3
    assert await running.hub.revoke("lost") == 2
    assert await native.wait_for_close_code() == 4401
    assert event_of(await page.next()) == ["org-socket:closing", {"code": 4401, "reason": "the token is revoked"}]
    assert await page.wait_for_close_code() == 4401
    assert await other.received_so_far() == []
    again = await running.raw("/ws")
    await again.send_native("auth", {"token": token})
    assert await again.wait_for_close_code() == 4401


async def test_revoked_token_after_a_restart_is_rejected(tmp_path):
    async with running_hub(tmp_path) as first:
        token = first.token("ann", token_id="lost")
        await first.hub.revoke("lost")
    async with running_hub(tmp_path) as second:
        raw = await second.raw()
        assert (await raw.connect_with({"token": token})).startswith("44")
        assert (await (await second.raw()).connect_with({"token": second.token("ann")})).startswith("40")


async def test_shutdown_sends_an_error_and_closes_with_1001(running):
    ann = await running.native("ann")
    closing = asyncio.create_task(running.hub.close())
    assert (await ann.next_native("error"))["data"] == {"code": 1001, "message": "the hub is stopping"}
    assert await ann.wait_for_close_code() == 1001
    await closing


async def test_request_without_upgrade_is_answered_by_426(running):
    async with ClientSession() as session, session.get(f"{running.url}/ws") as answer:
        assert answer.status == 426


@pytest.mark.parametrize("path", ["/ws", "/api/v1/org-socket/?EIO=4&transport=websocket"])
@pytest.mark.parametrize("version", ["8", "14", "", None])
async def test_another_version_of_websocket_is_answered_by_426_with_the_right_one(running, path, version):
    headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="}
    if version is not None:
        headers["Sec-WebSocket-Version"] = version
    async with ClientSession() as session, session.get(running.url + path, headers=headers) as answer:
        assert (answer.status, answer.headers["Sec-WebSocket-Version"]) == (426, "13")


async def test_page_of_an_allowed_origin_may_read_why_it_is_rejected(tmp_path):
    settings = HubSettings(allowed_origins=["https://portal.example"])
    async with running_hub(tmp_path, settings=settings) as running, ClientSession() as session:
        for path in ("/ws", "/ws/tasks/j", "/api/v1/org-socket/?EIO=9&transport=polling"):
            async with session.get(running.url + path, headers={"Origin": "https://portal.example"}) as answer:
                assert answer.status in (400, 426)
                assert answer.headers["Access-Control-Allow-Origin"] == "https://portal.example"
            async with session.get(running.url + path, headers={"Origin": "https://other.example"}) as answer:
                assert answer.status == 403
                assert "Access-Control-Allow-Origin" not in answer.headers
        reasons = {event.reason for event in running.events if isinstance(event, ClientRejected)}
        refused = "a page of the origin 'https://other.example', which Hub:AllowedOrigins does not name"
        assert refused in reasons


async def test_stack_trace_is_hidden_from_users(running):
    ann, publisher = await running.native("ann"), await running.publisher()
    await publisher.publish(message(1, stackTrace="Traceback"))
    assert "stackTrace" not in (await ann.next_native())["data"]["payload"]


async def test_close_codes_are_counted_and_logged(running):
    ann = await running.native("ann")
    await running.wait_for_event(ClientConnected)
    await ann.socket.close(code=4001)
    gone = await running.wait_for_event(ClientDisconnected)
    assert (gone.code, gone.reason, gone.endpoint) == (4001, "closed by the client", "websocket")
    assert running.hub.stats().close_codes == {4001: 1}


async def test_native_client_of_a_hub_in_memory_gets_notifications(tmp_path):
    async with running_hub(tmp_path, settings=HubSettings(inbox_path=":memory:")) as running:
        ann, publisher = await running.native("ann"), await running.publisher()
        await publisher.publish(message(1))
        assert orjson.dumps((await ann.next_native())["data"]["payload"]) == orjson.dumps(message(1)["payload"])


async def test_flat_messages_are_answered_flat(running):
    ann = await running.native("ann")
    cases: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"type": "join-room", "room": "line-1"}, {"type": "room-joined", "room": "line-1"}),
        (
            {"type": "echo", "message": "สวัสดี", "n": 1},
            {"type": "echo", "message": "สวัสดี", "original": {"type": "echo", "message": "สวัสดี", "n": 1}},
        ),
        ({"type": "heartbeat", "client_id": "c1", "timestamp": "now"}, {"type": "pong", "client_id": "c1"}),
        ({"type": "leave-room", "room": "line-1"}, {"type": "room-left", "room": "line-1"}),
        ({"type": "nothing", "x": 1}, {"type": "error", "code": "unknown-type", "message": "unknown type"}),
    ]
    for sent, expected in cases:
        await ann.socket.send_json(sent)
        answer = await ann.next_native()
        assert expected.items() <= answer.items()
        assert answer["timestamp"].endswith("Z")
    assert orjson.loads(answer["original_message"]) == sent
    assert running.hub.stats().errors == 1


async def test_messages_without_fields_are_not_flat(running):
    ann = await running.native("ann")
    await ann.socket.send_json({"type": "ping", "timestamp": "now"})
    assert (await ann.next_native()).keys() == {"type", "timestamp", "data"}
    await ann.send_native("echo", {"x": 1})
    answer = await ann.next_native()
    assert answer.keys() == {"type", "timestamp", "data"}
    assert answer["data"] == {"x": 1}


async def test_anonymous_client_is_welcomed_at_once_and_may_broadcast(tmp_path):
    async with running_hub(tmp_path, settings=HubSettings(anonymous=True)) as running:
        one, two = await running.raw("/ws"), await running.raw("/ws")
        ids = [(welcome := await raw.next_native())["clientId"] for raw in (one, two)]
        assert (welcome["type"], welcome["userId"], welcome["message"]) == ("welcome", None, "connected")
        await two.socket.send_json({"type": "join-room", "room": "demo"})
        assert (await two.next_native("room-joined"))["room"] == "demo"
        await one.socket.send_json({"type": "broadcast", "message": "hello"})
        assert {"message": "hello", "from": ids[0]}.items() <= (await two.next_native("broadcast")).items()
        for kind, data in [
            ("publish", {"type": "alarm"}),
            ("cancel", {"jobId": "j"}),
            ("join-room", {"room": "user:ann"}),
        ]:
            await two.send_native(kind, data)
            assert (await two.next_native("error"))["code"] in ("forbidden", "unsupported")


async def test_anonymous_client_that_sends_a_token_gets_its_own_inbox(tmp_path):
    async with running_hub(tmp_path, settings=HubSettings(anonymous=True)) as running:
        publisher = await running.publisher()
        await publisher.publish(message(1))
        raw = await running.raw("/ws")
        assert (await raw.next_native())["data"]["anonymous"] is True
        await raw.send_native("auth", {"token": None})
        assert (await raw.next_native())["data"] == {"ok": True}
        await raw.send_native("auth", {"token": running.token()})
        welcome = await raw.next_native("welcome")
        assert (welcome["data"]["userId"], "anonymous" in welcome["data"]) == ("ann", False)
        assert (await raw.next_native())["data"]["seq"] == 1
        assert len(running.hub.hub.clients) == 2


async def test_anonymous_socket_io_client_is_admitted_and_a_wrong_token_is_not(tmp_path):
    async with running_hub(tmp_path, settings=HubSettings(anonymous=True)) as running:
        one, two = await running.raw(), await running.raw()
        assert (await one.connect_with()).startswith("40{")
        await one.send('421["broadcast",{"message":"hello"}]')
        assert event_of(await one.next())[0] == "broadcast"
        assert (await two.connect_with({"token": "x"})).startswith("44")


async def test_figures_for_everyone_show_each_client_without_its_user(running):
    ann = await running.native("ann-who-is-secret")
    await ann.send_native("ping")
    await ann.next_native("pong")
    figures = hub_figures(running.hub)
    (client,) = figures["clients"]
    assert (client["protocol"], client["messagesIn"], client["dropped"]) == ("websocket", 1, 0)
    assert client["since"].endswith("Z")
    assert client["lastPong"].endswith("Z")
    assert figures["connectionsActive"] == figures["connections_active"] == 1
    assert "secret" not in str(figures)
