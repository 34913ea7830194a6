"""The hub with the real socket.io-client 4 in Node: nothing it needs is missing, nothing surprises it."""

import asyncio
import contextlib
import json
from pathlib import Path

import pytest

from tests.support.hub import EVENT, PATIENCE, message, running_hub

HERE = Path(__file__).parent


class JsClient:
    def __init__(self, process):
        self._process = process

    async def next(self):
        async with asyncio.timeout(PATIENCE):
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


@pytest.fixture
async def running(tmp_path):
    async with running_hub(tmp_path) as hub:
        yield hub


async def test_it_receives_publishes_and_is_answered(running):
    async with js_client(running.url, token=running.token("ann", publish=True)) as ann:
        assert (await ann.next())[0] == "connect"
        assert await ann.emit(EVENT, message(1, error="ชื่อ 🎖"), {"userId": "ann"}) == {"ok": True}
        assert await ann.emit("anything") == {"ok": False, "error": "unknown event"}
    assert running.hub.figures().notifications == 1


async def test_it_receives_the_two_arguments(running):
    publisher = await running.publisher()
    async with js_client(running.url, token=running.token("ann")) as ann:
        await ann.until("connect")
        await publisher.publish(message(1, error="ชื่อ 🎖"))
        assert await ann.next() == ["event", EVENT, message(1, error="ชื่อ 🎖"), {"userId": "ann"}]


async def test_a_refusal_says_unauthorized(running):
    async with js_client(running.url, token="no") as eve:
        assert await eve.next() == ["connect_error", "unauthorized", {"code": 4401}, False]


async def test_it_gets_what_it_missed_while_the_hub_was_restarted(tmp_path):
    async with contextlib.AsyncExitStack() as stack:
        async with running_hub(tmp_path) as first:
            port, publisher = first.port, await first.publisher()
            ann = await stack.enter_async_context(js_client(first.url, token=first.token("ann"), resume=True))
            await ann.until("event", "org-socket:welcome")
            await publisher.publish(message(1))
            assert (await ann.next())[2] == message(1)
            await publisher.close()
        assert (await ann.next())[2] == {"code": 1001, "reason": "the hub is stopping"}
        # A lost transport, not a disconnect: the client stays active and comes back by itself.
        assert await ann.next() == ["disconnect", "transport close", True]
        # On another port first, so that the news is there before the client is.
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


async def test_a_client_of_today_gets_what_nobody_was_given(running):
    publisher = await running.publisher()
    for number in (1, 2):
        await publisher.publish(message(number))
    async with js_client(running.url, token=running.token("ann")) as ann:
        await ann.until("connect")
        assert [(await ann.next())[2] for _ in range(2)] == [message(1), message(2)]
        await ann.order(kick=True)
        await ann.until("disconnect")
        await ann.until("connect")
        await publisher.publish(message(3))
        assert (await ann.next())[2] == message(3)


async def test_an_expired_token_ends_the_socket_and_the_client_asks_again(running):
    async with js_client(running.url, token=running.token("ann", days=2 / 86400)) as ann:
        await ann.until("connect")
        assert (await ann.until("event"))[1:] == [
            "org-socket:closing",
            {"code": 4401, "reason": "the token has expired"},
        ]
        assert await ann.next() == ["disconnect", "transport close", True]
        assert (await ann.next())[:2] == ["connect_error", "unauthorized"]
