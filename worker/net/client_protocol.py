"""HTTP connections of a client that a hostile server cannot keep busy before it responds.

aiohttp reads as many interim responses (100 Continue, 103 Early Hints) as a server sends, without giving the event loop
a turn between those that arrived together. This is the only module of the HTTP clients that knows private names of it.
"""

from functools import partial
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler

MOST_INTERIM = 16
"""Interim responses before a response; servers send one or two."""
_PIECE = 4096
"""Bytes that are parsed at once until the response has begun: at most two hundred interim responses."""


class TooManyInterimResponses(aiohttp.ClientConnectionError):
    """The server sends interim responses instead of a response."""


class BoundedResponseHandler(ResponseHandler):
    """Ends a connection whose server sends more than MOST_INTERIM interim responses to one request."""

    _interim = 0
    _has_begun = False

    def set_response_params(self, **arguments: Any) -> None:
        """Begin to read the response to a request."""
        self._interim, self._has_begun = 0, False
        super().set_response_params(**arguments)

    def data_received(self, data: bytes) -> None:
        if self._has_begun or len(data) <= _PIECE:
            if self._interim <= MOST_INTERIM:
                super().data_received(data)
            return
        for start in range(0, len(data), _PIECE):
            if self._interim > MOST_INTERIM:
                return
            super().data_received(data[start : start + _PIECE])

    def feed_data(self, data: Any, size: int = 0) -> None:
        """Take a parsed response; too many interim ones end the connection."""
        message, _ = data
        if self._interim > MOST_INTERIM:
            return
        if 100 <= message.code < 200 and message.code != 101:
            self._interim += 1
            if self._interim > MOST_INTERIM:
                self._end()
                return
        else:
            self._has_begun = True
        super().feed_data(data, size)

    def _end(self) -> None:
        if self.exception() is None:
            self.set_exception(TooManyInterimResponses(f"more than {MOST_INTERIM} interim responses"))
        if self.transport is not None:
            self.transport.abort()


def new_connector(**arguments: Any) -> aiohttp.TCPConnector:
    """Return a connector with these arguments whose connections are bounded. Needs a running event loop."""
    connector = aiohttp.TCPConnector(**arguments)
    factory: Any = partial(BoundedResponseHandler, loop=connector._loop)
    connector._factory = factory
    return connector
