"""Keeps a session up: attempts, pauses, rounds, refusals. Knows no frames and no proof.

Whatever ends a session or an attempt, it comes back: at once with backoff, after a long pause when the server does
not want us, or after a round of failures. It never gives up for good.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from worker.clock import Clock
from worker.notifier import Feed
from worker.orgsocket.backoff import Backoff
from worker.orgsocket.link import SLOW_CODES, Ending, Link, State, is_slow
from worker.orgsocket.session import Session
from worker.orgsocket.wire import Refused, Terms, innermost

_LAST_LOOK = 0.5
"""Seconds to wait for a feed that may have nothing more when the stop finds us without a session."""


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds."""

    timeout: float
    """One whole attempt: TCP, TLS, upgrade, OPEN, CONNECT."""
    min_uptime: float
    slow_retry: float
    between_rounds: float
    auto_reconnect: bool = True


class Supervisor:
    """`new_session` makes a fresh one for each attempt, `terms` reads the credentials for it."""

    def __init__(
        self,
        link: Link,
        backoff: Backoff,
        patience: Patience,
        clock: Clock,
        *,
        new_session: Callable[[], Session],
        terms: Callable[[], Awaitable[Terms]],
    ) -> None:
        self.session: Session | None = None
        """The one that is up."""
        self._link = link
        self._backoff = backoff
        self._patience = patience
        self._clock = clock
        self._new_session = new_session
        self._terms = terms
        self._asked = asyncio.Event()

    def adopt(self, backoff: Backoff, patience: Patience) -> None:
        """Other pauses, from the next one on."""
        self._backoff, self._patience = backoff, patience

    def reconnect(self) -> None:
        """A fresh session now, whatever the link is doing."""
        self._asked.set()
        if self.session is not None:
            self.session.wire.end(Ending("a fresh connection was asked for"))

    async def run(self, feed: Feed, stop: asyncio.Event) -> None:
        """Until cancelled, or until `stop` is set and the feed is empty or the server away."""
        try:
            while not await self._is_done(feed, stop):
                session = await self._raised(stop)
                if session is None or (await self._carried(session, feed, stop)).final:
                    return
        finally:
            self._link.ended()

    async def _is_done(self, feed: Feed, stop: asyncio.Event) -> bool:
        """Without a session there is no need for one if nothing more is to be sent."""
        if not stop.is_set():
            return False
        left: object = ()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_LOOK):
                left = await feed.take(1)
        feed.rewind()
        return not left

    # -- a session -----------------------------------------------------------------------------------------

    async def _carried(self, session: Session, feed: Feed, stop: asyncio.Event) -> Ending:
        self.session = session
        ending = Ending("the service stops", final=True)  # stays so when we are cancelled
        try:
            ending = await session.carry(feed, stop)
        finally:
            self.session = None
            uptime = self._clock.monotonic() - session.opened_at
            back = self._patience.auto_reconnect and not ending.final
            self._link.lost(ending, uptime=uptime, unproven=session.in_flight, back=back)
        if uptime >= self._patience.min_uptime:
            self._backoff.afresh()
        if back:
            await self._rest_after(ending, stop)
        elif not ending.final:
            await self._until_asked(stop)
        return ending

    async def _rest_after(self, ending: Ending, stop: asyncio.Event) -> None:
        if is_slow(ending):
            self._alarm(ending)
            await self._pause(self._patience.slow_retry, stop)
        else:
            await self._pause(self._backoff.pause(), stop)

    # -- attempts ------------------------------------------------------------------------------------------

    async def _raised(self, stop: asyncio.Event) -> Session | None:
        """A session that is up. None: stopped, and one more attempt has failed."""
        link = self._link
        attempt = 1 if link.sessions else 0
        if link.state is State.DISCONNECTED:
            link.opening()
        while True:
            link.trying(attempt)
            session, ending = await self._attempted()
            if session is not None:
                link.up(attempt, session.mode)
                return session
            link.attempt_failed(attempt, ending)
            if stop.is_set():
                return None
            attempt = await self._rest_between(attempt, ending, stop)

    async def _rest_between(self, attempt: int, ending: Ending, stop: asyncio.Event) -> int:
        """Wait as long as this failure asks for; the number of the next attempt."""
        link, patience = self._link, self._patience
        if not patience.auto_reconnect:
            link.ended()
            await self._until_asked(stop)
            link.opening()
            return 1
        if is_slow(ending):
            self._alarm(ending)
            await self._pause(patience.slow_retry, stop)
            return 1
        if self._backoff.exhausted(attempt):
            link.exhausted(attempt, patience.between_rounds)
            await self._pause(patience.between_rounds, stop)
            self._backoff.afresh()
            link.opening()
            return 1
        await self._pause(self._backoff.pause(), stop)
        return attempt + 1

    async def _attempted(self) -> tuple[Session | None, Ending]:
        session = self._new_session()
        try:
            async with asyncio.timeout(self._patience.timeout) as limit:
                await session.open(await self._terms())
        except Exception as exc:  # noqa: BLE001 -- any exception is a failed attempt: the loop must live on
            await session.wire.drop()
            if limit.expired():
                return None, self._too_slow(session)
            return None, exc.ending if isinstance(exc, Refused) else Ending(_in_one_line(exc))
        except BaseException:
            await session.wire.drop()
            raise
        return session, Ending("")

    def _too_slow(self, session: Session) -> Ending:
        return Ending(f"no answer within {self._patience.timeout:g} s while waiting for {session.wire.stage}")

    def _alarm(self, ending: Ending) -> None:
        meaning = SLOW_CODES.get(ending.code or 0, ending.reason)
        again = f"the next attempt follows in {self._patience.slow_retry:g} s"
        self._link.trouble("the server refuses us", f"{meaning}; {again}", alarm=True)

    # -- waiting -------------------------------------------------------------------------------------------

    async def _pause(self, seconds: float, stop: asyncio.Event) -> None:
        """Cut short by reconnect(), and by the stop: what is left then has this one chance."""
        self._link.waiting(seconds)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._until_asked(stop)

    async def _until_asked(self, stop: asyncio.Event) -> None:
        waiters = [asyncio.create_task(event.wait()) for event in (self._asked, stop)]
        try:
            await asyncio.wait(waiters, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for waiter in waiters:
                waiter.cancel()
        if self._asked.is_set():
            self._asked.clear()
            self._backoff.afresh()


def _in_one_line(exc: BaseException) -> str:
    cause = innermost(exc)
    text = " ".join(str(cause).split())
    return f"{type(cause).__name__}: {text}" if text else type(cause).__name__
