"""`doctor ws`: examines any org-socket server step by step, from TCP to a test notification.

It answers whether the server can be reached, which protocol it speaks, and whether it does all that the link and the
browsers need. It uses no queue, and never prints the token.
"""

import asyncio
import contextlib
import secrets
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import aiohttp
import orjson

from worker.cli.doctor_connection import (
    STEP_SECONDS,
    CheckResult,
    DoctorConnection,
    Verdict,
    claims_of,
    connect,
)
from worker.cli.doctor_http import PollingAnswer, ask_for_polling, clock_of, compression_of, transports_of
from worker.cli.doctor_native import native_endpoint
from worker.cli.doctor_socketio import (
    body_of,
    examine_commands,
    examine_namespaces,
    join,
    other_namespaces,
    send_notifications,
)
from worker.cli.doctor_target import Target, server_address, target_for
from worker.notifiers.socketio.frame_limit import LEAST
from worker.notifiers.socketio.handshake import (
    ConnectRejected,
    HandshakeAnswer,
    handshake_url,
    new_http_session,
    refusal,
    request_headers,
)

__all__ = ["Check", "Doctor", "Target", "exit_code", "run", "server_address", "target_for"]

UNREACHABLE: Final = 69
FAULTY: Final = 65
_CERTIFICATE_DAYS: Final = 14
_MISSING_CREDENTIALS: Final = "set WebSocket:Token or WebSocket:TokenFile, or give --token"
_CREDENTIALS_OF_VERSION_3: Final = (
    "Engine.IO 3 has no auth: the token is sent as Authorization: Bearer; a server that reads it from the query needs "
    "WebSocket:Query"
)
_REJECTED_CREDENTIALS: Final = (
    "set WebSocket:Token or WebSocket:TokenFile to one that this server knows, or give --token"
)
_NAMESPACE: Final = "set WebSocket:Namespace to the one whose handler the server has"
REMEDIES: Final[Mapping[str, str]] = {
    "tcp": "start the server, or correct WebSocket:Url; does a firewall let us through?",
    "tls": "renew the certificate, or set WebSocket:CaFile to the authority that issued it; is the port one with TLS?",
    "upgrade": "correct WebSocket:Url and WebSocket:Path; let a proxy before the server pass the upgrade on",
    "open": "correct WebSocket:Path: what answers there does not speak Engine.IO",
    "connect": _NAMESPACE,
    "namespace": _NAMESPACE,
    "publish": "see the server's log for what its handler does with the event",
    "receipt": "see the server's log; does it hand notifications on to the user's room?",
    "commands": "update the hub, or see its log",
    "ping": "see the server's log; does a proxy hold messages back?",
    "transports": "nothing to do while WebSockets work; otherwise correct WebSocket:Path",
    "clock": "synchronise both clocks",
    "deflate": "nothing to do: the link does not ask for compression",
    "native": "see the hub's log",
}
"""By check: what to do where its finding says nothing more specific."""
_REACHING: Final = ("tcp", "tls", "upgrade")
"""Checks without which no client gets as far as the protocol."""


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check."""

    name: str
    verdict: Verdict
    text: str
    seconds: float
    remedy: str = ""
    """What to do about it."""


def exit_code(checks: list[Check]) -> int:
    """Return 0 when nothing failed, 69 when the server cannot be reached, 65 when it does not behave as it should."""
    failed = {check.name for check in checks if check.verdict == "failed"}
    if not failed:
        return 0
    return UNREACHABLE if failed & set(_REACHING) else FAULTY


class Doctor:
    """Examines one server; `on_check` receives each check as it is made."""

    def __init__(self, target: Target, on_check: Callable[[Check], None]) -> None:
        self._target = target
        self._on_check = on_check
        self._checks: list[Check] = []
        self._notification = f"doctor-{secrets.token_hex(8)}"
        self._claims = claims_of(target.token)
        self._interval = 25.0
        self._version = 4
        self._answer = HandshakeAnswer()

    async def examine(self) -> list[Check]:
        """Make all checks, as far as the server allows; return them in order."""
        timeout = aiohttp.ClientTimeout(total=STEP_SECONDS * 6, sock_connect=STEP_SECONDS)
        async with new_http_session(self._target.options, self._answer, timeout=timeout) as session:
            if await self._reach(session):
                await self._check("native", native_endpoint(session, self._target))
        return self._checks

    async def _reach(self, session: aiohttp.ClientSession) -> bool:
        """Return whether a WebSocket could be opened; examine the protocol on it."""
        if not await self._check("tcp", self._tcp()):
            return False
        if self._target.secure and not await self._check("tls", self._tls()):
            return False
        connections: list[DoctorConnection] = []
        try:
            upgraded = await self._check("upgrade", self._upgrade(session, connections))
            if upgraded:
                await self._protocol(session, connections)
            await self._http(session, websocket=upgraded)
            return upgraded
        finally:
            for connection in connections:
                await connection.ws.close()

    async def _http(self, session: aiohttp.ClientSession, *, websocket: bool) -> None:
        answers: list[PollingAnswer] = []

        async def transports() -> str:
            answers.append(await ask_for_polling(session, self._target.options, self._version))
            return transports_of(answers[0], websocket=websocket)

        async def clock() -> str:
            return clock_of(answers[0])

        await self._check("transports", transports())
        if answers:
            await self._check("clock", clock())
        if websocket:
            await self._check("deflate", compression_of(session, self._target.options, self._version))

    async def _protocol(self, session: aiohttp.ClientSession, connections: list[DoctorConnection]) -> None:
        if not await self._check("open", self._open(session, connections)):
            return
        connection = connections[-1]
        if not await self._check("connect", self._connect(connection, session)):
            return
        target, dial = self._target, partial(self._dial, session)
        namespaces = examine_namespaces(connection, dial, self._version, target.token, target.namespace)
        await self._check("namespace", namespaces)
        if await self._check("publish", self._publish(connection, session)):
            await self._check("commands", examine_commands(connection, target.namespace))
            await self._check("ping", self._ping(connection))

    async def _check(self, name: str, check: Awaitable[str]) -> bool:
        """Make a check and report it; return whether further checks make sense."""
        began = time.monotonic()
        verdict: Verdict = "ok"
        remedy = ""
        try:
            text = await check
        except CheckResult as found:
            verdict, text, remedy = found.verdict, str(found), found.remedy
        except ConnectRejected as exc:
            verdict, text = "failed", exc.close_reason.reason
        except TimeoutError:
            verdict, text = "failed", "no answer in time"
        except (OSError, aiohttp.ClientError, ValueError) as exc:
            verdict, text = "failed", str(exc) or type(exc).__name__
        if verdict != "ok":
            remedy = remedy or REMEDIES[name]
        self._note(Check(name, verdict, text, round(time.monotonic() - began, 4), remedy))
        return verdict != "failed"

    def _note(self, check: Check) -> None:
        self._checks.append(check)
        self._on_check(check)

    # -- reaching the server ------------------------------------------------------------------------------------------

    async def _tcp(self) -> str:
        target = self._target
        async with asyncio.timeout(STEP_SECONDS):
            _, writer = await asyncio.open_connection(target.parts.hostname, target.port)
        peer = writer.get_extra_info("peername")
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return f"connected to {peer[0]} port {peer[1]}"

    async def _tls(self) -> str:
        target = self._target
        context = target.tls or ssl.create_default_context()
        async with asyncio.timeout(STEP_SECONDS):
            _, writer = await asyncio.open_connection(
                target.parts.hostname, target.port, ssl=context, server_hostname=target.parts.hostname
            )
        wire = writer.get_extra_info("ssl_object")
        version, certificate = wire.version(), wire.getpeercert()
        writer.transport.abort()
        if not certificate:
            text = f"{version}, but the certificate is not checked"
            raise CheckResult("warning", text, "set WebSocket:VerifyTls to true, and WebSocket:CaFile if it is needed")
        days = (ssl.cert_time_to_seconds(certificate["notAfter"]) - time.time()) / 86400
        text = f"{version}, certificate good for {days:.0f} days"
        if days < _CERTIFICATE_DAYS:
            raise CheckResult("warning", text, "renew the certificate")
        return text

    async def _upgrade(self, session: aiohttp.ClientSession, connections: list[DoctorConnection]) -> str:
        target = self._target
        try:
            connections.append(await self._dial(session))
        except aiohttp.WSServerHandshakeError as exc:
            reason = refusal(exc.status, self._answer.text, self._version, target.path)
            if reason.speaks != 3 or self._version == 3:
                raise CheckResult("failed", reason.reason) from None
            self._version = 3
            try:
                return await self._upgrade(session, connections)
            except CheckResult:
                raise CheckResult("failed", reason.reason) from None
        return f"a WebSocket at {target.path}"

    async def _dial(self, session: aiohttp.ClientSession, token: str | None = None) -> DoctorConnection:
        """Open a WebSocket as the link does; `token` replaces the target's."""
        options = self._target.options
        if token is not None:
            options = replace(options, auth={"token": token})
        headers = request_headers(options, self._version)
        return await connect(session, handshake_url(options, self._version), options.quote(), headers)

    # -- Socket.IO -------------------------------------------------------------------------------------------

    async def _open(self, session: aiohttp.ClientSession, connections: list[DoctorConnection]) -> str:
        connection = connections[-1]
        text = await connection.until(lambda _: True)
        if not text.startswith("0{"):
            raise CheckResult("failed", f"the first packet is not OPEN: {connection.quote(text, 60)!r}")
        opening = orjson.loads(text[1:])
        interval, timeout = opening.get("pingInterval"), opening.get("pingTimeout")
        if not isinstance(interval, int | float) or not isinstance(timeout, int | float):
            raise CheckResult("failed", "OPEN has no pingInterval and pingTimeout")
        self._interval = interval / 1000
        payload = opening.get("maxPayload")
        if self._version == 4 and payload is None and await self._joins_by_itself(connection):
            self._version = 3
            connections.append(await self._dial(session))
            return await self._open(session, connections)
        limit = "no limit given" if payload is None else f"frames up to {payload:,} bytes"
        version = "4" if self._version == 4 else "3 (Socket.IO 2 or older), which WebSocket:EngineIO auto finds out"
        text = f"Engine.IO {version}; pings every {interval / 1000:g} s, timeout {timeout / 1000:g} s, {limit}"
        if payload is not None and 0 < payload < LEAST:
            doubt = f"{text}, too few for any notification: {LEAST} bytes are assumed"
            raise CheckResult("warning", doubt, "check the server's limit (maxHttpBufferSize)")
        return text

    async def _joins_by_itself(self, connection: DoctorConnection) -> bool:
        """Return whether the server joins `/` by itself, as Engine.IO 3 servers do; newer ones wait for CONNECT."""
        with contextlib.suppress(TimeoutError, CheckResult):
            return (await connection.until(lambda _: True, 1.0)).startswith(("40", '44"'))
        return False

    async def _connect(self, connection: DoctorConnection, session: aiohttp.ClientSession) -> str:
        target, token = self._target, self._target.token
        answer = await join(connection, self._version, target.namespace, token)
        body = body_of(answer)
        if answer.startswith("40") and (self._version == 3 or body.startswith("{")):
            where = "" if target.namespace == "/" else f" in namespace {target.namespace}"
            return f"accepted{where}" + ("" if token else " without a token")
        reason = connection.reason_of(body)
        if "namespace" in reason.lower():
            others = await other_namespaces(partial(self._dial, session), self._version, token, target.namespace)
            remedy = f"set WebSocket:Namespace to {' or '.join(others)}" if others else _NAMESPACE
            raise CheckResult("failed", f"namespace {target.namespace} was rejected: {reason}", remedy)
        if token is None:
            raise CheckResult("failed", f"{reason}: no token was given", _MISSING_CREDENTIALS)
        remedy = _REJECTED_CREDENTIALS if self._version == 4 else _CREDENTIALS_OF_VERSION_3
        raise CheckResult("failed", f"the token was rejected: {reason}", remedy)

    async def _publish(self, connection: DoctorConnection, session: aiohttp.ClientSession) -> str:
        """Send a test notification to a user; return how it was acknowledged, and check its receipt on the way."""
        may = self._target.publish
        if may is None:
            may = "publish" in str(self._claims.get("scope", "")).split()
        user = self._target.user or self._claims.get("sub")
        if not may or not isinstance(user, str):
            text = "not tried: the token lacks the scope publish"
            raise CheckResult("warning", text, "give --publish to try it nevertheless, or --token with the scope")
        listening = await self._listener(session, user)
        try:
            target = self._target
            acknowledged = await send_notifications(
                connection, target.event, target.namespace, self._notification, user, target.ack_seconds
            )
            if listening is not None:
                await self._check("receipt", self._receive(listening))
            return acknowledged
        finally:
            if listening is not None:
                await listening.ws.close()

    async def _listener(self, session: aiohttp.ClientSession, user: str) -> DoctorConnection | None:
        """Open a second socket, of the user to notify. None, with a warning, without a token for it."""
        token = self._target.listener_token or self._target.token
        if self._target.listener_token is None and self._claims.get("sub") != user:
            text = f"not tried: a token for {user} is missing"
            self._note(Check("receipt", "warning", text, 0.0, "give one by --listener-token"))
            return None
        connection = await self._dial(session, token)
        await join(connection, self._version, self._target.namespace, token)
        return connection

    async def _receive(self, connection: DoctorConnection) -> str:
        await connection.until(lambda text: text.startswith("42") and self._notification in text)
        return "the listener received it"

    async def _ping(self, connection: DoctorConnection) -> str:
        began = time.monotonic()
        await connection.ws.ping(b"doctor")
        await connection.until(lambda text: text == "(pong)")
        milliseconds = (time.monotonic() - began) * 1000
        if self._version == 3:
            await connection.ws.send_str("2")
            await connection.until(lambda text: text == "3")
            return f"WebSocket ping {milliseconds:.1f} ms; the server answered our Engine.IO ping"
        if not connection.pings and not self._target.wait_for_ping:
            text = f"WebSocket ping {milliseconds:.1f} ms; did not wait for the server's own"
            raise CheckResult("warning", text, "run it without --quick")
        longest = self._interval + self._target.ack_seconds / 2
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(longest):
                while not connection.pings:
                    # A text ends a wait, a ping does not: look at the counter five times a second.
                    with contextlib.suppress(TimeoutError):
                        await connection.until(lambda _: False, 0.2)
        if not connection.pings:
            raise CheckResult("failed", f"no Engine.IO ping within {longest:g} s")
        await connection.ws.ping(b"again")
        await connection.until(lambda text: text == "(pong)")
        return f"WebSocket ping {milliseconds:.1f} ms; answered the server's ping and the connection stayed open"


def run(target: Target, on_check: Callable[[Check], None]) -> list[Check]:
    """Examine a server; `on_check` receives each check as it is made."""
    return asyncio.run(Doctor(target, on_check).examine())
