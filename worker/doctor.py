"""Examines any org-socket server from the command line: is it there, which protocol does it speak, does it do all that
the link and the browsers need? Reads and writes the frames by hand, so that it tells what is wrong instead of failing.

Knows no queue. The token is never printed.
"""

import asyncio
import base64
import contextlib
import re
import secrets
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from urllib.parse import SplitResult, urlsplit

import aiohttp
import orjson

from config.layers import Loaded
from worker.beside import token_for
from worker.errors import Unavailable
from worker.hub.auth import KEY_FILE
from worker.notification import TASK_FINISH
from worker.orgsocket.channel import credentials_of, tls_of

Verdict = Literal["ok", "warning", "failed"]
MARKS: Final[dict[Verdict, str]] = {"ok": "✅", "warning": "⚠️", "failed": "❌"}
UNREACHABLE: Final = 69
FAULTY: Final = 65
_STEP_SECONDS: Final = 10.0
_USER: Final = "insignia-worker-doctor"
_TOKEN_DAYS: Final = 0.01
_CERTIFICATE_DAYS: Final = 14
_WAY_IN: Final = ("tcp", "tls", "upgrade")
"""Checks without which nobody gets as far as the protocol."""


@dataclass(frozen=True, slots=True)
class Check:
    """What one examination found."""

    name: str
    verdict: Verdict
    text: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Patient:
    """Whom to examine, and with what."""

    url: str
    path: str
    event: str
    token: str | None = None
    user: str | None = None
    """Who is sent the test notification; None: the token's own `sub`."""
    listener_token: str | None = None
    """Of a socket of that user; None: the token itself."""
    publish: bool | None = None
    """Whether to send the test notification; None: when the token's scope says that it may."""
    wait_for_ping: bool = True
    """Up to the server's ping interval, usually 25 s."""
    patience: float = _STEP_SECONDS
    """Seconds for an acknowledgement."""
    headers: dict[str, str] = field(default_factory=dict)
    tls: ssl.SSLContext | None = None

    @property
    def parts(self) -> SplitResult:
        return urlsplit(re.sub("^ws", "http", self.url))

    @property
    def secure(self) -> bool:
        return self.parts.scheme == "https"

    @property
    def port(self) -> int:
        return self.parts.port or (443 if self.secure else 80)

    def address(self, path: str) -> str:
        return f"{self.parts.scheme}://{self.parts.netloc}/{path.strip('/')}"


class Found(Exception):
    """An examination ends here with this verdict."""

    def __init__(self, verdict: Verdict, text: str) -> None:
        super().__init__(text)
        self.verdict: Verdict = verdict


def exit_code(checks: list[Check]) -> int:
    """0 when nothing failed, 69 when the server cannot be reached, 65 when it does not do what it should."""
    failed = {check.name for check in checks if check.verdict == "failed"}
    if not failed:
        return 0
    return UNREACHABLE if failed & set(_WAY_IN) else FAULTY


class _Line:
    """One WebSocket; Engine.IO's pings are answered on the way."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        self.ws = ws
        self.pings = 0

    async def next(self) -> str:
        """The next text that is no ping. Found when the server hangs up."""
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
                raise Found("failed", f"the server hung up ({self.ws.close_code})")

    async def until(self, fits: Callable[[str], bool], seconds: float = _STEP_SECONDS) -> str:
        """The next text that fits; TimeoutError."""
        async with asyncio.timeout(seconds):
            while not fits(text := await self.next()):
                pass
            return text


class Doctor:
    """One examination; `tell` hears of each check as it is made."""

    def __init__(self, patient: Patient, tell: Callable[[Check], None]) -> None:
        self._patient = patient
        self._tell = tell
        self._checks: list[Check] = []
        self._notification = f"doctor-{secrets.token_hex(8)}"
        self._claims = _claims(patient.token)
        self._interval = 25.0

    async def examine(self) -> list[Check]:
        """All checks, as far as the server lets us go."""
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._patient.tls or True),
            headers=self._patient.headers,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_STEP_SECONDS),
        ) as session:
            if await self._way_in(session):
                await self._native(session)
        return self._checks

    async def _way_in(self, session: aiohttp.ClientSession) -> bool:
        """Whether the server could be reached at all."""
        if not await self._check("tcp", self._tcp()):
            return False
        if self._patient.secure and not await self._check("tls", self._tls()):
            return False
        lines: list[_Line] = []
        try:
            if await self._check("upgrade", self._upgrade(session, lines)):
                await self._protocol(session, lines[0])
                return True
        finally:
            for line in lines:
                await line.ws.close()
        return False

    async def _protocol(self, session: aiohttp.ClientSession, line: _Line) -> None:
        if not await self._check("open", self._open(line)) or not await self._check("connect", self._connect(line)):
            return
        await self._check("namespace", self._unknown_namespace(line))
        if await self._check("publish", self._publish(line, session)):
            await self._check("ping", self._ping(line))

    async def _check(self, name: str, examination: Awaitable[str]) -> bool:
        """Make it, tell of it; whether one may go on."""
        began = time.monotonic()
        verdict: Verdict = "ok"
        try:
            text = await examination
        except Found as found:
            verdict, text = found.verdict, str(found)
        except TimeoutError:
            verdict, text = "failed", "no answer in time"
        except (OSError, aiohttp.ClientError, ValueError) as exc:
            verdict, text = "failed", str(exc) or type(exc).__name__
        self._note(Check(name, verdict, text, round(time.monotonic() - began, 4)))
        return verdict != "failed"

    def _note(self, check: Check) -> None:
        self._checks.append(check)
        self._tell(check)

    # -- the way in ------------------------------------------------------------------------------------------

    async def _tcp(self) -> str:
        patient = self._patient
        async with asyncio.timeout(_STEP_SECONDS):
            _, writer = await asyncio.open_connection(patient.parts.hostname, patient.port)
        peer = writer.get_extra_info("peername")
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return f"connected to {peer[0]} port {peer[1]}"

    async def _tls(self) -> str:
        patient = self._patient
        context = patient.tls or ssl.create_default_context()
        async with asyncio.timeout(_STEP_SECONDS):
            _, writer = await asyncio.open_connection(
                patient.parts.hostname, patient.port, ssl=context, server_hostname=patient.parts.hostname
            )
        wire = writer.get_extra_info("ssl_object")
        version, certificate = wire.version(), wire.getpeercert()
        writer.transport.abort()
        if not certificate:
            raise Found("warning", f"{version}, but the certificate is not checked (WebSocket:VerifyTls)")
        days = (ssl.cert_time_to_seconds(certificate["notAfter"]) - time.time()) / 86400
        text = f"{version}, certificate good for {days:.0f} days"
        if days < _CERTIFICATE_DAYS:
            raise Found("warning", text)
        return text

    async def _upgrade(self, session: aiohttp.ClientSession, lines: list[_Line]) -> str:
        patient = self._patient
        address = patient.address(patient.path) + "/"
        try:
            line = await _dial(session, address, {"EIO": "4", "transport": "websocket"})
        except aiohttp.WSServerHandshakeError as exc:
            raise Found("failed", await self._why_no_upgrade(session, address, exc.status)) from None
        lines.append(line)
        return f"a WebSocket at {patient.path}"

    async def _why_no_upgrade(self, session: aiohttp.ClientSession, address: str, status: int) -> str:
        """Ask in the old protocol's words; a server that opens a session understands them."""
        with contextlib.suppress(aiohttp.ClientError, TimeoutError, UnicodeDecodeError):
            async with asyncio.timeout(_STEP_SECONDS):
                query = {"EIO": "3", "transport": "polling"}
                async with session.get(address, params=query) as answer:
                    body = (await answer.content.read(200)).decode()
            if re.match(r"\d+:0\{", body):
                return f"HTTP {status}: the server speaks Engine.IO 3 (Socket.IO 2) only; it must be upgraded"
        hints = {404: "is WebSocket:Path right?", 403: "is an Origin or address refused?", 502: "is the hub up?"}
        hint = hints.get(status, "does a proxy pass the upgrade on?")
        return f"HTTP {status} instead of the upgrade at {self._patient.path}: {hint}"

    # -- Socket.IO -------------------------------------------------------------------------------------------

    async def _open(self, line: _Line) -> str:
        text = await line.until(lambda _: True)
        if not text.startswith("0{"):
            raise Found("failed", f"the first packet is no OPEN: {text[:60]!r}")
        opening = orjson.loads(text[1:])
        interval, patience = opening.get("pingInterval"), opening.get("pingTimeout")
        if not isinstance(interval, int | float) or not isinstance(patience, int | float):
            raise Found("failed", "OPEN names no pingInterval and pingTimeout")
        self._interval = interval / 1000
        payload = opening.get("maxPayload")
        if payload is None and await self._is_engine_io_3(line):
            raise Found("failed", "the server speaks Engine.IO 3 (Socket.IO 2); this needs Engine.IO 4: upgrade it")
        limit = "no limit named" if payload is None else f"frames up to {payload:,} bytes"
        return f"Engine.IO 4; pings every {interval / 1000:g} s, patience {patience / 1000:g} s, {limit}"

    async def _is_engine_io_3(self, line: _Line) -> bool:
        """The old server puts everybody into `/` unasked; the new one waits for CONNECT."""
        with contextlib.suppress(TimeoutError, Found):
            return (await line.until(lambda _: True, 1.0)).startswith("40")
        return False

    async def _connect(self, line: _Line) -> str:
        token = self._patient.token
        await line.ws.send_str("40" + ("" if token is None else orjson.dumps({"token": token}).decode()))
        answer = await line.until(lambda text: text.startswith(("40", "44")))
        if answer.startswith("40{"):
            return "accepted" + ("" if token else " without a token")
        reason = _reason(answer[2:])
        if token is None:
            raise Found("failed", f"{reason}: no token was given (WebSocket:Token, WebSocket:TokenFile or --token)")
        raise Found("failed", f"the token was refused: {reason}")

    async def _unknown_namespace(self, line: _Line) -> str:
        name = f"/doctor-{secrets.token_hex(4)}"
        await line.ws.send_str(f"40{name},")
        try:
            answer = await line.until(lambda text: text[2:].startswith(f"{name},"), 3.0)
        except TimeoutError:
            raise Found("warning", "an unknown namespace gets no answer") from None
        if answer.startswith("40"):
            raise Found("warning", "any namespace is let in")
        return f"an unknown one is refused: {_reason(answer.partition(',')[2])}"

    async def _publish(self, line: _Line, session: aiohttp.ClientSession) -> str:
        """A test notification to the token's own user, and whether it comes."""
        may = self._patient.publish
        if may is None:
            may = "publish" in str(self._claims.get("scope", "")).split()
        user = self._patient.user or self._claims.get("sub")
        if not may or not isinstance(user, str):
            raise Found("warning", "not tried: the token names no scope publish (--publish tries nevertheless)")
        listening = await self._listener(session, user)
        try:
            told = await self._send_one(line, user)
            if listening is not None:
                await self._check("receipt", self._receive(listening))
            return told
        finally:
            if listening is not None:
                await listening.ws.close()

    async def _listener(self, session: aiohttp.ClientSession, user: str) -> _Line | None:
        """A second socket, of the user who is to be told; None, with its own line, when there can be none."""
        token = self._patient.listener_token or self._patient.token
        if self._patient.listener_token is None and self._claims.get("sub") != user:
            self._note(Check("receipt", "warning", f"not tried: no token of {user} (--listener-token)", 0.0))
            return None
        patient = self._patient
        line = await _dial(session, patient.address(patient.path) + "/", {"EIO": "4", "transport": "websocket"})
        await line.ws.send_str("40" + orjson.dumps({"token": token}).decode())
        await line.until(lambda text: text.startswith("40"))
        return line

    async def _send_one(self, line: _Line, user: str) -> str:
        payload = {
            "taskType": "doctor",
            "jobId": self._notification,
            "notificationId": self._notification,
            "status": "success",
            "sequence": 1,
        }
        message = {"success": True, "message": TASK_FINISH, "payload": payload}
        event = orjson.dumps([self._patient.event, message, {"userId": user}]).decode()
        await line.ws.send_str(f"427{event}")
        try:
            answer = await line.until(lambda text: text.startswith("437["), self._patient.patience)
        except TimeoutError:
            raise Found("warning", "no acknowledgement: the link will prove receipt by pings instead") from None
        arguments = orjson.loads(answer[3:])
        if arguments and isinstance(arguments[0], dict) and arguments[0].get("ok") is False:
            raise Found("failed", f"refused: {arguments[0].get('error')}")
        return f"acknowledged, to {user}"

    async def _receive(self, line: _Line) -> str:
        await line.until(lambda text: text.startswith("42") and self._notification in text)
        return "the listener has it"

    async def _ping(self, line: _Line) -> str:
        began = time.monotonic()
        await line.ws.ping(b"doctor")
        await line.until(lambda text: text == "(pong)")
        milliseconds = (time.monotonic() - began) * 1000
        if not line.pings and not self._patient.wait_for_ping:
            raise Found("warning", f"WebSocket ping {milliseconds:.1f} ms; the server's own was not waited for")
        longest = self._interval + self._patient.patience / 2
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(longest):
                while not line.pings:
                    # A text ends each wait, a ping does not; so look again every now and then.
                    with contextlib.suppress(TimeoutError):
                        await line.until(lambda _: False, 0.2)
        if not line.pings:
            raise Found("failed", f"no Engine.IO ping within {longest:g} s")
        await line.ws.ping(b"again")
        await line.until(lambda text: text == "(pong)")
        return f"WebSocket ping {milliseconds:.1f} ms; the server's ping was answered and it stayed"

    # -- the native door -------------------------------------------------------------------------------------

    async def _native(self, session: aiohttp.ClientSession) -> None:
        await self._check("native", self._native_door(session))

    async def _native_door(self, session: aiohttp.ClientSession) -> str:
        try:
            line = await _dial(session, self._patient.address("/ws"), {})
        except (aiohttp.ClientError, TimeoutError):
            raise Found("warning", "no /ws here; only our own hub has one") from None
        try:
            token = self._patient.token or ""
            await line.ws.send_str(orjson.dumps({"type": "auth", "data": {"token": token}}).decode())
            answer = orjson.loads(await line.until(lambda _: True))
            if answer.get("type") != "welcome":
                raise Found("warning" if not token else "failed", f"/ws: {_reason(orjson.dumps(answer.get('data')))}")
            await line.ws.send_str('{"type":"ping","data":"doctor"}')
            await line.until(lambda text: '"pong"' in text and '"doctor"' in text)
            return "/ws: welcome and pong"
        finally:
            await line.ws.close()


async def _dial(session: aiohttp.ClientSession, address: str, query: dict[str, str]) -> _Line:
    async with asyncio.timeout(_STEP_SECONDS):
        hasty = aiohttp.ClientWSTimeout(ws_close=1.0)
        return _Line(await session.ws_connect(address, params=query, autoping=False, max_msg_size=0, timeout=hasty))


def _claims(token: str | None) -> dict[str, Any]:
    """What the token says of itself, unverified: only to know what is worth trying. Nothing for other tokens."""
    parts = (token or "").split(".")
    if len(parts) != 3:
        return {}
    try:
        claims = orjson.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except ValueError:
        return {}
    return claims if isinstance(claims, dict) else {}


def _reason(text: str | bytes) -> str:
    """What a refusal says: an object with a message, or anything else as it is."""
    try:
        said = orjson.loads(text)
    except orjson.JSONDecodeError:
        said = text if isinstance(text, str) else text.decode(errors="replace")
    return str(said.get("message", said))[:200] if isinstance(said, dict) else str(said)[:200]


def line_of(check: Check) -> str:
    """One line for people."""
    return f"{MARKS[check.verdict]} {check.name:<10} {check.text} ({check.seconds * 1000:.0f} ms)"


def reachable(url: str) -> str:
    """The address with a scheme and without a path. ValueError: it is none."""
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme not in ("http", "https", "ws", "wss") or not parts.hostname:
        raise ValueError(f"{url} is no address such as https://hub.example:8443")
    with contextlib.suppress(ValueError):
        _ = parts.port
        return f"{parts.scheme}://{parts.netloc}"
    raise ValueError(f"{url} has no port from 0 to 65535")


def run(patient: Patient, tell: Callable[[Check], None]) -> list[Check]:
    """One examination."""
    return asyncio.run(Doctor(patient, tell).examine())


def patient_for(loaded: Loaded, url: str, token: str | None, **chosen: Any) -> Patient:
    """The server at `url` with what the settings say of it. Unavailable: the token's file cannot be read."""
    link = loaded.settings.web_socket
    known = urlsplit(url).hostname in {urlsplit(link.url).hostname, "127.0.0.1", "::1", "localhost"}
    return Patient(
        url=url,
        path=link.path,
        event=link.event,
        # A token of ours, or a header with one, is for our own server, not for whichever is examined.
        token=token or (_own_token(loaded) if known else None),
        headers={name: value.get_secret_value() for name, value in link.headers.items()} if known else {},
        tls=tls_of(link, url, loaded.content_root),
        **chosen,
    )


def _own_token(loaded: Loaded) -> str | None:
    """The link's, else one by our own hub's key, good for a quarter of an hour; no key is made for it."""
    try:
        credentials = credentials_of(loaded.settings.web_socket, loaded.content_root)
    except OSError as exc:
        raise Unavailable(f"WebSocket:TokenFile cannot be read ({exc.strerror})") from None
    if credentials is not None:
        return str(credentials["token"])
    if loaded.settings.hub.jwt.key is None and not (loaded.state_dir / KEY_FILE).exists():
        return None
    return token_for(loaded, _USER, publish=True, days=_TOKEN_DAYS)
