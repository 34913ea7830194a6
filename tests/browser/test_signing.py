"""resilient-websocket.js with a secret, in Chromium: the hub's real signatures are checked by Web Crypto."""

import base64

import pytest
from pydantic import SecretStr

from config.hub_settings import HubSettings
from tests.support.chromium import got, record, until
from tests.support.hub import message, progress, running_hub
from worker.api.static_files import add_page

pytestmark = pytest.mark.asyncio(loop_scope="module")
SECRET = "whsec_" + base64.b64encode(b"the secret of this test, 32 byte").decode()
OTHER = "whsec_" + base64.b64encode(b"another secret than that of hubs").decode()
SIGNATURE_ERRORS = "() => window.heard.filter(([name, said]) => name === 'error' && said.code === 'signature').length"


def signing_hub(tmp_path):
    return running_hub(tmp_path, settings=HubSettings(signing_secret=SecretStr(SECRET)), mount=add_page)


async def a_page(context, running):
    page = await context.new_page()
    await page.goto(f"{running.url}/page/status.html")
    return page


async def test_signed_notifications_are_verified_in_order(tmp_path, context):
    async with signing_hub(tmp_path) as running:
        page, publisher = await a_page(context, running), await running.publisher()
        await publisher.publish(message(0))
        await record(page, running.token(), signingSecret=SECRET)
        await until(page, "() => window.count === 1")
        for number in range(1, 200):
            await publisher.publish(message(number, note="เครื่องราช" * (number % 7 * 100)))
        await until(page, "() => window.count === 200")
        await publisher.publish(progress("job-x", 50))  # not before: a connection with much to send drops progress
        await until(page, "() => window.heard.some(([name]) => name === 'progress')")
        assert await got(page) == [f"news-{number}" for number in range(200)]
        assert await page.evaluate(SIGNATURE_ERRORS) == 0


async def test_notification_with_a_foreign_signature_is_not_delivered_and_stays_unread(tmp_path, context):
    async with signing_hub(tmp_path) as running:
        page, publisher = await a_page(context, running), await running.publisher()
        await record(page, running.token(), signingSecret=OTHER)
        await until(page, "() => window.socket.state === 'connected'")
        for number in (1, 2):
            await publisher.publish(message(number))
        await until(page, f"() => ({SIGNATURE_ERRORS})() === 2")
        assert await page.evaluate("() => [window.count, window.socket.statistics.lastSeq]") == [0, 0]
        await page.reload()
        await record(page, running.token(), signingSecret=SECRET)
        await until(page, "() => window.count === 2")
        assert await got(page) == ["news-1", "news-2"]


async def test_notification_without_a_signature_is_not_delivered(tmp_path, context):
    async with signing_hub(tmp_path) as running:
        page, publisher = await a_page(context, running), await running.publisher()
        await page.evaluate(
            """() => {
              const send = WebSocket.prototype.send;
              WebSocket.prototype.send = function (text) { send.call(this, text.replace(',"signed":true', "")); };
            }"""
        )
        await record(page, running.token(), signingSecret=SECRET)
        await until(page, "() => window.socket.state === 'connected'")
        await publisher.publish(message(1))
        await until(page, f"() => ({SIGNATURE_ERRORS})() === 1")
        assert await page.evaluate("() => window.count") == 0
