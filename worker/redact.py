"""Keeps people's numbers and secrets out of texts that leave the process."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

_DIGIT = "[0-9๐-๙]"
# Thai citizen ids: 13 digits, plain or grouped 1-2345-67890-12-3 by hyphens or spaces, in either script.
# A UUID is read over as a whole: in one of some thousand the digits would pass for a citizen's.
_CITIZEN_ID = re.compile(
    r"(?P<uuid>\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b)|"
    rf"(?<![0-9๐-๙]){_DIGIT}[- ]?{_DIGIT}{{4}}[- ]?{_DIGIT}{{5}}[- ]?{_DIGIT}{{2}}[- ]?{_DIGIT}(?![0-9๐-๙])"
)
# No word boundary before it: access_token and DB_PASSWORD are such names as well.
_NAMED_SECRET = re.compile(
    r"(?i)(password|passwd|pwd|secret|token|api[-_ ]?key)(['\"]?\s*[:=]\s*)"
    r"(?:\"[^\"]*\"|'[^']*'|(?:bearer\s+)?[^\s'\",;&]+)"
)
# Scheme and credentials, or several cookies: all of it to the end of the line or of the quotes.
_HEADER = re.compile(r"(?i)\b(authorization|cookie)(['\"]?\s*[:=]\s*['\"]?)[^\r\n'\"]+")
_BEARER = re.compile(r"(?i)\b(bearer\s+)[A-Za-z0-9._~+/=-]+")
_JWT = re.compile(r"\beyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
_USERINFO = re.compile(r"(?<=://)[^/\s?#]+@")
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
        # The longest first: a shorter one may be its beginning, and would leave the rest of it.
        for secret in sorted(self.secrets, key=len, reverse=True):
            text = text.replace(secret, _MASK)
        text = _CITIZEN_ID.sub(lambda match: match["uuid"] or "x" * 13, text)
        text = _JWT.sub(_MASK, text)
        text = _HEADER.sub(rf"\1\2{_MASK}", text)
        text = _NAMED_SECRET.sub(rf"\1\2{_MASK}", text)
        text = _BEARER.sub(rf"\1{_MASK}", text)
        return _USERINFO.sub(f"{_MASK}@", text)
