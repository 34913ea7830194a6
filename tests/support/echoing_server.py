"""A server that reveals everything it receives, in every spelling and place: for `http` jobs and for the link."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import orjson
from aiohttp import WSMsgType, web

from tests.support.canaries import every_spelling
from tests.support.web_server import serving

LINK_PATH = "/api/v1/org-socket/"
_REJECTED, _REFUSED = 1, 2
"""The numbers of the link's first connections, which do not get far."""


@dataclass
class EchoingServer:
    """Where it listens, and what the link sent after it was let in."""

    port: int = 0
    attempts: int = 0
    received: list[str] = field(default_factory=list)
    """What the link sent after it had named its token."""
    secrets: list[str] = field(default_factory=list)
    """The values of headers, queries and tokens: where secrets belong."""
    notified: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def answer_call(self, request: web.Request) -> web.StreamResponse:
        """Answer a job of kind http; the last part of the path says how."""
        values = sorted(request.headers.values(), key=lambda one: "Canary" not in one)
        self.secrets += values
        shown = every_spelling(values)
        headers = {"X-Request-Id": values[0][:900], "ETag": every_spelling(values).split("\n")[4][:3000]}
        for name, value in list(headers.items()):
            headers[name] = value.encode("ascii", "replace").decode()
        secret = " ".join(values)
        match request.match_info["how"]:
            case "json":
                return web.Response(text=_escaped_json(values), content_type="application/json", headers=headers)
            case "redirect":
                return web.Response(status=302, headers={"Location": f"/hooks/text?{_percent(secret)}", **headers})
            case "error":
                return web.Response(status=400, text=shown, headers=headers)
            case "busy":
                return web.Response(status=503, text=shown, reason=_percent(secret)[:500], headers=headers)
            case _:
                return web.Response(text=shown, headers=headers)

    async def answer_link(self, request: web.Request) -> web.StreamResponse:
        """Reject the first connection, refuse CONNECT on the second, then accept and echo."""
        self.attempts += 1
        # What is cut off at a length must not be what matters.
        values = sorted([*request.headers.values(), *request.query.values()], key=lambda one: "Canary" not in one)
        self.secrets += values
        if self.attempts == _REJECTED:
            return web.Response(status=403, text=every_spelling(values), headers={"X-Reason": _percent(values[-1])})
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        with contextlib.suppress(ConnectionError):
            await self._talk(ws, values)
        return ws

    async def _talk(self, ws: web.WebSocketResponse, values: list[str]) -> None:
        opening = {
            "sid": "engine",
            "upgrades": [],
            "pingInterval": 25000,
            "pingTimeout": 20000,
            "maxPayload": 1_000_000,
        }
        await ws.send_str("0" + orjson.dumps(opening).decode())
        connect = str((await ws.receive()).data)
        auth = orjson.loads(connect[2:] or "{}") if connect.startswith("40") else {}
        self.secrets += map(str, auth.values())
        echo = every_spelling([*values, *map(str, auth.values())])
        if self.attempts == _REFUSED:
            await ws.send_str("44" + orjson.dumps({"message": echo, "data": {"echo": echo}}).decode())
            await ws.close(code=4401, message=_percent(str(auth.get("token")))[:120].encode())
            return
        await ws.send_str('40{"sid":"socket"}')
        await ws.send_str("42" + orjson.dumps(["error", {"message": echo, "code": "unauthorized"}]).decode())
        await ws.send_str("42[" + echo[:2000])  # not valid JSON
        async for message in ws:
            if message.type is WSMsgType.TEXT:
                # Doctor connects to further namespaces, with the token.
                (self.secrets if message.data.startswith("40") else self.received).append(message.data)
                await self._acknowledge(ws, message.data, echo)

    async def _acknowledge(self, ws: web.WebSocketResponse, frame: str, echo: str) -> None:
        number = frame[2:].partition("[")[0]
        if frame.startswith("42") and number.isdigit():
            # The first notification is rejected, with a reason that quotes what was sent; the others are accepted.
            rejected = {"ok": False, "error": echo, "message": echo}
            answer = [rejected] if not self.notified.is_set() else []
            await ws.send_str(f"43{number}{orjson.dumps(answer).decode()}")
            self.notified.set()


def _percent(text: str) -> str:
    return "".join(f"%{byte:02x}" for byte in text.encode())


def _escaped_json(values: list[str]) -> str:
    """Return JSON in which every character of the values is escaped."""
    return "[" + ",".join('"' + "".join(f"\\u{ord(char):04x}" for char in value) + '"' for value in values) + "]"


@contextlib.asynccontextmanager
async def echoing_server() -> AsyncIterator[EchoingServer]:
    server = EchoingServer()
    app = web.Application()
    app.router.add_get(LINK_PATH, server.answer_link)
    app.router.add_route("*", "/hooks/{how}", server.answer_call)
    async with serving(app) as server.port:
        yield server
