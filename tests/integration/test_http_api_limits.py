"""Limits of Worker:Limits and priorities, as clients of the HTTP API see them."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.api_site import ADMIN, ANN, PRODUCER, ApiSite, api_site
from worker.core.claim_rules import ClaimRules, Limit

JOBS = "/api/v1/jobs"


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[ApiSite]:
    async with api_site(tmp_path) as opened:
        yield opened


def a_request(user: str = "ann", priority: int = 0) -> dict[str, object]:
    return {"taskType": "echo", "userId": user, "payload": {"text": "a"}, "priority": priority}


async def test_submit_beyond_a_limit_of_waiting_jobs_returns_429_with_retry_after(site: ApiSite) -> None:
    await site.store.use_rules(ClaimRules(limits=[Limit("user", None, waiting=2)]))
    for _ in range(2):
        await site.submitted("ann")
    status, answer, headers = await site.ask("POST", JOBS, a_request("ann"))
    assert (status, int(headers["Retry-After"]) > 0) == (429, True)
    assert "'ann'" in answer["detail"]
    status, _, _ = await site.ask("POST", f"{JOBS}/batch", {"jobs": [a_request("bob"), a_request("ann")]})
    assert status == 429
    assert (await site.store.stats()).jobs["queued"] == 2
    await site.submitted("bob")


async def test_submit_beyond_a_limit_of_waiting_bytes_returns_429_with_retry_after(site: ApiSite) -> None:
    await site.store.use_rules(ClaimRules(limits=[Limit("user", None, waiting_bytes=44)]))
    for _ in range(3):
        await site.submitted("ann")
    status, answer, headers = await site.ask("POST", JOBS, a_request("ann"))
    assert (status, int(headers["Retry-After"]) > 0) == (429, True)
    assert "'ann' have 42 bytes" in answer["detail"]
    await site.submitted("bob")


async def test_submit_beyond_a_limit_of_one_api_key_leaves_other_keys_alone(site: ApiSite) -> None:
    await site.store.use_rules(ClaimRules(limits=[Limit("key", PRODUCER, waiting=1)]))
    await site.submitted("ann", key=PRODUCER)
    assert (await site.ask("POST", JOBS, a_request("bob"), key=PRODUCER))[0] == 429
    await site.submitted("ann", key=ADMIN)


@pytest.mark.parametrize("path", [JOBS, f"{JOBS}/batch"])
async def test_submit_with_a_priority_above_the_keys_highest_is_forbidden(site: ApiSite, path: str) -> None:
    site.authenticator.keys = [
        replace(key, max_priority=5) if key.name == PRODUCER else key for key in site.authenticator.keys
    ]

    async def submit(priority: int, key: str) -> int:
        job = a_request(priority=priority)
        status, _, _ = await site.ask("POST", path, {"jobs": [job]} if path != JOBS else job, key=key)
        return status

    assert [await submit(priority, PRODUCER) for priority in (-3, 0, 5, 6)] == [202, 202, 202, 403]
    assert await submit(100, ADMIN) == 202
    assert await submit(1, ANN) == 202  # has scope admin
