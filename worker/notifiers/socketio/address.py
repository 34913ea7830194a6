"""What WebSocket:Url and its neighbours say about the server: where it is, which namespace, through which proxy."""

import base64
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit, urlunsplit
from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]  # not in typeshed


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """Where the server is."""

    url: str
    """Scheme, host and port: no credentials, no path."""
    namespace: str
    authorization: str | None
    """The header that carries the credentials of the Url; None: it has none."""


def address_of(url: str, namespace: str | None = None) -> ServerAddress:
    """Return the address; a path of the Url is the namespace, as socket.io-client reads it."""
    parts = urlsplit(url)
    credentials, _, host = parts.netloc.rpartition("@")
    path = parts.path.rstrip("/")
    return ServerAddress(
        urlunsplit((parts.scheme, host, "", "", "")),
        namespace or path or "/",
        basic_authorization(credentials) if credentials else None,
    )


def basic_authorization(credentials: str) -> str:
    """Return the value of an Authorization header for `user:password` as a URL spells it (RFC 7617)."""
    user, _, password = credentials.partition(":")
    return "Basic " + base64.b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode()


def proxy_for(url: str, configured: str | None, environ: Mapping[str, str] | None = None) -> str | None:
    """Return the proxy for the server: the configured one, else that of HTTPS_PROXY or HTTP_PROXY unless NO_PROXY
    names the host. A server on this machine is reached without one, unless it is configured.

    `environ` replaces the process's environment, as urllib's getproxies_environment returns it.
    """
    if configured is not None:
        return configured
    parts = urlsplit(re.sub("^ws", "http", url))
    host = parts.hostname or ""
    proxies = dict(getproxies_environment() if environ is None else environ)
    if _is_this_machine(host) or proxy_bypass_environment(host, proxies):
        return None
    return proxies.get(parts.scheme) or proxies.get("all")


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
