"""Sessions of the dashboard: a signed cookie that stands for an API key and ends with it.

The cookie names its key (by a digest of all that defines the key), its session and its end. Only sessions that were
logged out are stored.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from worker.api.auth.api_keys import ApiKey
from worker.api.auth.ended_sessions import SESSION_SECONDS, EndedSessions
from worker.core.clock import Clock

_MAX_LENGTH = 400


@dataclass(frozen=True, slots=True)
class BrowserSession:
    """A valid cookie: the key it stands for, its own id, and its end (wall clock)."""

    key: ApiKey
    id: str
    expires: float


@dataclass(slots=True)
class BrowserSessions:
    """Issues and reads the cookies."""

    signing_key: bytes
    clock: Clock
    ended: EndedSessions

    def cookie(self, *, secure: bool, at_root: bool) -> str:
        """Return the cookie's name, which is unique to this installation: browsers share cookies among ports.

        Over HTTPS, browsers accept such a name only from this host itself, for all its paths (`__Host-`), or from a
        page that came by HTTPS (`__Secure-`; RFC 6265bis, 4.1.3).
        """
        prefix = "" if not secure else "__Host-" if at_root else "__Secure-"
        return f"{prefix}insignia-{self.installation}"

    @property
    def installation(self) -> str:
        """Return a name for this installation that does not reveal its key."""
        return hashlib.sha256(self.signing_key).hexdigest()[:8]

    def issuer_of(self, key: ApiKey) -> str:
        """Return the name that tokens carry which this installation issues to the key's holder."""
        return f"{self.installation}:{key.mark}"

    def issue(self, key: ApiKey) -> tuple[BrowserSession, str]:
        """Return a new session for this key, and the cookie's value."""
        session = BrowserSession(key, secrets.token_urlsafe(12), float(int(self.clock.now()) + SESSION_SECONDS))
        text = f"1.{key.mark}.{session.id}.{int(session.expires)}"
        return session, f"{text}.{self._signature(text)}"

    def read(self, value: str, keys: Sequence[ApiKey]) -> BrowserSession | None:
        """Return the session; None when the cookie is forged, expired or logged out, or when its key is gone."""
        text, _, signature = value[:_MAX_LENGTH].rpartition(".")
        if not hmac.compare_digest(self._signature(text).encode(), signature.encode("utf-8", "surrogateescape")):
            return None
        version, mark, session_id, expires = text.split(".")
        key = next((key for key in keys if hmac.compare_digest(key.mark, mark)), None)
        if version != "1" or key is None or float(expires) <= self.clock.now():
            return None
        if self.ended.contains(session_id, mark, float(expires)):
            return None
        return BrowserSession(key, session_id, float(expires))

    async def end(self, session: BrowserSession) -> None:
        """Log out: no copy of the cookie is accepted from now on. Raises StoreUnwritable."""
        await self.ended.add(session.id, session.key.mark, session.expires)

    def _signature(self, text: str) -> str:
        signed = hmac.digest(self.signing_key, b"session:" + text.encode("utf-8", "surrogateescape"), "sha256")
        return base64.urlsafe_b64encode(signed).decode().rstrip("=")
