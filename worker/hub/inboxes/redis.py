"""The inbox of several hubs, in one Redis: stored and numbered there, sent to all hubs by pub/sub, repaired by number.

Pub/sub silently loses what is published while a hub is not connected. So the hub does not rely on it: each user's
messages are numbered, and a hub that receives 43 after 41 fetches 42; after a lost connection it checks every user that
it serves. Redis executes the scripts one by one and publishes inside them, so the numbers come in order.
If they go back, Redis lost its newest writes, by a failover or a restart: the hub that notices it gives the user a new
epoch, so that all clients start over.
Knows no client and no protocol.
"""

import asyncio
import contextlib
import random
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError

from worker.core.clock import Clock
from worker.core.events import Emit, LoopFailed
from worker.errors import Unavailable
from worker.hub.events import InboxNotDurable, SharedInboxLost, SharedInboxRestored
from worker.hub.inbox import Answer, DamagedInbox, InboxLimits, InboxListener, InboxPage, ResumePoint
from worker.hub.inboxes.redis_damage import RedisDamage
from worker.hub.inboxes.redis_reader import UNREADABLE, RedisReader, message_of
from worker.hub.inboxes.redis_revocations import RedisRevocations
from worker.hub.inboxes.redis_scripts import InboxPublication, decode_publication
from worker.hub.inboxes.redis_writer import REDIS_ERRORS, RedisWriter
from worker.hub.messages import Message, StoredMessage

_COMMAND_SECONDS: Final = 5.0
_CONNECT_SECONDS: Final = 3.0
_SILENCE_SECONDS: Final = 5.0
"""Without any message, the subscription is pinged; without an answer for as long again, it counts as lost."""
_MIN_RECONNECT_SECONDS: Final = 0.1
_MAX_RECONNECT_SECONDS: Final = 2.0
_PARALLEL_REPAIRS: Final = 64
"""Users whose inboxes are checked at the same time after a lost connection."""
_CLOSE_SECONDS: Final = 2.0


@dataclass(slots=True, eq=False)
class _ServedUser:
    """A user with clients at this hub."""

    epoch: str = ""
    seq: int | None = None
    """The newest number that was delivered; None: not known yet, the first page is still being fetched."""
    heard: int = 0
    """The newest number that was published; less than `seq` after messages were fetched."""
    behind: bool = False
    """Whether the inbox may hold messages after `seq`."""


class EpochChanged(Exception):
    """The user's inbox was replaced between two pages."""


class RedisInbox:
    """All users' inboxes, for all hubs with the same Redis. All methods must be called in the event loop's thread."""

    shared = True

    def __init__(
        self, url: str, clock: Clock, emit: Emit, listener: InboxListener, limits: InboxLimits | None = None
    ) -> None:
        """`url`: redis://, rediss:// or unix://, with its secret. `listener` is called from start() on."""
        self._clock = clock
        self._emit = emit
        self._listener = listener
        self._where = _without_secret(url)
        self._redis: Redis = Redis.from_url(
            url,
            protocol=2,
            socket_timeout=_COMMAND_SECONDS,
            socket_connect_timeout=_CONNECT_SECONDS,
            # The publisher sends again; a second try here could overtake later messages.
            retry=Retry(NoBackoff(), 0),
        )
        # Channels are shared by all databases of a Redis, so the prefix holds the number.
        database = self._redis.connection_pool.connection_kwargs.get("db") or 0
        self._prefix = f"insignia-hub:{database}:"
        self._damage = RedisDamage(self._where, self._prefix, clock, emit)
        self._reader = RedisReader(self._redis, self._prefix, self._damage)
        self._writer = RedisWriter(self._redis, self._prefix, limits or InboxLimits(), self._damage)
        self._revocations = RedisRevocations(self._redis, self._prefix, self._damage, listener)
        self._served: dict[str, _ServedUser] = {}
        self._down_since: float | None = None
        self._subscribed = asyncio.Event()
        self._loops: list[asyncio.Task[None]] = []
        self._requests: set[asyncio.Task[None]] = set()

    @property
    def where(self) -> str:
        return self._where

    async def start(self) -> bool:
        """Start listening and writing. Waits for a Redis that cannot be reached; Unavailable: it rejects the login."""
        try:
            await self._redis.execute_command("PING")  # type: ignore[no-untyped-call]  # redis has no types here
        except (AuthenticationError, ResponseError) as exc:
            await self._redis.aclose()
            raise Unavailable(f"Hub:Redis {self._where} rejects the login: {exc}") from None
        except REDIS_ERRORS as exc:
            self._on_connection_lost(exc)
        self._loops = [
            asyncio.create_task(self._keep_listening(), name="hub-shared-listen"),
            asyncio.create_task(self._keep_running(self._writer.run), name="hub-shared-write"),
            asyncio.create_task(self._keep_running(self._revocations.run), name="hub-shared-revocations"),
        ]
        if self._down_since is None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CONNECT_SECONDS):
                    await self._subscribed.wait()
        return False

    async def close(self) -> None:
        """Write what waits, for at most two seconds, then disconnect."""
        if not self._loops:
            return
        self.flush()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._writer.idle.wait()
        ending, self._loops = [*self._loops, *self._requests], []
        for task in ending:
            task.cancel()
        await asyncio.wait(ending)
        await self._redis.aclose()

    def append(self, message: Message, done: Answer) -> None:
        self._writer.append(message, done)

    async def wait_for_capacity(self) -> None:
        await self._writer.has_capacity.wait()

    def open(self, user: str, resume_point: ResumePoint | None, done: Answer) -> None:
        served = self._served.setdefault(user, _ServedUser())
        self._start(self._open_page(user, served, resume_point, done))

    def read(self, user: str, after: int, done: Answer) -> None:
        served = self._served.setdefault(user, _ServedUser())
        self._start(self._next_page(user, served, after, done))

    def mark_read(self, user: str, position: ResumePoint) -> None:
        served = self._served.get(user)
        if served is not None and served.epoch == position.epoch:
            self._writer.mark_read(user, position)

    def forget(self, user: str) -> None:
        self._served.pop(user, None)

    @property
    def revocations_known(self) -> bool:
        return self._revocations.known

    async def revoke(self, token_id: str) -> None:
        await self._revocations.revoke(token_id)

    async def revoked_tokens(self) -> list[str]:
        """Return the ids of the revoked tokens; those that Redis did not tell yet, `on_revoked` reports later."""
        return sorted(self._revocations.tokens)

    def flush(self) -> None:
        self._writer.flush()

    async def prune(self) -> None:
        """Do nothing: Redis itself deletes messages by number and age, users and ids by age."""

    def check(self) -> None:
        """Do nothing: there is no file."""

    async def _keep_running(self, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run it again after an unexpected error: without it, publishers would wait indefinitely."""
        while True:
            try:
                await run()
            except Exception as exc:  # noqa: BLE001 -- reported
                self._emit(LoopFailed("hub", exc, _MAX_RECONNECT_SECONDS))
                await asyncio.sleep(_MAX_RECONNECT_SECONDS)

    # -- reading ---------------------------------------------------------------------------------------------

    def _start(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._requests.add(task)
        task.add_done_callback(self._requests.discard)

    async def _open_page(self, user: str, served: _ServedUser, resume_point: ResumePoint | None, done: Answer) -> None:
        try:
            await self._writer.save_read_positions()
            page = await self._reader.page(user, "open", resume_point)
            if served.seq is None:
                served.epoch, served.seq = page.epoch, page.seq
            else:
                self._check_epoch(user, served, page)
            page = await self._completed(user, served, page)
        except Exception as exc:  # noqa: BLE001 -- any error: the client must not wait indefinitely
            done(exc)
            return
        done(page)
        await self._repair_if_behind(user, served)

    async def _next_page(self, user: str, served: _ServedUser, after: int, done: Answer) -> None:
        try:
            page = await self._completed(user, served, await self._after(user, served, after))
        except Exception as exc:  # noqa: BLE001 -- any error, as above
            done(exc)
        else:
            done(page)

    async def _completed(self, user: str, served: _ServedUser, page: InboxPage) -> InboxPage:
        """Extend the last page to what other clients here were sent already, so that its client misses nothing."""
        while not page.more and page.seq < (known := served.seq or 0):
            rest = await self._after(user, served, page.seq)
            if rest.seq < known:
                await self._renew(user, served)
                raise EpochChanged(user)
            page = InboxPage(page.epoch, rest.seq, page.recovered, page.messages + rest.messages, rest.more)
        return page

    async def _after(self, user: str, served: _ServedUser, after: int) -> InboxPage:
        page = await self._reader.page(user, "read", ResumePoint(served.epoch, after))
        self._check_epoch(user, served, page)
        return page

    def _check_epoch(self, user: str, served: _ServedUser, page: InboxPage) -> None:
        if page.epoch != served.epoch:
            self._on_epoch_changed(user, served)
            raise EpochChanged(user)

    async def _renew(self, user: str, served: _ServedUser) -> None:
        """Give the user a new epoch, unless another hub did: numbers of this one are given again."""
        with contextlib.suppress(DamagedInbox):
            await self._reader.page(user, "renew", ResumePoint(served.epoch, served.seq or 0))
        self._on_epoch_changed(user, served)

    # -- listening -------------------------------------------------------------------------------------------

    async def _keep_listening(self) -> None:
        pause = _MIN_RECONNECT_SECONDS
        while True:
            try:
                await self._listen()
            except REDIS_ERRORS as exc:
                self._on_connection_lost(exc)
            except Exception as exc:  # noqa: BLE001 -- the hub must go on listening
                self._emit(LoopFailed("hub", exc, pause))
            pause = _MIN_RECONNECT_SECONDS if self._subscribed.is_set() else min(2 * pause, _MAX_RECONNECT_SECONDS)
            self._subscribed.clear()
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))

    async def _listen(self) -> None:
        """Handle one subscription from its start to its end; raises what ended it."""
        async with self._redis.pubsub() as subscription:
            await subscription.subscribe(f"{self._prefix}news")
            pinged = False
            while True:
                received = await subscription.get_message(timeout=_SILENCE_SECONDS)
                if received is None:
                    if pinged:
                        raise RedisConnectionError("Redis does not answer")
                    await subscription.ping()
                    pinged = True
                    continue
                pinged = False
                if received["type"] == "subscribe":
                    await self._on_subscribed()
                elif received["type"] == "message":
                    for publication, message in self._readable(received["data"]):
                        await self._receive(publication, message)

    async def _on_subscribed(self) -> None:
        """From here on no publication is missed: fetch what was missed before."""
        await self._revocations.load()
        all_served = list(self._served.items())
        for start in range(0, len(all_served), _PARALLEL_REPAIRS):
            await asyncio.gather(
                *(self._repair(user, served) for user, served in all_served[start : start + _PARALLEL_REPAIRS])
            )
        self._subscribed.set()
        await self._check_durability()
        if self._down_since is not None:
            self._emit(SharedInboxRestored(self._where, self._clock.monotonic() - self._down_since, len(all_served)))
            self._down_since = None

    def _readable(self, data: bytes) -> Iterator[tuple[InboxPublication, Message | None]]:
        """Yield what one publication holds. Any client of the Redis may publish: what cannot be read is left out."""
        try:
            for one in decode_publication(data):
                yield one, None if one.seq == -1 else message_of(one.user, one.seq, one.epoch, one.body).message
        except UNREADABLE as exc:
            self._damage.report_unreadable(exc)

    async def _receive(self, publication: InboxPublication, message: Message | None) -> None:
        if message is None:
            self._revocations.heard(publication.user)
            return
        served = self._served.get(publication.user)
        if publication.seq == 0:
            self._listener.on_volatile(message)
        elif served is None:
            self._listener.on_stored(StoredMessage(publication.seq, publication.epoch, message))
        elif served.seq is None:
            served.behind = True
        elif publication.epoch != served.epoch:
            self._on_epoch_changed(publication.user, served)
        elif publication.seq == served.seq + 1:
            served.seq = served.heard = publication.seq
            self._listener.on_stored(StoredMessage(publication.seq, publication.epoch, message))
        elif publication.seq <= served.heard:  # Redis publishes each number once
            await self._renew(publication.user, served)
        else:
            # Numbers are missing; or a page brought this one first, unless it is given again: Redis knows.
            await self._repair(publication.user, served)
            served.heard = min(publication.seq, served.seq)

    async def _repair(self, user: str, served: _ServedUser) -> None:
        """Deliver what is in the inbox after `served.seq`, even if others advance it at the same time."""
        if served.seq is None:
            served.behind = True
            return
        more = True
        while more and self._served.get(user) is served:
            try:
                page = await self._after(user, served, served.seq)
            except (EpochChanged, DamagedInbox):  # of this user alone: the others must not wait for it
                self._on_epoch_changed(user, served)
                return
            for stored in page.messages:
                if stored.seq > served.seq:
                    served.seq = stored.seq
                    self._listener.on_stored(stored)
            more = page.more
            if not more:
                # Messages that were deleted as too old or too many will not come any more.
                served.seq = max(served.seq, page.seq)

    async def _repair_if_behind(self, user: str, served: _ServedUser) -> None:
        """Deliver what came while the first page was fetched, as soon as Redis answers.

        A command may fail although the subscription stays, which then brings nothing of this until the next message.
        """
        while served.behind and self._served.get(user) is served:
            served.behind = False
            try:
                await self._repair(user, served)
            except REDIS_ERRORS:
                served.behind = True
                await asyncio.sleep(_MIN_RECONNECT_SECONDS)

    def _on_epoch_changed(self, user: str, served: _ServedUser) -> None:
        if self._served.get(user) is not served:
            return  # done before; the clients that have come since must not be closed
        del self._served[user]
        self._writer.forget(user)
        self._listener.on_reset(user)

    def _on_connection_lost(self, error: BaseException) -> None:
        if self._down_since is None:
            self._down_since = self._clock.monotonic()
            self._emit(SharedInboxLost(self._where, error))

    async def _check_durability(self) -> None:
        """Report a Redis that does not write to disk, or deletes keys when it is full."""
        try:
            facts = {**await self._redis.info("persistence"), **await self._redis.info("memory")}
        except ResponseError:
            return
        if not facts.get("aof_enabled"):
            self._emit(InboxNotDurable(self._where, "appendonly is off: a restart of Redis forgets what was accepted"))
        policy = facts.get("maxmemory_policy", "noeviction")
        if facts.get("maxmemory") and policy != "noeviction":
            self._emit(InboxNotDurable(self._where, f"maxmemory-policy {policy} deletes messages when Redis is full"))


def _without_secret(url: str) -> str:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}"
