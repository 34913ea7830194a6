"""The insignia job from payload to files, in this process and in a child process as the service runs it."""

import contextlib
import errno
import json
import os
import re
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest

import worker.handlers
from config.settings import InsigniaSettings
from tests.support.attempts import Bench, a_claimed_job
from worker.core.clock import Clock
from worker.core.failure import LocalizedError, failure_of, localized_form, localized_of
from worker.core.redact import Redactor
from worker.errors import Cancelled, Discard, InvalidPayload, WorkerError
from worker.handler import call, discover
from worker.insignia import ROW_INDEX, copy_sample, write_sample
from worker.insignia.results.remembered import remember_columns, remembered_columns
from worker.runtime.executor import Executor
from worker.runtime.process_pool import ProcessConfig, ProcessPool

KIND = "insignia_background_processing"
JOB = "0199a1b2-0000-7000-8000-000000000001"
OFFICER = {
    "person_id": "a",
    "employee_group": "civil_servant",
    "level": "K2",
    "service_start": "2015-04-01",
    "salary": 18900,
    "decorations": [{"code": "CT3", "received": "2021-07-28"}],
}


@dataclass
class Context:
    """What the executor gives a handler, and what the handler said."""

    settings: InsigniaSettings
    job_id: str = JOB
    user_id: str = "user-1"
    attempt: int = 1
    stop_at: str = "never"
    reported: list[tuple[float, str]] = field(default_factory=list)

    @property
    def cancelled(self) -> bool:
        return any(note == self.stop_at for _, note in self.reported)

    def progress(self, percent: float, note: str = "") -> None:
        self.reported.append((percent, note))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "rosters").mkdir()
    return tmp_path


def settings(place: Path, **changes: Any) -> InsigniaSettings:
    paths = {"data_directory": str(place / "rosters"), "output_directory": str(place / "results")}
    return InsigniaSettings(**paths | changes)


def run(place: Path, payload: dict[str, Any], **context: Any) -> dict[str, Any]:
    handler = discover([worker.handlers])[KIND]
    given = context.pop("context", None) or Context(settings(place, **context.pop("settings", {})), **context)
    result: dict[str, Any] = call(handler, handler.validate(orjson.dumps(payload)), given)
    return result


def written(place: Path) -> set[str]:
    return {str(path.relative_to(place / "results")) for path in (place / "results").rglob("*") if path.is_file()}


def attempts(place: Path) -> set[str]:
    return {str(Path(path).parent) for path in written(place) if "/attempt-" in path}


def test_job_writes_a_folder_of_results(place: Path) -> None:
    copy_sample(place / "rosters")
    context = Context(settings(place))
    result = run(place, {"round": 2569, "roster": "roster.csv", "history": "history.csv"}, context=context)
    assert result["output"] == f"user/user-1/2569/{JOB}/attempt-1"
    output = place / "results" / result["output"]
    assert {path.name for path in output.iterdir()} == {*result["files"].values(), "summary.json", ROW_INDEX}
    rows = json.loads((output / "results.json").read_text("utf-8"))
    assert len(rows) == result["officers"] == result["nominate"] + result["notEligible"] + result["manualReview"]
    assert sum(result["byClass"].values()) == result["nominate"]
    assert sum(result["byReason"].values()) == result["notEligible"] + result["manualReview"]
    assert result["badRows"] == 2000 - len(rows)
    assert context.reported[0] == (0, "reading")
    assert context.reported[-1] == (100, "done")


@pytest.mark.parametrize(
    "payload",
    [
        {"round": 2569, "officers": [OFFICER]},
        {"round": 2569, "roster": "roster.csv", "history": "history.csv"},
        {"round": 2569, "officers": [OFFICER], "organization": "../.. /bma"},
    ],
)
def test_result_and_summary_name_no_folder_of_the_server(place: Path, payload: dict[str, Any]) -> None:
    copy_sample(place / "rosters")
    for _ in range(2):  # the second one replaces the first
        result = run(place, payload)
        summary = (place / "results" / result["output"] / "summary.json").read_text("utf-8")
        assert json.loads(summary) == result
        assert str(place) not in summary


@pytest.mark.parametrize("bad", [{"salary": "much"}, {"person_id": ""}])
def test_error_of_a_rejected_roster_names_no_folder_of_the_server(place: Path, bad: dict[str, str]) -> None:
    with pytest.raises(Discard) as raised:
        run(place, {"round": 2569, "officers": [OFFICER | bad]})
    assert "bad_rows.csv" in str(raised.value)
    assert str(place) not in f"{raised.value} {vars(raised.value)}"


def test_setting_gives_the_results_folder_as_an_absolute_path(place: Path) -> None:
    result = run(place, {"round": 2569, "officers": [OFFICER]}, settings={"absolute_output": True})
    assert Path(result["output"]) == place / f"results/user/user-1/2569/{JOB}/attempt-1"


def test_job_result_is_json_without_personal_data(place: Path) -> None:
    copy_sample(place / "rosters")
    text = orjson.dumps(run(place, {"round": 2569, "roster": "roster.csv", "history": "history.csv"})).decode()
    assert "0000000025691" not in text
    assert "ศุภชัย" not in text


def test_job_accepts_officers_and_history_in_the_payload(place: Path) -> None:
    person = {name: value for name, value in OFFICER.items() if name != "decorations"}
    history = [{"person_id": "a", "decoration": "ต.ม.", "received": "28/7/2564"}]
    result = run(place, {"round": 2569, "officers": [person], "history": history, "organization": "สำนักอนามัย"})
    assert result["byClass"] == {"WE3": 1}
    assert Path(result["output"]).is_relative_to("organization/สำนักอนามัย/2569")


def test_job_takes_the_sequence_from_payload_settings_or_criteria(place: Path) -> None:
    people = [OFFICER | {"salary": 30000, "decorations": []}]
    assert run(place, {"round": 2569, "officers": people})["byClass"] == {"CT2": 1}
    strict = {"sequence": "strict_next"}
    assert run(place, {"round": 2569, "officers": people} | strict)["byClass"] == {"WE3": 1}
    assert run(place, {"round": 2569, "officers": people}, settings=strict)["byClass"] == {"WE3": 1}


@pytest.mark.parametrize(
    ("payload", "reported"),
    [
        ({}, "round: Field required"),
        ({"round": 2569}, "either roster"),
        ({"round": 2569, "roster": "a", "officers": []}, "not both"),
        ({"round": 2026, "roster": "a"}, "give the Buddhist year, 2569"),
        ({"round": 99, "roster": "a"}, "not a Buddhist year"),
        ({"round": "2569", "roster": "a"}, "round"),
        ({"round": 2569, "roster": "a", "sequence": "x"}, "sequence"),
        ({"round": 2569, "roster": "a", "organisation": "x"}, "organisation"),
        ({"round": 2569, "officers": "all"}, "officers"),
    ],
)
def test_payload_that_does_not_fit_the_model_is_rejected(place: Path, payload: dict[str, Any], reported: str) -> None:
    with pytest.raises(InvalidPayload, match=reported):
        run(place, payload)


@pytest.mark.parametrize(
    "path", ["../secret.csv", "sub/../../secret.csv", "out.csv", "ring.csv", "x" * 300, "none.csv", "sub", ".", "a\0b"]
)
@pytest.mark.parametrize("field", ["roster", "history"])
def test_path_outside_the_data_directory_or_not_a_file_is_rejected(place: Path, path: str, field: str) -> None:
    copy_sample(place / "rosters")
    (place / "secret.csv").write_text("person_id\n1\n")
    (place / "rosters/sub").mkdir()
    (place / "rosters/out.csv").symlink_to(place / "secret.csv")
    (place / "rosters/ring.csv").symlink_to(place / "rosters/ring.csv")
    with pytest.raises(Discard, match="Insignia:DataDirectory") as caught:
        run(place, {"round": 2569, "roster": "roster.csv", "history": "history.csv"} | {field: path})
    assert str(place) not in str(caught.value)


def test_absolute_path_is_rejected_even_inside_the_data_directory(place: Path) -> None:
    copy_sample(place / "rosters")
    with pytest.raises(Discard, match="must be relative"):
        run(place, {"round": 2569, "roster": str(place / "rosters/roster.csv")})


def test_link_inside_the_data_directory_is_followed(place: Path) -> None:
    copy_sample(place / "rosters")
    (place / "rosters/current.csv").symlink_to("roster.csv")
    assert run(place, {"round": 2569, "roster": "current.csv", "history": "history.csv"})["officers"] > 1900


@pytest.mark.parametrize(
    ("content", "reported"), [(b"PK\x03\x04", "save it as XLSX"), (b"", "is empty"), (b"a,b\n1,2\n", "no known column")]
)
def test_job_with_an_invalid_roster_is_discarded(place: Path, content: bytes, reported: str) -> None:
    (place / "rosters/bad.csv").write_bytes(content)
    with pytest.raises(Discard, match=reported):
        run(place, {"round": 2569, "roster": "bad.csv"})
    assert not (place / "results").exists()


def test_job_with_an_invalid_criteria_file_is_discarded(place: Path) -> None:
    (place / "own.json").write_text("{}")
    with pytest.raises(Discard, match=r"own\.json: "):
        run(place, {"round": 2569, "officers": [OFFICER]}, settings={"criteria_path": str(place / "own.json")})


def test_job_with_a_rejected_roster_writes_its_bad_rows(place: Path) -> None:
    people = [OFFICER, *(OFFICER | {"person_id": f"b{number}", "level": "สมชาย"} for number in range(2))]
    with pytest.raises(Discard) as caught:
        run(place, {"round": 2569, "officers": people})
    where = f"user/user-1/2569/{JOB}/attempt-1/bad_rows.csv"
    assert f"All of them: {where}" in str(caught.value)
    assert "สมชาย" not in str(caught.value)
    assert written(place) == {where, f"user/user-1/2569/{JOB}/.owner.json"}
    assert "สมชาย" in (place / "results" / where).read_text("utf-8-sig")


def test_bad_row_limit_is_a_setting(place: Path) -> None:
    people = [OFFICER, OFFICER | {"person_id": "b", "level": "x"}]
    assert run(place, {"round": 2569, "officers": people}, settings={"bad_row_limit": 50})["badRows"] == 1


def test_job_replaces_the_results_of_the_round_and_keeps_the_older_ones_for_a_time(place: Path) -> None:
    older = JOB.replace("b2", "b1")
    assert "replaces" not in run(place, {"round": 2569, "officers": [OFFICER]}, job_id=older)
    run(place, {"round": 2568, "officers": [OFFICER]}, job_id=older)
    result = run(place, {"round": 2569, "officers": [OFFICER]}, attempt=2)
    assert result["replaces"] == [older]
    others = {f"user/user-1/2569/{JOB}/attempt-2", f"user/user-1/2568/{older}/attempt-1"}
    replaced = f"user/user-1/2569/{older}/attempt-1"
    # The service may die before this attempt is settled: the older result is still the one that counts.
    assert attempts(place) == others | {replaced}
    settled = discover([worker.handlers])[KIND].settled
    assert settled is not None
    told = settled(orjson.dumps(result), settings(place))
    assert told is not None
    assert told.startswith(f"the older results of user/user-1, round 2569, which job {JOB} replaces, are kept until 20")
    assert told.endswith(older)
    assert attempts(place) == others | {replaced}
    assert settled(orjson.dumps(result), settings(place)) is None
    assert settled(orjson.dumps({"output": str(place / "gone")}), settings(place)) is None


def test_job_deletes_the_older_results_if_none_are_kept(place: Path) -> None:
    older = JOB.replace("b2", "b1")
    run(place, {"round": 2569, "officers": [OFFICER]}, job_id=older)
    result = run(place, {"round": 2569, "officers": [OFFICER]})
    settled = discover([worker.handlers])[KIND].settled
    assert settled is not None
    assert settled(orjson.dumps(result), settings(place, keep_replaced=0)) == (
        f"the older results of user/user-1, round 2569, which job {JOB} replaces, were deleted: {older}"
    )
    assert attempts(place) == {f"user/user-1/2569/{JOB}/attempt-1"}


def test_job_of_another_user_of_the_organization_replaces_nothing(place: Path) -> None:
    older = JOB.replace("b2", "b1")
    run(place, {"round": 2569, "officers": [OFFICER], "organization": "bma"}, job_id=older)
    result = run(place, {"round": 2569, "officers": [OFFICER], "organization": "bma"}, user_id="user-2")
    assert "replaces" not in result
    settled = discover([worker.handlers])[KIND].settled
    assert settled is not None
    assert settled(orjson.dumps(result), settings(place, keep_replaced=0)) is None
    assert len(attempts(place)) == 2


STRANGE = "รหัสคน13หลัก"
SHEET = f"{STRANGE},ประเภทบุคลากร,ระดับ,วันเกิด,วันบรรจุ,วันเข้าสู่ระดับ,เงินเดือน,เครื่องราชอิสริยาภรณ์,ห้องทำงาน\n"
LINE = "0000000184071,ข้าราชการ,K2,27/4/2533,12/9/2557,12/9/2562,21990,,12ก\n"


def test_unknown_heading_is_named_and_its_mapping_is_remembered_for_the_organization(place: Path) -> None:
    (place / "rosters/r.csv").write_text(SHEET + LINE, "utf-8")
    payload = {"round": 2569, "roster": "r.csv", "organization": "bma"}
    with pytest.raises(Discard) as caught:
        run(place, payload)
    assert caught.value.details is not None
    assert {STRANGE, "ห้องทำงาน"} <= set(caught.value.details["headings"])
    assert "person_id" in caught.value.details["missing"]
    mapped = run(place, payload | {"columns": {STRANGE: "person_id"}})
    assert (mapped["officers"], mapped["unknownColumns"]) == (1, ["ห้องทำงาน"])
    again = run(place, payload, user_id="user-2")
    assert again["officers"] == 1
    assert any(STRANGE in remark and "person_id" in remark for remark in again["remarks"])
    assert any("การจับคู่ครั้งก่อน" in remark for remark in again["remarksTh"])
    with pytest.raises(Discard):
        run(place, payload | {"organization": "another"})


def test_remembered_mapping_never_overrides_a_known_heading_or_a_damaged_file(place: Path) -> None:
    owner = place / "results/organization/bma"
    owner.mkdir(parents=True)
    remember_columns(owner, {"ระดับ": "salary", STRANGE: "person_id"})
    (place / "rosters/r.csv").write_text(SHEET + LINE, "utf-8")
    payload = {"round": 2569, "roster": "r.csv", "organization": "bma"}
    output = place / "results" / run(place, payload)["output"]
    assert json.loads((output / "results.json").read_text("utf-8"))[0]["class"]["decision"] == "nominate"
    (owner / ".columns.json").write_text("[1", "utf-8")
    assert remembered_columns(owner) == {}


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        ({"roster": "/etc/passwd"}, "path_not_relative"),
        ({"roster": "../x"}, "path_outside"),
        ({"roster": "none.csv"}, "path_missing"),
        ({"officers": []}, "empty_list"),
        ({"officers": [{"person_id": "", "decorations": []}]}, "too_bad"),
        ({"officers": [OFFICER], "columns": {"a": "no_field"}}, "bad_mapping"),
    ],
)
def test_failure_of_a_job_has_a_code_and_thai_words(place: Path, payload: dict[str, Any], code: str) -> None:
    with pytest.raises(Discard) as caught:
        run(place, {"round": 2569, **payload})
    assert caught.value.code == code
    assert any("\u0e00" <= char <= "\u0e7f" for char in caught.value.text_th)
    failure = failure_of(caught.value, Redactor.of([]))
    assert localized_of(localized_form(failure)) == LocalizedError(code, caught.value.text_th)


def test_failed_job_keeps_the_previous_results(place: Path) -> None:
    run(place, {"round": 2569, "officers": [OFFICER]}, job_id=JOB.replace("b2", "b1"))
    before = written(place)
    with pytest.raises(Discard):
        run(place, {"round": 2569, "officers": [{"person_id": "a"}]})
    assert written(place) == before


def test_job_for_a_confirmed_round_is_rejected_before_reading(place: Path) -> None:
    run(place, {"round": 2569, "officers": [OFFICER]}, job_id=JOB.replace("b2", "b1"))
    (place / "results/user/user-1/2569/CONFIRMED").touch()
    before = written(place)
    context = Context(settings(place))
    with pytest.raises(Discard, match="is confirmed"):
        run(place, {"round": 2569, "roster": "not even there.csv"}, context=context)
    assert written(place) == before
    assert context.reported == []


def test_job_for_a_round_confirmed_while_it_runs_writes_nothing(place: Path) -> None:
    round_folder = place / "results/user/user-1/2569"
    round_folder.mkdir(parents=True)

    @dataclass
    class Confirming(Context):
        def progress(self, percent: float, note: str = "") -> None:
            (round_folder / "CONFIRMED").touch()

    with pytest.raises(Discard, match="is confirmed"):
        run(place, {"round": 2569, "officers": [OFFICER]}, context=Confirming(settings(place)))
    assert written(place) == {"user/user-1/2569/CONFIRMED"}


@pytest.mark.parametrize("note", ["reading", "deciding", "writing"])
def test_cancelled_job_leaves_nothing(place: Path, note: str) -> None:
    write_sample(place / "rosters/r.csv", count=3000)
    with pytest.raises(Cancelled):
        run(place, {"round": 2569, "roster": "r.csv"}, stop_at=note)
    assert not (place / "results").exists() or written(place) == set()


def test_unwritable_disk_is_retried(place: Path) -> None:
    (place / "results").write_text("in the way")
    with pytest.raises(WorkerError, match=r"cannot be written.*correct the rights of the folder") as caught:
        run(place, {"round": 2569, "officers": [OFFICER]})
    assert not isinstance(caught.value, Discard)


@pytest.mark.parametrize("absolute", [False, True])
def test_full_disk_is_named_with_its_free_bytes_and_the_remedy(
    place: Path, monkeypatch: pytest.MonkeyPatch, absolute: bool
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WorkerError) as caught:
        run(place, {"round": 2569, "officers": [OFFICER]}, settings={"absolute_output": absolute})
    text = str(caught.value)
    folder = f"Insignia:OutputDirectory ({place / 'results'})" if absolute else "Insignia:OutputDirectory"
    assert f"attempt-1 cannot be written: No space left on device in user/user-1/2569/{JOB}, below {folder}" in text
    assert f"the disk of {folder} is full: free some space, then retry the job" in text
    assert re.search(r"; [0-9,]+ bytes are free there now$", text)
    assert absolute or str(place) not in text
    assert "เต็ม (เหลือ " in caught.value.text_th
    assert not isinstance(caught.value, Discard)


def test_index_of_rows_on_a_full_disk_is_named_as_one(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connect = sqlite3.connect

    def small(path: Path, *, isolation_level: None) -> sqlite3.Connection:
        connection = connect(path, isolation_level=isolation_level)
        connection.execute("PRAGMA max_page_count = 3")  # what SQLite then reports is what it reports of a full disk
        return connection

    monkeypatch.setattr(sqlite3, "connect", small)
    officers = [OFFICER | {"person_id": str(number)} for number in range(50)]
    with pytest.raises(WorkerError, match=r"the disk of Insignia:OutputDirectory is full: free some space, then retry"):
        run(place, {"round": 2569, "officers": officers})


@contextlib.asynccontextmanager
async def in_a_child(place: Path) -> AsyncIterator[Bench]:
    """The executor with a real child process, as the service has it."""
    sections = {"Insignia": settings(place).model_dump(mode="json")}
    pool = ProcessPool(1, ProcessConfig(["worker.handlers"], sections, []))
    events: list[object] = []
    progress: list[tuple[str, float, str]] = []
    executor = Executor(
        registry=discover([worker.handlers]),
        pool=pool,
        clock=Clock(),
        redact=Redactor.of([]),
        emit=events.append,
        timeout=240.0,
        grace=30.0,
        on_progress=lambda job, percent, note: progress.append((job.id, percent, note)),
    )
    try:
        yield Bench(executor, pool, events, progress)
    finally:
        executor.stop_all()
        await pool.close()


async def test_child_process_reports_progress_and_returns_the_summary(place: Path) -> None:
    write_sample(place / "rosters/r.csv", count=2000)
    async with in_a_child(place) as bench:
        attempt = await bench.start(a_claimed_job(KIND, {"round": 2569, "roster": "r.csv"}, user_id="สมหญิง"))
    assert attempt is not None
    assert attempt.failure is None
    assert attempt.result is not None
    summary = orjson.loads(attempt.result)
    assert summary["officers"] == len(
        json.loads((place / "results" / summary["output"] / "results.json").read_text("utf-8"))
    )
    assert summary["output"].startswith("user/สมหญิง/2569/")
    assert bench.progress[-1][1:] == (100.0, "done")


async def test_child_process_discards_an_invalid_roster(place: Path) -> None:
    (place / "rosters/r.csv").write_bytes(b"PK\x03\x04")
    async with in_a_child(place) as bench:
        attempt = await bench.start(a_claimed_job(KIND, {"round": 2569, "roster": "r.csv"}))
    assert attempt is not None
    assert attempt.failure is not None
    assert (attempt.failure.type, attempt.failure.retryable) == ("Discard", False)
    assert attempt.failure.message.startswith("r.csv is a damaged workbook")
