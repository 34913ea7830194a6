"""Carries what arrives on an upgraded connection to the task that reads it, in bounded memory."""

import asyncio
from typing import Any, Final, cast

from aiohttp.web_protocol import RequestHandler

from worker.net.frame_reader import FrameReader

_HIGH_WATER: Final = 64 * 1024
"""Bytes that were received and not yet parsed; above this the connection is not read."""


class FrameChannel:
    """The receiving end of one WebSocket. aiohttp's protocol feeds it (`feed_data`, `feed_eof`)."""

    __slots__ = ("_discarding", "_paused", "_protocol", "_waiter", "at_eof", "reader")

    def __init__(self, protocol: RequestHandler, max_message_bytes: int) -> None:
        self.reader = FrameReader(max_message_bytes)
        self.at_eof = False
        """Whether the connection is lost."""
        self._protocol = protocol
        self._waiter: asyncio.Future[None] | None = None
        self._paused = False
        self._discarding = False
        # It takes what has arrived together with the request.
        protocol.set_parser(cast(Any, self))

    @property
    def is_behind(self) -> bool:
        """Whether more has arrived than may be kept here: the rest waits in the operating system."""
        return self._paused

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Take bytes from the connection."""
        if not self._discarding:
            self.reader.feed(data)
            if self._waiter is not None:
                self._wake()
            elif not self._paused and self.reader.buffered_bytes > _HIGH_WATER:
                self._paused = True
                self._protocol.pause_reading()
        return False, b""

    def feed_eof(self) -> None:
        """Note that the connection is lost."""
        self.at_eof = True
        self._wake()

    def discard(self) -> None:
        """Drop what has arrived, and whatever comes."""
        self._discarding = True
        self.reader.discard()

    async def wait(self) -> None:
        """Wait until more has arrived, or the connection is lost."""
        if self.at_eof:
            return
        if self._paused:
            self._paused = False
            self._protocol.resume_reading()
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    async def wait_eof(self) -> None:
        """Wait until the connection is lost."""
        while not self.at_eof:
            await self.wait()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
