"""The insignia job from outside: the demo, `evaluate`, and a roster through the service."""

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
from tests.support.ports import free_port
from tests.support.process import clean_environment, command, running_worker
from tests.support.socketio_server import socketio_server
from tests.support.worked_cases import CASES


@pytest.mark.timeout(600)
def test_demo_once_prints_every_notification_as_a_browser_gets_it(tmp_path: Path) -> None:
    done = command(tmp_path, "demo", "--once")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [sorted(line) for line in lines] == [["event", "message", "user"]] * 3
    assert sorted(line["message"]["message"] for line in lines) == ["Task Failed", "Task Finish", "Task Finish"]
    assert [line["message"]["payload"]["sequence"] for line in lines] == [1, 2, 3]
    assert {line["event"] for line in lines} == {"socket-notification"}
    [suggested] = (line for line in done.stderr.splitlines() if line.endswith(" jobs list"))
    listed = subprocess.run(
        suggested, shell=True, cwd=tmp_path, env=clean_environment(), capture_output=True, text=True
    )
    assert len(listed.stdout.splitlines()) == 3, listed.stderr
    again = command(tmp_path, "demo", "--once")
    assert again.returncode == 0, again.stderr


@pytest.mark.timeout(900)
def test_demo_prints_the_address_of_a_dashboard_without_login(tmp_path: Path) -> None:
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
            with urllib.request.urlopen(url, timeout=120) as page:
                assert b"<title>" in page.read()
            with urllib.request.urlopen(f"{url}api/v1/session", timeout=120) as answer:
                assert json.load(answer)["defaultUserId"] == "hr-officer-1"
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


def test_evaluate_csv_has_a_byte_order_mark_and_thai_text(tmp_path: Path) -> None:
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


def test_evaluate_explains_one_officer_in_thai_and_english(tmp_path: Path) -> None:
    officers = [{"person_id": case["id"], **case["officer"]} for case in CASES]
    (tmp_path / "roster.json").write_text(json.dumps(officers, ensure_ascii=False), encoding="utf-8")
    done = command(tmp_path, "evaluate", "roster.json", "--round", "2568", "--explain", CASES[0]["id"])
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == CASES[0]["id"]
    assert any(line.startswith("ชั้นตรา: ") for line in lines)
    assert any(line.startswith("class: ") for line in lines)
    missing = command(tmp_path, "evaluate", "roster.json", "--round", "2568", "--explain", "Z99")
    assert missing.returncode == 65
    assert "not in the roster" in missing.stderr


async def _result(worker: Any, payload: dict[str, Any], user: str) -> dict[str, Any]:
    job = {"taskType": "insignia_background_processing", "userId": user, "payload": payload}
    accepted = await asyncio.to_thread(worker.client.request, "POST", "/api/v1/jobs", job)
    target = f"/api/v1/jobs/{accepted['jobId']}?wait=60"
    answer: dict[str, Any] = await asyncio.to_thread(worker.client.request, "GET", target)
    return answer


@pytest.mark.both_stores
async def test_second_run_of_a_round_replaces_the_result_of_the_first(
    tmp_path: Path,
) -> None:
    rosters = tmp_path / "state" / "rosters"
    rosters.mkdir(parents=True)
    sample = Path(__file__).parents[2] / "worker" / "insignia" / "sample" / "sample_data"
    shutil.copy(sample / "roster.csv", rosters)
    shutil.copy(sample / "history.csv", rosters)
    payload = {"round": 2569, "roster": "roster.csv", "history": "history.csv", "organization": "สำนักงาน ก.พ."}
    results = tmp_path / "state" / "results"
    async with socketio_server() as server:
        settings = [
            f"--Http:Url=http://127.0.0.1:{free_port()}",
            f"--WebSocket:Url={server.url}",
            "--WebSocket:IncludeResult=true",
        ]
        async with running_worker(tmp_path, *settings) as worker:
            first = await _result(worker, payload, "ผู้ใช้")
            second = await _result(worker, payload, "ผู้ใช้")
            await eventually(lambda: ((results / first["result"]["output"]).parent / ".replaced.json").exists())
            refused = await _result(worker, {**payload, "roster": "../../appsettings.json"}, "ผู้ใช้")
            await eventually(lambda: len(server.payloads) == 3)
    assert first["status"] == second["status"] == "succeeded"
    counts = ("officers", "nominate", "notEligible", "manualReview", "badRows", "byClass", "byReason")
    assert second["result"]["replaces"] == [first["jobId"]]
    assert [first["result"][name] for name in counts] == [second["result"][name] for name in counts]
    assert first["result"]["officers"] + first["result"]["badRows"] == 2000
    output = second["result"]["output"]
    assert Path(output).is_relative_to(Path("organization", "สำนักงาน ก.พ."))
    assert (
        len(json.loads((results / output / "results.json").read_text(encoding="utf-8"))) == second["result"]["officers"]
    )
    assert refused["status"] == "failed"
    assert refused["attempt"] == 1
    reported = server.payloads
    assert reported[1]["result"]["nominate"] == second["result"]["nominate"]
    assert str(tmp_path) not in reported[2]["error"] + reported[2].get("stackTrace", "")
