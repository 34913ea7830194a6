"""Rules that concern several settings, or a setting and its environment. Pure functions."""

import ipaddress
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from config.link_settings import WebSocketSettings
from config.merge import Path
from config.settings import HttpSettings, Settings

_OTHER_CALLERS = frozenset({"admin", "local", "development"})
"""The key of the first start, the owner of the UNIX socket, and a developer without a key."""


_IN_THE_CLEAR = "crosses the network in the clear, because {other} is neither encrypted nor on this machine: use https"


@dataclass(frozen=True, slots=True)
class Finding:
    """A fault of `key`; `{other}` in the reason stands for the other setting with its value and origin."""

    key: Path
    reason: str
    other: Path | None = None
    """The setting the rule also looks at."""

    @property
    def concerns(self) -> tuple[Path, ...]:
        return (self.key,) if self.other is None else (self.key, self.other)


def faults(settings: Settings, environment: str) -> Iterator[Finding]:
    """Yield the faults that prevent a start."""
    yield from _verify_tls(settings, environment)
    yield from _anonymous_clients(settings, environment)
    yield from _link_server(settings.web_socket)
    yield from _delays(settings)
    yield from _connection_string(settings)
    yield from _execution(settings)
    yield from _program_names(settings)
    yield from _api_key_names(settings.http)
    yield from _listener(settings.http)


def warnings(settings: Settings) -> Iterator[Finding]:
    """Yield what is valid and probably a mistake."""
    for index, proxy in enumerate(settings.http.trusted_proxies):
        if ipaddress.ip_network(proxy, strict=False).prefixlen == 0:
            reason = "trusts every client: any of them can forge its address"
            yield Finding(("Http", "TrustedProxies", index), reason)
    yield from _doubtful_link(settings.web_socket)
    yield from _secrets_in_the_clear(settings)


def _verify_tls(settings: Settings, environment: str) -> Iterator[Finding]:
    if not settings.web_socket.verify_tls and environment != "Development":
        reason = f"is allowed in Development only, and this is {environment}; name the server's authority in CaFile"
        yield Finding(("WebSocket", "VerifyTls"), reason)


def _anonymous_clients(settings: Settings, environment: str) -> Iterator[Finding]:
    if settings.hub.anonymous and environment != "Development":
        reason = f"is allowed in Development only, and this is {environment}: give the clients tokens"
        yield Finding(("Hub", "Anonymous"), reason)


def _link_server(link: WebSocketSettings) -> Iterator[Finding]:
    path = urlsplit(link.url).path.rstrip("/")
    if link.namespace is not None and path and path != link.namespace:
        reason = "differs from the path of {other}, which names a namespace as well: leave one of them out"
        yield Finding(("WebSocket", "Namespace"), reason, ("WebSocket", "Url"))
    for name in link.query:
        if name.lower() in ("eio", "transport", "sid", "t", "b64"):
            yield Finding(("WebSocket", "Query", name), "is a parameter of Engine.IO, which the link sets itself")


def _doubtful_link(link: WebSocketSettings) -> Iterator[Finding]:
    if link.key_file is not None and link.certificate_file is None:
        yield Finding(("WebSocket", "KeyFile"), "is not used: its certificate is missing in WebSocket:CertificateFile")
    for name in link.query:
        if any(word in name.lower() for word in ("token", "secret", "key", "password", "auth")):
            reason = "is part of the URL, which proxies and servers write into their logs: prefer Token or Headers"
            yield Finding(("WebSocket", "Query", name), reason)


def _secrets_in_the_clear(settings: Settings) -> Iterator[Finding]:
    """Yield the secrets that plain HTTP would show to everyone between this machine and the server."""
    link = settings.web_socket
    secrets: list[Path] = [("Token",)] if link.token else []
    secrets += [("TokenFile",)] if link.token_file else []
    secrets += [("Headers", name) for name in link.headers] + [("Query", name) for name in link.query]
    if _is_in_the_clear(link.url):
        for key in secrets:
            yield Finding(("WebSocket", *key), _IN_THE_CLEAR, ("WebSocket", "Url"))
    for index, target in enumerate(settings.handlers.http.allow):
        if _is_in_the_clear(target.url):
            entry: Path = ("Handlers", "Http", "Allow", index)
            yield from (Finding((*entry, "Headers", name), _IN_THE_CLEAR, (*entry, "Url")) for name in target.headers)


def _is_in_the_clear(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme.lower() in ("http", "ws") and not is_loopback((parts.hostname or "").rstrip("."))


def _delays(settings: Settings) -> Iterator[Finding]:
    link, worker = settings.web_socket, settings.worker
    if link.max_reconnection_delay < link.reconnection_delay:
        yield _below(("WebSocket", "MaxReconnectionDelay"), ("WebSocket", "ReconnectionDelay"))
    if worker.max_backoff_delay < worker.backoff_delay:
        yield _below(("Worker", "MaxBackoffDelay"), ("Worker", "BackoffDelay"))


def _execution(settings: Settings) -> Iterator[Finding]:
    """Both kinds are stopped by cancelling their coroutine; a thread or a child process could not be stopped."""
    for kind in ("http", "command"):
        if settings.worker.execution.get(kind, "async") != "async":
            yield Finding(
                ("Worker", "Execution", kind),
                "must be async, or left out: jobs of this kind wait in the event loop, where they can be stopped",
            )


def _program_names(settings: Settings) -> Iterator[Finding]:
    seen: set[str] = set()
    for index, program in enumerate(settings.handlers.command.programs):
        if program.name in seen:
            yield Finding(("Handlers", "Command", "Programs", index, "Name"), "is the name of another program as well")
        seen.add(program.name)


def _api_key_names(http: HttpSettings) -> Iterator[Finding]:
    """The audit trail names callers by their key, and each key has its own idempotency keys."""
    names: set[str] = set()
    digests: set[str] = set()
    for index, key in enumerate(http.api_keys):
        name, digest = _folded(key.name), key.sha256.get_secret_value().lower()
        if name in names:
            yield Finding(("Http", "ApiKeys", index, "Name"), "is the name of another key as well")
        elif name in _OTHER_CALLERS or name.startswith(("user ", "key:")):
            reason = "could be mistaken for another caller in the audit log: choose a name that says whose key it is"
            yield Finding(("Http", "ApiKeys", index, "Name"), reason)
        if digest in digests:
            yield Finding(("Http", "ApiKeys", index, "Sha256"), "is the digest of another key as well")
        names.add(name)
        digests.add(digest)


def _folded(name: str) -> str:
    """Return the name as a reader sees it: without differences of case, width and blanks."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def _below(cap: Path, base: Path) -> Finding:
    return Finding(cap, "must be >= {other}", base)


def _connection_string(settings: Settings) -> Iterator[Finding]:
    if settings.queue.connection_string is not None and settings.queue.provider == "sqlite":
        reason = "is for a database server; provider sqlite has the name of its file in Queue:Path"
        yield Finding(("Queue", "ConnectionString"), reason, ("Queue", "Provider"))
    if settings.queue.connection_string is None and settings.queue.provider == "postgres":
        reason = "is missing; provider postgres needs a URL such as postgresql://user@host/database"
        yield Finding(("Queue", "ConnectionString"), reason, ("Queue", "Provider"))


def _listener(http: HttpSettings) -> Iterator[Finding]:
    for name, url in (("Url", http.url), ("AdminUrl", http.admin_url)):
        if url is not None and not is_loopback(urlsplit(url).hostname or "") and not http.trusted_proxies:
            reason = (
                "refuses to start: keys and tokens would cross the network in the clear; listen on 127.0.0.1, "
                "or put a proxy with TLS in front and name its address in Http:TrustedProxies"
            )
            yield Finding(("Http", name), reason, ("Http", "TrustedProxies"))
    if http.admin_url is not None and _port(http.admin_url) == _port(http.url) != 0:
        yield Finding(("Http", "AdminUrl"), "must have a different port than {other}", ("Http", "Url"))


def _port(url: str) -> int:
    port = urlsplit(url).port
    return 80 if port is None else port


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach an address; a name other than localhost counts as reachable."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
