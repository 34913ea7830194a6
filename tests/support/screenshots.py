"""Take the screenshots of the docs, with a real service and hub: `make screenshots` runs it."""

import asyncio
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.support.chromium import a_chromium, a_profile, until
from tests.support.dashboard import KIND, Dashboard, Service, a_service, dashboard
from tests.support.fault_proxy import fault_proxy
from tests.support.hub import message, progress, running_hub
from worker.api.static_files import add_page
from worker.insignia.sample.roster_writer import write_sample

SECONDS_OF_LOAD = 60
"""How long jobs are submitted before the overview is taken: its chart shows a minute."""
USERS = ("suda.r", "malee.s", "somchai", "ann")
LETTER = "หนังสือเวียน ฉบับที่ 1236"
FAILURE = "ทะเบียนกลางไม่ตอบภายใน 30 วินาที"
FINISHED = {"taskType": KIND, "duration": 1230.0, "completedAt": "2026-11-20T08:15:30.000Z"}
STATUS_BOX = "document.querySelector('websocket-status').shadowRoot.querySelector('.box').dataset.state"


async def take_all(folder: Path) -> None:
    """Write every picture that the docs refer to into the folder. Raises SystemExit without a font for Thai."""
    if not subprocess.run(["fc-list", ":lang=th"], capture_output=True, text=True, check=True).stdout:
        raise SystemExit("the pictures show Thai text: install a font for it, such as fonts-noto-core")
    with tempfile.TemporaryDirectory() as scratch:
        async with a_chromium() as chromium:
            await _take_dashboard(chromium, Path(scratch) / "service", folder)
            await _take_status_page(chromium, Path(scratch) / "hub", folder)


async def _take_dashboard(chromium: Any, scratch: Path, folder: Path) -> None:
    scratch.mkdir()
    async with a_service(scratch, "--Worker:Concurrency=8") as service:
        load = asyncio.create_task(_submit_jobs(service))
        result = await _take_roster(chromium, service, scratch, folder)
        await load
        for user in USERS[:3]:
            await service.submit("letters.send", user, text=LETTER, until=str(scratch / "never"))
        await _take_pages(chromium, service, result, folder)


async def _submit_jobs(service: Service) -> None:
    for tick in range(SECONDS_OF_LOAD * 2):
        await service.submit("letters.send", USERS[tick % 4], text="จดหมาย")
        if tick % 7 == 0:
            await service.submit("letters.lose", USERS[tick % 3], text=FAILURE)
        await asyncio.sleep(0.5)


async def _take_roster(chromium: Any, service: Service, scratch: Path, folder: Path) -> str:
    """Submit a roster through the form; return the path of its result's page."""
    write_sample(scratch / "roster.csv", 20_000, 7, history=scratch / "history.csv")
    async with a_profile(chromium, viewport={"width": 1440, "height": 900}) as context:
        tab = await _signed_in(context, service)
        await tab.drop(scratch / "roster.csv", scratch / "history.csv")
        await tab.page.wait_for_selector("dialog [data-start]:not([disabled])")
        await _picture(tab, folder / "dashboard-new.png")
        await tab.page.click("[data-start]")
        await until(tab.page, "() => location.hash.startsWith('#/jobs/0')")
        job_id = tab.page.url.rsplit("/", 1)[1]
        await service.ended(job_id)
        return f"/jobs/{job_id}/result"


async def _take_pages(chromium: Any, service: Service, result: str, folder: Path) -> None:
    failed = (await service.ask("GET", "/api/v1/jobs?status=failed&limit=1"))["jobs"][0]["jobId"]
    shots: list[tuple[str, str, dict[str, Any]]] = [
        ("dashboard-overview", "/", {"viewport": {"width": 1440, "height": 1010}}),
        ("dashboard-jobs", "/jobs", {"viewport": {"width": 1440, "height": 900}}),
        (
            "dashboard-job-dark",
            f"/jobs/{failed}",
            {"viewport": {"width": 1440, "height": 1000}, "color_scheme": "dark"},
        ),
        ("dashboard-result-th", result, {"viewport": {"width": 1440, "height": 1150}, "locale": "th-TH"}),
        (
            "dashboard-phone-th",
            "/jobs",
            {"viewport": {"width": 390, "height": 844}, "locale": "th-TH", "device_scale_factor": 2, "is_mobile": True},
        ),
    ]
    for name, path, options in shots:
        async with a_profile(chromium, **options) as context:
            tab = await _signed_in(context, service)
            await tab.open(path)
            await _picture(tab, folder / f"{name}.png")


async def _signed_in(context: Any, service: Service) -> Dashboard:
    tab = await dashboard(context, service.url)
    await tab.sign_in(service.key)
    return tab


async def _picture(tab: Dashboard, path: Path) -> None:
    await tab.page.wait_for_load_state("load")
    await until(tab.page, "() => !document.querySelector('.waiting')")
    await tab.page.screenshot(path=str(path), animations="disabled")


async def _take_status_page(chromium: Any, scratch: Path, folder: Path) -> None:
    scratch.mkdir()
    shots = (("status-th", "th-TH", "light", "connected"), ("status-en-reconnecting", "en-GB", "dark", "reconnecting"))
    async with running_hub(scratch, mount=add_page) as hub, fault_proxy(hub.port) as proxy:
        publisher = await hub.publisher()
        for name, locale, scheme, state in shots:
            options = {"viewport": {"width": 820, "height": 900}, "locale": locale, "color_scheme": scheme}
            async with a_profile(chromium, **options) as context:
                page = await context.new_page()
                await page.goto(f"{proxy.url}/page/status.html")
                await page.fill("#token", hub.token())
                await page.press("#token", "Enter")
                await until(page, f"() => {STATUS_BOX} === 'connected'")
                await publisher.publish(message(len(name), **FINISHED))
                await until(page, "() => document.querySelectorAll('#news li').length >= 1")
                running = progress(f"job-{name}", 62)
                running["payload"] |= {"taskType": KIND, "note": "31,000 / 50,000"}
                await publisher.publish(running)
                await until(page, "() => document.querySelector('#running progress')?.value === 62")
                if state == "reconnecting":
                    proxy.refusing = True
                    proxy.reset()
                    await until(page, f"() => {STATUS_BOX} === 'reconnecting'")
                await page.screenshot(path=str(folder / f"{name}.png"), animations="disabled")


if __name__ == "__main__":
    asyncio.run(take_all(Path(sys.argv[1])))
