"""Citizen ids and secrets are masked in texts that leave the process."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.redact import Redactor

redact = Redactor()
MASKED = "x" * 13


@pytest.mark.parametrize(
    "number",
    [
        "1101700203451",
        "1-1017-00203-45-1",
        "1 1017 00203 45 1",
        "๑๑๐๑๗๐๐๒๐๓๔๕๑",
        "๑-๑๐๑๗-๐๐๒๐๓-๔๕-๑",
    ],
)
@pytest.mark.parametrize("frame", ["{}", "เลขที่ {} ไม่ถูกต้อง", "id={}", "({})", "person_id{}", "ผู้ใช้{}"])
def test_citizen_id_is_masked_in_every_notation(number: str, frame: str) -> None:
    assert redact(frame.format(number)) == frame.format(MASKED)


@pytest.mark.parametrize("text", ["110170020345", "11017002034512", "1,234,567", "2026-11-20 08:15:30.123", "๒๕๖๙"])
def test_other_numbers_are_not_masked(text: str) -> None:
    assert redact(text) == text


@given(st.uuids())
def test_job_id_is_never_masked(value: object) -> None:
    assert redact(f"job {value} failed") == f"job {value} failed"


def test_job_id_with_thirteen_digits_is_not_masked() -> None:
    text = "job 0199a1b2-0000-7ab1-8345-678901230000 failed"
    assert redact(text) == text


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("password=geheim", "password=***"),
        ("Password: geheim, next", "Password: ***, next"),
        ("pwd=a;b=1", "pwd=***;b=1"),
        ("DB_PASSWORD=geheim x", "DB_PASSWORD=*** x"),
        ("access_token=abc&user=1", "access_token=***&user=1"),
        ("client_secret = 'a b c'", "client_secret = ***"),
        ('{"password": "two words", "a": 1}', '{"password": ***, "a": 1}'),
        ("X-Api-Key: abc", "X-Api-Key: ***"),
        ("apikey=abc", "apikey=***"),
        ("token: Bearer abc.def", "token: ***"),
        ("Authorization: Bearer abc.def", "Authorization: ***"),
        ("Authorization: Basic dXNlcjpwYXNz", "Authorization: ***"),
        ("{'Authorization': 'Basic dXNlcjpwYXNz', 'a': 1}", "{'Authorization': '***', 'a': 1}"),
        ("Cookie: a=b; session=xyz\nHost: x", "Cookie: ***\nHost: x"),
        ("sent Bearer abc.def-ghi to it", "sent Bearer *** to it"),
        ("got eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln here", "got *** here"),
        ("eyJx.y eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0. eyJz", "eyJx.y *** eyJz"),
        ("-eyJhbGciOi-eyJzdWIiOiJhIn0.c2ln.", "-***"),
        ("redis://user:geheim@cache:6379/0", "redis://***@cache:6379/0"),
        ("postgres://u:p@ss@db/x", "postgres://***@db/x"),
    ],
)
def test_credentials_are_masked_by_their_form(text: str, masked: str) -> None:
    assert redact(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "the token is invalid",
        "http://127.0.0.1:8080/a?b=c",
        "someone@example.org wrote",
        "ลืมรหัสผ่าน",
        "secretary: นาง ก",
    ],
)
def test_plain_text_is_not_changed(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize("unit", ["-eyJ", 'pwd="', "://"])
def test_redacting_ends_for_a_text_of_beginnings(unit: str) -> None:
    """Time by the square of the length would be half an hour."""
    redact(unit * (2_000_000 // len(unit)))


def test_known_secrets_are_masked_anywhere() -> None:
    assert Redactor.of(["hush-hush"])("x=hush-hush;y=(hush-hush)") == "x=***;y=(***)"


def test_secret_that_is_the_beginning_of_another_is_masked_whole() -> None:
    secrets = [f"abcd{'efgh' * n}" for n in range(12)]
    assert Redactor.of(secrets)(" ".join(secrets)) == " ".join(["***"] * 12)


def test_values_too_short_to_be_secrets_are_not_masked() -> None:
    assert Redactor.of(["a", "", "on"])("a cat on a mat") == "a cat on a mat"


@given(st.text())
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    once = redact(text)
    assert redact(once) == once
