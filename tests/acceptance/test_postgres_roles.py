"""The store in PostgreSQL under the roles of `deploy/postgres-roles.sql`, and over TLS."""

from pathlib import Path
from typing import Any
from urllib.parse import quote

import asyncpg
import pytest

from tests.acceptance.test_postgres_workers import a_worker, all_received
from tests.support.certificates import made_for
from tests.support.postgres import connected
from tests.support.postgres_server import postgres_server
from tests.support.repository import ROOT
from tests.support.socketio_server import socketio_server
from worker.core.clock import Clock
from worker.errors import StoreError, StoreUnwritable
from worker.stores.postgres.database import DatabaseTarget
from worker.stores.postgres.opening import migrate_target, open_store

ROLES = (ROOT / "deploy" / "postgres-roles.sql").read_text()


async def as_role(url: str, statement: str) -> Any:
    async with connected(url) as connection:
        return await connection.fetchval(statement)


async def run_script(url: str) -> None:
    async with connected(url) as connection:
        await connection.execute(ROLES)


@pytest.mark.timeout(600)
async def test_service_and_producer_work_with_the_rights_of_their_roles_and_no_more(tmp_path: Path) -> None:
    with postgres_server() as server:
        owner, service, producer = (
            server.url.replace("postgres@", f"insignia_{role}@") for role in ("owner", "service", "producer")
        )
        await run_script(server.url)
        with pytest.raises(StoreUnwritable, match="rights"):  # only the owner may create the store
            await migrate_target(DatabaseTarget.parse(service))
        await migrate_target(DatabaseTarget.parse(owner))
        await run_script(server.url)
        async with socketio_server() as hub:
            worker = a_worker(tmp_path / "one", service, hub)
            try:
                await worker.start()
                call = "SELECT insignia.insignia_enqueue('sleep', 'u', '{\"seconds\": 0}')"
                await all_received(hub, {await as_role(producer, call)})
                assert await worker.stop() == 0
            finally:
                worker.kill()
        for role, statement in (
            (producer, "SELECT count(*) FROM insignia.jobs"),
            (producer, "SELECT insignia.ticket_of(0, 0)"),
            (producer, "INSERT INTO insignia.pauses VALUES ('sleep', 0)"),
            (service, "DROP TABLE insignia.outbox"),
            (service, "TRUNCATE insignia.jobs"),
            (service, "CREATE TABLE insignia.other ()"),
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await as_role(role, statement)


async def test_connection_string_decides_whether_the_server_certificate_is_checked(tmp_path: Path) -> None:
    certificate = made_for("localhost", tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    made_for("localhost", other)
    with postgres_server() as server:
        server.stop("fast")
        server.require_tls(certificate)
        server.start()
        url = server.url.replace("127.0.0.1", "localhost")
        roots = f"&sslrootcert={quote(str(tmp_path / 'cert.pem'))}"
        for query in ("sslmode=require", f"sslmode=verify-full{roots}"):
            target = DatabaseTarget.parse(f"{url}?{query}")
            store = await open_store(target, owner=query, max_bytes=1 << 30, clock=Clock())
            await store.close()
            connection = await target.connect()
            assert await connection.fetchval("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
            await connection.close()
        wrong = quote(str(other / "cert.pem"))
        with pytest.raises(StoreUnwritable, match="sslrootcert"):
            await open_target(f"{url}?sslmode=verify-full&sslrootcert={wrong}")
        with pytest.raises(StoreUnwritable, match="sslrootcert"):  # the certificate has another name
            await open_target(f"{server.url}?sslmode=verify-full{roots}")
        with pytest.raises(StoreError):
            await open_target(f"{url}?sslmode=disable")


async def open_target(url: str) -> None:
    store = await open_store(DatabaseTarget.parse(url), owner="x", max_bytes=1 << 30, clock=Clock())
    await store.close()
