"""TLS: certificates are verified against CaFile, failures are named, VerifyTls false skips verification."""

from pathlib import Path

import pytest

from tests.support.bad_servers import tls_server
from tests.support.certificates import made_for, valid_between
from tests.support.message_source import ListSource, message
from tests.support.notifiers import fast_settings, running_notifier
from worker.notifiers.socketio.events import ConnectError


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_for("localhost", tmp_path_factory.mktemp("tls"))


async def test_certificate_signed_by_the_ca_file_is_accepted(certificate: Path) -> None:
    source = ListSource([message(1)])
    async with tls_server(certificate) as url, running_notifier(fast_settings(url, ca_file=str(certificate)), source):
        await source.until(1)


async def test_unknown_certificate_is_rejected_and_named(certificate: Path) -> None:
    async with tls_server(certificate) as url, running_notifier(fast_settings(url)) as link:
        failed = await link.events.one(ConnectError)
    assert failed.cause.startswith("SSLCertVerificationError")


async def test_certificate_for_another_host_is_rejected(certificate: Path) -> None:
    async with tls_server(certificate) as url:
        other = url.replace("localhost", "127.0.0.1")
        async with running_notifier(fast_settings(other, ca_file=str(certificate))) as link:
            failed = await link.events.one(ConnectError)
    assert failed.cause.startswith("SSLCertVerificationError")


@pytest.mark.parametrize(
    ("first", "last", "reason"),
    [(-20, -10, "certificate has expired"), (10, 20, "certificate is not yet valid")],
    ids=["expired", "not yet valid"],
)
async def test_certificate_outside_its_time_is_rejected_and_named(
    tmp_path: Path, first: int, last: int, reason: str
) -> None:
    certificate = valid_between("localhost", tmp_path, first, last)
    settings = {"ca_file": str(certificate)}
    async with tls_server(certificate) as url, running_notifier(fast_settings(url, **settings)) as link:
        failed = await link.events.one(ConnectError)
    assert reason in failed.cause


async def test_certificate_is_not_verified_with_verify_tls_false(certificate: Path) -> None:
    source = ListSource([message(1)])
    async with tls_server(certificate) as url, running_notifier(fast_settings(url, verify_tls=False), source):
        await source.until(1)


async def test_missing_ca_file_fails_the_attempt(certificate: Path) -> None:
    async with tls_server(certificate) as url, running_notifier(fast_settings(url, ca_file="/nowhere/ca.pem")) as link:
        failed = await link.events.one(ConnectError)
    assert failed.cause.startswith("FileNotFoundError")
