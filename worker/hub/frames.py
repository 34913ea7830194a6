"""WebSocket frames as a server writes them (RFC 6455, 5.2): unmasked, unfragmented. Pure bytes.

Writing frames ourselves lets one encoded frame serve every recipient and one write carry many frames.
"""

import struct
from typing import Final

_TEXT: Final = 0x81
_BINARY: Final = 0x82
_CLOSE: Final = 0x88
_PONG: Final = 0x8A
_MAX_REASON_BYTES: Final = 123


def text_frame(payload: bytes) -> bytes:
    """One text message."""
    return _header(_TEXT, len(payload)) + payload


def binary_frame(payload: bytes) -> bytes:
    """One binary message."""
    return _header(_BINARY, len(payload)) + payload


def pong_frame(payload: bytes) -> bytes:
    return _header(_PONG, len(payload)) + payload


def close_frame(code: int, reason: str = "") -> bytes:
    """The farewell; a reason beyond 123 bytes is cut at a character."""
    text = reason.encode()[:_MAX_REASON_BYTES].decode(errors="ignore").encode()
    return _header(_CLOSE, 2 + len(text)) + struct.pack("!H", code) + text


def _header(first: int, size: int) -> bytes:
    if size < 126:
        return bytes((first, size))
    if size < 65536:
        return struct.pack("!BBH", first, 126, size)
    return struct.pack("!BBQ", first, 127, size)
