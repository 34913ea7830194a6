"""Keys of other issuers: real RSA, EC and Ed25519 keys, and tokens that must not be accepted as theirs."""

import base64
import hmac
import json
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from pydantic import SecretStr

from config.hub_settings import JwtKeySettings
from worker.core.clock import Clock
from worker.errors import UnsafeKey
from worker.hub.token_keys import further_keys
from worker.hub.tokens import TokenRejected, TokenService

RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
P256 = ec.generate_private_key(ec.SECP256R1())
P384 = ec.generate_private_key(ec.SECP384R1())
ED = ed25519.Ed25519PrivateKey.generate()
PRIVATE: dict[str, Any] = {"RS256": RSA, "PS512": RSA, "ES256": P256, "ES384": P384, "EdDSA": ED}


def public(private):
    return private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def setting(algorithm, private=None, kid="idp", **values):
    text = public(private or PRIVATE[algorithm]).decode()
    return JwtKeySettings(kid=kid, algorithm=algorithm, **(values or {"key": SecretStr(text)}))


def authority(*settings, root=None):
    return TokenService(b"k" * 32, "insignia-worker", "org-socket", Clock(), further_keys(settings, root))


def claims():
    return {"sub": "ann", "aud": "org-socket", "iss": "insignia-worker", "exp": time.time() + 60}


def signed(algorithm, private=None, kid="idp"):
    return jwt.encode(claims(), private or PRIVATE[algorithm], algorithm, headers={"kid": kid})


@pytest.mark.parametrize("algorithm", PRIVATE)
def test_token_of_another_issuer_is_accepted_by_its_public_key(algorithm):
    assert authority(setting(algorithm)).identify(signed(algorithm)).user == "ann"


@pytest.mark.parametrize("algorithm", PRIVATE)
def test_token_with_a_changed_byte_is_rejected(algorithm):
    head, body, signature = signed(algorithm).split(".")
    raw = bytearray(base64.urlsafe_b64decode(signature + "=="))
    raw[-1] ^= 1
    forged = ".".join((head, body, base64.urlsafe_b64encode(raw).rstrip(b"=").decode()))
    with pytest.raises(TokenRejected):
        authority(setting(algorithm)).identify(forged)


@pytest.mark.parametrize("algorithm", PRIVATE)
@pytest.mark.parametrize("claimed", ["HS256", "HS512", "none"])
def test_token_signed_with_the_text_of_a_public_key_is_rejected(algorithm, claimed):
    """Made by hand, because the library refuses to sign with such a key."""
    parts = [part_of({"alg": claimed, "typ": "JWT", "kid": "idp"}), part_of(claims())]
    digest = {"HS256": "sha256", "HS512": "sha512"}.get(claimed)
    for secret in (public(PRIVATE[algorithm]), public(PRIVATE[algorithm]).strip()):
        signature = hmac.new(secret, b".".join(parts), digest).digest() if digest else b""
        token = b".".join([*parts, base64.urlsafe_b64encode(signature).rstrip(b"=")]).decode()
        with pytest.raises(TokenRejected):
            authority(setting(algorithm)).identify(token)


def part_of(value):
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")


def test_token_with_another_algorithm_than_its_key_is_rejected():
    believing = authority(setting("RS256"))
    for other in ("RS512", "PS256"):
        with pytest.raises(TokenRejected):
            believing.identify(signed(other, RSA))


def test_token_of_another_key_of_the_same_type_is_rejected():
    with pytest.raises(TokenRejected):
        authority(setting("RS256")).identify(signed("RS256", OTHER_RSA))


@pytest.mark.parametrize("kid", ["unknown", "", "IDP", "idp\x00", "../idp", "in-process"])
def test_token_with_an_unknown_kid_is_rejected(kid):
    with pytest.raises(TokenRejected):
        authority(setting("RS256")).identify(signed("RS256", kid=kid))


def test_token_without_kid_is_checked_with_the_hubs_own_key_alone():
    token = jwt.encode(claims(), RSA, "RS256")
    with pytest.raises(TokenRejected):
        authority(setting("RS256")).identify(token)


def test_token_with_a_key_in_its_own_header_is_rejected():
    jwk = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(OTHER_RSA.public_key()))
    headers = {"kid": "idp", "jwk": jwk, "jku": "https://evil.example/keys", "x5u": "https://evil.example/x"}
    token = jwt.encode(claims(), OTHER_RSA, "RS256", headers=headers)
    with pytest.raises(TokenRejected):
        authority(setting("RS256")).identify(token)


def test_keys_can_be_rotated_without_an_interruption():
    before = authority(setting("RS256", RSA, "2025"))
    during = authority(setting("RS256", RSA, "2025"), setting("ES256", P256, "2026"))
    after = authority(setting("ES256", P256, "2026"))
    old, new = signed("RS256", RSA, "2025"), signed("ES256", P256, "2026")
    assert before.identify(old).user == during.identify(old).user == "ann"
    assert during.identify(new).user == after.identify(new).user == "ann"
    for authority_, token in ((before, new), (after, old)):
        with pytest.raises(TokenRejected, match="unknown kid"):
            authority_.identify(token)


def test_key_can_be_read_from_a_file(tmp_path):
    (tmp_path / "idp.pem").write_bytes(public(ED))
    assert authority(setting("EdDSA", file="idp.pem"), root=tmp_path).identify(signed("EdDSA")).user == "ann"


def test_token_signed_with_a_shared_secret_is_accepted(tmp_path):
    shared = JwtKeySettings(kid="idp", algorithm="HS512", key=SecretStr("s" * 64))
    assert authority(shared).identify(jwt.encode(claims(), "s" * 64, "HS512", headers={"kid": "idp"})).user == "ann"


SMALL = rsa.generate_private_key(public_exponent=65537, key_size=1024)
PRIVATE_PEM = RSA.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
).decode()


@pytest.mark.parametrize(
    ("one", "reason"),
    [
        (setting("ES256", RSA), "cannot be used for ES256"),
        (setting("ES256", P384), "cannot be used for ES256"),
        (setting("RS256", ED), "cannot be used for RS256"),
        (setting("EdDSA", P256), "cannot be used for EdDSA"),
        (setting("RS256", SMALL), "cannot be used for RS256"),
        (setting("RS256", key=SecretStr(PRIVATE_PEM)), "private key"),
        (setting("RS256", key=SecretStr("nonsense")), "not a public key in PEM"),
        (setting("HS256", RSA), "not PEM"),
        (JwtKeySettings(kid="x", algorithm="HS512", key=SecretStr("s" * 63)), "at least 64"),
        (JwtKeySettings(kid="x", algorithm="RS256"), "either Key or File"),
        (setting("RS256", file="gone.pem"), "cannot be read"),
        (setting("RS256", kid="in-process"), "taken"),
    ],
)
def test_key_that_cannot_be_used_stops_the_start_and_is_named(one, reason, tmp_path):
    with pytest.raises(UnsafeKey, match=reason) as caught:
        further_keys([one], tmp_path)
    assert f"Hub:Jwt:Keys:0 ({one.kid})" in str(caught.value)
    assert "MII" not in str(caught.value)


def test_two_keys_with_one_kid_stop_the_start(tmp_path):
    with pytest.raises(UnsafeKey, match="taken"):
        further_keys([setting("RS256"), setting("ES256")], tmp_path)
