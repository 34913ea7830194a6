"""Signed messages for native clients that forward them: the Standard Webhooks scheme (HMAC-SHA256 of id, time, body).

The whole message is put into an envelope as text, so that a receiver checks exactly the bytes that were signed.
"""

import base64
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

from worker.hub.client import Encoder
from worker.hub.messages import Message


@dataclass(frozen=True, slots=True)
class SigningEncoder:
    """Puts another encoder's messages into `{id, timestamp, signature, body}`; timestamp: whole seconds since 1970."""

    inner: Encoder
    secret: bytes = field(repr=False)
    now: Callable[[], float]

    def encode(self, message: Message, position: tuple[str, int] | None) -> bytes:
        body = self.inner.encode(message, position)
        message_id, timestamp = message.id or f"msg_{secrets.token_hex(12)}", int(self.now())
        envelope: dict[str, Any] = {
            "id": message_id,
            "timestamp": timestamp,
            "signature": signature(self.secret, message_id, timestamp, body),
            "body": body.decode(),
        }
        return orjson.dumps(envelope)

    def encode_own(self, message_type: str, data: Any) -> bytes:
        return self.inner.encode_own(message_type, data)


def signature(secret: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    """Return `v1,` and the base64 of the HMAC-SHA256 of `id.timestamp.body`."""
    digest = hmac.new(secret, b"%b.%d.%b" % (message_id.encode(), timestamp, body), "sha256").digest()
    return f"v1,{base64.b64encode(digest).decode()}"
