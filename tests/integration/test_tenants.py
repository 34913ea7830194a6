"""No job, file or notification is shown to, or changed by, a caller of another owner.

One service with every route; each of them is called by every kind of caller for own and foreign jobs.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import orjson
import pytest

from tests.support.publisher import Publisher
from tests.support.tenants import (
    ANN,
    ANN_READS,
    BOTH,
    KIND,
    OFFICE,
    OPERATOR,
    OWNERS,
    PRODUCER,
    READER,
    ROSTER,
    KeyKind,
    Tenants,
    tenants,
    with_ended_jobs,
)
from worker.api.routing import Route
from worker.core.events import LoopFailed
from worker.hub.events import MessageRejected

OF_ANN, OF_BOB, OF_ANN_IN_OFFICE, OF_OFFICE, OF_ORGANISATION_ANN = (owner.secret for owner in OWNERS)
EVERYTHING = frozenset(owner.secret for owner in OWNERS)


@dataclass(frozen=True)
class CallerKind:
    """Credentials, and the words of the owners whose jobs the caller may see."""

    name: str
    credential: str | None
    sees: frozenset[str]


def callers(service: Tenants) -> list[CallerKind]:
    tokens = service.components.api.authenticator.authority
    assert tokens is not None
    own = frozenset({OF_ANN, OF_ANN_IN_OFFICE})
    return [
        CallerKind("operator", OPERATOR.name, EVERYTHING),
        CallerKind("reader", READER.name, EVERYTHING),
        CallerKind("producer", PRODUCER.name, frozenset()),
        CallerKind("key of a user", ANN.name, own),
        CallerKind("reading key of a user", ANN_READS.name, own),
        CallerKind("key of an organisation", OFFICE.name, frozenset({OF_ANN_IN_OFFICE, OF_OFFICE})),
        CallerKind("key of a user in an organisation", BOTH.name, frozenset({OF_ANN_IN_OFFICE})),
        CallerKind("end user", tokens.mint("ann"), own),
        CallerKind("nobody", None, frozenset()),
    ]


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Tenants]:
    async with tenants(tmp_path) as service:
        yield service


def addresses(service: Tenants, route: Route, secret: str) -> list[str]:
    """Return the addresses under which the route could show or change what belongs to this owner."""
    filled = route.path
    is_notification = route.path.startswith("/api/v1/notifications/")
    names = {
        "id": (service.notifications if is_notification else service.jobs)[secret],
        "name": "results.csv",
        "n": "1",
    }
    for name in route.parameters:
        filled = filled.replace(f"{{{name}}}", names.get(name, "x"))
    if route.method != "GET" or "{" in route.path:
        return [filled]
    job_id = service.jobs[secret]
    owner = next(owner for owner in OWNERS if owner.secret == secret)
    queries = ["", f"?text={secret}", f"?userId={owner.user}", f"?jobId={job_id}", f"?actor={OPERATOR.name}"]
    return [filled + query for query in [*queries, f"?organization={owner.organization}"]]


def bodies(service: Tenants, route: Route, secret: str) -> list[Any]:
    """Return bodies that name the owner, or the owner's job, in every way that the route knows."""
    owner = next(owner for owner in OWNERS if owner.secret == secret)
    job_id, notification_id = service.jobs[secret], service.notifications[secret]
    bodies: Mapping[str, list[Any]] = {
        "/api/v1/jobs/bulk": [
            {"action": "retry", "ids": [job_id]},
            {"action": "retry", "filter": {"userId": owner.user, "status": ["succeeded"]}},
            {"action": "retry", "filter": {"text": secret, "status": ["succeeded"]}},
        ],
        "/api/v1/notifications/bulk": [
            {"action": "resend", "ids": [notification_id]},
            {"action": "resend", "filter": {"userId": owner.user, "status": "pending"}},
        ],
    }
    return bodies.get(route.path, [None if route.method == "GET" else {}])


async def called(service: Tenants, caller: CallerKind) -> tuple[set[str], int]:
    """Call every route for every owner, and those that change something for foreign owners only.

    Returns whose words the responses contained, and the number of calls.
    """
    seen: set[str] = set()
    calls = 0
    for route in service.routes():
        for secret in EVERYTHING if route.method == "GET" else EVERYTHING - caller.sees:
            for address in addresses(service, route, secret):
                for body in bodies(service, route, secret):
                    status, text = await service.ask(route.method, address, body, key=caller.credential)
                    found = {word for word in EVERYTHING if word in text}
                    assert found <= caller.sees, (caller.name, route.method, address, status, text)
                    assert status != 500, (caller.name, address, text)
                    seen |= found
                    calls += 1
    return seen, calls


async def test_no_route_shows_or_changes_what_belongs_to_another_owner(service: Tenants) -> None:
    await with_ended_jobs(service)
    store = service.components.jobs.store
    total = 0
    for caller in callers(service):
        foreign = [service.jobs[secret] for secret in sorted(EVERYTHING - caller.sees)]
        before = [(await store.get(job_id), await store.deliveries(job_id)) for job_id in foreign]
        seen, calls = await called(service, caller)
        assert [(await store.get(job_id), await store.deliveries(job_id)) for job_id in foreign] == before, caller
        # All that is the caller's own is shown, or this test would prove nothing.
        assert seen == caller.sees, caller
        total += calls
    assert total > 3_000


async def test_own_jobs_can_be_read_and_changed_by_each_key(service: Tenants) -> None:
    await with_ended_jobs(service)
    for caller in callers(service):
        for secret, job_id in service.jobs.items():
            base = "/api/v1/me/jobs" if caller.name == "end user" else "/api/v1/jobs"
            status, _ = await service.ask("GET", f"{base}/{job_id}/files/results.csv", key=caller.credential)
            assert (status == 200) is (secret in caller.sees), (caller.name, secret, status)


# -- whose a job is ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "user", "organization", "expected"),
    [
        (ANN, None, None, 202),
        (ANN, "ann", None, 202),
        (ANN, "bob", None, 403),
        (ANN, "ann", "bob", 403),
        (ANN, "ann", "office", 403),
        (ANN, "ann", "ann", 403),
        (ANN, "ann", " office", 403),
        (ANN, "ann", ["office"], 403),
        (ANN, "ann", {"office": 1}, 403),
        (ANN, "ann", "", 403),
        (OFFICE, "bob", "office", 202),
        (OFFICE, "bob", "Office", 403),
        (OFFICE, "bob", None, 403),
        (BOTH, "ann", "office", 202),
        (BOTH, "ann", None, 403),
        (BOTH, "bob", "office", 403),
        (OPERATOR, "bob", "office", 202),
    ],
)
async def test_bound_key_can_name_no_other_owner(
    service: Tenants, key: KeyKind, user: str | None, organization: Any, expected: int
) -> None:
    payload = {"round": 2569, "officers": []} | ({} if organization is None else {"organization": organization})
    job = {"taskType": KIND, "payload": payload} | ({} if user is None else {"userId": user})
    for path, body in (("/api/v1/jobs", job), ("/api/v1/jobs/batch", {"jobs": [job]})):
        status, text = await service.ask("POST", path, body, key=key.name)
        assert status == expected, text
    named = {name: value for name, value in payload.items() if name != "officers"}
    status, answer = await service.upload(key.name, named, user)
    assert status == expected, answer


async def test_uploads_of_a_user_and_of_an_organisation_of_one_name_are_apart(service: Tenants) -> None:
    paths = []
    for payload, user in (({"round": 2569}, "office"), ({"round": 2569, "organization": "office"}, "ann")):
        status, answer = await service.upload(OPERATOR.name, payload, user)
        assert status == 202
        record = await service.components.jobs.service.show(answer["jobId"])
        paths.append(orjson.loads(record.payload)["roster"])
        _, listed = await service.json("GET", f"/api/v1/jobs/{record.id}/files", key=OPERATOR.name)
        assert [file["field"] for file in listed["files"]] == ["roster"]
    assert [path.rsplit("/", 2)[0] for path in paths] == ["uploads/user/office", "uploads/organization/office"]


async def test_files_uploaded_before_there_were_owner_folders_are_still_served(service: Tenants) -> None:
    _, answer = await service.upload(OPERATOR.name, {"round": 2569}, "ann")
    uploads = service.components.maintenance.upload_cleaner.uploads
    folder = uploads.folder_of(answer["jobId"], ("ann", None))
    folder.rename(folder.parents[2] / folder.name)
    _, listed = await service.json("GET", f"/api/v1/jobs/{answer['jobId']}/files", key=OPERATOR.name)
    status, text = await service.ask("GET", listed["files"][0]["href"], key=OPERATOR.name)
    assert (status, text.encode()) == (200, ROSTER)


# -- what a payload may read -------------------------------------------------------------------------------------------


def with_rosters(service: Tenants) -> Path:
    data = Path(service.components.jobs.service.sections["Insignia"].data_directory)
    for folder in ("of-ann", "of-office", "of-ann-too"):
        (data / folder).mkdir(parents=True)
        (data / folder / "r.csv").write_bytes(ROSTER)
    (data / "top.csv").write_bytes(ROSTER)
    (data / "of-ann" / "link.csv").symlink_to(data / "of-office" / "r.csv")
    (data / "of-ann" / "up").symlink_to(data)
    return data


async def named(service: Tenants, key: KeyKind, path: Any, **fields: Any) -> tuple[int, Any]:
    organization = {"organization": "office"} if key is OFFICE else {}
    job = {"taskType": KIND, "userId": "ann", "payload": {"round": 2569, "roster": path} | organization | fields}
    return await service.json("POST", "/api/v1/jobs", job, key=key.name)


@pytest.mark.parametrize(
    "path",
    [
        *("of-office/r.csv", "top.csv", "of-ann-too/r.csv", "of-ann/../of-office/r.csv", "./of-office/r.csv"),
        *("of-office//r.csv", "of-ann/link.csv", "of-ann/up/of-office/r.csv", "/etc/passwd", "../../etc/passwd"),
        *("of-ann\0/r.csv", "OF-OFFICE/r.csv", "of-office/missing.csv", "x" * 999, "of-ann/../../rosters/top.csv"),
        *("uploads/user/bob/nothing/r.csv", "uploads/.incoming-1/r.csv", "of-ann/up/uploads/x", "uploads"),
    ],
)
async def test_payload_names_no_file_that_its_key_may_not_read(service: Tenants, path: str) -> None:
    with_rosters(service)
    answers = [await named(service, ANN, path)]
    answers += [await named(service, ANN, "of-ann/r.csv", history=path)]
    answers += [await named(service, PRODUCER, path)]
    for status, answer in answers:
        assert status == 403, answer
        # The same words whether the file exists or not.
        assert answer["detail"].startswith("this key may not read the file that payload.")
        assert path not in answer["detail"]
    form = aiohttp.FormData(quote_fields=False)
    form.add_field("job", json.dumps({"taskType": KIND, "payload": {"round": 2569, "history": path}}))
    form.add_field("roster", ROSTER, filename="r.csv", content_type="text/csv")
    assert (await service.ask("POST", "/api/v1/jobs/upload", form, key=ANN.name))[0] == 403


async def test_payload_names_files_of_opened_folders_and_of_own_uploads(service: Tenants) -> None:
    data = with_rosters(service)
    for key, path in ((ANN, "of-ann/r.csv"), (ANN, "of-ann/later.csv"), (OFFICE, "of-office/r.csv")):
        assert (await named(service, key, path))[0] == 202
    assert (await named(service, OPERATOR, "of-office/r.csv"))[0] == 202
    own, others = [(await service.upload(OPERATOR.name, {"round": 2569}, user))[1] for user in ("ann", "bob")]
    for answer, status in ((own, 202), (others, 403)):
        record = await service.components.jobs.service.show(answer["jobId"])
        path = orjson.loads(record.payload)["roster"]
        assert (data / path).is_file()
        assert (await named(service, ANN, path))[0] == status
        # A key that may submit but not read may not read by a detour.
        assert (await named(service, PRODUCER, path))[0] == 403


# -- listening ---------------------------------------------------------------------------------------------------------


async def test_page_of_an_operator_never_listens_as_the_default_user(service: Tenants) -> None:
    authority = service.components.api.authenticator.authority
    assert authority is not None
    for key in (OPERATOR, READER):
        identity = authority.identify(await service.hub_token(key))
        assert identity.user == f"key:{key.name}"
    _, session = await service.json("GET", "/api/v1/session", key=OPERATOR.name)
    assert session["defaultUserId"] == "ann"


async def test_page_of_an_operator_leaves_the_default_users_notifications_to_that_user(service: Tenants) -> None:
    hub = service.components.delivery.hub
    assert hub is not None
    await Publisher(int(service.url.rpartition(":")[2]), hub.tokens.mint("p", publish=True)).publish(1)

    async def received(token: str) -> list[str]:
        """Return the types of the messages until the hub has answered an echo, which comes after all that waits."""
        address = service.url.replace("http", "ws", 1) + "/ws"
        async with service.session.ws_connect(address, headers={"Authorization": f"Bearer {token}"}) as socket:
            types = [(await socket.receive_json())["type"]]
            await socket.send_json({"type": "echo", "data": 1})
            while types[-1] != "echo":
                types.append((await socket.receive_json())["type"])
            return types

    for key in (OPERATOR, READER):
        assert await received(await service.hub_token(key)) == ["welcome", "echo"]
    assert "notification" in await received(hub.tokens.mint("ann"))


# -- what a token allows, and when it ends -----------------------------------------------------------------------------


async def socket_of(service: Tenants, token: str) -> aiohttp.ClientWebSocketResponse:
    address = service.url.replace("http", "ws", 1) + "/ws"
    socket = await service.session.ws_connect(address, headers={"Authorization": f"Bearer {token}"})
    assert (await socket.receive_json())["type"] == "welcome"
    return socket


async def test_token_of_a_reading_key_cannot_cancel_by_any_interface(service: Tenants) -> None:
    job = {"taskType": KIND, "userId": "ann", "payload": {"round": 2569, "officers": []}}
    _, accepted = await service.json("POST", "/api/v1/jobs", job, key=OPERATOR.name)
    job_id = accepted["jobId"]
    token = await service.hub_token(ANN_READS)
    status, answer = await service.json("POST", f"/api/v1/me/jobs/{job_id}/cancel", key=token)
    assert (status, answer["detail"].startswith("this token may only read")) == (403, True)
    assert (await service.ask("GET", f"/api/v1/me/jobs/{job_id}", key=token))[0] == 200
    socket = await socket_of(service, token)
    await socket.send_json({"type": "cancel", "data": {"jobId": job_id}})
    assert (await socket.receive_json())["data"]["code"] == "forbidden"
    # A newer token of the same user does not extend what the connection allows.
    await socket.send_json({"type": "auth", "data": {"token": await service.hub_token(ANN)}})
    assert (await socket.receive_json())["data"]["code"] == "unauthorized"
    await socket.close()
    assert (await service.components.jobs.service.show(job_id)).state == "queued"
    full = await service.hub_token(ANN)
    assert (await service.ask("POST", f"/api/v1/me/jobs/{job_id}/cancel", key=full))[0] == 202


@pytest.mark.parametrize(
    "after",
    [
        [OPERATOR],
        [OPERATOR, replace(ANN, scopes=["read"])],
        [OPERATOR, replace(ANN, users=["bob"])],
        [OPERATOR, replace(ANN, users=["ann", "bob"])],
        [OPERATOR, replace(ANN, organizations=["office"])],
        [OPERATOR, replace(ANN, folders=[])],
    ],
)
async def test_key_that_is_removed_or_changed_ends_its_sessions_tokens_and_connections(
    service: Tenants, after: list[KeyKind]
) -> None:
    login = await service.session.post(f"{service.url}/api/v1/session", json={"key": ANN.name})
    cookie = login.headers["Set-Cookie"].partition(";")[0]
    tokens = [(await login.json())["hub"]["token"], await service.hub_token(ANN), await service.hub_token(OPERATOR)]
    sockets = [await socket_of(service, token) for token in tokens]
    assert (await service.ask("GET", "/api/v1/session", Cookie=cookie))[0] == 200
    await service.write(keys=after)
    assert (await service.ask("GET", "/api/v1/session", Cookie=cookie))[0] == 401
    for token, socket in zip(tokens[:2], sockets[:2], strict=True):
        while (message := await socket.receive(timeout=30)).type is aiohttp.WSMsgType.TEXT:
            assert json.loads(message.data)["type"] == "error"  # says why, before the connection is closed
        assert socket.close_code == 4401
        assert (await service.ask("GET", "/api/v1/me", key=token))[0] == 401
    assert (await service.ask("GET", "/api/v1/me", key=tokens[2]))[0] == 200
    await sockets[2].send_json({"type": "ping", "data": 1})
    assert (await sockets[2].receive_json())["type"] == "pong"
    await sockets[2].close()


async def test_token_of_another_service_with_the_same_signing_key_is_not_rejected_for_its_key(service: Tenants) -> None:
    tokens = service.components.api.authenticator.authority
    assert tokens is not None
    elsewhere = tokens.mint_for_key("ann", "0f0f0f0f:" + "a" * 32, read_only=False, days=0.01)
    assert (await service.ask("GET", "/api/v1/me", key=elsewhere))[0] == 200
    unknown = tokens.mint_for_key("ann", f"{tokens.issuing_service}:" + "a" * 32, read_only=False, days=0.01)
    assert (await service.ask("GET", "/api/v1/me", key=unknown))[0] == 401


async def test_reason_for_a_refused_token_is_in_the_log_alone(service: Tenants) -> None:
    tokens = service.components.api.authenticator.authority
    assert tokens is not None
    socket = await socket_of(service, tokens.mint("ann"))
    refused = [
        *("", "x", "eyJhbGciOiJIUzI1NiJ9", "eyJ.a.b", tokens.mint("ann", days=-1), tokens.mint("bob")),
        tokens.mint("ann", admin=True),
        None,
    ]
    for token in refused:
        await socket.send_json({"type": "auth", "data": {"token": token}})
        answer = await socket.receive_json()
        assert (answer["type"], answer["data"]["message"]) == ("error", "unauthorized")
    await socket.close()
    reasons = {event.reason for event in service.collector.of(MessageRejected)}
    assert any("expired" in reason.lower() for reason in reasons)
    assert any("another user" in reason for reason in reasons)


@pytest.mark.parametrize(
    "authorization",
    [b"Bearer eyJ\xff.a.b", b"Bearer eyJhbGciOiJIUzI1NiJ9.\xed\xa0\x80.b", b"Bearer eyJ" + b"9" * 5000 + b".a.b"],
)
async def test_token_that_is_not_text_is_unauthorized_and_no_error(service: Tenants, authorization: bytes) -> None:
    port = int(service.url.rpartition(":")[2])
    for path in (b"/api/v1/me", b"/ws?lastSeq=" + b"9" * 5000):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        upgrade = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        upgrade = upgrade + b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n" if path.startswith(b"/ws") else b""
        head = b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n" + upgrade + b"Authorization: " + authorization
        writer.write(head + b"\r\nConnection: close\r\n\r\n" if not upgrade else head + b"\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(), 30)
        assert answer.split()[1] in (b"401", b"101"), answer
        writer.close()
        await writer.wait_closed()
    assert service.collector.of(LoopFailed) == []


async def test_number_beyond_every_clock_in_a_signed_token_is_unauthorized(service: Tenants) -> None:
    tokens = service.components.api.authenticator.authority
    assert tokens is not None
    for expires in (10**400, 10**30, -(10**400)):
        claims = {"sub": "ann", "aud": tokens.audience, "iss": tokens.issuer, "exp": expires}
        token = jwt.encode(claims, tokens.signing_key, "HS256")
        assert (await service.ask("GET", "/api/v1/me", key=token))[0] in (401, 200)
    assert service.collector.of(LoopFailed) == []


# -- over the hub ------------------------------------------------------------------------------------------------------

UNKNOWN_JOB = "0199a1b2-0000-7ab1-8345-0123456789ab"


class HubClient:
    """A client of the hub, over Socket.IO or natively, that sends commands and reads their answers."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, *, is_native: bool) -> None:
        self._socket, self._is_native = socket, is_native
        self.received: list[str] = []

    @classmethod
    async def connect(cls, service: Tenants, token: str, *, is_native: bool) -> "HubClient":
        if is_native:
            return cls(await socket_of(service, token), is_native=True)
        address = service.url.replace("http", "ws", 1) + "/api/v1/org-socket/?EIO=4&transport=websocket"
        client = cls(await service.session.ws_connect(address), is_native=False)
        assert (await client._socket.receive()).data.startswith("0")
        await client._socket.send_str(f"40{json.dumps({'token': token})}")
        while not (await client._next()).startswith("40"):
            pass
        return client

    async def answer(self, command: str, data: Any) -> str:
        """Return the answer as text; what comes before it is kept in `received`."""
        if self._is_native:
            await self._socket.send_json({"type": command, "data": data})
            return json.dumps(
                {name: part for name, part in json.loads(await self._next()).items() if name != "timestamp"}
            )
        await self._socket.send_str(f"421{json.dumps([command, data])}")
        while not (frame := await self._next()).startswith("431"):
            self.received.append(frame)
        return frame

    async def echoed(self) -> list[str]:
        """Return everything that came until the answer to an echo, which comes after all that waits."""
        if self._is_native:
            await self._socket.send_json({"type": "echo", "data": "end"})
            while json.loads(message := await self._next())["type"] != "echo":
                self.received.append(message)
        else:
            await self.answer("echo", "end")
        return self.received

    async def close(self) -> None:
        await self._socket.close()

    async def _next(self) -> str:
        while (message := await self._socket.receive(timeout=60)).data == "2":
            await self._socket.send_str("3")
        return str(message.data)


def job_commands(job_id: str) -> list[tuple[str, Any]]:
    return [
        ("cancel", {"jobId": job_id}),
        ("cancel", job_id),
        ("join-room", {"room": f"task:{job_id}"}),
        ("subscribe", {"jobId": job_id}),
        ("subscribe", f"task:{job_id}"),
        ("subscribe", {"type": f"task:{job_id}"}),
    ]


@pytest.mark.parametrize("is_native", [True, False], ids=["native", "Socket.IO"])
async def test_hub_client_learns_nothing_of_jobs_and_rooms_of_another_owner(service: Tenants, is_native: bool) -> None:
    hub, store = service.components.delivery.hub, service.components.jobs.service
    assert hub is not None
    tokens = {
        "user": (hub.tokens.mint("ann"), {OF_ANN, OF_ANN_IN_OFFICE}),
        "key of a user": (await service.hub_token(ANN), {OF_ANN, OF_ANN_IN_OFFICE}),
        "key that reads for a user": (await service.hub_token(ANN_READS), {OF_ANN, OF_ANN_IN_OFFICE}),
        "key of an organisation": (await service.hub_token(OFFICE), set()),
        "key of both": (await service.hub_token(BOTH), set()),
        "other user": (hub.tokens.mint("mallory"), set()),
    }
    before = {secret: await store.show(job_id) for secret, job_id in service.jobs.items()}
    for name, (token, owned) in tokens.items():
        client = await HubClient.connect(service, token, is_native=is_native)
        for secret, job_id in service.jobs.items():
            if secret in owned:
                continue
            for (command, data), (_, unknown) in zip(job_commands(job_id), job_commands(UNKNOWN_JOB), strict=True):
                foreign = await client.answer(command, data)
                assert foreign.replace(job_id, UNKNOWN_JOB) == await client.answer(command, unknown), (name, command)
        for room in ("user:bob", "user:dave"):
            assert "forbidden" in await client.answer("join-room", {"room": room}), (name, room)
        for command in ("publish", "broadcast"):
            assert "forbidden" in await client.answer(command, {"type": "alarm", "room": "user:bob"}), (name, command)
        publisher = Publisher(int(service.url.rpartition(":")[2]), hub.tokens.mint("p", publish=True), user="bob")
        await publisher.publish(1)
        assert not any("bob" in message for message in await client.echoed()), name
        await client.close()
    assert {secret: await store.show(job_id) for secret, job_id in service.jobs.items()} == before
