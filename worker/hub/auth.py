"""Who may speak to the hub: tokens (JWT, RFC 7519), the keys that sign them, what they allow.

Knows no socket. A refusal's reason is for the log; the client is only told "unauthorized".
"""

import os
import secrets
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import jwt

from config.settings import JwtSettings
from worker.clock import Clock
from worker.errors import StoreUnwritable, UnsafeKey

PUBLISH: Final = "publish"
ADMIN: Final = "admin"
KEY_FILE: Final = "hub.key"
MIN_KEY_BYTES: Final = 32
LEEWAY: Final = 10
"""Seconds of clock skew forgiven for `iat` and `nbf`; `exp` is kept to the second."""
_MAX_USER: Final = 256
_MAX_TOKEN: Final = 8192
WORKER_KID: Final = "in-process"
_DAY: Final = 86400
_REQUIRED: Final = ["exp", "sub", "aud", "iss"]


class Refused(Exception):
    """The token proves nothing. The text says why, for the log."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom a token speaks for."""

    user: str | None
    """None: the worker in this process, which has no inbox."""
    scopes: frozenset[str]
    expires: float
    """Wall clock; the socket ends then."""
    token_id: str | None = None

    @property
    def may_publish(self) -> bool:
        return PUBLISH in self.scopes

    @property
    def is_admin(self) -> bool:
        return ADMIN in self.scopes


@dataclass(frozen=True, slots=True)
class Key:
    """A key and the only algorithms it may be used with: that is what stops HS/RS confusion (RFC 8725, 3.1)."""

    verifier: Any
    algorithms: tuple[str, ...] = ("HS256",)


@dataclass(slots=True)
class Authority:
    """Makes and reads tokens."""

    signing_key: bytes
    issuer: str
    audience: str
    clock: Clock
    keys: Mapping[str, Key] = field(default_factory=dict)
    """Further keys by `kid`, for rotation or another issuer's public keys."""
    _worker_key: bytes = field(default_factory=lambda: secrets.token_bytes(MIN_KEY_BYTES))
    _revoked: set[str] = field(default_factory=set)

    def mint(
        self, user: str, *, publish: bool = False, admin: bool = False, days: float = 30.0, token_id: str | None = None
    ) -> str:
        """A token for `user`, good for `days`."""
        granted = [scope for scope, wanted in ((PUBLISH, publish), (ADMIN, admin)) if wanted]
        return self._sign(user, granted, days, self.signing_key, None, token_id)

    def mint_for_worker(self) -> str:
        """A token for the worker in this process, signed with a key that dies with it."""
        return self._sign("worker", [PUBLISH], 3650.0, self._worker_key, WORKER_KID, None)

    def identify(self, token: object) -> Identity:
        """Whom the token speaks for; Refused when it proves nothing."""
        if not isinstance(token, str) or not token:
            raise Refused("no token")
        if len(token) > _MAX_TOKEN:
            raise Refused("the token is too long")
        try:
            kid = jwt.get_unverified_header(token).get("kid")
            claims = self._verified(token, self._key(kid))
        except jwt.PyJWTError as exc:
            raise Refused(f"{type(exc).__name__}: {exc}") from None
        return self._identity(claims, in_process=kid == WORKER_KID)

    def revoke(self, token_id: str) -> None:
        """Refuse this token (`jti`) from now on."""
        self._revoked.add(token_id)

    def _sign(
        self, user: str, scopes: list[str], days: float, key: bytes, kid: str | None, token_id: str | None
    ) -> str:
        now = self.clock.now()
        claims = {
            "sub": user,
            "aud": self.audience,
            "iss": self.issuer,
            "iat": int(now),
            "exp": int(now + days * _DAY),
            "scope": " ".join(scopes),
            "jti": token_id or secrets.token_hex(8),
        }
        return jwt.encode(claims, key, "HS256", headers={"kid": kid} if kid else None)

    def _key(self, kid: object) -> Key:
        if kid is None:
            return Key(self.signing_key)
        if kid == WORKER_KID:
            return Key(self._worker_key)
        if not isinstance(kid, str) or kid not in self.keys:
            raise Refused("unknown kid")
        return self.keys[kid]

    def _verified(self, token: str, key: Key) -> dict[str, Any]:
        return jwt.decode(
            token,
            key.verifier,
            algorithms=list(key.algorithms),
            audience=self.audience,
            issuer=self.issuer,
            leeway=LEEWAY,
            options={"require": _REQUIRED},
        )

    def _identity(self, claims: Mapping[str, Any], *, in_process: bool) -> Identity:
        user, expires, token_id = claims["sub"], float(claims["exp"]), claims.get("jti")
        if not is_user_id(user):
            raise Refused("sub is no user id")
        if expires <= self.clock.now():
            raise Refused("the token has expired")
        if isinstance(token_id, str) and token_id in self._revoked:
            raise Refused("the token is revoked")
        return Identity(
            user=None if in_process else user,
            scopes=_scopes(claims.get("scope")),
            expires=expires,
            token_id=token_id if isinstance(token_id, str) else None,
        )


def is_user_id(value: object) -> bool:
    """1 to 256 printable characters. Compared as they are: no folding, no normalisation, so no look-alike is equal."""
    return isinstance(value, str) and 0 < len(value) <= _MAX_USER and value.isprintable()


def _scopes(claim: object) -> frozenset[str]:
    """A space-separated text (RFC 8693, 4.2) or a list of texts."""
    if isinstance(claim, str):
        return frozenset(claim.split())
    if isinstance(claim, list):
        return frozenset(scope for scope in claim if isinstance(scope, str))
    return frozenset()


def authority_for(
    settings: JwtSettings, state: Path, clock: Clock, keys: Mapping[str, Key] = MappingProxyType({})
) -> tuple[Authority, Path | None]:
    """The authority by Hub:Jwt, and the key file if it was made just now. UnsafeKey, StoreUnwritable."""
    made: Path | None = None
    if settings.key is not None:
        key = settings.key.get_secret_value().encode()
        _check_length(key, "Hub:Jwt:Key")
    else:
        key, created = load_key(state / KEY_FILE)
        made = state / KEY_FILE if created else None
    return Authority(key, settings.issuer, settings.audience, clock, keys), made


def load_key(path: Path) -> tuple[bytes, bool]:
    """The key in this file; it is made if there is none. Whether it was made. The text itself is the key."""
    try:
        created = _create(path)
        mode = path.stat().st_mode
        key = path.read_bytes().strip()
    except OSError as exc:
        raise StoreUnwritable(f"{path}: the hub's key cannot be read or made ({exc.strerror})") from exc
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise UnsafeKey(f"{path}: others may read the hub's key; run: chmod 600 {path}")
    _check_length(key, str(path))
    return key, created


def _create(path: Path) -> bool:
    """Written aside and linked into place: nobody ever reads half a key, and two starts agree on one."""
    if path.exists():
        return False
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    aside = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(descriptor, secrets.token_urlsafe(MIN_KEY_BYTES).encode() + b"\n")
        os.fsync(descriptor)
        os.link(aside, path)
    except FileExistsError:
        return False
    finally:
        os.close(descriptor)
        aside.unlink()
    return True


def _check_length(key: bytes, where: str) -> None:
    if len(key) < MIN_KEY_BYTES:
        raise UnsafeKey(f"{where}: the key has {len(key)} bytes; use at least {MIN_KEY_BYTES} random ones")
