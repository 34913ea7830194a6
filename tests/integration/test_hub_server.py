"""The hub with python-socketio's client and with bare WebSockets: delivery, catching up, limits, farewell."""

import asyncio
import contextlib
import time

import jwt
import orjson
import pytest
import socketio
from aiohttp import ClientSession
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from pydantic import SecretStr

from config.settings import HubSettings, JwtKeySettings, WebSocketSettings
from tests.support.hub import EVENT, PATH, Browser, Closed, event_of, message, progress, running_hub
from worker.errors import StoreLocked
from worker.hub.engine import Timing
from worker.hub.events import ClientDisconnected, ClientRefused, HubStopped, InboxFailed
from worker.hub.guard import Caps
from worker.hub.keeping import Limits
from worker.hub.keys import further_keys
from worker.hub.peer import Bounds
from worker.listen import Listener

OPEN_PATH = f"{PATH}/?EIO=4&transport=websocket"


@pytest.fixture
async def running(tmp_path):
    async with running_hub(tmp_path) as hub:
        yield hub


async def test_a_notification_reaches_its_users_sockets_with_its_two_arguments(running):
    ann, ann_too = await running.browser("ann"), await running.browser("ann")
    bob, publisher = await running.browser("bob"), await running.publisher()
    assert await publisher.publish(message(1), "ann") == {"ok": True}
    assert await ann.next() == (EVENT, message(1), {"userId": "ann"})
    assert await ann_too.next() == (EVENT, message(1), {"userId": "ann"})
    assert await bob.rest() == []


async def test_many_notifications_arrive_in_order(running):
    ann, publisher = await running.browser("ann"), await running.publisher()
    await asyncio.gather(*(publisher.publish(message(n)) for n in range(300)))
    numbers = [(await ann.next())[1]["payload"]["notificationId"] for _ in range(300)]
    assert numbers == [f"news-{n}" for n in range(300)]


async def test_thai_arrives_as_it_was_sent(running):
    ann, publisher = await running.browser("สมชาย"), await running.publisher()
    await publisher.publish(message(1, error="เครื่องราชอิสริยาภรณ์ 🎖"), "สมชาย")
    assert (await ann.next())[1]["payload"]["error"] == "เครื่องราชอิสริยาภรณ์ 🎖"


async def test_a_repeated_id_is_acknowledged_and_dropped(running):
    ann, publisher = await running.browser("ann"), await running.publisher()
    assert [await publisher.publish(message(1)) for _ in range(3)] == [{"ok": True}] * 3
    assert len(await ann.rest()) == 1
    assert running.hub.figures().repetitions == 2


async def test_a_new_redelivery_is_delivered(running):
    ann, publisher = await running.browser("ann"), await running.publisher()
    for body in (message(1), message(1, redelivery=1), message(1, redelivery=1)):
        await publisher.publish(body)
    assert [event[1]["payload"].get("redelivery") for event in await ann.rest()] == [None, 1]


async def test_one_who_was_away_gets_it_on_arrival_and_only_once(running):
    publisher = await running.publisher()
    for number in (1, 2, 3):
        await publisher.publish(message(number))
    ann = await running.browser("ann")
    assert [event[1]["payload"]["notificationId"] for event in await ann.rest()] == ["news-1", "news-2", "news-3"]
    reloaded = await running.browser("ann")
    assert await reloaded.rest() == []


async def test_a_client_that_says_nothing_hears_of_nothing_new(running):
    ann = await running.browser("ann")
    assert await ann.rest() == []


async def test_one_who_says_where_it_was_gets_what_it_missed(running):
    ann, publisher = await running.browser("ann", lastSeq=None), await running.publisher()
    name, welcome = await ann.next()
    assert name == "org-socket:welcome"
    assert (welcome["seq"], welcome["recovered"]) == (0, False)
    await publisher.publish(message(1))
    _, _, user = await ann.next()
    assert user == {"userId": "ann", "epoch": welcome["epoch"], "seq": 1}
    await ann.call("org-socket:read", {"seq": 1})
    await ann.client.disconnect()
    # Another socket of hers is given the next two; this one has still missed them.
    other = await running.browser("ann")
    await publisher.publish(message(2))
    await publisher.publish(message(3))
    assert len(await other.rest()) == 2
    back = await running.browser("ann", epoch=welcome["epoch"], lastSeq=1)
    assert await back.next() == (
        "org-socket:welcome",
        {"epoch": welcome["epoch"], "seq": 3, "after": 1, "recovered": True},
    )
    assert [event[2]["seq"] for event in await back.rest()] == [2, 3]


@pytest.mark.parametrize("claim", [{"epoch": "no", "lastSeq": 1}, {"epoch": 3, "lastSeq": "x"}, {"lastSeq": True}])
async def test_a_claim_that_is_worth_nothing_is_told_so(running, claim):
    publisher = await running.publisher()
    await publisher.publish(message(1))
    ann = await running.browser("ann", **claim)
    assert (await ann.next())[1]["recovered"] is False
    assert [event[2]["seq"] for event in await ann.rest()] == [1]


async def test_a_long_backlog_comes_whole_and_before_what_is_new(running):
    publisher = await running.publisher()
    await asyncio.gather(*(publisher.publish(message(n)) for n in range(350)))
    ann = await running.browser("ann")
    await asyncio.gather(*(publisher.publish(message(n)) for n in range(350, 400)))
    numbers = [(await ann.next())[1]["payload"]["notificationId"] for _ in range(400)]
    assert numbers == [f"news-{n}" for n in range(400)]
    assert await ann.rest() == []


async def test_the_inbox_survives_a_restart(tmp_path):
    async with running_hub(tmp_path) as first:
        publisher = await first.publisher()
        await publisher.publish(message(1))
    async with running_hub(tmp_path) as second:
        ann, publisher = await second.browser("ann"), await second.publisher()
        assert len(await ann.rest()) == 1
        await publisher.publish(message(1))
        assert await ann.rest() == []


async def test_a_second_hub_on_the_same_inbox_does_not_start(running, tmp_path):
    with pytest.raises(StoreLocked):
        async with running_hub(tmp_path):
            pass


async def test_stack_traces_are_for_admins(running):
    ann, publisher = await running.browser("ann"), await running.publisher()
    admin = await running.browser(token=running.token("ann", admin=True))
    await publisher.publish(message(1, stackTrace="Traceback", error="x"))
    assert (await ann.next())[1]["payload"] == message(1, error="x")["payload"]
    assert (await admin.next())[1]["payload"]["stackTrace"] == "Traceback"


async def test_a_replay_hides_stack_traces_too(running):
    publisher = await running.publisher()
    await publisher.publish(message(1, stackTrace="Traceback"))
    ann = await running.browser("ann")
    assert "stackTrace" not in (await ann.next())[1]["payload"]


async def test_stack_traces_go_to_all_when_the_settings_say_so(tmp_path):
    async with running_hub(tmp_path, settings=HubSettings(stack_trace_to_users=True)) as running:
        ann, publisher = await running.browser("ann"), await running.publisher()
        await publisher.publish(message(1, stackTrace="Traceback"))
        assert (await ann.next())[1]["payload"]["stackTrace"] == "Traceback"


async def test_progress_is_sent_and_never_stored(running):
    ann, publisher = await running.browser("ann"), await running.publisher()
    assert await publisher.publish(progress("job-1", 50.0)) == {"ok": True}
    assert (await ann.next())[1] == progress("job-1", 50.0)
    await ann.client.disconnect()
    await publisher.publish(progress("job-1", 60.0))
    again = await running.browser("ann")
    assert await again.rest() == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "two objects"),
        ((message(),), "two objects"),
        ((message(), {"userId": "ann"}, 3), "two objects"),
        ((message(), "ann"), "two objects"),
        ((message(), {}), "userId"),
        ((message(), {"userId": 7}), "userId"),
        ((message(), {"userId": "a\x00b"}), "userId"),
        (({"payload": []}, {"userId": "ann"}), "payload"),
        (({"payload": {"notificationId": 3}}, {"userId": "ann"}), "notificationId"),
        (({"payload": {"redelivery": -1}}, {"userId": "ann"}), "redelivery"),
    ],
)
async def test_a_malformed_notification_is_refused_for_good(running, arguments, says):
    publisher = await running.publisher()
    answer = await publisher.call(EVENT, *arguments)
    assert answer["ok"] is False
    assert says in answer["error"]
    assert await publisher.publish(message(1)) == {"ok": True}


async def test_a_notification_with_bytes_in_it_is_refused(running):
    publisher = await running.publisher()
    assert (await publisher.call(EVENT, message(1, blob=b"x"), {"userId": "ann"}))["ok"] is False


async def test_a_publisher_may_send_without_asking_for_an_answer(running):
    ann, publisher = await running.browser("ann"), await running.publisher()
    await publisher.client.emit(EVENT, (message(1), {"userId": "ann"}))
    assert (await ann.next())[1] == message(1)


async def test_an_unwritable_inbox_cuts_the_publisher_off_instead_of_refusing_the_message(running):
    raw = await running.raw()
    await raw.enter({"token": running.hub.worker_token()})
    running.hub._inbox._operations.put(_Sabotage())
    await raw.send('421["socket-notification",{"payload":{"notificationId":"a"}},{"userId":"ann"}]')
    assert await raw.ended() == 1011
    assert "disk" in str((await running.happened(InboxFailed)).error)


class _Sabotage:
    """Rides in the inbox's queue and makes the next commit fail, as a full disk would."""

    done = None

    def apply(self, ledger):
        real = ledger.append

        def fails(*_):
            ledger.append = real
            ledger.append = fails
            raise OSError("disk full")

        ledger.append = fails


@pytest.mark.parametrize(
    "auth",
    [None, {}, {"token": None}, {"token": "x.y.z"}, {"token": 7}, {"token": {"a": 1}}],
)
async def test_a_bad_token_is_refused_with_a_message(running, auth):
    browser = Browser()
    running.clients.append(browser)
    with pytest.raises(socketio.exceptions.ConnectionError):
        await browser.connect(running.url, auth)
    assert browser.errors == [{"message": "unauthorized", "data": {"code": 4401}}]
    assert running.hub.figures().connections_active == 0
    await running.happened(ClientRefused)


async def test_an_unknown_namespace_is_refused_with_a_message(running):
    raw = await running.raw()
    await raw.next()
    await raw.send("40/other,")
    assert await raw.next() == '44/other,{"message":"Invalid namespace"}'


async def test_the_open_packet_tells_the_rules(running):
    raw = await running.raw()
    opened = orjson.loads((await raw.next())[1:])
    assert opened | {"sid": ""} == {
        "sid": "",
        "upgrades": [],
        "pingInterval": 25000,
        "pingTimeout": 5000,
        "maxPayload": 1_000_000,
    }


async def test_connect_comes_before_everything_else(running):
    publisher = await running.publisher()
    await publisher.publish(message(1))
    raw = await running.raw()
    assert (await raw.enter({"token": running.token("ann"), "lastSeq": 0})).startswith("40{")
    assert event_of(await raw.next())[0] == "org-socket:welcome"
    assert event_of(await raw.next())[0] == EVENT


async def test_deflate_is_refused(running):
    raw = await running.raw(compress=15)
    assert not raw.socket.compress


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("EIO=3&transport=websocket", 400, 5),
        ("transport=websocket", 400, 5),
        ("EIO=4&transport=polling", 400, 0),
        ("EIO=4", 400, 0),
        ("EIO=4&transport=websocket&sid=x", 400, 1),
        ("EIO=4&transport=websocket", 400, 3),
    ],
)
async def test_a_wrong_request_is_answered_as_engine_io_does(running, query, status, code):
    async with ClientSession() as session, session.get(f"{running.url}{PATH}/?{query}") as answer:
        assert answer.status == status
        assert (await answer.json())["code"] == code


async def test_the_path_works_without_the_slash(running):
    raw = await running.raw(f"{PATH}?EIO=4&transport=websocket")
    assert (await raw.enter({"token": running.token()})).startswith("40")


@pytest.mark.parametrize(
    "frame", ["x", "", "2", "2probe", "5", "6", "0", "9", "4", "47", "42", '42["a"]', "4/x,2", "4[]", "4" + "[" * 5000]
)
async def test_a_frame_that_is_no_packet_ends_the_connection(running, frame):
    raw = await running.raw()
    await raw.next()
    await raw.send(frame)
    assert await raw.ended() == 1002


async def test_an_engine_io_close_is_answered_by_a_close(running):
    raw = await running.raw()
    await raw.enter({"token": running.token()})
    await raw.send("1")
    assert await raw.ended() == 1000


async def test_a_namespace_disconnect_leaves_the_room(running):
    raw = await running.raw()
    await raw.enter({"token": running.token("ann")})
    await raw.send("41")
    gone = await running.happened(ClientDisconnected)
    assert (gone.user_id, gone.code) == ("ann", 1000)
    assert running.hub.figures().rooms == 0
    await raw.send('42["x"]')
    assert await raw.ended() == 1002


async def test_a_users_frame_beyond_64_kilobytes_is_too_big(running):
    ann, publisher = await running.raw(), await running.raw()
    await ann.enter({"token": running.token("ann")})
    await ann.send('42["x","' + "y" * 65536 + '"]')
    assert await ann.ended() == 1009
    await publisher.enter({"token": running.hub.worker_token()})
    big = orjson.dumps([EVENT, message(1, error="x" * 200_000), {"userId": "ann"}]).decode()
    await publisher.send("421" + big)
    assert await publisher.next() == '431[{"ok":true}]'


async def test_a_frame_beyond_max_payload_is_too_big_for_anybody(tmp_path):
    async with running_hub(tmp_path, web_socket=WebSocketSettings(max_payload=100_000)) as running:
        raw = await running.raw()
        await raw.enter({"token": running.hub.worker_token()})
        await raw.send("4" * 100_001)
        assert await raw.ended() == 1009


async def test_a_socket_that_never_connects_is_closed(tmp_path):
    async with running_hub(tmp_path, timing=Timing(handshake=0.2)) as running:
        raw = await running.raw()
        assert await raw.ended() == 4401


async def test_a_dead_peer_is_noticed(tmp_path):
    timing = Timing(ping_interval=0.1, ping_timeout=0.2)
    async with running_hub(tmp_path, timing=timing) as running:
        raw = await running.raw()
        await raw.enter({"token": running.token("ann")})
        # It reads nothing from now on, so it answers no ping.
        gone = await running.happened(ClientDisconnected)
        assert (gone.code, gone.reason) == (1006, "ping timeout")


async def test_a_peer_that_answers_stays(tmp_path):
    timing = Timing(ping_interval=0.1, ping_timeout=0.1)
    async with running_hub(tmp_path, timing=timing) as running:
        ann = await running.browser("ann")
        began = time.monotonic()
        while time.monotonic() - began < 0.6:
            await ann.rest()
            await asyncio.sleep(0.05)
        assert not ann.gone.is_set()


async def test_a_socket_ends_with_its_token(running):
    raw = await running.raw()
    await raw.enter({"token": running.token("ann", days=2 / 86400)})
    assert event_of(await raw.next()) == ["org-socket:closing", {"code": 4401, "reason": "the token has expired"}]
    assert await raw.ended() == 4401


async def test_a_newer_token_prolongs_the_socket(running):
    ann = await running.browser(token=running.token("ann", days=2 / 86400))
    assert await ann.call("org-socket:refresh", {"token": running.token("ann", days=1)}) == {"ok": True}
    (client,) = running.hub._core.clients.values()
    assert client.identity.expires > time.time() + 80000


@pytest.mark.parametrize("token", ["bob", None])
async def test_a_token_of_another_refreshes_nothing(running, token):
    ann = await running.browser("ann")
    answer = await ann.call("org-socket:refresh", {"token": token and running.token(token)})
    assert answer["ok"] is False


async def test_a_client_that_never_reads_is_cut_off(tmp_path):
    bounds = Bounds(volatile=16_384, total=65_536, farewell=0.1)
    async with running_hub(tmp_path, bounds=bounds) as running:
        raw = await running.raw(max_msg_size=0)
        await raw.enter({"token": running.token("ann")})
        raw.socket._response.connection.transport.pause_reading()
        publisher = await running.publisher()
        number = 0
        while not any(isinstance(event, ClientDisconnected) for event in running.events):
            number += 1
            await publisher.publish(message(number, error="x" * 50_000))
            assert number < 500
        gone = await running.happened(ClientDisconnected)
        assert (gone.code, gone.reason) == (4408, "too slow")


async def test_what_a_slow_client_did_not_take_is_given_to_the_next(tmp_path):
    bounds = Bounds(volatile=16_384, total=65_536, farewell=0.1)
    async with running_hub(tmp_path, bounds=bounds) as running:
        raw = await running.raw(max_msg_size=0)
        await raw.enter({"token": running.token("ann")})
        raw.socket._response.connection.transport.pause_reading()
        publisher = await running.publisher()
        sent = 0
        while not any(isinstance(event, ClientDisconnected) for event in running.events):
            sent += 1
            await publisher.publish(message(sent, error="x" * 50_000))
        ann = await running.browser("ann")
        numbers = [(await ann.next())[1]["payload"]["notificationId"] for _ in range(sent)]
        assert numbers == [f"news-{n}" for n in range(1, sent + 1)]


async def test_what_a_dead_client_may_not_have_read_is_given_to_the_next(tmp_path):
    timing = Timing(ping_interval=0.2, ping_timeout=0.2)
    async with running_hub(tmp_path, timing=timing) as running:
        raw, publisher = await running.raw(), await running.publisher()
        await raw.enter({"token": running.token("ann")})
        await publisher.publish(message(1))
        assert event_of(await raw.next())[1] == message(1)
        assert await raw.socket.receive_str() == "2"
        await raw.send("3")
        await publisher.publish(message(2))
        assert (await running.happened(ClientDisconnected)).reason == "ping timeout"
        ann = await running.browser("ann")
        assert [event[1] for event in await ann.rest()] == [message(2)]


async def test_what_another_socket_has_read_is_not_given_again(tmp_path):
    timing = Timing(ping_interval=0.2, ping_timeout=0.2)
    async with running_hub(tmp_path, timing=timing) as running:
        dead, publisher = await running.raw(), await running.publisher()
        await dead.enter({"token": running.token("ann")})
        alive = await running.browser("ann")
        await publisher.publish(message(1))
        await alive.next()
        assert (await running.happened(ClientDisconnected)).reason == "ping timeout"
        again = await running.browser("ann")
        assert await again.rest() == []


async def test_what_was_on_the_wire_when_the_page_was_closed_is_given_to_the_next(running):
    raw, publisher = await running.raw(), await running.publisher()
    await raw.enter({"token": running.token("ann")})
    await publisher.publish(message(1))
    # It closes without having read it, as a page does that is reloaded at that very moment.
    await raw.socket.close(code=1001)
    await running.happened(ClientDisconnected)
    again = await running.browser("ann")
    assert [event[1] for event in await again.rest()] == [message(1)]


async def test_what_was_read_is_proven_at_once(running):
    raw, publisher = await running.raw(), await running.publisher()
    await raw.enter({"token": running.token("ann")})
    for number in (1, 2):
        await publisher.publish(message(number))
        assert event_of(await raw.socket.receive_str())[1] == message(number)
        assert await raw.socket.receive_str() == "2"
        await raw.send("3")
    again = await running.browser("ann")
    assert await again.rest() == []


async def test_an_answer_proves_what_came_before_its_own_question_alone(running):
    raw, publisher = await running.raw(), await running.publisher()
    await raw.enter({"token": running.token("ann")})
    await publisher.publish(message(1))
    await publisher.publish(message(2))
    # One question is out at a time: the first was asked after the first message.
    await raw.send("3")
    await raw.send('427["anything"]')
    while not (await raw.socket.receive_str()).startswith("437"):
        pass
    again = await running.browser("ann")
    assert [event[1] for event in await again.rest()] == [message(2)]


async def test_answers_to_questions_never_asked_prove_nothing(running):
    raw, publisher = await running.raw(), await running.publisher()
    await raw.enter({"token": running.token("ann")})
    for _ in range(10):
        await raw.send("3")
    await raw.send('427["anything"]')
    while not (await raw.socket.receive_str()).startswith("437"):
        pass
    await publisher.publish(message(1))
    again = await running.browser("ann")
    assert len(await again.rest()) == 1


async def test_who_keeps_a_place_is_not_asked_and_its_pongs_prove_nothing(running):
    raw, publisher = await running.raw(), await running.publisher()
    await raw.enter({"token": running.token("ann"), "lastSeq": None})
    await publisher.publish(message(1))
    await raw.send("3")
    await raw.send('427["anything"]')
    frames = []
    while not frames or not frames[-1].startswith("437"):
        frames.append(await raw.socket.receive_str())
    assert "2" not in frames
    again = await running.browser("ann")
    assert [event[1] for event in await again.rest()] == [message(1)]


async def test_who_keeps_a_place_says_itself_what_it_has_read(running):
    ann, publisher = await running.browser("ann", lastSeq=None), await running.publisher()
    await ann.next()
    for number in (1, 2, 3):
        await publisher.publish(message(number))
    assert await ann.call("org-socket:read", {"seq": 2}) == {"ok": True}
    again = await running.browser("ann")
    assert [event[1] for event in await again.rest()] == [message(3)]


async def test_what_was_not_given_cannot_be_said_to_be_read(running):
    ann, publisher = await running.browser("ann", lastSeq=None), await running.publisher()
    await ann.next()
    await publisher.publish(message(1))
    for claim in ({"seq": 2}, {"seq": -1}, {"seq": True}, {"seq": "1"}, {"seq": 1.0}, {}, None, 1):
        assert (await ann.call("org-socket:read", claim))["ok"] is False
    again = await running.browser("ann")
    assert [event[1] for event in await again.rest()] == [message(1)]


@pytest.mark.parametrize("auth", [{}, {"lastSeq": None}])
async def test_a_websocket_pong_proves_nothing_at_the_native_door(running, auth):
    """A browser answers pings by itself, also for a page that hangs."""
    ann, publisher = await running.native("ann", **auth), await running.publisher()
    await publisher.publish(message(1))
    await ann.hear("notification")
    for payload in (b"", b"1", b"999", b"-1", b"9" * 30):
        await ann.socket.pong(payload)
    await ann.rest()
    again = await running.browser("ann")
    assert [event[1] for event in await again.rest()] == [message(1)]


@pytest.mark.parametrize("auth", [{}, {"lastSeq": None}])
async def test_a_native_client_says_itself_what_it_has_read(running, auth):
    ann, publisher = await running.native("ann", **auth), await running.publisher()
    for number in (1, 2, 3):
        await publisher.publish(message(number))
        await ann.hear("notification")
    await ann.say("read", {"seq": 2})
    assert await ann.rest() == []
    again = await running.browser("ann")
    assert [event[1] for event in await again.rest()] == [message(3)]


async def test_a_native_client_cannot_have_read_what_it_was_not_given(running):
    ann, publisher = await running.native("ann"), await running.publisher()
    watcher = await running.native("ann", "/ws/tasks/job-1")
    await publisher.publish(message(1))
    await ann.hear("notification")
    await watcher.hear("notification")
    # A job's watcher is given no place in the inbox.
    for client, claim in ((ann, 2), (ann, None), (ann, True), (watcher, 1)):
        await client.say("read", {"seq": claim})
        assert (await client.hear("error"))["data"]["code"] == "malformed"
    again = await running.browser("ann")
    assert [event[1] for event in await again.rest()] == [message(1)]


async def test_who_is_there_when_his_inbox_is_forgotten_comes_back(tmp_path):
    async with running_hub(tmp_path, limits=Limits(user_seconds=0)) as running:
        ann, publisher = await running.browser("ann"), await running.publisher()
        for number in (1, 2):
            await publisher.publish(message(number))
        assert len(await ann.rest()) == 2
        await running.hub._inbox.prune()
        await publisher.publish(message(3))
        # Its number is 1 again, which this socket has had.
        assert (await running.happened(ClientDisconnected)).code == 1011
        again = await running.browser("ann")
        assert [event[1] for event in await again.rest()] == [message(3)]


async def test_a_listener_that_comes_again_is_not_told_the_same(running):
    publisher = await running.publisher()
    for numbers in ((1, 2), (3,)):
        for number in numbers:
            await publisher.publish(message(number))
        listener = Listener(running.url, PATH, EVENT, lambda: running.token("ann"))
        heard = []
        async with contextlib.aclosing(listener.messages()) as messages:
            async for got in messages:
                heard.append(got.message)
                if len(heard) == len(numbers):
                    break
        assert heard == [message(number) for number in numbers]


async def test_saying_what_was_read_costs_none_of_the_users_messages(tmp_path):
    caps = Caps(user_messages=0.001, user_burst=3, messages=1000, message_burst=1000)
    async with running_hub(tmp_path, caps=caps) as running:
        ann, page = await running.native("ann"), await running.browser("ann", lastSeq=None)
        for _ in range(20):
            await ann.say("read", {"seq": 0})
            assert await page.call("org-socket:read", {"seq": 0}) == {"ok": True}
        assert await ann.rest() == []


async def test_a_client_that_never_reads_costs_little(running):
    """Well under a megabyte of buffers, however much is sent to it."""
    raw = await running.raw(max_msg_size=0)
    await raw.enter({"token": running.token("ann")})
    raw.socket._response.connection.transport.pause_reading()
    (peer,) = [client.peer for client in running.hub._core.clients.values()]
    publisher = await running.publisher()
    number, most = 0, 0
    while not peer.closing:
        number += 1
        await publisher.publish(message(number, error="x" * 20_000))
        most = max(most, peer.waiting)
        assert number < 2000
    assert most < 600_000


async def test_progress_is_left_out_for_one_who_is_behind(tmp_path):
    bounds = Bounds(volatile=16_384, total=10_000_000)
    async with running_hub(tmp_path, bounds=bounds) as running:
        raw = await running.raw(max_msg_size=0)
        await raw.enter({"token": running.token("ann")})
        raw.socket._response.connection.transport.pause_reading()
        publisher = await running.publisher()
        dropped = 0
        for number in range(2000):
            await publisher.publish(progress("job", float(number)) | {"filler": "x" * 50_000})
            dropped = running.hub.figures().clients[0].dropped
            if dropped:
                break
        assert dropped
        assert not any(isinstance(event, ClientDisconnected) for event in running.events)


async def test_the_farewell_is_a_reason_and_1001_and_takes_no_time(tmp_path):
    async with running_hub(tmp_path) as running:
        raws = [await running.raw() for _ in range(5)]
        for raw in raws:
            await raw.enter({"token": running.token("ann")})
        deaf = await running.raw()
        await deaf.enter({"token": running.token("bob")})
        farewells = [asyncio.create_task(_farewell(raw)) for raw in raws]
        await running.hub.close()
        assert (await running.happened(HubStopped)).seconds < 1.0
        for packets, code in await asyncio.gather(*farewells):
            assert packets == [["org-socket:closing", {"code": 1001, "reason": "the hub is stopping"}]]
            assert code == 1001


async def _farewell(raw):
    packets = []
    try:
        while True:
            packets.append(event_of(await raw.next()))
    except Closed as closed:
        return packets, closed.code


async def test_a_closed_hub_takes_nobody_in(running):
    await running.hub.close()
    async with ClientSession() as session, session.get(f"{running.url}{OPEN_PATH}") as answer:
        assert answer.status == 503


async def test_closing_twice_or_before_the_start_does_nothing(running):
    await running.hub.close()
    await running.hub.close()


async def test_the_figures_tell_who_is_there(running):
    ann, publisher = await running.browser("ann"), await running.publisher()
    await publisher.publish(message(1))
    await ann.next()
    figures = running.hub.figures()
    assert (figures.connections_total, figures.connections_active, figures.users) == (2, 2, 1)
    assert (figures.messages_in, figures.notifications) == (1, 1)
    client = next(client for client in figures.clients if client.user_id == "ann")
    assert (client.sent, client.address, client.door) == (1, "127.0.0.1", "socket.io")


async def test_a_hub_in_memory_leaves_no_inbox(tmp_path):
    async with running_hub(tmp_path, settings=HubSettings(inbox_path=":memory:")) as running:
        ann, publisher = await running.browser("ann"), await running.publisher()
        await publisher.publish(message(1))
        assert (await ann.next())[1] == message(1)
        assert [path.name for path in tmp_path.iterdir()] == ["hub.key"]


async def test_a_token_of_another_issuers_key_opens_the_door(tmp_path):
    private = ed25519.Ed25519PrivateKey.generate()
    pem = private.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    settings = JwtKeySettings(kid="idp", algorithm="EdDSA", key=SecretStr(pem.decode()))
    claims = {"sub": "ann", "aud": "org-socket", "iss": "insignia-worker", "exp": time.time() + 60}
    async with running_hub(tmp_path, keys=further_keys([settings], tmp_path)) as hub:
        browser = await hub.browser(token=jwt.encode(claims, private, "EdDSA", headers={"kid": "idp"}))
        assert await (await hub.publisher()).publish(message(1)) == {"ok": True}
        assert (await browser.next())[0] == EVENT
        raw = await hub.raw()
        assert "unauthorized" in await raw.enter({"token": jwt.encode(claims, private, "EdDSA", headers={"kid": "x"})})
