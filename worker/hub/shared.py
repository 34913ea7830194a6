"""The inbox of several hubs, in one Redis: kept and numbered there, told to all hubs by pub/sub, healed by number.

Pub/sub loses what is said while a hub's line is down, and says nothing about it. So it is never trusted: each user's
messages have a number, and a hub that hears 43 after 41 fetches 42; after a lost line it asks for everybody it serves.
Redis executes the scripts one by one and publishes inside them, so the numbers come in order.
Knows no socket and no protocol.
"""

import asyncio
import contextlib
import itertools
import random
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import orjson
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, RedisError, ResponseError
from redis.exceptions import ConnectionError as LineLost

from worker.clock import Clock
from worker.errors import Unavailable
from worker.events import Emit, LoopFailed
from worker.hub.events import InboxForgetful, SharedInboxBack, SharedInboxLost
from worker.hub.keeping import Answer, Claim, Ears, Kept, Limits, Page
from worker.hub.news import News, Stored, read_news
from worker.hub.scripts import APPEND, MARK, PAGE

_BATCH: Final = 512
_BATCH_BYTES: Final = 1024 * 1024
_BACKLOG_BYTES: Final = 8 * 1024 * 1024
"""Unwritten bytes from which publishers are made to wait."""
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
_FAULTS: Final = (RedisError, OSError, TimeoutError)
_KEPT: Final = Kept()


@dataclass(slots=True)
class _Waiting:
    news: News
    done: Answer


@dataclass(slots=True, eq=False)
class _Live:
    """A user with clients at this hub."""

    epoch: str = ""
    seq: int | None = None
    """The newest that was given out; None: not known yet, his first page is on its way."""
    behind: bool = False
    """More may be in the inbox than `seq` says."""


@dataclass(frozen=True, slots=True)
class Told:
    """One message of a publication."""

    user: str
    seq: int
    """0: volatile; -1: `user` is a revoked token's id."""
    epoch: str
    body: bytes


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
        self._limits = limits or Limits()
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
        self._append = self._redis.register_script(APPEND)
        self._page = self._redis.register_script(PAGE)
        self._mark = self._redis.register_script(MARK)
        self._waiting: list[_Waiting] = []
        self._writing = 0
        self._unwritten = 0
        self._work = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._room = asyncio.Event()
        self._room.set()
        self._marks: dict[str, int] = {}
        self._marks_due = False
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
        except _FAULTS as exc:
            self._lost(exc)
        self._loops = [
            asyncio.create_task(self._listen_for_ever(), name="hub-shared-listen"),
            asyncio.create_task(self._write_for_ever(), name="hub-shared-write"),
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
                await self._idle.wait()
        ending, self._loops = [*self._loops, *self._asked], []
        for task in ending:
            task.cancel()
        await asyncio.wait(ending)
        await self._redis.aclose()

    def append(self, news: News, done: Answer) -> None:
        """Keep it. `done` gets Kept once it is in Redis, None for a repetition, an exception when it may not be."""
        self._waiting.append(_Waiting(news, done))
        self._unwritten += len(news.body)
        if self._unwritten > _BACKLOG_BYTES:
            self._room.clear()
        self._wake()

    async def room(self) -> None:
        """Wait while too much is unwritten."""
        await self._room.wait()

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
        if seq > self._marks.get(user, 0):
            self._marks[user] = seq

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
        except _FAULTS:
            return []
        return [token.decode() for token in found]

    def flush(self) -> None:
        """Write down the marks."""
        if self._marks:
            self._marks_due = True
            self._wake()

    async def prune(self) -> None:
        """Redis forgets by itself: messages by number and age, users and ids by age."""

    # -- writing ---------------------------------------------------------------------------------------------

    def _wake(self) -> None:
        self._work.set()
        self._idle.clear()

    async def _write_for_ever(self) -> None:
        while True:
            await self._work.wait()
            self._work.clear()
            while self._waiting:
                await self._write(self._next_batch())
            if self._marks_due:
                self._marks_due = False
                with contextlib.suppress(*_FAULTS):
                    await self._save_marks()
            if not self._work.is_set():
                self._idle.set()

    def _next_batch(self) -> list[_Waiting]:
        """What waits, at least one."""
        sizes = itertools.accumulate(len(waiting.news.body) for waiting in self._waiting[:_BATCH])
        count = max(1, sum(1 for size in sizes if size <= _BATCH_BYTES))
        batch, self._waiting = self._waiting[:count], self._waiting[count:]
        return batch

    async def _write(self, batch: list[_Waiting]) -> None:
        """All in one step, one line to Redis and one to every hub."""
        limits = self._limits
        arguments: list[Any] = [self._prefix, _seed(), limits.messages, int(limits.seconds), int(limits.user_seconds)]
        for waiting in batch:
            news = waiting.news
            arguments += (news.user, news.id or "", news.redelivery, "1" if news.volatile else "0", news.body)
        try:
            answers: Sequence[int | Exception] = await self._append(args=arguments)
        except _FAULTS as exc:
            # Whatever waits behind must fail with it: kept now, it would overtake what its publisher sends again.
            batch, self._waiting = batch + self._waiting, []
            answers = [exc] * len(batch)
        self._answer(batch, answers)

    def _answer(self, batch: list[_Waiting], answers: Sequence[int | Exception]) -> None:
        for waiting, answer in zip(batch, answers, strict=True):
            self._unwritten -= len(waiting.news.body)
            if isinstance(answer, Exception):
                waiting.done(answer)
            else:
                waiting.done(None if answer == 0 else _KEPT)
        if self._unwritten <= _BACKLOG_BYTES // 2:
            self._room.set()

    async def _save_marks(self) -> None:
        if not self._marks:
            return
        marks, self._marks = self._marks, {}
        arguments: list[Any] = [self._prefix]
        for user, seq in marks.items():
            arguments += (user, seq)
        try:
            await self._mark(args=arguments)
        except BaseException:
            for user, seq in marks.items():
                self.was_read(user, seq)
            raise

    # -- reading ---------------------------------------------------------------------------------------------

    def _ask(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._asked.add(task)
        task.add_done_callback(self._asked.discard)

    async def _opened(self, user: str, live: _Live, claim: Claim | None, done: Answer) -> None:
        try:
            await self._save_marks()
            page = await self._fetch(user, "open", claim)
            if live.seq is None:
                live.epoch, live.seq = page.epoch, page.seq
            elif page.epoch != live.epoch:
                self._begun_anew(user)
                raise EpochChanged(user)
            page = await self._up_to_date(user, live, page)
        except (*_FAULTS, EpochChanged) as exc:
            done(exc)
            return
        done(page)
        await self._catch_up_quietly(user, live)

    async def _turned(self, user: str, live: _Live, after: int, done: Answer) -> None:
        try:
            page = await self._up_to_date(user, live, await self._after(user, live, after))
        except (*_FAULTS, EpochChanged) as exc:
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
        found = await self._page(args=[self._prefix, _seed(), user, mode, *place, _PAGE, _PAGE_BYTES])
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
            except _FAULTS as exc:
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
            with contextlib.suppress(*_FAULTS):
                await self._heal(user, live)

    def _begun_anew(self, user: str) -> None:
        self._live.pop(user, None)
        self._marks.pop(user, None)
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


def split(publication: bytes) -> Iterator[Told]:
    """The messages of one publication: `user-size seq epoch body-size\\n`, the user, the body, and so on."""
    at = 0
    while at < len(publication):
        end = publication.index(b"\n", at)
        user_size, seq, epoch, body_size = publication[at:end].split(b" ")
        body_at = end + 1 + int(user_size)
        at = body_at + int(body_size)
        yield Told(publication[end + 1 : body_at].decode(), int(seq), epoch.decode(), publication[body_at:at])


def _news(body: bytes) -> News:
    return read_news(orjson.loads(body), body)


def _seed() -> str:
    """What makes a new epoch unlike any before: scripts have no randomness of their own."""
    return secrets.token_hex(8)


def _without_secret(url: str) -> str:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}"
