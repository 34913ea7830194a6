"""Serves an aiohttp application on the loopback, with or without TLS, until the end of a block."""

import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from aiohttp import web


@contextlib.asynccontextmanager
async def serving(
    app: web.Application, port: int = 0, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None, **options: Any
) -> AsyncIterator[int]:
    """Serve the application, and return the port. `options` are the runner's. OSError: there is no such address."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, **options)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, ssl_context=tls).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def server_tls(certificate: Path, *, client: Path | None = None) -> ssl.SSLContext:
    """Return the context of a server with this certificate, which asks for one of its clients if `client` is set."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    if client is not None:
        context.load_verify_locations(client)
        context.verify_mode = ssl.CERT_REQUIRED
    return context
