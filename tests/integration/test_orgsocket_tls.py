"""TLS: verified against CaFile, named when it fails, unverified only when told so."""

import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from tests.support.bad_servers import PATH, BadServer, acking
from tests.support.certificates import made_for
from tests.support.channels import quick, running
from tests.support.feed import ListFeed, message
from worker.orgsocket.link import ConnectError


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_for("localhost", tmp_path_factory.mktemp("tls"))


@contextlib.asynccontextmanager
async def tls_server(certificate: Path) -> AsyncIterator[str]:
    server, app = BadServer(acking), web.Application()
    app.router.add_get(PATH + "/", server.handle)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    runner = web.AppRunner(app, shutdown_timeout=0.05, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    try:
        yield f"https://localhost:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_a_certificate_signed_by_the_ca_file_is_accepted(certificate: Path) -> None:
    feed = ListFeed([message(1)])
    async with tls_server(certificate) as url, running(quick(url, ca_file=str(certificate)), feed):
        await feed.until(1)


async def test_an_unknown_certificate_is_refused_and_named(certificate: Path) -> None:
    async with tls_server(certificate) as url, running(quick(url)) as link:
        failed = await link.events.one(ConnectError)
    assert failed.cause.startswith("SSLCertVerificationError")


async def test_a_certificate_for_another_name_is_refused(certificate: Path) -> None:
    async with tls_server(certificate) as url:
        other = url.replace("localhost", "127.0.0.1")
        async with running(quick(other, ca_file=str(certificate))) as link:
            failed = await link.events.one(ConnectError)
    assert failed.cause.startswith("SSLCertVerificationError")


async def test_verification_can_be_switched_off(certificate: Path) -> None:
    feed = ListFeed([message(1)])
    async with tls_server(certificate) as url, running(quick(url, verify_tls=False), feed):
        await feed.until(1)


async def test_a_ca_file_that_is_missing_fails_the_attempt(certificate: Path) -> None:
    async with tls_server(certificate) as url, running(quick(url, ca_file="/nowhere/ca.pem")) as link:
        failed = await link.events.one(ConnectError)
    assert failed.cause.startswith("FileNotFoundError")
