"""The Socket.IO 5 and Engine.IO 4 protocol documents, point by point: what applies to WebSocket."""

from contextlib import asynccontextmanager

import orjson
import pytest
from aiohttp import ClientSession, WSServerHandshakeError

from tests.support.echo_hub import ENGINE_PATH, PATH, PINGING, echo_hub
from tests.support.protocol_wires import QUERY, wire


@pytest.fixture
async def hub():
    async with echo_hub() as hub:
        yield hub


@pytest.fixture
def port(hub):
    return hub.port


@pytest.fixture
async def pinging_port():
    async with echo_hub(timing=PINGING) as hub:
        yield hub.port


@asynccontextmanager
async def connected(port):
    async with wire(port) as line:
        await line.next()
        await line.send("40")
        assert (await line.next())[:2] == "40"
        assert await line.next() == '42["auth",{}]'
        yield line


async def test_engine_io_opens_a_session(hub):
    async with wire(hub.port) as line:
        opened = await line.any()
        assert opened[0] == "0"
        rules = orjson.loads(opened[1:])
        assert set(rules) == {"sid", "upgrades", "pingInterval", "pingTimeout", "maxPayload"}
        timing = (hub.timing.ping_interval * 1000, hub.timing.ping_timeout * 1000)
        assert (rules["upgrades"], rules["pingInterval"], rules["pingTimeout"]) == ([], *timing)
        assert rules["maxPayload"] == 1_000_000


@pytest.mark.parametrize(
    "query",
    ["transport=websocket", "EIO=abc&transport=websocket", "EIO=4", "EIO=4&transport=abc", "EIO=2&transport=websocket"],
)
async def test_engine_io_rejects_a_wrong_query(port, query):
    with pytest.raises(WSServerHandshakeError, match="400"):
        async with wire(port, query):
            pass


@pytest.mark.parametrize("method", ["post", "put", "delete", "options"])
async def test_engine_io_rejects_a_wrong_method(port, method):
    url = f"http://127.0.0.1:{port}{PATH}?{QUERY}"
    async with ClientSession() as session, session.request(method, url) as answer:
        assert answer.status == 400


async def test_engine_io_pings_and_takes_pongs(pinging_port):
    async with connected(pinging_port) as line:
        for _ in range(3):
            assert await line.any() == "2"
            await line.send("3")


async def test_engine_io_closes_after_a_ping_timeout(hub):
    async with connected(hub.port) as line:
        hub.check_heartbeats(ahead=hub.timing.ping_interval)
        assert await line.any() == "2"
        hub.check_heartbeats(ahead=hub.timing.ping_interval + hub.timing.ping_timeout / 2)
        await line.send('42["message"]')
        assert await line.any() == '42["message-back"]'
        hub.check_heartbeats(ahead=2 * hub.timing.ping_interval)
        assert await line.any() == "2"
        hub.check_heartbeats(ahead=2 * hub.timing.ping_interval + hub.timing.ping_timeout)
        assert await line.closed() == 1006


async def test_engine_io_closes_on_request(port):
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
async def test_engine_io_closes_after_an_invalid_packet(port, frame):
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


async def test_socket_io_rejects_an_unknown_namespace_and_keeps_the_connection(port):
    async with wire(port) as line:
        await line.next()
        await line.send("40/random")
        assert await line.next() == '44/random,{"message":"Invalid namespace"}'
        await line.send("40")
        assert (await line.next()).startswith("40{")


async def test_socket_io_closes_without_a_connect_in_time(hub):
    async with wire(hub.port) as line:
        await line.next()
        hub.check_heartbeats(ahead=hub.timing.authentication)
        assert await line.closed() == 4401


async def test_socket_io_leaves_one_namespace_and_stays_in_the_other(port):
    async with connected(port) as line:
        await line.send("40/custom")
        await line.next()
        await line.next()
        await line.send("41/custom")
        await line.send('42["message","message to main namespace"]')
        assert await line.next() == '42["message-back","message to main namespace"]'


async def test_socket_io_stays_connected_after_leaving_the_main_namespace(pinging_port):
    async with connected(pinging_port) as line:
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
async def test_socket_io_closes_after_an_invalid_packet(port, frames):
    async with connected(port) as line:
        for frame in frames:
            await line.send(frame)
        assert await line.closed() == 1002
