"""The points of the protocol documents that need no echo, against `insignia-worker hub` as it is shipped.

Revisions 5 and 4 of Socket.IO, 4 and 3 of Engine.IO. Those with an echo are in test_hub_protocol.py and
test_hub_protocol_polling.py.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import pytest
import pytest_asyncio
from aiohttp import ClientSession, WSServerHandshakeError

from tests.support.ports import free_port
from tests.support.process import running_worker
from tests.support.protocol_wires import QUERY, Wire, polling, received, wire
from worker.core.clock import Clock
from worker.hub.tokens import TokenService

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATH = "/api/v1/org-socket/"
KEY = "k" * 32
INTERVAL, TIMEOUT = 1, 6
"""Of the hub that pings often. Tests that are not about pings use one in whose answers no ping can come."""
TOKEN = TokenService(KEY.encode(), "insignia-worker", "org-socket", Clock()).mint("ann", days=1)
MORE = f"&token={TOKEN}"
"""For clients of revision 3, which have no other place for it."""
AUTH = orjson.dumps({"token": TOKEN}).decode()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def port(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[int]:
    async with hub(tmp_path_factory.mktemp("hub"), interval=120, timeout=120) as port:
        yield port


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pinging_port(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[int]:
    async with hub(tmp_path_factory.mktemp("pinging"), interval=INTERVAL, timeout=TIMEOUT) as port:
        yield port


@asynccontextmanager
async def hub(folder: Path, *, interval: int, timeout: int) -> AsyncIterator[int]:
    port = free_port()
    settings = [
        f"--Http:Url=http://127.0.0.1:{port}",
        f"--Hub:Jwt:Key={KEY}",
        "--Hub:AllowEio3=true",
        "--Hub:Namespaces:0=/",
        "--Hub:Namespaces:1=/custom",
        f"--Hub:HeartbeatInterval={interval}",
        f"--Hub:HeartbeatTimeout={timeout}",
    ]
    async with running_worker(folder, *settings, command="hub") as started:
        yield port
        assert await started.stop() == 0


@asynccontextmanager
async def opened(port: int, query: str = QUERY) -> AsyncIterator[Wire]:
    async with wire(port, query, PATH) as line:
        assert (await line.next())[:1] == "0"
        yield line


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[Wire]:
    async with opened(port) as line:
        await line.send(f"40{AUTH}")
        assert (await line.next()).startswith('40{"sid":')
        yield line


# -- WebSocket ----------------------------------------------------------------------------------------------------


async def test_handshake_over_websocket_names_the_session_and_its_timing(pinging_port: int) -> None:
    async with wire(pinging_port, path=PATH) as line:
        handshake = orjson.loads((await line.any())[1:])
    assert handshake.keys() == {"sid", "upgrades", "pingInterval", "pingTimeout", "maxPayload"}
    assert (handshake["upgrades"], handshake["pingInterval"], handshake["pingTimeout"]) == (
        [],
        INTERVAL * 1000,
        TIMEOUT * 1000,
    )


@pytest.mark.parametrize(
    "query",
    ["transport=websocket", "EIO=abc&transport=websocket", "EIO=4", "EIO=4&transport=abc", "EIO=2&transport=websocket"],
)
async def test_wrong_query_over_websocket_is_answered_by_400(port: int, query: str) -> None:
    with pytest.raises(WSServerHandshakeError, match="400"):
        async with wire(port, query, PATH):
            pass


@pytest.mark.parametrize("transport", ["websocket", "polling"])
@pytest.mark.parametrize("eio", [4, 3])
@pytest.mark.parametrize("method", ["post", "put", "delete", "options"])
async def test_wrong_method_is_answered_by_400(port: int, method: str, eio: int, transport: str) -> None:
    url = f"http://127.0.0.1:{port}{PATH}?EIO={eio}&transport={transport}"
    async with ClientSession() as session, session.request(method, url) as answer:
        assert answer.status == 400


async def test_client_that_answers_pings_stays_and_one_that_does_not_is_closed(pinging_port: int) -> None:
    async with connected(pinging_port) as line, connected(pinging_port) as silent:
        closing = asyncio.create_task(silent.closed())
        pings = 0
        while pings < 2 * INTERVAL + TIMEOUT or not closing.done():
            assert await line.any() == "2"
            await line.send("3")
            pings += 1
        assert await closing == 1006


async def test_close_packet_closes_the_connection(port: int) -> None:
    async with opened(port) as line:
        await line.send("1")
        assert await line.closed() == 1000


@pytest.mark.parametrize("frame", ["abc", "", "2", "6", "9x", "0{}", b"x"])
async def test_invalid_engine_io_packet_closes_with_1002(port: int, frame: str | bytes) -> None:
    async with opened(port) as line:
        await line.send(frame)
        assert await line.closed() == 1002


async def test_each_namespace_has_its_own_session_id(port: int) -> None:
    async with wire(port, path=PATH) as line:
        sids = {orjson.loads((await line.next())[1:])["sid"]}
        for namespace in ("", "/custom,"):
            await line.send(f"40{namespace}{AUTH}")
            answer = await line.next()
            assert answer.startswith(f"40{namespace}")
            handshake = orjson.loads(answer[2 + len(namespace) :])
            assert handshake.keys() == {"sid"}
            sids.add(handshake["sid"])
    assert len(sids) == 3


async def test_unknown_namespace_is_rejected_and_the_connection_stays(port: int) -> None:
    async with opened(port) as line:
        await line.send(f"40/random,{AUTH}")
        assert await line.next() == '44/random,{"message":"Invalid namespace"}'
        await line.send(f"40{AUTH}")
        assert (await line.next()).startswith("40{")


async def test_client_leaves_one_namespace_and_stays_in_the_other(port: int) -> None:
    async with connected(port) as line:
        await line.send(f"40/custom,{AUTH}")
        assert (await line.next()).startswith("40/custom,")
        await line.send("41/custom,")
        await line.send('4212["echo",{"n":[1,"สอง",null]}]')
        answer = await line.next()
        assert answer.startswith("4312[")
        assert orjson.loads(answer[4:]) == [{"ok": True, "type": "echo", "data": {"n": [1, "สอง", None]}}]


async def test_client_that_leaves_the_main_namespace_is_still_pinged(pinging_port: int) -> None:
    async with connected(pinging_port) as line:
        await line.send("41")
        assert await line.any() == "2"


@pytest.mark.parametrize(
    "frames",
    [
        ["4abc"],
        ["42{}"],
        ['42abc["echo",1]'],
        ['42["disconnect"]'],
        ["44{}"],
        ['451-["echo",{"_placeholder":true,"num":0}]', '42["echo"]'],
        ['451-["echo",{"_placeholder":true,"num":7}]', b"x"],
        [b"x"],
        ["40"],
        ['42/custom,["echo"]'],
    ],
)
async def test_invalid_socket_io_packet_closes_with_1002(port: int, frames: list[str | bytes]) -> None:
    async with connected(port) as line:
        for frame in frames:
            await line.send(frame)
        assert await line.closed() == 1002


# -- HTTP long-polling --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("eio", [4, 3])
async def test_handshake_over_polling_offers_the_upgrade(port: int, eio: int) -> None:
    async with polling(port, PATH, eio, MORE) as polls:
        assert polls.handshake.keys() >= {"sid", "upgrades", "pingInterval", "pingTimeout"}
        assert polls.handshake["upgrades"] == ["websocket"]


@pytest.mark.parametrize("query", ["transport=polling", "EIO=abc&transport=polling", "EIO=4", "EIO=3&transport=abc"])
async def test_wrong_query_over_polling_is_answered_by_400(port: int, query: str) -> None:
    async with ClientSession() as session, session.get(f"http://127.0.0.1:{port}{PATH}?{query}") as answer:
        assert answer.status == 400


@pytest.mark.parametrize(
    ("eio", "body"),
    [
        *((4, body) for body in (b"abc", b"", b"4a\x1e", b"b!!!", b"2", b"6", b"\xff")),
        *((3, body) for body in (b"abc", b"9:4hello", b"x:4", b"1:", b"\xff", b"0:", b"4:b5AA", b"-1:4", b"1:3")),
    ],
)
async def test_invalid_payload_ends_the_session(port: int, eio: int, body: bytes) -> None:
    async with polling(port, PATH, eio, MORE) as polls:
        assert (await polls.post(body))[0] == 400
        assert (await polls.get())[0] == 400


async def test_client_connects_and_is_pinged_by_polling(pinging_port: int) -> None:
    async with polling(pinging_port, PATH) as polls:
        assert await polls.post(f"40{AUTH}".encode()) == (200, "ok")
        answers: list[bytes] = []
        while not answers or answers.count(b"2") < 2:
            status, body = await polls.get()
            assert status == 200
            for packet in body.split(b"\x1e"):  # on a busy machine one response has several
                answers.append(packet)
                if packet == b"2":
                    assert await polls.post(b"3") == (200, "ok")
        [connect] = [packet for packet in answers if packet != b"2"]
        assert connect.startswith(b'40{"sid":')
        assert await polls.post(b"1") == (200, "ok")
        assert (await polls.get())[0] == 400


async def test_client_of_revision_3_is_answered_by_polling(port: int) -> None:
    async with polling(port, PATH, 3, more=MORE) as polls:
        assert await polls.post(b"1:2") == (200, "ok")
        assert await polls.get() == (200, b"1:3")


@pytest.mark.parametrize(("eio", "close"), [(4, b"1"), (3, b"1:1")])
async def test_overlapping_polls_end_the_session(port: int, eio: int, close: bytes) -> None:
    async with polling(port, PATH, eio, MORE) as polls:
        answers = await asyncio.gather(polls.get(), polls.get())
        assert sorted(answers)[0] == (200, close)
        assert sorted(answers)[1][0] == 400
        assert (await polls.get())[0] == 400


@pytest.mark.parametrize("eio", [4, 3])
async def test_silent_client_on_polling_is_closed(pinging_port: int, eio: int) -> None:
    async with polling(pinging_port, PATH, eio, MORE) as polls:
        async with asyncio.timeout(60):
            while (await polls.get())[0] == 200:
                pass
        assert (await polls.post(b"1:2" if eio == 3 else b"4hello"))[0] == 400


async def test_session_upgrades_to_websocket_and_goes_on_there(port: int) -> None:
    async with polling(port, PATH) as polls, polls.websocket() as socket:
        await socket.send_str("2probe")
        assert await received(socket) == "3probe"
        assert await polls.get() == (200, b"6")
        await socket.send_str("5")
        await socket.send_str(f"40{AUTH}")
        answer = await received(socket)
        assert answer.startswith('40{"sid":')
        assert (await polls.get())[0] == 400


@pytest.mark.parametrize("frame", ["5", "4hello", "2", "nonsense"])
async def test_websocket_without_a_probe_is_closed_and_the_session_stays(port: int, frame: str) -> None:
    async with polling(port, PATH) as polls, polls.websocket() as socket:
        await socket.send_str(frame)
        assert await received(socket) is None
        assert await polls.post(f"40{AUTH}".encode()) == (200, "ok")
        assert (await polls.get())[0] == 200


# -- Socket.IO of revision 3 over WebSocket -----------------------------------------------------------------------


async def test_client_of_revision_3_is_connected_without_asking_and_joins_a_namespace(port: int) -> None:
    async with opened(port, "EIO=3&transport=websocket" + MORE) as line:
        assert await line.any() == "40"
        await line.send("2")
        assert await line.any() == "3"
        await line.send("40/custom?token=x")
        assert await line.any() == '44/custom,"unauthorized"'
        await line.send("40/custom?key=x")
        assert await line.any() == "40/custom,"
        await line.send("40/random")
        assert await line.any() == '44/random,"Invalid namespace"'
