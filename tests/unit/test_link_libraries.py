"""What websocket.py of the link uses of aiohttp beyond its public interface.

A failure means that a new version of aiohttp changed it: read websocket.py again before raising the version.
"""

import inspect
from collections.abc import Callable

import aiohttp
from aiohttp.base_protocol import BaseProtocol
from aiohttp.client_proto import ResponseHandler


def source(thing: type | Callable[..., object]) -> str:
    return inspect.getsource(thing)


def test_response_keeps_its_connection_while_it_is_upgraded() -> None:
    assert isinstance(inspect.getattr_static(aiohttp.ClientResponse, "connection"), object)
    assert "protocol.upgraded" in source(aiohttp.ClientResponse._response_eof)


def test_protocol_gives_a_parser_what_has_arrived_before_it() -> None:
    assert "_drain_tail" in source(ResponseHandler.set_parser)
    assert "self.data_received(data)" in source(ResponseHandler._drain_tail)


def test_protocol_goes_on_feeding_a_parser_that_returns_false() -> None:
    text = source(ResponseHandler.data_received)
    assert "protocol_error, _ = self._payload_parser.feed_data(data)" in text


def test_protocol_feeds_the_end_before_it_sets_the_cause_and_wakes_writers() -> None:
    text = source(ResponseHandler.connection_lost)
    assert text.index("_payload_parser.feed_eof()") < text.index("self.set_exception(") < text.index("super()")


def test_drain_helper_waits_while_writing_is_paused() -> None:
    text = source(BaseProtocol._drain_helper)
    assert "if not self._paused" in text
    assert "await waiter" in text
