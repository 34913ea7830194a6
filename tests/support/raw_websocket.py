"""A WebSocket server whose every byte is written by its script: for what no library would send."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from tests.support.bad_servers import note_in
from worker.net.frame_reader import CLOSE, TEXT, FrameReader
from worker.net.frames import text_frame
from worker.net.websocket_key import accept_for

OPEN = b'0{"sid":"engine","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}'
_PLENTY = 1 << 30


@dataclass
class RawPeer:
    """The server's end of one connection."""

    number: int
    """1 for the first connection."""
    headers: Mapping[str, str]
    """Those of the request, with names in lower case."""
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    frames: FrameReader = field(default_factory=lambda: FrameReader(_PLENTY))

    @property
    def transport(self) -> asyncio.Transport:
        assert isinstance(self.writer.transport, asyncio.Transport)
        return self.writer.transport

    def write(self, data: bytes) -> None:
        self.writer.write(data)

    def switch(self, *more: str, accept: str | None = None, upgrade: str | None = "websocket") -> None:
        """Answer 101; `more` are further header lines."""
        accept = accept_for(self.headers["sec-websocket-key"]) if accept is None else accept
        lines = ["HTTP/1.1 101 Switching Protocols", "Connection: keep-alive, Upgrade", *more]
        lines += [f"Upgrade: {upgrade}"] if upgrade else []
        lines += [f"Sec-WebSocket-Accept: {accept}"] if accept else []
        self.write("\r\n".join([*lines, "", ""]).encode())

    async def greet(self) -> None:
        """Answer 101, OPEN and CONNECT."""
        self.switch()
        self.write(text_frame(OPEN))
        assert (await self.next())[1].startswith(b"40")
        self.write(text_frame(b'40{"sid":"socket"}'))

    async def next(self) -> tuple[int, bytes]:
        """The next frame of the client. Raises EOFError at the end of the connection."""
        while (frame := self.frames.next()) is None:
            data = await self.reader.read(65536)
            if not data:
                raise EOFError
            self.frames.feed(data)
        return frame

    async def close_frame(self) -> bytes:
        """The payload of the client's close frame."""
        while (frame := await self.next())[0] != CLOSE:
            pass
        return frame[1]

    async def acknowledge(self) -> None:
        """Acknowledge every notification until the client leaves."""
        while True:
            opcode, payload = await self.next()
            if opcode == TEXT and (found := note_in(payload.decode())):
                self.write(text_frame(b"43%d[]" % found[0] if found[0] is not None else b"6"))
            elif opcode == CLOSE:
                return

    def reset(self) -> None:
        """End the connection with a TCP reset."""
        linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.writer.transport.abort()


Script = Callable[[RawPeer], Awaitable[None]]


@contextlib.asynccontextmanager
async def raw_server(script: Script) -> AsyncIterator[str]:
    """Play the script for every connection; yield the URL."""
    tasks: set[asyncio.Task[None]] = set()
    count = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        count += 1
        number = count
        with contextlib.suppress(EOFError, ConnectionError):
            lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[1:]
            pairs = (line.partition(":") for line in lines if line)
            headers = {name.lower(): value.strip() for name, _, value in pairs}
            await script(RawPeer(number, headers, reader, writer))
        writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
