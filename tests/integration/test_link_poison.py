"""One notification that the server never confirms neither blocks the others nor is sent again without end."""

import asyncio
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from config.link_settings import WebSocketSettings
from tests.support.bad_servers import BadServer, ScriptedConnection, bad_server
from tests.support.eventually import eventually
from tests.support.message_source import ListSource, message
from tests.support.notifiers import fast_settings, running_notifier
from tests.support.socketio_server import socketio_server
from worker.core.store import OutboxMessage
from worker.notifiers.socketio.events import ServerError

USERS = 5


def notes(first: int, last: int) -> list[OutboxMessage]:
    return [message(number, user=f"user-{number % USERS}") for number in range(first, last + 1)]


def fast_retries(url: str, **changes: object) -> WebSocketSettings:
    return fast_settings(url, **{"ack_timeout": 250, "slow_retry_delay": 60, **changes})


def fails_for(numbers: set[int]) -> Callable[[dict[str, Any], object], object]:
    """A server whose handler raises: python-socketio sends no acknowledgement then."""

    def answer(message: dict[str, Any], _user: object) -> object:
        return ... if message["payload"]["sequence"] in numbers else None

    return answer


async def test_notification_that_is_never_acknowledged_is_set_aside_and_the_rest_goes_on() -> None:
    source = ListSource(notes(1, 300))
    async with (
        socketio_server(answer=fails_for({3})) as server,
        # Long enough for the other acknowledgements on a busy machine: they decide how often note-3 is sent.
        running_notifier(fast_retries(server.url, ack_timeout=1000), source, keep_alive=60.0) as link,
    ):
        # Six sessions, each of which ends after its acknowledgements are late: a busy machine takes its time.
        await source.until(300, seconds=120)
        source.add(*notes(301, 320))
        await source.until(320, seconds=120)
        assert list(source.rejections) == [3]
        alone = re.search(r"(\d+) attempts", source.rejections[3])
        assert alone is not None
        assert int(alone[1]) >= 5
        assert "note-3" in " ".join(event.detail for event in link.events.of(ServerError))
    repeats = Counter(server.ids)
    # Once among the others, and five times alone; each session that ends because the machine stands still adds one.
    assert repeats["note-3"] > int(alone[1])
    assert sum(repeats.values()) - repeats["note-3"] < 2 * 319, "the others are not sent again in each session"
    for user in range(USERS):
        arrived = [number for number in server.numbers if number % USERS == user and number != 3]
        assert arrived == sorted(arrived)


async def test_others_go_first_although_more_than_a_window_of_them_is_confirmed_already() -> None:
    """A notification that is due in each session must not keep back those that would show that the server is well."""
    source = ListSource(notes(1, 300))
    async with (
        socketio_server(answer=fails_for({3})) as server,
        running_notifier(fast_retries(server.url, ack_timeout=1000, slow_retry_delay=1), source, keep_alive=60.0),
    ):
        await source.until(300)
        assert list(source.rejections) == [3]


async def test_user_who_comes_after_more_than_a_window_of_the_suspects_user_is_reached() -> None:
    """Those wait for the suspect, so they prove nothing; only what is behind them can."""
    source = ListSource([message(number, user="user-0" if number <= 600 else "user-1") for number in range(1, 621)])
    async with (
        socketio_server(answer=fails_for({3})) as server,
        running_notifier(fast_retries(server.url, ack_timeout=1000, slow_retry_delay=1), source, keep_alive=60.0),
    ):
        await source.until(620)
        assert list(source.rejections) == [3]
        assert server.numbers.index(601) < server.numbers.index(300)


async def test_notification_is_sent_again_although_no_more_can_be_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.notifiers.socketio.held_messages.MAX_OUTSTANDING", 50)
    source = ListSource(notes(1, 300))
    async with socketio_server(answer=fails_for({3})) as server, running_notifier(fast_retries(server.url), source):
        await eventually(lambda: Counter(server.ids)["note-3"] >= 4, timeout=120)


async def test_notification_of_the_only_user_is_set_aside_as_soon_as_a_newer_one_is_confirmed() -> None:
    source = ListSource([message(number) for number in range(1, 6)])
    async with socketio_server(answer=fails_for({5})) as server, running_notifier(fast_retries(server.url), source):
        await eventually(lambda: Counter(server.ids)["note-5"] >= 6, timeout=120)
        assert source.rejections == {}, "nothing else shows that the server is well"
        source.add(message(6))
        await source.until(6)
        assert list(source.rejections) == [5]
        source.add(message(7))
        await source.until(7)
    skipped = [(found["payload"]["sequence"], found["payload"].get("skipped")) for found, _ in server.received]
    assert (7, [5]) in skipped


async def test_server_that_acknowledges_nothing_costs_no_notification() -> None:
    source = ListSource(notes(1, 4))
    deaf = True
    async with (
        socketio_server(answer=lambda *_: ... if deaf else None) as server,
        running_notifier(fast_retries(server.url, confirmation="ack"), source, keep_alive=5.0),
    ):
        await eventually(lambda: len(server.ids) >= 30, timeout=120)
        assert source.rejections == {}
        deaf = False
        await source.until(4)
    assert source.rejections == {}


async def test_attempts_that_span_dead_after_suffice() -> None:
    source = ListSource([message(1)])
    async with (
        socketio_server(answer=fails_for({1})) as server,
        running_notifier(fast_retries(server.url, confirmation="ack", dead_after=1500), source),
    ):
        await source.until(1)
        assert list(source.rejections) == [1]
    assert len(server.ids) >= 5


async def crash_on_poison(stage: ScriptedConnection) -> None:
    """A server that breaks on one notification: whatever it has not answered by then is lost."""
    await stage.greet()
    async for ack, number in stage.notes():
        if number == 40:
            return
        await stage.send(f"43{ack}[]")


async def test_notification_that_breaks_the_server_is_set_aside() -> None:
    source = ListSource(notes(1, 200))
    # The server closes at once; a limit that a busy machine does not exceed leaves the number of attempts to that.
    async with (
        bad_server(crash_on_poison) as server,
        running_notifier(fast_retries(server.url, ack_timeout=3000), source),
    ):
        await source.until(200)
        assert list(source.rejections) == [40]
    repeats = Counter(server.seen)
    assert repeats[40] <= 8
    assert sum(repeats.values()) <= 200 + 60


async def test_server_that_closes_before_its_acknowledgements_arrive_is_drained() -> None:
    async def script(stage: ScriptedConnection) -> None:
        await stage.greet()
        loop, count = asyncio.get_running_loop(), 0
        late: list[asyncio.Task[None]] = []
        async for ack, _ in stage.notes():
            count += 1
            if count == 5:
                break
            late.append(loop.create_task(_later(stage, ack)))
        for task in late:
            task.cancel()

    source = ListSource(notes(1, 40))
    async with bad_server(script) as server, running_notifier(fast_retries(server.url, ack_timeout=2000), source):
        await source.until(40)
        assert source.rejections == {}
    assert _first_arrivals_per_user_are_in_order(server)


async def _later(stage: ScriptedConnection, ack: int | None) -> None:
    await asyncio.sleep(0.05)
    await stage.send(f"43{ack}[]")


def _first_arrivals_per_user_are_in_order(server: BadServer) -> bool:
    first = list(dict.fromkeys(server.seen))
    return all(
        [number for number in first if number % USERS == user]
        == sorted(number for number in first if number % USERS == user)
        for user in range(USERS)
    )


@pytest.mark.parametrize("added", [1000, 5_000_000])
async def test_acknowledgements_of_numbers_never_sent_prove_nothing(added: int) -> None:
    async def script(stage: ScriptedConnection) -> None:
        await stage.greet()
        async for frame in stage.ws:
            if frame.type.name == "PING":
                await stage.ws.pong(frame.data)
            elif frame.type.name == "TEXT" and frame.data.startswith("42"):
                number = int(frame.data[2 : frame.data.index("[")])
                stage.seen.append(number)
                await stage.send(f"43{number + added}[]")

    source = ListSource(notes(1, 12))
    async with (
        bad_server(script) as server,
        # A busy machine must answer the ping within it, or everything is sent again.
        running_notifier(fast_retries(server.url, ack_timeout=3000), source) as link,
    ):
        await source.until(12)
        assert link.notifier.status().mode == "fence"
    assert len(server.seen) == 12
