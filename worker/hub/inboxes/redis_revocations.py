"""Which tokens are revoked, as the hubs' Redis has it. As long as that cannot be read, no token counts as not revoked.

Knows no token's content, and no clients.
"""

import asyncio
import contextlib
from collections.abc import Iterable
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from worker.errors import StoreAway, StoreUnwritable
from worker.hub.inbox import InboxListener
from worker.hub.inboxes.redis_damage import RedisDamage
from worker.hub.inboxes.redis_scripts import is_about_content
from worker.hub.inboxes.redis_writer import REDIS_ERRORS

_RETRY_SECONDS: Final = 1.0


class RedisRevocations:
    """All methods must be called in the event loop's thread."""

    def __init__(self, redis: Redis, prefix: str, damage: RedisDamage, listener: InboxListener) -> None:
        self._redis, self._damage, self._listener = redis, damage, listener
        self._key, self._news = f"{prefix}revoked", f"{prefix}news"
        self._due = asyncio.Event()
        """Set while something could not be read or stored."""
        self.known = False
        """Whether `tokens` are all that were revoked."""
        self.tokens: set[str] = set()

    async def revoke(self, token_id: str) -> None:
        """Store that this token id is revoked, and publish it to all hubs. StoreAway, StoreUnwritable: not stored yet;
        it is as soon as Redis takes it, unless this hub ends before."""
        self.tokens.add(token_id)
        try:
            await self._store([token_id])
        except REDIS_ERRORS as exc:
            error = StoreUnwritable if isinstance(exc, ResponseError) else StoreAway
            raise error(f"the token is revoked, but the hubs' Redis has not stored it yet: {exc}") from None

    async def load(self) -> None:
        """Read what is revoked, and store what Redis lacks of it: it may have lost its newest writes.

        Raises what a Redis raises that cannot be used for now.
        """
        try:
            found = set(self._readable(await self._redis.smembers(self._key)))
        except ResponseError as exc:
            self._due.set()
            if not is_about_content(exc):
                raise  # such as of a replica without its primary: nothing is wrong with the key
            self._damage.report_revocations(self._key, exc)
            self.known = False
            self._listener.on_revocations_unknown()
            return
        self._due.clear()
        new, lost = found - self.tokens, self.tokens - found
        self.tokens |= found
        for token_id in new:
            self._listener.on_revoked(token_id)
        self.known = True
        self._damage.on_revocations_read()
        if lost:
            with contextlib.suppress(ResponseError):  # a Redis that takes no writes still tells what it has
                await self._store(lost)

    def heard(self, token_id: str) -> None:
        """Another hub published that it is revoked."""
        if token_id not in self.tokens:
            self.tokens.add(token_id)
            self._listener.on_revoked(token_id)

    async def _store(self, token_ids: Iterable[str]) -> None:
        """Store the ids and publish them: other hubs may have read what is stored before. `run` repeats it."""
        encoded = [token_id.encode() for token_id in token_ids]
        pipeline = self._redis.pipeline(transaction=True)
        pipeline.sadd(self._key, *encoded)
        # The hubs that listen learn it even if the key is damaged.
        pipeline.publish(self._news, b"".join(b"%d -1 - 0\n%b" % (len(one), one) for one in encoded))
        try:
            await pipeline.execute()
        except BaseException:
            self._due.set()
            raise

    async def run(self) -> None:
        """Read again what could not be read, until cancelled."""
        while True:
            await self._due.wait()
            await asyncio.sleep(_RETRY_SECONDS)
            with contextlib.suppress(*REDIS_ERRORS):
                await self.load()

    def _readable(self, found: Iterable[Any]) -> Iterable[str]:
        for token in found:
            try:
                yield token.decode()
            except UnicodeDecodeError as exc:  # no token has such an id
                self._damage.report_unreadable(exc)
