"""Eve, with a good token of her own, tries to get at Bob's notifications, or to forge some. All of it fails.

Each attack ends with the same proof: a notification for Bob goes out, Bob has it, Eve has nothing.
"""

import time

import jwt
import orjson
import pytest

from tests.support.hub import EVENT, PATH, Browser, message, running_hub
from worker.hub.events import ClientDisconnected, ClientRefused, MessageRefused
from worker.hub.rooms import user_room

OPEN_PATH = f"{PATH}/?EIO=4&transport=websocket"


@pytest.fixture
async def running(tmp_path):
    async with running_hub(tmp_path) as hub:
        yield hub


async def only_bob_hears(running, *eves):
    """Bob is told something; none of Eve's clients hears it."""
    bob, publisher = await running.browser("bob"), await running.publisher()
    await publisher.publish(message(77), "bob")
    assert await bob.next() == (EVENT, message(77), {"userId": "bob"})
    for eve in eves:
        heard = await eve.rest()
        assert not [said for said in heard if b"news-77" in orjson.dumps(said)], heard


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
async def test_1_no_event_joins_anothers_room(running, event, arguments):
    eve = await running.browser("eve")
    assert (await eve.call(event, *arguments))["ok"] is False
    await running.happened(MessageRefused, lambda refused: refused.user_id == "eve")
    await only_bob_hears(running, eve)


async def test_2_a_forged_notification_is_refused(running):
    eve, bob = await running.browser("eve"), await running.browser("bob")
    answer = await eve.publish(message(1), "bob")
    assert answer == {"ok": False, "error": "forbidden: the token lacks the scope publish"}
    await running.happened(MessageRefused)
    assert await bob.rest() == []
    assert running.hub.figures().notifications == 0


async def test_3_a_forged_notification_without_an_ack_is_refused_too(running):
    eve, bob = await running.browser("eve"), await running.browser("bob")
    await eve.client.emit(EVENT, (message(1), {"userId": "bob"}))
    await running.happened(MessageRefused)
    assert await bob.rest() == []


@pytest.mark.parametrize(
    "claims",
    [
        {"sub": "bob"},
        {"sub": "bob", "scope": "publish admin"},
        {"sub": "eve", "scope": "admin"},
    ],
)
async def test_4_a_token_she_signed_herself_is_refused(running, claims):
    forged = jwt.encode(
        {"aud": "org-socket", "iss": "insignia-worker", "exp": time.time() + 60, **claims}, "e" * 32, "HS256"
    )
    eve = Browser()
    running.clients.append(eve)
    with pytest.raises(Exception, match="namespaces failed"):
        await eve.connect(running.url, {"token": forged})
    await running.happened(ClientRefused)
    assert eve.errors[0]["message"] == "unauthorized"


async def test_5_her_token_with_bobs_name_put_in_is_refused(running):
    header, _, signature = running.token("eve").split(".")
    claims = running.token("bob").split(".")[1]
    raw = await running.raw()
    assert (await raw.enter({"token": f"{header}.{claims}.{signature}"})).startswith("44")


@pytest.mark.parametrize("extra", [{"userId": "bob"}, {"sub": "bob"}, {"user": "bob"}, {"room": "user:bob"}])
async def test_6_what_she_says_beside_the_token_counts_for_nothing(running, extra):
    eve = Browser()
    running.clients.append(eve)
    await eve.connect(running.url, {"token": running.token("eve"), **extra})
    await only_bob_hears(running, eve)


async def test_7_the_query_counts_for_nothing(running):
    raw = await running.raw(f"{OPEN_PATH}&userId=bob&token={running.token('bob')}")
    assert (await raw.enter()).startswith("44")
    assert (await _connect(raw, running.token("eve"))).startswith("40")
    await _only_bob_hears_raw(running, raw)


async def test_8_bobs_session_id_opens_nothing(running):
    bob = await running.browser("bob")
    for sid in (bob.client.get_sid(), bob.client.eio.sid):
        with pytest.raises(Exception, match="400"):
            await running.raw(f"{OPEN_PATH}&sid={sid}")


@pytest.mark.parametrize("namespace", ["/user:bob", "/admin", "/bob", "/ ", "//", "/../", "/?token=x"])
async def test_9_there_is_no_other_namespace(running, namespace):
    raw = await running.raw()
    await raw.next()
    await raw.send(f"40{namespace}," + orjson.dumps({"token": running.token("eve")}).decode())
    assert "Invalid namespace" in await raw.next()


async def test_10_a_second_connect_on_one_socket_changes_nobody(running):
    raw = await running.raw()
    await raw.enter({"token": running.token("eve")})
    await raw.send("40" + orjson.dumps({"token": running.token("eve")}).decode())
    assert await raw.ended() == 1002


@pytest.mark.parametrize(
    "name",
    ["Bob", "BOB", "bob ", " bob", "bоb", "ｂｏｂ", "bob\u0301", "b\u00f6b", "bob.", "bob/", "user:bob", "*", "None"],
)
async def test_11_a_name_that_looks_alike_is_another_user(running, name):
    eve = await running.browser(name)
    await only_bob_hears(running, eve)


async def test_12_the_epoch_of_anothers_inbox_is_worth_nothing(running):
    publisher = await running.publisher()
    await publisher.publish(message(1), "bob")
    bob = await running.browser("bob", lastSeq=None)
    epoch = (await bob.next())[1]["epoch"]
    eve = await running.browser("eve", epoch=epoch, lastSeq=0)
    assert await eve.next() == (
        "org-socket:welcome",
        {"epoch": (await _epoch(running, "eve")), "seq": 0, "after": 0, "recovered": False},
    )
    assert await eve.rest() == []


async def _epoch(running, user):
    other = await running.browser(user, lastSeq=None)
    return (await other.next())[1]["epoch"]


@pytest.mark.parametrize("room", ["user:bob", "user:bob\u200b", "user:", "user:Bob", "user:*", "user:eve,user:bob"])
async def test_13_the_native_door_opens_no_user_room_but_ones_own(running, room):
    eve = await running.native("eve")
    await eve.say("join-room", {"room": room})
    assert (await eve.hear())["type"] == "error"
    await only_bob_hears(running, eve)


@pytest.mark.parametrize("room", ["USER:bob", "bob", "Task:job-77", " user:bob", "ｕser:bob", "task::job-77"])
async def test_14_a_room_that_looks_alike_holds_nothing(running, room):
    eve = await running.native("eve")
    await eve.say("join-room", {"room": room})
    await eve.hear()
    await only_bob_hears(running, eve)


async def test_15_a_guessed_job_channel_stays_silent(running):
    eve = await running.native("eve", "/ws/tasks/job-77")
    joined = await running.native("eve")
    await joined.say("join-room", "task:job-77")
    await joined.hear()
    await only_bob_hears(running, eve, joined)


async def test_16_a_known_job_of_anothers_is_forbidden(running):
    publisher = await running.publisher()
    await publisher.publish(message(1), "bob")
    eve = await running.native("eve", "/ws/tasks/job-1")
    assert (await eve.hear("error"))["data"]["code"] == 4403
    assert await eve.ended() == 4403
    other = await running.native("eve")
    await other.say("join-room", "task:job-1")
    assert (await other.hear())["data"]["code"] == "forbidden"
    await running.happened(MessageRefused, lambda refused: refused.user_id == "eve")


async def test_17_she_cannot_broadcast_as_if_it_were_news(running):
    eve, bob = await running.native("eve"), await running.native("bob")
    await eve.say("broadcast", {"room": "user:bob", "message": "Task Finish"})
    assert (await eve.hear())["data"]["code"] == "forbidden"
    await eve.say("notification", message(1))
    assert (await eve.hear())["data"]["message"] == "unknown type"
    assert await bob.rest() == []


async def test_18_bobs_token_does_not_turn_her_socket_into_his(running):
    eve = await running.browser("eve")
    assert (await eve.call("org-socket:refresh", {"token": running.token("bob")}))["ok"] is False
    await only_bob_hears(running, eve)


async def test_19_a_token_with_more_rights_does_not_widen_a_socket(running):
    eve = await running.browser("eve")
    answer = await eve.call("org-socket:refresh", {"token": running.token("eve", publish=True)})
    assert answer["ok"] is False
    assert (await eve.publish(message(1), "bob"))["ok"] is False


async def test_20_a_user_called_worker_is_not_the_worker(running):
    eve = await running.browser("worker")
    assert (await eve.publish(message(1), "bob"))["ok"] is False
    await only_bob_hears(running, eve)


async def test_21_she_cannot_make_the_hub_forget_bobs_news_by_using_up_its_id(running):
    eve, bob = await running.browser("eve"), await running.browser("bob")
    await eve.publish(message(1), "bob")
    publisher = await running.publisher()
    await publisher.publish(message(1), "bob")
    assert (await bob.next())[1] == message(1)


async def test_22_a_page_of_another_origin_is_not_let_in_even_with_a_good_token(running):
    for path in (OPEN_PATH, "/ws"):
        for origin in ("https://evil.example", "null", f"{running.url}.evil.example", "http://127.0.0.1:1"):
            with pytest.raises(Exception, match="403"):
                await running.raw(path, headers={"Origin": origin})
    await running.happened(ClientRefused, lambda refused: "origin" in refused.reason)


async def test_23_an_acknowledgement_she_makes_up_does_nothing(running):
    raw = await running.raw()
    await raw.enter({"token": running.token("eve")})
    await raw.send('430["x"]')
    await _only_bob_hears_raw(running, raw)


async def test_24_rooms_are_left_when_the_socket_ends(running):
    eve = await running.browser("eve")
    assert running.hub._core.rooms.members(user_room("eve"))
    await eve.close()
    await running.happened(ClientDisconnected, lambda gone: gone.user_id == "eve")
    assert not running.hub._core.rooms.members(user_room("eve"))
    await only_bob_hears(running)


async def _connect(raw, token):
    await raw.send("40" + orjson.dumps({"token": token}).decode())
    return await raw.next()


async def _only_bob_hears_raw(running, raw):
    await only_bob_hears(running)
    await raw.send('425["anything-else"]')
    assert (await raw.next()).startswith("435")
