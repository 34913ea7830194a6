"""Tokens and keys: what proves an identity, and the many things that do not (RFC 8725)."""

import base64
import hmac
import json
import stat
import time

import jwt
import pytest
from pydantic import SecretStr

from config.settings import JwtSettings
from worker.clock import Clock
from worker.errors import StoreUnwritable, UnsafeKey
from worker.hub.auth import Authority, Key, Refused, authority_for, is_user_id, load_key

KEY = b"k" * 32


@pytest.fixture
def authority():
    return Authority(KEY, "insignia-worker", "org-socket", Clock())


def signed(claims=None, *, key=KEY, algorithm="HS256", headers=None, without=()):
    good = {
        "sub": "ann",
        "aud": "org-socket",
        "iss": "insignia-worker",
        "exp": time.time() + 60,
        "scope": "publish admin",
    }
    merged = {name: value for name, value in (good | (claims or {})).items() if name not in without}
    return jwt.encode(merged, key, algorithm, headers=headers)


def test_a_minted_token_speaks_for_its_user(authority):
    identity = authority.identify(authority.mint("ann", publish=True, days=1))
    assert identity.user == "ann"
    assert identity.may_publish
    assert not identity.is_admin
    assert identity.expires == pytest.approx(time.time() + 86400, abs=5)


def test_a_token_without_scopes_may_only_listen(authority):
    identity = authority.identify(authority.mint("ann"))
    assert not identity.may_publish
    assert not identity.is_admin


def test_the_workers_token_belongs_to_no_user(authority):
    identity = authority.identify(authority.mint_for_worker())
    assert identity.user is None
    assert identity.may_publish


def test_the_workers_key_dies_with_the_process(authority):
    restarted = Authority(KEY, "insignia-worker", "org-socket", Clock())
    with pytest.raises(Refused):
        restarted.identify(authority.mint_for_worker())


def test_scopes_may_be_a_list(authority):
    assert authority.identify(signed({"scope": ["publish", 3]})).scopes == {"publish"}


@pytest.mark.parametrize("claim", ["exp", "sub", "aud", "iss"])
def test_a_token_must_have(authority, claim):
    with pytest.raises(Refused):
        authority.identify(signed(without=[claim]))


def unsigned():
    def part(value):
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    claims = {"sub": "ann", "aud": "org-socket", "iss": "insignia-worker", "exp": time.time() + 60}
    return f"{part({'alg': 'none', 'typ': 'JWT'})}.{part(claims)}."


@pytest.mark.parametrize(
    "token",
    [
        signed(key=b"x" * 32),
        signed({"exp": time.time() - 1}),
        signed({"aud": "other"}),
        signed({"iss": "other"}),
        signed({"nbf": time.time() + 60}),
        signed({"iat": time.time() + 3600}),
        signed({"sub": ""}),
        signed({"sub": "a\nb"}),
        signed({"sub": "x" * 300}),
        signed(key=b"k" * 64, algorithm="HS512"),
        signed(headers={"kid": "unknown"}),
        signed(headers={"kid": "in-process"}),
        signed(headers={"crit": ["exp"]}),
        unsigned(),
        signed()[:-3],
        signed() + "x",
        "a.b.c",
        "",
        "x" * 9000,
        None,
        7,
        {"token": "x"},
        ["x"],
    ],
)
def test_nothing_else_proves_an_identity(authority, token):
    with pytest.raises(Refused):
        authority.identify(token)


def test_a_key_is_chosen_by_kid_and_bound_to_its_algorithms():
    other = b"o" * 64
    authority = Authority(KEY, "insignia-worker", "org-socket", Clock(), keys={"new": Key(other, ("HS512",))})
    assert authority.identify(signed(key=other, algorithm="HS512", headers={"kid": "new"})).user == "ann"
    with pytest.raises(Refused):
        authority.identify(signed(key=other, algorithm="HS256", headers={"kid": "new"}))


def test_a_public_key_is_no_secret_to_sign_with():
    """HS/RS confusion: a token signed by the text of the public key that everybody knows (RFC 8725, 2.1)."""
    public = b"-----BEGIN PUBLIC KEY----- everybody knows this -----END PUBLIC KEY-----"
    authority = Authority(KEY, "insignia-worker", "org-socket", Clock(), keys={"idp": Key(public, ("RS256", "ES256"))})
    header = {"alg": "HS256", "kid": "idp"}
    claims = {"sub": "ann", "aud": "org-socket", "iss": "insignia-worker", "exp": time.time() + 60}
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (header, claims)]
    signature = hmac.new(public, b".".join(parts), "sha256").digest()
    token = b".".join([*parts, base64.urlsafe_b64encode(signature).rstrip(b"=")]).decode()
    with pytest.raises(Refused):
        authority.identify(token)


def test_a_revoked_token_is_refused(authority):
    token = authority.mint("ann", token_id="lost")
    authority.revoke("lost")
    with pytest.raises(Refused, match="revoked"):
        authority.identify(token)


def test_the_key_is_made_once_and_for_nobody_else(tmp_path):
    key, created = load_key(tmp_path / "state" / "hub.key")
    assert created
    assert len(key) >= 32
    assert stat.S_IMODE((tmp_path / "state" / "hub.key").stat().st_mode) == 0o600
    assert load_key(tmp_path / "state" / "hub.key") == (key, False)
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["hub.key"]


def test_a_key_that_others_may_read_stops_the_start(tmp_path):
    load_key(tmp_path / "hub.key")
    (tmp_path / "hub.key").chmod(0o640)
    with pytest.raises(UnsafeKey, match="chmod 600"):
        load_key(tmp_path / "hub.key")


def test_a_short_key_stops_the_start(tmp_path):
    (tmp_path / "hub.key").write_text("short")
    (tmp_path / "hub.key").chmod(0o600)
    with pytest.raises(UnsafeKey, match="5 bytes"):
        load_key(tmp_path / "hub.key")
    with pytest.raises(UnsafeKey, match="Hub:Jwt:Key"):
        authority_for(JwtSettings.model_construct(key=SecretStr("short")), tmp_path, Clock())


def test_a_folder_in_the_keys_place_is_said_in_one_line(tmp_path):
    (tmp_path / "hub.key").mkdir()
    with pytest.raises(StoreUnwritable, match=r"hub\.key"):
        load_key(tmp_path / "hub.key")


def test_a_configured_key_needs_no_file(tmp_path):
    authority, made = authority_for(JwtSettings(key=SecretStr("c" * 40)), tmp_path, Clock())
    assert made is None
    assert not list(tmp_path.iterdir())
    assert authority.signing_key == b"c" * 40


@pytest.mark.parametrize(
    ("value", "good"), [("ann", True), ("สมชาย", True), ("", False), ("a\u202eb", False), (3, False)]
)
def test_a_user_id_is_printable_text(value, good):
    assert is_user_id(value) is good
