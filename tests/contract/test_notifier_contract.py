"""What every Notifier does with every Feed, against a real Socket.IO server. One suite for all notifiers."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from tests.support.message_source import ListSource, message
from tests.support.notifiers import RunningNotifier, fast_settings, running_notifier
from tests.support.socketio_server import SocketIoServer, socketio_server
from worker.core.notification import progress
from worker.core.store import OutboxMessage
from worker.notifiers.socketio.events import Connect


@pytest.fixture
async def server() -> AsyncIterator[SocketIoServer]:
    async with socketio_server() as started:
        yield started


@pytest.fixture
async def link(server: SocketIoServer) -> AsyncIterator[RunningNotifier]:
    async with running_notifier(fast_settings(server.url)) as started:
        yield started


async def test_run_delivers_messages_in_order_and_unchanged(link: RunningNotifier, server: SocketIoServer) -> None:
    link.source.add(*[message(number) for number in range(1, 601)])
    await link.source.until(600)
    assert server.numbers == list(range(1, 601))
    assert len(server.received) == 600
    first, user = server.received[0]
    assert first["payload"]["jobId"] == "job-1"
    assert user == {"userId": "user-1"}


async def test_run_confirms_in_growing_batches(link: RunningNotifier) -> None:
    link.source.add(*[message(number) for number in range(1, 601)])
    await link.source.until(600)
    assert link.source.reports == sorted(set(link.source.reports))
    assert link.source.reports[-1] == 600
    assert len(link.source.reports) < 600


async def test_run_waits_for_messages_that_come_later(link: RunningNotifier) -> None:
    for number in (1, 2, 3):
        link.source.add(message(number))
        await link.source.until(number)


async def test_run_confirms_nothing_without_an_acknowledgement(link: RunningNotifier, server: SocketIoServer) -> None:
    release = asyncio.Event()

    async def slowly(_sid: str, note: dict[str, object], _user: object) -> None:
        server.received.append((note, _user))
        await release.wait()

    server.sio.on("socket-notification", slowly)
    link.source.add(message(1))
    while not server.received:
        await asyncio.sleep(0.01)
    assert link.source.watermark == 0
    release.set()
    await link.source.until(1)


async def test_run_reports_a_rejection_and_continues(link: RunningNotifier, server: SocketIoServer) -> None:
    server.answer = lambda note, _user: (
        {"ok": False, "error": "no such user"} if note["payload"]["sequence"] == 2 else None
    )
    link.source.add(*[message(number) for number in range(1, 6)])
    await link.source.until(5)
    assert link.source.rejections == {2: "no such user"}
    assert link.source.watermark == 5


async def test_run_sends_unconfirmed_messages_again_after_a_lost_session(
    link: RunningNotifier, server: SocketIoServer
) -> None:
    server.answer = lambda _note, _user: ...
    await link.events.one(Connect)
    hold = asyncio.Event()

    async def hang(_sid: str, note: dict[str, object], user: object) -> None:
        server.received.append((note, user))
        await hold.wait()

    server.sio.on("socket-notification", hang)
    link.source.add(*[message(number) for number in range(1, 6)])
    while not server.received:
        await asyncio.sleep(0.01)
    server.sio.on("socket-notification", server._notification)
    server.answer = lambda _note, _user: None
    link.notifier.reconnect()
    await link.source.until(5)
    hold.set()
    assert link.source.rewinds >= 1
    assert server.numbers == [1, 2, 3, 4, 5]


async def test_run_returns_after_the_stop_when_everything_is_confirmed(
    link: RunningNotifier, server: SocketIoServer
) -> None:
    link.source.add(*[message(number) for number in range(1, 51)])
    link.stop.set()
    async with asyncio.timeout(30):
        await link.task
    assert link.source.watermark == 50
    assert server.numbers == list(range(1, 51))


async def test_run_returns_after_the_stop_while_the_server_is_away(
    link: RunningNotifier, server: SocketIoServer
) -> None:
    await link.events.one(Connect)
    await server.stop()
    link.source.add(message(1))
    link.stop.set()
    async with asyncio.timeout(30):
        await link.task
    assert link.source.watermark == 0


async def test_run_confirms_nothing_in_flight_when_cancelled(link: RunningNotifier, server: SocketIoServer) -> None:
    hold = asyncio.Event()

    async def hang(_sid: str, note: dict[str, object], user: object) -> None:
        server.received.append((note, user))
        await hold.wait()

    server.sio.on("socket-notification", hang)
    link.source.add(message(1))
    while not server.received:
        await asyncio.sleep(0.01)
    link.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await link.task
    hold.set()
    assert link.source.watermark == 0


async def test_progress_is_delivered_while_connected(link: RunningNotifier, server: SocketIoServer) -> None:
    await link.events.one(Connect)
    link.notifier.progress(progress("job-9", "report", "user-1", 40.0, "half way", "socket-notification"))
    async with asyncio.timeout(30):
        while not server.received:
            await asyncio.sleep(0.01)
    assert server.received[0][0]["message"] == "Task Progress"


async def test_progress_is_dropped_while_disconnected(link: RunningNotifier, server: SocketIoServer) -> None:
    await link.events.one(Connect)
    await server.stop()
    for percent in range(100):
        link.notifier.progress(progress("job-9", "report", "user-1", float(percent), "", "socket-notification"))
    await server.start()
    link.source.add(message(1))
    await link.source.until(1)
    assert [note["message"] for note, _ in server.received][-1] == "Task Finish"


async def test_run_keeps_one_session_for_an_empty_source(server: SocketIoServer) -> None:
    async with running_notifier(fast_settings(server.url), ListSource()) as idle:
        await idle.events.one(Connect)
        idle.stop.set()
        async with asyncio.timeout(30):
            await idle.task
        assert idle.notifier.status().total_connections == 1


class ExhaustedSource(ListSource):
    """Says so when nothing more will come, instead of waiting."""

    async def take(self, limit: int) -> Sequence[OutboxMessage]:
        if all(self._settled(known.id) or known.id <= self._taken_to for known in self.messages):
            return []
        return await super().take(limit)


async def test_run_accepts_a_source_that_ends(server: SocketIoServer) -> None:
    source = ExhaustedSource([message(number) for number in range(1, 51)])
    async with running_notifier(fast_settings(server.url), source) as link:
        link.stop.set()
        async with asyncio.timeout(30):
            await link.task
        assert source.watermark == 50
