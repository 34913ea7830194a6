"""As many WebSockets as the hub admits, from as many addresses, at once, through one nginx.

    python -m bench.sockets [--sockets 9999]

The service runs with its default limits and trusts nginx. Each client has a loopback address of its own (127.1.0.1 and
following), which nginx forwards. Each process may have 20,000 open files here, so nginx has four workers.
"""

import argparse
import asyncio
import contextlib
import os
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp

from tests.support.nginx import nginx_or_skip
from tests.support.ports import free_port
from tests.support.process import running_worker
from worker.core.clock import Clock
from worker.hub.tokens import TokenService, load_key

_NGINX = """
daemon off; worker_processes 4; {user}
pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 16000; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{
    listen 127.0.0.1:{port} reuseport backlog=4096;
    location / {{
      proxy_pass http://127.0.0.1:{upstream};
      proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection "upgrade";
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_read_timeout 600s;
    }}
  }}
}}
"""
_CONNECTING = 100
_MASKED_PING = b"\x89\x80\x00\x00\x00\x00"
_PONG = (0x8A, b"")


@contextlib.contextmanager
def nginx(folder: Path, upstream: int) -> Iterator[int]:
    """nginx on a port of its own, which is yielded."""
    folder.mkdir()
    port, main = free_port(), folder / "nginx.conf"
    user = "user root;" if os.geteuid() == 0 else ""
    main.write_text(_NGINX.format(folder=folder, user=user, port=port, upstream=upstream))
    process = subprocess.Popen([nginx_or_skip(), "-p", str(folder), "-c", str(main), "-e", str(folder / "error.log")])
    try:
        yield port
    finally:
        process.terminate()
        process.wait()


def address_of(number: int) -> str:
    """Return the address of a client; none ends with 0 or 255."""
    rest, last = divmod(number, 250)
    return f"127.1.{rest}.{last + 1}"


async def opened(port: int, number: int, token: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open one WebSocket from an address of its own; return it after the hub's welcome."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address_of(number), 0))
    writer.write(
        b"GET /ws HTTP/1.1\r\nHost: hub\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nAuthorization: Bearer " + token.encode() + b"\r\n\r\n"
    )
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101"), head
    assert b"welcome" in (await _frame(reader))[1]
    return reader, writer


async def _frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Return the first byte and the payload of the next frame."""
    first, size = await reader.readexactly(2)
    if size == 126:
        (size,) = struct.unpack("!H", await reader.readexactly(2))
    return first, await reader.readexactly(size)


async def answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Return whether the hub answers a ping on this connection; it may send its heartbeat before."""
    try:
        writer.write(_MASKED_PING)
        async with asyncio.timeout(120):
            while await _frame(reader) != _PONG:
                pass
    except (OSError, asyncio.IncompleteReadError, TimeoutError):
        return False
    return True


async def measure(sockets: int, folder: Path) -> str:
    """Open them all, then let each answer; return the figures."""
    url = f"http://127.0.0.1:{free_port()}"
    settings = [f"--Http:Url={url}", f"--WebSocket:Url={url}", "--Http:TrustedProxies:0=127.0.0.1"]
    async with running_worker(folder, *settings, "--Logging:LogLevel:Default=Warning") as worker:
        tokens = TokenService(load_key(worker.state / "hub.key")[0], "insignia-worker", "org-socket", Clock())
        with nginx(folder / "nginx", int(url.rpartition(":")[2])) as port:
            places = asyncio.Semaphore(_CONNECTING)

            async def connect(number: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
                async with places:
                    return await opened(port, number, tokens.mint(f"user-{number}"))

            await asyncio.sleep(1)
            began = time.perf_counter()
            connections = await asyncio.gather(*map(connect, range(sockets)))
            seconds = time.perf_counter() - began
            alive = sum(await asyncio.gather(*(answers(*connection) for connection in connections)))
            async with aiohttp.ClientSession() as session, session.get(f"{url}/health/websocket") as response:
                active = (await response.json())["hub"]["connectionsActive"]
            pages = int(Path(f"/proc/{worker.pid}/statm").read_text().split()[1])
            for _, writer in connections:
                writer.transport.abort()
    megabytes = pages * os.sysconf("SC_PAGESIZE") / 1e6
    assert alive == sockets, f"{alive} of {sockets} answered"
    return (
        f"{alive:,} WebSockets from as many addresses behind one nginx answer at once ({active:,} active at the hub); "
        f"opened in {seconds:.0f} s ({sockets / seconds:.0f}/s), service {megabytes:.0f} MB"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--sockets", type=int, default=9_999)
    with tempfile.TemporaryDirectory() as folder:
        print(asyncio.run(measure(parser.parse_args().sockets, Path(folder))))


if __name__ == "__main__":
    main()
