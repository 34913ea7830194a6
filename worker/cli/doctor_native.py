"""The part of `doctor ws` that goes through the native WebSocket protocol of the hub, `/ws`."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from typing import Any, Final

import aiohttp
import orjson

from worker.cli.doctor_connection import STEP_SECONDS, CheckResult, DoctorConnection, connect
from worker.cli.doctor_target import Target

_NO_NATIVE: Final = "nothing to do for notifications; only pages that use the hub's own client need it"
_CREDENTIALS: Final = "set WebSocket:Token or WebSocket:TokenFile, or give --token"
_OTHER_HUB: Final = "is a proxy between us and the hub, or is the hub of another version? See its log"
_CLOSE_CODES: Final = (1000, 4999)
"""Codes that a server must answer with the same one (RFC 6455, 5.5.1)."""
_INVALID_TOKEN_CODE: Final = 4401


async def native_endpoint(session: aiohttp.ClientSession, target: Target) -> str:
    """Return which messages were answered as they should be. Raises CheckResult when one was not."""
    async with contextlib.AsyncExitStack() as opened:
        try:
            connection = await opened.enter_async_context(_connected(session, target))
        except (aiohttp.ClientError, TimeoutError):
            raise CheckResult("warning", "no /ws here; only the built-in hub has one", _NO_NATIVE) from None
        passed = await _protocol(connection, target.token or "")
        passed.append(await _closed_with(connection, _CLOSE_CODES[0]))
    for code in _CLOSE_CODES[1:]:
        async with _connected(session, target) as connection:
            passed.append(await _closed_with(connection, code))
    async with _connected(session, target) as connection:
        passed.append(await _invalid_token(connection))
    return f"/ws: {', '.join(passed)}"


@contextlib.asynccontextmanager
async def _connected(session: aiohttp.ClientSession, target: Target) -> AsyncIterator[DoctorConnection]:
    """Open a connection for one part of the examination. Raises as `connect` does."""
    connection = await connect(session, target.address("/ws"), target.options.quote())
    try:
        yield connection
    finally:
        await connection.ws.close()


async def _protocol(connection: DoctorConnection, token: str) -> list[str]:
    """Go through the messages of the native protocol; return those that were answered as they should be."""

    async def send(kind: str, data: object) -> None:
        await connection.ws.send_str(orjson.dumps({"type": kind, "data": data}).decode())

    await send("auth", {"token": token})
    answer = orjson.loads(await connection.until(lambda _: True))
    if answer.get("type") != "welcome":
        reason = connection.reason_of(orjson.dumps(answer.get("data")))
        raise CheckResult("warning" if not token else "failed", f"/ws: {reason}", _CREDENTIALS)
    passed = ["welcome"]
    room = f"doctor-{secrets.token_hex(4)}"
    for kind, expected, data in (
        ("ping", "pong", "doctor"),
        ("echo", "echo", {"doctor": 1}),
        ("join-room", "room-joined", {"room": room}),
        ("broadcast", "broadcast", {"room": room}),
        ("leave-room", "room-left", {"room": room}),
        ("doctor-unknown", "error", None),
    ):
        await send(kind, data)
        passed.append(await _answer(connection, kind, expected))
    return passed


async def _answer(connection: DoctorConnection, kind: str, expected: str) -> str:
    """Wait for the answer; return how it is reported. A token without the right to broadcast is not a fault."""
    try:
        found: dict[str, Any] = orjson.loads(
            await connection.until(lambda text: orjson.loads(text).get("type") in (expected, "error"))
        )
    except TimeoutError:
        found = {}
    if found.get("type") == expected:
        return expected
    if kind == "broadcast" and "forbidden" in str(found.get("data")):
        return "broadcast forbidden to this token"
    raise CheckResult("failed", f"/ws: {kind} is not answered by {expected}", _OTHER_HUB)


async def _invalid_token(connection: DoctorConnection) -> str:
    """Give a token that is not one, and let the server close the connection."""
    await connection.ws.send_str(orjson.dumps({"type": "auth", "data": {"token": "doctor"}}).decode())
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(STEP_SECONDS):
            while not connection.ws.closed:
                await connection.ws.receive()
    if connection.ws.close_code != _INVALID_TOKEN_CODE:
        code = connection.ws.close_code or "nothing"
        text = f"/ws: an invalid token is answered by {code} instead of {_INVALID_TOKEN_CODE}"
        raise CheckResult("warning", text, _OTHER_HUB)
    return f"an invalid token {_INVALID_TOKEN_CODE}"


async def _closed_with(connection: DoctorConnection, code: int) -> str:
    await connection.ws.close(code=code)
    if connection.ws.close_code != code:
        text = f"/ws: a close with {code} is answered by {connection.ws.close_code or 'nothing'}"
        raise CheckResult("warning", text, _OTHER_HUB)
    return f"close {code}"
