"""The examples for React and Vue in docs/examples, built with esbuild and run in Chromium with a real hub."""

import asyncio
import subprocess
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.support.chromium import until
from tests.support.hub import RunningHub, message, progress, running_hub
from tests.support.js import INTEROP, node_or_skip
from worker.api.static_files import add_page
from worker.hub.events import ClientDisconnected

pytestmark = pytest.mark.asyncio(loop_scope="module")

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
OPTIONS = {
    "react.jsx": ["--jsx=automatic", '--define:process.env.NODE_ENV="development"'],
    "vue.js": [
        "--alias:vue=vue/dist/vue.esm-bundler.js",
        "--define:__VUE_OPTIONS_API__=true",
        "--define:__VUE_PROD_DEVTOOLS__=false",
        "--define:__VUE_PROD_HYDRATION_MISMATCH_DETAILS__=false",
    ],
}
BELL = "document.querySelector('[role=status]')?.textContent.replace(/\\s+/g, ' ').trim()"
IDS = "[...document.querySelectorAll('li')].map((item) => item.dataset.id)"
JOB = "document.querySelector('output')?.textContent"


def built(example: str, out: Path) -> str:
    """The example with everything it imports, as one module."""
    node_or_skip()
    command = [
        str(INTEROP / "node_modules" / ".bin" / "esbuild"),
        *(str(EXAMPLES / example), "--bundle", "--format=esm", "--log-level=warning", f"--outfile={out}"),
        *OPTIONS[example],
    ]
    # Where the packages are that the example imports by name.
    environment = {"NODE_PATH": str(INTEROP / "node_modules"), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return out.read_text(encoding="utf-8")


def mount(app: web.Application, module: str) -> None:
    async def page(_request: web.Request) -> web.Response:
        head = '<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,">'
        return web.Response(text=f"{head}<title>Example</title><main></main>", content_type="text/html")

    async def script(_request: web.Request) -> web.Response:
        return web.Response(text=module, content_type="text/javascript")

    app.router.add_get("/", page)
    app.router.add_get("/app.js", script)
    add_page(app)


async def faults_of(page: Any) -> list[str]:
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda said: faults.append(said.text) if said.type in ("error", "warning") else None)
    return faults


async def show(running: RunningHub, page: Any) -> None:
    await page.goto(running.url)
    await page.evaluate(
        """async (token) => {
          const { mount } = await import("/app.js");
          window.show = () => { window.hide = mount(document.querySelector("main"), () => token, "job-7"); };
          window.show();
        }""",
        running.token(),
    )


@pytest.mark.parametrize("example", sorted(OPTIONS))
async def test_example_shows_each_notification_once_and_follows_its_job(tmp_path, context, example):
    module = await asyncio.to_thread(built, example, tmp_path / "app.js")
    async with running_hub(tmp_path, mount=lambda app: mount(app, module)) as running:
        page = await context.new_page()
        faults = await faults_of(page)
        publisher = await running.publisher()
        await publisher.publish(message(1))
        await show(running, page)
        await until(page, f"() => {BELL} === 'Connected · 1'")
        # The job's connection is there, too, and of those that strict mode opened and closed none is left.
        await running.wait_until_clients("ann", 2)
        await publisher.publish(progress("job-7", 40.0))
        await until(page, "() => document.querySelector('progress').value === 40")
        for number in (2, 2, 7):
            await publisher.publish(message(number))
        await until(page, f"() => {BELL} === 'Connected · 3' && {JOB} === 'Task Finish'")
        assert await page.evaluate(f"() => {IDS}") == ["news-1", "news-2", "news-7"]
        await page.evaluate("() => window.hide()")
        await running.wait_until_clients("ann", 0)
        codes = {event.code for event in running.events if isinstance(event, ClientDisconnected)}
        assert codes == {1000}
        await publisher.publish(message(8))
        await page.evaluate("() => window.show()")
        # The end of the job is shown again: its connection remembers nothing.
        await until(page, f"() => {BELL} === 'Connected · 1' && {JOB} === 'Task Finish'")
        assert await page.evaluate(f"() => {IDS}") == ["news-8"]
        assert faults == []
