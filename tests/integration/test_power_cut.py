"""The power is cut at any moment: what was not synced is lost, and nothing that was confirmed is part of it."""

import asyncio
import itertools
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.test_sqlite_kill import History, check, finish, opened
from tests.support.lost_syncs import Disk, Record, built_recorder, lay_out, recording, records_of
from tests.support.process import clean_environment
from worker.errors import StoreIncomplete

CONFIRMED = 2_000
"""Lines that the process prints before it is ended: then the log has been copied into the file more than once."""
CUTS = 6
SMALL_STORE = 8 << 20
"""Bytes of the largest store; the write-ahead log is copied into the file after a sixteenth of them."""


def _lived(folder: Path, *, lines: int) -> list[Record]:
    """Let a process use the store in the folder until it has confirmed so much; return what it wrote and synced."""
    trace = folder.with_name("trace")
    environ = recording(built_recorder(folder.parent), folder, trace)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.store_life", str(folder / "queue.db"), str(SMALL_STORE)],
        stdout=subprocess.PIPE,
        env=clean_environment(environ),
    )
    assert process.stdout is not None
    try:
        for number, _ in enumerate(process.stdout, start=1):
            if number == lines:
                break
        else:
            pytest.fail(f"the process ended after {process.wait()}")
    finally:
        process.kill()
        process.communicate()
    return records_of(trace)


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Record]]:
    """A folder, and what a process did in it."""
    folder = tmp_path_factory.mktemp("life") / "state"
    folder.mkdir()
    return folder, _lived(folder, lines=CONFIRMED)


async def test_recorded_process_syncs_and_empties_its_log(life: tuple[Path, list[Record]]) -> None:
    """The other tests judge the records, so they must hold all that matters."""
    _, records = life
    kinds = {(record.kind, Path(record.path).name) for record in records}
    assert {("E", "queue.db"), ("E", "queue.db-wal"), ("E", "state"), ("C", "queue.db-wal"), ("O", "")} <= kinds
    assert sum(map(_begins_log, records)) > 3


def _begins_log(record: Record) -> bool:
    return record.kind == "W" and record.path.endswith("queue.db-wal") and record.offset == 0


KEEPS_SOME = pytest.mark.parametrize("keeps_some", [False, True], ids=["nothing unsynced is kept", "some of it is"])


@KEEPS_SOME
async def test_power_cut_loses_nothing_that_was_confirmed(
    life: tuple[Path, list[Record]], tmp_path: Path, keeps_some: bool
) -> None:
    await _cut_many_times(*life, tmp_path, cuts=CUTS, keeps_some=keeps_some)


@pytest.mark.kill
@pytest.mark.timeout(1800)
@KEEPS_SOME
async def test_many_power_cuts_lose_nothing_that_was_confirmed(
    life: tuple[Path, list[Record]], tmp_path: Path, keeps_some: bool
) -> None:
    """The variable CUTS sets the number."""
    await _cut_many_times(*life, tmp_path, cuts=int(os.environ.get("CUTS", "100")), keeps_some=keeps_some)


async def _cut_many_times(folder: Path, records: list[Record], tmp_path: Path, *, cuts: int, keeps_some: bool) -> None:
    chance = random.Random(len(records))
    history, disk, at = History(), Disk(), 0
    for cut in sorted(chance.sample(range(1, len(records) + 1), min(cuts, len(records)))):
        for record in records[at:cut]:
            disk.replay(record)
            if record.kind == "O":
                history.read(record.data)
        at = cut
        found = tmp_path / str(cut)
        lay_out(disk.after_power_cut(chance if keeps_some else None), folder, found)
        await check(found / "queue.db", history)
        await finish(found / "queue.db")
        shutil.rmtree(found)
    assert len(history.accepted) > cuts


def test_removed_file_keeps_its_content_until_its_removal_is_on_the_disk() -> None:
    """Its inode is given to the next file at once."""
    disk, at = Disk(), itertools.count()
    for name, content in (("old", b"content of the old file"), ("new", b"x")):
        disk.replay(Record("C", f"/state/{name}", 7, 0, b""))
        disk.replay(Record("W", f"/state/{name}", 7, 0, content))
        _sync(disk, f"/state/{name}", 7, next(at))
        if name == "old":
            _sync(disk, "/state", 0, next(at))
            disk.replay(Record("U", "/state/old", 0, 0, b""))
    assert disk.after_power_cut() == {"/state/old": b"content of the old file"}


def _sync(disk: Disk, path: str, inode: int, number: int) -> None:
    for kind in "BE":
        disk.replay(Record(kind, path, inode, number, b""))


async def test_log_whose_syncs_were_lost_is_refused_with_a_remedy(
    life: tuple[Path, list[Record]], tmp_path: Path
) -> None:
    """A disk that says that it has synced, and has not, loses what was confirmed: the service says so and stops."""
    folder, records = life
    begun = [place for place, record in enumerate(records) if _begins_log(record)]
    disk = Disk(ignores_syncs_of="-wal")
    # Up to the last but one beginning of the log: what came after it is in the journal, and not yet in the file.
    for record in records[: begun[-2]]:
        disk.replay(record)
    files = {
        path: content if not path.endswith(".commits") else (folder / Path(path).name).read_bytes()
        for path, content in disk.after_power_cut().items()
    }
    lay_out(files, folder, tmp_path / "found")
    with pytest.raises(StoreIncomplete, match=r"lost its last [\d,]+ commits.*db restore"):
        async with asyncio.timeout(60), opened(tmp_path / "found" / "queue.db"):
            pass
