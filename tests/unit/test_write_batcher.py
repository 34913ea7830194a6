"""When the hub writes to its WebSockets: at the end of each turn of the event loop, a little later under a flood."""

from collections.abc import Callable
from typing import Any

import pytest

from worker.hub.transports.sender import WebSocketSender, WriteBatcher
from worker.hub.transports.transport import SendLimits, SharedMessage

MANY = 64
TURN_SECONDS = 0.01
NEWS = SharedMessage(b"news")


class Loop:
    """An event loop whose turns are taken one by one, and whose CPU time passes only in them."""

    def __init__(self) -> None:
        self.cpu_time = 0.0
        self._soon: list[Callable[[], None]] = []

    def call_soon(self, call: Callable[[], None]) -> None:
        self._soon.append(call)

    def take_turn(self) -> None:
        self.cpu_time += TURN_SECONDS
        calls, self._soon = self._soon, []
        for call in calls:
            call()

    @property
    def is_idle(self) -> bool:
        return not self._soon


class Tcp:
    """What was written to one socket."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.writes.append(data)

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0


class Site:
    def __init__(self, sockets: int) -> None:
        self.loop = Loop()
        loop: Any = self.loop
        self.batcher = WriteBatcher(loop, lambda: self.loop.cpu_time)
        self.sockets = [Tcp() for _ in range(sockets)]
        tcps: list[Any] = [*self.sockets]
        writer: Any = None
        self.senders = [WebSocketSender(tcp, writer, self.batcher, SendLimits()) for tcp in tcps]

    def send_news(self) -> None:
        for sender in self.senders:
            sender.send_volatile(NEWS)

    def flood(self, turns: int) -> None:
        """Turns in which a client's messages go to all sockets, and more of them wait."""
        for _ in range(turns):
            self.send_news()
            self.batcher.expect_more()
            self.loop.take_turn()

    def writes(self) -> list[int]:
        """The number of writes to each socket."""
        return [len(socket.writes) for socket in self.sockets]


@pytest.fixture
def site() -> Site:
    return Site(MANY)


def test_messages_of_one_turn_leave_in_one_write_at_its_end(site: Site) -> None:
    site.send_news()
    site.send_news()
    assert site.writes() == [0] * MANY
    site.loop.take_turn()
    assert [socket.writes for socket in site.sockets] == [[NEWS.websocket_frame * 2]] * MANY
    assert site.loop.is_idle


def test_many_sockets_wait_while_a_client_floods_and_get_several_messages_in_one_write(site: Site) -> None:
    site.flood(turns=3)
    assert site.writes() == [0] * MANY
    site.flood(turns=3)
    assert [socket.writes for socket in site.sockets] == [[NEWS.websocket_frame * 6]] * MANY


def test_few_sockets_do_not_wait_for_a_client_that_floods() -> None:
    site = Site(MANY - 1)
    site.flood(turns=3)
    assert site.writes() == [3] * (MANY - 1)


def test_no_socket_waits_longer_than_the_limit_however_long_the_flood_lasts(site: Site) -> None:
    for _ in range(50):
        before = site.loop.cpu_time
        counts = site.writes()
        while site.writes() == counts:
            site.flood(turns=1)
        assert site.loop.cpu_time - before < 0.06 + 1.5 * TURN_SECONDS


def test_sockets_are_written_to_a_few_turns_after_the_flood_has_ended(site: Site) -> None:
    site.flood(turns=1)
    site.loop.cpu_time = 0.0
    turns = 0
    while not site.loop.is_idle:
        turns += 1
        site.loop.cpu_time = 0.0  # an idle loop uses no CPU time
        site.loop.take_turn()
    assert site.writes() == [1] * MANY
    assert turns <= 5


def test_answer_leaves_with_its_turn_and_after_what_was_sent_before(site: Site) -> None:
    site.send_news()
    site.senders[7].send(b"answer")
    site.flood(turns=2)
    assert site.writes() == [int(number == 7) for number in range(MANY)]
    assert site.sockets[7].writes[0].startswith(NEWS.websocket_frame + SharedMessage(b"answer").websocket_frame)
    site.flood(turns=4)
    assert site.writes() == [1 + (number == 7) for number in range(MANY)]
    assert b"".join(site.sockets[7].writes).count(NEWS.websocket_frame) == 7
