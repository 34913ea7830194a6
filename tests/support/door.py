"""A public door over a real store, with keys of every sort, sessions, and tokens of the hub."""

import contextlib
import hashlib
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from tests.support import handlers
from tests.support.sqlite_store import a_store
from worker.clock import Clock
from worker.control import Control
from worker.door.access import Access
from worker.door.answers import Problem
from worker.door.app import Door, serve_tcp
from worker.door.audit import AuditRoutes
from worker.door.bulk import BulkRoutes
from worker.door.jobs import JobRoutes
from worker.door.keys import ApiKey
from worker.door.login import SessionRoutes
from worker.door.me import MeRoutes
from worker.door.routes import RouteSet
from worker.door.session import Sessions
from worker.door.status import Entry, Health, StatusRoutes
from worker.handler import discover
from worker.hub.auth import Authority
from worker.notification import Wire
from worker.queues.sqlite import SqliteStore

BOSS, READER, PRODUCER = "key-of-boss", "key-of-reader", "key-of-producer"
ANN, OFFICE = "key-of-ann", "key-of-office"
"""Bound to the user `ann`; bound to the organisation `office`. Both may do everything else."""
SIGNING_KEY = b"k" * 32


def a_key(name: str, *scopes: str, users: Sequence[str] = (), organizations: Sequence[str] = ()) -> ApiKey:
    """A key whose value is its name."""
    digest = hashlib.sha256(name.encode()).hexdigest()
    return ApiKey(name, digest, frozenset(scopes), frozenset(users) or None, frozenset(organizations) or None)


def the_keys() -> list[ApiKey]:
    everything = ("enqueue", "read", "admin")
    return [
        a_key(BOSS, "admin"),
        a_key(READER, "read"),
        a_key(PRODUCER, "enqueue"),
        a_key(ANN, *everything, users=["ann"]),
        a_key(OFFICE, *everything, organizations=["office"]),
    ]


class Desk:
    """Mints with an authority of its own, and remembers what was revoked."""

    def __init__(self, authority: Authority) -> None:
        self.authority = authority
        self.revoked: list[str] = []

    def token(self, user: str, token_id: str | None) -> str:
        return self.authority.mint(user, days=0.01, token_id=token_id)

    async def revoke(self, token_id: str) -> None:
        self.revoked.append(token_id)
        self.authority.revoke(token_id)


async def _healthy() -> Health:
    return Health(True, True, True, {"link": Entry("Healthy")})


@dataclass
class Site:
    """The door as a client sees it, and what is behind it."""

    store: SqliteStore
    control: Control
    access: Access
    desk: Desk
    door: Door
    url: str = ""
    session: aiohttp.ClientSession = field(init=False)
    errors: list[tuple[str, str, BaseException]] = field(default_factory=list)
    events: list[object] = field(default_factory=list)

    @property
    def authority(self) -> Authority:
        return self.desk.authority

    async def ask(
        self, method: str, path: str, body: Any = None, *, key: str | None = BOSS, **headers: str
    ) -> tuple[int, Any, Any]:
        """Status, JSON (or text) and headers."""
        data = body if isinstance(body, bytes) or body is None else orjson.dumps(body)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if key is not None:
            named.setdefault("Authorization", f"Bearer {key}")
        async with self.session.request(method, self.url + path, data=data, headers=named) as response:
            content = await response.read()
            is_json = "json" in response.content_type
            answer = orjson.loads(content) if is_json and content else content.decode()
            self._check(method, path, response.status, answer)
            return response.status, answer, response.headers

    def _check(self, method: str, path: str, status: int, answer: Any) -> None:
        """Every answer is what its route's model says, to the letter."""
        if status >= 400 and isinstance(answer, dict) and "entries" not in answer:
            Problem.model_validate(answer)
        for route in self.door.table():
            pattern = re.sub(r"{\w+}", "[^/]+", route.path)
            if route.method == method and re.fullmatch(pattern, path.partition("?")[0]):
                model = route.answers.get(status)
                if model is not None:
                    model.model_validate(answer)

    async def submitted(self, user: str = "ann", *, key: str = BOSS, **fields: Any) -> str:
        """The id of a new job."""
        body = {"taskType": "echo", "userId": user, "payload": {"text": "ก"}} | fields
        status, answer, _ = await self.ask("POST", "/api/v1/jobs", body, key=key)
        assert status == 202, answer
        job_id: str = answer["jobId"]
        return job_id

    def tcp(self, app: Any = None) -> Any:
        """A listener of its own for this application."""
        return serve_tcp(app, "http://127.0.0.1:0", lambda _address, _reason: None)


@contextlib.asynccontextmanager
async def a_site(
    folder: Path, *, sets: Sequence[RouteSet] = (), cors: Sequence[str] = (), recheck: float = 15.0, **options: Any
) -> AsyncIterator[Site]:
    """Open until the end of the block; it must not have broken meanwhile. `options` go to Access."""
    async with contextlib.AsyncExitStack() as stack:
        clock = Clock()
        store = await stack.enter_async_context(a_store(folder))
        control = Control(store, discover([handlers]), Wire(), clock, default_user=None, max_attempts=3)
        desk = Desk(Authority(SIGNING_KEY, "insignia-worker", "org-socket", clock))
        sessions = Sessions(SIGNING_KEY, clock)
        given = {"open_on_loopback": False, "allowed_hosts": frozenset()} | options
        access = Access(the_keys(), sessions=sessions, authority=desk.authority, **given)
        site: Site
        own: list[RouteSet] = [
            JobRoutes(control),
            BulkRoutes(control),
            MeRoutes(control),
            AuditRoutes(control),
            SessionRoutes(access, control.audit, hub=desk, default_user=lambda: control.default_user),
            StatusRoutes(_healthy),
        ]
        door = Door(
            sets=[*own, *sets],
            is_draining=lambda: False,
            on_error=lambda *error: site.errors.append(error),
            max_body=100_000,
            audit=control.audit,
            cors_origins=frozenset(cors),
            recheck=recheck,
        )
        site = Site(store, control, access, desk, door)
        control.emit = site.events.append
        site.url = await stack.enter_async_context(site.tcp(door.public(access)))
        jar = aiohttp.DummyCookieJar()
        site.session = await stack.enter_async_context(aiohttp.ClientSession(cookie_jar=jar))
        yield site
        assert site.errors == []
