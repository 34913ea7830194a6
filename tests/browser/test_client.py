"""resilient-websocket.js in Chromium, with a real hub behind it."""

import pytest

from tests.support.chromium import a_doomed_page, got, record, until
from tests.support.eventually import eventually
from tests.support.hub import message, progress
from worker.hub.events import ClientConnected, ClientDisconnected

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONNECTED = "() => window.socket.state === 'connected'"
COUNTED = "(n) => window.count >= n"


async def a_page(context, url):
    page = await context.new_page()
    page.faults = []
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    await page.goto(f"{url}/page/status.html")
    return page


def ids(*numbers):
    return [f"news-{number}" for number in numbers]


async def test_notifications_arrive_in_order_and_repeated_ids_once(running, context):
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


async def test_reloaded_tab_loses_and_repeats_nothing(running, context):
    page = await a_page(context, running.url)
    await record(page, running.token())
    await until(page, CONNECTED)
    publisher = await running.publisher()
    for number in range(5):
        await publisher.publish(message(number))
    await until(page, COUNTED, 5)
    await page.reload()
    # Another device of the user reads what comes in the meantime, so only a client with a position still gets it.
    phone = await running.browser()
    for number in range(5, 9):
        await publisher.publish(message(number))
    await phone.received_so_far()
    await record(page, running.token())
    await until(page, COUNTED, 9)
    assert await page.evaluate("() => window.socket.statistics.duplicates") == 0
    assert await got(page) == ids(*range(9))


async def test_another_user_in_the_same_tab_starts_at_their_own_position(running, context):
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


async def test_lost_connection_is_resumed_with_missed_notifications(running, proxy, context):
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
    received = await page.evaluate("window.heard")
    assert [detail["code"] for name, detail in received if name == "closed"][:1] == [1006]
    (opened,) = [detail for name, detail in received if name == "open" and detail["isBack"]]
    assert opened["recovered"] is True


async def test_silent_connection_is_detected_by_a_missing_pong(running, proxy, context):
    page = await a_page(context, proxy.url)
    await record(page, running.token(), pingInterval=100, pongTimeout=200)
    await until(page, "() => window.socket.statistics.latencyMs !== null")
    proxy.hole()
    await until(page, "() => window.heard.some(([name, { reason }]) => name === 'closed' && reason === 'no pong')")
    await until(page, CONNECTED)
    proxy.reset()


async def test_messages_sent_offline_are_queued_and_sent_in_order(running, proxy, context):
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


async def test_rejected_token_ends_the_connection_until_a_new_one_is_set(running, context):
    page = await a_page(context, running.url)
    await record(page, "no token")
    await until(page, "() => window.socket.state === 'failed'")
    assert await page.evaluate("() => window.socket.status.reason") == "token"
    await page.evaluate("(token) => window.socket.setToken(token)", running.token())
    await until(page, CONNECTED)


async def test_token_function_is_called_again_after_a_revocation(running, context):
    page = await a_page(context, running.url)
    tokens = [running.token(), running.token()]
    given: list[int] = []

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
    (client,) = running.hub.hub.clients.values()
    await running.hub.revoke(client.identity.token_id)
    await until(page, "() => window.socket.statistics.connections === 2")
    assert await page.evaluate("() => window.socket.statistics.lastCloseCode") == 4401
    assert len(given) == 2


async def test_subscriptions_survive_reconnects_until_unsubscribed(running, context):
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
    await running.wait_until_clients("ann", 1)  # the connection before this one is gone
    publisher = await running.publisher()
    await publisher.publish(progress("job-1", 10))
    await publisher.publish(message(1))
    await until(page, "() => window.types.includes('notification')")
    await page.evaluate("() => window.socket.send('echo', 'anything else?')")
    await until(page, "() => window.types.length >= 3")
    assert await page.evaluate("window.types") == ["echo", "notification", "echo"]
    assert running.hub.stats().clients[0].sent == 1


async def test_progress_is_batched_with_the_newest_of_each_job(running, context):
    page = await a_page(context, running.url)
    # Longer than the publishing takes on any machine: a notification ends the batch before its time.
    await record(page, running.token(), progressInterval=600_000)
    await until(page, CONNECTED)
    publisher = await running.publisher()
    for percent in (10, 20, 30):
        await publisher.publish(progress("job-1", percent))
        await publisher.publish(progress("job-2", percent + 1))
    (client,) = running.hub.hub.clients_of("ann")
    await eventually(lambda: not client.progress_sender._newest)  # the hub merges, too, and has sent the newest
    await publisher.publish(message(3))
    await until(page, COUNTED, 1)
    heard = await page.evaluate("window.heard.filter(([name]) => name === 'progress')")
    batches = [[(each["jobId"], each["percent"]) for each in values] for _, values in heard]
    assert batches == [[("job-1", 30), ("job-2", 31)]]


async def test_close_is_final_and_open_resumes_the_position(running, context):
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


async def test_notifications_sent_to_a_crashed_tab_reach_the_next(running, context):
    """Its browser takes what is sent, and answers WebSocket pings, while the page hangs."""
    publisher = await running.publisher()
    for number in (1, 2, 3):
        await publisher.publish(message(number))
    async with a_doomed_page(context, running.url, running.token()):
        connected = await running.wait_for_event(ClientConnected, lambda event: event.user_id == "ann")
        assert connected.replayed == 3
        client = running.hub.hub.clients[connected.client_id]
        client.connection.transport.ping()
        await eventually(lambda: client.last_pong is not None)
    await running.wait_for_event(ClientDisconnected, lambda event: event.client_id == client.id)
    page = await a_page(context, running.url)
    await record(page, running.token())
    await until(page, COUNTED, 3)
    assert await got(page) == ids(1, 2, 3)


async def test_new_tab_does_not_repeat_what_another_tab_has_handled(running, context):
    first = await a_page(context, running.url)
    await record(first, running.token())
    await until(first, CONNECTED)
    publisher = await running.publisher()
    for number in (1, 2, 3):
        await publisher.publish(message(number))
    await until(first, COUNTED, 3)
    (client,) = running.hub.hub.clients_of("ann")
    await eventually(lambda: client.last_read_seq == 3)
    second = await a_page(context, running.url)
    await record(second, running.token())
    await until(second, CONNECTED)
    await publisher.publish(message(4))
    await until(second, COUNTED, 1)
    assert await got(second) == ids(4)


async def test_closed_page_reports_what_it_has_read(running, context):
    page = await a_page(context, running.url)
    await record(page, running.token())
    await until(page, CONNECTED)
    (client,) = running.hub.hub.clients_of("ann")
    publisher = await running.publisher()
    await publisher.publish(message(1))
    await until(page, COUNTED, 1)
    await page.goto("about:blank")
    await running.wait_for_event(ClientDisconnected, lambda event: event.client_id == client.id)
    assert client.last_read_seq == 1


async def test_subscription_to_another_users_job_keeps_the_own_position(running, context):
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
