"""The mask of frames that clients send (RFC 6455, 5.3)."""

from collections.abc import Callable
from typing import Final


def mask_by_integers(mask: bytes, payload: bytearray) -> None:
    """Apply the mask in place. One operation on large integers is faster than a loop of bytes."""
    size = len(payload)
    masks = (mask * (size // 4 + 1))[:size]
    value = int.from_bytes(payload, "little") ^ int.from_bytes(masks, "little")
    payload[:] = value.to_bytes(size, "little")


def _fastest() -> Callable[[bytes, bytearray], None]:
    """Return aiohttp's compiled function, which takes a quarter of the time; ours where there is none."""
    try:
        from aiohttp._websocket.helpers import websocket_mask
    except ImportError:
        return mask_by_integers
    return websocket_mask


apply_mask: Final = _fastest()
"""Masks or unmasks in place; masking twice gives what was there before."""
