"""Who may look through @socket.io/admin-ui: a name with its password, or an admin's hub token. Knows no socket."""

import hmac
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from config.settings import AdminUiSettings
from worker.clock import Clock
from worker.hub.auth import Authority, Refused
from worker.hub.guard import Bucket

_SESSION_SECONDS: Final = 12 * 3600.0
_SESSIONS: Final = 100
_WRONG_AT_ONCE: Final = 10
_WRONG_PER_SECOND: Final = 0.1
_ADDRESSES: Final = 10_000


@dataclass(frozen=True, slots=True)
class Admission:
    """Somebody who may look."""

    name: str
    expires: float
    """Wall clock."""
    token_id: str | None = None
    token: str | None = field(default=None, repr=False)


@dataclass(slots=True)
class Logins:
    """Answers to logins, and the sessions with which the page comes back. Sessions end with the process."""

    settings: AdminUiSettings
    authority: Authority
    clock: Clock
    _sessions: "OrderedDict[str, Admission]" = field(default_factory=OrderedDict)
    _wrong: "OrderedDict[str, Bucket]" = field(default_factory=OrderedDict)

    def admit(self, auth: Mapping[str, Any], address: str) -> Admission | None:
        """None: it proves nothing, or too much was tried from this address."""
        if self._is_barred(address):
            return None
        admitted = self._by_session(auth.get("sessionId")) or self._by_token(auth) or self._by_password(auth)
        if admitted is None and auth:
            self._wrong[address].take(self.clock.monotonic())
        return admitted

    def begin(self, admission: Admission) -> str:
        """A session's id."""
        session = secrets.token_urlsafe(24)
        self._sessions[session] = admission
        if len(self._sessions) > _SESSIONS:
            self._sessions.popitem(last=False)
        return session

    def _by_session(self, session: object) -> Admission | None:
        admission = self._sessions.get(session) if isinstance(session, str) else None
        if admission is None or admission.expires <= self.clock.now():
            return None
        # A token may have been revoked since.
        return admission if admission.token is None else self._of_token(admission.token)

    def _by_token(self, auth: Mapping[str, Any]) -> Admission | None:
        """The page has no field for a token, so it may stand in place of the password."""
        return self._of_token(auth.get("token") or auth.get("password"))

    def _of_token(self, token: object) -> Admission | None:
        try:
            identity = self.authority.identify(token)
        except Refused:
            return None
        if not identity.is_admin or identity.user is None or not isinstance(token, str):
            return None
        ends = min(identity.expires, self.clock.now() + _SESSION_SECONDS)
        return Admission(identity.user, ends, identity.token_id, token)

    def _by_password(self, auth: Mapping[str, Any]) -> Admission | None:
        name, password, wanted = auth.get("username"), auth.get("password"), self.settings.password
        if wanted is None or not isinstance(name, str) or not isinstance(password, str):
            return None
        # Both are compared in any case, and in constant time.
        same_name = hmac.compare_digest(name.encode(), self.settings.username.encode())
        same_password = hmac.compare_digest(password.encode(), wanted.get_secret_value().encode())
        return Admission(name, self.clock.now() + _SESSION_SECONDS) if same_name and same_password else None

    def _is_barred(self, address: str) -> bool:
        now = self.clock.monotonic()
        bucket = self._wrong.setdefault(address, Bucket.full(_WRONG_PER_SECOND, _WRONG_AT_ONCE, now))
        if len(self._wrong) > _ADDRESSES:
            self._wrong.popitem(last=False)
        return bucket.is_empty(now)
