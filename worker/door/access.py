"""Who may come in by the HTTP door: API keys with scopes, compared in constant time."""

import hashlib
import hmac
import ipaddress
import os
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from config.checks import is_loopback
from worker.errors import UnsafeKey

_FORWARDED = ("forwarded", "x-forwarded-", "x-real-ip", "via")
SCOPES = ("enqueue", "read", "admin")

_KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and what they may."""

    name: str
    scopes: frozenset[str]

    def may(self, scope: str) -> bool:
        """`any`: being known is enough. `user` is of another kind: no key has it, the highest neither."""
        return scope in self.scopes or scope == "any" or (scope != "user" and "admin" in self.scopes)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it is kept: the hex SHA-256 of what its owner sends."""

    name: str
    sha256: str
    scopes: frozenset[str]


Network = ipaddress.IPv4Network | ipaddress.IPv6Network

CALLER = web.RequestKey("caller", Caller)
"""Where a request keeps who asks."""
LOCAL = Caller("local", frozenset(SCOPES))
"""Whoever may open the UNIX socket (0600) owns the service."""
DEVELOPER = Caller("development", frozenset(SCOPES))


@dataclass(frozen=True, slots=True)
class Access:
    """The keys, and whether loopback needs none (Development only)."""

    keys: Sequence[ApiKey]
    open_on_loopback: bool
    allowed_hosts: frozenset[str]
    proxies: Sequence[Network] = ()
    """Where there are any, whoever is not on this machine must come through one of them: they have the TLS."""

    def caller(self, request: web.Request) -> Caller | None:
        """None: nobody we know. HTTPForbidden: past the proxy."""
        if self.proxies and not self._may_connect(request.remote or ""):
            raise web.HTTPForbidden(text="come through the proxy: this port answers Http:TrustedProxies alone")
        sent = _bearer(request)
        if sent is not None:
            return self._by_key(sent)
        return DEVELOPER if self.open_on_loopback and self._is_local(request) else None

    def _may_connect(self, peer: str) -> bool:
        if is_loopback(peer):
            return True
        try:
            address = ipaddress.ip_address(peer)
        except ValueError:
            return False
        return any(address in network for network in self.proxies)

    def _by_key(self, sent: str) -> Caller | None:
        # aiohttp hands on bytes that are no UTF-8 as surrogates.
        digest = hashlib.sha256(sent.encode("utf-8", "surrogateescape")).hexdigest()
        found = None
        for key in self.keys:  # all of them, always: the time taken tells nothing
            if hmac.compare_digest(digest, key.sha256.lower()):
                found = Caller(key.name, key.scopes)
        return found

    def _is_local(self, request: web.Request) -> bool:
        """Straight from this machine: no proxy in between, and no page of another origin behind it."""
        if any(name.lower().startswith(_FORWARDED) for name in request.headers):
            return False
        host = re.sub(r":\d*$", "", request.host).lower()
        host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        if not (is_loopback(host) or host in self.allowed_hosts):
            return False
        origin = request.headers.get("Origin")
        if origin is not None and origin != f"{request.scheme}://{request.host}":
            return False
        return is_loopback(request.remote or "")


def _bearer(request: web.Request) -> str | None:
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and value:
        return value.strip()
    return request.headers.get("X-Api-Key") or None


def admin_key(path: Path) -> tuple[ApiKey, bool]:
    """The key made at the first start (0600); True: it was made now. UnsafeKey: what is there is no such key."""
    created = not path.exists()
    if created:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(_KEY_BYTES) + "\n")
    value = path.read_text(errors="replace").strip()
    if len(value) < _KEY_BYTES:
        # A start that was cut off left an empty file: the hash of nothing must not open the door.
        raise UnsafeKey(
            f"{path} holds no key of {_KEY_BYTES} characters: delete it, and the next start makes a new one"
        )
    if path.stat().st_mode & 0o077:
        raise UnsafeKey(f"others may read {path}: `chmod 600` it if nobody has, else delete it for a new key")
    return ApiKey("admin", hashlib.sha256(value.encode()).hexdigest(), frozenset(SCOPES)), created
