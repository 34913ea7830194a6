"""Sessions of the dashboard: a signed cookie that stands for an API key and dies with it. Nothing is stored.

The cookie says which key it stands for (by a digest of the key's own digest), which session it is, and until when;
what the key allows is looked up anew with each request.
"""

import base64
import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from worker.clock import Clock
from worker.door.keys import ApiKey

SESSION_SECONDS = 12 * 3600
_LONGEST = 400
_MOST_ENDED = 10_000


@dataclass(frozen=True, slots=True)
class Session:
    """A cookie that holds: the key it stands for, its own id, and its end (wall clock)."""

    key: ApiKey
    id: str
    expires: float


@dataclass(slots=True)
class Sessions:
    """Makes and reads the cookies."""

    signing_key: bytes
    clock: Clock
    _ended: "OrderedDict[str, float]" = field(default_factory=OrderedDict)
    """Sessions that were logged out and would still hold; only until the next start, and at most 10,000."""

    @property
    def cookie(self) -> str:
        """Its name, our own on this host: another instance at another port shares the browser's jar."""
        return f"insignia-{hashlib.sha256(self.signing_key).hexdigest()[:8]}"

    def issue(self, key: ApiKey) -> tuple[Session, str]:
        """A new session for this key, and the cookie's value."""
        session = Session(key, secrets.token_urlsafe(12), float(int(self.clock.now()) + SESSION_SECONDS))
        said = f"1.{_mark(key)}.{session.id}.{int(session.expires)}"
        return session, f"{said}.{self._signature(said)}"

    def read(self, value: str, keys: Sequence[ApiKey]) -> Session | None:
        """None: forged, over, logged out, or its key is no longer there."""
        said, _, signature = value[:_LONGEST].rpartition(".")
        if not hmac.compare_digest(self._signature(said).encode(), signature.encode("utf-8", "surrogateescape")):
            return None
        version, mark, session_id, expires = said.split(".")
        key = next((key for key in keys if hmac.compare_digest(_mark(key), mark)), None)
        if version != "1" or key is None or float(expires) <= self.clock.now() or session_id in self._ended:
            return None
        return Session(key, session_id, float(expires))

    def end(self, session: Session) -> None:
        """Log out: the cookie is worth nothing any more, wherever a copy of it lies."""
        now = self.clock.now()
        self._ended[session.id] = session.expires
        for session_id in [name for name, expires in self._ended.items() if expires <= now]:
            del self._ended[session_id]
        while len(self._ended) > _MOST_ENDED:
            self._ended.popitem(last=False)

    def _signature(self, said: str) -> str:
        signed = hmac.digest(self.signing_key, b"session:" + said.encode("utf-8", "surrogateescape"), "sha256")
        return base64.urlsafe_b64encode(signed).decode().rstrip("=")


def _mark(key: ApiKey) -> str:
    """Names a key without telling its digest."""
    return hashlib.sha256(b"mark:" + key.sha256.lower().encode()).hexdigest()[:32]
