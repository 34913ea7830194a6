"""Every page of the dashboard, in both themes and languages and on a phone: axe, the policy, strangers' text."""

import itertools

import pytest
import pytest_asyncio

from tests.support.chromium import a_profile, until
from tests.support.dashboard import KIND, PAGES, a_service, dashboard

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(900)]

EVIL = "<img src=x onerror=window.hacked=1><script>window.hacked=1</script>"
LONG = "สำนักงานปลัดกระทรวงการพัฒนาสังคมและความมั่นคงของมนุษย์" * 4
OFFICER = {
    "person_id": "0000000184071",
    "employee_group": "civil_servant",
    "level": "K1",
    "birth_date": "1990-04-27",
    "service_start": "2014-09-12",
    "level_start": "2014-09-12",
    "salary": 21990,
    "decorations": [],
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory):
    async with a_service(tmp_path_factory.mktemp("pages")) as service:
        service.jobs = await _jobs(service)
        yield service


async def _jobs(service):
    """One that failed with a stranger's markup, one with a very long name, one with a result, one that runs."""
    failed = await service.submit("letters.lose", f"user {EVIL}"[:200], text=f"{EVIL} {LONG}")
    done = await service.submit(KIND, LONG[:200], round=2569, officers=[OFFICER], organization=EVIL[:60])
    runs = await service.submit("letters.send", "ann", text=EVIL, until="/no/such/file")
    await service.ended(failed)
    assert (await service.ended(done))["status"] == "succeeded"
    return {"failed": failed, "done": done, "runs": runs}


def _paths(service):
    jobs = [f"/jobs/{job_id}" for job_id in service.jobs.values()]
    nothing = ("/jobs?text=nothing%20fits", "/jobs/no-such-job", "/nowhere")
    return [*PAGES, *jobs, f"/jobs/{service.jobs['done']}/result", *nothing]


async def _settled(tab, path):
    """Shown, with whatever its requests brought."""
    await tab.go(path)
    await tab.page.wait_for_load_state("load")
    await until(tab.page, "() => !document.querySelector('.waiting')")


@pytest.mark.parametrize(
    ("scheme", "language"),
    [
        ("light", "th-TH"),
        ("dark", "en-GB"),
        pytest.param("light", "en-GB", marks=pytest.mark.matrix),
        pytest.param("dark", "th-TH", marks=pytest.mark.matrix),
    ],
)
async def test_pages_have_no_serious_axe_finding_and_no_policy_violation(chromium, service, scheme, language):
    async with a_profile(chromium, color_scheme=scheme, locale=language, reduced_motion="reduce") as context:
        tab = await dashboard(context, service.url)
        await tab.page.goto(service.url)
        await tab.page.wait_for_selector("#key")
        assert await tab.serious() == []
        await tab.sign_in(service.key)
        for path in _paths(service):
            await _settled(tab, path)
            assert await tab.serious() == [], path
        await tab.page.click("[data-new]")
        await tab.page.wait_for_selector("dialog[open]")
        assert await tab.serious() == [], "the dialog of a new job"
        await tab.page.click("dialog .segmented button:nth-child(2)")
        await until(tab.page, "() => !document.querySelector('dialog .waiting')")
        assert await tab.serious() == [], "the form of a new job"
        assert await tab.violations() == []
        assert tab.faults == []


@pytest.mark.parametrize(
    ("width", "language"),
    [
        (320, "th-TH"),
        (1440, "en-GB"),
        *[
            pytest.param(width, language, marks=pytest.mark.matrix)
            for width, language in itertools.product([320, 390, 768, 1440, 2560], ["th-TH", "en-GB"])
            if (width, language) not in ((320, "th-TH"), (1440, "en-GB"))
        ],
    ],
)
async def test_pages_are_not_wider_than_the_window(chromium, service, width, language):
    async with a_profile(chromium, viewport={"width": width, "height": 844}, locale=language) as context:
        tab = await dashboard(context, service.url)
        await tab.sign_in(service.key)
        for path in _paths(service):
            await _settled(tab, path)
            assert await tab.overflow() <= 0, path


async def test_thai_settings_page_says_in_thai_what_each_setting_is_for(chromium, service):
    async with a_profile(chromium, locale="th-TH") as context:
        tab = await dashboard(context, service.url)
        await tab.sign_in(service.key)
        await _settled(tab, "/settings")
        notes = await tab.page.eval_on_selector_all(".settings dt .note", "all => all.map((one) => one.textContent)")
        assert len(notes) > 100
        assert [note for note in notes if not any("ก" <= char <= "๛" for char in note)] == []


async def test_foreign_markup_is_shown_as_text(chromium, service):
    async with a_profile(chromium) as context:
        tab = await dashboard(context, service.url)
        await tab.sign_in(service.key)
        for path in _paths(service):
            await _settled(tab, path)
            assert await tab.page.evaluate("window.hacked") is None, path
            assert await tab.page.locator("main img, main script, main iframe").count() == 0, path
        await _settled(tab, f"/jobs/{service.jobs['failed']}")
        text = await tab.page.inner_text("main")
        assert text.count("<img src=x onerror=window.hacked=1>") >= 3
        # A file's name, on its way in.
        await tab.page.evaluate(
            """(name) => {
              const transfer = new DataTransfer();
              transfer.items.add(new File(["person_id"], name, { type: "text/csv" }));
              document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true }));
            }""",
            EVIL,
        )
        await tab.page.wait_for_selector(".slot.is-filled")
        assert EVIL in await tab.page.inner_text(".slot.is-filled")
        assert await tab.page.evaluate("window.hacked") is None
        assert await tab.violations() == []


async def test_layout_does_not_shift_after_the_first_view(chromium, service):
    """Cumulative layout shift; 0.1 is what is called good."""
    async with a_profile(chromium) as context:
        tab = await dashboard(context, service.url)
        await tab.sign_in(service.key)
        for path in ("/", "/jobs", "/workers"):
            await tab.open(path)
            await tab.page.reload()
            await tab.shown()
            await until(tab.page, "() => !document.querySelector('.waiting')")
            assert await tab.page.evaluate("window.shift") < 0.1, path


async def test_five_hundred_rows_are_drawn_once_and_updated_where_they_change(chromium, service):
    jobs = [{"taskType": "letters.lose", "userId": "many", "payload": {"text": f"{n}"}} for n in range(500)]
    await service.ask("POST", "/api/v1/jobs/batch", {"jobs": jobs})
    async with a_profile(chromium) as context:
        tab = await dashboard(context, service.url)
        await tab.sign_in(service.key)
        await tab.open("/jobs?userId=many&state=failed&limit=500")
        await until(tab.page, "() => document.querySelectorAll('.jobs-table tbody tr').length === 500")
        drawn = await tab.page.evaluate(
            """() => new Promise((resolve) => {
              let count = 0;
              // The times, "5 sec ago", are written again; rows are not.
              const isRow = ({ target }) => !target.closest("time");
              const watch = new MutationObserver((list) => { count += list.filter(isRow).length; });
              watch.observe(document.querySelector(".jobs-table tbody"), { childList: true, subtree: true });
              const isList = ({ name }) => name.includes("/jobs?");
              const asked = () => performance.getEntriesByType("resource").filter(isList);
              const before = asked().length;
              document.dispatchEvent(new Event("jobschanged"));
              const timer = setInterval(() => {
                if (asked().length === before) return;
                clearInterval(timer);
                // What the answer changes is drawn in the task after its last byte.
                setTimeout(() => { watch.disconnect(); resolve(count); }, 300);
              }, 20);
            })"""
        )
        assert drawn == 0
        assert await tab.page.locator(".jobs-table tbody [tabindex='0']").count() == 3
