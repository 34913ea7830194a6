"""The hub's tokens (JWT, RFC 7519): making them, verifying them, the keys that sign them.

Knows no connection. Why a token was rejected is for the log; the client only gets "unauthorized".
"""

import math
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import jwt

from config.hub_settings import JwtSettings
from config.user_id import is_user_id
from worker.core.clock import Clock
from worker.disk.private_file import secret_in
from worker.errors import UnsafeKey

PUBLISH: Final = "publish"
ADMIN: Final = "admin"
READ: Final = "read"
"""A token with this scope and no other only listens; a token without scopes acts for its user."""
KEY_FILE: Final = "hub.key"
MIN_KEY_BYTES: Final = 32
LEEWAY: Final = 10.0
"""Seconds of clock skew allowed for `iat` and `nbf` without Hub:Jwt:ClockSkew; `exp` is exact to the second then."""
_MAX_TOKEN: Final = 8192
WORKER_KID: Final = "in-process"
_DAY: Final = 86400
_KEY_CLAIM: Final = "apiKey"
_REQUIRED: Final = ["exp", "sub", "aud", "iss"]


class TokenRejected(Exception):
    """The token is not valid. The text says why, for the log."""


class RevocationsUnknown(TokenRejected):
    """The token may have been revoked: that cannot be read for now. Nothing is wrong with the token itself."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The user and the scopes of a token."""

    user: str | None
    """None: the worker in this process, which has no inbox."""
    scopes: frozenset[str]
    expires: float
    """Wall clock, seconds since 1970; the connection is closed then."""
    token_id: str | None = None
    issued_to: str | None = None
    """The API key whose holder the token was issued to, by the name that its service has for it."""
    is_anonymous: bool = False
    """Whether it came without a token (Hub:Anonymous): it has no inbox, and may broadcast."""

    @property
    def is_read_only(self) -> bool:
        return READ in self.scopes

    @property
    def may_publish(self) -> bool:
        return PUBLISH in self.scopes

    @property
    def may_broadcast(self) -> bool:
        return self.may_publish or self.is_anonymous

    @property
    def is_admin(self) -> bool:
        return ADMIN in self.scopes


_ANONYMOUS: Final = Identity(None, frozenset(), math.inf, is_anonymous=True)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key and the only algorithms it may be used with, which prevents HS/RS confusion (RFC 8725, 3.1)."""

    verifier: Any
    algorithms: tuple[str, ...] = ("HS256",)


@dataclass(slots=True)
class TokenService:
    """Makes and verifies tokens."""

    signing_key: bytes
    issuer: str
    audience: str
    clock: Clock
    keys: Mapping[str, SigningKey] = field(default_factory=dict)
    """Further keys by `kid`, for rotation or another issuer's public keys."""
    issuing_service: str = ""
    """The name with which the keys begin that this service issues tokens to."""
    known_keys: frozenset[str] = frozenset()
    """The keys of this service: a token of another one of its keys is rejected, because the key was removed or changed.
    Other services' keys are not known here; their tokens are valid until they expire."""
    clock_skew: float | None = None
    """Seconds by which the clocks of issuers may differ from this one, for `exp` too; None: as `LEEWAY` says."""
    allow_anonymous: bool = False
    """Whether clients without a token are admitted."""
    revocations_known: Callable[[], bool] = lambda: True
    """Returns whether all revocations are known; as long as not, no token is accepted that can be revoked."""
    _worker_key: bytes = field(default_factory=lambda: secrets.token_bytes(MIN_KEY_BYTES))
    _revoked: set[str] = field(default_factory=set)

    def mint(
        self, user: str, *, publish: bool = False, admin: bool = False, days: float = 30.0, token_id: str | None = None
    ) -> str:
        """Return a token for `user` that is valid for `days`."""
        granted = [scope for scope, wanted in ((PUBLISH, publish), (ADMIN, admin)) if wanted]
        return self._sign(user, granted, days, self.signing_key, {"jti": token_id} if token_id else {})

    def mint_for_key(
        self, user: str, key: str | None, *, read_only: bool, days: float, token_id: str | None = None
    ) -> str:
        """Return a token for the holder of an API key, valid for `days` and as long as the key is known.

        `key` None: the holder needs no key.
        """
        claims = {name: value for name, value in (("jti", token_id), (_KEY_CLAIM, key)) if value is not None}
        return self._sign(user, [READ] if read_only else [], days, self.signing_key, claims)

    def mint_for_worker(self) -> str:
        """Return a token for the worker in this process, signed with a key that ends with the process."""
        return self._sign("worker", [PUBLISH], 3650.0, self._worker_key, {}, WORKER_KID)

    def identify(self, token: object) -> Identity:
        """Return the token's user and scopes. TokenRejected: it is not valid; RevocationsUnknown: not for now."""
        if not isinstance(token, str) or not token:
            raise TokenRejected("no token")
        if len(token) > _MAX_TOKEN:
            raise TokenRejected("the token is too long")
        try:
            kid = jwt.get_unverified_header(token).get("kid")
            claims = self._verified(token, self._key(kid))
            return self._identity(claims, in_process=kid == WORKER_KID)
        except (jwt.PyJWTError, ValueError, OverflowError, RecursionError) as exc:
            # Besides the library's own errors: bytes that are not UTF-8, and numbers beyond a float.
            raise TokenRejected(f"{type(exc).__name__}: {exc}") from None

    def admit(self, token: object) -> Identity:
        """Return the identity of a new client, which may have no token at all if anonymous ones are allowed.

        TokenRejected: it is not valid.
        """
        return _ANONYMOUS if self.allow_anonymous and token in (None, "") else self.identify(token)

    def revoke(self, token_id: str) -> None:
        """Reject the token with this `jti` from now on."""
        self._revoked.add(token_id)

    def accepts_key(self, key: str | None) -> bool:
        """Return whether a token that was issued to this API key may be valid."""
        is_own = key is not None and bool(self.issuing_service) and key.startswith(f"{self.issuing_service}:")
        return key in self.known_keys or not is_own

    def _sign(
        self, user: str, scopes: list[str], days: float, key: bytes, more: Mapping[str, str], kid: str | None = None
    ) -> str:
        now = self.clock.now()
        claims = {
            "sub": user,
            "aud": self.audience,
            "iss": self.issuer,
            "iat": int(now),
            "exp": int(now + days * _DAY),
            "scope": " ".join(scopes),
            "jti": secrets.token_hex(8),
            **more,
        }
        return jwt.encode(claims, key, "HS256", headers={"kid": kid} if kid else None)

    def _key(self, kid: object) -> SigningKey:
        if kid is None:
            return SigningKey(self.signing_key)
        if kid == WORKER_KID:
            return SigningKey(self._worker_key)
        if not isinstance(kid, str) or kid not in self.keys:
            raise TokenRejected("unknown kid")
        return self.keys[kid]

    def _verified(self, token: str, key: SigningKey) -> dict[str, Any]:
        return jwt.decode(
            token,
            key.verifier,
            algorithms=list(key.algorithms),
            audience=self.audience,
            issuer=self.issuer,
            leeway=LEEWAY if self.clock_skew is None else self.clock_skew,
            options={"require": _REQUIRED},
        )

    def _identity(self, claims: Mapping[str, Any], *, in_process: bool) -> Identity:
        user, token_id = claims["sub"], claims.get("jti")
        expires = float(claims["exp"]) + (self.clock_skew or 0.0)
        if not is_user_id(user):
            raise TokenRejected("sub is not a user id")
        if expires <= self.clock.now():
            raise TokenRejected("the token has expired")
        if isinstance(token_id, str) and token_id in self._revoked:
            raise TokenRejected("the token is revoked")
        if isinstance(token_id, str) and not in_process and not self.revocations_known():
            raise RevocationsUnknown("it is not known which tokens are revoked: the hubs' Redis cannot be read")
        issued_to = claims.get(_KEY_CLAIM)
        if not self.accepts_key(issued_to if isinstance(issued_to, str) else None):
            raise TokenRejected("the API key that it was issued to has been removed or changed")
        return Identity(
            user=None if in_process else user,
            scopes=_scopes(claims.get("scope")),
            expires=expires,
            token_id=token_id if isinstance(token_id, str) else None,
            issued_to=issued_to if isinstance(issued_to, str) else None,
        )


def _scopes(claim: object) -> frozenset[str]:
    """Return the scopes of a space-separated text (RFC 8693, 4.2) or a list of texts."""
    if isinstance(claim, str):
        return frozenset(claim.split())
    if isinstance(claim, list):
        return frozenset(scope for scope in claim if isinstance(scope, str))
    return frozenset()


def load_token_service(
    settings: JwtSettings, state: Path, clock: Clock, keys: Mapping[str, SigningKey] = MappingProxyType({})
) -> tuple[TokenService, Path | None]:
    """Return the token service by Hub:Jwt, and the path of the key file if this call created it.

    UnsafeKey, StoreUnwritable: the key cannot be used.
    """
    created_file: Path | None = None
    if settings.key is not None:
        key = settings.key.get_secret_value().encode()
        _check_length(key, "Hub:Jwt:Key")
    else:
        key, created = load_key(state / KEY_FILE)
        created_file = state / KEY_FILE if created else None
    service = TokenService(key, settings.issuer, settings.audience, clock, keys, clock_skew=settings.clock_skew)
    return service, created_file


def load_key(path: Path) -> tuple[bytes, bool]:
    """Return the key in this file, and whether it was generated now because there was no file. The text is the key.

    Raises UnsafeKey, StoreUnwritable, StoreFull.
    """
    key, created = secret_in(path, MIN_KEY_BYTES)
    return key.encode(), created


def _check_length(key: bytes, where: str) -> None:
    if len(key) < MIN_KEY_BYTES:
        raise UnsafeKey(f"{where}: the key has {len(key)} bytes; use at least {MIN_KEY_BYTES} random ones")
