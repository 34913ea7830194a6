"""The limits of both endpoints: caps, rates, origins, proxies, bodies. And floods of malformed messages."""

import asyncio
import io
import random
import tempfile
from pathlib import Path

import orjson
import pytest
from aiohttp import ClientSession, WSServerHandshakeError
from hypothesis import given, settings
from hypothesis import strategies as st

from config.hub_settings import HubSettings
from tests.support.eventually import eventually
from tests.support.hub import PATH, Closed, event_of, message, running_hub
from worker.hub.connection_limits import ConnectionLimits
from worker.hub.engineio.polling import PollingTransport
from worker.hub.events import ClientDisconnected, ClientRejected
from worker.hub.transports.connections import Connection
from worker.hub.transports.transport import SendLimits
from worker.net.rate_limit import TokenBucket

OPEN_PATH = f"{PATH}/?EIO=4&transport=websocket"


async def test_connection_above_the_total_cap_is_rejected(tmp_path):
    async with running_hub(tmp_path, connection_limits=ConnectionLimits(total=2)) as running:
        first, _ = await running.browser("ann"), await running.native("ann")
        with pytest.raises(WSServerHandshakeError, match="503"):
            await running.raw()
        await first.close()
        await running.wait_for_event(ClientDisconnected)
        await running.browser("bob")


async def test_connection_above_the_cap_of_its_address_is_rejected(tmp_path):
    async with running_hub(tmp_path, connection_limits=ConnectionLimits(per_address=1)) as running:
        await running.raw()
        with pytest.raises(WSServerHandshakeError, match="429"):
            await running.raw()


async def test_connection_attempts_of_an_address_are_limited(tmp_path):
    async with running_hub(
        tmp_path, connection_limits=ConnectionLimits(attempts_per_second=0.001, attempt_burst=3)
    ) as running:
        for _ in range(3):
            await running.raw()
        async with ClientSession() as session, session.get(running.url + OPEN_PATH) as answer:
            assert answer.status == 429
            assert answer.headers["Retry-After"] == "5"


async def test_connection_above_the_users_cap_is_rejected(tmp_path):
    async with running_hub(tmp_path, connection_limits=ConnectionLimits(per_user=2)) as running:
        first, second = await running.browser("ann"), await running.native("ann")
        third = await running.raw()
        await third.next()
        await third.send("40" + orjson.dumps({"token": running.token("ann")}).decode())
        # No CONNECT_ERROR: after one, socket.io-client does not reconnect.
        with pytest.raises(Closed, match="4409"):
            await third.next()
        fourth = await running.raw("/ws")
        await fourth.send_native("auth", {"token": running.token("ann")})
        assert await fourth.wait_for_close_code() == 4409
        assert await first.received_so_far() == []
        assert await second.received_so_far() == []
        await running.browser("bob")


async def test_connection_above_the_users_cap_with_eviction_closes_the_oldest(tmp_path):
    async with running_hub(tmp_path, connection_limits=ConnectionLimits(per_user=1, evict_oldest=True)) as running:
        first = await running.raw()
        await first.connect_with({"token": running.token("ann")})
        second = await running.browser("ann")
        assert await first.wait_for_close_code() == 4409
        assert await second.received_so_far() == []


async def test_connection_that_sends_too_fast_is_closed(tmp_path):
    async with running_hub(
        tmp_path, connection_limits=ConnectionLimits(messages_per_second=0.001, message_burst=5)
    ) as running:
        ann = await running.native("ann")
        for _ in range(10):
            await ann.send_native("echo")
        assert await ann.wait_for_close_code() == 4429


async def test_pongs_to_the_hubs_pings_are_not_limited_and_others_are(tmp_path):
    limits = ConnectionLimits(messages_per_second=0.001, message_burst=3)
    async with running_hub(tmp_path, connection_limits=limits) as running:
        publisher, ann = await running.publisher(), await running.raw()
        await ann.connect_with({"token": running.token("ann")})
        for number in range(20):
            await publisher.publish(message(number))
            assert event_of(await ann.next())[1] == message(number)
            assert (await ann.socket.receive()).data == "2"
            await ann.send("3")
        for _ in range(4):
            await ann.send("3")
        assert event_of(await ann.next()) == ["org-socket:closing", {"code": 4429, "reason": "too many messages"}]
        assert await ann.wait_for_close_code() == 4429


async def test_reports_about_received_notifications_are_not_limited_and_invented_ones_are(tmp_path):
    limits = ConnectionLimits(messages_per_second=0.001, message_burst=3)
    async with running_hub(tmp_path, connection_limits=limits) as running:
        publisher, ann = await running.publisher(), await running.native("ann")
        for number in range(20):
            await publisher.publish(message(number))
            seq = (await ann.next_native("notification"))["data"]["seq"]
            await ann.send_native("read", {"seq": seq})
            await ann.send_native("shown", {"notificationId": f"news-{number}"})
        for _ in range(3):
            await ann.send_native("shown", {"notificationId": "news-19"})
        assert (await ann.next_native())["data"] == {"code": 4429, "message": "too many messages"}
        assert await ann.wait_for_close_code() == 4429
    assert running.hub.stats().shown == 20


async def test_user_message_limit_holds_over_all_connections(tmp_path):
    async with running_hub(
        tmp_path, connection_limits=ConnectionLimits(user_messages_per_second=0.001, user_message_burst=6)
    ) as running:
        first, second = await running.native("ann"), await running.raw()
        await second.connect_with({"token": running.token("ann")})
        for _ in range(6):
            await first.send_native("echo")
            assert (await first.next_native())["type"] == "echo"
        await second.send('421["x"]')
        assert await second.wait_for_close_code() == 4429
        bob = await running.native("bob")
        assert await bob.received_so_far() == []


async def test_publisher_is_not_limited_by_message_rates(tmp_path):
    async with running_hub(
        tmp_path, connection_limits=ConnectionLimits(messages_per_second=0.001, message_burst=5, user_message_burst=5)
    ) as running:
        publisher = await running.publisher()
        answers = await asyncio.gather(*(publisher.publish(message(n)) for n in range(50)))
        assert answers == [{"ok": True}] * 50


async def test_connection_with_many_rejected_messages_is_closed(tmp_path):
    async with running_hub(tmp_path, connection_limits=ConnectionLimits(rejected_messages=3)) as running:
        ann, bob = await running.raw(), await running.native("bob")
        await ann.connect_with({"token": running.token("ann")})
        for _ in range(3):
            await ann.send('42["nothing"]')
            await bob.send_native("nothing")
        assert await ann.wait_for_close_code() == 4429
        assert await bob.wait_for_close_code() == 4429


async def test_connection_with_many_rejected_tokens_is_closed(tmp_path):
    async with running_hub(tmp_path) as running:
        raw = await running.raw()
        await raw.next()
        for _ in range(5):
            await raw.send('40{"token":"x"}')
        assert await raw.wait_for_close_code() == 4429


@pytest.mark.parametrize("path", [OPEN_PATH, "/ws"])
async def test_own_and_listed_origins_are_admitted(tmp_path, path):
    async with running_hub(tmp_path, settings=HubSettings(allowed_origins=["https://portal.example/"])) as running:
        await running.raw(path, headers={"Origin": running.url})
        await running.raw(path, headers={"Origin": "https://Portal.example"})
        with pytest.raises(WSServerHandshakeError, match="403"):
            await running.raw(path, headers={"Origin": "http://portal.example"})


async def test_forwarded_headers_count_only_from_a_trusted_proxy(tmp_path):
    forwarded = {
        "X-Forwarded-For": "6.6.6.6, 203.0.113.9, 127.0.0.2",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "portal.example",
        "Origin": "https://portal.example",
    }
    async with running_hub(tmp_path / "a", trusted_proxies=["127.0.0.0/8"]) as running:
        raw = await running.raw(headers=forwarded)
        await raw.connect_with({"token": "x"})
        assert (await running.wait_for_event(ClientRejected)).address == "203.0.113.9"
    async with running_hub(tmp_path / "b") as running:
        with pytest.raises(WSServerHandshakeError, match="403"):
            await running.raw(headers=forwarded)
        assert (await running.wait_for_event(ClientRejected)).address == "127.0.0.1"


async def test_request_with_a_large_body_is_rejected_at_once(tmp_path):
    async with running_hub(tmp_path) as running, ClientSession() as session:
        url = f"{running.url}{PATH}/?EIO=4&transport=polling"
        async with session.post(url, data=io.BytesIO(b"x" * 1_100_000)) as answer:
            assert answer.status == 413
        async with session.post(url, data=b"x" * 100) as answer:
            assert answer.status == 400


def test_token_bucket_refills_at_its_rate():
    bucket = TokenBucket.full(2.0, 3.0, 0.0)
    assert [bucket.take(0.0) for _ in range(4)] == [True, True, True, False]
    assert bucket.take(0.5)
    assert not bucket.take(0.5)
    assert bucket.is_full(2.0)
    assert [bucket.take(100.0) for _ in range(4)] == [True, True, True, False]


WIDE = "[" + ",".join(["[]", "{}"] * 16) + "]"
"""33 arrays and objects, on two levels."""


async def test_wide_message_is_read_only_after_authentication(tmp_path):
    async with running_hub(tmp_path) as running:
        stranger = await running.raw("/ws")
        await stranger.send('{"type": "auth", "data": {"token": ' + WIDE + "}}")
        assert "before authentication" in (await stranger.next_native("error"))["data"]["message"]
        known = await running.native("ann")
        await known.send_native("echo", orjson.loads(WIDE))
        assert (await known.next_native("echo"))["data"] == orjson.loads(WIDE)

        stranger = await running.raw()
        await stranger.next()
        await stranger.send('40{"token": ' + WIDE + "}")
        assert await stranger.wait_for_close_code() == 1002
        known = await running.raw()
        await known.connect_with({"token": running.token("ann")})
        await known.send('421["echo", ' + WIDE + "]")
        assert orjson.dumps(orjson.loads(WIDE)).decode() in str(await known.next())


FIRST = ["", "4", "40", "41", "42", "43", "44", "45", "451-", "46", "2", "3", "5", "0", "40/x,", "42/,", "421"]


async def test_ten_thousand_malformed_messages_leave_the_hub_working(tmp_path, caplog):
    """A native connection survives them all; a Socket.IO connection is closed by the first, so many are opened."""
    chance = random.Random(42)
    caps = ConnectionLimits(
        messages_per_second=1e6,
        message_burst=1e6,
        user_messages_per_second=1e6,
        user_message_burst=1e6,
        rejected_messages=10**6,
    )
    async with running_hub(tmp_path, connection_limits=caps) as running:
        for _ in range(10):
            await _flood(running, chance, 960)
        for _ in range(400):
            await _poke(running, chance)
        bob, publisher = await running.browser("bob"), await running.publisher()
        await publisher.publish(message(1), "bob")
        assert (await bob.next())[1] == message(1)
        await eventually(lambda: running.hub.stats().connections_active == len(running.hub._registry) == 2)
        assert running.hub.stats().errors > 9_000
    assert not caplog.records


async def _flood(running, chance, count):
    eve = await running.native("eve")
    running.clients.remove(eve)
    for _ in range(count):
        if chance.random() < 0.1:
            await eve.socket.send_bytes(chance.randbytes(chance.randrange(50)))
        else:
            await eve.send(_text(chance, native=True))
    await eve.received_so_far()
    await eve.close()


async def _poke(running, chance):
    eve = await running.raw(OPEN_PATH)
    running.clients.remove(eve)
    if chance.random() < 0.7:
        await eve.connect_with({"token": running.token("eve")})
    if chance.random() < 0.1:
        await eve.socket.send_bytes(chance.randbytes(chance.randrange(50)))
    else:
        await eve.send(_text(chance, native=False))
    await eve.send("9")
    assert await eve.wait_for_close_code() in (1000, 1002)
    await eve.close()


def _text(chance, *, native):
    alphabet = '"[]{}:,0123456789abtype /\\u\x00é\u202e'
    tail = "".join(chance.choice(alphabet) for _ in range(chance.randrange(40)))
    if native:
        kinds = ["ping", "echo", "broadcast", "join-room", "leave-room", "subscribe", "unsubscribe", "cancel", "auth"]
        return chance.choice([tail, '{"type":"' + chance.choice(kinds) + '","data":' + tail + "}"])
    return chance.choice(FIRST) + tail


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["room", "type", "jobId", "token", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)


ORDERS = ["ping", "broadcast", "join-room", "leave-room", "subscribe", "unsubscribe", "cancel", "auth", "nothing"]


@settings(max_examples=15, deadline=None)
@given(orders=st.lists(st.tuples(st.sampled_from(ORDERS), json_values), min_size=10, max_size=40))
def test_native_command_with_any_data_is_answered_or_rejected(orders):
    async def give():
        with tempfile.TemporaryDirectory() as folder:
            async with running_hub(Path(folder), settings=HubSettings(inbox_path=":memory:")) as running:
                speaker = await running.native(token=running.token("eve", publish=True))
                for kind, data in orders:
                    await speaker.send_native(kind, data)
                await speaker.received_so_far()

    asyncio.run(give())


async def test_rejected_messages_are_forgotten_in_time():
    transport = PollingTransport(SendLimits(), lambda _code, _reason: None, lambda: None)
    connection = Connection("address", transport, 0, 0.0, None, TokenBucket.full(1.0, 1.0, 0.0))
    for half_minute in range(100):
        connection.last_received = half_minute * 30.0
        assert not connection.is_rejected_too_often(20)
    assert [connection.is_rejected_too_often(20) for _ in range(19)] == [False] * 18 + [True]
