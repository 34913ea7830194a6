"""Find the caller of a request: an API key with scopes, the dashboard's session, or an end user's token of the hub."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from aiohttp import web

from config.cross_checks import is_loopback
from worker.api.auth.api_keys import SCOPES, ApiKey, find_key
from worker.api.auth.sessions import BrowserSession, BrowserSessions
from worker.hub.tokens import RevocationsUnknown, TokenRejected, TokenService
from worker.net.client_address import (
    Network,
    address_group,
    check_allowed_host,
    client_address,
    is_from_own_page,
    is_from_this_machine,
    is_trusted,
    own_origin,
)
from worker.net.path_base import link_to
from worker.net.rate_limit import RateLimiter

_SAFE = ("GET", "HEAD", "OPTIONS")
_GUESSES_PER_MINUTE = 20
_HIGHEST_PRIORITY = 100


@dataclass(frozen=True, slots=True)
class Caller:
    """A known caller, their scopes, and the owners whose jobs are theirs."""

    name: str
    scopes: frozenset[str]
    users: frozenset[str] | None = None
    """Whose jobs they see and submit; None: those of all users."""
    organizations: frozenset[str] | None = None
    folders: frozenset[str] = frozenset()
    """Folders below Insignia:DataDirectory whose files the caller's jobs may read."""
    user: str | None = None
    """The end user, when the caller sent a token."""
    key: ApiKey | None = None
    """The caller's key; None for end users, and where no key is needed."""
    session: BrowserSession | None = None
    is_read_only: bool = False
    """Whether a token only allows to read, although its user may do more."""

    def may(self, scope: str) -> bool:
        """Return whether the caller has the scope. Every known caller has `any`; not even `admin` includes `user`."""
        return scope in self.scopes or scope == "any" or (scope != "user" and "admin" in self.scopes)

    @property
    def is_bound(self) -> bool:
        return self.users is not None or self.organizations is not None

    @property
    def max_priority(self) -> int:
        """Return the highest priority that the caller may give a job."""
        return _HIGHEST_PRIORITY if "admin" in self.scopes else 0 if self.key is None else self.key.max_priority

    @property
    def may_name_any_file(self) -> bool:
        """Return whether the caller's jobs may read every file below Insignia:DataDirectory."""
        return "admin" in self.scopes and not self.is_bound

    def owns(self, user: str, organization: str | None) -> bool:
        """Return whether a job of this user and organisation is within every bound of the caller."""
        if self.users is not None and user not in self.users:
            return False
        return self.organizations is None or organization in self.organizations

    @property
    def actor(self) -> str:
        """Return the name in the audit trail."""
        return self.name if self.user is None else f"user {self.user}"


CALLER = web.RequestKey("caller", Caller)
"""Where a request keeps its caller."""
ADDRESS = web.RequestKey("address", str)
"""Where a request keeps its client's address, behind trusted proxies."""
LOCAL = Caller("local", frozenset(SCOPES))
"""The owner of the service, who may open the UNIX socket (0600)."""
DEVELOPER = Caller("development", frozenset(SCOPES))


def _guesses() -> RateLimiter:
    return RateLimiter(_GUESSES_PER_MINUTE / 60, _GUESSES_PER_MINUTE, time.monotonic)


def _no_limit() -> RateLimiter:
    return RateLimiter(0.0, 0.0, time.monotonic)


@dataclass(slots=True)
class Authenticator:
    """All known callers, and whether loopback needs no key (Development only)."""

    keys: Sequence[ApiKey]
    open_on_loopback: bool
    allowed_hosts: frozenset[str]
    proxies: Sequence[Network] = ()
    """Where there are any, clients of other machines must use one of them: they terminate TLS."""
    sessions: BrowserSessions | None = None
    authority: TokenService | None = None
    """Reads the tokens of the hub's users; None: tokens are not accepted."""
    guesses: RateLimiter = field(default_factory=_guesses)
    """Limits unknown keys by address."""
    calls: RateLimiter = field(default_factory=_no_limit)
    """Limits requests by caller."""
    refused: Callable[[str, str], None] = lambda _address, _reason: None
    """Called with the address and the reason when an address is rejected for a while."""

    def caller(self, request: web.Request) -> Caller | None:
        """Return the caller; None when unknown.

        Raises HTTPException for a request that avoids the proxy, names a host that is not allowed, or comes too fast.
        """
        self._check_path(request)
        caller = self._find(request)
        if caller is not None and caller is not DEVELOPER:
            _raise_if_limited(
                self.calls.take(caller.actor), "too many requests: this caller may send {rate} per second", self
            )
        return caller

    def known_keys(self) -> frozenset[str]:
        """Return the names of all keys that tokens of this service carry."""
        return frozenset() if self.sessions is None else frozenset(self.sessions.issuer_of(key) for key in self.keys)

    def is_admin_key(self, sent: str) -> bool:
        """Return whether a request with this key is served also when the port's caps are reached."""
        key = find_key(self.keys, sent)
        return key is not None and "admin" in key.scopes

    def log_in(self, request: web.Request, sent: str) -> ApiKey | None:
        """Return the key that a login sent; an unknown one counts against the address."""
        self._check_path(request)
        return self._key(request, sent)

    def is_secure(self, request: web.Request) -> bool:
        """Return whether the browser reaches this service by HTTPS."""
        return own_origin(request, self.proxies).startswith("https://")

    def session_cookie(self, request: web.Request) -> str:
        """Return the name of the session's cookie; without sessions, an empty text."""
        if self.sessions is None:
            return ""
        return self.sessions.cookie(secure=self.is_secure(request), at_root=not link_to(request, ""))

    def check_host(self, request: web.Request) -> None:
        """Raise HTTPMisdirectedRequest if Http:AllowedHosts does not name the host of the request."""
        check_allowed_host(request, self.allowed_hosts)

    def _check_path(self, request: web.Request) -> None:
        request[ADDRESS] = client_address(request, self.proxies)
        peer = request.remote or ""
        if self.proxies and not is_loopback(peer) and not is_trusted(peer, self.proxies):
            raise web.HTTPForbidden(text="use the proxy: this port answers only the addresses of Http:TrustedProxies")
        self.check_host(request)

    def _find(self, request: web.Request) -> Caller | None:
        sent = _sent_key(request)
        if sent is not None:
            if _is_token(sent):  # signed, so a wrong one is not a guessed key
                return self._user(sent)
            key = self._key(request, sent)
            return None if key is None else caller_of(key)
        session = self._session(request)
        if session is not None:
            return self._by_session(request, session)
        is_local = self.open_on_loopback and is_from_this_machine(request, self.allowed_hosts)
        return DEVELOPER if is_local else None

    def _key(self, request: web.Request, sent: str) -> ApiKey | None:
        """Return the key; after too many unknown keys from an address, further unknown ones get 429 for a while.

        A known key is never slowed down, or one misconfigured client would lock out all others of its address.
        """
        key = find_key(self.keys, sent)
        if key is not None:
            return key
        where = address_group(request[ADDRESS])
        _raise_if_limited(
            self.guesses.wait(where), "too many unknown keys from this address: wait before you try again", self
        )
        self.guesses.take(where)
        if self.guesses.wait(where) is not None:
            self.refused(request[ADDRESS], "too many unknown keys")
        return None

    def _user(self, sent: str) -> Caller | None:
        """Return the end user of a token of the hub; None when it is expired, revoked, foreign, or the worker's own."""
        if self.authority is None:
            return None
        try:
            identity = self.authority.identify(sent)
        except RevocationsUnknown as exc:
            raise web.HTTPServiceUnavailable(text=f"{exc}; try again later") from None
        except TokenRejected:
            return None
        if identity.user is None:
            return None
        return Caller(
            identity.user,
            frozenset({"user"}),
            users=frozenset({identity.user}),
            user=identity.user,
            is_read_only=identity.is_read_only,
        )

    def _session(self, request: web.Request) -> BrowserSession | None:
        if self.sessions is None:
            return None
        value = _cookie(request, self.session_cookie(request))
        return None if value is None else self.sessions.read(value, self.keys)

    def _by_session(self, request: web.Request, session: BrowserSession) -> Caller | None:
        """Return the session's caller. Browsers send the cookie for any page: changes must come from our own page."""
        if request.method not in _SAFE and not is_from_own_page(request, self.proxies):
            raise web.HTTPForbidden(text="with the session's cookie, only pages of this origin may make changes")
        return caller_of(session.key, session)


def _cookie(request: web.Request, name: str) -> str | None:
    """Return the value of one cookie. aiohttp would parse all of them: 8 KB of short ones take it several ms."""
    for line in reversed(request.headers.getall("Cookie", [])):
        for pair in reversed(line.split(";")):
            known, _, value = pair.partition("=")
            if known.strip() == name:
                return value.strip()
    return None


def _sent_key(request: web.Request) -> str | None:
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and value.strip():
        return value.strip()
    return request.headers.get("X-Api-Key") or None


def _is_token(sent: str) -> bool:
    """Return whether it is a JWT: two dots, and a header that starts like a JSON object in base64."""
    return sent.count(".") == 2 and sent.startswith("eyJ")


def caller_of(key: ApiKey, session: BrowserSession | None = None) -> Caller:
    """Return the caller that a key, or a session of the key, stands for."""
    return Caller(key.name, key.scopes, key.users, key.organizations, key.folders, key=key, session=session)


def _raise_if_limited(seconds: float | None, text: str, access: Authenticator) -> None:
    if seconds is not None:
        raise web.HTTPTooManyRequests(
            text=text.format(rate=f"{access.calls.rate:g}"), headers={"Retry-After": str(int(seconds) + 1)}
        )
