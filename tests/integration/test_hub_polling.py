"""HTTP long-polling at the real hub: identity, order, what counts as read, and every limit."""

import asyncio
import contextlib
import gzip
import zlib

import aiohttp
import orjson
import pytest

from config.hub_settings import HubSettings
from tests.support.eventually import eventually
from tests.support.hub import EVENT, PATH, PATIENCE, Closed, event_of, message, running_hub
from worker.hub.connection_limits import ConnectionLimits
from worker.hub.engineio import poll_requests
from worker.hub.events import ClientConnected, ClientDisconnected, ClientRejected
from worker.hub.transports.transport import SendLimits

POLLING = f"{PATH}/?EIO=4&transport=polling"
PORTAL = "https://portal.example"


class Poller:
    """A client that polls by hand."""

    def __init__(self, session, url):
        self.session = session
        self.url = url
        self.packets = []

    async def get(self):
        async with self.session.get(self.url) as answer:
            return answer.status, await answer.text()

    async def post(self, text, **options):
        async with self.session.post(self.url, data=text, **options) as answer:
            return answer.status, await answer.text()

    async def next(self):
        """The next packet; pings are answered and left out."""
        async with asyncio.timeout(PATIENCE):
            while True:
                while not self.packets:
                    status, body = await self.get()
                    assert status == 200, body
                    self.packets = body.split("\x1e")
                packet = self.packets.pop(0)
                if packet != "2":
                    return packet
                assert (await self.post("3"))[0] == 200


def a_hub(tmp_path, **options):
    """A hub that keeps what it has said last for a client that polls late, on a busy machine."""
    options.setdefault("send_limits", SendLimits(close_timeout=PATIENCE))
    return running_hub(tmp_path, **options)


@contextlib.asynccontextmanager
async def poller(running, auth=None, eio=4, more="", agent="Mozilla/5.0"):
    url = f"{running.url}{PATH}/?EIO={eio}&transport=polling{more}"
    async with aiohttp.ClientSession(headers={"User-Agent": agent}) as session:
        async with session.get(url) as answer:
            body = await answer.text()
            assert answer.status == 200, body
        sid = orjson.loads(body[body.index("{") : body.index("}") + 1])["sid"]
        client = Poller(session, f"{url}&sid={sid}")
        if auth is not None:
            assert await client.post("40" + orjson.dumps(auth).decode()) == (200, "ok")
            assert (await client.next()).startswith("40")
        yield client


async def test_polling_client_gets_what_it_missed_and_then_new_notifications_in_order(tmp_path):
    async with a_hub(tmp_path) as running:
        publisher = await running.publisher()
        for number in range(50):
            await publisher.publish(message(number))
        async with poller(running, {"token": running.token("ann")}) as ann:
            received = [event_of(await ann.next()) for _ in range(50)]
            for number in range(50, 100):
                await publisher.publish(message(number))
                received.append(event_of(await ann.next()))
    assert received == [[EVENT, message(number), {"userId": "ann"}] for number in range(100)]


@pytest.mark.parametrize(("agent", "most"), [("Mozilla/5.0 (X11)", 40), ("node-XMLHttpRequest", 40), ("anything", 16)])
async def test_client_that_may_not_read_many_packets_gets_sixteen_at_a_time(tmp_path, agent, most):
    async with a_hub(tmp_path) as running:
        publisher = await running.publisher()
        for number in range(40):
            await publisher.publish(message(number))
        async with poller(running, {"token": running.token("ann")}, agent=agent) as ann:
            await running.wait_for_event(ClientConnected, lambda event: event.user_id == "ann")
            sizes: list[int] = []
            while sum(sizes) < 40:
                sizes.append(len(await _batch(ann)))
            assert max(sizes) == most


@pytest.mark.parametrize("eio", [4, 3])
async def test_next_poll_marks_what_was_fetched_as_read(tmp_path, eio):
    async with a_hub(tmp_path, settings=HubSettings(allow_eio3=True)) as running:
        publisher, token = await running.publisher(), running.token("ann")
        await publisher.publish(message(1, error="ชื่อ"))
        auth, more = ({"token": token}, "") if eio == 4 else (None, f"&token={token}")
        async with poller(running, auth, eio, more) as ann:
            first = await ann.next()
            while "job-1" not in first:
                first = await ann.next()
            assert orjson.loads(first[first.index("[") :])[1] == message(1, error="ชื่อ")
            poll = asyncio.create_task(ann.get())
            await publisher.publish(message(2))
            assert "job-2" in (await poll)[1]
            # It leaves without a further poll: the second one was perhaps never handled.
            await ann.post("1" if eio == 4 else "1:1", headers={"Content-Type": "text/plain"})
        await running.wait_for_event(ClientDisconnected, lambda event: event.user_id == "ann")
        again = await running.browser("ann")
        assert (await again.next())[1] == message(2)


@pytest.mark.parametrize("eio", [4, 3])
async def test_client_that_upgrades_before_the_next_poll_confirms_by_websocket(tmp_path, eio):
    async with a_hub(tmp_path, settings=HubSettings(allow_eio3=True)) as running:
        publisher, token = await running.publisher(), running.token("ann")
        await publisher.publish(message(1))
        auth, more = ({"token": token}, "") if eio == 4 else (None, f"&token={token}")
        async with poller(running, auth, eio, more) as ann:
            while "job-1" not in await ann.next():
                pass
            async with ann.session.ws_connect(ann.url.replace("polling", "websocket"), autoping=True) as socket:
                await socket.send_str("2probe")
                assert await socket.receive_str() == "3probe"
                await socket.send_str("5")
                if eio == 4:
                    assert await socket.receive_str() == "2"
                    await socket.send_str("3")
                await publisher.publish(message(2))
                assert "job-2" in await socket.receive_str()
        await running.wait_for_event(ClientDisconnected, lambda event: event.user_id == "ann")
        again = await running.browser("ann")
        assert (await again.next())[1] == message(2)


async def test_backlog_of_a_client_that_is_closed_goes_to_the_next(tmp_path):
    """What the hub reads from the inbox after it closed the client is not sent: the last polls do not confirm it."""
    async with a_hub(tmp_path) as running:
        publisher = await running.publisher()
        for number in range(350):
            # Several times as much as may wait for a client: it cannot have fetched everything by the second request.
            await publisher.publish(message(number, error="x" * 1_000))
        async with poller(running, {"token": running.token("ann")}) as ann:
            packets = [await ann.next()]
            (client,) = _clients_of(running, "ann")
            client.close(1001, "enough")
            await publisher.publish(message(350))  # the inbox has read what was asked of it before
            while packets[-1] != "1":
                packets.append(await ann.next())
        arrived = [event_of(packet)[1]["payload"]["jobId"] for packet in packets if EVENT in packet]
        assert len(arrived) < 350, "closed before it had everything"
        again = await running.browser("ann")
        while arrived[-1] != "job-350":
            arrived.append((await again.next())[1]["payload"]["jobId"])
    assert list(dict.fromkeys(arrived)) == [f"job-{number}" for number in range(351)]


async def test_backlog_continues_by_websocket_after_an_upgrade(tmp_path):
    """Also where the client is behind, and the next message waits until it has fetched some."""
    async with a_hub(tmp_path) as running:
        publisher = await running.publisher()
        for number in range(300):
            await publisher.publish(message(number, note="x" * 5_000))
        async with poller(running) as ann:
            await ann.post("40" + orjson.dumps({"token": running.token("ann")}).decode())
            await eventually(lambda: _clients_of(running, "ann"))
            (client,) = _clients_of(running, "ann")
            await eventually(lambda: client.connection.transport.waiting_bytes > 64 * 1024 - 6_000)
            async with ann.session.ws_connect(ann.url.replace("polling", "websocket")) as socket:
                await socket.send_str("2probe")
                assert await socket.receive_str() == "3probe"
                await socket.send_str("5")
                received: list[str] = []
                while len(received) < 300:
                    frame = await socket.receive_str(timeout=PATIENCE)
                    if EVENT in frame:
                        received.append(event_of(frame)[1]["payload"]["jobId"])
    assert received == [f"job-{number}" for number in range(300)]


async def test_response_that_is_lost_is_sent_again_however_far_the_backlog_is(tmp_path):
    async with a_hub(tmp_path) as running:
        publisher = await running.publisher()
        for number in range(300):
            await publisher.publish(message(number, note="x" * 5_000))
        arrived = []
        for polls in range(2, 9):
            async with poller(running, {"token": running.token("ann")}) as ann:
                batches = [await _batch(ann) for _ in range(polls)]
                arrived += [packet for batch in batches[:-1] for packet in batch]  # the last one never reached it
                await ann.post("1")
            await eventually(lambda: not _clients_of(running, "ann"))
        ids = [event_of(packet)[1]["payload"]["jobId"] for packet in arrived]
        again = await running.browser("ann")
        while ids[-1] != "job-299":
            ids.append((await again.next())[1]["payload"]["jobId"])
    assert list(dict.fromkeys(ids)) == [f"job-{number}" for number in range(300)]


async def _batch(poller):
    """Return the notifications of the next response."""
    batch = [await poller.next(), *poller.packets]
    poller.packets = []
    return [packet for packet in batch if EVENT in packet]


def _clients_of(running, user):
    return [one for one in running.hub.hub.clients.values() if one.identity.user == user]


async def test_polling_client_publishes_and_is_acknowledged(tmp_path):
    async with a_hub(tmp_path) as running:
        ann = await running.browser("ann")
        async with poller(running, {"token": running.token("bob", publish=True)}) as bob:
            events = [orjson.dumps([EVENT, message(n, error="ชื่อ"), {"userId": "ann"}]).decode() for n in range(3)]
            body = "\x1e".join(f"42{n}{event}" for n, event in enumerate(events))
            assert await bob.post(body.encode()) == (200, "ok")
            assert {await bob.next() for _ in range(3)} == {f'43{n}[{{"ok":true}}]' for n in range(3)}
            assert [(await ann.next())[1] for _ in range(3)] == [message(n, error="ชื่อ") for n in range(3)]


async def test_notifications_during_the_upgrade_arrive_once_and_in_order(tmp_path):
    async with a_hub(tmp_path) as running:
        publisher = await running.publisher()
        async with poller(running, {"token": running.token("ann")}) as ann:
            publishing = asyncio.create_task(_publish(publisher, 200))
            received = [event_of(await ann.next()) for _ in range(20)]
            async with ann.session.ws_connect(ann.url.replace("polling", "websocket")) as socket:
                await socket.send_str("2probe")
                assert await socket.receive_str() == "3probe"
                received += [event_of(packet) for packet in ann.packets if packet not in ("2", "6")]
                await socket.send_str("5")
                while len(received) < 200:
                    frame = await socket.receive_str(timeout=PATIENCE)
                    if frame != "2":
                        received.append(event_of(frame))
                    else:
                        await socket.send_str("3")
            await publishing
    assert [event[1] for event in received] == [message(number) for number in range(200)]


async def _publish(publisher, count):
    for number in range(count):
        await publisher.publish(message(number))


async def test_polling_client_receives_the_reason_before_it_is_closed(tmp_path):
    async with a_hub(tmp_path) as running:
        async with poller(running, {"token": running.token("ann", days=1)}) as ann:
            running.let_tokens_expire()
            assert event_of(await ann.next()) == [
                "org-socket:closing",
                {"code": 4401, "reason": "the token has expired"},
            ]
            assert await ann.next() == "1"
            assert (await ann.get())[0] == 400
        assert (await running.wait_for_event(ClientDisconnected)).code == 4401


@pytest.mark.parametrize("agent", ["python-requests/2.32", "Python/3.11 aiohttp/3.14"])
async def test_polling_python_client_is_closed_by_the_rejection_of_its_next_request(tmp_path, agent):
    """After a CLOSE packet python-engineio never connects again."""
    async with a_hub(tmp_path) as running:
        async with poller(running, {"token": running.token("ann", days=1)}, agent=agent) as ann:
            running.let_tokens_expire()
            assert event_of(await ann.next())[0] == "org-socket:closing"
            assert ann.packets == []
            assert (await ann.get())[0] == 400
        assert (await running.wait_for_event(ClientDisconnected)).code == 4401


async def test_polling_python_client_above_the_users_cap_is_closed(tmp_path):
    async with a_hub(tmp_path, connection_limits=ConnectionLimits(per_user=1)) as running:
        await running.browser("ann")
        async with poller(running, agent="python-requests/2.32") as second:
            await second.post("40" + orjson.dumps({"token": running.token("ann")}).decode())
            assert await second.next() == "6"
            assert (await second.get())[0] == 400


async def test_polling_client_receives_that_the_hub_stops(tmp_path):
    async with a_hub(tmp_path) as running, poller(running, {"token": running.token("ann")}) as ann:
        poll = asyncio.create_task(ann.next())
        (client,) = _clients_of(running, "ann")
        await eventually(lambda: client.connection.transport.is_polled)
        await running.hub.close()
        assert event_of(await poll) == ["org-socket:closing", {"code": 1001, "reason": "the hub is stopping"}]
        assert ann.packets == []


async def test_polling_client_above_the_users_cap_is_closed(tmp_path):
    async with a_hub(tmp_path, connection_limits=ConnectionLimits(per_user=1)) as running:
        await running.browser("ann")
        async with poller(running) as second:
            await second.post("40" + orjson.dumps({"token": running.token("ann")}).decode())
            assert await second.next() == "1"
        rejected = await running.wait_for_event(ClientRejected)
        assert rejected.reason == "too many connections of this user"


async def test_polling_sessions_count_as_connections_until_they_end(tmp_path):
    async with a_hub(tmp_path, connection_limits=ConnectionLimits(total=2)) as running:
        ann = {"token": running.token("ann")}
        async with (
            poller(running, ann),
            poller(running, ann) as client,
            client.session.get(running.url + POLLING) as answer,
        ):
            assert answer.status == 503
            assert answer.headers["Retry-After"] == "5"
        await running.ping("ann", answers=0)
        running.close_clients_without_pong()
        await eventually(lambda: not len(running.hub._registry))  # dead once their pings are not answered
        async with poller(running):
            pass


async def test_requests_of_a_session_do_not_count_as_connections_and_guessed_sessions_do(tmp_path):
    limits = ConnectionLimits(attempts_per_second=0.001, attempt_burst=5)
    hub = a_hub(tmp_path, connection_limits=limits)
    async with hub as running, poller(running, {"token": running.token("ann")}) as ann:
        for number in range(20):
            assert await ann.post(f'42{number}["x"]') == (200, "ok")
            assert (await ann.next()).startswith(f"43{number}[")
        found = []
        for _ in range(6):
            async with ann.session.get(f"{running.url}{POLLING}&sid=guess") as answer:
                found.append(answer.status)
        assert found == [400, 400, 400, 400, 429, 429]


async def test_polling_client_that_sends_too_fast_is_closed(tmp_path):
    limits = ConnectionLimits(messages_per_second=0.001, message_burst=5)
    hub = a_hub(tmp_path, connection_limits=limits)
    async with hub as running, poller(running, {"token": running.token("ann")}) as ann:
        await ann.post("\x1e".join(['42["x"]'] * 10))
        assert event_of(await ann.next()) == ["org-socket:closing", {"code": 4429, "reason": "too many messages"}]


async def test_polling_client_that_never_polls_holds_bounded_memory_and_is_closed(tmp_path):
    limits = SendLimits(volatile=10_000, total=50_000, close_timeout=0.2)
    async with a_hub(tmp_path, send_limits=limits) as running:
        publisher = await running.publisher()
        async with poller(running, {"token": running.token("ann")}):
            await running.wait_for_event(ClientConnected, lambda event: event.user_id == "ann")
            for number in range(20):
                await publisher.publish(message(number, note="x" * 5_000))
                assert all(
                    client.connection.transport.waiting_bytes < 60_000 for client in running.hub.hub.clients.values()
                )
            gone = await running.wait_for_event(ClientDisconnected, lambda event: event.user_id == "ann")
            assert (gone.code, gone.reason) == (4408, "too slow")


async def test_backlog_waits_for_a_polling_client_that_fetches_slowly(tmp_path):
    async with a_hub(tmp_path) as running:
        publisher = await running.publisher()
        for number in range(300):
            await publisher.publish(message(number, note="x" * 5_000))
        async with poller(running, {"token": running.token("ann")}) as ann:
            received = [event_of(await ann.next())[1]["payload"]["jobId"] for _ in range(300)]
            assert running.hub.stats().close_codes.get(4408) is None
    assert received == [f"job-{number}" for number in range(300)]


# -- bodies ------------------------------------------------------------------------------------------------------------


async def test_body_above_the_limit_ends_the_session(tmp_path):
    async with a_hub(tmp_path) as running, poller(running, {"token": running.token("ann")}) as ann:
        assert (await ann.post(b"4" + b"x" * 300_000))[0] == 413
        assert event_of(await ann.next()) == ["org-socket:closing", {"code": 1009, "reason": "too big"}]


async def test_message_above_the_users_limit_is_rejected_also_in_a_small_body(tmp_path):
    async with a_hub(tmp_path) as running, poller(running, {"token": running.token("ann")}) as ann:
        assert (await ann.post(b"4" + b"x" * 70_000))[0] == 200
        assert event_of(await ann.next())[1]["code"] == 1009


async def test_chunked_body_without_an_end_is_cut_off(tmp_path, monkeypatch):
    monkeypatch.setattr(poll_requests, "_BODY_SECONDS", 0.2)

    async def never_ending():
        yield b"4x"
        await asyncio.Event().wait()

    async with a_hub(tmp_path) as running, poller(running) as ann:
        assert (await ann.post(never_ending()))[0] == 408
        assert (await ann.get())[0] == 400


async def test_compressed_body_is_rejected(tmp_path):
    async with a_hub(tmp_path) as running, poller(running) as ann:
        assert (await ann.post(gzip.compress(b"4x"), headers={"Content-Encoding": "gzip"}))[0] == 415
        assert (await ann.post(zlib.compress(b"4x"), headers={"Content-Encoding": "deflate"}))[0] == 415


async def test_overlapping_posts_end_the_session(tmp_path):
    begun = asyncio.Event()

    async def slow():
        yield b"4"
        begun.set()
        await asyncio.Event().wait()

    async with a_hub(tmp_path) as running, poller(running) as ann:
        first = asyncio.create_task(ann.post(slow()))
        await begun.wait()
        async with asyncio.timeout(PATIENCE):
            while (await ann.post("3"))[0] != 400:
                await asyncio.sleep(0.01)
        first.cancel()
        assert (await ann.get())[0] == 400


# -- other origins -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "status"), [("EIO=4&transport=polling", 200), ("EIO=4", 400), ("EIO=4&transport=polling&sid=x", 400)]
)
async def test_page_of_an_allowed_origin_can_read_every_response(tmp_path, query, status):
    async with a_hub(tmp_path, settings=HubSettings(allowed_origins=[PORTAL])) as running:
        url = f"{running.url}{PATH}/?{query}"
        async with aiohttp.ClientSession() as session, session.get(url, headers={"Origin": PORTAL}) as answer:
            assert answer.status == status
            assert answer.headers["Access-Control-Allow-Origin"] == PORTAL
            assert answer.headers["Vary"] == "Origin"


async def test_page_of_an_allowed_origin_passes_the_preflight_and_a_foreign_one_does_not(tmp_path):
    asking = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    async with a_hub(tmp_path, settings=HubSettings(allowed_origins=[PORTAL])) as running:
        async with aiohttp.ClientSession() as session:
            async with session.options(running.url + POLLING, headers={"Origin": PORTAL, **asking}) as answer:
                assert answer.status == 204
                assert "content-type" in answer.headers["Access-Control-Allow-Headers"]
            foreign = {"Origin": "https://evil.example"}
            for request in (
                session.options(running.url + POLLING, headers={**foreign, **asking}),
                session.get(running.url + POLLING, headers=foreign),
            ):
                async with request as answer:
                    assert answer.status == 403
                    assert "Access-Control-Allow-Origin" not in answer.headers
        rejected = await running.wait_for_event(ClientRejected)
        assert rejected.reason == "a page of the origin 'https://evil.example', which Hub:AllowedOrigins does not name"


# -- Engine.IO 3 -------------------------------------------------------------------------------------------------------


async def test_engine_io_3_needs_the_setting(tmp_path):
    async with a_hub(tmp_path) as running, aiohttp.ClientSession() as session:
        async with session.get(f"{running.url}{PATH}/?EIO=3&transport=polling") as answer:
            assert answer.status == 400
        assert (await running.wait_for_event(ClientRejected)).reason == "an Engine.IO 3 client: see Hub:AllowEio3"


async def test_engine_io_3_client_with_a_wrong_token_gets_an_error_packet(tmp_path):
    async with a_hub(tmp_path, settings=HubSettings(allow_eio3=True)) as running:
        raw = await running.raw(f"{PATH}/?EIO=3&transport=websocket&token=x")
        assert (await raw.next())[:1] == "0"
        assert await raw.next() == '44"unauthorized"'


async def test_engine_io_3_client_may_send_its_token_with_the_namespace_alone(tmp_path):
    async with a_hub(tmp_path, settings=HubSettings(allow_eio3=True, namespaces=["/", "/org"])) as running:
        raw = await running.raw(f"{PATH}/?EIO=3&transport=websocket")
        await raw.next()
        assert await raw.next() == '44"unauthorized"'
        await raw.send("40/org?token=none,")
        assert await raw.next() == '44/org,"unauthorized"'
        await raw.send(f"40/org?token={running.token('ann')},")
        assert await raw.next() == "40/org,"


@pytest.mark.parametrize("text", ["ก", "ชื่อ 🎖", "é", "naïve: Ω"])
@pytest.mark.parametrize("version", [1, 2])
async def test_text_of_an_engine_io_3_client_is_decoded_as_its_version_encodes_it(tmp_path, text, version):
    async with (
        a_hub(tmp_path, settings=HubSettings(allow_eio3=True)) as running,
        poller(running, eio=3, more=f"&token={running.token('ann')}") as client,
    ):
        packet = '421["echo","' + text + '"]'
        if version == 1:
            packet = packet.encode().decode("latin-1")
        units = len(packet.encode("utf-16-le")) // 2
        assert await client.post(f"{units}:{packet}") == (200, "ok")
        body = ""
        while "431[" not in body:
            _, body = await client.get()
    assert orjson.loads(body[body.index("[") :]) == [{"ok": True, "type": "echo", "data": text}]


async def test_token_in_the_query_is_not_taken_from_engine_io_4_clients(tmp_path):
    async with a_hub(tmp_path) as running:
        raw = await running.raw(f"{PATH}/?EIO=4&transport=websocket&token={running.token('ann')}")
        await raw.next()
        await raw.send("40")
        assert str(await raw.next()).startswith('44{"message":"unauthorized"')


async def test_closed_session_reports_the_code_over_websocket_too(tmp_path):
    async with a_hub(tmp_path) as running:
        raw = await running.raw()
        await raw.connect_with({"token": running.token("ann")})
        await raw.send('42["org-socket:refresh",{"token":"x"}]')
        await raw.send("nonsense")
        assert event_of(await raw.next())[1]["code"] == 1002
        with pytest.raises(Closed, match="1002"):
            await raw.next()
