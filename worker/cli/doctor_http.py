"""What `doctor ws` learns of a server by HTTP alone: transports, compression, clock, and what stands before it."""

import email.utils
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import aiohttp

from worker.cli.doctor_connection import CheckResult
from worker.notifiers.socketio.handshake import (
    MAX_ANSWER,
    ConnectOptions,
    handshake_url,
    message_of,
    request_headers,
)
from worker.notifiers.socketio.payloads import split_packets
from worker.notifiers.socketio.quote import read_body

_CLOCK_SECONDS: Final = 60


@dataclass(frozen=True, slots=True)
class PollingAnswer:
    """The answer to a request for a session by long-polling."""

    status: int
    text: str
    headers: Mapping[str, str]
    at: float
    """Wall clock when it arrived."""

    @property
    def opens(self) -> bool:
        """Return whether the server opened a session."""
        return self.status == 200 and '"sid"' in self.text


async def ask_for_polling(session: aiohttp.ClientSession, options: ConnectOptions, version: int) -> PollingAnswer:
    """Ask for a session by long-polling, and close it again."""
    url = handshake_url(options, version, "polling", b64="1")
    async with session.get(url, headers=request_headers(options, version)) as response:
        body = await read_body(response.content, options.quote(), MAX_ANSWER)
        text = body.quoted(options.quote(), MAX_ANSWER)
        answer = PollingAnswer(response.status, text, dict(response.headers), time.time())
    if answer.opens:
        sid = next(split_packets(body.text, version)).partition('"sid":"')[2].partition('"')[0]
        closing = "1:1" if version == 3 else "1"
        async with session.post(handshake_url(options, version, "polling", sid=sid, b64="1"), data=closing):
            pass
    return answer


def transports_of(answer: PollingAnswer, *, websocket: bool) -> str:
    """Return which transports work. Raises CheckResult when only long-polling does."""
    before = next((f"; answered by {answer.headers[name]}" for name in ("Via", "Server") if name in answer.headers), "")
    if not websocket and answer.opens:
        raise CheckResult("warning", f"only long-polling{before}", 'set WebSocket:Transports to ["polling"]')
    if not answer.opens:
        said = message_of(answer.text)
        return f"websocket only (long-polling: HTTP {answer.status}{f', {said}' if said else ''}){before}"
    return f"websocket and long-polling{before}"


def clock_of(answer: PollingAnswer) -> str:
    """Return how the clocks of the server and ours differ. Raises CheckResult when tokens will suffer from it."""
    try:
        there = email.utils.parsedate_to_datetime(answer.headers["Date"]).timestamp()
    except (KeyError, ValueError):
        return "the server does not give its time"
    ahead = there - answer.at
    if abs(ahead) <= _CLOCK_SECONDS:
        return "the server's clock and ours agree"
    way = "ahead of" if ahead > 0 else "behind"
    raise CheckResult(
        "warning",
        f"the server's clock is {abs(ahead):.0f} s {way} ours",
        "synchronise both clocks: tokens with exp, iat or nbf are rejected otherwise",
    )


async def compression_of(session: aiohttp.ClientSession, options: ConnectOptions, version: int) -> str:
    """Return whether the server compresses messages when a client offers it."""
    headers = request_headers(options, version)
    async with session.ws_connect(handshake_url(options, version), headers=headers, compress=15) as ws:
        return "permessage-deflate is accepted; the link does not ask for it" if ws.compress else "not offered"
