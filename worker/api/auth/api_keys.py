"""API keys: how they are stored, compared, and created at the first start."""

import hashlib
import hmac
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from worker.disk.private_file import secret_in

SCOPES = ("enqueue", "read", "admin")

KEY_BYTES = 32
"""Random bytes in a key that is generated at the first start."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it is stored: the hex SHA-256 of what its owner sends."""

    name: str
    sha256: str
    scopes: frozenset[str]
    users: frozenset[str] | None = None
    """Whose jobs it sees and submits; None: those of all users."""
    organizations: frozenset[str] | None = None
    """Of which organisations; None: of all, and jobs without one."""
    folders: frozenset[str] = frozenset()
    """Folders below Insignia:DataDirectory whose files its jobs may read."""
    max_priority: int = 0
    """The highest priority of its jobs, unless it has scope admin."""

    @property
    def mark(self) -> str:
        """Return a name for the key that does not reveal its digest. A key that is changed in any way gets another."""
        bounds = [None if names is None else sorted(names) for names in (self.users, self.organizations)]
        text = json.dumps(
            [self.name, self.sha256.lower(), sorted(self.scopes), bounds, sorted(self.folders), self.max_priority]
        )
        return hashlib.sha256(b"mark:" + text.encode()).hexdigest()[:32]


def find_key(keys: Iterable[ApiKey], sent: str) -> ApiKey | None:
    """Return the key that was sent. All keys are always compared, so that the time taken reveals nothing."""
    # aiohttp passes bytes that are not UTF-8 as surrogates; JSON may contain other surrogates.
    digest = hashlib.sha256(sent.encode("utf-8", "surrogatepass")).hexdigest()
    found = None
    for key in keys:
        if hmac.compare_digest(digest, key.sha256.lower()):
            found = key
    return found


def admin_key(path: Path) -> tuple[ApiKey, bool]:
    """Return the key of the first start (0600), and whether it was created now. Raises UnsafeKey."""
    value, created = secret_in(path, KEY_BYTES)
    return ApiKey("admin", hashlib.sha256(value.encode()).hexdigest(), frozenset(SCOPES)), created
