"""The guard before both doors: caps, buckets, origins, proxies, bodies. And floods of rubbish."""

import asyncio
import io
import random
import tempfile
from pathlib import Path

import pytest
from aiohttp import ClientSession, WSServerHandshakeError
from hypothesis import given, settings
from hypothesis import strategies as st

from config.settings import HubSettings
from tests.support.hub import PATH, Browser, message, running_hub
from worker.hub.events import ClientDisconnected, ClientRefused
from worker.hub.guard import Bucket, Caps

OPEN_PATH = f"{PATH}/?EIO=4&transport=websocket"


async def test_connections_in_all_are_capped(tmp_path):
    async with running_hub(tmp_path, caps=Caps(total=2)) as running:
        first, _ = await running.browser("ann"), await running.raw("/ws")
        with pytest.raises(WSServerHandshakeError, match="503"):
            await running.raw()
        await first.close()
        await running.happened(ClientDisconnected)
        await running.browser("bob")


async def test_connections_of_an_address_are_capped(tmp_path):
    async with running_hub(tmp_path, caps=Caps(per_address=1)) as running:
        await running.raw()
        with pytest.raises(WSServerHandshakeError, match="429"):
            await running.raw()


async def test_attempts_of_an_address_are_capped(tmp_path):
    async with running_hub(tmp_path, caps=Caps(attempts=0.001, attempt_burst=3)) as running:
        for _ in range(3):
            await running.raw()
        async with ClientSession() as session, session.get(running.url + OPEN_PATH) as answer:
            assert answer.status == 429
            assert answer.headers["Retry-After"] == "5"


async def test_a_users_newest_connection_is_refused_beyond_the_cap(tmp_path):
    async with running_hub(tmp_path, caps=Caps(per_user=2)) as running:
        first, second = await running.browser("ann"), await running.native("ann")
        third = Browser()
        running.clients.append(third)
        with pytest.raises(Exception, match="namespaces failed"):
            await third.connect(running.url, {"token": running.token("ann")})
        assert third.errors == [{"message": "too many connections", "data": {"code": 4409}}]
        fourth = await running.raw("/ws")
        await fourth.say("auth", {"token": running.token("ann")})
        assert await fourth.ended() == 4409
        assert await first.rest() == []
        assert await second.rest() == []
        await running.browser("bob")


async def test_a_users_oldest_connection_gives_way_when_it_is_set_so(tmp_path):
    async with running_hub(tmp_path, caps=Caps(per_user=1, evict=True)) as running:
        first = await running.raw()
        await first.enter({"token": running.token("ann")})
        second = await running.browser("ann")
        assert await first.ended() == 4409
        assert await second.rest() == []


async def test_one_who_talks_too_fast_is_ended(tmp_path):
    async with running_hub(tmp_path, caps=Caps(messages=0.001, message_burst=5)) as running:
        ann = await running.native("ann")
        for _ in range(10):
            await ann.say("echo")
        assert await ann.ended() == 4429


async def test_a_user_cannot_talk_faster_over_many_connections(tmp_path):
    async with running_hub(tmp_path, caps=Caps(user_messages=0.001, user_burst=6)) as running:
        first, second = await running.native("ann"), await running.raw()
        await second.enter({"token": running.token("ann")})
        for _ in range(6):
            await first.say("echo")
            assert (await first.hear())["type"] == "echo"
        await second.send('421["x"]')
        assert await second.ended() == 4429
        bob = await running.native("bob")
        assert await bob.rest() == []


async def test_a_publisher_is_slowed_by_the_disk_and_not_by_a_bucket(tmp_path):
    async with running_hub(tmp_path, caps=Caps(messages=0.001, message_burst=5, user_burst=5)) as running:
        publisher = await running.publisher()
        answers = await asyncio.gather(*(publisher.publish(message(n)) for n in range(50)))
        assert answers == [{"ok": True}] * 50


async def test_one_who_goes_on_asking_for_the_forbidden_is_ended(tmp_path):
    async with running_hub(tmp_path, caps=Caps(strikes=3)) as running:
        ann, bob = await running.raw(), await running.native("bob")
        await ann.enter({"token": running.token("ann")})
        for _ in range(3):
            await ann.send('42["nothing"]')
            await bob.say("nothing")
        assert await ann.ended() == 4429
        assert await bob.ended() == 4429


async def test_one_who_goes_on_trying_tokens_is_ended(tmp_path):
    async with running_hub(tmp_path) as running:
        raw = await running.raw()
        await raw.next()
        for _ in range(5):
            await raw.send('40{"token":"x"}')
        assert await raw.ended() == 4429


@pytest.mark.parametrize("path", [OPEN_PATH, "/ws"])
async def test_our_own_origin_and_listed_ones_are_let_in(tmp_path, path):
    async with running_hub(tmp_path, origins=["https://portal.example/"]) as running:
        await running.raw(path, headers={"Origin": running.url})
        await running.raw(path, headers={"Origin": "https://Portal.example"})
        with pytest.raises(WSServerHandshakeError, match="403"):
            await running.raw(path, headers={"Origin": "http://portal.example"})


async def test_a_proxy_is_believed_only_when_it_is_trusted(tmp_path):
    forwarded = {
        "X-Forwarded-For": "6.6.6.6, 203.0.113.9, 127.0.0.2",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "portal.example",
        "Origin": "https://portal.example",
    }
    async with running_hub(tmp_path / "a", trusted_proxies=["127.0.0.0/8"]) as running:
        raw = await running.raw(headers=forwarded)
        await raw.enter({"token": "x"})
        assert (await running.happened(ClientRefused)).address == "203.0.113.9"
    async with running_hub(tmp_path / "b") as running:
        with pytest.raises(WSServerHandshakeError, match="403"):
            await running.raw(headers=forwarded)
        assert (await running.happened(ClientRefused)).address == "127.0.0.1"


async def test_a_large_body_is_answered_at_once(tmp_path):
    async with running_hub(tmp_path) as running, ClientSession() as session:
        url = f"{running.url}{PATH}/?EIO=4&transport=polling"
        async with session.post(url, data=io.BytesIO(b"x" * 1_100_000)) as answer:
            assert answer.status == 413
        async with session.post(url, data=b"x" * 100) as answer:
            assert answer.status == 400


def test_a_bucket_refills():
    bucket = Bucket.full(2.0, 3.0, 0.0)
    assert [bucket.take(0.0) for _ in range(4)] == [True, True, True, False]
    assert bucket.take(0.5)
    assert not bucket.take(0.5)
    assert bucket.is_full(2.0)
    assert [bucket.take(100.0) for _ in range(4)] == [True, True, True, False]


FIRST = ["", "4", "40", "41", "42", "43", "44", "45", "451-", "46", "2", "3", "5", "0", "40/x,", "42/,", "421"]


async def test_ten_thousand_malformed_frames_do_no_harm(tmp_path, caplog):
    """A native connection hears them all; a Socket.IO one ends at the first, so there are many of those."""
    chance = random.Random(42)
    caps = Caps(messages=1e6, message_burst=1e6, user_messages=1e6, user_burst=1e6, strikes=10**6)
    async with running_hub(tmp_path, caps=caps) as running:
        for _ in range(10):
            await _flood(running, chance, 960)
        for _ in range(400):
            await _poke(running, chance)
        bob, publisher = await running.browser("bob"), await running.publisher()
        await publisher.publish(message(1), "bob")
        assert (await bob.next())[1] == message(1)
        assert running.hub.figures().connections_active == 2
        assert running.hub.figures().errors > 9_000
        assert len(running.hub._acceptor.lines) == 2
    assert not caplog.records


async def _flood(running, chance, count):
    eve = await running.native("eve")
    running.clients.remove(eve)
    for _ in range(count):
        if chance.random() < 0.1:
            await eve.socket.send_bytes(chance.randbytes(chance.randrange(50)))
        else:
            await eve.send(_text(chance, native=True))
    await eve.rest()
    await eve.close()


async def _poke(running, chance):
    eve = await running.raw(OPEN_PATH)
    running.clients.remove(eve)
    if chance.random() < 0.7:
        await eve.enter({"token": running.token("eve")})
    if chance.random() < 0.1:
        await eve.socket.send_bytes(chance.randbytes(chance.randrange(50)))
    else:
        await eve.send(_text(chance, native=False))
    await eve.send("9")
    assert await eve.ended() in (1000, 1002)
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
def test_every_order_with_any_data_is_answered_or_refused(orders):
    async def give():
        with tempfile.TemporaryDirectory() as folder:
            async with running_hub(Path(folder), settings=HubSettings(inbox_path=":memory:")) as running:
                speaker = await running.native(token=running.token("eve", publish=True))
                for kind, data in orders:
                    await speaker.say(kind, data)
                await speaker.rest()

    asyncio.run(give())
