"""A disk that becomes read-only while the service runs ends it with one line that says so."""

import json
from pathlib import Path

from tests.support.small_disk import run_on_small_disk

_READ_ONLY = """
import asyncio, json, subprocess, sys
from pathlib import Path
from tests.support.process import WorkerProcess

async def run(folder, command, settings):
    folder.mkdir(mode=0o700)
    service = WorkerProcess(folder, ["--Http:Url=http://127.0.0.1:0", *settings], command=command)
    await service.start()
    for options in (["--bind"], ["-o", "remount,bind,ro"]):
        subprocess.run(["mount", *options, service.state, service.state], check=True)
    try:
        code = await asyncio.to_thread(service.process.wait, 60)
        subprocess.run(["umount", service.state], check=True)
        before = service.text().splitlines()[-1]
        await service.start()
        return [code, before, await service.stop()]
    finally:
        if service.is_running:
            service.kill()

async def main():
    folder = Path(sys.argv[1])
    print(json.dumps([await run(folder / "a", "run", ["--Hub:Enabled=true"]), await run(folder / "b", "hub", [])]))

asyncio.run(main())
"""


def test_disk_that_becomes_read_only_is_named_with_73(tmp_path: Path) -> None:
    """It was an internal error, 70: what could not be removed at the end hid the reason."""
    for code, line, after in json.loads(run_on_small_disk(tmp_path, "64m", _READ_ONLY)):
        assert code == 73, line
        assert line.startswith("insignia-worker: ")
        assert "is on a disk that is mounted read-only: see the system log, then mount it for writing" in line
        assert after == 0
