"""Keeps a session up: attempts, delays, rounds, rejections. Knows nothing of frames and confirmation.

Whatever ends a session or an attempt, the link comes back: at once with backoff, after a long delay when the server
rejects us, or after a round of failures. It never gives up for good.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from worker.core.clock import Clock
from worker.core.notifier import MessageSource
from worker.notifiers.socketio.backoff import Backoff
from worker.notifiers.socketio.handshake import ConnectOptions, ConnectRejected
from worker.notifiers.socketio.network_faults import explain
from worker.notifiers.socketio.session import LinkSession
from worker.notifiers.socketio.state import CloseReason, Link, State, needs_slow_retry

_LAST_TAKE = 0.5
"""Seconds to wait for a source that may have nothing more when the stop finds us without a session."""


@dataclass(frozen=True, slots=True)
class RetryTimings:
    """How long attempts and the delays between them take. Seconds."""

    timeout: float
    """One whole attempt: TCP, TLS, upgrade, OPEN, CONNECT."""
    min_uptime: float
    slow_retry: float
    between_rounds: float
    auto_reconnect: bool = True


class Alternatives(Protocol):
    """Other ways to make the handshake, tried at once within an attempt when the server asks for them."""

    def begin(self) -> None:
        """An attempt begins."""
        ...

    def try_alternative(self, reason: CloseReason) -> bool:
        """Return whether the next session will make the handshake in another way."""
        ...

    def on_timeout(self) -> None:
        """The attempt timed out."""
        ...


class Supervisor:
    """`new_session` makes a new session for each attempt, `read_options` reads the credentials for it."""

    def __init__(
        self,
        link: Link,
        backoff: Backoff,
        timings: RetryTimings,
        clock: Clock,
        *,
        new_session: Callable[[], LinkSession],
        read_options: Callable[[], Awaitable[ConnectOptions]],
        alternatives: Alternatives | None = None,
    ) -> None:
        self.session: LinkSession | None = None
        """The session that is up."""
        self._link = link
        self._backoff = backoff
        self._timings = timings
        self._clock = clock
        self._new_session = new_session
        self._read_options = read_options
        self._alternatives = alternatives
        self._reconnect_requested = asyncio.Event()

    def apply(self, backoff: Backoff, timings: RetryTimings) -> None:
        """Use other delays, from the next one on."""
        self._backoff, self._timings = backoff, timings

    def reconnect(self) -> None:
        """Start a new session now, whatever the link is doing."""
        self._reconnect_requested.set()
        if self.session is not None:
            self.session.connection.end(CloseReason("a new connection was requested", requested=True))

    async def run(self, source: MessageSource, stop: asyncio.Event) -> None:
        """Run until cancelled, or until `stop` is set and the source is empty or the server away."""
        try:
            while not await self._is_done(source, stop):
                session = await self._connect(stop)
                if session is None or (await self._run_session(session, source, stop)).final:
                    return
        finally:
            self._link.ended()

    async def _is_done(self, source: MessageSource, stop: asyncio.Event) -> bool:
        """Return whether the stop is set and nothing more is to be sent, so that no session is needed."""
        if not stop.is_set():
            return False
        left: object = ()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_TAKE):
                left = await source.take(1)
        source.rewind()
        return not left

    # -- one session ---------------------------------------------------------------------------------------

    async def _run_session(self, session: LinkSession, source: MessageSource, stop: asyncio.Event) -> CloseReason:
        self.session = session
        reason = CloseReason("the service stops", final=True)  # remains when we are cancelled
        try:
            reason = await session.run(source, stop)
        finally:
            self.session = None
            uptime = self._clock.monotonic() - session.opened_at
            will_retry = self._timings.auto_reconnect and not reason.final
            self._link.session_ended(reason, uptime=uptime, unconfirmed=session.in_flight, will_retry=will_retry)
        if uptime >= self._timings.min_uptime:
            self._backoff.reset()
        if will_retry:
            await self._wait_after_session(reason, stop)
        elif not reason.final:
            await self._wait_for_request(stop)
        return reason

    async def _wait_after_session(self, reason: CloseReason, stop: asyncio.Event) -> None:
        if needs_slow_retry(reason):
            self._alarm(reason)
            await self._wait(self._timings.slow_retry, stop)
        else:
            await self._wait(self._backoff.next_delay(), stop)

    # -- attempts ------------------------------------------------------------------------------------------

    async def _connect(self, stop: asyncio.Event) -> LinkSession | None:
        """Return a session that is up; None: stopped, and one more attempt has failed."""
        link = self._link
        attempt = 1 if link.sessions else 0
        if link.state is State.DISCONNECTED:
            link.opening()
        while True:
            link.attempt_started(attempt)
            session, reason = await self._attempt()
            if session is not None:
                link.connected(attempt, session.mode, session.dialect)
                return session
            link.attempt_failed(attempt, reason)
            if stop.is_set():
                return None
            attempt = await self._wait_after_failure(attempt, reason, stop)

    async def _wait_after_failure(self, attempt: int, reason: CloseReason, stop: asyncio.Event) -> int:
        """Wait as long as this failure requires; return the number of the next attempt."""
        link, timings = self._link, self._timings
        if not timings.auto_reconnect:
            link.ended()
            await self._wait_for_request(stop)
            link.opening()
            return 1
        if needs_slow_retry(reason):
            self._alarm(reason)
            await self._wait(timings.slow_retry, stop)
            return 1
        if self._backoff.exhausted(attempt):
            link.exhausted(attempt, timings.between_rounds)
            await self._wait(timings.between_rounds, stop)
            self._backoff.reset()
            link.opening()
            return 1
        await self._wait(self._backoff.next_delay(), stop)
        return attempt + 1

    async def _attempt(self) -> tuple[LinkSession | None, CloseReason]:
        """Return a session that is up, or the reason of the first failed handshake; the timeout covers them all."""
        deadline = asyncio.get_running_loop().time() + self._timings.timeout
        if self._alternatives is not None:
            self._alternatives.begin()
        first: CloseReason | None = None
        while True:
            session, reason = await self._handshake(deadline)
            if session is not None:
                return session, reason
            first = first or reason
            if self._alternatives is not None and asyncio.get_running_loop().time() >= deadline:
                self._alternatives.on_timeout()
                return None, first
            if self._alternatives is None or not self._alternatives.try_alternative(reason):
                return None, first

    async def _handshake(self, deadline: float) -> tuple[LinkSession | None, CloseReason]:
        session = self._new_session()
        try:
            async with asyncio.timeout_at(deadline) as limit:
                await session.open(await self._read_options())
        except Exception as exc:  # noqa: BLE001 -- any exception is a failed attempt: the loop must live on
            await session.connection.abort()
            if limit.expired():
                return None, self._timeout_reason(session)
            return None, exc.close_reason if isinstance(exc, ConnectRejected) else CloseReason(explain(exc))
        except BaseException:
            await session.connection.abort()
            raise
        return session, CloseReason("")

    def _timeout_reason(self, session: LinkSession) -> CloseReason:
        waited = f"no answer within {self._timings.timeout:g} s while waiting for {session.connection.stage}"
        return CloseReason(f"{waited}: is the server overloaded, or does a firewall drop what we send?")

    def _alarm(self, reason: CloseReason) -> None:
        next_attempt = f"the next attempt follows in {self._timings.slow_retry:g} s"
        self._link.report_error("the server rejects us", f"{reason.alarm}; {next_attempt}", alarm=True)

    # -- waiting -------------------------------------------------------------------------------------------

    async def _wait(self, seconds: float, stop: asyncio.Event) -> None:
        """Wait; cut short by reconnect(), and by the stop: what is left then gets one more attempt."""
        self._link.retry_scheduled(seconds)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wait_for_request(stop)

    async def _wait_for_request(self, stop: asyncio.Event) -> None:
        waiters = [asyncio.create_task(event.wait()) for event in (self._reconnect_requested, stop)]
        try:
            await asyncio.wait(waiters, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for waiter in waiters:
                waiter.cancel()
        if self._reconnect_requested.is_set():
            self._reconnect_requested.clear()
            self._backoff.reset()
