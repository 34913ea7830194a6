"""What a client sends when it connects: the token, a newer token later, and the position from which it resumes."""

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from worker.hub.errors import MalformedPacket
from worker.hub.inbox import InboxPage, ResumePoint
from worker.hub.tokens import Identity, TokenRejected, TokenService


def auth_of_request(request: web.Request, *, token_in_query: bool = False) -> dict[str, Any]:
    """Return token and position as a request has them, for clients that authenticate by header or query.

    `token_in_query`: for clients that cannot send it in any other way. Queries are written into the logs of proxies.
    """
    auth: dict[str, Any] = {}
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        auth["token"] = token.strip()
    return auth_of_query(request.query, with_token=token_in_query) | auth


def auth_of_query(query: Mapping[str, str], *, with_token: bool) -> dict[str, Any]:
    """Return token and position as a query has them. `with_token`: whether a token in it counts."""
    auth: dict[str, Any] = {}
    if with_token and "token" in query:
        auth["token"] = query["token"]
    if "lastSeq" in query:
        seq = query["lastSeq"]
        auth["lastSeq"] = int(seq) if len(seq) < 20 and seq.isascii() and seq.isdigit() else None
        auth["epoch"] = query.get("epoch")
    return auth


def renewed_identity(tokens: TokenService, before: Identity, token: object) -> Identity:
    """Return the identity of a newer token. MalformedPacket: it is not valid, or not for the same user and scopes."""
    try:
        identity = tokens.identify(token)
    except TokenRejected as exc:
        raise MalformedPacket("unauthorized", f"unauthorized: {exc}") from None
    if identity.user != before.user or identity.scopes != before.scopes:
        raise MalformedPacket("unauthorized", "unauthorized: a token of another user or with other scopes")
    return identity


def resume_point_of(auth: dict[str, Any]) -> ResumePoint | None:
    """Return the position that the client says it has reached; None: it sent none, or not a valid one."""
    epoch, seq = auth.get("epoch"), auth.get("lastSeq")
    if isinstance(epoch, str) and isinstance(seq, int) and not isinstance(seq, bool) and 0 <= seq < 2**63:
        return ResumePoint(epoch, seq)
    return None


def position_of(page: InboxPage) -> dict[str, Any]:
    """Return the client's position in its inbox, for the welcome message."""
    return {"epoch": page.epoch, "seq": page.seq, "after": page.after, "recovered": page.recovered}
