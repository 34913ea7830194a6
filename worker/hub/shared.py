"""The inbox of several hubs, in one Redis: kept and numbered there, told to all hubs by pub/sub, healed by number.

Pub/sub loses what is said while a hub's line is down, and says nothing about it. So it is never trusted: each user's
messages have a number, and a hub that hears 43 after 41 fetches 42; after a lost line it asks for everybody it serves.
Redis executes the scripts one by one and publishes inside them, so the numbers come in order.
Knows no socket and no protocol.
"""

import asyncio
import contextlib
import random
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import orjson
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, ResponseError
from redis.exceptions import ConnectionError as LineLost

from worker.clock import Clock
from worker.errors import Unavailable
from worker.events import Emit, LoopFailed
from worker.hub.events import InboxForgetful, SharedInboxBack, SharedInboxLost
from worker.hub.keeping import Answer, Claim, Ears, Limits, Page
from worker.hub.news import News, Stored, read_news
from worker.hub.publication import Told, split
from worker.hub.redis_writer import FAULTS, RedisWriter, seed
from worker.hub.scripts import PAGE

_PAGE: Final = 100
_PAGE_BYTES: Final = 256 * 1024
_COMMAND_SECONDS: Final = 5.0
_CONNECT_SECONDS: Final = 3.0
_SILENCE: Final = 5.0
"""Seconds after which the listening line is asked whether it lives; unanswered for as long again, it is dead."""
_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 2.0
_AT_ONCE: Final = 64
"""Users asked for at the same time after a loss."""
_FAREWELL: Final = 2.0


@dataclass(slots=True, eq=False)
class _Live:
    """A user with clients at this hub."""

    epoch: str = ""
    seq: int | None = None
    """The newest that was given out; None: not known yet, his first page is on its way."""
    behind: bool = False
    """More may be in the inbox than `seq` says."""


class EpochChanged(Exception):
    """The inbox began anew between two pages."""


class SharedInbox:
    """All users' inboxes, for all hubs with the same Redis. Every method is for the event loop's thread."""

    shared = True

    def __init__(self, url: str, clock: Clock, emit: Emit, ears: Ears, limits: Limits | None = None) -> None:
        """`url`: redis://, rediss:// or unix://, with its secret. `ears` hear from start() on."""
        self._clock = clock
        self._emit = emit
        self._ears = ears
        self._where = _without_secret(url)
        self._redis: Redis = Redis.from_url(
            url,
            protocol=2,
            socket_timeout=_COMMAND_SECONDS,
            socket_connect_timeout=_CONNECT_SECONDS,
            # Sending again is the publisher's part: a second try here could overtake what came after.
            retry=Retry(NoBackoff(), 0),
        )
        # Channels know no database number, so the prefix does.
        database = self._redis.connection_pool.connection_kwargs.get("db") or 0
        self._prefix = f"insignia-hub:{database}:"
        self._page = self._redis.register_script(PAGE)
        self._writer = RedisWriter(self._redis, self._prefix, limits or Limits())
        self._live: dict[str, _Live] = {}
        self._down_since: float | None = None
        self._subscribed = asyncio.Event()
        self._loops: list[asyncio.Task[None]] = []
        self._asked: set[asyncio.Task[None]] = set()

    @property
    def where(self) -> str:
        return self._where

    async def start(self) -> bool:
        """Begin to listen and to write. An absent Redis is waited for, a refusing one is Unavailable."""
        try:
            await self._redis.execute_command("PING")  # type: ignore[no-untyped-call]
        except (AuthenticationError, ResponseError) as exc:
            await self._redis.aclose()
            raise Unavailable(f"Hub:Redis {self._where} refuses us: {exc}") from None
        except FAULTS as exc:
            self._lost(exc)
        self._loops = [
            asyncio.create_task(self._listen_for_ever(), name="hub-shared-listen"),
            asyncio.create_task(self._writer.run(), name="hub-shared-write"),
        ]
        if self._down_since is None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CONNECT_SECONDS):
                    await self._subscribed.wait()
        return False

    async def close(self) -> None:
        """Write what waits, as far as Redis takes it, then hang up."""
        if not self._loops:
            return
        self.flush()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FAREWELL):
                await self._writer.idle.wait()
        ending, self._loops = [*self._loops, *self._asked], []
        for task in ending:
            task.cancel()
        await asyncio.wait(ending)
        await self._redis.aclose()

    def append(self, news: News, done: Answer) -> None:
        """Keep it. `done` gets Kept once it is in Redis, None for a repetition, an exception when it may not be."""
        self._writer.append(news, done)

    async def room(self) -> None:
        """Wait while too much is unwritten."""
        await self._writer.room.wait()

    def open(self, user: str, claim: Claim | None, done: Answer) -> None:
        """The first Page; from here on the user's news come to this hub without a gap."""
        live = self._live.setdefault(user, _Live())
        self._ask(self._opened(user, live, claim, done))

    def read(self, user: str, after: int, done: Answer) -> None:
        """The next Page."""
        live = self._live.setdefault(user, _Live())
        self._ask(self._turned(user, live, after, done))

    def was_read(self, user: str, seq: int) -> None:
        """Up to `seq` has been read by a socket of the user. Written within a second."""
        self._writer.was_read(user, seq)

    def forget(self, user: str) -> None:
        """Nobody here is to hear of the user any more."""
        self._live.pop(user, None)

    async def revoke(self, token: str) -> None:
        """Refuse this token id at all hubs."""
        encoded = token.encode()
        await self._redis.sadd(f"{self._prefix}revoked", token)
        await self._redis.publish(f"{self._prefix}news", b"%d -1 - 0\n%b" % (len(encoded), encoded))

    async def revoked(self) -> list[str]:
        """The token ids that were revoked; none while Redis is away: they are told by `ears` when it is back."""
        try:
            found: set[Any] = await self._redis.smembers(f"{self._prefix}revoked")
        except FAULTS:
            return []
        return [token.decode() for token in found]

    def flush(self) -> None:
        """Write down the marks."""
        self._writer.flush()

    async def prune(self) -> None:
        """Redis forgets by itself: messages by number and age, users and ids by age."""

    # -- reading ---------------------------------------------------------------------------------------------

    def _ask(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._asked.add(task)
        task.add_done_callback(self._asked.discard)

    async def _opened(self, user: str, live: _Live, claim: Claim | None, done: Answer) -> None:
        try:
            await self._writer.save_marks()
            page = await self._fetch(user, "open", claim)
            if live.seq is None:
                live.epoch, live.seq = page.epoch, page.seq
            elif page.epoch != live.epoch:
                self._begun_anew(user)
                raise EpochChanged(user)
            page = await self._up_to_date(user, live, page)
        except (*FAULTS, EpochChanged) as exc:
            done(exc)
            return
        done(page)
        await self._catch_up_quietly(user, live)

    async def _turned(self, user: str, live: _Live, after: int, done: Answer) -> None:
        try:
            page = await self._up_to_date(user, live, await self._after(user, live, after))
        except (*FAULTS, EpochChanged) as exc:
            done(exc)
        else:
            done(page)

    async def _up_to_date(self, user: str, live: _Live, page: Page) -> Page:
        """The last page must hold everything others here were given already: its client misses nothing then."""
        while not page.more and page.seq < (live.seq or 0):
            rest = await self._after(user, live, page.seq)
            page = Page(page.epoch, rest.seq, page.recovered, page.messages + rest.messages, rest.more)
        return page

    async def _after(self, user: str, live: _Live, after: int) -> Page:
        page = await self._fetch(user, "read", Claim(live.epoch, after))
        if page.epoch != live.epoch:
            raise EpochChanged(user)
        return page

    async def _fetch(self, user: str, mode: str, claim: Claim | None) -> Page:
        place = ("", "") if claim is None else (claim.epoch, claim.seq)
        found = await self._page(args=[self._prefix, seed(), user, mode, *place, _PAGE, _PAGE_BYTES])
        epoch, seq = found[0].decode(), int(found[1])
        pairs = zip(found[3::2], found[4::2], strict=True)
        messages = [Stored(int(number), epoch, _news(body)) for number, body in pairs]
        more = bool(messages) and messages[-1].seq < seq
        return Page(epoch, seq, bool(found[2]), messages, more)

    # -- hearing ---------------------------------------------------------------------------------------------

    async def _listen_for_ever(self) -> None:
        pause = _PAUSE
        while True:
            try:
                await self._listen()
            except FAULTS as exc:
                self._lost(exc)
            except Exception as exc:  # noqa: BLE001 -- the hub must go on hearing
                self._emit(LoopFailed("hub", exc, pause))
            pause = _PAUSE if self._subscribed.is_set() else min(2 * pause, _LONGEST_PAUSE)
            self._subscribed.clear()
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))

    async def _listen(self) -> None:
        """One line from its subscription to its end; raises what ended it."""
        async with self._redis.pubsub() as line:
            await line.subscribe(f"{self._prefix}news")
            asked = False
            while True:
                heard = await line.get_message(timeout=_SILENCE)
                if heard is None:
                    if asked:
                        raise LineLost("Redis does not answer")
                    await line.ping()
                    asked = True
                    continue
                asked = False
                if heard["type"] == "subscribe":
                    await self._found_again()
                elif heard["type"] == "message":
                    for told in split(heard["data"]):
                        await self._hear(told)

    async def _found_again(self) -> None:
        """The line is there: from here on nothing is missed, and what was is fetched."""
        for token in await self.revoked():
            self._ears.revoked(token)
        served = list(self._live.items())
        for start in range(0, len(served), _AT_ONCE):
            await asyncio.gather(*(self._heal(user, live) for user, live in served[start : start + _AT_ONCE]))
        self._subscribed.set()
        await self._check_durability()
        if self._down_since is not None:
            self._emit(SharedInboxBack(self._where, self._clock.monotonic() - self._down_since, len(served)))
            self._down_since = None

    async def _hear(self, told: Told) -> None:
        if told.seq == -1:
            self._ears.revoked(told.user)
            return
        news = _news(told.body)
        live = self._live.get(told.user)
        if told.seq == 0:
            self._ears.passed(news)
        elif live is None:
            self._ears.arrived(Stored(told.seq, told.epoch, news))
        elif live.seq is None:
            live.behind = True
        elif told.epoch != live.epoch:
            self._begun_anew(told.user)
        elif told.seq == live.seq + 1:
            live.seq = told.seq
            self._ears.arrived(Stored(told.seq, told.epoch, news))
        elif told.seq > live.seq:
            await self._heal(told.user, live)

    async def _heal(self, user: str, live: _Live) -> None:
        """Give out what is in the inbox after `live.seq`. Whoever else advances it meanwhile does no harm."""
        if live.seq is None:
            live.behind = True
            return
        more = True
        while more and self._live.get(user) is live:
            try:
                page = await self._after(user, live, live.seq)
            except EpochChanged:
                self._begun_anew(user)
                return
            for stored in page.messages:
                if stored.seq > live.seq:
                    live.seq = stored.seq
                    self._ears.arrived(stored)
            more = page.more
            if not more:
                # What is gone from the inbox, too old or too much, is not waited for.
                live.seq = max(live.seq, page.seq)

    async def _catch_up_quietly(self, user: str, live: _Live) -> None:
        """What came by while the first page was on its way. A loss here is healed when the line is back."""
        if live.behind:
            live.behind = False
            with contextlib.suppress(*FAULTS):
                await self._heal(user, live)

    def _begun_anew(self, user: str) -> None:
        self._live.pop(user, None)
        self._writer.forget(user)
        self._ears.lost(user)

    def _lost(self, error: BaseException) -> None:
        if self._down_since is None:
            self._down_since = self._clock.monotonic()
            self._emit(SharedInboxLost(self._where, error))

    async def _check_durability(self) -> None:
        """A Redis that writes nothing down, or throws keys away when full, is no record."""
        try:
            facts = {**await self._redis.info("persistence"), **await self._redis.info("memory")}
        except ResponseError:
            return
        if not facts.get("aof_enabled"):
            self._emit(InboxForgetful(self._where, "appendonly is off: a restart of Redis forgets what was accepted"))
        policy = facts.get("maxmemory_policy", "noeviction")
        if facts.get("maxmemory") and policy != "noeviction":
            self._emit(
                InboxForgetful(self._where, f"maxmemory-policy {policy} throws messages away when Redis is full")
            )


def _news(body: bytes) -> News:
    return read_news(orjson.loads(body), body)


def _without_secret(url: str) -> str:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}"
