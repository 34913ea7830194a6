"""The server that `doctor ws` examines, and what the settings say about it."""

import contextlib
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from config.loader import LoadedSettings
from config.presence import exists
from worker.cli.doctor_connection import STEP_SECONDS
from worker.cli.listener import token_for
from worker.errors import Unavailable
from worker.hub.tokens import KEY_FILE
from worker.notifiers.socketio.address import address_of, proxy_for
from worker.notifiers.socketio.handshake import ConnectOptions
from worker.notifiers.socketio.notifier import credentials_of, headers_of, tls_of

_USER: Final = "insignia-worker-doctor"
_TOKEN_DAYS: Final = 0.01


@dataclass(frozen=True, slots=True)
class Target:
    """A server to examine, and the credentials to examine it with."""

    url: str
    path: str
    event: str
    token: str | None = None
    user: str | None = None
    """Receiver of the test notification; None: the token's own `sub`."""
    listener_token: str | None = None
    """For a socket of that user; None: the token itself."""
    publish: bool | None = None
    """Whether to send the test notification; None: when the token's scope says that it may."""
    wait_for_ping: bool = True
    """Up to the server's ping interval, usually 25 s."""
    ack_seconds: float = STEP_SECONDS
    """How long to wait for an acknowledgement."""
    headers: dict[str, str] = field(default_factory=dict)
    tls: ssl.SSLContext | None = None
    query: Mapping[str, str] = field(default_factory=dict)
    proxy: str | None = None
    namespace: str = "/"

    @property
    def parts(self) -> SplitResult:
        return urlsplit(re.sub("^ws", "http", self.url))

    @property
    def secure(self) -> bool:
        return self.parts.scheme == "https"

    @property
    def port(self) -> int:
        return self.parts.port or (443 if self.secure else 80)

    @property
    def options(self) -> ConnectOptions:
        """What a connection of the link is made with."""
        auth = None if self.token is None else {"token": self.token}
        return ConnectOptions(self.address(""), self.path, self.headers, auth, self.tls, self.query, self.proxy)

    def address(self, path: str) -> str:
        return f"{self.parts.scheme}://{self.parts.netloc}/{path.strip('/')}"


def server_address(url: str) -> str:
    """Return the address with a scheme and without a path. Raises ValueError when it is not a server's address."""
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme not in ("http", "https", "ws", "wss") or not parts.hostname:
        raise ValueError(f"{url} is not an address such as https://hub.example:8443")
    with contextlib.suppress(ValueError):
        _ = parts.port
        return f"{parts.scheme}://{parts.netloc}"
    raise ValueError(f"{url} must have a port from 0 to 65535")


def target_for(
    loaded: LoadedSettings, url: str, token: str | None, *, namespace: str | None = None, **options: Any
) -> Target:
    """Return the server at `url` with what the settings say about it; `options` are further fields of Target.

    Raises Unavailable when the token's file cannot be read.
    """
    link = loaded.settings.web_socket
    # A configured token, or a header with one, is for the configured server, not for any server that is examined.
    is_own = urlsplit(url).hostname in {urlsplit(link.url).hostname, "127.0.0.1", "::1", "localhost"}
    return Target(
        url=url,
        path=link.path,
        event=link.event,
        token=token or (_configured_token(loaded) if is_own else None),
        headers=headers_of(link, address_of(link.url).authorization) if is_own else {},
        query={name: value.get_secret_value() for name, value in link.query.items()} if is_own else {},
        namespace=namespace or (address_of(link.url, link.namespace).namespace if is_own else "/"),
        proxy=proxy_for(url, None if link.proxy is None else link.proxy.get_secret_value()),
        tls=tls_of(link, url, loaded.content_root),
        **options,
    )


def _configured_token(loaded: LoadedSettings) -> str | None:
    """Return the link's token, else one signed with the hub's key if that exists, valid for a quarter of an hour."""
    try:
        credentials = credentials_of(loaded.settings.web_socket, loaded.content_root)
    except OSError as exc:
        raise Unavailable(f"WebSocket:TokenFile cannot be read ({exc.strerror})") from None
    if credentials is not None:
        return str(credentials["token"])
    if loaded.settings.hub.jwt.key is None and not exists(loaded.state_dir / KEY_FILE):
        return None
    return token_for(loaded, _USER, publish=True, days=_TOKEN_DAYS)
