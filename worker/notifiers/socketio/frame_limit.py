"""How large a frame the server accepts, and what happens to messages that are larger."""

import contextlib
from typing import Final

from worker.core.notification import refit
from worker.notifiers.socketio.server_capabilities import ServerCapabilities

FRAME_OVERHEAD: Final = 64
"""Bytes kept free in a frame for packet types and ack id; refit keeps the same."""
LEAST: Final = 512
"""Bytes; the least that a server is believed to accept. A limit below it would let no notification through at all."""


class FrameLimit:
    """The limit of one session: the smallest of our setting, the server's announcement, and what closing over 1009
    has taught. Bytes."""

    def __init__(self, max_payload: int, server: ServerCapabilities) -> None:
        self.bytes = max_payload
        self._server = server

    def apply_announcement(self, max_payload: int | None) -> str | None:
        """Take the server's OPEN packet into account; None: it announces nothing.

        Return what to report of a limit that is not believed; None: nothing, or it is known already.
        """
        believed = None if max_payload is None else max(LEAST, max_payload)
        limits = (believed, self._server.max_frame, self.bytes)
        self.bytes = min(limit for limit in limits if limit is not None)
        if believed == max_payload or max_payload == self._server.unbelieved_limit:
            return None
        self._server.unbelieved_limit = max_payload
        return (
            f"the server's OPEN packet announces a maxPayload of {max_payload} bytes, too few for any notification: "
            f"{LEAST} bytes are assumed; check the server's limit (maxHttpBufferSize)"
        )

    def allows(self, body: bytes) -> bool:
        return len(body) + FRAME_OVERHEAD <= self.bytes

    def fit(self, body: bytes) -> bytes | None:
        """Return the body, shortened if need be; None: it cannot be shortened enough."""
        if self.allows(body):
            return body
        with contextlib.suppress(Exception):
            body = refit(body, self.bytes)
        return body if self.allows(body) else None

    def halve(self, largest: int) -> int | None:
        """Remember that the server closed over frames of up to `largest` bytes; return the limit of the next session.

        Something on the way, a proxy for example, accepts less than the server announced: sent again as it is, the
        same frame would end every session. None: the frames were as small already as they can be made.
        """
        if largest + FRAME_OVERHEAD <= LEAST:
            return None
        self._server.max_frame = max(LEAST, largest // 2)
        return self._server.max_frame
