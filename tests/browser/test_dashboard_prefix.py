"""The dashboard below a path of its host (Http:PathBase), in Chromium: every request of the page has the prefix."""

import pytest

from tests.support.chromium import a_profile, until
from tests.support.dashboard import PAGES, a_service, dashboard

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(900)]


async def test_dashboard_below_a_prefix_uses_no_path_outside_it(chromium, tmp_path):
    async with (
        a_service(tmp_path, "--Http:PathBase=/worker") as service,
        a_profile(chromium, accept_downloads=True) as context,
    ):
        tab = await dashboard(context, f"{service.url}/worker")
        paths: list[str] = []
        tab.page.on("request", lambda request: paths.append(request.url.removeprefix(service.url)))
        tab.page.on("websocket", lambda socket: paths.append("/" + socket.url.split("/", 3)[3]))
        await tab.sign_in(service.key)
        await until(tab.page, "() => document.querySelector('websocket-status')?.socket?.state === 'connected'")
        for page in PAGES:
            await tab.go(page)
        job = await service.submit("letters.send", text="x")
        await service.ended(job)
        await tab.go(f"/jobs/{job}")
        (cookie,) = await context.cookies()
        assert cookie["path"] == "/worker"
        assert tab.faults == []
        assert [path for path in paths if not path.startswith("/worker/")] == []
        assert "/worker/ws" in paths
        assert "/worker/api/v1/live" in paths
