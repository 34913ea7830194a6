"""The service, killed for real: accepted jobs end once, and their notifications arrive (P1, P2, P4, P5)."""

import asyncio
import contextlib
import random
from pathlib import Path

import pytest

from tests.support.fault_proxy import fault_proxy
from tests.support.history.runs import judge_complete
from tests.support.ports import free_port
from tests.support.process import WorkerProcess, command, running_worker
from tests.support.socketio_server import SocketIoServer, socketio_server
from worker.cli.listener import Listener, Received
from worker.errors import Unavailable

pytestmark = pytest.mark.both_stores


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


async def _submit(worker: WorkerProcess, accepted: list[str], pause: float, enough: asyncio.Event) -> None:
    """Submit jobs, and record the ids of those that were accepted; the service may reject some or be down.

    Cancelled, it would leave a request behind that is carried out after the store was seen to be empty.
    """
    number = 0
    while not enough.is_set():
        jobs = [
            {"taskType": kind, "userId": f"user-{number % 7}", "payload": {**payload, "tag": f"{number}-{kind}"}}
            for kind, payload in (("noop", {}), ("sleep", {"seconds": 0.02}), ("fail", {"text": "no"}))
        ]
        number += 1
        try:
            answers = await asyncio.to_thread(worker.client.request, "POST", "/api/v1/jobs/batch", {"jobs": jobs})
        except Unavailable:
            await asyncio.sleep(0.01)
            continue
        accepted.extend(answer["jobId"] for answer in answers["jobs"])
        await asyncio.sleep(pause)


async def _all_arrived(server: SocketIoServer, accepted: list[str], seconds: float) -> None:
    wanted = set(accepted)
    async with asyncio.timeout(seconds):
        while not wanted <= {message["payload"]["jobId"] for message, _ in server.received}:
            await asyncio.sleep(0.05)


def _assert_promises_kept(worker: WorkerProcess, server: SocketIoServer) -> None:
    """The service has ended, and nothing was left to do."""
    verdict = judge_complete(worker, server.receptions(), max_attempts=3)
    assert verdict.is_clean, str(verdict)


@pytest.mark.sqlite_only("chaos")
@pytest.mark.kill
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kills", [50])
async def test_service_killed_at_random_moments_loses_and_doubles_nothing(tmp_path: Path, kills: int) -> None:
    accepted: list[str] = []
    enough = asyncio.Event()
    chance = random.Random(2569)
    async with socketio_server() as server:
        worker = WorkerProcess(tmp_path, _quick(server.url, free_port()))
        producer = asyncio.create_task(_submit(worker, accepted, 0.004, enough))
        try:
            for _ in range(kills):
                await worker.start()
                await asyncio.sleep(chance.uniform(0.0, 0.35))
                worker.kill()
            await worker.start()
            await asyncio.sleep(0.3)
            enough.set()
            await producer
            await _all_arrived(server, accepted, 120)
            await worker.until_idle()
            assert await worker.stop() == 0
            _assert_promises_kept(worker, server)
        finally:
            producer.cancel()
            if worker.process is not None and worker.process.poll() is None:
                worker.kill()
    assert len(accepted) > kills


async def test_job_that_kills_the_service_fails_after_its_attempts_and_others_are_not_charged(tmp_path: Path) -> None:
    mark = tmp_path / "starts"
    async with socketio_server() as server:
        settings = [*_quick(server.url, free_port()), "--Worker:MaxAttempts=2"]
        worker = WorkerProcess(tmp_path, settings)
        await worker.start()
        innocent = [{"taskType": "sleep", "userId": "u", "payload": {"seconds": 0.4}} for _ in range(4)]
        poison = {"taskType": "poison", "userId": "u", "payload": {"mark": str(mark)}}
        jobs = [*innocent[:2], poison, *innocent[2:]]
        answers = await asyncio.to_thread(worker.client.request, "POST", "/api/v1/jobs/batch", {"jobs": jobs})
        ids = [answer["jobId"] for answer in answers["jobs"]]
        for _ in range(8):
            assert worker.process is not None
            died = asyncio.create_task(asyncio.to_thread(worker.process.wait))
            done = asyncio.create_task(_all_arrived(server, ids, 120))
            await asyncio.wait([died, done], return_when=asyncio.FIRST_COMPLETED)
            if done.done():
                break
            done.cancel()
            await asyncio.gather(done, return_exceptions=True)
            await worker.start()
        worker.kill()
    notifications = {message["payload"]["jobId"]: message for message, _ in server.received}
    poisoned = notifications.pop(ids[2])
    assert poisoned["message"] == "Task Failed"
    assert poisoned["payload"]["attempt"] == 2
    assert [message["message"] for message in notifications.values()] == ["Task Finish"] * 4
    assert {message["payload"]["attempt"] for message in notifications.values()} == {1}
    # Two crashes of the service are not charged; after them a child process runs the job, and dies twice.
    assert len(mark.read_text().splitlines()) == 4


async def test_crash_of_a_child_process_is_charged_to_its_job_only(tmp_path: Path) -> None:
    async with socketio_server() as server:
        settings = [*_quick(server.url, free_port()), "--Worker:MaxAttempts=2"]
        async with running_worker(tmp_path, *settings) as worker:
            jobs = [
                {"taskType": "child-crash", "userId": "u", "payload": {}},
                {"taskType": "child", "userId": "u", "payload": {}},
            ]
            answers = await asyncio.to_thread(worker.client.request, "POST", "/api/v1/jobs/batch", {"jobs": jobs})
            ids = [answer["jobId"] for answer in answers["jobs"]]
            await _all_arrived(server, ids, 120)
            assert worker.process is not None
            assert worker.process.poll() is None
    notifications = {message["payload"]["jobId"]: message["payload"] for message, _ in server.received}
    assert notifications[ids[0]]["attempt"] == 2
    assert "SIGSEGV" in notifications[ids[0]]["error"]
    assert notifications[ids[1]]["status"] == "success"


@pytest.mark.sqlite_only("chaos")
@pytest.mark.kill
@pytest.mark.timeout(900)
async def test_browser_receives_every_job_once_in_order_across_kills(tmp_path: Path) -> None:
    port, user = free_port(), "เจ้าหน้าที่"
    url = f"http://127.0.0.1:{port}"
    chance = random.Random(7)
    worker = WorkerProcess(tmp_path, [*_quick(url, port), "--Hub:Enabled=true"])
    await worker.start()
    token = command(tmp_path, "token", "--user", user).stdout.strip()
    browser = Listener(url, "/api/v1/org-socket", "socket-notification", lambda: token)
    received_all: list[Received] = []
    listening = asyncio.create_task(_receive(browser, received_all))
    accepted: list[str] = []
    try:
        for _ in range(10):
            jobs = [{"taskType": "noop", "userId": user, "payload": {"number": n}} for n in range(40)]
            answers = await asyncio.to_thread(worker.client.request, "POST", "/api/v1/jobs/batch", {"jobs": jobs})
            accepted.extend(answer["jobId"] for answer in answers["jobs"])
            await asyncio.sleep(chance.uniform(0.0, 0.1))
            worker.kill()
            await worker.start()
        async with asyncio.timeout(120):
            while len(received_all) < len(accepted):
                await asyncio.sleep(0.05)
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        worker.kill()
    payloads = [received.message["payload"] for received in received_all]
    assert sorted(payload["jobId"] for payload in payloads) == sorted(accepted)
    assert [payload["sequence"] for payload in payloads] == list(range(1, len(accepted) + 1))


async def _receive(browser: Listener, received_all: list[Received]) -> None:
    async with contextlib.aclosing(browser.messages()) as messages:
        async for received in messages:
            received_all.append(received)


@pytest.mark.sqlite_only("chaos")
@pytest.mark.kill
@pytest.mark.timeout(900)
@pytest.mark.parametrize("mode", ["ack", "fence"])
async def test_notifications_arrive_in_order_across_kills_and_broken_networks(tmp_path: Path, mode: str) -> None:
    """The receiver sees every user's first arrivals in order, and each message always with the same id."""
    chance = random.Random(mode)
    accepted: list[str] = []
    enough = asyncio.Event()
    answer = (lambda _message, _user: None) if mode == "ack" else (lambda _message, _user: ...)
    async with socketio_server(answer=answer) as server, fault_proxy(server.port) as proxy:
        settings = [*_quick(proxy.url, free_port()), f"--WebSocket:Confirmation={mode}", "--WebSocket:AckTimeout=500"]
        worker = WorkerProcess(tmp_path, settings)
        producer = asyncio.create_task(_submit(worker, accepted, 0.005, enough))
        trouble = asyncio.create_task(proxy.misbehave(chance, 0.2))
        try:
            for _ in range(20):
                await worker.start()
                await asyncio.sleep(chance.uniform(0.05, 0.5))
                worker.kill()
            await worker.start()
            enough.set()
            await producer
            trouble.cancel()
            await asyncio.gather(trouble, return_exceptions=True)
            proxy.refusing, proxy.delay = False, 0.0
            proxy.cut()
            await _all_arrived(server, accepted, 120)
            await worker.until_idle()
            assert await worker.stop() == 0
            _assert_promises_kept(worker, server)
        finally:
            for ended in (producer, trouble):
                ended.cancel()
            if worker.process is not None and worker.process.poll() is None:
                worker.kill()
