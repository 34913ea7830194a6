"""The namespace for @socket.io/admin-ui: off by default, a login of its own, what it tells and what it lets do."""

import orjson
import pytest
from pydantic import SecretStr

from config.settings import AdminUiSettings, HubSettings
from tests.support.hub import message, running_hub
from worker.hub.events import ClientDisconnected, ClientRefused, MessageRefused

PASSWORD = "a-password-for-this-test"
LOGIN = {"username": "admin", "password": PASSWORD}


@pytest.fixture
async def running(tmp_path):
    async with a_hub(tmp_path) as hub:
        yield hub


def a_hub(tmp_path, **settings):
    admin_ui = AdminUiSettings(**{"enabled": True, "password": SecretStr(PASSWORD), **settings})
    return running_hub(tmp_path, settings=HubSettings(admin_ui=admin_ui))


class Page:
    """A page's side of the namespace."""

    def __init__(self, raw, namespace="/admin"):
        self.raw = raw
        self.namespace = namespace

    @classmethod
    async def log_in(cls, running, auth=None, namespace="/admin"):
        """Past its login; what it is told at first is in `told`."""
        page = cls(await running.raw(), namespace)
        await page.raw.next()
        await page.raw.send(f"40{namespace},{orjson.dumps(LOGIN if auth is None else auth).decode()}")
        answer = await page.raw.next()
        assert answer.startswith(f"40{namespace},"), answer
        page.told = dict([await page.hear() for _ in range(4)])
        return page

    async def hear(self, *names):
        """The next event, or the next of these names: (name, argument) or (name, arguments)."""
        while True:
            packet = await self.raw.next()
            if packet.startswith(f"42{self.namespace},"):
                name, *arguments = orjson.loads(packet[3 + len(self.namespace) :])
                if not names or name in names:
                    return name, arguments[0] if len(arguments) == 1 else arguments

    async def say(self, *event):
        await self.raw.send(f"42{self.namespace},{orjson.dumps(event).decode()}")


async def refused(running, auth):
    raw = await running.raw()
    await raw.next()
    await raw.send(f"40/admin,{orjson.dumps(auth).decode()}")
    return await raw.next()


async def test_the_namespace_is_unknown_unless_switched_on(tmp_path):
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
async def test_a_wrong_login_is_refused_in_the_words_the_page_knows(running, auth):
    assert await refused(running, auth) == '44/admin,{"message":"invalid credentials"}'
    refusal = await running.happened(ClientRefused)
    assert "invalid credentials" in refusal.reason


@pytest.mark.parametrize("granted", [{}, {"publish": True}])
async def test_a_users_token_opens_nothing(running, granted):
    token = running.token("ann", **granted)
    for auth in ({"token": token}, {"username": "admin", "password": token}):
        assert await refused(running, auth) == '44/admin,{"message":"invalid credentials"}'


async def test_the_workers_own_token_opens_nothing(running):
    assert "invalid" in await refused(running, {"token": running.hub.worker_token()})


async def test_without_a_password_only_an_admins_token_is_let_in(tmp_path):
    async with a_hub(tmp_path, password=None) as running:
        assert "invalid" in await refused(running, {"username": "admin", "password": ""})
        token = running.token("root", admin=True)
        await Page.log_in(running, {"token": token})
        await Page.log_in(running, {"username": "whoever", "password": token})


async def test_passwords_cannot_be_tried_at_leisure(running):
    for number in range(10):
        await refused(running, {"username": "admin", "password": f"guess {number}"})
    assert "invalid" in await refused(running, LOGIN)


async def test_the_page_is_told_who_is_there(running):
    ann, phone = await running.browser("ann"), await running.native("ann")
    await phone.say("join-room", {"room": "lobby"})
    await phone.hear("room-joined")
    page = await Page.log_in(running)
    assert page.told["config"] == {"supportedFeatures": ["AGGREGATED_EVENTS", "ALL_EVENTS"]}
    sockets = {socket["nsp"]: socket for socket in page.told["all_sockets"]}
    assert sockets["/"]["id"] == ann.client.get_sid()
    assert sockets["/"]["rooms"] == [ann.client.get_sid(), "user:ann"]
    assert sockets["/ws"]["rooms"][1:] == ["lobby", "user:ann"]
    assert sockets["/"]["data"] == {"userId": "ann", "scopes": []}
    assert sockets["/"]["handshake"]["address"] == "127.0.0.1"
    stats = page.told["server_stats"]
    assert stats["namespaces"] == [
        {"name": "/", "socketsCount": 1},
        {"name": "/ws", "socketsCount": 1},
        {"name": "/admin", "socketsCount": 1},
    ]
    assert stats["clientsCount"] == 3


async def test_the_page_hears_who_comes_and_goes_and_of_rooms(running):
    page = await Page.log_in(running)
    ann = await running.native("ann")
    _, (socket, _) = await page.hear("socket_connected")
    assert (socket["nsp"], socket["data"]["userId"]) == ("/ws", "ann")
    assert (await page.hear("room_joined"))[1][:3] == ["/ws", "user:ann", socket["id"]]
    await ann.say("join-room", {"room": "lobby"})
    assert (await page.hear("room_joined"))[1][:3] == ["/ws", "lobby", socket["id"]]
    await ann.say("leave-room", {"room": "lobby"})
    assert (await page.hear("room_left"))[1][:3] == ["/ws", "lobby", socket["id"]]
    await ann.close()
    assert (await page.hear("room_left"))[1][:3] == ["/ws", "user:ann", socket["id"]]
    assert (await page.hear("socket_disconnected"))[1][:2] == ["/ws", socket["id"]]


async def test_figures_come_every_two_seconds_without_a_word_of_the_news(running):
    page = await Page.log_in(running)
    publisher, ann = await running.publisher(), await running.browser("ann")
    await publisher.publish(message(1, error="ความลับ secret"))
    await ann.next()
    counted = {}
    while "packetsOut" not in counted:
        packet = await page.raw.next()
        assert "secret" not in packet
        if '"server_stats"' in packet:
            stats = orjson.loads(packet[len("42/admin,") :])[1]
            counted |= {each["type"]: each["count"] for each in stats["aggregatedEvents"]}
    assert counted["rawConnection"] == 2
    assert counted["packetsIn"] == 1


async def test_the_page_comes_back_by_its_session(running):
    page = await Page.log_in(running)
    again = await Page.log_in(running, {"sessionId": page.told["session"]})
    assert again.told["session"] != page.told["session"]


async def test_a_revoked_token_ends_page_and_session(running):
    page = await Page.log_in(running, {"token": running.token("root", admin=True, token_id="lost")})
    await running.hub.revoke("lost")
    assert await page.raw.ended() == 4401
    assert "invalid" in await refused(running, {"sessionId": page.told["session"]})


async def test_looking_ends_with_the_token(running):
    page = await Page.log_in(running, {"token": running.token("root", admin=True, days=1.5 / 86400)})
    assert await page.raw.ended() == 4401


async def test_reading_only_it_disconnects_nobody(running):
    ann, page = await running.browser("ann"), await Page.log_in(running)
    await page.say("_disconnect", "/", False, ann.client.get_sid())
    refusal = await running.happened(MessageRefused)
    assert "ReadOnly" in refusal.reason
    assert await ann.rest() == []


@pytest.mark.parametrize("by", ["id", "room", "all"])
async def test_allowed_to_it_disconnects_whom_it_names(tmp_path, by):
    async with a_hub(tmp_path, read_only=False) as running:
        ann, bob, page = await running.browser("ann"), await running.native("bob"), await Page.log_in(running)
        assert "DISCONNECT" in page.told["config"]["supportedFeatures"]
        chosen = {"id": ann.client.get_sid(), "room": "user:ann", "all": None}[by]
        await page.say(*("_disconnect", "/", True, chosen)[: 3 if chosen is None else 4])
        ended = await running.happened(ClientDisconnected)
        assert (ended.user_id, ended.code, ended.reason) == ("ann", 1001, "ended by admin (admin-ui)")
        assert await bob.rest() == []


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
async def test_nobody_is_put_into_a_room_and_no_event_is_made_up(tmp_path, order):
    async with a_hub(tmp_path, read_only=False) as running:
        ann, page = await running.browser("ann"), await Page.log_in(running)
        await page.say(*order)
        await running.happened(MessageRefused)
        assert await ann.rest() == []
        assert running.hub._core.rooms.of(running.hub._core.clients[ann.client.get_sid()]) == {"user:ann"}


async def test_nonsense_in_numbers_ends_the_page(running):
    page = await Page.log_in(running)
    for _ in range(25):
        await page.say("nonsense")
    assert await page.raw.ended() == 4429


async def test_the_namespace_may_have_another_name(tmp_path):
    async with a_hub(tmp_path, namespace="/watch") as running:
        assert "Invalid namespace" in await refused(running, LOGIN)
        page = await Page.log_in(running, namespace="/watch")
        assert page.told["server_stats"]["namespaces"][-1] == {"name": "/watch", "socketsCount": 1}


async def test_one_of_too_many_pages_is_refused(running):
    for _ in range(20):
        await Page.log_in(running)
    assert "too many" in await refused(running, LOGIN)


async def test_a_user_in_the_main_namespace_cannot_speak_to_this_one(running):
    raw = await running.raw()
    await raw.enter({"token": running.token("ann")})
    await raw.send('42/admin,["_disconnect","/",true]')
    assert await raw.ended() == 1002
