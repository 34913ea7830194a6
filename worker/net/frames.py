"""WebSocket frames as either end writes them (RFC 6455, 5.2), unfragmented. Pure bytes.

The hub writes frames itself, so that one encoded frame serves every receiver and one write carries many frames.
"""

import os
import struct
from collections.abc import Iterator
from typing import Final

from worker.net.frame_mask import apply_mask

_TEXT: Final = 0x81
_BINARY: Final = 0x82
_CLOSE: Final = 0x88
_PING: Final = 0x89
_PONG: Final = 0x8A
_MAX_REASON_BYTES: Final = 123
_FIN: Final = 0x80
_MASKED: Final = 0x80
_RANDOM_BYTES: Final = 4096
"""Read from the operating system at once; masks are taken from them."""


def text_frame(payload: bytes) -> bytes:
    """Return one text message."""
    return _header(_TEXT, len(payload)) + payload


def binary_frame(payload: bytes) -> bytes:
    """Return one binary message."""
    return _header(_BINARY, len(payload)) + payload


def ping_frame() -> bytes:
    """Return a ping without a payload."""
    return _header(_PING, 0)


def pong_frame(payload: bytes) -> bytes:
    """Return the answer to a ping with this payload."""
    return _header(_PONG, len(payload)) + payload


def close_frame(code: int | None, reason: str = "") -> bytes:
    """Return a close frame, without a payload if there is no code; a reason beyond 123 bytes is cut between two
    characters."""
    payload = close_payload(code, reason)
    return _header(_CLOSE, len(payload)) + payload


def close_payload(code: int | None, reason: str = "") -> bytes:
    """Return the payload of a close frame; see `close_frame`."""
    if code is None:
        return b""
    return struct.pack("!H", code) + reason.encode()[:_MAX_REASON_BYTES].decode(errors="ignore").encode()


def client_frame(opcode: int, payload: bytes, mask: bytes) -> bytes:
    """Return one frame as a client writes it: masked with these four bytes, which no one may foresee (5.3)."""
    masked = bytearray(payload)
    if masked:
        apply_mask(mask, masked)
    return _header(_FIN | opcode, len(masked), _MASKED) + mask + masked


def new_masks() -> Iterator[bytes]:
    """Yield masks without end. One call of the operating system for each would take as long as the rest of a frame."""
    while True:
        pool = os.urandom(_RANDOM_BYTES)
        for at in range(0, _RANDOM_BYTES, 4):
            yield pool[at : at + 4]


def _header(first: int, size: int, mask_bit: int = 0) -> bytes:
    if size < 126:
        return bytes((first, mask_bit | size))
    if size < 65536:
        return struct.pack("!BBH", first, mask_bit | 126, size)
    return struct.pack("!BBQ", first, mask_bit | 127, size)
