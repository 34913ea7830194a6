"""Publishers and browsers that connect to any of several hubs, and continue where they stopped."""

import asyncio
import contextlib
import itertools
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import Any

import aiohttp
import orjson

from tests.support.eventually import eventually
from tests.support.hub import EVENT, PATH, Closed, Raw

_WINDOW = 64
_SILENCE_SECONDS = 10.0
"""Of a hub, after which a client tries the next one."""
_LOSSES = (Closed, aiohttp.ClientError, OSError, TimeoutError)


@contextlib.asynccontextmanager
async def _entered(url: str, auth: dict[str, Any]) -> AsyncIterator[Raw]:
    raw = Raw(aiohttp.ClientSession())
    try:
        async with asyncio.timeout(_SILENCE_SECONDS):
            raw.socket = await raw.session.ws_connect(f"{url}{PATH}/?EIO=4&transport=websocket")
            answer = await raw.connect_with(auth)
        if not answer.startswith("40"):
            raise Closed(None)
        yield raw
    finally:
        await raw.close()


class RoamingPublisher:
    """Sends in order, at most 64 unacknowledged; after a loss it sends those again to the next hub."""

    def __init__(self, urls: Sequence[str], token: str) -> None:
        self._urls = itertools.cycle(urls)
        self._token = token
        self.acknowledged = 0
        self.sessions = 0
        self._progressed = asyncio.Event()

    async def send_all(self, bodies: Sequence[str]) -> None:
        """The arrays of the events, as JSON."""
        unacknowledged: deque[tuple[int, str]] = deque()
        rest = deque(enumerate(bodies))
        while unacknowledged or rest:
            with contextlib.suppress(*_LOSSES):
                await self._session(unacknowledged, rest)
            await asyncio.sleep(0.05)

    async def reaches(self, count: int) -> None:
        async with asyncio.timeout(60):
            while self.acknowledged < count:
                self._progressed.clear()
                await self._progressed.wait()

    async def reconnects(self, *, after: int) -> None:
        """Wait until more than `after` connections were made."""
        await eventually(lambda: self.sessions > after)

    async def _session(self, unacknowledged: deque[tuple[int, str]], rest: deque[tuple[int, str]]) -> None:
        async with _entered(next(self._urls), {"token": self._token}) as raw:
            self.sessions += 1
            for number, body in unacknowledged:
                await raw.send(f"42{number}{body}")
            while unacknowledged or rest:
                while rest and len(unacknowledged) < _WINDOW:
                    unacknowledged.append(rest.popleft())
                    await raw.send("42{}{}".format(*unacknowledged[-1]))
                answer = await _next(raw)
                if isinstance(answer, str) and answer.startswith("43"):
                    number, _ = unacknowledged.popleft()
                    assert answer == f'43{number}[{{"ok":true}}]', answer
                    self.acknowledged += 1
                    self._progressed.set()


class RoamingBrowser:
    """A user's page. With `resume` it sends its position; without, it drops repeated ids itself."""

    def __init__(self, urls: Sequence[str], token: str, *, resume: bool) -> None:
        self._urls = itertools.cycle(urls)
        self._auth: dict[str, Any] = {"token": token}
        self._resume = resume
        self.received: list[int] = []
        """The numbers in the notification ids: all of them with `resume`, else only first arrivals."""
        self.sessions = 0
        if resume:
            self._auth |= {"epoch": None, "lastSeq": None}

    async def receive(self, count: int) -> list[int]:
        """Receive until `count` have arrived."""
        while len(self.received) < count:
            with contextlib.suppress(*_LOSSES):
                await self._session(count)
            await asyncio.sleep(0.05)
        return self.received

    async def _session(self, count: int) -> None:
        async with _entered(next(self._urls), self._auth) as raw:
            self.sessions += 1
            while len(self.received) < count:
                packet = await _next(raw)
                assert isinstance(packet, str)
                if packet.startswith("42"):
                    self._take(*orjson.loads(packet[2:]))

    def _take(self, event: str, *arguments: Any) -> None:
        if event == "org-socket:welcome" and not arguments[0]["recovered"]:
            self._auth |= {"epoch": arguments[0]["epoch"], "lastSeq": arguments[0]["after"]}
        if event != EVENT:
            return
        message, user = arguments
        number = int(message["payload"]["notificationId"].removeprefix("news-"))
        if self._resume:
            self._auth["lastSeq"] = user["seq"]
            self.received.append(number)
        elif number not in self.received[-1000:]:
            self.received.append(number)


async def _next(raw: Raw) -> str | bytes:
    """Return the next packet. TimeoutError, which counts as a loss: nothing came for as long as clients wait."""
    async with asyncio.timeout(_SILENCE_SECONDS):
        return await raw.next()
