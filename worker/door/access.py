"""Who may come in by the HTTP door: API keys with scopes, the dashboard's session, an end user's token of the hub."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from aiohttp import web

from config.checks import is_loopback
from worker.door.keys import SCOPES, ApiKey, find_key
from worker.door.limits import Throttle
from worker.door.origin import Network, client_address, host_name, is_from_own_page, is_from_this_machine, is_trusted
from worker.door.origin import neighbourhood as neighbourhood_of
from worker.door.session import Session, Sessions
from worker.hub.auth import Authority, Refused

_SAFE = ("GET", "HEAD", "OPTIONS")
_GUESSES_PER_MINUTE = 20


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, what he may, and whose jobs are his."""

    name: str
    scopes: frozenset[str]
    users: frozenset[str] | None = None
    """Whose jobs he sees and submits; None: everybody's."""
    organizations: frozenset[str] | None = None
    user: str | None = None
    """The end user himself, by his token."""
    session: Session | None = None

    def may(self, scope: str) -> bool:
        """`any`: being known is enough. `user` is of another kind: no key has it, the highest neither."""
        return scope in self.scopes or scope == "any" or (scope != "user" and "admin" in self.scopes)

    @property
    def is_bound(self) -> bool:
        return self.users is not None or self.organizations is not None

    def owns(self, user: str, organization: str | None) -> bool:
        """Whether a job of this user and organisation is one of his: it fits every bound there is."""
        if self.users is not None and user not in self.users:
            return False
        return self.organizations is None or organization in self.organizations

    @property
    def actor(self) -> str:
        """For the audit trail."""
        return self.name if self.user is None else f"user {self.user}"


CALLER = web.RequestKey("caller", Caller)
"""Where a request keeps who asks."""
ADDRESS = web.RequestKey("address", str)
"""Where a request keeps the address it comes from, behind the proxies we trust."""
LOCAL = Caller("local", frozenset(SCOPES))
"""Whoever may open the UNIX socket (0600) owns the service."""
DEVELOPER = Caller("development", frozenset(SCOPES))


def _guesses() -> Throttle:
    return Throttle(_GUESSES_PER_MINUTE / 60, _GUESSES_PER_MINUTE, time.monotonic)


def _no_limit() -> Throttle:
    return Throttle(0.0, 0.0, time.monotonic)


@dataclass(slots=True)
class Access:
    """Everybody we know, and whether loopback needs no key (Development only)."""

    keys: Sequence[ApiKey]
    open_on_loopback: bool
    allowed_hosts: frozenset[str]
    proxies: Sequence[Network] = ()
    """Where there are any, whoever is not on this machine must come through one of them: they have the TLS."""
    sessions: Sessions | None = None
    authority: Authority | None = None
    """Reads the tokens of the hub's users; None: there are none."""
    guesses: Throttle = field(default_factory=_guesses)
    """Unknown keys from one address."""
    calls: Throttle = field(default_factory=_no_limit)
    """Requests of one caller."""
    refused: Callable[[str, str], None] = lambda _address, _reason: None
    """Hears of an address that guesses too much, and why it is not listened to for a while."""

    def caller(self, request: web.Request) -> Caller | None:
        """None: nobody we know. HTTPException: past the proxy, to another's name, or too fast."""
        self._check_way(request)
        caller = self._known(request)
        if caller is not None and caller is not DEVELOPER:
            _or_too_many(self.calls.take(caller.actor), "too many requests; this caller may make {rate} a second", self)
        return caller

    def log_in(self, request: web.Request, sent: str) -> ApiKey | None:
        """The key that was sent in the body of a login; a wrong one counts as a guess."""
        self._check_way(request)
        return self._key(request, sent)

    def _check_way(self, request: web.Request) -> None:
        request[ADDRESS] = client_address(request, self.proxies)
        peer = request.remote or ""
        if self.proxies and not is_loopback(peer) and not is_trusted(peer, self.proxies):
            raise web.HTTPForbidden(text="come through the proxy: this port answers Http:TrustedProxies alone")
        host = host_name(request)
        if self.allowed_hosts and host not in self.allowed_hosts and not is_loopback(host):
            raise web.HTTPMisdirectedRequest(text="Http:AllowedHosts does not name the host this is addressed to")

    def _known(self, request: web.Request) -> Caller | None:
        sent = _sent_key(request)
        if sent is not None:
            if _is_token(sent):  # signed, so a bad one is no guess at a key
                return self._user(sent)
            return _caller_of(self._key(request, sent))
        session = self._session(request)
        if session is not None:
            return self._by_session(request, session)
        is_local = self.open_on_loopback and is_from_this_machine(request, self.allowed_hosts)
        return DEVELOPER if is_local else None

    def _key(self, request: web.Request, sent: str) -> ApiKey | None:
        """Too many wrong ones from an address, and none is looked at any more until some time has passed."""
        where = neighbourhood_of(request[ADDRESS])
        _or_too_many(self.guesses.wait(where), "too many unknown keys from this address", self)
        key = find_key(self.keys, sent)
        if key is None:
            self.guesses.take(where)
            if self.guesses.wait(where) is not None:
                self.refused(request[ADDRESS], "too many unknown keys")
        return key

    def _user(self, sent: str) -> Caller | None:
        """An end user by the hub's token. None: expired, revoked, another's, or the worker's own."""
        if self.authority is None:
            return None
        try:
            identity = self.authority.identify(sent)
        except Refused:
            return None
        if identity.user is None:
            return None
        return Caller(identity.user, frozenset({"user"}), users=frozenset({identity.user}), user=identity.user)

    def _session(self, request: web.Request) -> Session | None:
        if self.sessions is None:
            return None
        value = request.cookies.get(self.sessions.cookie)
        return None if value is None else self.sessions.read(value, self.keys)

    def _by_session(self, request: web.Request, session: Session) -> Caller | None:
        """The browser sends the cookie along whoever makes it do so: what changes something must be our page's own."""
        if request.method not in _SAFE and not is_from_own_page(request, self.proxies):
            raise web.HTTPForbidden(text="with the session's cookie, only pages of this very origin may change things")
        return _caller_of(session.key, session)


def _sent_key(request: web.Request) -> str | None:
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and value.strip():
        return value.strip()
    return request.headers.get("X-Api-Key") or None


def _is_token(sent: str) -> bool:
    """A JWT: two dots, and a header that begins as JSON objects do in base64."""
    return sent.count(".") == 2 and sent.startswith("eyJ")


def _caller_of(key: ApiKey | None, session: Session | None = None) -> Caller | None:
    return None if key is None else Caller(key.name, key.scopes, key.users, key.organizations, session=session)


def _or_too_many(seconds: float | None, text: str, access: Access) -> None:
    if seconds is not None:
        raise web.HTTPTooManyRequests(
            text=text.format(rate=f"{access.calls.rate:g}"), headers={"Retry-After": str(int(seconds) + 1)}
        )
