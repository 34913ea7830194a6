"""The files of a job over HTTP: those of the settled attempt and no others, its rows, the labels of their codes."""

import io
import json
import os
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import orjson
import pytest

import worker.handlers
from config.settings import InsigniaSettings
from tests.support.contexts import StandIn
from tests.support.route_server import RouteServer, serve_routes
from tests.support.sqlite_store import a_store
from tests.support.stores import settlement
from worker.api.routes.files import JobFileRoutes, attachment
from worker.api.routes.insignia import ExistingResultRoutes, LabelRoutes, RowRoutes
from worker.core.clock import Clock
from worker.core.failure import failure_of
from worker.core.notification import NotificationFormat
from worker.core.outcome import Attempt, Failed, Succeeded
from worker.core.redact import Redactor
from worker.errors import Discard
from worker.handler import call, discover
from worker.handlers.insignia.results import InsigniaResults
from worker.insignia import owner_folder, write_sample
from worker.runtime.job_files import JobFiles
from worker.runtime.job_request import parse_request
from worker.runtime.operations import JobService
from worker.runtime.uploads import Uploads
from worker.stores.sqlite.store import SqliteStore

KIND = "insignia_background_processing"
KEEP_SECONDS = 3600.0


@dataclass
class House:
    door: RouteServer
    store: SqliteStore
    control: JobService
    uploads: Uploads
    place: Path

    async def run(self, payload: dict[str, Any], user: str = "user-1") -> tuple[str, dict[str, Any]]:
        """A job from intake to its settled end: its id and summary."""
        accepted = await self.control.submit(parse_request({"taskType": KIND, "userId": user, "payload": payload}))
        return accepted.job_id, await self.attempt()

    async def attempt(self) -> dict[str, Any]:
        claimed = await self.store.claim(1)
        [job] = claimed.jobs
        handler = self.control.registry[KIND]
        context = StandIn(self.control.sections["Insignia"], job.id, job.user_id, job.attempt)
        started = time.time()
        try:
            result = call(handler, handler.validate(job.payload), context)
        except Discard as exc:
            failure = failure_of(exc, Redactor.of([]))
            attempt = Attempt(job, started, time.time(), 1.0, failure=failure)
            await self.store.settle([settlement(attempt, Failed(failure))])
            return {}
        attempt = Attempt(job, started, time.time(), 1.0, result=orjson.dumps(result))
        await self.store.settle([settlement(attempt, Succeeded(attempt.result))])
        assert handler.settled is not None
        handler.settled(attempt.result, context.settings)
        summary: dict[str, Any] = result
        return summary

    async def get(self, path: str, **options: Any) -> tuple[int, Any, Any]:
        return await self.door.ask("GET", path, **options)

    async def names(self, job_id: str) -> list[str]:
        status, answer, _ = await self.get(f"/api/v1/jobs/{job_id}/files")
        assert status == 200
        return [file["name"] for file in answer["files"]]


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    rosters, output = tmp_path / "rosters", tmp_path / "results"
    rosters.mkdir()
    write_sample(rosters / "r.csv", count=400)
    async with a_store(tmp_path) as store:
        settings = InsigniaSettings(data_directory=str(rosters), output_directory=str(output))
        control = JobService(
            store, discover([worker.handlers]), NotificationFormat(), Clock(), None, 3, {"Insignia": settings}
        )
        uploads = Uploads(rosters, max_bytes=1 << 20, total_bytes=1 << 20, owner_folder=owner_folder)
        results = InsigniaResults(output, keep_replaced=KEEP_SECONDS)

        async def job_of(request: Any) -> Any:
            return await control.show(request.match_info["id"])

        async with serve_routes(
            [
                JobFileRoutes(JobFiles(results, uploads), job_of),
                RowRoutes(results, job_of),
                LabelRoutes(results),
                ExistingResultRoutes(results),
            ]
        ) as door:
            yield House(door, store, control, uploads, tmp_path)


# -- files ---------------------------------------------------------------------------------------------------------


async def test_files_of_a_round_are_listed_and_downloaded(house: House) -> None:
    job_id, summary = await house.run({"round": 2569, "roster": "r.csv", "organization": "สำนักอนามัย"})
    _, answer, _ = await house.get(f"/api/v1/jobs/{job_id}/files")
    assert [file["name"] for file in answer["files"]] == [
        "bad_rows.csv",
        "criteria.json",
        "notices.csv",
        "repairs.csv",
        "results.csv",
        "results.json",
        "results.xlsx",
        "summary.json",
    ]
    for file in answer["files"]:
        status, content, headers = await house.get(file["href"])
        assert (status, len(content)) == (200, file["size"])
        assert content == (house.place / "results" / summary["output"] / file["name"]).read_bytes()
        assert headers["Content-Type"] == file["type"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Content-Disposition"].startswith("attachment; ")
    csv = next(file for file in answer["files"] if file["name"] == "results.csv")
    _, content, headers = await house.get(csv["href"])
    assert content.startswith(b"\xef\xbb\xbf"), "or Excel shows rubbish for Thai"
    assert headers["Content-Disposition"] == (
        f"attachment; filename=\"_-2569-results.csv\"; filename*=UTF-8''{quote('สำนักอนามัย')}-2569-results.csv"
    )


@pytest.mark.parametrize(
    ("asked", "status", "part"),
    [
        ("bytes=0-9", 206, slice(0, 10)),
        ("bytes=5-", 206, slice(5, None)),
        ("bytes=-7", 206, slice(-7, None)),
        ("bytes=99999999-", 416, slice(0, 0)),
        ("lines=1", 416, slice(0, 0)),
    ],
)
async def test_file_range_is_served(house: House, asked: str, status: int, part: slice) -> None:
    job_id, summary = await house.run({"round": 2569, "roster": "r.csv"})
    whole = (house.place / "results" / summary["output"] / "results.csv").read_bytes()
    answer = await house.get(f"/api/v1/jobs/{job_id}/files/results.csv", headers={"Range": asked})
    assert answer[0] == status
    if status == 206:
        assert answer[1] == whole[part]


async def test_file_head_and_not_modified_are_served(house: House) -> None:
    job_id, summary = await house.run({"round": 2569, "roster": "r.csv"})
    path = f"/api/v1/jobs/{job_id}/files/results.json"
    status, content, headers = await house.door.ask("HEAD", path)
    assert (status, content) == (200, b"")
    assert (
        int(headers["Content-Length"]) == (house.place / "results" / summary["output"] / "results.json").stat().st_size
    )
    status, content, _ = await house.get(path, headers={"If-None-Match": headers["ETag"]})
    assert (status, content) == (304, b"")


@pytest.mark.parametrize(
    "name",
    [
        "nothing.csv",
        "..%2f..%2fsecret",
        "%2e%2e",
        "..",
        ".rows.sqlite",
        "a%00b",
        "sub",
        "results.csv%2f",
        "x" * 300,
        "%2fetc%2fpasswd",
    ],
)
async def test_file_with_another_name_is_not_found(house: House, name: str) -> None:
    job_id, summary = await house.run({"round": 2569, "roster": "r.csv"})
    (house.place / "secret").write_text("secret")
    (house.place / "results" / summary["output"] / "sub").mkdir()
    status, content, _ = await house.get(f"/api/v1/jobs/{job_id}/files/{name}")
    assert status == 404
    assert b"secret" not in orjson.dumps(content) if isinstance(content, dict) else True


async def test_links_pipes_and_folders_are_neither_listed_nor_served(house: House) -> None:
    job_id, summary = await house.run({"round": 2569, "roster": "r.csv"})
    folder = house.place / "results" / summary["output"]
    (house.place / "secret").write_text("secret")
    (folder / "link.csv").symlink_to(house.place / "secret")
    (folder / "dangling.csv").symlink_to(house.place / "nowhere")
    (folder / "folder.csv").mkdir()
    os.mkfifo(folder / "pipe.csv")
    assert not {"link.csv", "dangling.csv", "folder.csv", "pipe.csv"} & set(await house.names(job_id))
    for name in ("link.csv", "dangling.csv", "folder.csv", "pipe.csv"):
        assert (await house.get(f"/api/v1/jobs/{job_id}/files/{name}"))[0] == 404


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 5])
async def test_folder_replaced_by_a_link_is_not_followed(house: House, depth: int) -> None:
    job_id, summary = await house.run({"round": 2569, "roster": "r.csv"})
    folder = house.place / "results" / summary["output"]
    step = [folder, *folder.parents][5 - depth]
    step.rename(house.place / "moved")
    step.symlink_to(house.place / "moved")
    assert await house.names(job_id) == []
    assert (await house.get(f"/api/v1/jobs/{job_id}/files/results.csv"))[0] == 404
    assert (await house.get(f"/api/v1/jobs/{job_id}/rows"))[0] == 404


async def test_files_are_found_after_the_output_directory_moved(house: House) -> None:
    job_id, _ = await house.run({"round": 2569, "roster": "r.csv"})
    (house.place / "results").rename(house.place / "new")
    (house.place / "results").symlink_to(house.place / "new")
    assert "results.csv" in await house.names(job_id)


@pytest.mark.parametrize(
    "output", ["/etc", "../../../..", "a/b/c/attempt-1", "/a/2569/{id}/..", "/a/2569/{id}/.attempt-1", "", 7, None]
)
async def test_result_that_points_outside_has_no_files(house: House, output: Any) -> None:
    accepted = await house.control.submit(
        parse_request({"taskType": KIND, "userId": "u", "payload": {"round": 2569, "officers": []}})
    )
    [job] = (await house.store.claim(1)).jobs
    reported = output.replace("{id}", job.id) if isinstance(output, str) else output
    result = orjson.dumps({"output": reported})
    await house.store.settle([settlement(Attempt(job, 1.0, 2.0, 1.0, result=result), Succeeded(result))])
    assert await house.names(accepted.job_id) == []
    assert (await house.get(f"/api/v1/jobs/{accepted.job_id}/rows"))[0] == 404


async def test_result_that_was_replaced_is_kept_and_names_the_newer_job(house: House) -> None:
    first, _ = await house.run({"round": 2569, "roster": "r.csv"})
    second, summary = await house.run({"round": 2569, "roster": "r.csv"})
    assert summary["replaces"] == [first]
    assert "results.csv" in await house.names(first)
    _, older, _ = await house.get(f"/api/v1/jobs/{first}/rows")
    assert older["replaced"]["by"] == second
    assert older["replaced"]["at"] < older["replaced"]["keptUntil"]
    _, newer, _ = await house.get(f"/api/v1/jobs/{second}/rows")
    assert "replaced" not in newer


async def test_files_of_a_replaced_job_are_gone_after_the_set_time(house: House) -> None:
    first, _ = await house.run({"round": 2569, "roster": "r.csv"})
    second, _ = await house.run({"round": 2569, "roster": "r.csv"})
    results = InsigniaResults(house.place / "results", keep_replaced=0.0)
    assert await results.remove_expired() == 1
    assert await house.names(first) == []
    assert "results.csv" in await house.names(second)
    status, answer, _ = await house.get(f"/api/v1/jobs/{first}/rows")
    assert (status, "a newer run of the round has replaced it" in answer["detail"]) == (404, True)


async def test_existing_results_are_reported_before_a_job_starts(house: House) -> None:
    path, query = "/api/v1/insignia/existing", {"round": "2569", "userId": "user-1", "organization": "bma"}
    _, none, _ = await house.get(path, params=query)
    assert none == {"jobs": [], "confirmed": False, "keepReplacedSeconds": KEEP_SECONDS}
    job_id, summary = await house.run({"round": 2569, "roster": "r.csv", "organization": "bma"})
    ((house.place / "results" / summary["output"]).parents[1] / "CONFIRMED").touch()
    _, found, _ = await house.get(path, params=query)
    assert (found["jobs"], found["confirmed"]) == ([job_id], True)
    for other in ({"userId": "user-2"}, {"round": "2568"}, {"organization": "other"}):
        _, found, _ = await house.get(path, params=query | other)
        assert found["jobs"] == []


async def test_bad_rows_of_a_rejected_roster_are_served(house: House) -> None:
    write_sample(house.place / "rosters/bad.csv", count=50)
    text = (house.place / "rosters/bad.csv").read_text("utf-8-sig")
    lines = text.splitlines()
    level = lines[0].split(",").index("level")
    broken = [",".join("??" if at == level else cell for at, cell in enumerate(line.split(","))) for line in lines[1:]]
    (house.place / "rosters/bad.csv").write_text("\n".join([lines[0], *broken]), "utf-8")
    job_id, _ = await house.run({"round": 2569, "roster": "bad.csv"})
    assert await house.names(job_id) == ["bad_rows.csv"]
    status, content, _ = await house.get(f"/api/v1/jobs/{job_id}/files/bad_rows.csv")
    assert (status, content.count(b"??") >= 40) == (200, True)
    # A later run that fails before it reads anything has no files, the older ones are not its own.
    (house.place / "rosters/bad.csv").unlink()
    await house.control.retry(job_id)
    await house.attempt()
    assert await house.names(job_id) == []


async def test_running_job_and_other_kinds_have_no_files(house: House) -> None:
    accepted = await house.control.submit(
        parse_request({"taskType": KIND, "userId": "u", "payload": {"round": 2569, "roster": "r.csv"}})
    )
    assert await house.names(accepted.job_id) == []
    assert (await house.get("/api/v1/jobs/none/files"))[0] == 404


async def test_uploaded_file_is_served_under_its_own_name(house: House) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield (house.place / "rosters/r.csv").read_bytes()

    job_id = "0199a1b2-0000-7000-8000-00000000beef"
    async with house.uploads.draft() as draft:
        await draft.receive("roster", "บัญชี 2569.csv", pieces())
        await draft.keep(job_id, ("u", None), "print")
    job = parse_request(
        {"taskType": KIND, "userId": "u", "payload": {"round": 2569, **draft.paths(job_id, ("u", None))}}
    )
    await house.control.submit_as(job_id, job)
    await house.attempt()
    _, answer, _ = await house.get(f"/api/v1/jobs/{job_id}/files")
    assert answer["files"][-1]["field"] == "roster"
    assert answer["files"][-1]["shown"] == "บัญชี 2569.csv"
    status, content, headers = await house.get(answer["files"][-1]["href"])
    assert (status, content) == (200, (house.place / "rosters/r.csv").read_bytes())
    assert headers["Content-Disposition"].endswith(f"filename*=UTF-8''{quote('บัญชี')}%202569.csv")
    assert (await house.get(f"/api/v1/jobs/{job_id}/files/.upload.json"))[0] == 404


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.csv", "attachment; filename=\"a.csv\"; filename*=UTF-8''a.csv"),
        ('a"b\\c;d.csv', "attachment; filename=\"a_b_c_d.csv\"; filename*=UTF-8''a%22b%5Cc%3Bd.csv"),
        ("ก้.csv", "attachment; filename=\"_.csv\"; filename*=UTF-8''%E0%B8%81%E0%B9%89.csv"),
        ("a\r\nb", "attachment; filename=\"a_b\"; filename*=UTF-8''a%0D%0Ab"),
    ],
)
def test_attachment_header_keeps_the_name(name: str, expected: str) -> None:
    assert attachment(name) == expected


# -- rows ----------------------------------------------------------------------------------------------------------


async def test_rows_are_filtered_searched_and_paged(house: House) -> None:
    job_id, summary = await house.run({"round": 2569, "roster": "r.csv"})
    rows = json.loads((house.place / "results" / summary["output"] / "results.json").read_text("utf-8"))
    path, found, cursor = f"/api/v1/jobs/{job_id}/rows", [], None
    while True:
        query = {"show": "nominate", "limit": "30"} | ({} if cursor is None else {"cursor": cursor})
        status, page, _ = await house.get(path, params=query)
        assert (status, page["matched"]) == (200, summary["nominate"])
        found += page["rows"]
        if (cursor := page["cursor"]) is None:
            break
    expected = [row["person_id"] for row in rows if row["class"]["decision"] == "nominate"]
    assert [row["person_id"] for row in found] == expected
    award = found[0]["class"]["award"]
    _, page, _ = await house.get(path, params={"class": award})
    assert page["matched"] == summary["byClass"][award]
    _, page, _ = await house.get(path, params={"text": rows[5]["person_id"]})
    assert [row["n"] for row in page["rows"]] == [6]


@pytest.mark.parametrize(
    "query", [{"show": "some"}, {"of": "x"}, {"cursor": "x"}, {"limit": "-1"}, {"sort": "x"}, {"text": "\0"}]
)
async def test_rows_with_an_invalid_query_are_rejected(house: House, query: dict[str, str]) -> None:
    job_id, _ = await house.run({"round": 2569, "roster": "r.csv"})
    status, answer, _ = await house.get(f"/api/v1/jobs/{job_id}/rows", params=query)
    assert (status, next(iter(query)) in answer["detail"]) == (422, True)


async def test_page_of_rows_is_found_by_its_number(house: House) -> None:
    job_id, summary = await house.run({"round": 2569, "roster": "r.csv"})
    path, last = f"/api/v1/jobs/{job_id}/rows", summary["officers"] - 7
    _, page, _ = await house.get(path, params={"skip": str(last), "limit": "50"})
    assert [row["n"] for row in page["rows"]] == list(range(last + 1, summary["officers"] + 1))
    assert (page["cursor"], page["matched"]) == (None, summary["officers"])


async def test_row_is_explained_in_both_languages_and_gives_the_same_answer_again(house: House) -> None:
    job_id, summary = await house.run({"round": 2569, "roster": "r.csv"})
    written = json.loads((house.place / "results" / summary["output"] / "results.json").read_text("utf-8"))[4]
    status, found, _ = await house.get(f"/api/v1/jobs/{job_id}/rows/5")
    assert status == 200
    assert found["sameAnswer"] is True
    assert found["criteria"] == summary["criteria"]
    assert found["row"]["decision_id"] == written["decision_id"]
    assert found["row"]["first_name"] == written["first_name"]
    for language, heading in (("th", "ชั้นตรา: "), ("en", "class: ")):
        assert found[language][0]["kind"] == "decision"
        assert found[language][0]["text"].startswith(heading)
        assert {line["answer"] for line in found[language]} & {"yes", "no"}


@pytest.mark.parametrize("number", ["0", "401", "x", "-1", "1.5", "9" * 30, "%00", "๑"])
async def test_row_that_does_not_exist_is_not_found(house: House, number: str) -> None:
    job_id, _ = await house.run({"round": 2569, "roster": "r.csv"})
    status, answer, _ = await house.get(f"/api/v1/jobs/{job_id}/rows/{number}")
    assert (status, "row" in answer["detail"]) == (404, True)


async def test_words_are_returned_in_both_languages(house: House) -> None:
    status, words, _ = await house.get("/api/v1/insignia/words")
    assert status == 200
    assert words["classes"]["CT5"]["th"] == "เบญจมาภรณ์มงกุฎไทย"
    assert words["reasons"]["SALARY_TOO_LOW"] == {"th": "เงินเดือนไม่ถึงเกณฑ์", "en": "the salary is too low"}
    assert set(words["decisions"]) == {"nominate", "not_eligible", "manual_review"}


# -- whose they are --------------------------------------------------------------------------------------------------


async def test_job_of_another_user_is_not_found(tmp_path: Path) -> None:
    from config.loader import load
    from worker.api.auth.authenticator import Caller
    from worker.service.factories import create_file_routes, create_uploads

    loaded = load([], environ={"HOME": str(tmp_path)}, cwd=tmp_path, system_folder=tmp_path, secrets_folder=tmp_path)
    settings = InsigniaSettings(
        data_directory=str(loaded.resolve_state("rosters")), output_directory=str(loaded.resolve_state("results"))
    )
    Path(settings.data_directory).mkdir(parents=True)
    write_sample(Path(settings.data_directory) / "r.csv", count=100)
    callers = {
        "owner": Caller("owner", frozenset({"read"}), users=frozenset({"user-1"})),
        "other": Caller("other", frozenset({"read", "enqueue"}), users=frozenset({"user-2"})),
        "office": Caller("office", frozenset({"read"}), organizations=frozenset({"อีกสำนัก"})),
        "me": Caller("me", frozenset({"user"}), users=frozenset({"user-1"}), user="user-1"),
        "them": Caller("them", frozenset({"user"}), users=frozenset({"user-2"}), user="user-2"),
    }
    async with a_store(tmp_path) as store:
        control = JobService(
            store, discover([worker.handlers]), NotificationFormat(), Clock(), None, 3, {"Insignia": settings}
        )
        uploads = create_uploads(loaded)
        sets = create_file_routes(loaded, control, uploads)
        async with serve_routes(sets, lambda request: callers[request.headers["X-Who"]]) as door:
            house = House(door, store, control, uploads, tmp_path)
            job_id, _ = await house.run({"round": 2569, "roster": "r.csv"})

            async def status(who: str, base: str, what: str) -> int:
                return (await house.get(f"{base}/jobs/{job_id}/{what}", headers={"X-Who": who}))[0]

            for what in ("files", "files/results.csv", "rows"):
                assert await status("owner", "/api/v1", what) == 200
                assert await status("other", "/api/v1", what) == 404
                assert await status("office", "/api/v1", what) == 404
                assert await status("me", "/api/v1/me", what) == 200
                assert await status("them", "/api/v1/me", what) == 404
                assert await status("me", "/api/v1", what) == 403
                assert await status("owner", "/api/v1/me", what) == 403
            _, parse_list, _ = await house.get(f"/api/v1/me/jobs/{job_id}/files", headers={"X-Who": "me"})
            assert all(file["href"].startswith("/api/v1/me/jobs/") for file in parse_list["files"])
            form = aiohttp.FormData()
            form.add_field(
                "job", orjson.dumps({"taskType": KIND, "userId": "user-1", "payload": {"round": 2569}}).decode()
            )
            form.add_field("roster", io.BytesIO(b"person_id\n1\n"), filename="r.csv")
            answer = await door.ask("POST", "/api/v1/jobs/upload", data=form, headers={"X-Who": "other"})
            assert answer[0] == 403
            assert not (Path(settings.data_directory) / "uploads").exists()
