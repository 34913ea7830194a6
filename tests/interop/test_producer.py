"""A Node program submits jobs with the SQL function, in transactions of its own."""

import asyncio
import json
from pathlib import Path

from tests.support.js import INTEROP, node_or_skip
from tests.support.postgres import place_for
from tests.support.stores import success
from worker.core.clock import Clock


async def test_job_submitted_by_node_exists_exactly_if_its_transaction_was_committed(tmp_path: Path) -> None:
    node, place = node_or_skip(), place_for(tmp_path)
    store = await place.open("worker", 1 << 30, Clock())
    woken = asyncio.Event()
    store.on_work(woken.set)
    try:
        program = await asyncio.create_subprocess_exec(
            node, "producer.js", place.target.dsn, place.target.schema, cwd=INTEROP, stdout=asyncio.subprocess.PIPE
        )
        output, _ = await program.communicate()
        printed = json.loads(output)
        await asyncio.wait_for(woken.wait(), 30)
        [job] = (await store.claim(10)).jobs
        assert job.id == printed["committed"] == printed["again"]
        assert (job.user_id, json.loads(job.payload)) == ("สมชาย", {"ชื่อ": "ประถมาภรณ์"})
        assert await store.get(printed["rolledBack"]) is None
        assert (printed["conflict"], printed["invalid"]) == ("23505", "22023")
        assert job.id[14] == "7"
        assert await store.settle([success(job)]) == [True]
        assert await store.examine() == []
    finally:
        await store.close()
        await place.destroy()
