"""Values that the API's description rules out are rejected wherever they can be given, and those it allows accepted."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import jsonschema_rs  # comes with schemathesis
import orjson
import pytest

from tests.support.api_site import ADMIN, SESSION, ApiSite, api_site
from worker.api.openapi import description_of, openapi

JOBS, BATCH = "/api/v1/jobs", "/api/v1/jobs/batch"
JOB = {"taskType": "echo", "userId": "ann", "payload": {"text": "ก"}}


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[ApiSite]:
    async with api_site(tmp_path) as opened:
        yield opened


def is_described(site: ApiSite, model: str, value: Any) -> bool:
    """Whether the value fits this schema of the description."""
    schemas = openapi([*site.api.table(), description_of(())])["components"]
    schema = {"$ref": f"#/components/schemas/{model}", "components": schemas}
    return jsonschema_rs.Draft202012Validator(schema).is_valid(value)


# -- a job is an object ------------------------------------------------------------------------------------------


async def test_job_as_a_text_that_holds_json_is_rejected(site: ApiSite) -> None:
    text = orjson.dumps(JOB).decode()
    for path, body, place in ((JOBS, text, ""), (BATCH, {"jobs": [JOB, text]}, "jobs[1]: ")):
        status, answer, _ = await site.ask("POST", path, body)
        assert (status, answer["detail"]) == (
            422,
            f"{place}job: send it as a JSON object, not as a text that holds one",
        )
    assert sum((await site.store.stats()).jobs.values()) == 0


# -- numbers, true and false -------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["priority", "maxAttempts"])
async def test_numbers_of_a_job_are_those_of_the_description(site: ApiSite, field: str) -> None:
    for value in (1, 1.0, -0.0, 3.5, True, False, "x"):
        if field == "maxAttempts" and value == 0:
            continue
        job = {**JOB, field: value}
        status, answer, _ = await site.ask("POST", JOBS, job)
        assert (status == 202) is is_described(site, "JobRequest", job), (value, answer)
        if status != 202:
            assert f"{field}: " in answer["detail"]


@pytest.mark.parametrize("value", [1, 0, "yes", "off", "true", None])
async def test_dry_run_is_true_or_false_and_nothing_is_guessed(site: ApiSite, value: Any) -> None:
    job_id = await site.submitted()
    for kind, action in (("jobs", "cancel"), ("notifications", "resend")):
        order = {"action": action, "ids": [job_id], "dryRun": value}
        status, answer, _ = await site.ask("POST", f"/api/v1/{kind}/bulk", order)
        assert status == 422
        assert "dryRun: " in answer["detail"]
    assert (await site.jobs.show(job_id)).state == "queued"


async def test_number_beyond_its_limits_is_ruled_out_by_the_description(site: ApiSite) -> None:
    for path, name in ((JOBS, "limit"), ("/api/v1/notifications", "cursor"), ("/api/v1/audit", "cursor")):
        [schema] = [
            one["schema"]
            for one in openapi(site.api.table())["paths"][path]["get"]["parameters"]
            if one["name"] == name
        ]
        for value in (-1, 0, 10**18 - 1, 10**18):
            status, _, _ = await site.ask("GET", f"{path}?{name}={value}")
            assert (status == 200) is jsonschema_rs.is_valid(schema, value), (path, name, value)


# -- a user ------------------------------------------------------------------------------------------------------


async def test_longest_user_of_a_token_is_the_longest_user_of_a_job(site: ApiSite) -> None:
    longest = "ก" * 256
    token = site.tokens.mint(longest)
    assert site.tokens.identify(token).user == longest
    job_id = await site.submitted(longest)
    assert (await site.ask("GET", f"/api/v1/me/jobs/{job_id}", key=token))[0] == 200
    job = {**JOB, "userId": longest + "ก"}
    status, answer, _ = await site.ask("POST", JOBS, job)
    assert (status, "256" in answer["detail"]) == (422, True)
    assert not is_described(site, "JobRequest", job)


@pytest.mark.parametrize("form", ["{}", " {} ", "{}\n"])
async def test_spaces_around_a_key_count_neither_in_a_header_nor_at_the_login(site: ApiSite, form: str) -> None:
    key = form.format(ADMIN)
    assert (await site.ask("GET", SESSION, key=key.strip("\n")))[0] == 200
    assert (await site.ask("POST", SESSION, {"key": key}, key=None))[0] == 200
    assert (await site.ask("POST", SESSION, {"key": form.format("")}, key=None))[0] == 422


# -- one of two --------------------------------------------------------------------------------------------------


async def test_different_keys_in_header_and_field_are_rejected(site: ApiSite) -> None:
    status, answer, _ = await site.ask("POST", JOBS, {**JOB, "id": "a"}, Idempotency_Key="b")
    assert (status, answer["parameter"]) == (422, "Idempotency-Key")
    assert "give one of them" in answer["detail"]
    assert (await site.ask("POST", JOBS, {**JOB, "id": "a"}, Idempotency_Key="a"))[0] == 202


async def test_key_in_the_header_of_a_batch_is_rejected_and_not_ignored(site: ApiSite) -> None:
    for _ in range(2):
        status, answer, _ = await site.ask("POST", BATCH, {"jobs": [JOB]}, Idempotency_Key="k")
        assert (status, answer["parameter"]) == (422, "Idempotency-Key")
        assert "its field id" in answer["detail"]
    assert sum((await site.store.stats()).jobs.values()) == 0


@pytest.mark.parametrize(
    ("path", "old"),
    [
        ("/api/v1/jobs?status=failed&state=failed", "state"),
        ("/api/v1/notifications?status=dead&state=dead", "state"),
        ("/api/v1/jobs/x?waitSeconds=1&wait=1", "wait"),
        ("/api/v1/jobs?cursor=x", "cursor"),
        ("/api/v1/jobs?cursor=", "cursor"),
    ],
)
async def test_every_invalid_parameter_is_named(site: ApiSite, path: str, old: str) -> None:
    callers: list[tuple[str, str | None]] = [(path, None)]
    if "/jobs" in path:
        callers.append((path.replace("/v1/", "/v1/me/"), site.tokens.mint("ann")))
    for address, token in callers:
        status, answer, _ = await site.ask("GET", address, **({} if token is None else {"key": token}))
        assert (status, answer["parameter"]) == (422, old)


@pytest.mark.parametrize("kind", ["jobs", "notifications"])
async def test_description_of_a_bulk_request_requires_what_the_service_does(site: ApiSite, kind: str) -> None:
    action = "retry" if kind == "jobs" else "resend"
    model = "BulkJobs" if kind == "jobs" else "BulkNotifications"
    selections: tuple[dict[str, Any], ...] = (
        {},
        {"filter": {}},
        {"filter": None},
        {"ids": ["x"]},
        {"ids": []},
        {"ids": None},
        {"filter": {}, "ids": None},
        {"filter": None, "ids": ["x"]},
        {"filter": {}, "ids": ["x"]},
        {"filter": None, "ids": None},
        {"ids": ["x"], "cursor": "1"},
        {"ids": ["x"], "cursor": None},
    )
    for selection in selections:
        body = {"action": action, "dryRun": True, **selection}
        status, answer, _ = await site.ask("POST", f"/api/v1/{kind}/bulk", body)
        assert (status == 200) is is_described(site, model, body), (selection, answer)


async def test_notification_that_is_named_twice_is_resent_once(site: ApiSite) -> None:
    body = {"action": "resend", "ids": ["x", "x", "y"], "dryRun": True}
    assert (await site.ask("POST", "/api/v1/notifications/bulk", body))[1]["matched"] == 2
