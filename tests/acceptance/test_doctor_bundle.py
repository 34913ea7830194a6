"""`doctor` beside a running service, and its bundle, in which no secret can be found."""

import asyncio
import json
import zipfile
from pathlib import Path

from tests.support.ports import free_port
from tests.support.process import command, running_worker

SECRET = {"WebSocket__Token": "canary-of-the-link-7f3a", "Hub__Jwt__Key": "canary-of-the-hub-91bc" + "x" * 32}


async def test_bundle_of_a_running_service_has_no_secret(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    settings = [f"--Http:Url={url}", f"--WebSocket:Url={url}"]
    file = tmp_path / "bundle.zip"
    async with running_worker(tmp_path, *settings, environ=SECRET) as worker:
        done = await asyncio.to_thread(command, tmp_path, "doctor", "bundle", str(file), *settings, **SECRET)
        assert done.returncode == 0, done.stderr
        keys = {(worker.state / name).read_text().strip() for name in ("admin.key", "session.key")}
        again = await asyncio.to_thread(command, tmp_path, "doctor", "bundle", str(file), *settings, **SECRET)
        examined = await asyncio.to_thread(command, tmp_path, "doctor", "--json", *settings, **SECRET)
    assert (again.returncode, "exists already" in again.stderr) == (64, True)
    assert file.stat().st_mode & 0o777 == 0o600
    with zipfile.ZipFile(file) as archive:
        parts = {name: archive.read(name).decode() for name in archive.namelist()}
    assert {"doctor.json", "settings.json", "versions.json", "files.txt", "health.json", "stats.json"} <= set(parts)
    assert [row["value"] for row in json.loads(parts["settings.json"])["settings"] if row["key"] == "WebSocket:Token"]
    for name, text in parts.items():
        for secret in {*SECRET.values(), *keys}:
            assert secret not in text, name
    checks = {check["name"]: check for check in json.loads(examined.stdout)["checks"]}
    assert (examined.returncode, checks["limits"]["verdict"]) == (0, checks["limits"]["verdict"])
    assert "open files of process" in checks["limits"]["text"]
    assert "canary" not in examined.stdout


def test_bundle_in_a_folder_that_does_not_exist_exits_with_73(tmp_path: Path) -> None:
    done = command(tmp_path, "doctor", "bundle", str(tmp_path / "none" / "bundle.zip"))
    assert (done.returncode, done.stderr.count("\n")) == (73, 1)
    assert "bundle.zip cannot be written: No such file or directory; name a file elsewhere" in done.stderr


def test_faulty_settings_are_a_finding(tmp_path: Path) -> None:
    (tmp_path / "appsettings.json").write_text('{"Worker": {"Concurency": 1}}')
    done = command(tmp_path, "doctor", "--json")
    assert done.returncode == 78
    [check] = json.loads(done.stdout)["checks"]
    assert (check["name"], check["verdict"]) == ("settings", "failed")
    assert "did you mean" in check["text"]
