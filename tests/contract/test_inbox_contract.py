"""Every implementation of Inbox: in a file, in memory, and in the Redis that hubs share."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.inbox_calls import ask, news
from tests.support.redis_server import RedisServer
from worker.core.clock import Clock
from worker.hub.inbox import Inbox, InboxPage, ResumePoint
from worker.hub.inboxes.redis import RedisInbox
from worker.hub.inboxes.sqlite import SqliteInbox
from worker.hub.messages import Message, StoredMessage


class Listener:
    """A hub without clients."""

    def on_stored(self, stored: StoredMessage) -> None: ...
    def on_volatile(self, message: Message) -> None: ...
    def on_reset(self, user: str) -> None: ...
    def on_revoked(self, token_id: str) -> None: ...
    def on_revocations_unknown(self) -> None: ...


@contextlib.asynccontextmanager
async def in_file(folder: Path) -> AsyncIterator[Inbox]:
    yield SqliteInbox(folder / "hub.db", Clock())


@contextlib.asynccontextmanager
async def in_memory(_folder: Path) -> AsyncIterator[Inbox]:
    yield SqliteInbox(None, Clock())


@contextlib.asynccontextmanager
async def in_redis(folder: Path) -> AsyncIterator[Inbox]:
    server = RedisServer(folder / "redis")
    server.start()
    try:
        yield RedisInbox(server.url, Clock(), lambda _event: None, Listener())
    finally:
        server.kill()


@pytest.fixture(params=[in_file, in_memory, in_redis])
async def inbox(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Inbox]:
    async with request.param(tmp_path) as inbox:
        await inbox.start()
        yield inbox
        await inbox.close()


async def opened(inbox: Inbox) -> InboxPage:
    """The first page for a client without a position, as after the last one has disconnected."""
    inbox.forget("ann")
    page: InboxPage = await ask(inbox.open, "ann", None)
    return page


async def test_read_position_is_kept(inbox: Inbox) -> None:
    for number in (1, 2, 3):
        await ask(inbox.append, news(number))
    epoch = (await opened(inbox)).epoch
    inbox.mark_read("ann", ResumePoint(epoch, 2))
    inbox.mark_read("ann", ResumePoint(epoch, 1))
    assert [stored.seq for stored in (await opened(inbox)).messages] == [3]


async def test_read_position_of_another_epoch_is_ignored(inbox: Inbox) -> None:
    """A late answer of a client that connected before the inbox was replaced: its number is another message's."""
    for number in (1, 2, 3):
        await ask(inbox.append, news(number))
    epoch = (await opened(inbox)).epoch
    inbox.mark_read("ann", ResumePoint(epoch, 1))
    inbox.mark_read("ann", ResumePoint("ab12", 3))
    page = await opened(inbox)
    assert (page.epoch, [stored.seq for stored in page.messages]) == (epoch, [2, 3])
