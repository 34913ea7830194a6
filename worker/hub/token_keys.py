"""Further keys for tokens, by `kid`: read and checked at the start, so that a wrong one is reported at once.

A public key is bound to one algorithm, so that its text cannot be used as an HMAC secret (RFC 8725, 3.1).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from config.hub_settings import JwtKeySettings
from worker.errors import UnsafeKey
from worker.hub.tokens import WORKER_KID, SigningKey

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

_RSA_BITS: Final = 2048
_CURVES: Final = {"ES256": "secp256r1", "ES384": "secp384r1", "ES512": "secp521r1"}


def further_keys(settings: Sequence[JwtKeySettings], root: Path) -> dict[str, SigningKey]:
    """Return the keys of Hub:Jwt:Keys by their kid; files lie under `root`. UnsafeKey says which is wrong and why."""
    keys: dict[str, SigningKey] = {}
    for number, entry in enumerate(settings):
        where = f"Hub:Jwt:Keys:{number} ({entry.kid})"
        if entry.kid in keys or entry.kid == WORKER_KID:
            raise UnsafeKey(f"{where}: this kid is taken")
        keys[entry.kid] = SigningKey(_verifier(entry, _text(entry, root, where), where), (entry.algorithm,))
    return keys


def _text(entry: JwtKeySettings, root: Path, where: str) -> bytes:
    if (entry.key is None) == (entry.file is None):
        raise UnsafeKey(f"{where}: needs either Key or File")
    if entry.key is not None:
        return entry.key.get_secret_value().encode()
    assert entry.file is not None
    try:
        return (root / entry.file).read_bytes().strip()
    except OSError as exc:
        raise UnsafeKey(f"{where}: {entry.file} cannot be read ({exc.strerror})") from None


def _verifier(entry: JwtKeySettings, text: bytes, where: str) -> Any:
    if entry.algorithm.startswith("HS"):
        needed = int(entry.algorithm[2:]) // 8
        if len(text) < needed or text.startswith(b"-----BEGIN"):
            raise UnsafeKey(f"{where}: {entry.algorithm} needs a secret of at least {needed} random bytes, not PEM")
        return text
    public = _public_key(text, where)
    if not _fits_algorithm(public, entry.algorithm):
        raise UnsafeKey(f"{where}: this key cannot be used for {entry.algorithm}")
    return public


def _public_key(text: bytes, where: str) -> "PublicKeyTypes":
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    if b"PRIVATE KEY-----" in text:
        raise UnsafeKey(f"{where}: this is a private key; give the hub the public one alone")
    try:
        return load_pem_public_key(text)
    except (ValueError, UnsupportedAlgorithm):
        raise UnsafeKey(f"{where}: this is not a public key in PEM (-----BEGIN PUBLIC KEY-----)") from None


def _fits_algorithm(public: "PublicKeyTypes", algorithm: str) -> bool:
    from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

    if isinstance(public, rsa.RSAPublicKey):
        return algorithm[:2] in ("RS", "PS") and public.key_size >= _RSA_BITS
    if isinstance(public, ec.EllipticCurvePublicKey):
        return public.curve.name == _CURVES.get(algorithm)
    return algorithm == "EdDSA" and isinstance(public, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey)
