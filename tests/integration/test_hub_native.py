"""The native door: every message type, rooms, job channels, and what it refuses."""

import asyncio

import orjson
import pytest
from aiohttp import ClientSession

from config.settings import HubSettings
from tests.support.eventually import eventually
from tests.support.hub import EVENT, event_of, message, progress, running_hub
from worker.events import LoopFailed
from worker.hub.engine import Timing
from worker.hub.events import ClientConnected, ClientDisconnected, ClientRefused, MessageRefused, NewsShown


@pytest.fixture
async def running(tmp_path):
    async with running_hub(tmp_path) as hub:
        yield hub


async def test_a_client_is_welcomed_with_its_id_and_place(running):
    ann = await running.native("ann")
    assert ann.welcome["type"] == "welcome"
    data = ann.welcome["data"]
    assert (data["userId"], data["seq"], data["recovered"]) == ("ann", 0, False)
    assert data["clientId"] in running.hub._core.clients
    assert ann.welcome["timestamp"].endswith("Z")


async def test_both_doors_share_one_core(running):
    ann, page = await running.native("ann"), await running.browser("ann")
    publisher = await running.publisher()
    await publisher.publish(message(1))
    assert await page.next() == (EVENT, message(1), {"userId": "ann"})
    said = await ann.hear()
    assert said["type"] == "notification"
    assert said["data"] == message(1) | {"userId": "ann", "epoch": ann.welcome["data"]["epoch"], "seq": 1}


async def test_what_was_missed_is_replayed_after_the_welcome(running):
    ann, publisher = await running.native("ann"), await running.publisher()
    for number in (1, 2, 3):
        await publisher.publish(message(number))
    heard = [await ann.hear() for _ in range(3)]
    back = await running.native("ann", epoch=ann.welcome["data"]["epoch"], lastSeq=heard[0]["data"]["seq"])
    assert back.welcome["data"]["recovered"] is True
    assert [said["data"]["seq"] for said in await back.rest()] == [2, 3]


async def test_the_token_may_come_in_a_header(running):
    publisher = await running.publisher()
    await publisher.publish(message(1))
    raw = await running.raw("/ws?epoch=x&lastSeq=7", headers={"Authorization": f"Bearer {running.token('ann')}"})
    assert (await raw.hear())["type"] == "welcome"
    assert (await raw.hear())["type"] == "notification"


@pytest.mark.parametrize("auth", [None, {}, {"token": "x"}, {"token": 3}, "text", ["x"]])
async def test_a_bad_token_ends_the_connection(running, auth):
    raw = await running.raw("/ws")
    await raw.say("auth", auth)
    said = await raw.hear()
    assert said["data"] == {"code": "unauthorized", "message": "unauthorized"}
    assert await raw.ended() == 4401
    await running.happened(ClientRefused)


async def test_a_bad_header_ends_the_connection(running):
    raw = await running.raw("/ws", headers={"Authorization": "Bearer x"})
    assert await raw.ended() == 4401


async def test_nothing_is_heard_before_auth(running):
    raw = await running.raw("/ws")
    await raw.say("echo", 1)
    assert (await raw.hear())["data"]["code"] == "unauthorized"
    await raw.say("auth", {"token": running.token()})
    assert (await raw.hear())["type"] == "welcome"


async def test_one_who_never_says_who_he_is_is_closed(tmp_path):
    async with running_hub(tmp_path, timing=Timing(handshake=0.2)) as running:
        raw = await running.raw("/ws")
        assert await raw.ended() == 4401


async def test_ping_and_echo_are_answered_with_their_data(running):
    ann = await running.native("ann")
    await ann.say("ping", {"n": 1})
    await ann.say("echo", [1, "สวัสดี"])
    assert [((said := await ann.hear())["type"], said["data"]) for _ in range(2)] == [
        ("pong", {"n": 1}),
        ("echo", [1, "สวัสดี"]),
    ]
    assert running.hub.figures().clients[0].last_pong is not None


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
async def test_what_cannot_be_done_is_answered_by_an_error_with_the_original(running, frame):
    ann = await running.native("ann")
    await ann.send(frame)
    said = await ann.hear()
    assert said["type"] == "error"
    assert said["data"]["original"] == frame[:2048]
    await running.happened(MessageRefused)
    assert await ann.rest() == []


async def test_a_binary_message_is_answered_by_an_error(running):
    ann = await running.native("ann")
    await ann.socket.send_bytes(b"\xff\x00")
    assert (await ann.hear())["data"]["code"] == "malformed"


async def test_a_page_tells_what_it_has_shown(running):
    publisher = await running.publisher()
    await publisher.publish(message(1))
    ann, page = await running.native("ann"), await running.browser("ann")
    await publisher.publish(message(2))
    first, second = [(await ann.hear("notification"))["data"]["payload"]["notificationId"] for _ in range(2)]
    await page.next()
    await ann.say("shown", {"notificationId": first})
    assert await page.call("org-socket:shown", {"notificationId": second}) == {"ok": True}
    assert (await page.call("org-socket:shown", {}))["ok"] is False
    assert await ann.rest() == []
    assert (await running.happened(NewsShown)).notification_id == first
    assert running.hub.figures().shown == 2


async def test_what_a_page_was_never_given_it_cannot_have_shown(running):
    publisher, ann, bob = await running.publisher(), await running.native("ann"), await running.native("bob")
    await publisher.publish(message(1))
    given = (await ann.hear("notification"))["data"]["payload"]["notificationId"]
    await bob.say("shown", {"notificationId": given})
    await ann.say("shown", {"notificationId": "made-up"})
    assert await bob.rest() == await ann.rest() == []
    assert running.hub.figures().shown == 0


async def test_a_fault_of_ours_ends_the_connection_with_1011(running, monkeypatch):
    ann = await running.native("ann")

    def broken(*_):
        raise ZeroDivisionError

    monkeypatch.setitem(running.hub._native._orders, "ping", broken)
    await ann.say("ping")
    assert await ann.ended() == 1011
    assert isinstance((await running.happened(LoopFailed)).error, ZeroDivisionError)


async def test_cancel_is_unsupported_without_a_queue(running):
    ann = await running.native("ann")
    await ann.say("cancel", {"jobId": "j"})
    assert (await ann.hear())["data"]["code"] == "unsupported"


async def test_cancel_goes_to_the_queue_with_the_users_name(tmp_path):
    asked = []

    async def cancel(job_id, user, is_admin):
        asked.append((job_id, user, is_admin))
        if job_id == "broken":
            raise OSError("store away")
        return "requested"

    async with running_hub(tmp_path, cancel=cancel) as running:
        ann = await running.native("ann")
        await ann.say("cancel", {"jobId": "job-1"})
        assert (await ann.hear("cancel"))["data"] == {"jobId": "job-1", "status": "requested"}
        await ann.say("cancel", "broken")
        assert (await ann.hear("error"))["data"]["code"] == "failed"
        assert asked == [("job-1", "ann", False), ("broken", "ann", False)]


async def test_open_rooms_carry_broadcasts(running):
    ann, bob, eve = [await running.native(user) for user in ("ann", "bob", "eve")]
    speaker = await running.native(token=running.token("speaker", publish=True))
    for client in (ann, bob):
        await client.say("join-room", {"room": "lobby"})
        assert (await client.hear())["type"] == "room-joined"
    await bob.say("leave-room", {"room": "lobby"})
    assert (await bob.hear())["type"] == "room-left"
    await speaker.say("broadcast", {"room": "lobby", "text": "hello"})
    said = await ann.hear("broadcast")
    assert said["data"] == {"room": "lobby", "text": "hello", "from": speaker.welcome["data"]["clientId"]}
    assert await bob.rest() == []
    assert await eve.rest() == []


async def test_a_broadcast_without_a_room_reaches_all(running):
    ann = await running.native("ann")
    speaker = await running.native(token=running.hub.worker_token())
    await speaker.say("broadcast", {"text": "hello"})
    assert (await ann.hear("broadcast"))["data"]["text"] == "hello"
    assert (await speaker.hear("broadcast"))["data"]["text"] == "hello"


async def test_open_rooms_can_be_closed(tmp_path):
    async with running_hub(tmp_path, open_rooms=False) as running:
        ann = await running.native("ann")
        await ann.say("join-room", {"room": "lobby"})
        assert (await ann.hear())["data"]["code"] == "forbidden"


async def test_rooms_per_client_are_bounded(running):
    ann = await running.native("ann")
    for number in range(51):
        await ann.say("join-room", f"room-{number}")
    heard = await ann.rest()
    assert [said["type"] for said in heard] == ["room-joined"] * 50 + ["error"]


async def test_types_can_be_chosen(running):
    ann, publisher = await running.native("ann"), await running.publisher()
    await ann.say("unsubscribe", "*")
    await ann.say("subscribe", {"type": "notification"})
    await ann.rest()
    await publisher.publish(progress("job-1", 5.0))
    await publisher.publish(message(1))
    assert [said["type"] for said in await _after_a_batch(ann)] == ["notification"]
    await ann.say("read", {"seq": 1})
    await ann.say("subscribe", "*")
    await ann.say("unsubscribe", "notification")
    await ann.rest()
    await publisher.publish(message(2))
    assert await ann.rest() == []
    # Nobody took it, so the next socket is given it.
    page = await running.browser("ann")
    assert (await page.next())[1] == message(2)


async def _after_a_batch(client):
    heard = [await client.hear("notification")]
    await asyncio.sleep(0.15)
    return heard + await client.rest()


async def test_progress_is_sent_in_batches_with_the_newest_of_each_job(running):
    ann, publisher = await running.native("ann"), await running.publisher()
    for percent in (10.0, 20.0, 30.0):
        await publisher.publish(progress("job-1", percent))
        await publisher.publish(progress("job-2", percent + 1))
    first, second = await ann.hear(), await ann.hear()
    assert {(said["type"], said["data"]["percent"]) for said in (first, second)} == {
        ("progress", 30.0),
        ("progress", 31.0),
    }


async def test_a_job_channel_starts_with_the_last_that_was_heard(running):
    publisher = await running.publisher()
    await publisher.publish(progress("job-1", 40.0))
    ann = await running.native("ann", "/ws/tasks/job-1")
    assert ann.welcome["data"]["userId"] == "ann"
    assert (await ann.hear())["data"]["percent"] == 40.0
    await publisher.publish(message(1))
    await publisher.publish(message(2))
    assert (await ann.hear())["data"]["payload"]["jobId"] == "job-1"
    assert await ann.rest() == []


async def test_the_jobs_last_heard_of_are_remembered(running):
    publisher = await running.publisher()
    await publisher.publish(progress("job-0", 1.0))
    for number in range(1, 1025):
        await publisher.client.emit(EVENT, (progress(f"job-{number}", 1.0), {"userId": "ann"}))
        if number == 500:
            await publisher.publish(progress("job-0", 2.0))
    await publisher.publish(progress("job-1024", 3.0))
    kept = await running.native("ann", "/ws/tasks/job-0")
    assert [said["data"]["percent"] for said in await kept.rest()] == [2.0]
    forgotten = await running.native("ann", "/ws/tasks/job-1")
    assert await forgotten.rest() == []


async def test_a_job_room_can_be_joined_too(running):
    publisher = await running.publisher()
    ann = await running.native("ann", "/ws/tasks/job-7")
    await ann.say("join-room", {"room": "task:job-1"})
    assert (await ann.hear())["type"] == "room-joined"
    await publisher.publish(message(1))
    assert (await ann.hear())["data"]["payload"]["jobId"] == "job-1"


async def test_a_watched_job_does_not_overtake_the_backlog(running):
    """A page that took the number of the live one for its place would drop the rest of its backlog as old."""
    publisher = await running.publisher()
    for number in range(400):
        await publisher.client.emit(EVENT, (message(number, note="x" * 40_000), {"userId": "ann"}))
    await publisher.publish(message(400))
    ann = await running.native("ann")
    # It reads no further, so its backlog stands still while it joins and the job ends.
    await ann.say("join-room", {"room": "task:job-401"})
    await eventually(lambda: running.hub._core.rooms.members("task:job-401"))
    await publisher.publish(message(401))
    heard = []
    while len(heard) < 402:
        said = await ann.hear("notification")
        heard.append(said["data"]["seq"])
    assert heard == list(range(1, 403))
    assert [said["type"] for said in await ann.rest() if said["type"] != "room-joined"] == []


async def test_who_watches_anothers_job_hears_no_numbers_of_that_ones_inbox(running):
    root = await running.native(token=running.token("root", admin=True))
    channel = await running.native("ann", "/ws/tasks/job-1")
    await root.say("join-room", {"room": "task:job-1"})
    await root.hear("room-joined")
    await (await running.publisher()).publish(message(1))
    for client in (root, channel):
        said = await client.hear("notification")
        assert said["data"] == message(1) | {"userId": "ann"}


async def test_an_oversize_message_is_too_big(running):
    ann = await running.native("ann")
    await ann.send('{"type":"echo","data":"' + "x" * 65536 + '"}')
    assert await ann.ended() == 1009


async def test_a_newer_token_prolongs_the_connection(running):
    ann = await running.native("ann")
    await ann.say("auth", {"token": running.token("ann", days=90)})
    assert (await ann.hear())["data"] == {"ok": True}
    await ann.say("auth", {"token": running.token("bob")})
    assert (await ann.hear())["data"]["code"] == "unauthorized"


async def test_an_expired_token_ends_the_connection(running):
    ann = await running.native(token=running.token("ann", days=2 / 86400))
    assert (await ann.hear("error"))["data"] == {"code": 4401, "message": "the token has expired"}
    assert await ann.ended() == 4401


async def test_a_revoked_token_ends_its_sockets_on_both_doors(running):
    token = running.token("ann", token_id="lost")
    native, page = await running.native(token=token), await running.raw()
    await page.enter({"token": token})
    other = await running.native("ann")
    assert running.hub.sockets_of("ann") == 3
    assert await running.hub.revoke("lost") == 2
    assert await native.ended() == 4401
    assert event_of(await page.next()) == ["org-socket:closing", {"code": 4401, "reason": "the token is revoked"}]
    assert await page.ended() == 4401
    assert await other.rest() == []
    again = await running.raw("/ws")
    await again.say("auth", {"token": token})
    assert await again.ended() == 4401


async def test_a_revoked_token_stays_revoked_after_a_restart(tmp_path):
    async with running_hub(tmp_path) as first:
        token = first.token("ann", token_id="lost")
        await first.hub.revoke("lost")
    async with running_hub(tmp_path) as second:
        raw = await second.raw()
        assert (await raw.enter({"token": token})).startswith("44")
        assert (await (await second.raw()).enter({"token": second.token("ann")})).startswith("40")


async def test_the_farewell_is_an_error_and_1001(running):
    ann = await running.native("ann")
    closing = asyncio.create_task(running.hub.close())
    assert (await ann.hear("error"))["data"] == {"code": 1001, "message": "the hub is stopping"}
    assert await ann.ended() == 1001
    await closing


async def test_an_ordinary_request_is_told_that_this_is_a_websocket(running):
    async with ClientSession() as session, session.get(f"{running.url}/ws") as answer:
        assert answer.status == 426


async def test_stack_traces_are_hidden_here_too(running):
    ann, publisher = await running.native("ann"), await running.publisher()
    await publisher.publish(message(1, stackTrace="Traceback"))
    assert "stackTrace" not in (await ann.hear())["data"]["payload"]


async def test_close_codes_are_counted_and_logged(running):
    ann = await running.native("ann")
    await running.happened(ClientConnected)
    await ann.socket.close(code=4001)
    gone = await running.happened(ClientDisconnected)
    assert (gone.code, gone.reason, gone.door) == (4001, "closed by the client", "websocket")
    assert running.hub.figures().close_codes == {4001: 1}


async def test_settings_without_a_disk_work_here_too(tmp_path):
    async with running_hub(tmp_path, settings=HubSettings(inbox_path=":memory:")) as running:
        ann, publisher = await running.native("ann"), await running.publisher()
        await publisher.publish(message(1))
        assert orjson.dumps((await ann.hear())["data"]["payload"]) == orjson.dumps(message(1)["payload"])
