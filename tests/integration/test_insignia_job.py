"""The job from payload to files: in this process, where every step is seen, and in a child as the service runs it."""

import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest

import worker.handlers
from config.settings import InsigniaSettings
from tests.support.attempts import Bench, a_job
from worker.children import ChildPool, ChildSetup
from worker.clock import Clock
from worker.errors import Cancelled, Discard, InvalidPayload, WorkerError
from worker.executor import Executor
from worker.handler import call, discover
from worker.insignia import REGISTER, copy_sample, write_sample
from worker.redact import Redactor

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
    told: list[tuple[float, str]] = field(default_factory=list)

    @property
    def cancelled(self) -> bool:
        return any(note == self.stop_at for _, note in self.told)

    def progress(self, percent: float, note: str = "") -> None:
        self.told.append((percent, note))


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


def test_a_roster_becomes_a_folder_of_results(place: Path) -> None:
    copy_sample(place / "rosters")
    context = Context(settings(place))
    result = run(place, {"round": 2569, "roster": "roster.csv", "history": "history.csv"}, context=context)
    output = Path(result["output"])
    assert output == place / "results/user-1/2569" / JOB / "attempt-1"
    assert {path.name for path in output.iterdir()} == {*result["files"].values(), "summary.json", REGISTER}
    rows = json.loads((output / "results.json").read_text("utf-8"))
    assert len(rows) == result["officers"] == result["nominate"] + result["notEligible"] + result["manualReview"]
    assert sum(result["byClass"].values()) == result["nominate"]
    assert sum(result["byReason"].values()) == result["notEligible"] + result["manualReview"]
    assert result["badRows"] == 2000 - len(rows)
    assert context.told[0] == (0, "reading")
    assert context.told[-1] == (100, "done")


def test_the_result_is_json_and_holds_nobody(place: Path) -> None:
    copy_sample(place / "rosters")
    text = orjson.dumps(run(place, {"round": 2569, "roster": "roster.csv", "history": "history.csv"})).decode()
    assert "0000000025691" not in text
    assert "ศุภชัย" not in text


def test_officers_and_history_may_come_in_the_payload(place: Path) -> None:
    person = {name: value for name, value in OFFICER.items() if name != "decorations"}
    history = [{"person_id": "a", "decoration": "ต.ม.", "received": "28/7/2564"}]
    result = run(place, {"round": 2569, "officers": [person], "history": history, "organization": "สำนักอนามัย"})
    assert result["byClass"] == {"WE3": 1}
    assert Path(result["output"]).is_relative_to(place / "results/สำนักอนามัย/2569")


def test_the_sequence_comes_from_the_payload_the_settings_or_the_criteria(place: Path) -> None:
    people = [OFFICER | {"salary": 30000, "decorations": []}]
    assert run(place, {"round": 2569, "officers": people})["byClass"] == {"CT2": 1}
    strict = {"sequence": "strict_next"}
    assert run(place, {"round": 2569, "officers": people} | strict)["byClass"] == {"WE3": 1}
    assert run(place, {"round": 2569, "officers": people}, settings=strict)["byClass"] == {"WE3": 1}


@pytest.mark.parametrize(
    ("payload", "told"),
    [
        ({}, "round: Field required"),
        ({"round": 2569}, "either roster"),
        ({"round": 2569, "roster": "a", "officers": []}, "not both"),
        ({"round": 2026, "roster": "a"}, "give the Buddhist year, 2569"),
        ({"round": 99, "roster": "a"}, "no Buddhist year"),
        ({"round": "2569", "roster": "a"}, "round"),
        ({"round": 2569, "roster": "a", "sequence": "x"}, "sequence"),
        ({"round": 2569, "roster": "a", "organisation": "x"}, "organisation"),
        ({"round": 2569, "officers": "all"}, "officers"),
    ],
)
def test_a_payload_that_does_not_fit_is_refused(place: Path, payload: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidPayload, match=told):
        run(place, payload)


@pytest.mark.parametrize(
    "path", ["../secret.csv", "sub/../../secret.csv", "out.csv", "ring.csv", "x" * 300, "none.csv", "sub", ".", "a\0b"]
)
@pytest.mark.parametrize("field", ["roster", "history"])
def test_a_path_that_leaves_the_data_directory_or_is_no_file_is_refused(place: Path, path: str, field: str) -> None:
    copy_sample(place / "rosters")
    (place / "secret.csv").write_text("person_id\n1\n")
    (place / "rosters/sub").mkdir()
    (place / "rosters/out.csv").symlink_to(place / "secret.csv")
    (place / "rosters/ring.csv").symlink_to(place / "rosters/ring.csv")
    with pytest.raises(Discard, match="Insignia:DataDirectory") as caught:
        run(place, {"round": 2569, "roster": "roster.csv", "history": "history.csv"} | {field: path})
    assert str(place) not in str(caught.value)


def test_an_absolute_path_is_refused_even_inside(place: Path) -> None:
    copy_sample(place / "rosters")
    with pytest.raises(Discard, match="must be relative"):
        run(place, {"round": 2569, "roster": str(place / "rosters/roster.csv")})


def test_a_link_that_stays_inside_is_followed(place: Path) -> None:
    copy_sample(place / "rosters")
    (place / "rosters/current.csv").symlink_to("roster.csv")
    assert run(place, {"round": 2569, "roster": "current.csv", "history": "history.csv"})["officers"] > 1900


@pytest.mark.parametrize(
    ("content", "told"), [(b"PK\x03\x04", "save it as CSV"), (b"", "is empty"), (b"a,b\n1,2\n", "no known column")]
)
def test_a_roster_that_is_none_can_never_succeed(place: Path, content: bytes, told: str) -> None:
    (place / "rosters/bad.csv").write_bytes(content)
    with pytest.raises(Discard, match=told):
        run(place, {"round": 2569, "roster": "bad.csv"})
    assert not (place / "results").exists()


def test_a_broken_criteria_file_can_never_succeed(place: Path) -> None:
    (place / "own.json").write_text("{}")
    with pytest.raises(Discard, match=r"own\.json: "):
        run(place, {"round": 2569, "officers": [OFFICER]}, settings={"criteria_path": str(place / "own.json")})


def test_a_rejected_roster_leaves_its_bad_rows_and_tells_where(place: Path) -> None:
    people = [OFFICER, OFFICER | {"person_id": "b", "level": "สมชาย"}]
    with pytest.raises(Discard) as caught:
        run(place, {"round": 2569, "officers": people})
    where = f"user-1/2569/{JOB}/attempt-1/bad_rows.csv"
    assert f"All of them: {where}" in str(caught.value)
    assert "สมชาย" not in str(caught.value)
    assert written(place) == {where}
    assert "สมชาย" in (place / "results" / where).read_text("utf-8-sig")


def test_the_limit_of_bad_rows_is_a_setting(place: Path) -> None:
    people = [OFFICER, OFFICER | {"person_id": "b", "level": "x"}]
    assert run(place, {"round": 2569, "officers": people}, settings={"bad_row_limit": 50})["badRows"] == 1


def test_running_a_round_again_replaces_its_results(place: Path) -> None:
    older = JOB.replace("b2", "b1")
    run(place, {"round": 2569, "officers": [OFFICER]}, job_id=older)
    run(place, {"round": 2568, "officers": [OFFICER]}, job_id=older)
    result = run(place, {"round": 2569, "officers": [OFFICER]}, attempt=2)
    others = {f"user-1/2569/{JOB}/attempt-2", f"user-1/2568/{older}/attempt-1"}
    # The service may die before this attempt is settled: the older result is still the one that counts.
    assert {str(Path(path).parent) for path in written(place)} == others | {f"user-1/2569/{older}/attempt-1"}
    settled = discover([worker.handlers])[KIND].settled
    assert settled is not None
    settled(orjson.dumps(result), settings(place))
    assert {str(Path(path).parent) for path in written(place)} == others
    settled(orjson.dumps({"output": str(place / "gone")}), settings(place))
    assert {str(Path(path).parent) for path in written(place)} == others


def test_a_failing_job_leaves_the_results_of_the_one_before(place: Path) -> None:
    run(place, {"round": 2569, "officers": [OFFICER]}, job_id=JOB.replace("b2", "b1"))
    before = written(place)
    with pytest.raises(Discard):
        run(place, {"round": 2569, "officers": [{"person_id": "a"}]})
    assert written(place) == before


def test_a_confirmed_round_is_refused_before_anything_is_read(place: Path) -> None:
    run(place, {"round": 2569, "officers": [OFFICER]}, job_id=JOB.replace("b2", "b1"))
    (place / "results/user-1/2569/CONFIRMED").touch()
    before = written(place)
    context = Context(settings(place))
    with pytest.raises(Discard, match="is confirmed"):
        run(place, {"round": 2569, "roster": "not even there.csv"}, context=context)
    assert written(place) == before
    assert context.told == []


def test_a_round_confirmed_meanwhile_is_left_alone(place: Path) -> None:
    round_folder = place / "results/user-1/2569"
    round_folder.mkdir(parents=True)

    @dataclass
    class Confirming(Context):
        def progress(self, percent: float, note: str = "") -> None:
            (round_folder / "CONFIRMED").touch()

    with pytest.raises(Discard, match="is confirmed"):
        run(place, {"round": 2569, "officers": [OFFICER]}, context=Confirming(settings(place)))
    assert written(place) == {"user-1/2569/CONFIRMED"}


@pytest.mark.parametrize("note", ["reading", "deciding", "writing"])
def test_a_cancelled_job_leaves_nothing(place: Path, note: str) -> None:
    write_sample(place / "rosters/r.csv", count=3000)
    with pytest.raises(Cancelled):
        run(place, {"round": 2569, "roster": "r.csv"}, stop_at=note)
    assert not (place / "results").exists() or written(place) == set()


def test_a_disk_that_cannot_be_written_is_no_fault_of_the_payload(place: Path) -> None:
    (place / "results").write_text("in the way")
    with pytest.raises(WorkerError, match="cannot be written") as caught:
        run(place, {"round": 2569, "officers": [OFFICER]})
    assert not isinstance(caught.value, Discard)


@contextlib.asynccontextmanager
async def in_a_child(place: Path) -> AsyncIterator[Bench]:
    """The executor with a real child process, as the service has it."""
    sections = {"Insignia": settings(place).model_dump(mode="json")}
    pool = ChildPool(1, ChildSetup(["worker.handlers"], sections, []))
    events: list[object] = []
    progress: list[tuple[str, float, str]] = []
    executor = Executor(
        registry=discover([worker.handlers]),
        children=pool,
        clock=Clock(),
        redact=Redactor.of([]),
        emit=events.append,
        timeout=60.0,
        grace=1.0,
        on_progress=lambda job, percent, note: progress.append((job.id, percent, note)),
    )
    try:
        yield Bench(executor, pool, events, progress)
    finally:
        executor.stop_all()
        await pool.close()


async def test_a_child_process_evaluates_tells_how_far_it_is_and_returns_the_summary(place: Path) -> None:
    write_sample(place / "rosters/r.csv", count=2000)
    async with in_a_child(place) as bench:
        attempt = await bench.start(a_job(KIND, {"round": 2569, "roster": "r.csv"}, user_id="สมหญิง"))
    assert attempt is not None
    assert attempt.failure is None
    assert attempt.result is not None
    summary = orjson.loads(attempt.result)
    assert summary["officers"] == len(json.loads(Path(summary["output"], "results.json").read_text("utf-8")))
    assert summary["output"].startswith(str(place / "results/สมหญิง/2569"))
    assert bench.progress[-1][1:] == (100.0, "done")


async def test_a_childs_refusal_is_final_and_plain(place: Path) -> None:
    (place / "rosters/r.csv").write_bytes(b"PK\x03\x04")
    async with in_a_child(place) as bench:
        attempt = await bench.start(a_job(KIND, {"round": 2569, "roster": "r.csv"}))
    assert attempt is not None
    assert attempt.failure is not None
    assert (attempt.failure.type, attempt.failure.retryable) == ("Discard", False)
    assert attempt.failure.message.startswith("r.csv is a workbook")
