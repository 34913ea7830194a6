"""<websocket-status> and the page of one's own notifications, in Chromium, with a real hub behind them."""

import pytest

from tests.support.chromium import a_profile, until
from tests.support.eventually import eventually
from tests.support.hub import message, progress

pytestmark = pytest.mark.asyncio(loop_scope="module")

SHADOW = "document.querySelector('websocket-status').shadowRoot"
STATE = f"{SHADOW}.querySelector('.box').dataset.state"
TEXT = f"{SHADOW}.querySelector('.text').textContent"
BUTTON = f"{SHADOW}.querySelector('button')"


class Faults(list[str]):
    """What the page's console complains of, the sockets that we ourselves cut aside."""

    def watch(self, page):
        page.on("pageerror", lambda error: self.append(str(error)))
        page.on("console", lambda said: self._said(said))

    def _said(self, said):
        if said.type in ("error", "warning") and "WebSocket connection to" not in said.text:
            self.append(said.text)


async def signed_in(context, proxy, token):
    page = await context.new_page()
    page.faults = Faults()
    page.faults.watch(page)
    await page.goto(f"{proxy.url}/page/status.html")
    await page.fill("#token", token)
    await page.press("#token", "Enter")
    await until(page, f"() => {STATE} === 'connected'")
    return page


async def lose(page, proxy):
    proxy.refusing = True
    proxy.reset()
    await until(page, f"() => {STATE} === 'reconnecting'")


async def test_status_page_keeps_notifications_over_a_reload(running, proxy, context):
    page = await signed_in(context, proxy, running.token())
    publisher = await running.publisher()
    await publisher.publish(progress("job-2", 40))
    await until(page, "() => document.querySelector('#running progress')?.value === 40")
    failed = message(2, status="failed", error="<b>roster.csv</b>: แถวที่ 7 ไม่มีเลขประจำตัว")
    await publisher.publish(message(1))
    await publisher.publish({**failed, "success": False, "message": "Task Failed"})
    await until(page, "() => document.querySelectorAll('#news li').length === 2")
    assert await page.inner_text("#news li:first-child .error") == failed["payload"]["error"]
    assert await page.is_hidden("#running-part")
    await page.reload()
    await until(page, f"() => {STATE} === 'connected'")
    assert await page.locator("#news li").count() == 2
    assert page.faults == []


async def test_status_page_reports_shown_notifications(running, proxy, context):
    page = await signed_in(context, proxy, running.token())
    await (await running.publisher()).publish(message(1))
    await until(page, "() => document.querySelectorAll('#news li').length === 1")
    await eventually(lambda: running.hub.stats().shown == 1)


async def test_status_element_describes_the_state_and_offers_to_reconnect(running, proxy, context):
    page = await signed_in(context, proxy, running.token())
    assert await page.evaluate(TEXT) == "Connected"
    assert await page.evaluate(f"{BUTTON}.hidden")
    await lose(page, proxy)
    assert await page.evaluate(TEXT) == "Connection lost, reconnecting…"
    live = await page.evaluate(
        f"(() => {{ const live = {SHADOW}.querySelector('[role=status]');"
        " return [live.ariaLive, live.ariaAtomic, live.contains(live.querySelector('.text'))]; })()"
    )
    assert live == ["polite", "true", True]
    # The countdown changes every second, so screen readers should not read it out.
    assert await page.evaluate(f"{SHADOW}.querySelector('.next').closest('[aria-live]').ariaLive") == "off"
    # The focus first: as soon as connections are accepted the client may be back by itself, and the button gone.
    await page.evaluate(f"{BUTTON}.focus()")
    proxy.refusing = False
    await page.keyboard.press("Enter")
    await until(page, f"() => {STATE} === 'connected'")
    assert await page.evaluate(TEXT) == "Reconnected"
    # The button is gone; the keyboard's place is not.
    assert await page.evaluate(f"{SHADOW}.activeElement?.className") == "box"
    assert page.faults == []


async def test_status_element_follows_the_language_of_the_page(running, proxy, chromium):
    async with a_profile(chromium, locale="th-TH") as context:
        page = await signed_in(context, proxy, running.token())
        assert await page.evaluate(TEXT) == "เชื่อมต่อแล้ว"
        assert await page.inner_text("h1") == "การแจ้งเตือนของฉัน"
        await page.click("[data-lang=en]")
        await until(page, f"() => {TEXT} === 'Connected'")
        assert await page.inner_text("h1") == "My notifications"
        await page.evaluate("document.querySelector('websocket-status').lang = 'th'")
        await until(page, f"() => {TEXT} === 'เชื่อมต่อแล้ว'")


async def test_status_element_hides_when_connected_and_returns_when_not(running, proxy, context):
    page = await signed_in(context, proxy, running.token())
    element = page.locator("websocket-status")
    await page.evaluate("document.querySelector('websocket-status').setAttribute('auto-hide', '100')")
    await element.wait_for(state="hidden")
    await lose(page, proxy)
    await element.wait_for(state="visible")
    proxy.refusing = False
    await page.evaluate(f"{BUTTON}.click()")
    await element.wait_for(state="hidden")


async def test_status_page_requests_another_token_after_a_rejection(running, proxy, context):
    page = await context.new_page()
    await page.goto(f"{proxy.url}/page/status.html")
    await page.fill("#token", "no token")
    await page.click("#sign-in button")
    await until(page, f"() => {STATE} === 'failed'")
    assert "sign in again" in await page.evaluate(f"{SHADOW}.querySelector('.hint').textContent")
    assert await page.is_visible("#token")
    assert await page.evaluate("sessionStorage.getItem('org-token')") is None


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("state", ["connected", "reconnecting"])
async def test_status_element_has_enough_contrast(running, proxy, chromium, scheme, state):
    """WCAG 2.2, 1.4.3: 4.5 to 1."""
    async with a_profile(chromium, color_scheme=scheme) as context:
        page = await signed_in(context, proxy, running.token())
        if state == "reconnecting":
            await lose(page, proxy)
        pairs = await page.evaluate(
            f"""() => {{
              const root = {SHADOW};
              const ground = getComputedStyle(root.querySelector('.box')).backgroundColor;
              return ['.text', '.hint', '.next', 'button', 'dt', 'dd']
                .map((name) => root.querySelector(name))
                .map((element) => [getComputedStyle(element).color, ground]);
            }}"""
        )
        assert len(pairs) == 6
        assert min(_contrast(*pair) for pair in pairs) >= 4.5


def _contrast(one, other):
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(color):
    """Of `rgb(r, g, b)`, after WCAG."""
    channels = [int(part) / 255 for part in color.removeprefix("rgb(").rstrip(")").split(",")]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
