"""A whole service in this process whose jobs belong to several owners, and callers of every kind."""

import contextlib
import hashlib
import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from tests.support.event_collector import EventCollector
from tests.support.site import Site
from worker.api.routing import Route
from worker.core.clock import Clock
from worker.core.event_bus import EventBus
from worker.core.notification import NotificationFormat, notification_for
from worker.core.outcome import Attempt, Succeeded
from worker.core.store import Settlement
from worker.runtime.job_request import JobRequest
from worker.service.build import build
from worker.service.components import Host, ServiceComponents, ShutdownSignal
from worker.service.listeners import _http_api, open_listeners
from worker.service.reload import SettingsSource
from worker.service.stores import open_service_store
from worker.service.systemd import Systemd

ALL = ("enqueue", "read", "admin")
KIND = "insignia_background_processing"
ROSTER = b"person_id,employee_group\n1101700203451,x\n"


@dataclass(frozen=True)
class KeyKind:
    """A key of the settings; its value is its name."""

    name: str
    scopes: Sequence[str] = ALL
    users: Sequence[str] = ()
    organizations: Sequence[str] = ()
    folders: Sequence[str] = ()

    def setting(self) -> dict[str, Any]:
        return {
            "Name": self.name,
            "Sha256": hashlib.sha256(self.name.encode()).hexdigest(),
            "Scopes": list(self.scopes),
            "Users": list(self.users),
            "Organizations": list(self.organizations),
            "Folders": list(self.folders),
        }


@dataclass(frozen=True)
class Owner:
    """A user with or without an organisation, and the word that only their jobs contain."""

    user: str
    organization: str | None
    secret: str


OPERATOR, READER, PRODUCER = KeyKind("operator"), KeyKind("reader", ["read"]), KeyKind("producer", ["enqueue"])
ANN = KeyKind("ann-key", users=["ann"], folders=["of-ann"])
ANN_READS = KeyKind("ann-read-key", ["read"], users=["ann"])
OFFICE = KeyKind("office-key", organizations=["office"], folders=["of-office"])
BOTH = KeyKind("both-key", users=["ann"], organizations=["office"])
KEYS = (OPERATOR, READER, PRODUCER, ANN, ANN_READS, OFFICE, BOTH)
OWNERS = (
    Owner("ann", None, "WORD-ALPHA"),
    Owner("bob", None, "WORD-BRAVO"),
    Owner("ann", "office", "WORD-CHARLIE"),
    Owner("carol", "office", "WORD-DELTA"),
    Owner("dave", "ann", "WORD-ECHO"),
)


@dataclass
class Tenants:
    """The service, and one ended job of each owner with its files and notification."""

    site: Site
    url: str
    components: ServiceComponents
    session: aiohttp.ClientSession
    collector: EventCollector
    jobs: dict[str, str] = field(default_factory=dict)
    """By the owner's secret: the id of the job."""
    notifications: dict[str, str] = field(default_factory=dict)

    def routes(self) -> Sequence[Route]:
        return _http_api(self.components).table()

    async def ask(
        self, method: str, path: str, body: Any = None, *, key: str | None = None, **headers: str
    ) -> tuple[int, str]:
        """Return status and text; streams are left after their first event."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if key is not None:
            named["Authorization"] = f"Bearer {key}"
        data = body if isinstance(body, bytes | aiohttp.FormData) or body is None else orjson.dumps(body)
        async with self.session.request(method, self.url + path, data=data, headers=named) as response:
            if response.content_type == "text/event-stream":
                return response.status, (await response.content.readany()).decode()
            return response.status, (await response.read()).decode()

    async def json(self, method: str, path: str, body: Any = None, **options: Any) -> tuple[int, Any]:
        status, text = await self.ask(method, path, body, **options)
        return status, json.loads(text) if text else None

    async def upload(self, key: str, payload: Mapping[str, Any], user: str | None = None) -> tuple[int, Any]:
        """Submit a roster with its job."""
        form = aiohttp.FormData(quote_fields=False)
        job = {"taskType": KIND, "payload": payload} | ({} if user is None else {"userId": user})
        form.add_field("job", json.dumps(job), content_type="application/json")
        form.add_field("roster", ROSTER, filename="r.csv", content_type="text/csv")
        return await self.json("POST", "/api/v1/jobs/upload", form, key=key)

    async def hub_token(self, key: KeyKind) -> str:
        """Return the token that the dashboard of this key listens with."""
        _, session = await self.json("GET", "/api/v1/session", key=key.name)
        token: str = session["hub"]["token"]
        return token

    async def write(self, **sections: Any) -> None:
        """Reload the service with other settings."""
        self.site.write(json.dumps(settings_of(**sections)))
        await self.components.reloader.reload()
        assert self.components.reloader.problem == ""


def settings_of(keys: Sequence[KeyKind] = KEYS, **sections: Any) -> dict[str, Any]:
    return {
        "Http": {"Url": "http://127.0.0.1:0", "ApiKeys": [key.setting() for key in keys]},
        "WebSocket": {"Url": "http://127.0.0.1:9", "DefaultUserId": "ann"},
        "Hub": {"Enabled": "true"},
        **sections,
    }


@contextlib.asynccontextmanager
async def tenants(folder: Path, **sections: Any) -> AsyncIterator[Tenants]:
    """Serve until the end of the block; no job runs unless the test settles it."""
    site = Site(folder)
    site.write(json.dumps(settings_of(**sections)))
    collector = EventCollector()
    host = Host(Clock(), EventBus(collector), Systemd(None, None), ShutdownSignal())
    async with contextlib.AsyncExitStack() as stack:
        loaded = site.load()
        store = await stack.enter_async_context(open_service_store(loaded, host.clock, host.emit))
        source = SettingsSource(site.load, lambda _loaded: None)
        components = await build(stack, loaded, host, store, source)
        assert components.delivery.hub is not None
        await components.delivery.hub.start()
        url, _ = await open_listeners(stack, components)
        jar = aiohttp.DummyCookieJar()
        session = await stack.enter_async_context(aiohttp.ClientSession(cookie_jar=jar))
        yield Tenants(site, url, components, session, collector)


async def with_ended_jobs(service: Tenants) -> None:
    """Give each owner a job that succeeded; its payload, result and results folder contain the owner's secret."""
    store, jobs = service.components.jobs.store, service.components.jobs.service
    output = Path(jobs.sections["Insignia"].output_directory)
    for owner in OWNERS:
        payload = {"round": 2569, "officers": [{"person_id": owner.secret}], "organization": owner.organization}
        accepted = await jobs.submit(JobRequest(taskType=KIND, userId=owner.user, payload=payload))
        kind, name = ("organization", owner.organization) if owner.organization else ("user", owner.user)
        attempt = output / kind / name / "2569" / accepted.job_id / "attempt-1"
        attempt.mkdir(parents=True)
        (attempt / "results.csv").write_text(owner.secret)
        [claimed] = (await store.claim(1)).jobs
        assert claimed.id == accepted.job_id
        result = orjson.dumps({"output": str(attempt), "note": owner.secret})
        ended = Attempt(claimed, time.time(), time.time(), 1.0, result=result)
        outcome = Succeeded(result)
        assert all(
            await store.settle([Settlement(ended, outcome, notification_for(ended, outcome, NotificationFormat()))])
        )
        service.jobs[owner.secret] = accepted.job_id
        [delivery] = await store.deliveries(accepted.job_id)
        service.notifications[owner.secret] = delivery.notification_id
