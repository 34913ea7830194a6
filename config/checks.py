"""The rules between two settings, and between a setting and its surroundings. Pure: knows no provider."""

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from config.settings import HttpSettings, Settings
from config.tree import Path


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with `key`; `{other}` in the reason stands for the other setting as it is written."""

    key: Path
    reason: str
    other: Path | None = None
    """The setting the rule also looks at."""

    @property
    def concerns(self) -> tuple[Path, ...]:
        return (self.key,) if self.other is None else (self.key, self.other)


def faults(settings: Settings, environment: str) -> Iterator[Finding]:
    """What stops the start."""
    yield from _verify_tls(settings, environment)
    yield from _delays(settings)
    yield from _connection_string(settings)
    yield from _stoppable(settings)
    yield from _program_names(settings)
    yield from _listener(settings.http)


def warnings(settings: Settings) -> Iterator[Finding]:
    """What works, but was hardly meant."""
    for index, proxy in enumerate(settings.http.trusted_proxies):
        if ipaddress.ip_network(proxy, strict=False).prefixlen == 0:
            reason = "trusts everyone: any client can forge the address it seems to come from"
            yield Finding(("Http", "TrustedProxies", index), reason)


def _verify_tls(settings: Settings, environment: str) -> Iterator[Finding]:
    if not settings.web_socket.verify_tls and environment != "Development":
        reason = f"is allowed in Development only, and this is {environment}; name the server's authority in CaFile"
        yield Finding(("WebSocket", "VerifyTls"), reason)


def _delays(settings: Settings) -> Iterator[Finding]:
    link, worker = settings.web_socket, settings.worker
    if link.max_reconnection_delay < link.reconnection_delay:
        yield _below(("WebSocket", "MaxReconnectionDelay"), ("WebSocket", "ReconnectionDelay"))
    if worker.max_backoff_delay < worker.backoff_delay:
        yield _below(("Worker", "MaxBackoffDelay"), ("Worker", "BackoffDelay"))


def _stoppable(settings: Settings) -> Iterator[Finding]:
    """Both are stopped by cancelling their coroutine; in a thread or a child nobody would stop what they started."""
    for kind in ("http", "command"):
        if settings.worker.execution.get(kind, "async") != "async":
            yield Finding(("Worker", "Execution", kind), "must be async, or left out: it waits, and can be stopped")


def _program_names(settings: Settings) -> Iterator[Finding]:
    seen: set[str] = set()
    for index, program in enumerate(settings.handlers.command.programs):
        if program.name in seen:
            yield Finding(("Handlers", "Command", "Programs", index, "Name"), "is the name of another program as well")
        seen.add(program.name)


def _below(cap: Path, base: Path) -> Finding:
    return Finding(cap, "must be >= {other}", base)


def _connection_string(settings: Settings) -> Iterator[Finding]:
    if settings.queue.connection_string is not None and settings.queue.provider == "sqlite":
        reason = "is for a database server; provider sqlite takes the name of its file in Queue:Path"
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
        yield Finding(("Http", "AdminUrl"), "must have another port than {other}", ("Http", "Url"))


def _port(url: str) -> int:
    port = urlsplit(url).port
    return 80 if port is None else port


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address to bind; a name other than localhost may be anything."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
