"""The form of a secret that signs messages (Standard Webhooks): one rule for the settings and the hub."""

import base64
from typing import Final

_PREFIX: Final = "whsec_"
_MIN_BYTES: Final = 24
_MAX_BYTES: Final = 64


def webhook_secret(text: str) -> bytes:
    """Return the bytes of a secret `whsec_…` in base64. Raises ValueError for another form or length."""
    try:
        secret = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    except ValueError:  # binascii.Error is one, and so is what characters outside ASCII raise
        secret = b""
    if not text.startswith(_PREFIX) or not _MIN_BYTES <= len(secret) <= _MAX_BYTES:
        raise ValueError(f"must be {_PREFIX} and base64 of {_MIN_BYTES} to {_MAX_BYTES} random bytes")
    return secret
