"""The dashboard in Chromium, with a real service behind it: a roster's whole way, and what operators do."""

import hashlib
import json

import pytest
import pytest_asyncio

from tests.support.chromium import a_profile, until
from tests.support.dashboard import KIND, a_service, dashboard
from tests.support.fault_proxy import fault_proxy
from tests.support.process import free_port
from worker.insignia.sample import copy_sample, write_sample

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]

SHADOW = "document.querySelector('websocket-status').shadowRoot"
LINK = f"{SHADOW}.querySelector('.box').dataset.state"
CHIP = "document.querySelector('main h1 ~ span .chip')?.className ?? ''"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory):
    async with a_service(tmp_path_factory.mktemp("dashboard")) as service:
        yield service


@pytest_asyncio.fixture(loop_scope="module")
async def tab(chromium, service):
    async with a_profile(chromium, accept_downloads=True) as context:
        tab = await dashboard(context, service.url)
        await tab.sign_in(service.key)
        yield tab
        assert tab.faults == []
        assert await tab.violations() == []


async def state_is(page, state):
    await until(page, f"(state) => ({CHIP}).includes(`is-${{state}}`)", state)


async def user_of(tab):
    return (await tab.page.evaluate("fetch('/api/v1/session').then((answer) => answer.json())"))["userId"]


async def test_a_roster_is_dropped_watched_over_a_reload_told_opened_and_taken_home(tab, service, tmp_path):
    """Two clicks from the drop to the result: Start, and the toast's link."""
    page = tab.page
    write_sample(tmp_path / "roster.csv", 20_000, 7, history=tmp_path / "history.csv")
    await tab.drop(tmp_path / "roster.csv", tmp_path / "history.csv")
    await page.wait_for_selector("dialog [data-start]:not([disabled])")
    assert await page.eval_on_selector("dialog select", "(select) => Number(select.value)") == await page.evaluate(
        "new Date().getFullYear() + 543"
    )
    await page.click("[data-start]")
    await until(page, "() => location.hash.startsWith('#/jobs/0')")
    await page.reload()
    await tab.shown()
    await page.click(".toast.is-good a")
    await until(page, "() => location.hash.endsWith('/result')")
    await page.wait_for_selector("[data-file='results.csv']")
    assert "19,7" in await page.inner_text(".totals")
    async with page.expect_download() as waiting:
        await page.click("[data-file='results.csv']")
    download = await waiting.value
    await download.save_as(tmp_path / "taken.csv")
    assert (tmp_path / "taken.csv").read_text(encoding="utf-8-sig").startswith("person_id,class.decision")
    job_id = page.url.split("/jobs/")[1].split("/")[0]
    job = await service.ask("GET", f"/api/v1/jobs/{job_id}")
    assert job["userId"] == await user_of(tab)
    assert job["payload"]["history"]


async def test_the_sample_roster_shows_who_wants_a_second_look(tab, tmp_path):
    page = tab.page
    copy_sample(tmp_path)
    await tab.drop(tmp_path / "roster.csv", tmp_path / "history.csv")
    await page.click("[data-start]:not([disabled])")
    await page.click("[data-open-result]")
    await page.wait_for_selector(".people-table tbody tr")
    rows = page.locator(".people-table tbody tr")
    assert await page.inner_text(".total.is-review dd") == str(await rows.count())
    first = await rows.first.locator(".mono").inner_text()
    await page.fill(".rows-card input[type=search]", first)
    await until(page, "() => document.querySelectorAll('.people-table tbody tr').length === 1")
    assert f"text={first}" in page.url
    await page.fill(".rows-card input[type=search]", "no such person")
    await page.wait_for_selector(".rows-card .empty")


async def test_an_end_is_told_once_and_the_hub_hears_that_it_was_shown(tab, service):
    """The hub and the stream both know of it; it is one toast."""
    page = tab.page
    job_id = await service.submit("letters.lose", await user_of(tab), text="the post is on strike")
    toast = page.locator(".toast.is-bad")
    await toast.wait_for()
    assert "the post is on strike" in await toast.inner_text()
    await page.click(".toast a")
    await until(page, "(id) => location.hash === `#/jobs/${id}`", job_id)
    assert await toast.count() == 0
    await until(
        page,
        "async (id) => (await (await fetch(`/api/v1/jobs/${id}`)).json()).deliveries?.some((one) => one.shownCount)",
        job_id,
    )


async def test_a_failed_jobs_trace_is_there_to_copy_and_it_can_be_run_again(tab, service):
    page = tab.page
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    job_id = await service.submit("letters.lose", "ann", text="ไปรษณีย์หาย")
    await service.ended(job_id)
    await tab.open(f"/jobs/{job_id}")
    await state_is(page, "failed")
    assert "ไปรษณีย์หาย" in await page.inner_text(".failure-text")
    trace = await page.inner_text("pre.trace")
    assert trace.startswith("Traceback")
    assert "dashboard_handlers" in trace
    await page.click(".trace-head button")
    assert await page.evaluate("navigator.clipboard.readText()") == trace
    await page.click("[data-act=retry]")
    await until(
        page,
        "async (id) => { const job = await (await fetch(`/api/v1/jobs/${id}`)).json();"
        " return job.run === 2 && job.status === 'failed'; }",
        job_id,
    )
    await until(page, "() => document.querySelector('table caption')?.closest('section')?.innerText.includes('run 1')"
                      " || document.querySelectorAll('.delivery').length === 2")  # fmt: skip


async def test_a_running_job_shows_its_progress_and_can_be_cancelled(tab, service, tmp_path):
    page = tab.page
    job_id = await service.submit("letters.send", "ann", text="ฉบับที่ ๑", until=str(tmp_path / "never"))
    await tab.open(f"/jobs/{job_id}")
    await state_is(page, "running")
    await until(page, "() => Number(document.querySelector('[data-progress] .bar')?.ariaValueNow) > 1")
    assert "ฉบับที่ ๑" in await page.inner_text("[data-progress]")
    await page.click("[data-act=cancel]")
    await page.click("dialog .danger")
    await state_is(page, "cancelled")
    assert (await service.ended(job_id))["status"] == "cancelled"


async def test_a_lost_connection_is_said_and_its_return_too(chromium, service):
    async with fault_proxy(int(service.url.rsplit(":", 1)[1])) as proxy, a_profile(chromium) as context:
        tab = await dashboard(context, proxy.url)
        page = tab.page
        await tab.sign_in(service.key)
        await until(page, f"() => {LINK} === 'connected'")
        proxy.refusing = True
        proxy.reset()
        await until(page, f"() => {LINK} === 'reconnecting'")
        await page.wait_for_selector(".away:not([hidden])")
        proxy.refusing = False
        await page.evaluate(f"{SHADOW}.querySelector('button').click()")
        await until(page, f"() => {LINK} === 'connected'")
        await page.wait_for_selector(".away", state="hidden")
        assert await tab.violations() == []


async def test_language_and_colours_are_switched_and_kept(tab):
    page = tab.page
    assert await page.inner_text("h1") == "Overview"
    await page.click(".sidebar [lang=th]")
    await until(page, "() => document.querySelector('h1')?.innerText === 'ภาพรวม'")
    assert await page.evaluate("document.documentElement.lang") == "th"
    await page.click(".sidebar [aria-label=มืด]")
    await page.reload()
    await until(page, "() => document.querySelector('h1')?.innerText === 'ภาพรวม'")
    styles = "(({ colorScheme, lineHeight, fontSize, letterSpacing }) => ({ colorScheme, letterSpacing,"
    styles += " height: parseFloat(lineHeight) / parseFloat(fontSize) }))(getComputedStyle(document.body))"
    style = await page.evaluate(styles)
    assert (style["colorScheme"], style["letterSpacing"]) == ("dark", "normal")
    assert style["height"] >= 1.6


async def test_a_wrong_key_is_told_and_signing_out_ends_it(chromium, service):
    async with a_profile(chromium) as context:
        tab = await dashboard(context, service.url)
        page = tab.page
        await page.goto(service.url)
        await page.fill("#key", "x" * 43)
        await page.press("#key", "Enter")
        await until(page, "() => document.querySelector('#key-fault').innerText.includes('not valid')")
        await tab.sign_in(service.key)
        assert await page.evaluate("document.cookie") == ""
        await page.click(".who [aria-label='Sign out']")
        await page.wait_for_selector("#key")
        assert await page.evaluate("fetch('/api/v1/jobs').then((answer) => answer.status)") == 401
        assert await tab.violations() == []


async def test_any_kind_of_job_is_started_from_a_form_made_of_its_schema(tab, service, tmp_path):
    page = tab.page
    mark = tmp_path / "now"
    await page.click("[data-new]")
    await page.click("dialog .segmented button:nth-child(2)")
    await page.select_option("dialog .field select", "letters.send")
    await page.get_by_label("text").fill("จดหมาย <b>")
    await page.get_by_label("until").fill(str(mark))
    await page.click("dialog [type=submit]")
    await until(page, "() => location.hash.startsWith('#/jobs/0')")
    await state_is(page, "running")
    mark.touch()
    await state_is(page, "succeeded")
    job = await service.ask("GET", f"/api/v1/jobs/{page.url.rsplit('/', 1)[1]}")
    assert job["payload"] == {"text": "จดหมาย <b>", "until": str(mark)}


async def test_what_is_looked_for_stands_in_the_address(tab, service):
    page = tab.page
    await service.ended(await service.submit("letters.lose", "somchai", text="ตราไปรษณียากรหมด"))
    await tab.open("/jobs")
    await page.click("[data-state=failed]")
    await page.fill(".filters input[type=search]", "ไปรษณียากร")
    await until(page, "() => document.querySelectorAll('.jobs-table tbody tr').length === 1")
    assert "state=failed" in page.url
    await page.reload()
    await until(page, "() => document.querySelectorAll('.jobs-table tbody tr').length === 1")
    assert await page.input_value(".filters input[type=search]") == "ไปรษณียากร"
    await page.go_back()
    await until(page, "() => !location.hash.includes('text=')")


async def test_rows_stay_under_the_readers_hand_and_news_waits_for_a_word(tab, service):
    page = tab.page
    await service.ended(await service.submit("letters.lose", "ann", text="the first"))
    await tab.open("/jobs")
    await page.wait_for_selector(".jobs-table tbody tr")
    await page.hover(".jobs-table tbody tr:first-child")
    before = await page.get_attribute(".jobs-table tbody tr:first-child", "data-key")
    newest = await service.submit("letters.lose", "ann", text="the second")
    await page.wait_for_selector(".pill:not([hidden])")
    assert await page.get_attribute(".jobs-table tbody tr:first-child", "data-key") == before
    await page.click(".pill")
    await until(page, "(id) => document.querySelector('.jobs-table tbody tr').dataset.key === id", newest)


async def test_all_that_fit_a_filter_are_counted_and_then_run_again(tab, service):
    page = tab.page
    for _ in range(3):
        await service.ended(await service.submit("letters.lose", "bulk-user", text="all three"))
    await tab.open("/jobs?userId=bulk-user")
    await page.click(".bulk button:has-text('Retry all')")
    assert "Retry 3 jobs?" in await page.inner_text("dialog")
    await page.click("dialog .main")
    await until(page, "() => document.querySelector('.toast.is-good')")
    await until(
        page,
        "async () => (await (await fetch('/api/v1/jobs?userId=bulk-user')).json()).jobs.every((job) => job.run === 2)",
    )


async def test_the_keyboard_goes_everywhere(tab, service):
    page = tab.page
    for number in range(3):
        await service.ended(await service.submit("letters.lose", "ann", text=f"key {number}"))
    await page.keyboard.press("g")
    await page.keyboard.press("j")
    await until(page, "() => document.querySelectorAll('.jobs-table tbody tr').length >= 3")
    await page.focus(".jobs-table tbody tr:first-child [data-main]")
    assert await page.locator(".jobs-table tbody [tabindex='0']").count() == 3
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("x")
    await until(
        page, "() => document.querySelector('.jobs-table tbody tr:nth-child(2)').className.includes('selected')"
    )
    second = await page.get_attribute(".jobs-table tbody tr:nth-child(2)", "data-key")
    await page.focus(".jobs-table tbody tr:nth-child(2) [data-main]")
    await page.keyboard.press("Enter")
    await until(page, "(id) => location.hash === `#/jobs/${id}`", second)
    await page.keyboard.press("/")
    assert await page.evaluate("document.activeElement.id") == "search"
    await page.keyboard.type("key 1")
    await page.keyboard.press("Enter")
    await until(page, "() => location.hash.includes('text=key')")
    await page.evaluate("document.activeElement.blur()")
    await page.keyboard.press("?")
    await page.wait_for_selector("dialog .keys")
    await page.keyboard.press("Escape")
    await page.wait_for_selector("dialog", state="detached")


async def test_workers_kinds_and_the_connection_are_controlled(tab, service):
    page = tab.page
    await tab.open("/workers")
    await page.wait_for_selector(".worker input[type=range]")
    await page.focus(".worker input[type=range]")
    before = int(await page.input_value(".worker input[type=range]"))
    await page.keyboard.press("ArrowRight")
    await until(
        page,
        "async (n) => (await (await fetch('/api/v1/workers')).json()).workers[0].concurrency === n",
        before + 1,
    )
    await page.click("[data-kind='letters.lose'] button")
    await page.wait_for_selector("[data-kind='letters.lose'] .chip")
    await page.click("[data-kind='letters.lose'] button")
    await page.wait_for_selector("[data-kind='letters.lose'] .chip", state="detached")
    await tab.go("/connection")
    await until(page, "() => document.querySelector('.state-hero').dataset.state === 'connected'")
    count = await page.locator(".events li").count()
    await page.click("[data-act=reconnect]")
    await until(page, "(n) => document.querySelectorAll('.events li').length > n", count)
    await until(page, "() => document.querySelector('.state-hero').dataset.state === 'connected'")
    await tab.go("/audit")
    await page.wait_for_selector(".table tbody tr")


async def test_news_is_sent_again(tab, service):
    page = tab.page
    job_id = await service.submit("letters.lose", await user_of(tab), text="told twice")
    await page.locator(".toast.is-bad").wait_for()
    await page.click(".toast .icon-only")
    await tab.go(f"/jobs/{job_id}")
    await page.click("[data-act=resend]")
    await page.locator(".toast.is-bad").wait_for()


async def test_settings_say_where_they_come_from_and_keep_their_secrets(tab):
    page = tab.page
    await tab.open("/settings?text=Http:Url")
    await page.wait_for_selector(".settings > div")
    assert "command line" in (await page.inner_text(".settings > .is-set")).lower()
    settings = json.dumps(await page.evaluate("fetch('/api/v1/settings').then((answer) => answer.json())"))
    assert KIND not in settings
    assert "***" in settings or '"WebSocket:Token"' in settings


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def keyed(tmp_path_factory):
    """A service with a key for each sort of reader."""
    keys = {
        "reader": ("read",),
        "intake": ("enqueue",),
        "clerk": ("read", "enqueue"),
    }
    settings = []
    for number, (name, scopes) in enumerate(keys.items()):
        settings.append(f"--Http:ApiKeys:{number}:Name={name}")
        settings.append(f"--Http:ApiKeys:{number}:Sha256={hashlib.sha256(secret(name).encode()).hexdigest()}")
        settings += [f"--Http:ApiKeys:{number}:Scopes:{index}={scope}" for index, scope in enumerate(scopes)]
    settings.append("--Http:ApiKeys:2:Users:0=clerk-1")
    async with a_service(tmp_path_factory.mktemp("keyed"), *settings) as service:
        yield service


def secret(name):
    return f"{name}-of-the-tests".ljust(43, "x")


async def test_who_may_only_look_is_offered_nothing_else(chromium, keyed):
    async with a_profile(chromium) as context:
        tab = await dashboard(context, keyed.url)
        await tab.sign_in(secret("reader"))
        assert await tab.page.locator("[data-new]").count() == 0
        links = await tab.page.locator(".sidebar .nav-link").all_inner_texts()
        assert not {"Settings", "Audit log"} & {text.strip() for text in links}
        await tab.go("/workers")
        await tab.page.wait_for_selector(".worker input[type=range][disabled]")
        assert await tab.page.locator("main button").count() == 0
        assert (tab.faults, await tab.violations()) == ([], [])


async def test_who_may_only_hand_in_hands_in(chromium, keyed, tmp_path):
    copy_sample(tmp_path)
    async with a_profile(chromium) as context:
        tab = await dashboard(context, keyed.url)
        await tab.sign_in(secret("intake"))
        await tab.drop(tmp_path / "roster.csv", tmp_path / "history.csv")
        await tab.page.click("[data-start]:not([disabled])")
        await tab.page.locator(".toast.is-good").wait_for()
        assert (tab.faults, await tab.violations()) == ([], [])


async def test_a_bound_key_sees_its_own_and_no_page_that_concerns_all(chromium, keyed, tmp_path):
    copy_sample(tmp_path)
    async with a_profile(chromium) as context:
        tab = await dashboard(context, keyed.url)
        await tab.sign_in(secret("clerk"))
        await until(tab.page, "() => location.hash === '#/jobs'")
        links = [
            text.strip() for text in await tab.page.locator(".sidebar .nav-link span:first-of-type").all_inner_texts()
        ]
        assert links == ["Jobs", "Notifications"]
        await tab.drop(tmp_path / "roster.csv", tmp_path / "history.csv")
        await tab.page.click("[data-start]:not([disabled])")
        await tab.page.click(".toast.is-good a")
        await tab.page.wait_for_selector(".people-table tbody tr")
        assert (tab.faults, await tab.violations()) == ([], [])


async def test_without_a_hub_of_its_own_the_stream_tells_and_the_pages_say_so(chromium, tmp_path):
    nobody = f"http://127.0.0.1:{free_port()}"
    copy_sample(tmp_path)
    async with (
        a_service(tmp_path, "--Hub:Enabled=false", f"--WebSocket:Url={nobody}") as service,
        a_profile(chromium) as context,
    ):
        tab = await dashboard(context, service.url)
        await tab.sign_in(service.key)
        await tab.drop(tmp_path / "roster.csv", tmp_path / "history.csv")
        await tab.page.click("[data-start]:not([disabled])")
        await until(tab.page, "() => location.hash.startsWith('#/jobs/0')")
        await tab.page.reload()
        await tab.page.locator(".toast.is-good a").wait_for()
        await tab.go("/hub")
        assert "No hub in this process" in await tab.page.inner_text("main .empty")
        await tab.go("/connection")
        await until(tab.page, "() => document.querySelector('.state-hero')?.dataset.state !== undefined")
        assert await tab.page.get_attribute(".state-hero", "data-state") != "connected"
        await tab.go("/")
        await tab.page.wait_for_selector(".notices .notice")
        assert (tab.faults, await tab.violations()) == ([], [])
