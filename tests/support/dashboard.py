"""The dashboard of a real service in a real browser: signed in, watched for every complaint, asked by axe."""

import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.chromium import until
from tests.support.js import INTEROP, node_or_skip
from tests.support.ports import free_port
from tests.support.process import WorkerProcess, running_worker

KIND = "insignia_background_processing"
PAGES = ("/", "/jobs", "/notifications", "/connection", "/hub", "/workers", "/settings", "/audit")
ADMIN = "admin"

_WATCH = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) =>
  window.violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`));
window.shift = 0;
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shift += entry.value;
}).observe({ type: "layout-shift", buffered: true });
"""
# The page hears of a new address after the script that sets it; its view comes later still, over the network.
_GO = """
(path) => new Promise((done) => {
  if (location.hash === `#${path}`) return done();
  addEventListener("hashchange", done, { once: true });
  location.hash = path;
})
"""
_SHOWN = """
() => document.querySelector("main")?.dataset.path === (location.hash.slice(1).split("?")[0] || "/")
  && document.querySelector("main h1") && !document.querySelector("[aria-busy=true]")
"""
_DROP = """
([files]) => {
  const transfer = new DataTransfer();
  for (const [name, text] of files) transfer.items.add(new File([text], name, { type: "text/csv" }));
  for (const type of ["dragenter", "dragover", "drop"]) {
    document.body.dispatchEvent(new DragEvent(type, { dataTransfer: transfer, bubbles: true, cancelable: true }));
  }
}
"""
_AXE = """
async () => {
  const { violations } = await axe.run(document, { resultTypes: ["violations"] });
  return violations
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .map(({ id, nodes }) => `${id}: ${nodes.slice(0, 3).map((n) => `${n.html} ${n.failureSummary}`).join("; ")}`);
}
"""


@dataclass
class Dashboard:
    """A browser tab on the dashboard. `faults`: what its console and its policy complained of."""

    page: Any
    url: str
    faults: list[str] = field(default_factory=list)

    async def open(self, path: str = "/") -> None:
        """A page by its address; there when its heading is."""
        await self.page.goto(f"{self.url}/#{path}")
        await self.shown()

    async def shown(self) -> None:
        """The view that stands in the page is the one of the address, and complete."""
        await until(self.page, _SHOWN)

    async def sign_in(self, key: str) -> None:
        await self.page.goto(f"{self.url}/")
        await self.page.fill("#key", key)
        await self.page.press("#key", "Enter")
        await self.shown()

    async def go(self, path: str) -> None:
        """Go to another page without loading the document again."""
        await self.page.evaluate(_GO, path)
        await self.shown()

    async def drop(self, *files: Path) -> None:
        """Files fall onto the page, which listens for them once their module is loaded."""
        await self.page.wait_for_selector(".drop-veil", state="attached")
        contents = [[file.name, file.read_text(encoding="utf-8")] for file in files]
        await self.page.evaluate(_DROP, [contents])

    async def serious(self) -> list[str]:
        """What axe-core calls serious or critical."""
        node_or_skip()
        if not await self.page.evaluate("() => 'axe' in window"):
            await self.page.evaluate((INTEROP / "node_modules/axe-core/axe.min.js").read_text(encoding="utf-8"))
        found: list[str] = await self.page.evaluate(_AXE)
        return found

    async def violations(self) -> list[str]:
        found: list[str] = await self.page.evaluate("window.violations")
        return found

    async def overflow(self) -> int:
        """Pixels the page is wider than the window."""
        wider: int = await self.page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        return wider


async def dashboard(context: Any, url: str) -> Dashboard:
    context.set_default_timeout(90_000)  # the tests of several files share two cores
    page = await context.new_page()
    await page.add_init_script(_WATCH)
    made = Dashboard(page, url)
    page.on("pageerror", lambda error: made.faults.append(str(error)))
    page.on("console", lambda said: _complained(made, said))
    return made


def _complained(made: Dashboard, said: Any) -> None:
    # The browser itself reports each answer of 4xx, and each connection that a test has cut.
    if said.type in ("error", "warning") and not said.text.startswith(("Failed to load", "WebSocket connection")):
        made.faults.append(said.text)


@dataclass
class Service:
    """A running service with the dashboard on it."""

    worker: WorkerProcess
    url: str
    jobs: dict[str, str] = field(default_factory=dict)
    """Ids of jobs that a test module has submitted, under names of its own."""

    @property
    def key(self) -> str:
        return (self.worker.state / "admin.key").read_text(encoding="utf-8").strip()

    async def ask(self, method: str, path: str, body: Any = None) -> Any:
        """By HTTP, with the key of the first start."""
        import aiohttp

        headers = {"Authorization": f"Bearer {self.key}"}
        async with (
            aiohttp.ClientSession(self.url, headers=headers) as session,
            session.request(method, path, json=body) as answer,
        ):
            assert answer.status < 300, await answer.text()
            return json.loads(await answer.read())

    async def submit(self, kind: str, user: str = ADMIN, **payload: Any) -> str:
        """A job's id."""
        answer = await self.ask("POST", "/api/v1/jobs", {"taskType": kind, "userId": user, "payload": payload})
        return str(answer["jobId"])

    @contextlib.asynccontextmanager
    async def resting(self) -> AsyncIterator[None]:
        """No job begins in the meantime: what is submitted here cannot end before the test has done the next step."""
        await self.ask("PATCH", "/api/v1/workers", {"quiet": True})
        try:
            yield
        finally:
            await self.ask("PATCH", "/api/v1/workers", {"quiet": False})

    async def ended(self, job_id: str) -> dict[str, Any]:
        job: dict[str, Any] = await self.ask("GET", f"/api/v1/jobs/{job_id}?wait=30")
        return job


@contextlib.asynccontextmanager
async def a_service(folder: Path, *settings: str) -> AsyncIterator[Service]:
    """With keys, as in production; the hub in the same process."""
    url = f"http://127.0.0.1:{free_port()}"
    own = (f"--Http:Url={url}", f"--WebSocket:Url={url}", "--WebSocket:Progress=true", "--Worker:MaxAttempts=1")
    handlers = "--Worker:Handlers:0=tests.support.dashboard_handlers"
    async with running_worker(folder, *own, handlers, *settings) as worker:
        yield Service(worker, url)
