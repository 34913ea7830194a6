"""Masks citizen ids and secrets in texts that leave the process."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from worker.core.secret_mask import MASK, SHORTEST, mask_for

_DIGIT = "[0-9๐-๙]"
# Thai citizen ids: 13 digits, plain or grouped 1-2345-67890-12-3 by hyphens or spaces, in either script.
# UUIDs are skipped as a whole: one of a few thousand contains digits that look like a citizen id.
_CITIZEN_ID = re.compile(
    r"(?P<uuid>\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b)|"
    rf"(?<![0-9๐-๙]){_DIGIT}[- ]?{_DIGIT}{{4}}[- ]?{_DIGIT}{{5}}[- ]?{_DIGIT}{{2}}[- ]?{_DIGIT}(?![0-9๐-๙])"
)
# No word boundary before it, so that access_token and DB_PASSWORD match too.
_NAMED_SECRET = re.compile(
    r"(?i)(password|passwd|pwd|secret|token|api[-_ ]?key)(['\"]?\s*[:=]\s*)"
    r"(?:\"[^\"]*\"|'[^']*'|(?:bearer\s+)?[^\s'\",;&]+)"
)
# Scheme and credentials, or several cookies: all of it to the end of the line or of the quotes.
_HEADER = re.compile(r"(?i)\b(authorization|cookie)(['\"]?\s*[:=]\s*['\"]?)[^\r\n'\"]+")
_BEARER = re.compile(r"(?i)\b(bearer\s+)[A-Za-z0-9._~+/=-]+")
# What only begins like one matches too: a search that begins again within it takes time by the square of its length.
_JWT = re.compile(r"\beyJ[A-Za-z0-9_-]+(?P<rest>\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*)?")
_USERINFO = re.compile(r"(?<=://)[^/\s?#]+@")


@dataclass(frozen=True, slots=True)
class Redactor:
    """Masks citizen ids, texts that look like credentials, and known secret values."""

    secrets: frozenset[str] = field(default_factory=frozenset)

    @classmethod
    def of(cls, secrets: Iterable[str]) -> "Redactor":
        """Return a redactor for these values, except those under four characters, which occur in ordinary text."""
        return cls(frozenset(secret for secret in secrets if len(secret) >= SHORTEST))

    def __call__(self, text: str) -> str:
        if self.secrets:
            text = mask_for(self.secrets)(text)
        text = _CITIZEN_ID.sub(lambda match: match["uuid"] or "x" * 13, text)
        text = _JWT.sub(lambda match: match[0] if match["rest"] is None else MASK, text)
        text = _HEADER.sub(rf"\1\2{MASK}", text)
        text = _NAMED_SECRET.sub(rf"\1\2{MASK}", text)
        text = _BEARER.sub(rf"\1{MASK}", text)
        return _USERINFO.sub(f"{MASK}@", text)
