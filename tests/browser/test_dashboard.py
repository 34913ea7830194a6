"""The dashboard in Chromium, with a real service behind it: a roster's whole way, and what operators do."""

import contextlib
import hashlib
import json

import pytest
import pytest_asyncio

from tests.support.chromium import a_profile, until
from tests.support.dashboard import KIND, a_service, dashboard
from tests.support.fault_proxy import fault_proxy
from tests.support.ports import free_port
from worker.insignia.sample.roster_writer import copy_sample, write_sample

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(900), pytest.mark.both_stores]

SHADOW = "document.querySelector('websocket-status').shadowRoot"
LINK = f"{SHADOW}.querySelector('.box').dataset.state"
OFFICERS = [
    {
        "person_id": f"{number:013}",
        "employee_group": "civil_servant",
        "level": "K2",
        "birth_date": "1990-04-27",
        "service_start": "2014-09-12",
        "level_start": "2019-09-12",
        "salary": 21990,
        "decorations": [],
        "title": "นาง",
        "first_name": f"ใจดี{number}",
        "last_name": "งามตา",
        "post": "นักวิชาการเงินและบัญชี",
        "office": "สำนักการคลัง",
    }
    for number in range(205)
]
IS_DELIVERED = """async (id) => {
  const { deliveries } = await (await fetch(`/api/v1/jobs/${id}`)).json();
  return deliveries?.some(({ status }) => status === "delivered");
}"""
CHIP = "document.querySelector('main h1 ~ span .chip')?.className ?? ''"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory, store_provider):
    async with a_service(tmp_path_factory.mktemp(f"dashboard-{store_provider}")) as service:
        yield service


@contextlib.asynccontextmanager
async def signed_in(chromium, service):
    """A page that is signed in, in a browser profile of its own."""
    async with a_profile(chromium, accept_downloads=True) as context:
        tab = await dashboard(context, service.url)
        await tab.sign_in(service.key)
        yield tab


@pytest_asyncio.fixture(loop_scope="module")
async def tab(chromium, service):
    async with signed_in(chromium, service) as tab:
        yield tab
        assert tab.faults == []
        assert await tab.violations() == []
        # A page that is left reports what it has read. What it has not is shown again to the user of the next test.
        await tab.page.goto("about:blank")


async def state_is(page, state):
    await until(page, f"(state) => ({CHIP}).includes(`is-${{state}}`)", state)


async def user_of(tab):
    return (await tab.page.evaluate("fetch('/api/v1/session').then((answer) => answer.json())"))["userId"]


async def test_roster_is_submitted_followed_over_a_reload_and_downloaded(tab, service, tmp_path):
    """Two clicks from the drop to the result: Start, and the toast's link."""
    page = tab.page
    write_sample(tmp_path / "roster.csv", 8_000, 7, history=tmp_path / "history.csv")
    await tab.drop(tmp_path / "roster.csv", tmp_path / "history.csv")
    await page.wait_for_selector("dialog [data-start]:not([disabled])")
    assert await page.eval_on_selector("dialog select", "(select) => Number(select.value)") == await page.evaluate(
        "new Date().getFullYear() + 543"
    )
    async with service.resting():
        await page.click("[data-start]")
        await until(page, "() => location.hash.startsWith('#/jobs/0')")
        started = page.url.split("/jobs/")[1]
        await page.reload()
        await tab.shown()
    await page.click(f".toast.is-good a[href*='{started}']")
    await until(page, "() => location.hash.endsWith('/result')")
    await page.wait_for_selector("[data-file='results.csv']")
    totals = await page.inner_text(".totals")
    async with page.expect_download() as waiting:
        await page.click("[data-file='results.csv']")
    download = await waiting.value
    await download.save_as(tmp_path / "taken.csv")
    assert (tmp_path / "taken.csv").read_text(encoding="utf-8-sig").startswith("ลำดับ,เลขประจำตัวประชาชน")
    job_id = page.url.split("/jobs/")[1].split("/")[0]
    job = await service.ask("GET", f"/api/v1/jobs/{job_id}")
    assert job["userId"] == await user_of(tab)
    assert job["payload"]["history"]
    assert f"{job['result']['officers']:,}" in totals


async def test_result_of_the_sample_roster_lists_manual_reviews(tab, tmp_path):
    page = tab.page
    copy_sample(tmp_path)
    await tab.drop(tmp_path / "roster.csv", tmp_path / "history.csv")
    await page.click("[data-start]:not([disabled])")
    await page.click("[data-open-result]")
    await page.wait_for_selector(".people-table tbody tr")
    rows = page.locator(".people-table tbody tr")
    assert min(int(await page.inner_text(".total.is-review dd")), 100) == await rows.count()  # a page has 100 rows
    first = await rows.first.locator(".mono").inner_text()
    await page.fill(".rows-card input[type=search]", first)
    await until(page, "() => document.querySelectorAll('.people-table tbody tr').length === 1")
    assert f"text={first}" in page.url
    await page.fill(".rows-card input[type=search]", "no such person")
    await page.wait_for_selector(".rows-card .empty")


async def test_row_of_a_result_opens_with_the_reasons_and_the_last_page_is_one_click_away(tab, service):
    page = tab.page
    job_id = await service.submit(KIND, "ann", round=2569, officers=OFFICERS, organization="สำนักการคลัง")
    await service.ended(job_id)
    await tab.go(f"/jobs/{job_id}/result?show=all")
    await page.wait_for_selector(".people-table tbody tr")
    assert await page.locator(".people-table tbody tr").count() == 100
    heads = await page.locator(".people-table thead th").all_inner_texts()
    assert heads[:2] == ["Name · ID", "Post · Office"]
    await page.click("[data-turn=last]")
    await until(page, "() => document.querySelectorAll('.people-table tbody tr').length === 5")
    assert "page=3" in page.url
    await page.locator(".row-open", has_text="ใจดี204").click()
    dialog = page.locator("dialog.officer")
    await dialog.locator(".reasons li").first.wait_for()
    text = await dialog.inner_text()
    for words in ("นักวิชาการเงินและบัญชี", "สำนักการคลัง", "GR-SERVICE-5", "sha256", "criteria.json"):
        assert words in text
    assert await dialog.locator(".reasons .is-yes").count() > 3
    await page.keyboard.press("Escape")
    await page.fill(".rows-card input[type=search]", "ใจดี7 การคลัง")
    await until(page, "() => document.querySelectorAll('.people-table tbody tr').length === 11")


async def test_list_of_a_result_is_printed_whole(tab, service):
    page = tab.page
    job_id = await service.submit(KIND, "ann", round=2569, officers=OFFICERS, organization="สำนักการคลัง")
    await service.ended(job_id)
    await tab.go(f"/jobs/{job_id}/print?show=all")
    await page.wait_for_selector("[data-print]:not([disabled])")
    assert await page.locator("table.sheet tbody tr").count() == len(OFFICERS)
    await page.emulate_media(media="print")
    assert not await page.is_visible(".topbar")
    assert not await page.is_visible("[data-print]")
    assert await page.is_visible("table.sheet")
    await page.emulate_media(media="screen")


async def test_replaced_result_is_announced_before_start_and_in_both_results(tab, service, tmp_path):
    page, user = tab.page, await user_of(tab)
    payload = {"round": await page.evaluate("new Date().getFullYear() + 543"), "officers": OFFICERS[:1]}
    older = await service.submit(KIND, user, **payload)
    await service.ended(older)
    write_sample(tmp_path / "roster.csv", 50, 7)
    await tab.drop(tmp_path / "roster.csv")
    await page.wait_for_selector("dialog [data-existing]")
    await page.click("[data-start]:not([disabled])")
    await page.click("[data-open-result]")
    await page.wait_for_selector(f"[data-replaces] a[href*='{older}']")
    newer = page.url.split("/jobs/")[1].split("/")[0]
    # The older one is marked after the newer has succeeded, and its page requests its rows once.
    is_replaced = "async (id) => 'replaced' in await (await fetch(`/api/v1/jobs/${id}/rows`)).json()"
    await until(page, is_replaced, older)
    await tab.go(f"/jobs/{older}/result")
    await page.wait_for_selector(f"[data-replaced] a[href*='{newer}']")


async def test_failed_roster_is_explained_in_thai_on_the_thai_page(chromium, service):
    async with a_profile(chromium, locale="th-TH") as context:
        tab = await dashboard(context, service.url)
        await tab.sign_in(service.key)
        job_id = await service.submit(KIND, "ann", round=2569, roster="none.csv")
        assert (await service.ended(job_id))["errorCode"] == "path_missing"
        await tab.go(f"/jobs/{job_id}")
        assert await tab.page.inner_text(".failure-text") == "ไม่พบไฟล์ none.csv ใต้ Insignia:DataDirectory"
        assert not await tab.page.is_visible("text=Discard")
        for path, words in (("/jobs", ".row-error"), ("/", ".item-error")):
            await tab.go(path)
            await tab.page.wait_for_selector(f"{words}:has-text('ไม่พบไฟล์ none.csv')")


async def test_unknown_heading_is_mapped_in_the_page(tab, service, tmp_path):
    page = tab.page
    (tmp_path / "strange.csv").write_text(
        "รหัสคน13หลัก,ประเภทบุคลากร,ระดับ,วันเกิด,วันบรรจุ,วันเข้าสู่ระดับ,เงินเดือน,เครื่องราชอิสริยาภรณ์\n"
        "0000000184071,ข้าราชการ,K2,27/4/2533,12/9/2557,12/9/2562,21990,\n",
        "utf-8",
    )
    await tab.drop(tmp_path / "strange.csv")
    await page.click("[data-start]:not([disabled])")
    await page.wait_for_selector("[data-mapping]")
    assert (await page.inner_text("p.lead")).endswith("· strange.csv")
    await page.click("[data-mapping]")
    await page.select_option("[data-heading='รหัสคน13หลัก']", "person_id")
    assert await tab.serious() == []
    async with page.expect_request("**/api/v1/jobs") as sent:
        await page.click("[data-start-mapped]")
    assert (await sent.value).headers["idempotency-key"]
    await page.click("[data-open-result]")
    await page.wait_for_selector(".total dd")
    assert await page.locator(".total dd").first.inner_text() == "1"


async def test_ended_job_shows_one_toast_and_reports_it_as_shown(tab, service):
    """The hub and the stream both know of it; it is one toast."""
    page = tab.page
    job_id = await service.submit("letters.lose", await user_of(tab), text="the post is on strike")
    toast = page.locator(".toast.is-bad", has_text="the post is on strike")
    await toast.wait_for()
    await toast.locator("a").click()
    await until(page, "(id) => location.hash === `#/jobs/${id}`", job_id)
    assert await toast.count() == 0
    await until(
        page,
        "async (id) => (await (await fetch(`/api/v1/jobs/${id}`)).json()).deliveries?.some((one) => one.shownCount)",
        job_id,
    )


async def test_failed_job_shows_its_stack_trace_and_can_be_retried(tab, service):
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
    await until(page, "async (trace) => (await navigator.clipboard.readText()) === trace", trace)
    await page.click("[data-act=retry]")
    await until(
        page,
        "async (id) => { const job = await (await fetch(`/api/v1/jobs/${id}`)).json();"
        " return job.run === 2 && job.status === 'failed'; }",
        job_id,
    )
    await until(page, "() => document.querySelector('table caption')?.closest('section')?.innerText.includes('run 1')"
                      " || document.querySelectorAll('.delivery').length === 2")  # fmt: skip


async def test_running_job_shows_progress_and_can_be_cancelled(tab, service, tmp_path):
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


async def test_lost_connection_and_its_return_are_shown(chromium, service):
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


async def test_language_and_theme_are_kept_over_a_reload(tab):
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


async def test_sign_in_rejects_an_unknown_key_and_sign_out_ends_the_session(chromium, service):
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


async def test_sign_out_that_did_not_reach_the_service_says_so(chromium, service):
    async with signed_in(chromium, service) as tab:
        page = tab.page

        async def lose(route):
            await (route.abort() if route.request.method == "DELETE" else route.fallback())

        await page.route("**/api/v1/session", lose)
        await page.click(".who [aria-label='Sign out']")
        await page.locator(".toast", has_text="You are still signed in").wait_for()
        assert await page.locator("#key").count() == 0
        await page.unroute("**/api/v1/session", lose)
        await page.click(".who [aria-label='Sign out']")
        await page.wait_for_selector("#key")
        assert await page.inner_text("#key-fault") == ""


async def test_sign_out_that_is_not_stored_yet_says_so(chromium, service):
    async with signed_in(chromium, service) as tab:
        page = tab.page

        async def answer_503(route):
            if route.request.method != "DELETE":
                await route.fallback()
                return
            await route.fetch()  # which deletes the cookie
            await route.fulfill(status=503, json={"detail": "signed out in this browser"})

        await page.route("**/api/v1/session", answer_503)
        await page.click(".who [aria-label='Sign out']")
        await page.wait_for_selector("#key")
        assert "signed out in this browser" in await page.inner_text("#key-fault")


async def test_end_of_the_session_takes_its_dialogs_and_messages_away(chromium, service):
    async with a_profile(chromium) as context:
        tab = await dashboard(context, service.url)
        page = tab.page
        await tab.sign_in(service.key)
        await service.submit("letters.lose", await user_of(tab), text="for the one who is signed in")
        await page.locator(".toast", has_text="for the one who is signed in").wait_for()
        await page.keyboard.press("?")
        await page.wait_for_selector("dialog[open]")
        await context.clear_cookies()
        await page.evaluate("location.hash = '/jobs'")
        await page.wait_for_selector("#key")
        await until(page, "() => !document.querySelector('dialog')")
        await tab.sign_in(service.key)
        assert await page.locator(".toast").count() == 0


async def test_any_task_type_is_submitted_from_a_form_of_its_schema(tab, service, tmp_path):
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


async def test_job_search_is_kept_in_the_address(tab, service):
    page = tab.page
    other = await service.submit("letters.lose", "somchai", text="another failure")
    job_id = await service.submit("letters.lose", "somchai", text="ตราไปรษณียากรหมด")
    for failed in (other, job_id):
        await service.ended(failed)
    only_this_job = """(id) => {
        const rows = document.querySelectorAll('.jobs-table tbody tr');
        return rows.length === 1 && rows[0].dataset.key === id;
    }"""
    await tab.open("/jobs")
    await page.click("[data-state=failed]")
    await until(page, "() => location.hash.includes('state=failed')")
    await page.fill(".filters input[type=search]", "ไปรษณียากร")
    await until(page, "() => location.hash.includes('text=')")
    await until(page, only_this_job, job_id)
    assert "state=failed" in page.url
    await page.reload()
    await until(page, only_this_job, job_id)
    assert await page.input_value(".filters input[type=search]") == "ไปรษณียากร"
    await page.go_back()
    await until(page, "() => !location.hash.includes('text=')")


async def test_rows_stay_in_place_under_the_pointer_until_new_ones_are_requested(tab, service):
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


async def test_jobs_that_match_a_filter_are_counted_and_retried(tab, service):
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
        "async () => (await (await fetch('/api/v1/jobs?userId=bulk-user')).json()).jobs"
        ".every((job) => job.run === 2 && job.status === 'failed')",
    )


async def test_keyboard_shortcuts_reach_every_page_and_row(tab, service):
    page = tab.page
    for number in range(3):
        await service.ended(await service.submit("letters.lose", "ann", text=f"key {number}"))
    while not await page.evaluate("location.hash === '#/jobs'"):
        # The second key has to follow within 1.5 s, which a busy machine may miss.
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


async def test_workers_task_types_and_connection_are_controlled(tab, service):
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


async def test_workers_page_shows_who_waits_behind_what(tab, service):
    page = tab.page
    ask = service.ask
    await service.worker.until_idle()  # jobs of the tests before would be among those that wait
    async with service.resting():
        await ask("POST", "/api/v1/task-types/letters.lose/pause", {})
        markup = "<img src=x onerror=window.hacked=1>"
        waiting = [
            {"taskType": "letters.send", "userId": "ann", "payload": {"organization": "dept-a"}},
            {"taskType": "letters.send", "userId": "ann", "payload": {"organization": "dept-a"}},
            {"taskType": "letters.send", "userId": "ben", "payload": {"organization": markup}},
            {"taskType": "letters.send", "userId": "somchai", "payload": {}, "priority": 5},
            {"taskType": "letters.lose", "userId": "ann", "payload": {}},
        ]
        await ask("POST", "/api/v1/jobs/batch", {"jobs": waiting})
        await tab.go("/workers")
        await page.wait_for_selector(".lines-card [data-priority='0'] li >> nth=2")
        groups = page.locator(".lines-card [data-priority]")
        assert [await group.get_attribute("data-priority") for group in await groups.all()] == ["5", "0"]
        first = await page.locator("[data-priority='5'] li").first.inner_text()
        assert "somchai" in first
        assert "turn 1" in first
        others = await page.locator("[data-priority='0'] li").all_inner_texts()
        [ann] = [text for text in others if "dept-a · ann" in text]
        assert "letters.send · 2 waiting" in ann
        assert "turn" in ann
        assert any(f"{markup} · ben" in text for text in others)
        [paused] = [text for text in others if "paused" in text]
        assert "turn" not in paused
        await ask("POST", "/api/v1/task-types/letters.lose/resume", {})
    await page.wait_for_selector(".lines-card .empty")
    assert await page.evaluate("window.hacked") is None


async def test_notification_is_sent_again(tab, service):
    page = tab.page
    job_id = await service.submit("letters.lose", await user_of(tab), text="told twice")
    toast = page.locator(".toast.is-bad", has_text="told twice")
    await toast.wait_for()
    await toast.locator(".icon-only").click()
    await toast.wait_for(state="detached")
    # The hub passes it on before its confirmation is stored, and what is still being sent is not sent once more.
    await until(page, IS_DELIVERED, job_id)
    await tab.go(f"/jobs/{job_id}")
    await page.click("[data-act=resend]")
    await toast.wait_for()


async def test_entries_of_the_audit_log_stand_on_lines_of_their_own_on_a_phone(tab, service):
    page = tab.page
    job_id = await service.submit("letters.send", "ann", text="x")
    await service.ended(job_id)
    await page.evaluate("(id) => fetch(`/api/v1/jobs/${id}/retry`, {method: 'POST'})", job_id)
    await page.set_viewport_size({"width": 390, "height": 844})
    await tab.open("/audit?action=jobs.retry")
    await page.locator(".audit-table .col-target a").first.wait_for()
    lines = "document.querySelector('.audit-table tbody .col-target a').getClientRects().length"
    assert await page.evaluate(lines) == 1


async def test_clients_of_the_hub_fit_on_a_phone(tab):
    page = tab.page
    await page.set_viewport_size({"width": 390, "height": 844})
    await tab.open("/hub")
    await page.get_by_role("button", name="Disconnect").first.wait_for()
    frames = "[...document.querySelectorAll('.table-frame')].map((frame) => frame.scrollWidth - frame.clientWidth)"
    assert max(await page.evaluate(frames)) <= 0


async def test_settings_show_their_origin_and_mask_secrets(tab):
    page = tab.page
    await tab.open("/settings?text=Http:Url")
    await page.wait_for_selector(".settings > div")
    assert "command line" in (await page.inner_text(".settings > .is-set")).lower()
    settings = json.dumps(await page.evaluate("fetch('/api/v1/settings').then((answer) => answer.json())"))
    assert KIND not in settings
    assert "***" in settings or '"WebSocket:Token"' in settings


async def test_settings_show_units_and_origins_in_the_language_of_the_page(tab):
    page = tab.page
    await tab.open("/settings?text=WebSocket:Timeout")
    await until(page, "() => document.querySelector('.settings dd')?.innerText.includes('20000 ms')")
    await page.click(".sidebar [lang=th]")
    await until(page, "() => document.querySelector('.settings dd')?.innerText.includes('20000 มิลลิวินาที')")
    await tab.open("/settings?text=Http:Url")
    await until(page, "() => document.querySelector('.settings > .is-set')?.innerText.includes('บรรทัดคำสั่ง --Http:Url')")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def keyed(tmp_path_factory):
    """A service with a key for each sort of reader."""
    keys = {
        "reader": ("read",),
        "intake": ("enqueue",),
        # One for each test in which notifications arrive: a test may end before its page has reported them as read.
        "clerk": ("read", "enqueue"),
        "teller": ("read", "enqueue"),
        "typist": ("read", "enqueue"),
    }
    settings = []
    for number, (name, scopes) in enumerate(keys.items()):
        settings.append(f"--Http:ApiKeys:{number}:Name={name}")
        settings.append(f"--Http:ApiKeys:{number}:Sha256={hashlib.sha256(secret(name).encode()).hexdigest()}")
        settings += [f"--Http:ApiKeys:{number}:Scopes:{index}={scope}" for index, scope in enumerate(scopes)]
        if name in ("clerk", "teller", "typist"):
            settings.append(f"--Http:ApiKeys:{number}:Users:0={name}-1")
    async with a_service(tmp_path_factory.mktemp("keyed"), *settings) as service:
        yield service


def secret(name):
    return f"{name}-of-the-tests".ljust(43, "x")


async def test_key_with_scope_read_is_offered_no_changes(chromium, keyed):
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


async def test_key_with_scope_enqueue_submits_jobs(chromium, keyed, tmp_path):
    copy_sample(tmp_path)
    async with a_profile(chromium) as context:
        tab = await dashboard(context, keyed.url)
        await tab.sign_in(secret("intake"))
        await tab.drop(tmp_path / "roster.csv", tmp_path / "history.csv")
        await tab.page.click("[data-start]:not([disabled])")
        await tab.page.locator(".toast.is-good").wait_for()
        assert (tab.faults, await tab.violations()) == ([], [])


async def test_bound_key_sees_its_own_jobs_and_no_service_pages(chromium, keyed, tmp_path):
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


CHIP_COUNT = "(state) => document.querySelector(`.state-chip.is-${state} .figures`)?.textContent"
SUBMIT = """(body) => fetch("/api/v1/jobs", { method: "POST", body: JSON.stringify(body) })
  .then((answer) => answer.json()).then(({ jobId }) => jobId)"""


async def test_counters_and_list_of_a_bound_key_follow_its_jobs(chromium, keyed):
    async with a_profile(chromium) as context:
        tab = await dashboard(context, keyed.url)
        await tab.sign_in(secret("teller"))
        page = tab.page
        await until(page, "() => location.hash === '#/jobs'")
        await page.wait_for_selector(".state-chip.is-failed .figures")
        before = int(await page.evaluate(CHIP_COUNT, "failed"))
        job_id = await page.evaluate(SUBMIT, {"taskType": "letters.lose", "payload": {"text": "a clerk's letter"}})
        # Well below the half minute after which the list is requested in any case.
        page.set_default_timeout(20_000)
        await until(page, f"(count) => ({CHIP_COUNT})('failed') === String(count)", before + 1)
        await page.wait_for_selector(f"main a[href*='{job_id}']")
        assert (tab.faults, await tab.violations()) == ([], [])


SHOW_AS = """(state) => {
  Object.defineProperty(document, "visibilityState", { configurable: true, get: () => state });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


async def test_success_on_a_hidden_page_waits_for_the_user(chromium, keyed):
    async with a_profile(chromium, permissions=["notifications"]) as context:
        tab = await dashboard(context, keyed.url)
        page = tab.page
        await page.clock.install()
        await page.add_init_script(
            "window.shown = []; window.Notification = class extends EventTarget {"
            " static permission = 'granted'; constructor(title) { super(); window.shown.push(title); } close() {} }"
        )
        await tab.sign_in(secret("typist"))
        await until(page, "() => document.querySelector('websocket-status')?.socket?.state === 'connected'")
        await page.evaluate(SHOW_AS, "hidden")
        job_id = await page.evaluate(SUBMIT, {"taskType": "letters.send", "payload": {"text": "x"}})
        await until(page, "() => document.title.startsWith('(1) ')")
        assert len(await page.evaluate("window.shown")) == 1
        await page.clock.fast_forward(60_000)
        toast = page.locator(f".toast.is-good a[href*='{job_id}']")
        assert await toast.count() == 1
        await page.evaluate(SHOW_AS, "visible")
        assert await toast.count() == 1
        await page.clock.fast_forward(10_000)
        await toast.wait_for(state="detached")
        # It is still in the list, also after a reload, until the user has looked at it.
        await page.reload()
        await page.click(".unseen")
        await page.click(f"dialog a[href*='{job_id}']")
        await until(page, "(id) => location.hash === `#/jobs/${id}` && !document.title.startsWith('(')", job_id)
        await page.wait_for_selector(".unseen", state="hidden")
        assert (tab.faults, await tab.violations()) == ([], [])


async def test_dashboard_without_a_hub_uses_the_event_stream(chromium, tmp_path):
    nobody = f"http://127.0.0.1:{free_port()}"
    copy_sample(tmp_path)
    async with (
        a_service(tmp_path, "--Hub:Enabled=false", f"--WebSocket:Url={nobody}") as service,
        a_profile(chromium) as context,
    ):
        tab = await dashboard(context, service.url)
        await tab.sign_in(service.key)
        await tab.drop(tmp_path / "roster.csv", tmp_path / "history.csv")
        async with service.resting():
            await tab.page.click("[data-start]:not([disabled])")
            await until(tab.page, "() => location.hash.startsWith('#/jobs/0')")
            await tab.page.reload()
            await tab.shown()
        await tab.page.locator(".toast.is-good a").wait_for()
        await tab.go("/hub")
        assert "No hub in this process" in await tab.page.inner_text("main .empty")
        await tab.go("/connection")
        await until(tab.page, "() => document.querySelector('.state-hero')?.dataset.state !== undefined")
        assert await tab.page.get_attribute(".state-hero", "data-state") != "connected"
        await tab.go("/")
        await tab.page.wait_for_selector(".notices .notice")
        assert (tab.faults, await tab.violations()) == ([], [])
