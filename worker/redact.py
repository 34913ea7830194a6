"""Keeps people's numbers and secrets out of texts that leave the process."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

_DIGIT = "[0-9๐-๙]"
# Thai citizen ids: 13 digits, plain or grouped 1-2345-67890-12-3 by hyphens or spaces, in either script.
_CITIZEN_ID = re.compile(
    rf"(?<![0-9๐-๙]){_DIGIT}[- ]?{_DIGIT}{{4}}[- ]?{_DIGIT}{{5}}[- ]?{_DIGIT}{{2}}[- ]?{_DIGIT}(?![0-9๐-๙])"
)
_NAMED_SECRET = re.compile(
    r"(?i)\b(password|passwd|pwd|secret|token|api[-_ ]?key|authorization|cookie)(['\"]?\s*[:=]\s*['\"]?)(?!\*\*\*)"
    r"(?:bearer\s+)?[^\s'\",;&]+"
)
_BEARER = re.compile(r"(?i)\b(bearer\s+)[A-Za-z0-9._~+/=-]+")
_JWT = re.compile(r"\beyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
_USERINFO = re.compile(r"(?<=://)[^/\s@]+@")
_MASK = "***"


@dataclass(frozen=True, slots=True)
class Redactor:
    """Masks citizen ids, credentials by their look, and the secret values it was given."""

    secrets: frozenset[str] = field(default_factory=frozenset)

    @classmethod
    def of(cls, secrets: Iterable[str]) -> "Redactor":
        """Values under four characters are left out: they would eat ordinary text."""
        return cls(frozenset(secret for secret in secrets if len(secret) >= 4))

    def __call__(self, text: str) -> str:
        for secret in self.secrets:
            text = text.replace(secret, _MASK)
        text = _CITIZEN_ID.sub("x" * 13, text)
        text = _JWT.sub(_MASK, text)
        text = _NAMED_SECRET.sub(rf"\1\2{_MASK}", text)
        text = _BEARER.sub(rf"\1{_MASK}", text)
        return _USERINFO.sub(f"{_MASK}@", text)
