"""Further keys for tokens, by `kid`: read and judged at start, so that a wrong one is no riddle later.

A public key is bound to one algorithm here, so nobody can sign with its text as an HMAC secret (RFC 8725, 3.1).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from config.settings import JwtKeySettings
from worker.errors import UnsafeKey
from worker.hub.auth import WORKER_KID, Key

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

_RSA_BITS: Final = 2048
_CURVES: Final = {"ES256": "secp256r1", "ES384": "secp384r1", "ES512": "secp521r1"}


def further_keys(settings: Sequence[JwtKeySettings], root: Path) -> dict[str, Key]:
    """The keys of Hub:Jwt:Keys by their kid; files lie under `root`. UnsafeKey says which one is no good and why."""
    keys: dict[str, Key] = {}
    for number, one in enumerate(settings):
        where = f"Hub:Jwt:Keys:{number} ({one.kid})"
        if one.kid in keys or one.kid == WORKER_KID:
            raise UnsafeKey(f"{where}: this kid is taken")
        keys[one.kid] = Key(_verifier(one, _text(one, root, where), where), (one.algorithm,))
    return keys


def _text(one: JwtKeySettings, root: Path, where: str) -> bytes:
    if (one.key is None) == (one.file is None):
        raise UnsafeKey(f"{where}: needs either Key or File")
    if one.key is not None:
        return one.key.get_secret_value().encode()
    assert one.file is not None
    try:
        return (root / one.file).read_bytes().strip()
    except OSError as exc:
        raise UnsafeKey(f"{where}: {one.file} cannot be read ({exc.strerror})") from None


def _verifier(one: JwtKeySettings, text: bytes, where: str) -> Any:
    if one.algorithm.startswith("HS"):
        needed = int(one.algorithm[2:]) // 8
        if len(text) < needed or text.startswith(b"-----BEGIN"):
            raise UnsafeKey(f"{where}: {one.algorithm} needs a secret of at least {needed} random bytes, no PEM")
        return text
    public = _public_key(text, where)
    if not _fits(public, one.algorithm):
        raise UnsafeKey(f"{where}: this key is not one for {one.algorithm}")
    return public


def _public_key(text: bytes, where: str) -> "PublicKeyTypes":
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    if b"PRIVATE KEY-----" in text:
        raise UnsafeKey(f"{where}: this is a private key; give the hub the public one alone")
    try:
        return load_pem_public_key(text)
    except (ValueError, UnsupportedAlgorithm):
        raise UnsafeKey(f"{where}: this is no public key in PEM (-----BEGIN PUBLIC KEY-----)") from None


def _fits(public: "PublicKeyTypes", algorithm: str) -> bool:
    from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

    if isinstance(public, rsa.RSAPublicKey):
        return algorithm[:2] in ("RS", "PS") and public.key_size >= _RSA_BITS
    if isinstance(public, ec.EllipticCurvePublicKey):
        return public.curve.name == _CURVES.get(algorithm)
    return algorithm == "EdDSA" and isinstance(public, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey)
