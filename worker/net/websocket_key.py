"""The proof in the opening handshake of a WebSocket that the server has read the request (RFC 6455, 4.2.2)."""

import base64
import hashlib
from typing import Final

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def accept_for(key: str) -> str:
    """Return the Sec-WebSocket-Accept that belongs to this Sec-WebSocket-Key."""
    return base64.b64encode(hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest()).decode()
