"""`/api/v1/session`: a browser changes an API key for a cookie that no script can read."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Protocol

from aiohttp import web
from pydantic import Field

from worker.clock import rfc3339
from worker.door.access import ADDRESS, CALLER, Access, Caller
from worker.door.answers import SessionAnswer
from worker.door.entrance import Audit, unauthorized
from worker.door.origin import is_from_own_page, own_origin
from worker.door.problems import json_response, problem
from worker.door.routes import Query, Route, read_body
from worker.door.session import SESSION_SECONDS, Session


class Login(Query):
    """The key, as its owner has it."""

    key: Annotated[str, Field(min_length=1, max_length=1000)]


class Desk(Protocol):
    """What the hub does for who is logged in."""

    def token(self, user: str, token_id: str | None) -> str:
        """To listen to this user's notifications."""
        ...

    async def revoke(self, token_id: str) -> object: ...


class SessionRoutes:
    """Log in, who am I, log out."""

    def __init__(
        self,
        access: Access,
        audit: Audit,
        *,
        hub: Desk | None,
        default_user: Callable[[], str | None],
    ) -> None:
        self._access = access
        assert access.sessions is not None
        self._sessions = access.sessions
        self._audit = audit
        self._hub = hub
        self._default_user = default_user

    def routes(self) -> Sequence[Route]:
        path, answers = "/api/v1/session", {200: SessionAnswer}
        example = {"key": "the key of state/admin.key"}
        return (
            Route(
                "POST",
                path,
                self.begin,
                "Log in with an API key: sets the cookie",
                None,
                body=Login,
                answers=answers,
                example=example,
            ),
            Route("GET", path, self.show, "Who is logged in", "any", answers=answers, bound=True),
            Route("DELETE", path, self.end, "Log out", "any", answers={204: None}, bound=True),
        )

    async def begin(self, request: web.Request) -> web.Response:
        """A page of another origin must not log a browser in: whoever works there would work under a strange name."""
        by_browser = "Origin" in request.headers or "Sec-Fetch-Site" in request.headers
        if by_browser and not is_from_own_page(request, self._access.proxies):
            return problem(403, "only pages of this very origin may log in")
        login = await read_body(request, Login)
        key = self._access.log_in(request, login.key)
        if key is None:
            return unauthorized("this is no key we know")
        session, cookie = self._sessions.issue(key)
        caller = Caller(key.name, key.scopes, key.users, key.organizations, session=session)
        await self._audit(caller.actor, "session.begin", session.id, {"address": request[ADDRESS]})
        response = json_response(self._view(caller))
        response.set_cookie(self._sessions.cookie, cookie, max_age=SESSION_SECONDS, **self._attributes(request))
        return response

    async def show(self, request: web.Request) -> web.Response:
        return json_response(self._view(request[CALLER]))

    async def end(self, request: web.Request) -> web.Response:
        response = web.Response(status=204)
        session = request[CALLER].session
        if session is not None:
            self._sessions.end(session)
            if self._hub is not None:
                await self._hub.revoke(_token_id(session))
        response.del_cookie(self._sessions.cookie, **self._attributes(request))
        return response

    def _view(self, caller: Caller) -> dict[str, Any]:
        session, user = caller.session, self._user(caller)
        hub = None
        # A user's token must not beget others: they would outlive it.
        if self._hub is not None and caller.user is None and caller.may("read"):
            token = self._hub.token(user, None if session is None else _token_id(session))
            hub = {"path": "/ws", "token": token}
        return {
            "name": caller.name,
            "scopes": sorted(caller.scopes),
            "userId": user,
            "hub": hub,
            "expiresAt": None if session is None else rfc3339(session.expires),
        }

    def _user(self, caller: Caller) -> str:
        """Whose notifications come to the page: the key's only user's, else WebSocket:DefaultUserId's, else its own.
        A user's notifications are of all organisations, so a key that is bound to some gets none of them."""
        if caller.user is not None:
            return caller.user
        own = f"key:{caller.name}"
        if caller.organizations is not None:
            return own
        if caller.users is not None:
            return min(caller.users) if len(caller.users) == 1 else own
        return self._default_user() or own

    def _attributes(self, request: web.Request) -> dict[str, Any]:
        secure = own_origin(request, self._access.proxies).startswith("https://")
        return {"path": "/", "httponly": True, "samesite": "Strict", "secure": secure}


def _token_id(session: Session) -> str:
    return f"session-{session.id}"
