"""Memory used by clients that never read: the resident memory of the hub's own process."""

import asyncio
import base64
import os
import socket

import aiohttp
import orjson

from tests.support.eventually import eventually
from tests.support.hub import EVENT, PATH, Raw, message
from tests.support.ports import free_port
from tests.support.process import running_worker
from tests.support.processes import resident_bytes
from worker.core.clock import Clock
from worker.hub.tokens import TokenService

KEY = "a-key-for-clients-that-never-read-012345"
DEAF = 20
MESSAGES = 500
NOTE = "x" * 20_000
BUDGET = 1024 * 1024
"""Bytes of the hub's memory for one such client."""


async def deaf_client(port, token):
    """A client that connects and then never reads; its receive buffer is as small as the kernel allows."""
    loop = asyncio.get_running_loop()
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    await loop.sock_connect(sock, ("127.0.0.1", port))
    key = base64.b64encode(os.urandom(16)).decode()
    request = (
        f"GET {PATH}/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
    )
    await loop.sock_sendall(sock, request.encode())
    await until(sock, b'"maxPayload"')
    text = b"40" + orjson.dumps({"token": token})
    await loop.sock_sendall(sock, b"\x81\xfe" + len(text).to_bytes(2, "big") + b"\0\0\0\0" + text)
    await until(sock, b'40{"sid"')
    return sock


async def until(sock, mark):
    seen = b""
    async with asyncio.timeout(60):
        while mark not in seen:
            seen += await asyncio.get_running_loop().sock_recv(sock, 1)


async def published(port, token, user, first, pid):
    """Send all; return the most memory seen while sending."""
    most = 0
    publisher = Raw(aiohttp.ClientSession())
    try:
        publisher.socket = await publisher.session.ws_connect(
            f"http://127.0.0.1:{port}{PATH}/?EIO=4&transport=websocket"
        )
        await publisher.connect_with({"token": token})
        for number in range(first, first + MESSAGES):
            event = orjson.dumps([EVENT, message(number, note=NOTE), {"userId": user}]).decode()
            await publisher.send(f"42{number}{event}")
            assert await publisher.next() == f'43{number}[{{"ok":true}}]'
            most = max(most, resident_bytes(pid))
    finally:
        await publisher.close()
    return most


async def test_client_that_never_reads_uses_at_most_one_megabyte(tmp_path):
    authority = TokenService(KEY.encode(), "insignia-worker", "org-socket", Clock())
    port = free_port()
    settings = [f"--Http:Url=http://127.0.0.1:{port}", f"--Hub:Jwt:Key={KEY}"]
    publish = authority.mint("link", publish=True)
    async with running_worker(tmp_path, *settings, command="hub") as hub:
        # The same messages without a client first: memory of the inbox and the interpreter does not count.
        before = await published(port, publish, "nobody", 0, hub.pid)
        live = [await deaf_client(port, authority.mint("ann")) for _ in range(DEAF)]
        most = await published(port, publish, "ann", MESSAGES, hub.pid)
        for_live = (most - before) / DEAF
        # The first clients are closed by now; the next ones have ten megabytes waiting, and do not read them either.
        base = resident_bytes(hub.pid)
        late = [await deaf_client(port, authority.mint("ann")) for _ in range(DEAF)]
        most = await published(port, publish, "somebody", 2 * MESSAGES, hub.pid)
        for_late = (most - base) / DEAF
        for sock in live + late:
            sock.close()
        print(f"per client that never reads: live {for_live / 1024:.0f} KiB, with a backlog {for_late / 1024:.0f} KiB")
        # Otherwise no client was disconnected: the test did not fill the buffers. The log is written a little later.
        await eventually(lambda: hub.text().count("4408") >= DEAF)
    assert for_live <= BUDGET
    assert for_late <= BUDGET
