"""The hub with python-socketio's client and with bare WebSockets: delivery, replay, limits, shutdown."""

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

from config.hub_settings import HubSettings, JwtKeySettings
from config.link_settings import WebSocketSettings
from tests.support.hub import EVENT, PATH, Browser, Closed, event_of, message, progress, running_hub
from worker.cli.listener import Listener
from worker.errors import StoreLocked
from worker.hub.connection_limits import ConnectionLimits
from worker.hub.engineio.session import Timing
from worker.hub.events import ClientDisconnected, ClientRejected, HubStopped, InboxFailed
from worker.hub.inbox import InboxLimits
from worker.hub.token_keys import further_keys
from worker.hub.transports.transport import SendLimits

OPEN_PATH = f"{PATH}/?EIO=4&transport=websocket"


@pytest.fixture
async def running(tmp_path):
    async with running_hub(tmp_path) as hub:
        yield hub


async def test_notification_reaches_all_clients_of_its_user_with_both_arguments(running):
    ann, ann_too = await running.browser("ann"), await running.browser("ann")
    bob, publisher = await running.browser("bob"), await running.publisher()
    assert await publisher.publish(message(1), "ann") == {"ok": True}
    assert await ann.next() == (EVENT, message(1), {"userId": "ann"})
    assert await ann_too.next() == (EVENT, message(1), {"userId": "ann"})
    assert await bob.received_so_far() == []


async def test_many_notifications_arrive_in_order(running):
    ann, publisher = await running.browser("ann"), await running.publisher()
    await asyncio.gather(*(publisher.publish(message(n)) for n in range(300)))
    numbers = [(await ann.next())[1]["payload"]["notificationId"] for _ in range(300)]
    assert numbers == [f"news-{n}" for n in range(300)]


async def test_thai_text_arrives_unchanged(running):
    ann, publisher = await running.browser("สมชาย"), await running.publisher()
    await publisher.publish(message(1, error="เครื่องราชอิสริยาภรณ์ 🎖"), "สมชาย")
    assert (await ann.next())[1]["payload"]["error"] == "เครื่องราชอิสริยาภรณ์ 🎖"


async def test_repeated_id_is_acknowledged_and_dropped(running):
    ann, publisher = await running.browser("ann"), await running.publisher()
    assert [await publisher.publish(message(1)) for _ in range(3)] == [{"ok": True}] * 3
    assert len(await ann.received_so_far()) == 1
    assert running.hub.stats().repetitions == 2


async def test_new_redelivery_is_delivered(running):
    ann, publisher = await running.browser("ann"), await running.publisher()
    for body in (message(1), message(1, redelivery=1), message(1, redelivery=1)):
        await publisher.publish(body)
    assert [event[1]["payload"].get("redelivery") for event in await ann.received_so_far()] == [None, 1]


async def test_notification_for_an_absent_user_is_delivered_once_on_connecting(running):
    publisher = await running.publisher()
    for number in (1, 2, 3):
        await publisher.publish(message(number))
    ann = await running.browser("ann")
    assert [event[1]["payload"]["notificationId"] for event in await ann.received_so_far()] == [
        "news-1",
        "news-2",
        "news-3",
    ]
    reloaded = await running.browser("ann")
    assert await reloaded.received_so_far() == []


async def test_client_without_a_position_gets_no_welcome(running):
    ann = await running.browser("ann")
    assert await ann.received_so_far() == []


async def test_client_with_a_position_gets_what_it_missed(running):
    ann, publisher = await running.browser("ann", lastSeq=None), await running.publisher()
    name, welcome = await ann.next()
    assert name == "org-socket:welcome"
    assert (welcome["seq"], welcome["recovered"]) == (0, False)
    await publisher.publish(message(1))
    _, _, user = await ann.next()
    assert user == {"userId": "ann", "epoch": welcome["epoch"], "seq": 1}
    await ann.call("org-socket:read", {"seq": 1})
    await ann.client.disconnect()
    # Another client of the user gets the next two; this one has still missed them.
    other = await running.browser("ann")
    await publisher.publish(message(2))
    await publisher.publish(message(3))
    assert len(await other.received_so_far()) == 2
    back = await running.browser("ann", epoch=welcome["epoch"], lastSeq=1)
    assert await back.next() == (
        "org-socket:welcome",
        {"epoch": welcome["epoch"], "seq": 3, "after": 1, "recovered": True},
    )
    assert [event[2]["seq"] for event in await back.received_so_far()] == [2, 3]


@pytest.mark.parametrize("claim", [{"epoch": "no", "lastSeq": 1}, {"epoch": 3, "lastSeq": "x"}, {"lastSeq": True}])
async def test_client_with_an_invalid_position_receives_that_it_was_not_recovered(running, claim):
    publisher = await running.publisher()
    await publisher.publish(message(1))
    ann = await running.browser("ann", **claim)
    assert (await ann.next())[1]["recovered"] is False
    assert [event[2]["seq"] for event in await ann.received_so_far()] == [1]


async def test_long_replay_is_complete_and_comes_before_new_notifications(running):
    publisher = await running.publisher()
    await asyncio.gather(*(publisher.publish(message(n)) for n in range(350)))
    ann = await running.browser("ann")
    await asyncio.gather(*(publisher.publish(message(n)) for n in range(350, 400)))
    numbers = [(await ann.next())[1]["payload"]["notificationId"] for _ in range(400)]
    assert numbers == [f"news-{n}" for n in range(400)]
    assert await ann.received_so_far() == []


async def test_inbox_survives_a_restart(tmp_path):
    async with running_hub(tmp_path) as first:
        publisher = await first.publisher()
        await publisher.publish(message(1))
    async with running_hub(tmp_path) as second:
        ann, publisher = await second.browser("ann"), await second.publisher()
        assert len(await ann.received_so_far()) == 1
        await publisher.publish(message(1))
        assert await ann.received_so_far() == []


async def test_second_hub_on_the_same_inbox_does_not_start(running, tmp_path):
    with pytest.raises(StoreLocked):
        async with running_hub(tmp_path):
            pass


async def test_stack_trace_is_sent_to_administrators_alone(running):
    ann, publisher = await running.browser("ann"), await running.publisher()
    admin = await running.browser(token=running.token("ann", admin=True))
    await publisher.publish(message(1, stackTrace="Traceback", error="x"))
    assert (await ann.next())[1]["payload"] == message(1, error="x")["payload"]
    assert (await admin.next())[1]["payload"]["stackTrace"] == "Traceback"


async def test_stack_trace_is_hidden_in_a_replay(running):
    publisher = await running.publisher()
    await publisher.publish(message(1, stackTrace="Traceback"))
    ann = await running.browser("ann")
    assert "stackTrace" not in (await ann.next())[1]["payload"]


async def test_stack_trace_is_sent_to_all_when_settings_allow_it(tmp_path):
    async with running_hub(tmp_path, settings=HubSettings(stack_trace_to_users=True)) as running:
        ann, publisher = await running.browser("ann"), await running.publisher()
        await publisher.publish(message(1, stackTrace="Traceback"))
        assert (await ann.next())[1]["payload"]["stackTrace"] == "Traceback"


async def test_progress_is_sent_and_not_stored(running):
    ann, publisher = await running.browser("ann"), await running.publisher()
    assert await publisher.publish(progress("job-1", 50.0)) == {"ok": True}
    assert (await ann.next())[1] == progress("job-1", 50.0)
    await ann.client.disconnect()
    await publisher.publish(progress("job-1", 60.0))
    again = await running.browser("ann")
    assert await again.received_so_far() == []


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
async def test_malformed_notification_gets_a_final_rejection(running, arguments, says):
    publisher = await running.publisher()
    answer = await publisher.call(EVENT, *arguments)
    assert answer["ok"] is False
    assert says in answer["error"]
    assert await publisher.publish(message(1)) == {"ok": True}


PLACE = {"_placeholder": True, "num": 0}


@pytest.mark.parametrize(
    ("event", "says"),
    [
        (["echo", PLACE], "binary attachments"),
        (["cancel", {"jobId": PLACE}], "binary attachments"),
        (["publish", {"a": [PLACE]}], "binary attachments"),
        (["org-socket:read", {"seq": PLACE}], "binary attachments"),
        (["org-socket:refresh", {"token": PLACE}], "binary attachments"),
        ([EVENT, message(1), {"userId": PLACE}], "binary attachments"),
        (["no-such-command", PLACE], "unknown event"),
    ],
)
async def test_answer_to_an_event_with_a_binary_attachment_says_what_is_wrong_with_it(running, event, says):
    client = await running.raw()
    await client.connect_with({"token": running.hub.worker_token()})
    await client.send("451-7" + orjson.dumps(event).decode())
    await client.socket.send_bytes(b"\0\xff")
    answer = await client.next()
    assert answer.startswith("437")
    [said] = orjson.loads(answer[3:])
    assert said["ok"] is False
    assert says in said["error"]
    await client.send('428["echo",1]')
    assert orjson.loads((await client.next())[3:]) == [{"ok": True, "type": "echo", "data": 1}]


@pytest.mark.parametrize("text", ["\\ud83d", "x\\ude00", "\\udead\\ud83d"])
async def test_text_with_half_a_character_is_rejected_and_the_publisher_stays(running, text):
    publisher = await running.raw()
    await publisher.connect_with({"token": running.hub.worker_token()})
    notification = orjson.dumps([EVENT, message(1), {"userId": "ann"}]).decode()
    await publisher.send("427" + notification.replace("news-1", text))
    answer = await publisher.next()
    assert answer.startswith("437")
    assert orjson.loads(answer[3:]) == [
        {"ok": False, "error": "malformed: a text has a lone surrogate, half of a character"}
    ]
    await publisher.send("428" + notification)
    assert await publisher.next() == '438[{"ok":true}]'
    # Other faults still end the connection, also where a surrogate hides them.
    await publisher.send("42" + notification.replace("news-1", text).replace("true", "NaN"))
    assert await publisher.wait_for_close_code() == 1002


async def test_notification_with_binary_data_is_rejected(running):
    publisher = await running.publisher()
    assert (await publisher.call(EVENT, message(1, blob=b"x"), {"userId": "ann"}))["ok"] is False


async def test_publish_without_an_ack_is_delivered(running):
    ann, publisher = await running.browser("ann"), await running.publisher()
    await publisher.client.emit(EVENT, (message(1), {"userId": "ann"}))
    assert (await ann.next())[1] == message(1)


async def test_publish_to_an_unwritable_inbox_closes_the_publishers_connection(running):
    raw = await running.raw()
    await raw.connect_with({"token": running.hub.worker_token()})
    running.hub._inbox._put(_Sabotage())
    await raw.send('421["socket-notification",{"payload":{"notificationId":"a"}},{"userId":"ann"}]')
    assert await raw.wait_for_close_code() == 1011
    assert "disk" in str((await running.wait_for_event(InboxFailed)).error)


class _Sabotage:
    """An operation in the inbox's queue that makes the next commit fail, as a full disk would."""

    done = None

    def apply(self, tables):
        def fails(*_):
            raise OSError("disk full")

        tables._add_ids = fails


@pytest.mark.parametrize(
    "auth",
    [None, {}, {"token": None}, {"token": "x.y.z"}, {"token": 7}, {"token": {"a": 1}}],
)
async def test_wrong_token_is_rejected_with_a_message(running, auth):
    browser = Browser()
    running.clients.append(browser)
    with pytest.raises(socketio.exceptions.ConnectionError):
        await browser.connect(running.url, auth)
    assert browser.errors == [{"message": "unauthorized", "data": {"code": 4401}}]
    assert running.hub.stats().connections_active == 0
    await running.wait_for_event(ClientRejected)


async def test_unknown_namespace_is_rejected_with_a_message(running):
    raw = await running.raw()
    await raw.next()
    await raw.send("40/other,")
    assert await raw.next() == '44/other,{"message":"Invalid namespace"}'


async def test_open_packet_holds_the_session_parameters(tmp_path):
    async with running_hub(tmp_path, timing=Timing()) as running:
        opened = orjson.loads((await (await running.raw()).next())[1:])
    assert opened | {"sid": ""} == {
        "sid": "",
        "upgrades": [],
        "pingInterval": 25000,
        "pingTimeout": 5000,
        "maxPayload": 1_000_000,
    }


async def test_event_before_connect_closes_the_connection(running):
    publisher = await running.publisher()
    await publisher.publish(message(1))
    raw = await running.raw()
    assert (await raw.connect_with({"token": running.token("ann"), "lastSeq": 0})).startswith("40{")
    assert event_of(await raw.next())[0] == "org-socket:welcome"
    assert event_of(await raw.next())[0] == EVENT


async def test_permessage_deflate_is_not_negotiated(running):
    raw = await running.raw(compress=15)
    assert not raw.socket.compress


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("EIO=3&transport=websocket", 400, 5),
        ("transport=websocket", 400, 5),
        ("EIO=4&transport=polling&sid=x", 400, 1),
        ("EIO=3&transport=polling", 400, 5),
        ("EIO=4", 400, 0),
        ("EIO=4&transport=websocket&sid=x", 400, 1),
        ("EIO=4&transport=websocket", 400, 3),
    ],
)
async def test_invalid_request_gets_an_engine_io_error(running, query, status, code):
    async with ClientSession() as session, session.get(f"{running.url}{PATH}/?{query}") as answer:
        assert answer.status == status
        assert (await answer.json())["code"] == code


async def test_path_without_trailing_slash_is_served(running):
    raw = await running.raw(f"{PATH}?EIO=4&transport=websocket")
    assert (await raw.connect_with({"token": running.token()})).startswith("40")


@pytest.mark.parametrize(
    "frame", ["x", "", "2", "2probe", "5", "6", "0", "9", "4", "47", "42", '42["a"]', "4/x,2", "4[]", "4" + "[" * 5000]
)
async def test_frame_that_is_not_a_packet_closes_the_connection(running, frame):
    raw = await running.raw()
    await raw.next()
    await raw.send(frame)
    assert await raw.wait_for_close_code() == 1002


async def test_engine_io_close_packet_closes_the_connection(running):
    raw = await running.raw()
    await raw.connect_with({"token": running.token()})
    await raw.send("1")
    assert await raw.wait_for_close_code() == 1000


async def test_namespace_disconnect_leaves_the_room(running):
    raw = await running.raw()
    await raw.connect_with({"token": running.token("ann")})
    await raw.send("41")
    gone = await running.wait_for_event(ClientDisconnected)
    assert (gone.user_id, gone.code) == ("ann", 1000)
    assert running.hub.stats().rooms == 0
    await raw.send('42["x"]')
    assert await raw.wait_for_close_code() == 1002


async def test_user_message_above_64_kilobytes_closes_with_1009(running):
    ann, publisher = await running.raw(), await running.raw()
    await ann.connect_with({"token": running.token("ann")})
    await ann.send('42["x","' + "y" * 65536 + '"]')
    assert await ann.wait_for_close_code() == 1009
    await publisher.connect_with({"token": running.hub.worker_token()})
    big = orjson.dumps([EVENT, message(1, error="x" * 200_000), {"userId": "ann"}]).decode()
    await publisher.send("421" + big)
    assert await publisher.next() == '431[{"ok":true}]'


async def test_publisher_message_above_max_payload_closes_with_1009(tmp_path):
    async with running_hub(tmp_path, web_socket=WebSocketSettings(max_payload=100_000)) as running:
        raw = await running.raw()
        await raw.connect_with({"token": running.hub.worker_token()})
        await raw.send("4" * 100_001)
        assert await raw.wait_for_close_code() == 1009


async def test_connection_without_connect_is_closed_in_time(tmp_path):
    async with running_hub(tmp_path, timing=Timing(authentication=0.2)) as running:
        raw = await running.raw()
        assert await raw.wait_for_close_code() == 4401


async def test_client_that_does_not_answer_pings_is_removed(running):
    raw = await running.raw()
    await raw.connect_with({"token": running.token("ann")})
    # It reads nothing from now on, so it does not answer pings.
    await running.ping("ann", answers=0)
    running.close_clients_without_pong()
    gone = await running.wait_for_event(ClientDisconnected)
    assert (gone.code, gone.reason) == (1006, "ping timeout")


async def test_client_that_answers_pings_stays_connected(running):
    ann = await running.browser("ann")
    for _ in range(3):
        await running.ping("ann", answers=1)
        running.close_clients_without_pong()
    await ann.received_so_far()
    assert not ann.gone.is_set()


async def test_connection_is_closed_when_its_token_expires(running):
    raw = await running.raw()
    await raw.connect_with({"token": running.token("ann", days=1)})
    running.let_tokens_expire()
    assert event_of(await raw.next()) == ["org-socket:closing", {"code": 4401, "reason": "the token has expired"}]
    assert await raw.wait_for_close_code() == 4401


async def test_newer_token_keeps_the_connection_open(running):
    ann = await running.browser(token=running.token("ann", days=1))
    assert await ann.call("org-socket:refresh", {"token": running.token("ann", days=5)}) == {"ok": True}
    running.let_tokens_expire()
    assert (await ann.call("echo", 1))["ok"] is True


@pytest.mark.parametrize("token", ["bob", None])
async def test_refresh_with_another_users_token_is_rejected(running, token):
    ann = await running.browser("ann")
    answer = await ann.call("org-socket:refresh", {"token": token and running.token(token)})
    assert answer["ok"] is False


async def test_client_that_never_reads_is_closed_with_4408(tmp_path):
    bounds = SendLimits(volatile=16_384, total=65_536, close_timeout=0.1)
    async with running_hub(tmp_path, send_limits=bounds) as running:
        raw = await running.raw(max_msg_size=0)
        await raw.connect_with({"token": running.token("ann")})
        raw.stop_reading()
        publisher = await running.publisher()
        number = 0
        while not any(isinstance(event, ClientDisconnected) for event in running.events):
            number += 1
            await publisher.publish(message(number, error="x" * 50_000))
            assert number < 500
        gone = await running.wait_for_event(ClientDisconnected)
        assert (gone.code, gone.reason) == (4408, "too slow")


async def test_notifications_a_slow_client_did_not_take_go_to_the_next(tmp_path):
    bounds = SendLimits(volatile=16_384, total=65_536, close_timeout=0.1)
    async with running_hub(tmp_path, send_limits=bounds) as running:
        raw = await running.raw(max_msg_size=0)
        await raw.connect_with({"token": running.token("ann")})
        raw.stop_reading()
        publisher = await running.publisher()
        sent = 0
        while not any(isinstance(event, ClientDisconnected) for event in running.events):
            sent += 1
            await publisher.publish(message(sent, error="x" * 50_000))
        ann = await running.browser("ann")
        numbers = [(await ann.next())[1]["payload"]["notificationId"] for _ in range(sent)]
        assert numbers == [f"news-{n}" for n in range(1, sent + 1)]


async def test_notifications_a_dead_client_may_not_have_read_go_to_the_next(running):
    raw, publisher = await running.raw(), await running.publisher()
    await raw.connect_with({"token": running.token("ann")})
    await publisher.publish(message(1))
    assert event_of(await raw.next())[1] == message(1)
    answering = asyncio.create_task(raw.next())
    await running.ping("ann", answers=1)
    await publisher.publish(message(2))
    assert event_of(await answering)[1] == message(2)
    await running.ping("ann", answers=0)
    running.close_clients_without_pong()
    gone = await running.wait_for_event(ClientDisconnected, lambda event: event.user_id == "ann")
    assert gone.reason == "ping timeout"
    ann = await running.browser("ann")
    assert [event[1] for event in await ann.received_so_far()] == [message(2)]


async def test_notifications_another_client_has_read_are_not_sent_again(running):
    dead, publisher = await running.raw(), await running.publisher()
    await dead.connect_with({"token": running.token("ann")})
    alive = await running.browser("ann")
    await publisher.publish(message(1))
    await alive.next()
    await running.ping("ann", answers=1)
    running.close_clients_without_pong()
    gone = await running.wait_for_event(ClientDisconnected, lambda event: event.user_id == "ann")
    assert gone.reason == "ping timeout"
    again = await running.browser("ann")
    assert await again.received_so_far() == []


async def test_notifications_in_flight_when_a_page_closes_go_to_the_next(running):
    raw, publisher = await running.raw(), await running.publisher()
    await raw.connect_with({"token": running.token("ann")})
    await publisher.publish(message(1))
    # It closes without having read it, like a page that is reloaded at that moment.
    await raw.socket.close(code=1001)
    await running.wait_for_event(ClientDisconnected)
    again = await running.browser("ann")
    assert [event[1] for event in await again.received_so_far()] == [message(1)]


async def test_pong_marks_notifications_as_read_at_once(running):
    raw, publisher = await running.raw(), await running.publisher()
    await raw.connect_with({"token": running.token("ann")})
    for number in (1, 2):
        await publisher.publish(message(number))
        assert event_of(await raw.socket.receive_str())[1] == message(number)
        assert await raw.socket.receive_str() == "2"
        await raw.send("3")
    again = await running.browser("ann")
    assert await again.received_so_far() == []


async def test_pong_marks_only_what_was_sent_before_its_ping(running):
    raw, publisher = await running.raw(), await running.publisher()
    await raw.connect_with({"token": running.token("ann")})
    await publisher.publish(message(1))
    await publisher.publish(message(2))
    # One ping is pending at a time: the first was sent after the first message.
    await raw.send("3")
    await raw.send('427["anything"]')
    while not (await raw.socket.receive_str()).startswith("437"):
        pass
    again = await running.browser("ann")
    assert [event[1] for event in await again.received_so_far()] == [message(2)]


async def test_pong_without_a_ping_marks_nothing_as_read(running):
    raw, publisher = await running.raw(), await running.publisher()
    await raw.connect_with({"token": running.token("ann")})
    for _ in range(10):
        await raw.send("3")
    await raw.send('427["anything"]')
    while not (await raw.socket.receive_str()).startswith("437"):
        pass
    await publisher.publish(message(1))
    again = await running.browser("ann")
    assert len(await again.received_so_far()) == 1


async def test_client_with_a_position_is_not_pinged_for_reading(running):
    raw, publisher = await running.raw(), await running.publisher()
    await raw.connect_with({"token": running.token("ann"), "lastSeq": None})
    await publisher.publish(message(1))
    await raw.send("3")
    await raw.send('427["anything"]')
    frames: list[str] = []
    while not frames or not frames[-1].startswith("437"):
        frames.append(await raw.socket.receive_str())
    assert "2" not in frames
    again = await running.browser("ann")
    assert [event[1] for event in await again.received_so_far()] == [message(1)]


async def test_client_with_a_position_reports_what_it_has_read(running):
    ann, publisher = await running.browser("ann", lastSeq=None), await running.publisher()
    await ann.next()
    for number in (1, 2, 3):
        await publisher.publish(message(number))
    assert await ann.call("org-socket:read", {"seq": 2}) == {"ok": True}
    again = await running.browser("ann")
    assert [event[1] for event in await again.received_so_far()] == [message(3)]


async def test_read_of_a_number_that_was_not_sent_is_rejected(running):
    ann, publisher = await running.browser("ann", lastSeq=None), await running.publisher()
    await ann.next()
    await publisher.publish(message(1))
    for claim in ({"seq": 2}, {"seq": -1}, {"seq": True}, {"seq": "1"}, {"seq": 1.0}, {}, None, 1):
        assert (await ann.call("org-socket:read", claim))["ok"] is False
    again = await running.browser("ann")
    assert [event[1] for event in await again.received_so_far()] == [message(1)]


@pytest.mark.parametrize("auth", [{}, {"lastSeq": None}])
async def test_websocket_pong_of_a_native_client_marks_nothing_as_read(running, auth):
    """A browser answers WebSocket pings by itself, also for a page that hangs."""
    ann, publisher = await running.native("ann", **auth), await running.publisher()
    await publisher.publish(message(1))
    await ann.next_native("notification")
    for payload in (b"", b"1", b"999", b"-1", b"9" * 30):
        await ann.socket.pong(payload)
    await ann.received_so_far()
    again = await running.browser("ann")
    assert [event[1] for event in await again.received_so_far()] == [message(1)]


@pytest.mark.parametrize("auth", [{}, {"lastSeq": None}])
async def test_native_client_reports_what_it_has_read(running, auth):
    ann, publisher = await running.native("ann", **auth), await running.publisher()
    for number in (1, 2, 3):
        await publisher.publish(message(number))
        await ann.next_native("notification")
    await ann.send_native("read", {"seq": 2})
    assert await ann.received_so_far() == []
    again = await running.browser("ann")
    assert [event[1] for event in await again.received_so_far()] == [message(3)]


async def test_native_read_of_a_number_that_was_not_sent_is_rejected(running):
    ann, publisher = await running.native("ann"), await running.publisher()
    watcher = await running.native("ann", "/ws/tasks/job-1")
    await publisher.publish(message(1))
    await ann.next_native("notification")
    await watcher.next_native("notification")
    # A connection for one job has no position in the inbox.
    for client, claim in ((ann, 2), (ann, None), (ann, True), (watcher, 1)):
        await client.send_native("read", {"seq": claim})
        assert (await client.next_native("error"))["data"]["code"] == "malformed"
    again = await running.browser("ann")
    assert [event[1] for event in await again.received_so_far()] == [message(1)]


async def test_connected_client_of_a_forgotten_inbox_is_closed_to_reconnect(tmp_path):
    async with running_hub(tmp_path, inbox_limits=InboxLimits(user_seconds=0)) as running:
        ann, publisher = await running.browser("ann"), await running.publisher()
        for number in (1, 2):
            await publisher.publish(message(number))
        assert len(await ann.received_so_far()) == 2
        await running.hub._inbox.prune()
        await publisher.publish(message(3))
        # Its number is 1 again, which this client was sent before.
        assert (await running.wait_for_event(ClientDisconnected)).code == 1011
        again = await running.browser("ann")
        assert [event[1] for event in await again.received_so_far()] == [message(3)]


async def test_python_client_that_reconnects_gets_nothing_twice(running):
    publisher = await running.publisher()
    for numbers in ((1, 2), (3,)):
        for number in numbers:
            await publisher.publish(message(number))
        listener = Listener(running.url, PATH, EVENT, lambda: running.token("ann"))
        received = []
        async with contextlib.aclosing(listener.messages()) as messages:
            async for got in messages:
                received.append(got.message)
                if len(received) == len(numbers):
                    break
        assert received == [message(number) for number in numbers]


async def test_read_reports_do_not_count_as_user_messages(tmp_path):
    caps = ConnectionLimits(
        user_messages_per_second=0.001, user_message_burst=3, messages_per_second=1000, message_burst=1000
    )
    async with running_hub(tmp_path, connection_limits=caps) as running:
        ann, page = await running.native("ann"), await running.browser("ann", lastSeq=None)
        for _ in range(20):
            await ann.send_native("read", {"seq": 0})
            assert await page.call("org-socket:read", {"seq": 0}) == {"ok": True}
        assert await ann.received_so_far() == []


async def test_client_that_never_reads_uses_bounded_buffers(running):
    """Its buffers stay well under a megabyte, however much is sent."""
    raw = await running.raw(max_msg_size=0)
    await raw.connect_with({"token": running.token("ann")})
    raw.stop_reading()
    (connection,) = [client.connection for client in running.hub.hub.clients.values()]
    publisher = await running.publisher()
    number, most = 0, 0
    while not connection.closing:
        number += 1
        await publisher.publish(message(number, error="x" * 20_000))
        most = max(most, connection.transport.waiting_bytes)
        assert number < 2000
    assert most < 600_000


async def test_progress_for_a_client_that_is_behind_is_dropped(tmp_path):
    bounds = SendLimits(volatile=16_384, total=10_000_000)
    async with running_hub(tmp_path, send_limits=bounds) as running:
        raw = await running.raw(max_msg_size=0)
        await raw.connect_with({"token": running.token("ann")})
        raw.stop_reading()
        publisher = await running.publisher()
        dropped = 0
        for number in range(2000):
            await publisher.publish(progress("job", float(number)) | {"filler": "x" * 50_000})
            dropped = running.hub.stats().clients[0].dropped
            if dropped:
                break
        assert dropped
        assert not any(isinstance(event, ClientDisconnected) for event in running.events)


async def test_shutdown_sends_a_reason_closes_with_1001_and_is_quick(tmp_path):
    async with running_hub(tmp_path) as running:
        raws = [await running.raw() for _ in range(5)]
        for raw in raws:
            await raw.connect_with({"token": running.token("ann")})
        deaf = await running.raw()
        await deaf.connect_with({"token": running.token("bob")})
        farewells = [asyncio.create_task(_farewell(raw)) for raw in raws]
        await running.hub.close()
        # The one that does not read is not waited for: each wait for clients ends after half a second.
        assert (await running.wait_for_event(HubStopped)).seconds < 30
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


async def test_closed_hub_rejects_connections(running):
    await running.hub.close()
    async with ClientSession() as session, session.get(f"{running.url}{OPEN_PATH}") as answer:
        assert answer.status == 503


async def test_close_twice_or_before_start_does_nothing(running):
    await running.hub.close()
    await running.hub.close()


async def test_stats_list_the_connected_clients(running):
    ann, publisher = await running.browser("ann"), await running.publisher()
    await publisher.publish(message(1))
    await ann.next()
    figures = running.hub.stats()
    assert (figures.connections_total, figures.connections_active, figures.users) == (2, 2, 1)
    assert (figures.messages_in, figures.notifications) == (1, 1)
    client = next(client for client in figures.clients if client.user_id == "ann")
    assert (client.sent, client.address, client.endpoint) == (1, "127.0.0.1", "socket.io")


async def test_hub_in_memory_leaves_no_inbox_file(tmp_path):
    async with running_hub(tmp_path, settings=HubSettings(inbox_path=":memory:")) as running:
        ann, publisher = await running.browser("ann"), await running.publisher()
        await publisher.publish(message(1))
        assert (await ann.next())[1] == message(1)
        assert [path.name for path in tmp_path.iterdir()] == ["hub.key"]


async def test_token_of_another_issuer_is_admitted(tmp_path):
    private = ed25519.Ed25519PrivateKey.generate()
    pem = private.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    settings = JwtKeySettings(kid="idp", algorithm="EdDSA", key=SecretStr(pem.decode()))
    claims = {"sub": "ann", "aud": "org-socket", "iss": "insignia-worker", "exp": time.time() + 3600}
    async with running_hub(tmp_path, keys=further_keys([settings], tmp_path)) as hub:
        browser = await hub.browser(token=jwt.encode(claims, private, "EdDSA", headers={"kid": "idp"}))
        assert await (await hub.publisher()).publish(message(1)) == {"ok": True}
        assert (await browser.next())[0] == EVENT
        raw = await hub.raw()
        assert "unauthorized" in await raw.connect_with(
            {"token": jwt.encode(claims, private, "EdDSA", headers={"kid": "x"})}
        )
