"""Tokens and keys: which tokens are accepted, and the many that are not (RFC 8725)."""

import base64
import hmac
import json
import stat
import time

import jwt
import pytest
from pydantic import SecretStr

from config.hub_settings import JwtSettings
from config.user_id import is_user_id
from worker.core.clock import Clock
from worker.errors import StoreUnwritable, UnsafeKey
from worker.hub.tokens import SigningKey, TokenRejected, TokenService, load_key, load_token_service

KEY = b"k" * 32


@pytest.fixture
def authority():
    return TokenService(KEY, "insignia-worker", "org-socket", Clock())


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


def test_token_minted_for_a_user_identifies_that_user(authority):
    identity = authority.identify(authority.mint("ann", publish=True, days=1))
    assert identity.user == "ann"
    assert identity.may_publish
    assert not identity.is_admin
    assert identity.expires == pytest.approx(time.time() + 86400, abs=60)


def test_token_without_scopes_may_only_receive(authority):
    identity = authority.identify(authority.mint("ann"))
    assert not identity.may_publish
    assert not identity.is_admin


def test_worker_token_has_no_user(authority):
    identity = authority.identify(authority.mint_for_worker())
    assert identity.user is None
    assert identity.may_publish


def test_worker_token_after_a_restart_is_rejected(authority):
    restarted = TokenService(KEY, "insignia-worker", "org-socket", Clock())
    with pytest.raises(TokenRejected):
        restarted.identify(authority.mint_for_worker())


def test_token_with_scopes_as_a_list_is_accepted(authority):
    assert authority.identify(signed({"scope": ["publish", 3]})).scopes == {"publish"}


@pytest.mark.parametrize("claim", ["exp", "sub", "aud", "iss"])
def test_token_without_a_required_claim_is_rejected(authority, claim):
    with pytest.raises(TokenRejected):
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
        signed({"nbf": time.time() + 3600}),
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
def test_token_that_is_forged_expired_or_malformed_is_rejected(authority, token):
    with pytest.raises(TokenRejected):
        authority.identify(token)


def test_key_is_chosen_by_kid_and_bound_to_its_algorithms():
    other = b"o" * 64
    authority = TokenService(KEY, "insignia-worker", "org-socket", Clock(), keys={"new": SigningKey(other, ("HS512",))})
    assert authority.identify(signed(key=other, algorithm="HS512", headers={"kid": "new"})).user == "ann"
    with pytest.raises(TokenRejected):
        authority.identify(signed(key=other, algorithm="HS256", headers={"kid": "new"}))


def test_token_signed_with_the_text_of_a_public_key_is_rejected():
    """HS/RS confusion: a token signed with the text of the public key (RFC 8725, 2.1)."""
    public = b"-----BEGIN PUBLIC KEY----- everybody knows this -----END PUBLIC KEY-----"
    authority = TokenService(
        KEY, "insignia-worker", "org-socket", Clock(), keys={"idp": SigningKey(public, ("RS256", "ES256"))}
    )
    header = {"alg": "HS256", "kid": "idp"}
    claims = {"sub": "ann", "aud": "org-socket", "iss": "insignia-worker", "exp": time.time() + 60}
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (header, claims)]
    signature = hmac.new(public, b".".join(parts), "sha256").digest()
    token = b".".join([*parts, base64.urlsafe_b64encode(signature).rstrip(b"=")]).decode()
    with pytest.raises(TokenRejected):
        authority.identify(token)


def test_token_after_its_revocation_is_rejected(authority):
    token = authority.mint("ann", token_id="lost")
    authority.revoke("lost")
    with pytest.raises(TokenRejected, match="revoked"):
        authority.identify(token)


def test_key_file_is_created_once_and_readable_by_its_owner_alone(tmp_path):
    key, created = load_key(tmp_path / "state" / "hub.key")
    assert created
    assert len(key) >= 32
    assert stat.S_IMODE((tmp_path / "state" / "hub.key").stat().st_mode) == 0o600
    assert load_key(tmp_path / "state" / "hub.key") == (key, False)
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["hub.key"]


def test_key_file_that_others_may_read_stops_the_start(tmp_path):
    load_key(tmp_path / "hub.key")
    (tmp_path / "hub.key").chmod(0o640)
    with pytest.raises(UnsafeKey, match="chmod 600"):
        load_key(tmp_path / "hub.key")


def test_key_that_is_too_short_stops_the_start(tmp_path):
    (tmp_path / "hub.key").write_text("short")
    (tmp_path / "hub.key").chmod(0o600)
    with pytest.raises(UnsafeKey, match="5 bytes"):
        load_key(tmp_path / "hub.key")
    with pytest.raises(UnsafeKey, match="Hub:Jwt:Key"):
        load_token_service(JwtSettings.model_construct(key=SecretStr("short")), tmp_path, Clock())


def test_key_file_that_is_a_folder_is_reported_in_one_line(tmp_path):
    (tmp_path / "hub.key").mkdir()
    with pytest.raises(StoreUnwritable, match=r"hub\.key"):
        load_key(tmp_path / "hub.key")


def test_key_in_the_settings_needs_no_file(tmp_path):
    authority, made = load_token_service(JwtSettings(key=SecretStr("c" * 40)), tmp_path, Clock())
    assert made is None
    assert not list(tmp_path.iterdir())
    assert authority.signing_key == b"c" * 40


@pytest.mark.parametrize(
    ("value", "good"), [("ann", True), ("สมชาย", True), ("", False), ("a\u202eb", False), (3, False)]
)
def test_user_id_must_be_printable_text(value, good):
    assert is_user_id(value) is good


@pytest.mark.parametrize(("skew", "offset", "claim"), [(None, 5, "nbf"), (60.0, 50, "nbf"), (60.0, -20, "exp")])
def test_token_within_the_clock_skew_is_accepted(skew, offset, claim):
    service = TokenService(KEY, "insignia-worker", "org-socket", Clock(), clock_skew=skew)
    assert service.identify(signed({claim: time.time() + offset})).expires > time.time()


@pytest.mark.parametrize(
    ("skew", "offset", "claim"), [(None, 30, "nbf"), (0.0, 30, "nbf"), (None, -5, "exp"), (60.0, -70, "exp")]
)
def test_token_beyond_the_clock_skew_is_rejected(skew, offset, claim):
    service = TokenService(KEY, "insignia-worker", "org-socket", Clock(), clock_skew=skew)
    with pytest.raises(TokenRejected):
        service.identify(signed({claim: time.time() + offset}))


def test_clock_skew_of_the_settings_is_used(tmp_path):
    service, _ = load_token_service(JwtSettings(clock_skew=60.0), tmp_path, Clock())
    assert service.clock_skew == 60.0


@pytest.mark.parametrize("token", [None, ""])
def test_missing_token_is_admitted_only_where_anonymous_clients_are_allowed(authority, token):
    with pytest.raises(TokenRejected):
        authority.admit(token)
    authority.allow_anonymous = True
    identity = authority.admit(token)
    assert (identity.user, identity.may_publish, identity.may_broadcast, identity.is_admin) == (
        None,
        False,
        True,
        False,
    )
    with pytest.raises(TokenRejected):
        authority.admit("x")
