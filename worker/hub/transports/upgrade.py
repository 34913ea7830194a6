"""The opening handshake of a WebSocket (RFC 6455, 4.2), and the response that switches the protocol."""

import base64
import binascii
from typing import Final

from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter

from worker.hub.connection_limits import Rejection
from worker.net.websocket_key import accept_for

_VERSION: Final = "13"
_KEY_BYTES: Final = 16


def is_websocket_request(request: web.Request) -> bool:
    """Return whether the request asks for an upgrade to WebSocket."""
    return "websocket" in _tokens(request, "Upgrade")


def invalid_upgrade(request: web.Request) -> Rejection | None:
    """Return what is wrong with a request for an upgrade; None: nothing."""
    if request.method != "GET" or request.version < HttpVersion11 or "upgrade" not in _tokens(request, "Connection"):
        return Rejection(400, 3, "Bad request", "not a valid request for a WebSocket")
    if request.headers.getall("Sec-WebSocket-Version", []) != [_VERSION]:
        headers = {"Sec-WebSocket-Version": _VERSION}
        return Rejection(426, 3, "WebSocket version 13 is needed", "another version of WebSocket", headers)
    keys = request.headers.getall("Sec-WebSocket-Key", [])
    if len(keys) != 1 or not _is_key(keys[0]):
        return Rejection(400, 3, "Bad request", "a Sec-WebSocket-Key that is not valid")
    return None


class SwitchingProtocols(web.StreamResponse):
    """The response 101; what follows on the connection are frames."""

    async def write_eof(self, data: bytes = b"") -> None:
        """Write nothing: the frames have no end that HTTP knows."""


async def switch_protocols(request: web.Request) -> tuple[web.StreamResponse, AbstractStreamWriter | None]:
    """Accept the upgrade; return the response, and its writer, which is None if the client has left already."""
    accept = accept_for(request.headers["Sec-WebSocket-Key"])
    response = SwitchingProtocols(
        status=101, headers={"Upgrade": "websocket", "Connection": "upgrade", "Sec-WebSocket-Accept": accept}
    )
    response.force_close()
    return response, await response.prepare(request)


def _tokens(request: web.Request, name: str) -> set[str]:
    return {token.strip().lower() for line in request.headers.getall(name, []) for token in line.split(",")}


def _is_key(text: str) -> bool:
    try:
        return len(base64.b64decode(text, validate=True)) == _KEY_BYTES
    except binascii.Error:
        return False
