"""Signed news for native clients that pass them on: the Standard Webhooks scheme (HMAC-SHA256 over id, time and body).

The message is put whole, as text, into an envelope, so that a receiver checks exactly the bytes that were signed.
"""

import base64
import binascii
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import orjson

from worker.errors import UnsafeKey
from worker.hub.news import News

_PREFIX: Final = "whsec_"
_MIN_BYTES: Final = 24
_MAX_BYTES: Final = 64


class _Wording(Protocol):
    def word(self, news: News, position: tuple[str, int] | None) -> bytes: ...

    def __hash__(self) -> int: ...


@dataclass(frozen=True, slots=True)
class SignedDialect:
    """Another dialect's messages as `{id, timestamp, signature, body}`; timestamp: whole seconds since 1970."""

    inner: _Wording
    secret: bytes = field(repr=False)
    now: Callable[[], float]

    def word(self, news: News, position: tuple[str, int] | None) -> bytes:
        body = self.inner.word(news, position)
        message_id, timestamp = news.id or f"msg_{secrets.token_hex(12)}", int(self.now())
        envelope: dict[str, Any] = {
            "id": message_id,
            "timestamp": timestamp,
            "signature": signature(self.secret, message_id, timestamp, body),
            "body": body.decode(),
        }
        return orjson.dumps(envelope)


def signature(secret: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    """`v1,` and the base64 of the HMAC-SHA256 of `id.timestamp.body`."""
    digest = hmac.new(secret, b"%b.%d.%b" % (message_id.encode(), timestamp, body), "sha256").digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def secret_of(text: str) -> bytes:
    """The bytes of `whsec_` and base64. UnsafeKey: it is none, or too short."""
    try:
        found = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        found = b""
    if not text.startswith(_PREFIX) or not _MIN_BYTES <= len(found) <= _MAX_BYTES:
        raise UnsafeKey(f"Hub:SigningSecret: must be whsec_ and base64 of {_MIN_BYTES} to {_MAX_BYTES} random bytes")
    return found
