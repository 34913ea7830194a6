"""aiohttp's HTTP protocol with deadlines for every request's headers, and without a word too many about malformed ones.

Besides what header_timeout.py does for the first request: a client may not begin a further request and leave it, nor
keep an idle connection indefinitely. A malformed request is answered without its text and without our versions, and is
reported as a line that the caller can limit, instead of as an error with a traceback.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

SERVER_NAME: Final = "insignia-worker"
_PIECE: Final = 8192
"""Bytes of requests that are parsed at once."""
_MOST_CHUNKS: Final = 1024
_TINY: Final = 16
"""A body may not have more than _MOST_CHUNKS unread chunks of fewer bytes than this on average."""
_MALFORMED: Final = (
    b'{"type":"about:blank","title":"Bad Request","status":400,"detail":"this is not a valid HTTP/1.1 request"}'
)


@dataclass(frozen=True, slots=True)
class HttpDeadlines:
    """How long a client may take, in seconds."""

    headers: float = 5.0
    """From the first byte of a further request on a connection to the end of its headers."""
    idle: float = 75.0
    """Between two requests; proxies that keep connections to us should give up earlier (nginx does after 60 s)."""
    unread_body: float = 2.0
    """To discard the rest of a body that was answered without being read."""


class HttpProtocol(web.RequestHandler):
    """Serves one connection."""

    def __init__(self, server: web.Server, deadlines: HttpDeadlines, rejected: Callable[[str, str], None]) -> None:
        """`rejected` is called with the address and the reason."""
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]  # as the runner does it: no access log
            keepalive_timeout=deadlines.idle,
            lingering_time=deadlines.unread_body,
            # A few compressed bytes can become gigabytes; nothing here needs them.
            auto_decompress=False,
        )
        self._deadlines = deadlines
        self._rejected = rejected
        self._headers_due: asyncio.TimerHandle | None = None

    def data_received(self, data: bytes) -> None:
        """Parse what arrives, and watch the clock while it is a part of a request's headers."""
        # Only while it waits for a request is what arrives a part of headers, and not of a body.
        was_waiting = self._waiter is not None and not self._waiter.done()
        was_upgraded: bool = self._upgraded
        if was_upgraded:
            super().data_received(data)
            return
        # In pieces, so that tiny chunks are noticed before many of them are parsed; without data it resumes parsing.
        for start in range(0, max(len(data), 1), _PIECE):
            super().data_received(data[start : start + _PIECE])
            if self._has_tiny_chunks():
                self._reject("a body in tiny chunks")
            if self.transport is None:
                return
        if self._messages or self._upgraded or not was_waiting:
            self._cancel_timer()
        elif self._headers_due is None and self._request_count > 0:
            self._headers_due = asyncio.get_running_loop().call_later(self._deadlines.headers, self._time_out)

    def _has_tiny_chunks(self) -> bool:
        """Return whether a body comes in many chunks of a few bytes, each of which costs as much as a large one."""
        bodies = [] if self._current_request is None else [self._current_request.content]
        if self._messages:
            bodies.append(self._messages[-1][1])
        for body in bodies:
            ends = getattr(body, "_http_chunk_splits", None)  # of the chunks that are not read yet
            if ends and len(ends) > _MOST_CHUNKS and ends[-1] - ends[0] < _TINY * len(ends):
                return True
        return False

    def connection_lost(self, exc: BaseException | None) -> None:
        self._cancel_timer()
        super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer a malformed request without its text; every other error as aiohttp does."""
        if isinstance(exc, ConnectionError):
            raise exc  # the client has left: aiohttp ends the connection without an entry in the log
        if status >= 500:
            return super().handle_error(request, status, exc, message)
        self._rejected(request.remote or "", "a malformed request")
        if request.writer.output_size > 0:
            raise ConnectionError("a part of a response has been sent already")
        response = web.Response(status=400, body=_MALFORMED, content_type="application/problem+json")
        response.headers["Server"] = SERVER_NAME
        response.force_close()
        return response

    def _time_out(self) -> None:
        self._headers_due = None
        self._reject("no request in time")

    def _reject(self, reason: str) -> None:
        peer: Any = None if self.transport is None else self.transport.get_extra_info("peername")
        self._rejected(str(peer[0]) if isinstance(peer, tuple) and peer else "", reason)
        self.force_close()

    def _cancel_timer(self) -> None:
        if self._headers_due is not None:
            self._headers_due.cancel()
            self._headers_due = None
