"""Eve, with a valid token of her own, tries to receive Bob's notifications, or to forge some. Every attempt fails.

Each test ends with the same check: a notification for Bob is published, Bob gets it, Eve gets nothing.
"""

import time

import jwt
import orjson
import pytest

from tests.support.hub import EVENT, PATH, Browser, Closed, message, running_hub
from worker.hub.events import ClientDisconnected, ClientRejected, MessageRejected
from worker.hub.rooms import user_room

OPEN_PATH = f"{PATH}/?EIO=4&transport=websocket"


@pytest.fixture
async def running(tmp_path):
    async with running_hub(tmp_path) as hub:
        yield hub


async def only_bob_hears(running, *eves):
    """Bob gets a notification; none of Eve's clients does."""
    bob, publisher = await running.browser("bob"), await running.publisher()
    await publisher.publish(message(77), "bob")
    assert await bob.next() == (EVENT, message(77), {"userId": "bob"})
    for eve in eves:
        received = await eve.received_so_far()
        assert not [said for said in received if b"news-77" in orjson.dumps(said)], received


@pytest.mark.parametrize(
    ("event", "arguments"),
    [
        ("join", ["user:bob"]),
        ("join-room", [{"room": "user:bob"}]),
        ("joinRoom", ["bob"]),
        ("subscribe", ["user:bob"]),
        ("room", ["user:bob"]),
        ("enter_room", ["eve", "user:bob"]),
        ("org-socket:welcome", [{"epoch": "x", "seq": 0}]),
    ],
)
async def test_1_no_event_joins_another_users_room(running, event, arguments):
    eve = await running.browser("eve")
    assert (await eve.call(event, *arguments))["ok"] is False
    await running.wait_for_event(MessageRejected, lambda refused: refused.user_id == "eve")
    await only_bob_hears(running, eve)


async def test_2_forged_notification_is_rejected(running):
    eve, bob = await running.browser("eve"), await running.browser("bob")
    answer = await eve.publish(message(1), "bob")
    assert answer == {"ok": False, "error": "forbidden: the token lacks the scope publish"}
    await running.wait_for_event(MessageRejected)
    assert await bob.received_so_far() == []
    assert running.hub.stats().notifications == 0


async def test_3_forged_notification_without_an_ack_is_rejected(running):
    eve, bob = await running.browser("eve"), await running.browser("bob")
    await eve.client.emit(EVENT, (message(1), {"userId": "bob"}))
    await running.wait_for_event(MessageRejected)
    assert await bob.received_so_far() == []


@pytest.mark.parametrize(
    "claims",
    [
        {"sub": "bob"},
        {"sub": "bob", "scope": "publish admin"},
        {"sub": "eve", "scope": "admin"},
    ],
)
async def test_4_token_signed_by_the_attacker_is_rejected(running, claims):
    forged = jwt.encode(
        {"aud": "org-socket", "iss": "insignia-worker", "exp": time.time() + 60, **claims}, "e" * 32, "HS256"
    )
    eve = Browser()
    running.clients.append(eve)
    with pytest.raises(Exception, match="namespaces failed"):
        await eve.connect(running.url, {"token": forged})
    await running.wait_for_event(ClientRejected)
    assert eve.errors[0]["message"] == "unauthorized"


async def test_5_own_token_with_another_name_inserted_is_rejected(running):
    header, _, signature = running.token("eve").split(".")
    claims = running.token("bob").split(".")[1]
    raw = await running.raw()
    assert (await raw.connect_with({"token": f"{header}.{claims}.{signature}"})).startswith("44")


@pytest.mark.parametrize("extra", [{"userId": "bob"}, {"sub": "bob"}, {"user": "bob"}, {"room": "user:bob"}])
async def test_6_auth_fields_other_than_the_token_are_ignored(running, extra):
    eve = Browser()
    running.clients.append(eve)
    await eve.connect(running.url, {"token": running.token("eve"), **extra})
    await only_bob_hears(running, eve)


async def test_7_query_parameters_are_ignored(running):
    raw = await running.raw(f"{OPEN_PATH}&userId=bob&token={running.token('bob')}")
    assert (await raw.connect_with()).startswith("44")
    assert (await _connect(raw, running.token("eve"))).startswith("40")
    await _only_bob_hears_raw(running, raw)


async def test_8_session_id_of_another_user_is_rejected(running):
    bob = await running.browser("bob")
    with pytest.raises(Exception, match="400"):
        await running.raw(f"{OPEN_PATH}&sid={bob.client.get_sid()}")
    # With the secret id of a session that is on WebSocket already, the connection is closed before anything is sent.
    eve = await running.raw(f"{OPEN_PATH}&sid={bob.client.eio.sid}")
    with pytest.raises(Closed, match="1002"):
        await eve.next()
    await (await running.publisher()).publish(message(1), "bob")
    assert (await bob.next())[1] == message(1)


@pytest.mark.parametrize("namespace", ["/user:bob", "/admin", "/bob", "/ ", "//", "/../", "/?token=x"])
async def test_9_other_namespaces_are_rejected(running, namespace):
    raw = await running.raw()
    await raw.next()
    await raw.send(f"40{namespace}," + orjson.dumps({"token": running.token("eve")}).decode())
    assert "Invalid namespace" in await raw.next()


async def test_10_second_connect_on_one_connection_changes_no_identity(running):
    raw = await running.raw()
    await raw.connect_with({"token": running.token("eve")})
    await raw.send("40" + orjson.dumps({"token": running.token("eve")}).decode())
    assert await raw.wait_for_close_code() == 1002


@pytest.mark.parametrize(
    "name",
    ["Bob", "BOB", "bob ", " bob", "bоb", "ｂｏｂ", "bob\u0301", "b\u00f6b", "bob.", "bob/", "user:bob", "*", "None"],
)
async def test_11_similar_user_id_is_another_user(running, name):
    eve = await running.browser(name)
    await only_bob_hears(running, eve)


async def test_12_epoch_of_another_users_inbox_is_ignored(running):
    publisher = await running.publisher()
    await publisher.publish(message(1), "bob")
    bob = await running.browser("bob", lastSeq=None)
    epoch = (await bob.next())[1]["epoch"]
    eve = await running.browser("eve", epoch=epoch, lastSeq=0)
    assert await eve.next() == (
        "org-socket:welcome",
        {"epoch": (await _epoch(running, "eve")), "seq": 0, "after": 0, "recovered": False},
    )
    assert await eve.received_so_far() == []


async def _epoch(running, user):
    other = await running.browser(user, lastSeq=None)
    return (await other.next())[1]["epoch"]


@pytest.mark.parametrize("room", ["user:bob", "user:bob\u200b", "user:", "user:Bob", "user:*", "user:eve,user:bob"])
async def test_13_native_endpoint_admits_to_the_own_user_room_alone(running, room):
    eve = await running.native("eve")
    await eve.send_native("join-room", {"room": room})
    assert (await eve.next_native())["type"] == "error"
    await only_bob_hears(running, eve)


@pytest.mark.parametrize("room", ["USER:bob", "bob", "Task:job-77", " user:bob", "ｕser:bob", "task::job-77"])
async def test_14_room_with_a_similar_name_gets_nothing(running, room):
    eve = await running.native("eve")
    await eve.send_native("join-room", {"room": room})
    await eve.next_native()
    await only_bob_hears(running, eve)


async def test_15_connection_for_a_guessed_job_gets_nothing(running):
    eve = await running.native("eve", "/ws/tasks/job-77")
    joined = await running.native("eve")
    await joined.send_native("join-room", "task:job-77")
    await joined.next_native()
    await only_bob_hears(running, eve, joined)


async def test_16_known_job_of_another_user_is_forbidden(running):
    publisher = await running.publisher()
    await publisher.publish(message(1), "bob")
    eve = await running.native("eve", "/ws/tasks/job-1")
    assert (await eve.next_native("error"))["data"]["code"] == 4403
    assert await eve.wait_for_close_code() == 4403
    other = await running.native("eve")
    await other.send_native("join-room", "task:job-1")
    assert (await other.next_native())["data"]["code"] == "forbidden"
    await running.wait_for_event(MessageRejected, lambda refused: refused.user_id == "eve")


async def test_17_broadcast_without_the_scope_is_rejected(running):
    eve, bob = await running.native("eve"), await running.native("bob")
    await eve.send_native("broadcast", {"room": "user:bob", "message": "Task Finish"})
    assert (await eve.next_native())["data"]["code"] == "forbidden"
    await eve.send_native("notification", message(1))
    assert (await eve.next_native())["data"]["message"] == "unknown type"
    assert await bob.received_so_far() == []


async def test_18_refresh_with_another_users_token_is_rejected(running):
    eve = await running.browser("eve")
    assert (await eve.call("org-socket:refresh", {"token": running.token("bob")}))["ok"] is False
    await only_bob_hears(running, eve)


async def test_19_refresh_with_more_scopes_is_rejected(running):
    eve = await running.browser("eve")
    answer = await eve.call("org-socket:refresh", {"token": running.token("eve", publish=True)})
    assert answer["ok"] is False
    assert (await eve.publish(message(1), "bob"))["ok"] is False


async def test_20_user_named_worker_is_not_the_worker(running):
    eve = await running.browser("worker")
    assert (await eve.publish(message(1), "bob"))["ok"] is False
    await only_bob_hears(running, eve)


async def test_21_notification_id_cannot_be_used_up_by_another_user(running):
    eve, bob = await running.browser("eve"), await running.browser("bob")
    await eve.publish(message(1), "bob")
    publisher = await running.publisher()
    await publisher.publish(message(1), "bob")
    assert (await bob.next())[1] == message(1)


async def test_22_page_of_a_foreign_origin_is_rejected_even_with_a_valid_token(running):
    for path in (OPEN_PATH, "/ws"):
        for origin in ("https://evil.example", "null", f"{running.url}.evil.example", "http://127.0.0.1:1"):
            with pytest.raises(Exception, match="403"):
                await running.raw(path, headers={"Origin": origin})
    await running.wait_for_event(ClientRejected, lambda refused: "origin" in refused.reason)


async def test_23_invented_acknowledgement_is_ignored(running):
    raw = await running.raw()
    await raw.connect_with({"token": running.token("eve")})
    await raw.send('430["x"]')
    await _only_bob_hears_raw(running, raw)


async def test_24_rooms_are_left_when_the_connection_ends(running):
    eve = await running.browser("eve")
    assert running.hub.hub.rooms.members(user_room("eve"))
    await eve.close()
    await running.wait_for_event(ClientDisconnected, lambda gone: gone.user_id == "eve")
    assert not running.hub.hub.rooms.members(user_room("eve"))
    await only_bob_hears(running)


async def _connect(raw, token):
    await raw.send("40" + orjson.dumps({"token": token}).decode())
    return await raw.next()


async def _only_bob_hears_raw(running, raw):
    await only_bob_hears(running)
    await raw.send('425["anything-else"]')
    assert (await raw.next()).startswith("435")
