"""The service, killed for real: what was accepted ends once, and its news arrives (P1, P2, P4, P5)."""

import asyncio
import contextlib
import random
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.support.fault_proxy import fault_proxy
from tests.support.process import WorkerProcess, command, free_port, running_worker
from tests.support.socketio_server import SocketIoServer, socketio_server
from worker.errors import Unavailable
from worker.listen import Listener, Received

HANDLERS = "--Worker:Handlers:0=tests.support.jobs"


def _quick(server_url: str, port: int) -> list[str]:
    return [
        HANDLERS,
        f"--WebSocket:Url={server_url}",
        f"--Http:Url=http://127.0.0.1:{port}",
        "--WebSocket:ReconnectionDelay=50",
        "--WebSocket:ReconnectionAttempts=0",
        "--Worker:BackoffDelay=50",
        "--Logging:LogLevel:Default=Warning",
    ]


async def _submit_for_ever(worker: WorkerProcess, accepted: list[str], pause: float) -> None:
    """A producer that is told no now and then, and counts only what was accepted."""
    number = 0
    while True:
        jobs = [
            {"taskType": kind, "userId": f"user-{number % 7}", "payload": payload}
            for kind, payload in (("noop", {"number": number}), ("sleep", {"seconds": 0.02}), ("fail", {"text": "no"}))
        ]
        number += 1
        try:
            answers = await asyncio.to_thread(worker.client.ask, "POST", "/api/v1/jobs/batch", {"jobs": jobs})
        except Unavailable:
            await asyncio.sleep(0.01)
            continue
        accepted.extend(answer["jobId"] for answer in answers["jobs"])
        await asyncio.sleep(pause)


async def _show(worker: WorkerProcess, job_id: str) -> dict[str, Any]:
    answer: dict[str, Any] = await asyncio.to_thread(worker.client.ask, "GET", f"/api/v1/jobs/{job_id}")
    return answer


async def _all_arrived(server: SocketIoServer, accepted: list[str], seconds: float) -> None:
    wanted = set(accepted)
    async with asyncio.timeout(seconds):
        while not wanted <= {message["payload"]["jobId"] for message, _ in server.received}:
            await asyncio.sleep(0.05)


def _check(server: SocketIoServer, accepted: list[str]) -> None:
    """One id per job, the same bytes whenever it is sent, every user's sequence without gaps or repeats."""
    ids: dict[str, set[str]] = {}
    bodies: dict[str, set[bytes]] = {}
    numbers: dict[str, dict[int, str]] = {}
    for message, user in server.received:
        payload = message["payload"]
        ids.setdefault(payload["jobId"], set()).add(payload["notificationId"])
        bodies.setdefault(payload["notificationId"], set()).add(orjson.dumps([message, user]))
        numbers.setdefault(user["userId"], {})[payload["sequence"]] = payload["notificationId"]
    assert set(ids) >= set(accepted)
    assert all(len(found) == 1 for found in ids.values())
    assert all(len(found) == 1 for found in bodies.values())
    for user, found in numbers.items():
        assert sorted(found) == list(range(1, len(found) + 1)), user
        assert len(set(found.values())) == len(found), user


@pytest.mark.kill
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kills", [50])
async def test_killed_at_random_moments_under_load_nothing_is_lost_and_nothing_ends_twice(
    tmp_path: Path, kills: int
) -> None:
    accepted: list[str] = []
    chance = random.Random(2569)
    async with socketio_server() as server:
        worker = WorkerProcess(tmp_path, _quick(server.url, free_port()))
        producer = asyncio.create_task(_submit_for_ever(worker, accepted, 0.004))
        try:
            for _ in range(kills):
                await worker.start()
                await asyncio.sleep(chance.uniform(0.0, 0.35))
                worker.kill()
            await worker.start()
            await asyncio.sleep(0.3)
            producer.cancel()
            await asyncio.gather(producer, return_exceptions=True)
            await _all_arrived(server, accepted, 120)
            _check(server, accepted)
            shown = [await _show(worker, job_id) for job_id in accepted[:: max(1, len(accepted) // 200)]]
            assert {job["status"] for job in shown} <= {"succeeded", "failed"}
            assert {job["run"] for job in shown} == {1}
            assert await worker.stop() == 0
        finally:
            producer.cancel()
            if worker.process is not None and worker.process.poll() is None:
                worker.kill()
    assert len(accepted) > kills


async def test_a_poison_job_is_stopped_after_its_attempts_and_the_innocent_are_not_charged(tmp_path: Path) -> None:
    mark = tmp_path / "starts"
    async with socketio_server() as server:
        settings = [*_quick(server.url, free_port()), "--Worker:MaxAttempts=2"]
        worker = WorkerProcess(tmp_path, settings)
        await worker.start()
        innocent = [{"taskType": "sleep", "userId": "u", "payload": {"seconds": 0.4}} for _ in range(4)]
        poison = {"taskType": "poison", "userId": "u", "payload": {"mark": str(mark)}}
        jobs = [*innocent[:2], poison, *innocent[2:]]
        answers = await asyncio.to_thread(worker.client.ask, "POST", "/api/v1/jobs/batch", {"jobs": jobs})
        ids = [answer["jobId"] for answer in answers["jobs"]]
        for _ in range(8):
            assert worker.process is not None
            died = asyncio.create_task(asyncio.to_thread(worker.process.wait))
            done = asyncio.create_task(_all_arrived(server, ids, 30))
            await asyncio.wait([died, done], return_when=asyncio.FIRST_COMPLETED)
            if done.done():
                break
            done.cancel()
            await asyncio.gather(done, return_exceptions=True)
            await worker.start()
        worker.kill()
    told = {message["payload"]["jobId"]: message for message, _ in server.received}
    poisoned = told.pop(ids[2])
    assert poisoned["message"] == "Task Failed"
    assert poisoned["payload"]["attempt"] == 2
    assert [message["message"] for message in told.values()] == ["Task Finish"] * 4
    assert {message["payload"]["attempt"] for message in told.values()} == {1}
    assert 2 <= len(mark.read_text().splitlines()) <= 3


async def test_a_crash_in_a_child_process_is_charged_to_its_job_alone(tmp_path: Path) -> None:
    async with socketio_server() as server:
        settings = [*_quick(server.url, free_port()), "--Worker:MaxAttempts=2"]
        async with running_worker(tmp_path, *settings) as worker:
            jobs = [
                {"taskType": "child-crash", "userId": "u", "payload": {}},
                {"taskType": "child", "userId": "u", "payload": {}},
            ]
            answers = await asyncio.to_thread(worker.client.ask, "POST", "/api/v1/jobs/batch", {"jobs": jobs})
            ids = [answer["jobId"] for answer in answers["jobs"]]
            await _all_arrived(server, ids, 30)
            assert worker.process is not None
            assert worker.process.poll() is None
    told = {message["payload"]["jobId"]: message["payload"] for message, _ in server.received}
    assert told[ids[0]]["attempt"] == 2
    assert "SIGSEGV" in told[ids[0]]["error"]
    assert told[ids[1]]["status"] == "success"


@pytest.mark.kill
@pytest.mark.timeout(300)
async def test_with_the_hub_in_the_same_process_a_browser_hears_of_every_job_once_and_in_order(tmp_path: Path) -> None:
    port, user = free_port(), "เจ้าหน้าที่"
    url = f"http://127.0.0.1:{port}"
    chance = random.Random(7)
    worker = WorkerProcess(tmp_path, [*_quick(url, port), "--Hub:Enabled=true"])
    await worker.start()
    token = command(tmp_path, "token", "--user", user).stdout.strip()
    browser = Listener(url, "/api/v1/org-socket", "socket-notification", lambda: token)
    heard: list[Received] = []
    listening = asyncio.create_task(_hear(browser, heard))
    accepted: list[str] = []
    try:
        for _ in range(10):
            jobs = [{"taskType": "noop", "userId": user, "payload": {"number": n}} for n in range(40)]
            answers = await asyncio.to_thread(worker.client.ask, "POST", "/api/v1/jobs/batch", {"jobs": jobs})
            accepted.extend(answer["jobId"] for answer in answers["jobs"])
            await asyncio.sleep(chance.uniform(0.0, 0.1))
            worker.kill()
            await worker.start()
        async with asyncio.timeout(60):
            while len(heard) < len(accepted):
                await asyncio.sleep(0.05)
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        worker.kill()
    payloads = [received.message["payload"] for received in heard]
    assert sorted(payload["jobId"] for payload in payloads) == sorted(accepted)
    assert [payload["sequence"] for payload in payloads] == list(range(1, len(accepted) + 1))


async def _hear(browser: Listener, heard: list[Received]) -> None:
    async with contextlib.aclosing(browser.messages()) as messages:
        async for received in messages:
            heard.append(received)


@pytest.mark.kill
@pytest.mark.timeout(300)
@pytest.mark.parametrize("mode", ["ack", "fence"])
async def test_killed_twenty_times_behind_a_network_that_breaks_all_of_it_arrives_in_order(
    tmp_path: Path, mode: str
) -> None:
    """The receiver sees every user's first arrivals in order, and each message always with the same id."""
    chance = random.Random(mode)
    accepted: list[str] = []
    answer = (lambda _message, _user: None) if mode == "ack" else (lambda _message, _user: ...)
    async with socketio_server(answer=answer) as server, fault_proxy(server.port) as proxy:
        settings = [*_quick(proxy.url, free_port()), f"--WebSocket:Confirmation={mode}", "--WebSocket:AckTimeout=500"]
        worker = WorkerProcess(tmp_path, settings)
        producer = asyncio.create_task(_submit_for_ever(worker, accepted, 0.005))
        trouble = asyncio.create_task(proxy.misbehave(chance, 0.2))
        try:
            for _ in range(20):
                await worker.start()
                await asyncio.sleep(chance.uniform(0.05, 0.5))
                worker.kill()
            await worker.start()
            for ended in (producer, trouble):
                ended.cancel()
            await asyncio.gather(producer, trouble, return_exceptions=True)
            proxy.refusing, proxy.delay = False, 0.0
            proxy.cut()
            await _all_arrived(server, accepted, 120)
            _check(server, accepted)
            _check_order(server)
        finally:
            for ended in (producer, trouble):
                ended.cancel()
            if worker.process is not None and worker.process.poll() is None:
                worker.kill()


def _check_order(server: SocketIoServer) -> None:
    firsts: dict[str, dict[int, None]] = {}
    for message, user in server.received:
        firsts.setdefault(user["userId"], {})[message["payload"]["sequence"]] = None
    for user, found in firsts.items():
        assert list(found) == sorted(found), user
