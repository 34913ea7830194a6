"""The examples of docs/producers.md are run as they stand there: SQL, Node and, with a JDK, Java."""

import asyncio
import json
import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.js import INTEROP, node_or_skip
from tests.support.postgres import PostgresPlace, connected
from tests.support.repository import ROOT
from worker.core.clock import Clock
from worker.core.store import Store

USER = "สมชาย"
_NODE = """
const { Client } = require("pg");
(async () => {
  const client = new Client({ connectionString: process.argv[2] });
  const user = process.argv[3];
  await client.connect();
  EXAMPLE
  await client.end();
})();
"""
_JAVA = """
import java.sql.DriverManager;

class Producer {
  public static void main(String[] arguments) throws Exception {
    String url = arguments[0], userId = arguments[1], payloadJson = "{\\"round\\": 2569}", jobId;
    try (var connection = DriverManager.getConnection(url)) {
      EXAMPLE
    }
    System.out.println(jobId);
  }
}
"""


def example(language: str) -> str:
    """Return the only example in this language."""
    [found] = re.findall(rf"^```{language}\n(.*?)^```$", (ROOT / "docs" / "producers.md").read_text(), re.M | re.S)
    return str(found)


def java_or_skip() -> list[str]:
    """Return the command that runs a source file in Java with PostgreSQL's driver. CI installs no JDK: its size."""
    installed = [Path("/usr/share/java/postgresql.jar"), *Path.home().glob(".m2/**/postgresql-4*.jar")]
    driver = next((path for path in installed if path.exists()), None)
    if shutil.which("javac") is None or driver is None:
        pytest.skip("Java is needed for its example: apt install default-jdk-headless libpostgresql-jdbc-java")
    return ["java", "-Dfile.encoding=UTF-8", "-cp", str(driver)]


@pytest.fixture
async def store(place: PostgresPlace) -> AsyncIterator[Store]:
    """A store in the schema that the examples name, with the table that they write into."""
    store = await place.open("worker", 1 << 30, Clock())
    async with connected(place.target.dsn) as connection:
        await connection.execute(f"CREATE TABLE {place.target.schema}.rosters (name text)")
    yield store
    await store.close()


def in_schema(place: PostgresPlace, text: str) -> str:
    """Return the example for the store of the test."""
    schema = place.target.schema
    return text.replace("insignia.insignia_enqueue", f"{schema}.insignia_enqueue").replace(
        "INTO rosters", f"INTO {schema}.rosters"
    )


async def printed(*command: str, cwd: Path) -> str:
    program = await asyncio.create_subprocess_exec(
        *command, cwd=cwd, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, errors = await program.communicate()
    assert program.returncode == 0, errors.decode()
    return output.decode().strip()


async def only_job(store: Store) -> tuple[str, str]:
    [job] = (await store.claim(10)).jobs
    assert json.loads(job.payload)["round"] == 2569
    return job.id, job.user_id


async def test_sql_example_submits_a_job(place: PostgresPlace, store: Store) -> None:
    [_, transaction] = re.findall(r"^```sql\n(.*?)^```$", (ROOT / "docs" / "producers.md").read_text(), re.M | re.S)[
        ::2
    ]
    async with connected(place.target.dsn) as connection:
        await connection.execute(in_schema(place, transaction))
    await only_job(store)


async def test_node_example_submits_a_job(tmp_path: Path, place: PostgresPlace, store: Store) -> None:
    node = node_or_skip()
    program = tmp_path / "producer.js"
    program.write_text(_NODE.replace("EXAMPLE", in_schema(place, example("js"))), encoding="utf-8")
    (tmp_path / "node_modules").symlink_to(INTEROP / "node_modules")
    job_id = await printed(node, str(program), place.target.dsn, USER, cwd=tmp_path)
    assert await only_job(store) == (job_id, USER)


async def test_java_example_submits_a_job(tmp_path: Path, place: PostgresPlace, store: Store) -> None:
    java = java_or_skip()
    program = tmp_path / "Producer.java"
    program.write_text(_JAVA.replace("EXAMPLE", in_schema(place, example("java"))), encoding="utf-8")
    async with connected(place.target.dsn) as connection:
        address = await connection.fetchrow("SELECT current_database(), current_user")
    server = place.target.dsn.rpartition("@")[2].partition("/")[0]
    url = f"jdbc:postgresql://{server}/{address[0]}?user={address[1]}"
    job_id = await printed(*java, str(program), url, USER, cwd=tmp_path)
    assert await only_job(store) == (job_id, USER)
