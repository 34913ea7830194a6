"""The link's connection where its caller leaves in the middle of the handshake, and where the server floods it."""

import asyncio
from unittest.mock import Mock

from worker.notifiers.socketio.connection import SocketIoConnection
from worker.notifiers.socketio.websocket import _FRAMES_AT_ONCE, ClientWebSocket


async def test_answer_to_a_probe_after_its_waiter_was_cancelled_is_ignored() -> None:
    connection = SocketIoConnection(Mock(), Mock(), by_polling=True)
    connection._probed.cancel()
    connection.on_text("3probe")
    assert connection._probed.cancelled()


async def test_event_loop_has_its_turns_while_a_server_floods_the_link_with_pings() -> None:
    pings, ping, pong_bytes = 20_000, b"\x89\x00", 6
    written: list[bytes] = []
    transport = Mock(write=written.append, is_closing=lambda: False)
    websocket = ClientWebSocket(
        Mock(connection=Mock(transport=transport, protocol=Mock(writing_paused=False))), 1 << 20
    )
    websocket.start(Mock())
    websocket.feed_data(ping * pings)
    answered, most = 0, 0
    async with asyncio.timeout(60):
        while answered < pings:
            await asyncio.sleep(0)
            before, answered = answered, sum(map(len, written)) // pong_bytes
            most = max(most, answered - before)
    assert most <= 2 * _FRAMES_AT_ONCE, "so many frames were answered in one turn"
