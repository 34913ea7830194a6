"""Reads pages of the shared inbox, and leaves out what no hub wrote. Knows no clients."""

from dataclasses import replace
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from worker.hub.errors import MalformedPacket
from worker.hub.inbox import InboxPage, ResumePoint
from worker.hub.inboxes.redis_damage import RedisDamage
from worker.hub.inboxes.redis_scripts import PAGE
from worker.hub.inboxes.redis_writer import epoch_seed
from worker.hub.messages import StoredMessage, stored_message

_PAGE: Final = 100
_PAGE_BYTES: Final = 256 * 1024
UNREADABLE: Final = (MalformedPacket, ValueError)
"""What is raised when something in Redis was not written by a hub."""


class RedisReader:
    """All methods must be called in the event loop's thread."""

    def __init__(self, redis: Redis, prefix: str, damage: RedisDamage) -> None:
        self._prefix = prefix
        self._damage = damage
        self._page_script = redis.register_script(PAGE)

    async def page(self, user: str, mode: str, resume_point: ResumePoint | None) -> InboxPage:
        """Return a page, without what no hub wrote; the first one that has something, if there is one."""
        page, last = await self._fetch_page(user, mode, resume_point)
        recovered, before = page.recovered, -1
        while page.more and not page.messages and before < last:
            before = last
            page, last = await self._fetch_page(user, "read", ResumePoint(page.epoch, last))
        # What follows without advancing has numbers that no hub gives.
        return replace(page, recovered=recovered, more=page.more and bool(page.messages))

    async def _fetch_page(self, user: str, mode: str, resume_point: ResumePoint | None) -> tuple[InboxPage, int]:
        """Return a page, and the number of its last message, readable or not."""
        position = ("", "") if resume_point is None else (resume_point.epoch, resume_point.seq)
        arguments = [self._prefix, epoch_seed(), user, mode, *position, _PAGE, _PAGE_BYTES]
        try:
            found = await self._page_script(args=arguments)
        except ResponseError as exc:
            raise self._damage.error_of(user, exc) from None
        epoch, seq = found[0].decode(errors="replace"), int(found[1])
        messages, before = [], resume_point.seq if resume_point is not None and found[2] else -1
        for number, body in zip(map(int, found[3::2]), found[4::2], strict=True):
            try:
                messages.append(message_of(user, number, epoch, body, before))
            except UNREADABLE as exc:
                self._damage.report_unreadable(exc)
            before = max(before, number)
        last = int(found[-2]) if len(found) > 3 else seq
        return InboxPage(epoch, seq, bool(found[2]), messages, last < seq), last


def message_of(user: str, seq: int, epoch: str, body: bytes, before: int = -1) -> StoredMessage:
    """Return a message of this user with a number above `before`. Raises one of UNREADABLE."""
    if seq <= before:
        raise ValueError("a message with a number that was given already")
    stored = stored_message(seq, epoch, body)
    if stored.message.user != user:
        raise MalformedPacket("a message for another user than the one whose inbox it is in")
    return stored
