"""The main job as people meet it: the demo, the rules from the command line, a roster through the service."""

import asyncio
import csv
import io
import itertools
import json
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.support.eventually import eventually
from tests.support.process import clean_environment, command, free_port, running_worker
from tests.support.socketio_server import socketio_server

CASES = json.loads((Path(__file__).parents[1] / "data" / "cases.json").read_text(encoding="utf-8"))["cases"]


@pytest.mark.timeout(300)
def test_the_demo_ends_by_itself_and_prints_every_notification_as_a_browser_gets_it(tmp_path: Path) -> None:
    done = command(tmp_path, "demo", "--once")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [sorted(line) for line in lines] == [["event", "message", "user"]] * 3
    assert sorted(line["message"]["message"] for line in lines) == ["Task Failed", "Task Finish", "Task Finish"]
    assert [line["message"]["payload"]["sequence"] for line in lines] == [1, 2, 3]
    assert {line["event"] for line in lines} == {"socket-notification"}
    again = command(tmp_path, "demo", "--once")
    assert again.returncode == 0, again.stderr


@pytest.mark.timeout(120)
def test_the_demo_says_where_its_dashboard_is_and_lets_its_user_in(tmp_path: Path) -> None:
    running = subprocess.Popen(
        [sys.executable, "-m", "worker", "demo"],
        cwd=tmp_path,
        env=clean_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    with running:
        try:
            assert running.stderr is not None
            [line] = itertools.islice((line for line in running.stderr if "the dashboard is at" in line), 1)
            url = line.split()[-1]
            with urllib.request.urlopen(url, timeout=10) as page:
                assert b"<title>" in page.read()
            with urllib.request.urlopen(f"{url}api/v1/session", timeout=10) as answer:
                assert json.load(answer)["userId"] == "hr-officer-1"
        finally:
            running.kill()


@pytest.mark.parametrize("round_be", sorted({case["round_year_be"] for case in CASES}))
def test_evaluate_decides_all_worked_cases_as_expected(tmp_path: Path, round_be: int) -> None:
    cases = [case for case in CASES if case["round_year_be"] == round_be]
    officers = [{"person_id": case["id"], **case["officer"]} for case in cases]
    (tmp_path / "roster.json").write_text(json.dumps(officers, ensure_ascii=False), encoding="utf-8")
    done = command(tmp_path, "evaluate", "roster.json", "--round", str(round_be))
    assert done.returncode == 0, done.stderr
    rows = {row["person_id"]: row for row in json.loads(done.stdout)}
    for case in cases:
        for part in ("class", "medal"):
            found = {key: value for key, value in rows[case["id"]][part].items() if key != "confidence"}
            assert found == case["expected"][part], (case["id"], part)


def test_evaluate_writes_a_csv_that_excel_opens_with_its_thai_intact(tmp_path: Path) -> None:
    officers = [{"person_id": case["id"], **case["officer"]} for case in CASES]
    (tmp_path / "roster.json").write_text(json.dumps(officers, ensure_ascii=False), encoding="utf-8")
    done = command(tmp_path, "evaluate", "roster.json", "--round", "2568", "-o", "out.csv")
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    raw = (tmp_path / "out.csv").read_bytes()
    assert raw.startswith(b"\xef\xbb\xbf")
    rows = list(csv.DictReader(io.StringIO(raw.decode("utf-8-sig"))))
    assert len(rows) == len(CASES)
    assert "บ.ม." in {row["class.abbr_th"] for row in rows}


async def _result(worker: Any, payload: dict[str, Any], user: str) -> dict[str, Any]:
    job = {"taskType": "insignia_background_processing", "userId": user, "payload": payload}
    accepted = await asyncio.to_thread(worker.client.ask, "POST", "/api/v1/jobs", job)
    target = f"/api/v1/jobs/{accepted['jobId']}?wait=60"
    answer: dict[str, Any] = await asyncio.to_thread(worker.client.ask, "GET", target)
    return answer


async def test_a_roster_goes_through_the_service_and_running_the_round_again_replaces_its_result(
    tmp_path: Path,
) -> None:
    rosters = tmp_path / "state" / "rosters"
    rosters.mkdir(parents=True)
    sample = Path(__file__).parents[2] / "worker" / "insignia" / "sample_data"
    shutil.copy(sample / "roster.csv", rosters)
    shutil.copy(sample / "history.csv", rosters)
    payload = {"round": 2569, "roster": "roster.csv", "history": "history.csv", "organization": "สำนักงาน ก.พ."}
    async with socketio_server() as server:
        settings = [
            f"--Http:Url=http://127.0.0.1:{free_port()}",
            f"--WebSocket:Url={server.url}",
            "--WebSocket:IncludeResult=true",
        ]
        async with running_worker(tmp_path, *settings) as worker:
            first = await _result(worker, payload, "ผู้ใช้")
            second = await _result(worker, payload, "ผู้ใช้")
            await eventually(lambda: not Path(first["result"]["output"]).exists())
            refused = await _result(worker, {**payload, "roster": "../../appsettings.json"}, "ผู้ใช้")
            async with asyncio.timeout(20):
                while len(server.received) < 3:
                    await asyncio.sleep(0.02)
    assert first["status"] == second["status"] == "succeeded"
    counts = ("officers", "nominate", "notEligible", "manualReview", "badRows", "byClass", "byReason")
    assert [first["result"][name] for name in counts] == [second["result"][name] for name in counts]
    assert first["result"]["officers"] + first["result"]["badRows"] == 2000
    output = Path(second["result"]["output"])
    assert output.is_relative_to(tmp_path / "state" / "results" / "สำนักงาน ก.พ.")
    assert len(json.loads((output / "results.json").read_text(encoding="utf-8"))) == second["result"]["officers"]
    assert refused["status"] == "failed"
    assert refused["attempt"] == 1
    told = [message["payload"] for message, _ in server.received]
    assert told[1]["result"]["nominate"] == second["result"]["nominate"]
    assert str(tmp_path) not in told[2]["error"] + told[2].get("stackTrace", "")
