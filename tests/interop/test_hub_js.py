"""The hub with the real socket.io-client 4 in Node."""

import asyncio
import contextlib
import json
from pathlib import Path

import pytest

from tests.support.eventually import eventually
from tests.support.hub import EVENT, PATIENCE, message, running_hub
from tests.support.ports import free_port
from worker.hub.connection_limits import ConnectionLimits
from worker.hub.events import ClientRejected

HERE = Path(__file__).parent


class JsClient:
    def __init__(self, process):
        self._process = process

    async def next(self, seconds=PATIENCE):
        async with asyncio.timeout(seconds):
            line = await self._process.stdout.readline()
        return json.loads(line)

    async def until(self, *beginning):
        """The first line that begins so; those before it are left out."""
        while True:
            line = await self.next()
            if line[: len(beginning)] == list(beginning):
                return line

    async def order(self, **order):
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        await self._process.stdin.drain()

    async def emit(self, *packet):
        await self.order(emit=packet)
        return (await self.until("ack"))[1]


@contextlib.asynccontextmanager
async def js_client(url, script="hub_client.js", **auth):
    process = await asyncio.create_subprocess_exec(
        "node",
        str(HERE / script),
        url,
        json.dumps(auth),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    client = JsClient(process)
    try:
        yield client
    finally:
        if process.returncode is None:
            await client.order(close=True)
        await process.wait()
        # Closing the pipes is left to the loop otherwise, and it says so as a warning in a later test.
        process._transport.close()  # type: ignore[attr-defined]  # asyncio has no public way


@pytest.fixture
async def running(tmp_path):
    async with running_hub(tmp_path) as hub:
        yield hub


async def test_javascript_client_publishes_receives_and_gets_acknowledgements(running):
    async with js_client(running.url, token=running.token("ann", publish=True)) as ann:
        assert (await ann.next())[0] == "connect"
        assert await ann.emit(EVENT, message(1, error="ชื่อ 🎖"), {"userId": "ann"}) == {"ok": True}
        assert await ann.emit("anything") == {"ok": False, "error": "unknown event"}
    assert running.hub.stats().notifications == 1


async def test_javascript_client_gets_both_arguments(running):
    publisher = await running.publisher()
    async with js_client(running.url, token=running.token("ann")) as ann:
        await ann.until("connect")
        await publisher.publish(message(1, error="ชื่อ 🎖"))
        assert await ann.next() == ["event", EVENT, message(1, error="ชื่อ 🎖"), {"userId": "ann"}]


async def test_javascript_client_with_a_wrong_token_gets_unauthorized(running):
    async with js_client(running.url, token="no") as eve:
        assert await eve.next() == ["connect_error", "unauthorized", {"code": 4401}, False]


@pytest.mark.parametrize("rate", [15, 30, 60])
async def test_javascript_client_stays_connected_at_a_high_rate_of_notifications(tmp_path, rate):
    """Pings, and pongs by which the hub learns what was read, do not count as messages of the client."""
    limits = ConnectionLimits(messages_per_second=1.0, message_burst=5)
    count = rate * 2
    async with running_hub(tmp_path, connection_limits=limits) as running:
        publisher = await running.publisher()
        async with js_client(running.url, token=running.token("ann")) as ann:
            await ann.until("connect")
            start = asyncio.get_running_loop().time()
            for number in range(count):
                await asyncio.sleep(start + number / rate - asyncio.get_running_loop().time())
                await publisher.publish(message(number))
            received = [await ann.next() for _ in range(count)]
    assert received == [["event", EVENT, message(number), {"userId": "ann"}] for number in range(count)]


async def test_javascript_client_above_the_users_cap_connects_when_there_is_room(tmp_path):
    async with running_hub(tmp_path, connection_limits=ConnectionLimits(per_user=1)) as running:
        first = await running.browser("ann")
        async with js_client(running.url, token=running.token("ann")) as ann:
            await running.wait_for_event(ClientRejected)
            await first.close()
            assert (await ann.until("connect"))[0] == "connect"


async def test_javascript_client_gets_what_it_missed_during_a_restart(tmp_path):
    async with contextlib.AsyncExitStack() as stack:
        port = free_port()
        async with running_hub(tmp_path, port=port) as first:
            publisher = await first.publisher()
            ann = await stack.enter_async_context(js_client(first.url, token=first.token("ann"), resume=True))
            await ann.until("event", "org-socket:welcome")
            await publisher.publish(message(1))
            assert (await ann.next())[2] == message(1)
            await publisher.close()
        assert (await ann.next())[2] == {"code": 1001, "reason": "the hub is stopping"}
        # A lost transport, not a DISCONNECT packet: the client stays active and reconnects by itself.
        assert await ann.next() == ["disconnect", "transport close", True]
        # On another port first, so that the notification is stored before the client connects.
        async with running_hub(tmp_path) as elsewhere:
            publisher = await elsewhere.publisher()
            await publisher.publish(message(2))
            await publisher.publish(message(3))
        async with running_hub(tmp_path, port=port) as again:
            welcome = (await ann.until("event", "org-socket:welcome"))[2]
            assert (welcome["seq"], welcome["recovered"]) == (3, True)
            assert [(await ann.next())[2] for _ in range(2)] == [message(2), message(3)]
            publisher = await again.publisher()
            await publisher.publish(message(4))
            assert (await ann.next())[2] == message(4)


async def test_javascript_client_without_a_position_gets_what_no_client_has_read(running):
    publisher = await running.publisher()
    for number in (1, 2):
        await publisher.publish(message(number))
    async with js_client(running.url, token=running.token("ann")) as ann:
        await ann.until("connect")
        assert [(await ann.next())[2] for _ in range(2)] == [message(1), message(2)]
        (client,) = running.hub.hub.clients_of("ann")
        await eventually(lambda: client.last_read_seq == 2)  # its pong tells that it has read them
        await ann.order(kick=True)
        await ann.until("disconnect")
        await ann.until("connect")
        await publisher.publish(message(3))
        assert (await ann.next())[2] == message(3)


async def test_javascript_client_with_an_expired_token_reconnects_with_a_new_one(running):
    async with js_client(running.url, token=running.token("ann", days=1)) as ann:
        await ann.until("connect")
        running.let_tokens_expire()
        assert (await ann.until("event"))[1:] == [
            "org-socket:closing",
            {"code": 4401, "reason": "the token has expired"},
        ]
        assert await ann.next() == ["disconnect", "transport close", True]
        assert (await ann.next())[:2] == ["connect_error", "unauthorized"]
