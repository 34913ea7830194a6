"""The Engine.IO protocol documents, revisions 4 and 3, point by point: HTTP long-polling and the upgrade to WebSocket.

Also revision 3 over WebSocket, and Socket.IO 5 where it depends on the transport.
"""

import asyncio
from contextlib import asynccontextmanager

import orjson
import pytest
from aiohttp import ClientSession

from tests.support.echo_hub import ENGINE_PATH, PATH, PINGING, echo_hub
from tests.support.protocol_wires import polling, received


@pytest.fixture
async def hub():
    async with echo_hub() as hub:
        yield hub


@pytest.fixture
def port(hub):
    return hub.port


@pytest.mark.parametrize("eio", [4, 3])
async def test_polling_opens_a_session(hub, eio):
    async with polling(hub.port, eio=eio) as polls:
        keys = {"sid", "upgrades", "pingInterval", "pingTimeout"} | ({"maxPayload"} if eio == 4 else set())
        assert set(polls.handshake) == keys
        assert polls.handshake["upgrades"] == ["websocket"]
        assert polls.handshake["pingInterval"] == hub.timing.ping_interval * 1000
        assert polls.handshake["pingTimeout"] == hub.timing.ping_timeout * 1000


@pytest.mark.parametrize("query", ["transport=polling", "EIO=abc&transport=polling", "EIO=4", "EIO=3&transport=abc"])
async def test_polling_rejects_a_wrong_query(port, query):
    async with ClientSession() as session, session.get(f"http://127.0.0.1:{port}{ENGINE_PATH}?{query}") as answer:
        assert answer.status == 400


@pytest.mark.parametrize("eio", [4, 3])
@pytest.mark.parametrize("method", ["post", "put", "delete", "options"])
async def test_polling_rejects_a_wrong_method(port, method, eio):
    url = f"http://127.0.0.1:{port}{ENGINE_PATH}?EIO={eio}&transport=polling"
    async with ClientSession() as session, session.request(method, url) as answer:
        assert answer.status == 400


@pytest.mark.parametrize(
    ("eio", "payload"),
    [
        (4, "4hello"),
        (4, "4สวัสดี 🎖"),
        (4, "4test1\x1e4test2\x1e4test3"),
        (4, "4hello\x1ebAQIDBA=="),
        (3, "6:4hello"),
        (3, "6:4test16:4test26:4test3"),
        (3, "6:4hello10:b4AQIDBA=="),
    ],
)
async def test_polling_sends_and_receives_a_payload(port, eio, payload):
    async with polling(port, eio=eio, more="&b64=1" if eio == 3 else "") as polls:
        assert await polls.post(payload.encode()) == (200, "ok")
        assert await polls.get() == (200, payload.encode())


async def test_polling_3_counts_lengths_in_utf16_units_and_answers_in_ascii(port):
    async with polling(port, eio=3) as polls:
        assert await polls.post('7:4"ชื่อ"5:4"🎖"'.encode()) == (200, "ok")
        status, body = await polls.get()
        assert (status, body) == (200, b'27:4"\\u0e0a\\u0e37\\u0e48\\u0e2d"15:4"\\ud83c\\udf96"')


async def test_polling_3_sends_binary_payloads_to_clients_that_can_read_them(port):
    payload = bytes([0, 6, 255, 52, 104, 101, 108, 108, 111, 1, 5, 255, 4, 1, 2, 3, 4])
    async with polling(port, eio=3) as polls:
        assert await polls.post(b"6:4hello10:b4AQIDBA==") == (200, "ok")
        assert await polls.get() == (200, payload)
        assert await polls.post(payload, "application/octet-stream") == (200, "ok")
        assert await polls.get() == (200, payload)


@pytest.mark.parametrize(
    ("eio", "body"),
    [
        *((4, body) for body in (b"abc", b"", b"4a\x1e", b"b!!!", b"2", b"6", b"\xff")),
        *((3, body) for body in (b"abc", b"9:4hello", b"x:4", b"1:", b"\xff", b"0:", b"4:b5AA", b"-1:4", b"1:3")),
    ],
)
async def test_polling_closes_after_an_invalid_payload(port, eio, body):
    async with polling(port, eio=eio) as polls:
        assert (await polls.post(body))[0] == 400
        assert (await polls.get())[0] == 400


@pytest.mark.parametrize(
    "body", [b"\x02\x01\xff4", b"\x00\xff4", b"\x00\x0b\xff4", b"\x00\x05\xff4", b"\x01\x01\xff\x05"]
)
async def test_polling_3_closes_after_an_invalid_binary_payload(port, body):
    async with polling(port, eio=3) as polls:
        assert (await polls.post(body, "application/octet-stream"))[0] == 400
        assert (await polls.get())[0] == 400


@pytest.mark.parametrize(("eio", "close"), [(4, b"1"), (3, b"1:1")])
async def test_polling_closes_after_overlapping_polls(hub, eio, close):
    async with polling(hub.port, eio=eio) as polls:
        first = asyncio.create_task(polls.get())
        await hub.poll_waits(polls.handshake["sid"])
        assert (await polls.get())[0] == 400
        assert await first == (200, close)
        assert (await polls.get())[0] == 400


async def test_polling_closes_after_a_cancelled_poll(hub):
    async with polling(hub.port) as polls:
        poll = asyncio.create_task(polls.get())
        await hub.poll_waits(polls.handshake["sid"])
        poll.cancel()
        assert (await polls.get())[0] == 400


async def test_polling_4_pings_and_takes_pongs():
    async with echo_hub(timing=PINGING) as hub, polling(hub.port) as polls:
        for _ in range(3):
            assert await polls.get() == (200, b"2")
            assert await polls.post(b"3") == (200, "ok")


async def test_polling_3_takes_pings_and_answers_pongs(port):
    async with polling(port, eio=3) as polls:
        for _ in range(3):
            assert await polls.post(b"1:2") == (200, "ok")
            assert await polls.get() == (200, b"1:3")


@pytest.mark.parametrize("eio", [4, 3])
async def test_polling_closes_after_a_ping_timeout(hub, eio):
    async with polling(hub.port, eio=eio) as polls:
        hub.check_heartbeats(ahead=hub.timing.ping_interval)
        hub.check_heartbeats(ahead=hub.timing.ping_interval + hub.timing.ping_timeout)
        assert (await polls.post(b"1:2" if eio == 3 else b"4hello"))[0] == 400
        assert (await polls.get())[0] == 400


@pytest.mark.parametrize(("eio", "close", "noop"), [(4, b"1", b"6"), (3, b"1:1", b"1:6")])
async def test_polling_closes_on_request(hub, eio, close, noop):
    async with polling(hub.port, eio=eio) as polls:
        poll = asyncio.create_task(polls.get())
        await hub.poll_waits(polls.handshake["sid"])
        assert await polls.post(close) == (200, "ok")
        assert await poll == (200, noop)
        assert (await polls.get())[0] == 400


@pytest.mark.parametrize(("eio", "noop"), [(4, b"6"), (3, b"1:6")])
async def test_session_upgrades_to_websocket(hub, eio, noop):
    async with polling(hub.port, eio=eio) as polls, polls.websocket() as socket:
        poll = asyncio.create_task(polls.get())
        await hub.poll_waits(polls.handshake["sid"])
        await socket.send_str("2probe")
        assert await received(socket) == "3probe"
        assert await poll == (200, noop)
        await socket.send_str("5")
        await socket.send_str("4hello")
        assert await received(socket) == "4hello"


async def test_session_that_probes_ends_a_later_poll_soon(port):
    async with polling(port) as polls, polls.websocket() as socket:
        await socket.send_str("2probe")
        assert await received(socket) == "3probe"
        assert await polls.get() == (200, b"6")


async def test_session_that_upgrades_gets_what_was_not_fetched_by_websocket(port):
    async with polling(port) as polls, polls.websocket() as socket:
        await polls.post(b"4one\x1ebAQID\x1e4two")
        await socket.send_str("2probe")
        assert await received(socket) == "3probe"
        await socket.send_str("5")
        assert [await received(socket) for _ in range(3)] == ["4one", b"\x01\x02\x03", "4two"]


async def test_upgraded_session_ignores_polling_requests_and_further_websockets(port):
    async with polling(port) as polls, polls.websocket() as socket:
        await socket.send_str("2probe")
        await received(socket)
        await socket.send_str("5")
        await socket.send_str("4hello")
        assert await received(socket) == "4hello"
        assert (await polls.get())[0] == 400
        assert (await polls.post(b"4x"))[0] == 400
        async with polls.websocket() as second:
            assert await received(second) is None
        await socket.send_str("4still there")
        assert await received(socket) == "4still there"


@pytest.mark.parametrize("frame", ["5", "4hello", "2", "nonsense", b"2probe"])
async def test_websocket_without_a_probe_is_closed_and_the_session_stays(port, frame):
    async with polling(port) as polls, polls.websocket() as socket:
        await (socket.send_bytes(frame) if isinstance(frame, bytes) else socket.send_str(frame))
        assert await received(socket) is None
        await polls.post(b"4hello")
        assert await polls.get() == (200, b"4hello")


async def test_session_whose_probe_is_lost_goes_on_polling_and_may_try_again(port):
    async with polling(port) as polls:
        async with polls.websocket() as socket:
            await socket.send_str("2probe")
            assert await received(socket) == "3probe"
        await polls.post(b"4hello")
        assert await polls.get() == (200, b"4hello")
        async with polls.websocket() as socket:
            await socket.send_str("2probe")
            assert await received(socket) == "3probe"
            await socket.send_str("5")
            await socket.send_str("4again")
            assert await received(socket) == "4again"


async def test_socket_io_connects_by_polling(port):
    async with polling(port, path=PATH) as polls:
        await polls.post(b'40{"token":"123"}')
        packets: list[bytes] = []
        while len(packets) < 2:  # on a busy machine one response has both
            status, body = await polls.get()
            assert status == 200
            packets += body.split(b"\x1e")
        connected, event = packets
        assert connected.startswith(b'40{"sid"')
        assert event == b'42["auth",{"token":"123"}]'


# -- revision 3 over WebSocket, and Socket.IO of that time -------------------------------------------------------------


@asynccontextmanager
async def websocket_3(port, path=ENGINE_PATH):
    url = f"http://127.0.0.1:{port}{path}?EIO=3&transport=websocket"
    async with ClientSession() as session, session.ws_connect(url) as socket:
        handshake = orjson.loads((await received(socket))[1:])
        assert handshake["upgrades"] == []
        yield socket


@pytest.mark.parametrize("frame", ["4hello", "4สวัสดี", b"\x04\x01\x02\x03\x04"])
async def test_engine_io_3_sends_and_receives_a_packet(port, frame):
    async with websocket_3(port) as socket:
        await (socket.send_bytes(frame) if isinstance(frame, bytes) else socket.send_str(frame))
        assert await received(socket) == frame


@pytest.mark.parametrize("frame", ["abc", "3", "0{}", b"\x05\x01", b""])
async def test_engine_io_3_closes_after_an_invalid_packet(port, frame):
    async with websocket_3(port) as socket:
        await (socket.send_bytes(frame) if isinstance(frame, bytes) else socket.send_str(frame))
        assert await received(socket) is None
        assert socket.close_code == 1002


async def test_engine_io_3_answers_pings_and_closes_without_them(hub):
    async with websocket_3(hub.port) as socket:
        for _ in range(3):
            hub.check_heartbeats(ahead=hub.timing.ping_interval)
            await socket.send_str("2")
            assert await received(socket) == "3"
        hub.check_heartbeats(ahead=hub.timing.ping_interval + hub.timing.ping_timeout)
        assert await received(socket) is None


async def test_engine_io_3_closes_on_request(port):
    async with websocket_3(port) as socket:
        await socket.send_str("1")
        assert await received(socket) is None
        assert socket.close_code == 1000


async def test_socket_io_of_revision_3_is_connected_without_asking_and_joins_further_namespaces(port):
    async with websocket_3(port, PATH) as socket:
        assert [await received(socket) for _ in range(2)] == ["40", '42["auth",{}]']
        await socket.send_str("40/custom?token=x")
        assert [await received(socket) for _ in range(2)] == ["40/custom,", '42/custom,["auth",{"token":"x"}]']
        await socket.send_str('42/custom,7["message-with-ack",1]')
        assert await received(socket) == "43/custom,7[1]"
        await socket.send_str("40/random")
        assert await received(socket) == '44/random,"Invalid namespace"'
        await socket.send_str("41/custom")
        await socket.send_str('42["message",1]')
        assert await received(socket) == '42["message-back",1]'
