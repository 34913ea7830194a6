"""Authentication for @socket.io/admin-ui: a name with its password, or an administrator's hub token.

Knows no connection.
"""

import hmac
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from config.hub_settings import AdminUiSettings
from worker.core.clock import Clock
from worker.hub.tokens import RevocationsUnknown, TokenRejected, TokenService
from worker.net.client_address import address_group
from worker.net.rate_limit import TokenBucket

_SESSION_SECONDS: Final = 12 * 3600.0
_MAX_SESSIONS: Final = 100
_FAILURE_BURST: Final = 10
_FAILURES_PER_SECOND: Final = 0.1
_MAX_ADDRESSES: Final = 10_000


@dataclass(frozen=True, slots=True)
class AdminSession:
    """An operator who has logged in."""

    name: str
    expires: float
    """Wall clock, seconds since 1970."""
    token_id: str | None = None
    token: str | None = field(default=None, repr=False)


@dataclass(slots=True)
class AdminSessions:
    """Checks logins, and keeps the sessions with which the page reconnects. Sessions end with the process."""

    settings: AdminUiSettings
    tokens: TokenService
    clock: Clock
    _sessions: "OrderedDict[str, AdminSession]" = field(default_factory=OrderedDict)
    _failures: "OrderedDict[str, TokenBucket]" = field(default_factory=OrderedDict)
    """By address group."""

    def authenticate(self, auth: Mapping[str, Any], address: str) -> AdminSession | None:
        """Return the session; None: the login is wrong, or too many from this address were.

        RevocationsUnknown: it is by a token of which it is not known whether it is revoked.
        """
        failures = self._failures_from(address)
        if failures.is_empty(self.clock.monotonic()):
            return None
        session = self._by_session_id(auth.get("sessionId")) or self._by_token_field(auth) or self._by_password(auth)
        if session is None and auth:
            failures.take(self.clock.monotonic())
        return session

    def remember(self, session: AdminSession) -> str:
        """Keep the session; return the id by which the page reconnects."""
        session_id = secrets.token_urlsafe(24)
        self._sessions[session_id] = session
        if len(self._sessions) > _MAX_SESSIONS:
            self._sessions.popitem(last=False)
        return session_id

    def _by_session_id(self, session_id: object) -> AdminSession | None:
        session = self._sessions.get(session_id) if isinstance(session_id, str) else None
        if session is None or session.expires <= self.clock.now():
            return None
        # The token may have been revoked since.
        return session if session.token is None else self._by_token(session.token)

    def _by_token_field(self, auth: Mapping[str, Any]) -> AdminSession | None:
        """The page has no field for a token, so it may be given as the password."""
        return self._by_token(auth.get("token") or auth.get("password"))

    def _by_token(self, token: object) -> AdminSession | None:
        try:
            identity = self.tokens.identify(token)
        except RevocationsUnknown:
            raise
        except TokenRejected:
            return None
        if not identity.is_admin or identity.user is None or not isinstance(token, str):
            return None
        expires = min(identity.expires, self.clock.now() + _SESSION_SECONDS)
        return AdminSession(identity.user, expires, identity.token_id, token)

    def _by_password(self, auth: Mapping[str, Any]) -> AdminSession | None:
        name, password, expected = auth.get("username"), auth.get("password"), self.settings.password
        if expected is None or not isinstance(name, str) or not isinstance(password, str):
            return None
        # Both are always compared, and in constant time.
        same_name = hmac.compare_digest(name.encode(), self.settings.username.encode())
        same_password = hmac.compare_digest(password.encode(), expected.get_secret_value().encode())
        return AdminSession(name, self.clock.now() + _SESSION_SECONDS) if same_name and same_password else None

    def _failures_from(self, address: str) -> TokenBucket:
        """Return the bucket of failed logins of this address, which is empty after too many."""
        group, now = address_group(address), self.clock.monotonic()
        bucket = self._failures.setdefault(group, TokenBucket.full(_FAILURES_PER_SECOND, _FAILURE_BURST, now))
        if len(self._failures) > _MAX_ADDRESSES:
            self._failures.popitem(last=False)
        return bucket
