"""What every Notifier does with every Feed, against a real Socket.IO server. One suite; both paths of the link."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from tests.support.channels import Running, quick, running
from tests.support.feed import ListFeed, message
from tests.support.socketio_server import SocketIoServer, socketio_server
from worker.notification import progress
from worker.orgsocket.link import Connect
from worker.queue import OutboxMessage


@pytest.fixture
async def server() -> AsyncIterator[SocketIoServer]:
    async with socketio_server() as started:
        yield started


@pytest.fixture(params=["fast", "library"])
async def at_work(request: pytest.FixtureRequest, server: SocketIoServer) -> AsyncIterator[Running]:
    async with running(quick(server.url), fast=request.param == "fast") as started:
        yield started


async def test_every_notifier_carries_messages_in_order_and_unchanged(at_work: Running, server: SocketIoServer) -> None:
    at_work.feed.add(*[message(number) for number in range(1, 601)])
    await at_work.feed.until(600)
    assert server.numbers == list(range(1, 601))
    assert len(server.received) == 600
    first, user = server.received[0]
    assert first["payload"]["jobId"] == "job-1"
    assert user == {"userId": "user-1"}


async def test_every_notifier_confirms_in_batches_that_only_grow(at_work: Running) -> None:
    at_work.feed.add(*[message(number) for number in range(1, 601)])
    await at_work.feed.until(600)
    assert at_work.feed.reports == sorted(set(at_work.feed.reports))
    assert at_work.feed.reports[-1] == 600
    assert len(at_work.feed.reports) < 600


async def test_every_notifier_waits_for_messages_that_come_later(at_work: Running) -> None:
    for number in (1, 2, 3):
        at_work.feed.add(message(number))
        await at_work.feed.until(number)


async def test_every_notifier_confirms_nothing_without_proof(at_work: Running, server: SocketIoServer) -> None:
    release = asyncio.Event()

    async def slowly(_sid: str, note: dict[str, object], _user: object) -> None:
        server.received.append((note, _user))
        await release.wait()

    server.sio.on("socket-notification", slowly)
    at_work.feed.add(message(1))
    while not server.received:
        await asyncio.sleep(0.01)
    assert at_work.feed.watermark == 0
    release.set()
    await at_work.feed.until(1)


async def test_every_notifier_passes_a_refusal_on_and_goes_on_behind_it(
    at_work: Running, server: SocketIoServer
) -> None:
    server.answer = lambda note, _user: (
        {"ok": False, "error": "no such user"} if note["payload"]["sequence"] == 2 else None
    )
    at_work.feed.add(*[message(number) for number in range(1, 6)])
    await at_work.feed.until(5)
    assert at_work.feed.refused == {2: "no such user"}
    assert at_work.feed.watermark == 5


async def test_every_notifier_sends_again_what_a_lost_session_left_unproven(
    at_work: Running, server: SocketIoServer
) -> None:
    server.answer = lambda _note, _user: ...
    await at_work.events.one(Connect)
    hold = asyncio.Event()

    async def hang(_sid: str, note: dict[str, object], user: object) -> None:
        server.received.append((note, user))
        await hold.wait()

    server.sio.on("socket-notification", hang)
    at_work.feed.add(*[message(number) for number in range(1, 6)])
    while not server.received:
        await asyncio.sleep(0.01)
    server.sio.on("socket-notification", server._notification)
    server.answer = lambda _note, _user: None
    at_work.channel.reconnect()
    await at_work.feed.until(5)
    hold.set()
    assert at_work.feed.rewinds >= 1
    assert server.numbers == [1, 2, 3, 4, 5]


async def test_every_notifier_ends_by_itself_once_stopped_and_proven(at_work: Running, server: SocketIoServer) -> None:
    at_work.feed.add(*[message(number) for number in range(1, 51)])
    at_work.stop.set()
    async with asyncio.timeout(10):
        await at_work.task
    assert at_work.feed.watermark == 50
    assert server.numbers == list(range(1, 51))


async def test_every_notifier_ends_when_stopped_while_the_server_is_away(
    at_work: Running, server: SocketIoServer
) -> None:
    await at_work.events.one(Connect)
    await server.stop()
    at_work.feed.add(message(1))
    at_work.stop.set()
    async with asyncio.timeout(10):
        await at_work.task
    assert at_work.feed.watermark == 0


async def test_every_notifier_leaves_everything_unproven_when_cancelled(
    at_work: Running, server: SocketIoServer
) -> None:
    hold = asyncio.Event()

    async def hang(_sid: str, note: dict[str, object], user: object) -> None:
        server.received.append((note, user))
        await hold.wait()

    server.sio.on("socket-notification", hang)
    at_work.feed.add(message(1))
    while not server.received:
        await asyncio.sleep(0.01)
    at_work.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await at_work.task
    hold.set()
    assert at_work.feed.watermark == 0


async def test_progress_arrives_when_the_link_is_up(at_work: Running, server: SocketIoServer) -> None:
    await at_work.events.one(Connect)
    at_work.channel.progress(progress("job-9", "report", "user-1", 40.0, "half way", "socket-notification"))
    async with asyncio.timeout(5):
        while not server.received:
            await asyncio.sleep(0.01)
    assert server.received[0][0]["message"] == "Task Progress"


async def test_progress_is_forgotten_when_the_link_is_down(at_work: Running, server: SocketIoServer) -> None:
    await at_work.events.one(Connect)
    await server.stop()
    for percent in range(100):
        at_work.channel.progress(progress("job-9", "report", "user-1", float(percent), "", "socket-notification"))
    await server.start()
    at_work.feed.add(message(1))
    await at_work.feed.until(1)
    assert [note["message"] for note, _ in server.received][-1] == "Task Finish"


async def test_a_feed_without_news_costs_no_session(server: SocketIoServer) -> None:
    async with running(quick(server.url), ListFeed()) as idle:
        await idle.events.one(Connect)
        idle.stop.set()
        async with asyncio.timeout(10):
            await idle.task
        assert idle.channel.figures().total_connections == 1


class DryFeed(ListFeed):
    """Says so when nothing more will come, instead of waiting."""

    async def take(self, limit: int) -> Sequence[OutboxMessage]:
        if all(self._settled(known.id) or known.id <= self._taken_to for known in self.messages):
            return []
        return await super().take(limit)


async def test_a_feed_may_say_that_nothing_more_will_come(server: SocketIoServer) -> None:
    feed = DryFeed([message(number) for number in range(1, 51)])
    async with running(quick(server.url), feed) as link:
        link.stop.set()
        async with asyncio.timeout(10):
            await link.task
        assert feed.watermark == 50
