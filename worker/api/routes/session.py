"""`/api/v1/session`: a browser exchanges an API key for a cookie that scripts cannot read."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Protocol

from aiohttp import web
from pydantic import StringConstraints

from worker.api.auth.authenticator import ADDRESS, CALLER, Authenticator, Caller, caller_of
from worker.api.auth.ended_sessions import SESSION_SECONDS
from worker.api.auth.sessions import BrowserSession
from worker.api.dispatch import UNCHANGED, Audit, unauthorized
from worker.api.errors import json_response, problem, status_of
from worker.api.request_body import read_body
from worker.api.request_values import Query
from worker.api.routing import SMALL_BODY, Route
from worker.api.schemas import HubAccess, SessionAnswer
from worker.api.views import timestamp
from worker.errors import WorkerError
from worker.net.client_address import is_from_own_page
from worker.net.path_base import link_to


class LoginForm(Query):
    """An API key in plain text. As in a header, spaces around it do not count."""

    key: Annotated[str, StringConstraints(min_length=1, max_length=1000, strip_whitespace=True)]


class HubTokens(Protocol):
    """Issues tokens of the hub to callers with a session."""

    def token(self, user: str, issued_to: str | None, *, read_only: bool, token_id: str | None) -> str:
        """Return a token with which to listen to this user's notifications.

        `issued_to` is the API key with which the token ends; None: the caller needs no key.
        """
        ...

    async def revoke(self, token_id: str) -> object: ...


class SessionRoutes:
    """Log in, show the caller, log out."""

    def __init__(
        self,
        authenticator: Authenticator,
        audit: Audit,
        *,
        hub: HubTokens | None,
        default_user: Callable[[], str | None],
    ) -> None:
        self._authenticator = authenticator
        assert authenticator.sessions is not None
        self._sessions = authenticator.sessions
        self._audit = audit
        self._hub = hub
        self._default_user = default_user

    def routes(self) -> Sequence[Route]:
        path, answers = "/api/v1/session", {200: SessionAnswer}
        example = {"key": "the key in state/admin.key"}
        return (
            Route(
                "POST",
                path,
                self.log_in,
                "Log in with an API key: sets the cookie",
                None,
                body=LoginForm,
                answers=answers,
                max_body=SMALL_BODY,
                example=example,
            ),
            Route("GET", path, self.show, "The caller", "any", answers=answers, bound=True),
            Route("DELETE", path, self.log_out, "Log out", "any", answers={204: None}, bound=True),
        )

    async def log_in(self, request: web.Request) -> web.Response:
        """Set the cookie. A page of another origin must not log a browser in: its user would act under a foreign name
        without noticing."""
        by_browser = "Origin" in request.headers or "Sec-Fetch-Site" in request.headers
        if by_browser and not is_from_own_page(request, self._authenticator.proxies):
            return problem(403, "log in from a page of this origin: other origins may not")
        login = await read_body(request, LoginForm)
        key = self._authenticator.log_in(request, login.key)
        if key is None:
            return unauthorized("this key is not known")
        session, cookie = self._sessions.issue(key)
        caller = caller_of(key, session)
        await self._audit(caller.actor, "session.begin", session.id, {"address": request[ADDRESS]})
        response = json_response(self._session(request, caller))
        name = self._authenticator.session_cookie(request)
        response.set_cookie(name, cookie, max_age=SESSION_SECONDS, **self._attributes(request))
        return response

    async def show(self, request: web.Request) -> web.Response:
        return json_response(self._session(request, request[CALLER]))

    async def log_out(self, request: web.Request) -> web.Response:
        """End the session and delete the cookie, whatever could be stored; an error says what could not."""
        response = web.Response(status=204)
        session = request[CALLER].session
        if session is None:
            request[UNCHANGED] = True
        elif failures := await self._end(session):
            reasons = "; ".join(str(failure) for failure in failures)
            detail = f"signed out in this browser, but not everything is stored: {reasons}"
            response = problem(status_of(failures[0]), detail)
        response.del_cookie(self._authenticator.session_cookie(request), **self._attributes(request))
        return response

    async def _end(self, session: BrowserSession) -> list[WorkerError]:
        """End a session and its tokens, the one even if the other fails; return what failed."""
        failures = list[WorkerError]()
        try:
            await self._sessions.end(session)
        except WorkerError as exc:
            failures.append(exc)
        if self._hub is not None:
            try:
                await self._hub.revoke(_token_id(session))
            except WorkerError as exc:
                failures.append(exc)
        return failures

    def _session(self, request: web.Request, caller: Caller) -> SessionAnswer:
        session, user = caller.session, self._user(caller)
        return {
            "name": caller.name,
            "scopes": sorted(caller.scopes),
            "userId": user,
            "defaultUserId": None if caller.is_bound else self._default_user(),
            "hub": self._hub_access(request, caller, user),
            "expiresAt": None if session is None else timestamp(session.expires),
        }

    def _hub_access(self, request: web.Request, caller: Caller, user: str) -> HubAccess | None:
        # End users get no further token with their token: it would outlive theirs.
        if self._hub is None or caller.user is not None or not caller.may("read"):
            return None
        token = self._hub.token(
            user,
            None if caller.key is None else self._sessions.issuer_of(caller.key),
            # With the token, its user's jobs can be cancelled, for which a key needs the scope admin.
            read_only=not caller.may("admin"),
            token_id=None if caller.session is None else _token_id(caller.session),
        )
        return {"path": link_to(request, "/ws"), "token": token}

    def _user(self, caller: Caller) -> str:
        """Return the user whose notifications the page shows: the key's only user, else one of the key's own.

        A client that listens as a user receives, and so uses up, what waits for that user. An operator's page
        therefore never listens as WebSocket:DefaultUserId. A user's notifications come from all organisations, so a
        key that is bound to organisations gets none of them.
        """
        if caller.user is not None:
            return caller.user
        if caller.organizations is None and caller.users is not None and len(caller.users) == 1:
            return min(caller.users)
        return f"key:{caller.name}"

    def _attributes(self, request: web.Request) -> dict[str, Any]:
        secure = self._authenticator.is_secure(request)
        return {"path": link_to(request, "") or "/", "httponly": True, "samesite": "Strict", "secure": secure}


def _token_id(session: BrowserSession) -> str:
    return f"session-{session.id}"
