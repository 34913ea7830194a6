"""Every Socket.IO client with its default options: polling first, then the upgrade. Also through nginx."""

import asyncio
import os
from typing import Any

import aiohttp
import pytest
import socketio

from config.hub_settings import HubSettings
from tests.interop.test_hub_js import js_client
from tests.support.default_clients import end_client
from tests.support.hub import EVENT, PATH, PATIENCE, message, running_hub
from tests.support.nginx import running_nginx
from tests.support.ports import free_port
from worker.hub.events import ClientConnected

COUNT = 300
JAVASCRIPT = ["socket.io-client", "socket.io-client-3", "socket.io-client-2", "socket.io-client-1"]
THAI = "ชื่อ 🎖"


def any_client(running, client, url=None, **options):
    old = client[-2:] in ("-1", "-2")
    return js_client(
        url or running.url,
        "any_client.js",
        client=client,
        token=running.token("ann", publish=True),
        v2=old,
        options=options,
    )


async def _received(client, count, publisher):
    """The notifications that arrive while `count` are published."""
    publishing = asyncio.create_task(_publish(publisher, count))
    received = [(await client.until("event"))[1] for _ in range(count)]
    await publishing
    return received


async def _publish(publisher, count):
    for number in range(count):
        await publisher.publish(message(number, error=THAI))


@pytest.fixture
async def running(tmp_path):
    async with running_hub(tmp_path, settings=HubSettings(allow_eio3=True)) as hub:
        yield hub


@pytest.mark.parametrize("client", JAVASCRIPT)
async def test_javascript_client_with_default_options_upgrades_and_misses_nothing(running, client):
    publisher = await running.publisher()
    async with any_client(running, client) as ann:
        assert await ann.next() == ["open", "polling"]
        received = await _received(ann, COUNT, publisher)
    assert received == [message(number, error=THAI) for number in range(COUNT)]
    connected = [event for event in running.events if isinstance(event, ClientConnected) and event.user_id == "ann"]
    assert len(connected) == 1


@pytest.mark.parametrize("client", JAVASCRIPT)
async def test_javascript_client_reports_the_upgrade(running, client):
    async with any_client(running, client) as ann:
        assert await ann.next() == ["open", "polling"]
        assert await ann.until("upgrade") == ["upgrade", "websocket"]
        # Emitted before it is connected, it would be kept until then.
        assert await ann.emit(EVENT, message(1, error=THAI), {"userId": "ann"}) == {"ok": True}


@pytest.mark.parametrize("transport", ["polling", "websocket"])
@pytest.mark.parametrize("client", JAVASCRIPT)
async def test_javascript_client_with_one_transport_receives_and_publishes(running, client, transport):
    publisher = await running.publisher()
    async with any_client(running, client, transports=[transport]) as ann:
        assert await ann.next() == ["open", transport]
        await ann.until("connect")
        assert await _received(ann, 50, publisher) == [message(number, error=THAI) for number in range(50)]
        assert await ann.emit(EVENT, message(99), {"userId": "bob"}) == {"ok": True}
        assert await ann.emit("echo", THAI) == {"ok": True, "type": "echo", "data": THAI}


@pytest.mark.parametrize("client", JAVASCRIPT)
async def test_javascript_client_joins_a_namespace_with_its_token(tmp_path, client):
    settings = HubSettings(allow_eio3=True, namespaces=["/", "/org"])
    async with running_hub(tmp_path, settings=settings) as running:
        publisher = await running.publisher()
        async with any_client(running, client, f"{running.url}/org") as ann:
            await ann.until("connect")
            await publisher.publish(message(1))
            assert (await ann.until("event"))[1] == message(1)


@pytest.mark.parametrize("client", JAVASCRIPT)
async def test_javascript_client_that_polls_gets_what_it_has_not_read_from_the_next_hub(tmp_path, client):
    settings = HubSettings(allow_eio3=True)
    port = free_port()
    async with running_hub(tmp_path, settings=settings, port=port) as first:
        publisher = await first.publisher()
        context = any_client(first, client, transports=["polling"], reconnectionDelay=50, reconnectionDelayMax=200)
        ann = await context.__aenter__()
        await ann.until("connect")
        await publisher.publish(message(1))
        assert (await ann.until("event"))[1] == message(1)
    try:
        await ann.until("disconnect")
        async with running_hub(tmp_path, settings=settings) as elsewhere:
            publisher = await elsewhere.publisher()
            await publisher.publish(message(2))
        async with running_hub(tmp_path, settings=settings, port=port):
            await ann.until("connect")
            received = []
            while message(2) not in received:
                received.append((await ann.until("event"))[1])
            # The first one may come again: its pong may not have arrived before the hub stopped.
            assert received in ([message(2)], [message(1), message(2)])
    finally:
        await context.__aexit__(None, None, None)


@pytest.mark.parametrize("client", JAVASCRIPT)
async def test_javascript_client_with_a_wrong_token_is_refused(running, client):
    options = {"client": client, "token": "no", "v2": client[-2:] in ("-1", "-2"), "options": {}}
    async with js_client(running.url, "any_client.js", **options) as eve:
        said = await eve.next()
        while said[0] in ("open", "upgrade", "connect"):
            said = await eve.next()
        assert said[0] in ("connect_error", "error")
        assert said[1] == "unauthorized"


@pytest.mark.parametrize("client", JAVASCRIPT)
async def test_javascript_client_with_default_options_connects_through_nginx(tmp_path, client, monkeypatch):
    async with running_hub(tmp_path / "state", settings=HubSettings(allow_eio3=True)) as running:
        with running_nginx(tmp_path / "nginx", running.port) as nginx:
            monkeypatch.setitem(os.environ, "NODE_EXTRA_CA_CERTS", str(tmp_path / "nginx" / "fullchain.pem"))
            publisher = await running.publisher()
            async with any_client(running, client, nginx.url, rejectUnauthorized=True) as ann:
                assert await ann.next() == ["open", "polling"]
                received = await _received(ann, 100, publisher)
            assert received == [message(number, error=THAI) for number in range(100)]


async def test_python_async_client_with_default_options_upgrades_and_misses_nothing(running):
    publisher = await running.publisher()
    received: asyncio.Queue[Any] = asyncio.Queue()
    client = socketio.AsyncClient(handle_sigint=False, request_timeout=PATIENCE)
    client.on(EVENT, lambda body, user: received.put_nowait(body))
    await client.connect(running.url, socketio_path=PATH, wait_timeout=PATIENCE, auth={"token": running.token("ann")})
    publishing = asyncio.create_task(_publish(publisher, COUNT))
    async with asyncio.timeout(4 * PATIENCE):
        bodies = [await received.get() for _ in range(COUNT)]
    await publishing
    assert client.transport() == "websocket"
    await client.disconnect()
    assert bodies == [message(number, error=THAI) for number in range(COUNT)]


async def test_python_sync_client_with_default_options_upgrades_and_receives(running):
    publisher = await running.publisher()
    await publisher.publish(message(1))
    token, loop = running.token("ann"), asyncio.get_running_loop()
    received: asyncio.Queue[Any] = asyncio.Queue()
    client = socketio.Client(handle_sigint=False, request_timeout=PATIENCE)
    client.on(EVENT, lambda body, user: loop.call_soon_threadsafe(received.put_nowait, body))
    await asyncio.to_thread(
        client.connect, running.url, socketio_path=PATH, wait_timeout=PATIENCE, auth={"token": token}
    )
    async with asyncio.timeout(PATIENCE):
        assert await received.get() == message(1)
    assert client.transport() == "websocket"
    # Once it is answered, the pong has left: python-engineio sends no CLOSE packet while it is sending something.
    assert (await asyncio.to_thread(client.call, "anything"))["ok"] is False
    await asyncio.to_thread(end_client, client)


async def test_python_client_that_only_polls_reads_a_backlog_on_one_connection(running):
    """Such is a synchronous client without the package websocket-client: it ends a response of more than 16 packets."""
    publisher = await running.publisher()
    await _publish(publisher, 100)
    received: asyncio.Queue[Any] = asyncio.Queue()
    client = socketio.AsyncClient(handle_sigint=False, request_timeout=PATIENCE)
    client.on(EVENT, lambda body, user: received.put_nowait(body))
    auth = {"token": running.token("ann")}
    await client.connect(running.url, socketio_path=PATH, wait_timeout=PATIENCE, auth=auth, transports=["polling"])
    async with asyncio.timeout(PATIENCE):
        bodies = [await received.get() for _ in range(100)]
    await client.disconnect()
    assert bodies == [message(number, error=THAI) for number in range(100)]
    connected = [event for event in running.events if isinstance(event, ClientConnected) and event.user_id == "ann"]
    assert len(connected) == 1


async def test_python_client_that_polls_connects_again_after_the_hub_has_stopped(tmp_path):
    connects: asyncio.Queue[None] = asyncio.Queue()
    loop, client = (
        asyncio.get_running_loop(),
        socketio.Client(handle_sigint=False, request_timeout=PATIENCE, reconnection_delay=0.1),
    )
    client.on("connect", lambda: loop.call_soon_threadsafe(connects.put_nowait, None))
    options = {"socketio_path": PATH, "wait_timeout": PATIENCE, "transports": ["polling"]}
    try:
        port = free_port()
        async with running_hub(tmp_path, port=port) as running:
            auth = {"token": running.token("ann")}
            await asyncio.to_thread(client.connect, running.url, auth=auth, **options)
        async with running_hub(tmp_path, port=port):
            async with asyncio.timeout(4 * PATIENCE):
                for _ in range(2):
                    await connects.get()
            await asyncio.to_thread(end_client, client)
    finally:
        await asyncio.to_thread(end_client, client)


async def test_python_simple_clients_with_default_options_receive(running):
    publisher = await running.publisher()
    await publisher.publish(message(1))
    token = running.token("ann")
    async with socketio.AsyncSimpleClient(handle_sigint=False, request_timeout=PATIENCE) as client:
        await client.connect(running.url, socketio_path=PATH, wait_timeout=PATIENCE, auth={"token": token})
        assert (await client.receive(timeout=PATIENCE))[1] == message(1)

    def receive():
        with socketio.SimpleClient(handle_sigint=False, request_timeout=PATIENCE) as simple:
            simple.connect(running.url, socketio_path=PATH, wait_timeout=PATIENCE, auth={"token": running.token("bob")})
            assert simple.transport == "websocket"
            return simple.receive(timeout=PATIENCE)[1]

    await publisher.publish(message(2), "bob")
    assert await asyncio.to_thread(receive) == message(2)


async def test_path_below_a_prefix_of_a_proxy_serves_default_clients(tmp_path, running):
    """A proxy that serves the hub at /hr/ and strips the prefix, as nginx does with a slash in proxy_pass."""
    with running_nginx(tmp_path / "nginx", running.port, prefix="/hr/") as nginx:
        publisher = await running.publisher()
        received: asyncio.Queue[Any] = asyncio.Queue()
        session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=nginx.trust))
        client = socketio.AsyncClient(handle_sigint=False, request_timeout=PATIENCE, http_session=session)
        client.on(EVENT, lambda body, user: received.put_nowait(body))
        await client.connect(
            nginx.url, socketio_path="/hr" + PATH, wait_timeout=PATIENCE, auth={"token": running.token("ann")}
        )
        await _publish(publisher, 50)
        async with asyncio.timeout(PATIENCE):
            assert [await received.get() for _ in range(50)] == [message(n, error=THAI) for n in range(50)]
        assert client.transport() == "websocket"
        await client.disconnect()
        await session.close()
