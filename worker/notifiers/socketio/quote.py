"""How words of a server are quoted to people."""

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Final

import aiohttp
from aiohttp import StreamReader

from worker.core.secret_mask import mask_for

_BODY_SECONDS: Final = 1.0
"""How long to wait for the rest of a body that is only quoted."""

_FULL_CLOSE: Final = 120
"""Bytes of words in a close frame, from which more may have been cut off; 123 is the most (RFC 6455, 5.5)."""


@dataclass(frozen=True, slots=True)
class Quote:
    """Quotes a server without the secrets that it was sent: a rejection may repeat the request."""

    secrets: frozenset[str] = frozenset()

    def __call__(self, said: object, longest: int) -> str:
        """Return the beginning of it; masked before it is shortened, or half a secret could remain at its end."""
        text = str(said)
        if not self.secrets:
            return text[:longest]
        mask = mask_for(self.secrets)
        return mask(text[: longest + mask.margin], 0, longest)

    @property
    def margin(self) -> int:
        """How many characters behind a cut decide whether a secret lies across it."""
        return mask_for(self.secrets).margin if self.secrets else 0


@dataclass(frozen=True, slots=True)
class Body:
    """The beginning of a body, as the server sent it."""

    text: str
    is_whole: bool

    def quoted(self, quote: Quote, longest: int) -> str:
        """Return what may be shown of it. It may end within a secret, so its end is left out if more would follow."""
        return quote(self.text, longest if self.is_whole else min(longest, max(0, len(self.text) - quote.margin)))


def quoted_close(reason: str, quote: Quote) -> str:
    """Return what may be shown of the words in a close frame: in a full one, the end may be within a secret."""
    return Body(reason, is_whole=len(reason.encode()) < _FULL_CLOSE).quoted(quote, len(reason))


async def read_body(content: StreamReader, quote: Quote, longest: int) -> Body:
    """Read a body as far as `longest` characters can be quoted: to its end, or for as long as the server may take."""
    received, wanted, is_whole = bytearray(), longest + quote.margin, False
    # What arrived is quoted, however the rest fails; RuntimeError: the connection is gone.
    with contextlib.suppress(TimeoutError, aiohttp.ClientError, RuntimeError):
        async with asyncio.timeout(_BODY_SECONDS):
            while len(received) < wanted and not is_whole:
                piece = await content.read(wanted - len(received))
                received += piece
                is_whole = not piece or content.at_eof()
    return Body(received.decode(errors="replace"), is_whole)


async def quoted_body(content: StreamReader, quote: Quote, longest: int) -> str:
    """Return the beginning of a body for people, read only as far as needed."""
    return (await read_body(content, quote, longest)).quoted(quote, longest)
