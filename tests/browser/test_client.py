"""resilient-websocket.js in Chromium, with a real hub behind it."""

import pytest

from tests.support.chromium import a_doomed_page, got, record, until
from tests.support.eventually import eventually
from tests.support.hub import message, progress
from worker.hub.events import ClientConnected, ClientDisconnected

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONNECTED = "() => window.socket.state === 'connected'"
COUNTED = "(n) => window.count >= n"
PING = b"\x89\x01?"
"""A WebSocket frame."""


async def a_page(context, url):
    page = await context.new_page()
    page.faults = []
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    await page.goto(f"{url}/page/status.html")
    return page


def ids(*numbers):
    return [f"news-{number}" for number in numbers]


async def test_notifications_arrive_in_order_and_a_repeated_id_only_once(running, context):
    page = await a_page(context, running.url)
    await record(page, running.token())
    await until(page, CONNECTED)
    publisher = await running.publisher()
    for number in (1, 2, 2, 3):
        await publisher.publish(message(number))
    await publisher.publish(message(2, redelivery=1))
    await until(page, COUNTED, 4)
    assert await got(page) == ids(1, 2, 3, 2)
    assert page.faults == []


async def test_a_reloaded_tab_loses_nothing_and_repeats_nothing(running, context):
    page = await a_page(context, running.url)
    await record(page, running.token())
    await until(page, CONNECTED)
    publisher = await running.publisher()
    for number in range(5):
        await publisher.publish(message(number))
    await until(page, COUNTED, 5)
    await page.reload()
    # Another device of the user reads what comes meanwhile, so the hub owes it to nobody who doesn't say where he was.
    phone = await running.browser()
    for number in range(5, 9):
        await publisher.publish(message(number))
    await phone.rest()
    await record(page, running.token())
    await until(page, COUNTED, 9)
    assert await page.evaluate("() => window.socket.statistics.duplicates") == 0
    assert await got(page) == ids(*range(9))


async def test_another_user_in_the_same_tab_begins_at_his_own_place(running, context):
    page = await a_page(context, running.url)
    publisher = await running.publisher()
    await record(page, running.token("ann"))
    await until(page, CONNECTED)
    for number in (1, 2):
        await publisher.publish(message(number), "ann")
    await until(page, COUNTED, 2)
    await publisher.publish(message(3), "bob")
    await page.reload()
    await record(page, running.token("bob"))
    await until(page, COUNTED, 3)
    assert await got(page) == ids(1, 2, 3)
    assert [name for name, _ in await page.evaluate("window.heard") if name == "gap"] == []


async def test_a_cut_line_is_mended_and_what_came_meanwhile_follows(running, proxy, context):
    page = await a_page(context, proxy.url)
    await record(page, running.token())
    await until(page, CONNECTED)
    publisher = await running.publisher()
    await publisher.publish(message(1))
    await until(page, COUNTED, 1)
    proxy.refusing = True
    proxy.reset()
    await until(page, "() => window.socket.state === 'reconnecting'")
    await publisher.publish(message(2))
    proxy.refusing = False
    await until(page, COUNTED, 2)
    assert await got(page) == ids(1, 2)
    heard = await page.evaluate("window.heard")
    assert [detail["code"] for name, detail in heard if name == "closed"][:1] == [1006]
    (opened,) = [detail for name, detail in heard if name == "open" and detail["isBack"]]
    assert opened["recovered"] is True


async def test_a_line_that_swallows_everything_is_noticed_by_the_missing_pong(running, proxy, context):
    page = await a_page(context, proxy.url)
    await record(page, running.token(), pingInterval=100, pongTimeout=200)
    await until(page, "() => window.socket.statistics.latencyMs !== null")
    proxy.hole()
    await until(page, "() => window.socket.statistics.lastCloseReason === 'no pong'")
    await until(page, CONNECTED)
    proxy.reset()


async def test_what_is_sent_offline_waits_bounded_and_goes_out_in_order(running, proxy, context):
    page = await a_page(context, proxy.url)
    await record(page, running.token(), queueLimit=3)
    await until(page, CONNECTED)
    proxy.refusing = True
    proxy.reset()
    await until(page, "() => window.socket.state === 'reconnecting'")
    answers = await page.evaluate("() => [1, 2, 3, 4].map((n) => window.socket.send('echo', n))")
    assert answers == ["queued"] * 4
    assert await page.evaluate("() => window.socket.statistics.dropped") == 1
    proxy.refusing = False
    echoes = "() => window.heard.filter(([name, { type }]) => name === 'message' && type === 'echo')"
    await until(page, f"() => ({echoes})().length === 3")
    assert [said["data"] for _, said in await page.evaluate(f"({echoes})()")] == [2, 3, 4]


async def test_a_bad_token_is_final_until_there_is_another(running, context):
    page = await a_page(context, running.url)
    await record(page, "no token")
    await until(page, "() => window.socket.state === 'failed'")
    assert await page.evaluate("() => window.socket.status.reason") == "token"
    await page.evaluate("(token) => window.socket.setToken(token)", running.token())
    await until(page, CONNECTED)


async def test_a_token_function_is_asked_again_when_its_token_is_revoked(running, context):
    page = await a_page(context, running.url)
    tokens = [running.token(), running.token()]
    given = []

    async def next_token():
        given.append(len(given))
        return tokens[min(given[-1], 1)]

    await page.expose_function("nextToken", next_token)
    await page.evaluate(
        """async () => {
          const { ResilientWebSocket } = await import("/page/resilient-websocket.js");
          window.socket = new ResilientWebSocket({ token: () => window.nextToken(), reconnectionDelay: 50 });
          window.socket.open();
        }"""
    )
    await until(page, CONNECTED)
    (client,) = running.hub._core.clients.values()
    await running.hub.revoke(client.identity.token_id)
    await until(page, "() => window.socket.statistics.connections === 2")
    assert await page.evaluate("() => window.socket.statistics.lastCloseCode") == 4401
    assert len(given) == 2


async def test_subscriptions_outlive_connections_and_end_when_told(running, context):
    page = await a_page(context, running.url)
    await record(page, running.token(), progressInterval=10)
    await until(page, CONNECTED)
    await page.evaluate(
        """() => {
          window.types = [];
          window.end = window.socket.subscribe("*", (data, type) => window.types.push(type));
          window.socket.unsubscribe("*");
          window.socket.subscribe("echo", (data, type) => window.types.push(type));
          window.socket.subscribe("notification", (data, type) => window.types.push(type));
          window.socket.reconnect();
        }"""
    )
    await until(page, "() => window.socket.statistics.connections === 2")
    await page.evaluate("() => window.socket.send('echo', 'the hub has read the orders')")
    await until(page, "() => window.types.includes('echo')")
    publisher = await running.publisher()
    await publisher.publish(progress("job-1", 10))
    await publisher.publish(message(1))
    await until(page, "() => window.types.includes('notification')")
    await page.evaluate("() => window.socket.send('echo', 'anything else?')")
    await until(page, "() => window.types.length >= 3")
    assert await page.evaluate("window.types") == ["echo", "notification", "echo"]
    assert running.hub.figures().clients[0].sent == 1


async def test_progress_comes_batched_with_the_newest_of_each_job(running, context):
    page = await a_page(context, running.url)
    await record(page, running.token(), progressInterval=300)
    await until(page, CONNECTED)
    publisher = await running.publisher()
    for percent in (10, 20, 30):
        await publisher.publish(progress("job-1", percent))
        await publisher.publish(progress("job-2", percent + 1))
    batches = "() => window.heard.filter(([name]) => name === 'progress').map(([, values]) => values)"
    await until(page, f"() => ({batches})().length > 0")
    last = (await page.evaluate(f"({batches})()"))[-1]
    assert [(each["jobId"], each["percent"]) for each in last] == [("job-1", 30), ("job-2", 31)]


async def test_closing_is_for_good_and_opening_again_goes_on_where_it_was(running, context):
    page = await a_page(context, running.url)
    await record(page, running.token())
    await until(page, CONNECTED)
    await page.evaluate("() => window.socket.close()")
    publisher = await running.publisher()
    await publisher.publish(message(1))
    assert await page.evaluate("() => window.socket.state") == "disconnected"
    assert await got(page) == []
    await page.evaluate("() => window.socket.open()")
    await until(page, COUNTED, 1)
    assert await got(page) == ids(1)


async def test_what_a_tab_was_sent_that_died_before_its_welcome_is_given_to_the_next(running, context):
    """Its browser takes what is sent, and answers WebSocket pings, while the page hangs."""
    publisher = await running.publisher()
    for number in (1, 2, 3):
        await publisher.publish(message(number))
    async with a_doomed_page(context, running.url, running.token()):
        connected = await running.happened(ClientConnected, lambda event: event.user_id == "ann")
        assert connected.replayed == 3
        client = running.hub._core.clients[connected.client_id]
        client.peer.write(PING)
        await eventually(lambda: client.last_pong is not None)
    await running.happened(ClientDisconnected, lambda event: event.client_id == client.id)
    page = await a_page(context, running.url)
    await record(page, running.token())
    await until(page, COUNTED, 3)
    assert await got(page) == ids(1, 2, 3)


async def test_a_new_tab_is_not_told_again_what_another_has_handled(running, context):
    first = await a_page(context, running.url)
    await record(first, running.token())
    await until(first, CONNECTED)
    publisher = await running.publisher()
    for number in (1, 2, 3):
        await publisher.publish(message(number))
    await until(first, COUNTED, 3)
    (client,) = running.hub._core.clients_of("ann")
    await eventually(lambda: client.proven == 3)
    second = await a_page(context, running.url)
    await record(second, running.token())
    await until(second, CONNECTED)
    await publisher.publish(message(4))
    await until(second, COUNTED, 1)
    assert await got(second) == ids(4)


async def test_a_page_that_is_closed_says_what_it_has_read(running, context):
    page = await a_page(context, running.url)
    await record(page, running.token())
    await until(page, CONNECTED)
    (client,) = running.hub._core.clients_of("ann")
    publisher = await running.publisher()
    await publisher.publish(message(1))
    await until(page, COUNTED, 1)
    await page.goto("about:blank")
    await running.happened(ClientDisconnected, lambda event: event.client_id == client.id)
    assert client.proven == 1


async def test_watching_another_users_job_does_not_move_ones_own_place(running, context):
    page = await a_page(context, running.url)
    await record(page, running.token("root", admin=True))
    await until(page, CONNECTED)
    publisher = await running.publisher()
    await publisher.publish(message(1), "root")
    await until(page, COUNTED, 1)
    await page.evaluate("() => { window.socket.join('task:job-7'); window.socket.send('echo', 'in'); }")
    await until(page, "() => window.heard.some(([name, said]) => name === 'message' && said.type === 'echo')")
    for number in (5, 6, 7):
        await publisher.publish(message(number), "bob")
    await until(page, COUNTED, 2)
    assert await page.evaluate("() => window.socket.statistics.lastSeq") == 1
    await page.evaluate("() => window.socket.reconnect()")
    await until(page, "() => window.socket.statistics.connections === 2")
    assert await page.evaluate("() => [window.socket.statistics.gaps, window.count]") == [0, 2]
