"""API keys: how they are kept, compared, and made at the first start."""

import hashlib
import hmac
import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from worker.errors import UnsafeKey

SCOPES = ("enqueue", "read", "admin")

_KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it is kept: the hex SHA-256 of what its owner sends."""

    name: str
    sha256: str
    scopes: frozenset[str]
    users: frozenset[str] | None = None
    """Whose jobs it sees and submits; None: everybody's."""
    organizations: frozenset[str] | None = None
    """Of which organisations; None: of all, and of none."""


def find_key(keys: Iterable[ApiKey], sent: str) -> ApiKey | None:
    """The key that was sent. All are compared, always: the time taken tells nothing."""
    # aiohttp hands on bytes that are no UTF-8 as surrogates; JSON may hold other ones.
    digest = hashlib.sha256(sent.encode("utf-8", "surrogatepass")).hexdigest()
    found = None
    for key in keys:
        if hmac.compare_digest(digest, key.sha256.lower()):
            found = key
    return found


def admin_key(path: Path) -> tuple[ApiKey, bool]:
    """The key made at the first start (0600); True: it was made now. UnsafeKey: what is there is no such key."""
    value, created = kept_secret(path)
    return ApiKey("admin", hashlib.sha256(value.encode()).hexdigest(), frozenset(SCOPES)), created


def kept_secret(path: Path) -> tuple[str, bool]:
    """The secret in this file (0600); it is made if there is none: True. UnsafeKey: cut off, or others may read it."""
    created = not path.exists()
    if created:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(_KEY_BYTES) + "\n")
    value = path.read_text(errors="replace").strip()
    if len(value) < _KEY_BYTES:
        # A start that was cut off left an empty file: the hash of nothing must not open the door.
        raise UnsafeKey(
            f"{path} holds no key of {_KEY_BYTES} characters: delete it, and the next start makes a new one"
        )
    if path.stat().st_mode & 0o077:
        raise UnsafeKey(f"others may read {path}: `chmod 600` it if nobody has, else delete it for a new key")
    return value, created
