"""What clients cost that never read: measured in the hub's own process, as the machine counts its memory."""

import asyncio
import base64
import os
import socket
from pathlib import Path

import aiohttp
import orjson

from tests.support.hub import EVENT, PATH, Raw, message
from tests.support.process import free_port, running_worker
from worker.clock import Clock
from worker.hub.auth import Authority

KEY = "a-key-for-clients-that-never-read-012345"
DEAF = 20
MESSAGES = 500
NOTE = "x" * 20_000
BUDGET = 1024 * 1024
"""Bytes of the hub's memory for one such client."""


def resident(pid):
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def deaf_client(port, token):
    """Through upgrade and CONNECT, then silence; its receive buffer is as small as the kernel lets it be."""
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
    async with asyncio.timeout(10):
        while mark not in seen:
            seen += await asyncio.get_running_loop().sock_recv(sock, 1)


async def published(port, token, user, first, pid):
    """Send all, and give the most memory that was seen meanwhile."""
    most = 0
    publisher = Raw(aiohttp.ClientSession())
    try:
        publisher.socket = await publisher.session.ws_connect(
            f"http://127.0.0.1:{port}{PATH}/?EIO=4&transport=websocket"
        )
        await publisher.enter({"token": token})
        for number in range(first, first + MESSAGES):
            event = orjson.dumps([EVENT, message(number, note=NOTE), {"userId": user}]).decode()
            await publisher.send(f"42{number}{event}")
            assert await publisher.next() == f'43{number}[{{"ok":true}}]'
            most = max(most, resident(pid))
    finally:
        await publisher.close()
    return most


async def test_a_client_that_never_reads_costs_at_most_one_megabyte(tmp_path):
    authority = Authority(KEY.encode(), "insignia-worker", "org-socket", Clock())
    port = free_port()
    settings = [f"--Http:Url=http://127.0.0.1:{port}", f"--Hub:Jwt:Key={KEY}"]
    publish = authority.mint("link", publish=True)
    async with running_worker(tmp_path, *settings, command="hub") as hub:
        # The same messages for nobody first: what the inbox and the interpreter need belongs to no client.
        before = await published(port, publish, "nobody", 0, hub.pid)
        live = [await deaf_client(port, authority.mint("ann")) for _ in range(DEAF)]
        most = await published(port, publish, "ann", MESSAGES, hub.pid)
        for_live = (most - before) / DEAF
        # Cut off by now; who comes back finds ten megabytes waiting, and does not read them either.
        base = resident(hub.pid)
        late = [await deaf_client(port, authority.mint("ann")) for _ in range(DEAF)]
        most = await published(port, publish, "somebody", 2 * MESSAGES, hub.pid)
        for_late = (most - base) / DEAF
        for sock in live + late:
            sock.close()
        print(f"per client that never reads: live {for_live / 1024:.0f} KiB, with a backlog {for_late / 1024:.0f} KiB")
        assert hub.text().count("4408") >= DEAF, "nobody was cut off: the test did not fill the buffers"
    assert for_live <= BUDGET
    assert for_late <= BUDGET
