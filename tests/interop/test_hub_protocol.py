"""The Socket.IO 5 and Engine.IO 4 protocol documents, point by point, as far as a websocket can reach."""

import asyncio
from contextlib import asynccontextmanager

import orjson
import pytest
from aiohttp import ClientSession, WSMsgType, WSServerHandshakeError

from tests.support.echo_hub import ENGINE_PATH, PATH, TIMING, echo_hub

PATIENCE = 5.0
QUERY = "EIO=4&transport=websocket"


class Wire:
    def __init__(self, socket):
        self.socket = socket

    async def send(self, frame):
        await (self.socket.send_bytes(frame) if isinstance(frame, bytes) else self.socket.send_str(frame))

    async def any(self):
        """The next frame's data, pings included; None when the server has closed."""
        async with asyncio.timeout(PATIENCE):
            frame = await self.socket.receive()
        return frame.data if frame.type in (WSMsgType.TEXT, WSMsgType.BINARY) else None

    async def next(self):
        """The next frame's data; pings are left out."""
        while (data := await self.any()) == "2":
            pass
        return data

    async def closed(self):
        while await self.any() is not None:
            pass
        return self.socket.close_code


@pytest.fixture
async def port():
    async with echo_hub() as port:
        yield port


@asynccontextmanager
async def wire(port, query=QUERY, path=PATH):
    async with (
        ClientSession() as session,
        session.ws_connect(f"http://127.0.0.1:{port}{path}?{query}") as socket,
    ):
        yield Wire(socket)


@asynccontextmanager
async def connected(port):
    async with wire(port) as line:
        await line.next()
        await line.send("40")
        assert (await line.next())[:2] == "40"
        assert await line.next() == '42["auth",{}]'
        yield line


async def test_engine_io_opens_a_session(port):
    async with wire(port) as line:
        opened = await line.any()
        assert opened[0] == "0"
        rules = orjson.loads(opened[1:])
        assert set(rules) == {"sid", "upgrades", "pingInterval", "pingTimeout", "maxPayload"}
        assert (rules["upgrades"], rules["pingInterval"], rules["pingTimeout"]) == ([], 300, 200)
        assert rules["maxPayload"] == 1_000_000


@pytest.mark.parametrize(
    "query",
    ["transport=websocket", "EIO=abc&transport=websocket", "EIO=4", "EIO=4&transport=abc", "EIO=3&transport=websocket"],
)
async def test_engine_io_refuses_a_wrong_query(port, query):
    with pytest.raises(WSServerHandshakeError, match="400"):
        async with wire(port, query):
            pass


@pytest.mark.parametrize("method", ["post", "put", "delete", "options"])
async def test_engine_io_refuses_a_wrong_method(port, method):
    url = f"http://127.0.0.1:{port}{PATH}?{QUERY}"
    async with ClientSession() as session, session.request(method, url) as answer:
        assert answer.status == 400


async def test_engine_io_pings_and_takes_pongs(port):
    async with connected(port) as line:
        for _ in range(3):
            assert await line.any() == "2"
            await line.send("3")


async def test_engine_io_closes_upon_ping_timeout(port):
    async with connected(port) as line:
        began = asyncio.get_running_loop().time()
        assert await line.closed() == 1006
        took = asyncio.get_running_loop().time() - began
        assert TIMING.ping_interval < took < TIMING.ping_interval + 3 * TIMING.ping_timeout


async def test_engine_io_closes_when_asked_to(port):
    async with wire(port) as line:
        await line.next()
        await line.send("1")
        assert await line.closed() == 1000


@pytest.mark.parametrize("frame", ["4hello", "4สวัสดี", "4", b"\x01\x02\x03\x04"])
async def test_engine_io_sends_and_receives_a_packet(port, frame):
    async with wire(port, path=ENGINE_PATH) as line:
        await line.next()
        await line.send(frame)
        assert await line.next() == frame


@pytest.mark.parametrize("frame", ["abc", "", "2", "6", "9x", "0{}"])
async def test_engine_io_closes_upon_an_invalid_packet(port, frame):
    async with wire(port, path=ENGINE_PATH) as line:
        await line.next()
        await line.send(frame)
        assert await line.closed() == 1002


@pytest.mark.parametrize("namespace", ["", "/custom,"])
@pytest.mark.parametrize("auth", ["", '{"token":"123"}'])
async def test_socket_io_connects_to_a_namespace_with_or_without_a_payload(port, namespace, auth):
    async with wire(port) as line:
        await line.next()
        await line.send(f"40{namespace}{auth}")
        answer = await line.next()
        assert answer.startswith(f"40{namespace}")
        handshake = orjson.loads(answer[2 + len(namespace) :])
        assert list(handshake) == ["sid"]
        assert await line.next() == f'42{namespace}["auth",{auth or "{}"}]'


async def test_socket_io_gives_each_namespace_its_own_session_id(port):
    async with wire(port) as line:
        sids = {orjson.loads((await line.next())[1:])["sid"]}
        for namespace in ("", "/custom,"):
            await line.send(f"40{namespace}")
            sids.add(orjson.loads((await line.next())[2 + len(namespace) :])["sid"])
            await line.next()
        assert len(sids) == 3


async def test_socket_io_refuses_an_unknown_namespace_and_keeps_the_connection(port):
    async with wire(port) as line:
        await line.next()
        await line.send("40/random")
        assert await line.next() == '44/random,{"message":"Invalid namespace"}'
        await line.send("40")
        assert (await line.next()).startswith("40{")


async def test_socket_io_closes_when_no_connect_comes(port):
    async with wire(port) as line:
        await line.next()
        while (frame := await line.any()) == "2":
            await line.send("3")
        assert frame is None
        assert line.socket.close_code == 4401


async def test_socket_io_leaves_one_namespace_and_stays_in_the_other(port):
    async with connected(port) as line:
        await line.send("40/custom")
        await line.next()
        await line.next()
        await line.send("41/custom")
        await line.send('42["message","message to main namespace"]')
        assert await line.next() == '42["message-back","message to main namespace"]'


async def test_socket_io_survives_leaving_the_main_namespace(port):
    async with connected(port) as line:
        await line.send("41")
        assert await line.any() == "2"


async def test_socket_io_sends_text(port):
    async with connected(port) as line:
        await line.send('42["message",1,"2",{"3":[true]}]')
        assert await line.next() == '42["message-back",1,"2",{"3":[true]}]'
        await line.send('42456["message-with-ack",1,"2",{"3":[false]}]')
        assert await line.next() == '43456[1,"2",{"3":[false]}]'


async def test_socket_io_sends_attachments(port):
    places = '{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}'
    async with connected(port) as line:
        for frame in (f'452-["message",{places}]', b"\x01\x02\x03", b"\x04\x05\x06"):
            await line.send(frame)
        assert [await line.next() for _ in range(3)] == [
            f'452-["message-back",{places}]',
            b"\x01\x02\x03",
            b"\x04\x05\x06",
        ]
        for frame in (f'452-789["message-with-ack",{places}]', b"\x01", b"\x04"):
            await line.send(frame)
        assert [await line.next() for _ in range(3)] == [f"462-789[{places}]", b"\x01", b"\x04"]


@pytest.mark.parametrize(
    "frames",
    [
        ["4abc"],
        ["42{}"],
        ['42abc["message-with-ack",1]'],
        ['42["disconnect"]'],
        ["44{}"],
        ['451-["message",{"_placeholder":true,"num":0}]', '42["message"]'],
        ['451-["message",{"_placeholder":true,"num":7}]', b"x"],
        [b"x"],
        ["40"],
        ['42/custom,["message"]'],
    ],
)
async def test_socket_io_closes_upon_an_invalid_packet(port, frames):
    async with connected(port) as line:
        for frame in frames:
            await line.send(frame)
        assert await line.closed() == 1002
