"""What a failure of the network or of a file means for an operator: its innermost cause, and what to do about it."""

import socket
import ssl
from typing import Final

import aiohttp

from worker.core.failure import innermost_cause

_UNTRUSTED: Final = "set WebSocket:CaFile to the authority of its certificate, or correct the name in WebSocket:Url"
_HINTS: Final[tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str], ...]] = (
    # First: the cause of such an error is one of those below, and so is its class.
    ((aiohttp.ClientProxyConnectionError, aiohttp.ClientHttpProxyError), "check WebSocket:Proxy"),
    (ConnectionRefusedError, "start the server, or correct WebSocket:Url"),
    (socket.gaierror, "correct the name in WebSocket:Url, or check DNS"),
    (ssl.SSLCertVerificationError, _UNTRUSTED),
    (ssl.SSLError, "check whether that port speaks TLS (https or http in WebSocket:Url)"),
    (
        (ConnectionError, aiohttp.ServerDisconnectedError, aiohttp.ClientResponseError),
        "see the server's log, and check whether that port speaks HTTP without TLS (https or http in WebSocket:Url)",
    ),
    ((FileNotFoundError, PermissionError, IsADirectoryError), "correct the path in the settings, or the file's rights"),
    (OSError, "check the network between this machine and the server"),
)
"""The first that fits applies."""


def explain(exc: BaseException) -> str:
    """Return the innermost cause in one line, with what to do."""
    cause = innermost_cause(exc)
    text = " ".join(str(cause).split())
    named = f"{type(cause).__name__}: {text}" if text else type(cause).__name__
    kinds = (exc, cause)
    hint = next((hint for kind, hint in _HINTS if any(isinstance(each, kind) for each in kinds)), "")
    return f"{named}: {hint}" if hint else named
