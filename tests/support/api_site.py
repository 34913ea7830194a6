"""The public HTTP API over a real store, with keys of every scope, sessions, and tokens of the hub."""

import contextlib
import hashlib
import io
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from pydantic import TypeAdapter

from tests.support import handlers
from tests.support.sqlite_store import a_store
from worker.api.auth.api_keys import ApiKey
from worker.api.auth.authenticator import Authenticator
from worker.api.auth.ended_sessions import EndedSessions
from worker.api.auth.sessions import BrowserSessions
from worker.api.routes.audit import AuditRoutes
from worker.api.routes.bulk import BulkRoutes
from worker.api.routes.health import HealthCheck, HealthReport, HealthRoutes
from worker.api.routes.jobs import JobRoutes
from worker.api.routes.me import MeRoutes
from worker.api.routes.notifications import NotificationRoutes
from worker.api.routes.session import SessionRoutes
from worker.api.routing import RouteSet
from worker.api.schemas import Problem
from worker.api.server import HttpApi, serve_tcp
from worker.core.clock import Clock
from worker.core.notification import NotificationFormat
from worker.handler import discover
from worker.hub.tokens import TokenService
from worker.net.http_protocol import HttpDeadlines
from worker.runtime.operations import JobService
from worker.stores.sqlite.store import SqliteStore

ADMIN, READER, PRODUCER = "key-of-admin", "key-of-reader", "key-of-producer"
ANN, OFFICE = "key-of-ann", "key-of-office"
"""Bound to the user `ann`; bound to the organisation `office`. Both have every scope."""
SIGNING_KEY = b"k" * 32
SESSION = "/api/v1/session"


def a_key(name: str, *scopes: str, users: Sequence[str] = (), organizations: Sequence[str] = ()) -> ApiKey:
    """A key whose value is its name."""
    digest = hashlib.sha256(name.encode()).hexdigest()
    return ApiKey(name, digest, frozenset(scopes), frozenset(users) or None, frozenset(organizations) or None)


def the_keys() -> list[ApiKey]:
    everything = ("enqueue", "read", "admin")
    return [
        a_key(ADMIN, "admin"),
        a_key(READER, "read"),
        a_key(PRODUCER, "enqueue"),
        a_key(ANN, *everything, users=["ann"]),
        a_key(OFFICE, *everything, organizations=["office"]),
    ]


class FakeHubTokens:
    """Issues tokens of the hub, and records which were revoked."""

    def __init__(self, tokens: TokenService) -> None:
        self.tokens = tokens
        self.revoked: list[str] = []

    def token(self, user: str, issued_to: str | None, *, read_only: bool, token_id: str | None) -> str:
        return self.tokens.mint_for_key(user, issued_to, read_only=read_only, days=0.01, token_id=token_id)

    async def revoke(self, token_id: str) -> None:
        self.revoked.append(token_id)
        self.tokens.revoke(token_id)


async def _healthy() -> HealthReport:
    return HealthReport(True, True, True, {"link": HealthCheck("Healthy")})


@dataclass
class ApiSite:
    """The API as a client sees it, and the parts behind it."""

    store: SqliteStore
    jobs: JobService
    authenticator: Authenticator
    hub_tokens: FakeHubTokens
    api: HttpApi
    url: str = ""
    session: aiohttp.ClientSession = field(init=False)
    errors: list[tuple[str, str, BaseException]] = field(default_factory=list)
    events: list[object] = field(default_factory=list)

    @property
    def tokens(self) -> TokenService:
        return self.hub_tokens.tokens

    async def ask(
        self, method: str, path: str, body: Any = None, *, key: str | None = ADMIN, **headers: str
    ) -> tuple[int, Any, Any]:
        """Return status, JSON (or text) and headers."""
        data = None if body is None else io.BytesIO(body if isinstance(body, bytes) else orjson.dumps(body))
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
        """Check that a response has exactly the shape that its route describes."""
        if status >= 400 and isinstance(answer, dict) and "entries" not in answer:
            TypeAdapter(Problem).validate_python(answer)
        plain = path.partition("?")[0]
        table = self.api.table()
        fixed = [route for route in table if route.path == plain]  # not the id of a job, although it could be one
        for route in fixed or table:
            pattern = re.sub(r"{\w+}", "[^/]+", route.path)
            if route.method == method and re.fullmatch(pattern, plain):
                shape = route.answers.get(status)
                if shape is not None:
                    TypeAdapter(shape).validate_python(answer)

    async def submitted(self, user: str = "ann", *, key: str = ADMIN, **fields: Any) -> str:
        """Submit a job; return its id."""
        body = {"taskType": "echo", "userId": user, "payload": {"text": "ก"}} | fields
        status, answer, _ = await self.ask("POST", "/api/v1/jobs", body, key=key)
        assert status == 202, answer
        job_id: str = answer["jobId"]
        return job_id

    def tcp(self, app: Any = None, deadlines: HttpDeadlines | None = None) -> Any:
        """Return a listener for another application."""
        return serve_tcp(app, "http://127.0.0.1:0", lambda _address, _reason: None, deadlines=deadlines)


@contextlib.asynccontextmanager
async def api_site(
    folder: Path,
    *,
    sets: Sequence[RouteSet] = (),
    cors: Sequence[str] = (),
    recheck: float = 15.0,
    max_body: int = 100_000,
    deadlines: HttpDeadlines | None = None,
    **options: Any,
) -> AsyncIterator[ApiSite]:
    """Run the API until the end of the block; unexpected errors fail the test. `options` go to the Authenticator."""
    async with contextlib.AsyncExitStack() as stack:
        clock = Clock()
        store = await stack.enter_async_context(a_store(folder))
        jobs = JobService(store, discover([handlers]), NotificationFormat(), clock, default_user=None, max_attempts=3)
        hub_tokens = FakeHubTokens(TokenService(SIGNING_KEY, "insignia-worker", "org-socket", clock))
        sessions = BrowserSessions(SIGNING_KEY, clock, EndedSessions(folder / "ended-sessions", clock))
        defaults: dict[str, Any] = {"open_on_loopback": False, "allowed_hosts": frozenset()} | options
        authenticator = Authenticator(the_keys(), sessions=sessions, authority=hub_tokens.tokens, **defaults)
        site: ApiSite
        own: list[RouteSet] = [
            JobRoutes(jobs),
            NotificationRoutes(jobs),
            BulkRoutes(jobs),
            MeRoutes(jobs),
            AuditRoutes(jobs),
            SessionRoutes(authenticator, jobs.audit, hub=hub_tokens, default_user=lambda: jobs.default_user),
            HealthRoutes(_healthy),
        ]
        api = HttpApi(
            sets=[*own, *sets],
            is_draining=lambda: False,
            on_error=lambda *error: site.errors.append(error),
            max_body=max_body,
            audit=jobs.audit,
            cors_origins=frozenset(cors),
            recheck=recheck,
        )
        site = ApiSite(store, jobs, authenticator, hub_tokens, api)
        jobs.emit = site.events.append
        site.url = await stack.enter_async_context(site.tcp(api.public(authenticator), deadlines))
        jar = aiohttp.DummyCookieJar()
        site.session = await stack.enter_async_context(aiohttp.ClientSession(cookie_jar=jar))
        yield site
        assert site.errors == [], site.errors


async def logged_in(site: ApiSite, key: str = ADMIN) -> str:
    """Start a session; return its cookie as a browser sends it."""
    status, _, headers = await site.ask("POST", SESSION, {"key": key}, key=None)
    assert status == 200
    return str(headers["Set-Cookie"]).split(";")[0]


def own_page(site: ApiSite) -> dict[str, str]:
    """Return the headers of a request from a page of the API's own origin."""
    return {"Origin": site.url, "Sec_Fetch_Site": "same-origin"}
