"""The WebSocket over which `doctor ws` reads and writes frames by hand, so that it can name what is wrong."""

import asyncio
import base64
from collections.abc import Callable
from typing import Any, Final, Literal

import aiohttp
import orjson

from worker.notifiers.socketio.quote import Quote
from worker.notifiers.socketio.server_words import refusal_of

Verdict = Literal["ok", "warning", "failed"]
STEP_SECONDS: Final = 10.0
"""How long one step of an examination may take."""
_CLOSE_SECONDS: Final = 1.0
_LONGEST_REASON: Final = 200


class CheckResult(Exception):
    """Ends a check early with this verdict; `remedy` says what to do."""

    def __init__(self, verdict: Verdict, text: str, remedy: str = "") -> None:
        super().__init__(text)
        self.verdict: Verdict = verdict
        self.remedy = remedy


class DoctorConnection:
    """A WebSocket connection that answers Engine.IO's pings while it waits for other packets."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse, quote: Quote) -> None:
        self.ws = ws
        self.quote = quote
        self.pings = 0

    async def next(self) -> str:
        """Return the next text that is not a ping, as the server sent it: what is shown of it must be quoted.

        Raises CheckResult when the server closes the connection.
        """
        while True:
            frame = await self.ws.receive()
            if frame.type is aiohttp.WSMsgType.TEXT:
                if frame.data != "2":
                    return str(frame.data)
                self.pings += 1
                await self.ws.send_str("3")
            elif frame.type is aiohttp.WSMsgType.PING:
                await self.ws.pong(frame.data)
            elif frame.type is aiohttp.WSMsgType.PONG:
                return "(pong)"
            elif frame.type is not aiohttp.WSMsgType.BINARY:
                raise CheckResult("failed", f"the server closed the connection ({self.ws.close_code})")

    def reason_of(self, text: str | bytes) -> str:
        """Return the reason in a rejection, quoted."""
        _, words = refusal_of(text if isinstance(text, str) else text.decode(errors="replace"))
        return self.quote(words, _LONGEST_REASON)

    async def until(self, matches: Callable[[str], bool], seconds: float = STEP_SECONDS) -> str:
        """Return the next text that matches. Raises TimeoutError after `seconds`."""
        async with asyncio.timeout(seconds):
            while not matches(text := await self.next()):
                pass
            return text


async def connect(
    session: aiohttp.ClientSession, address: str, quote: Quote, headers: dict[str, str] | None = None
) -> DoctorConnection:
    """Open a WebSocket. Raises TimeoutError, or aiohttp's error when the server rejects the upgrade."""
    async with asyncio.timeout(STEP_SECONDS):
        # aiohttp would wait ten seconds for a server that does not answer the close.
        timeout = aiohttp.ClientWSTimeout(ws_close=_CLOSE_SECONDS)
        ws = await session.ws_connect(address, headers=headers, autoping=False, max_msg_size=0, timeout=timeout)
        return DoctorConnection(ws, quote)


def claims_of(token: str | None) -> dict[str, Any]:
    """Return a JWT's claims without verifying them, to know what is worth trying; empty for other tokens."""
    parts = (token or "").split(".")
    if len(parts) != 3:
        return {}
    try:
        claims = orjson.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except ValueError:
        return {}
    return claims if isinstance(claims, dict) else {}
