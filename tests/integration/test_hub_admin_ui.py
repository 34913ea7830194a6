"""The namespace for @socket.io/admin-ui: off by default, its own login, what it shows and what it permits."""

from collections import Counter
from typing import Any

import orjson
import pytest
from pydantic import SecretStr

from config.hub_settings import AdminUiSettings, HubSettings
from tests.support.hub import Closed, message, running_hub
from worker.core.clock import Clock
from worker.hub.events import ClientDisconnected, ClientRejected, MessageRejected

PASSWORD = "a-password-for-this-test"
LOGIN = {"username": "admin", "password": PASSWORD}


@pytest.fixture
async def running(tmp_path):
    async with a_hub(tmp_path) as hub:
        yield hub


def a_hub(tmp_path, *, clock=None, **settings):
    admin_ui = AdminUiSettings(**{"enabled": True, "password": SecretStr(PASSWORD), **settings})
    return running_hub(tmp_path, settings=HubSettings(admin_ui=admin_ui), clock=clock)


class Page:
    """A page's side of the namespace."""

    def __init__(self, raw, namespace="/admin"):
        self.raw = raw
        self.namespace = namespace
        self.first_events: dict[str, Any] = {}

    @classmethod
    async def log_in(cls, running, auth=None, namespace="/admin"):
        """Logged in; the first events are in `first_events`."""
        page = cls(await running.raw(), namespace)
        await page.raw.next()
        await page.raw.send(f"40{namespace},{orjson.dumps(LOGIN if auth is None else auth).decode()}")
        answer = await page.raw.next()
        assert answer.startswith(f"40{namespace},"), answer
        page.first_events = dict([await page.next_native() for _ in range(4)])
        return page

    async def next_native(self, *names):
        """The next event, or the next of these names: (name, argument) or (name, arguments)."""
        while True:
            packet = await self.raw.next()
            if packet.startswith(f"42{self.namespace},"):
                name, *arguments = orjson.loads(packet[3 + len(self.namespace) :])
                if not names or name in names:
                    return name, arguments[0] if len(arguments) == 1 else arguments

    async def send_native(self, *event):
        await self.raw.send(f"42{self.namespace},{orjson.dumps(event).decode()}")


async def refused(running, auth):
    raw = await running.raw()
    await raw.next()
    await raw.send(f"40/admin,{orjson.dumps(auth).decode()}")
    return await raw.next()


async def test_namespace_is_unknown_unless_it_is_enabled(tmp_path):
    async with running_hub(tmp_path) as running:
        assert await refused(running, LOGIN) == '44/admin,{"message":"Invalid namespace"}'


@pytest.mark.parametrize(
    "auth",
    [
        {},
        {"username": "admin"},
        {"username": "admin", "password": "wrong"},
        {"username": "Admin", "password": PASSWORD},
        {"password": PASSWORD},
        {"sessionId": "x"},
        {"sessionId": None, "username": 1, "password": [PASSWORD]},
        {"token": "x"},
    ],
)
async def test_wrong_login_is_rejected_with_the_text_that_the_page_knows(running, auth):
    assert await refused(running, auth) == '44/admin,{"message":"invalid credentials"}'
    refusal = await running.wait_for_event(ClientRejected)
    assert "invalid credentials" in refusal.reason


@pytest.mark.parametrize("granted", [{}, {"publish": True}])
async def test_user_token_is_rejected(running, granted):
    token = running.token("ann", **granted)
    for auth in ({"token": token}, {"username": "admin", "password": token}):
        assert await refused(running, auth) == '44/admin,{"message":"invalid credentials"}'


async def test_page_is_closed_to_come_again_while_revocations_cannot_be_read(running):
    """Its token may be valid: it would forget its session if it were rejected, and wait after ten attempts."""
    auth = {"token": running.token("root", admin=True)}
    known, running.hub.tokens.revocations_known = running.hub.tokens.revocations_known, lambda: False
    for _ in range(11):
        with pytest.raises(Closed, match="1011"):
            await refused(running, auth)
    await Page.log_in(running)
    running.hub.tokens.revocations_known = known
    await Page.log_in(running, auth)


async def test_worker_token_is_rejected(running):
    assert "invalid" in await refused(running, {"token": running.hub.worker_token()})


async def test_login_without_a_configured_password_needs_an_admin_token(tmp_path):
    async with a_hub(tmp_path, password=None) as running:
        assert "invalid" in await refused(running, {"username": "admin", "password": ""})
        token = running.token("root", admin=True)
        await Page.log_in(running, {"token": token})
        await Page.log_in(running, {"username": "whoever", "password": token})


async def test_failed_logins_from_one_address_are_limited(tmp_path):
    now = 100.0
    async with a_hub(tmp_path, clock=Clock(monotonic=lambda: now)) as running:
        for number in range(10):
            await refused(running, {"username": "admin", "password": f"guess {number}"})
        assert "invalid" in await refused(running, LOGIN)
        now += 11.0
        await Page.log_in(running)


async def test_page_gets_all_clients_at_its_login(running):
    ann, phone = await running.browser("ann"), await running.native("ann")
    await phone.send_native("join-room", {"room": "lobby"})
    await phone.next_native("room-joined")
    page = await Page.log_in(running)
    assert page.first_events["config"] == {"supportedFeatures": ["AGGREGATED_EVENTS", "ALL_EVENTS"]}
    sockets = {socket["nsp"]: socket for socket in page.first_events["all_sockets"]}
    assert sockets["/"]["id"] == ann.client.get_sid()
    assert sockets["/"]["rooms"] == [ann.client.get_sid(), "user:ann"]
    assert sockets["/ws"]["rooms"][1:] == ["lobby", "user:ann"]
    assert sockets["/"]["data"] == {"userId": "ann", "scopes": []}
    assert sockets["/"]["handshake"]["address"] == "127.0.0.1"
    stats = page.first_events["server_stats"]
    assert stats["namespaces"] == [
        {"name": "/", "socketsCount": 1},
        {"name": "/ws", "socketsCount": 1},
        {"name": "/admin", "socketsCount": 1},
    ]
    assert stats["clientsCount"] == 3


async def test_page_gets_connections_disconnections_and_rooms(running):
    page = await Page.log_in(running)
    ann = await running.native("ann")
    _, (socket, _) = await page.next_native("socket_connected")
    assert (socket["nsp"], socket["data"]["userId"]) == ("/ws", "ann")
    assert (await page.next_native("room_joined"))[1][:3] == ["/ws", "user:ann", socket["id"]]
    await ann.send_native("join-room", {"room": "lobby"})
    assert (await page.next_native("room_joined"))[1][:3] == ["/ws", "lobby", socket["id"]]
    await ann.send_native("leave-room", {"room": "lobby"})
    assert (await page.next_native("room_left"))[1][:3] == ["/ws", "lobby", socket["id"]]
    await ann.close()
    assert (await page.next_native("room_left"))[1][:3] == ["/ws", "user:ann", socket["id"]]
    assert (await page.next_native("socket_disconnected"))[1][:2] == ["/ws", socket["id"]]


async def test_page_gets_statistics_every_two_seconds_without_message_content(running):
    page = await Page.log_in(running)
    publisher, ann = await running.publisher(), await running.browser("ann")
    await publisher.publish(message(1, error="ความลับ secret"))
    await ann.next()
    counted = Counter[str]()  # of all statistics: what is counted here may be in several of them
    while not counted["packetsOut"]:
        packet = await page.raw.next()
        assert "secret" not in packet
        if '"server_stats"' in packet:
            stats = orjson.loads(packet[len("42/admin,") :])[1]
            for each in stats["aggregatedEvents"]:
                counted[each["type"]] += each["count"]
    assert counted["rawConnection"] == 2
    assert counted["packetsIn"] == 1


async def test_page_reconnects_with_its_session(running):
    page = await Page.log_in(running)
    again = await Page.log_in(running, {"sessionId": page.first_events["session"]})
    assert again.first_events["session"] != page.first_events["session"]


async def test_revoked_token_closes_the_page_and_ends_its_session(running):
    page = await Page.log_in(running, {"token": running.token("root", admin=True, token_id="lost")})
    await running.hub.revoke("lost")
    assert await page.raw.wait_for_close_code() == 4401
    assert "invalid" in await refused(running, {"sessionId": page.first_events["session"]})


async def test_page_is_closed_when_its_token_expires(running):
    page = await Page.log_in(running, {"token": running.token("root", admin=True, days=1)})
    running.let_tokens_expire()
    assert await page.raw.wait_for_close_code() == 4401


async def test_read_only_page_cannot_disconnect_clients(running):
    ann, page = await running.browser("ann"), await Page.log_in(running)
    await page.send_native("_disconnect", "/", False, ann.client.get_sid())
    refusal = await running.wait_for_event(MessageRejected)
    assert "ReadOnly" in refusal.reason
    assert await ann.received_so_far() == []


@pytest.mark.parametrize("by", ["id", "room", "all"])
async def test_page_with_permission_disconnects_the_named_clients(tmp_path, by):
    async with a_hub(tmp_path, read_only=False) as running:
        ann, bob, page = await running.browser("ann"), await running.native("bob"), await Page.log_in(running)
        assert "DISCONNECT" in page.first_events["config"]["supportedFeatures"]
        chosen = {"id": ann.client.get_sid(), "room": "user:ann", "all": None}[by]
        await page.send_native(*("_disconnect", "/", True, chosen)[: 3 if chosen is None else 4])
        ended = await running.wait_for_event(ClientDisconnected)
        assert (ended.user_id, ended.code, ended.reason) == ("ann", 1001, "ended by admin (admin-ui)")
        assert await bob.received_so_far() == []


@pytest.mark.parametrize(
    "order",
    [
        ["emit", "/", "user:ann", "socket-notification", {}],
        ["join", "/", "user:bob", "user:ann"],
        ["leave", "/", "user:ann", None],
        ["socket-notification", {}, {"userId": "ann"}],
        ["_disconnect", "/", True, {"room": "user:ann"}],
        ["x" * 5000],
    ],
)
async def test_page_cannot_move_clients_or_emit_events(tmp_path, order):
    async with a_hub(tmp_path, read_only=False) as running:
        ann, page = await running.browser("ann"), await Page.log_in(running)
        await page.send_native(*order)
        await running.wait_for_event(MessageRejected)
        assert await ann.received_so_far() == []
        assert running.hub.hub.rooms.rooms_of(running.hub.hub.clients[ann.client.get_sid()]) == {"user:ann"}


async def test_many_malformed_events_close_the_page(running):
    page = await Page.log_in(running)
    for _ in range(25):
        await page.send_native("nonsense")
    assert await page.raw.wait_for_close_code() == 4429


async def test_namespace_can_have_another_name(tmp_path):
    async with a_hub(tmp_path, namespace="/watch") as running:
        assert "Invalid namespace" in await refused(running, LOGIN)
        page = await Page.log_in(running, namespace="/watch")
        assert page.first_events["server_stats"]["namespaces"][-1] == {"name": "/watch", "socketsCount": 1}


async def test_page_above_the_limit_is_rejected(running):
    for _ in range(20):
        await Page.log_in(running)
    with pytest.raises(Closed, match="4409"):
        await refused(running, LOGIN)


async def test_client_of_the_main_namespace_cannot_send_to_the_admin_namespace(running):
    raw = await running.raw()
    await raw.connect_with({"token": running.token("ann")})
    await raw.send('42/admin,["_disconnect","/",true]')
    assert await raw.wait_for_close_code() == 1002
